//! The agent's side of one run: begins the wrapper, keeps the output, and says how it ended.

use super::reaper::{Plan, VERB, Word};
use super::spool::{self, Limit, Spool};
use super::tree;
use crate::core::record::RunKey;
use crate::core::{Ending, Exit};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::OutputStream;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Is how much is read of a pipe at once.
const READ_BYTES: usize = 32 << 10;

/// Is how long output is awaited after the process ended; something it left behind may hold the pipe open.
const LINGER: Duration = Duration::from_secs(2);

/// Is how long the wrapper may take to end a tree before everything that bears the run's mark is killed from here.
const WRAPPER_PATIENCE: Duration = Duration::from_secs(8);

/// Is what a run needs.
pub struct RunSpec {
    /// The program that is the wrapper: this one.
    pub wrapper: PathBuf,
    /// The folder of all runs.
    pub work: PathBuf,
    /// The run.
    pub key: RunKey,
    /// What to run.
    pub plan: Plan,
    /// How much output is kept.
    pub limit_bytes: u64,
}

/// Is what happens during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// Its process lives.
    Started,
    /// A stream grew.
    Grew(OutputStream, u64),
}

/// Runs to the end, or to the word `end`; the run's folder must be there.
pub async fn run(spec: RunSpec, end: oneshot::Receiver<()>, tell: impl Fn(RunEvent) + Clone + Send + 'static) -> Exit {
    match begin(&spec).await {
        Ok(begun) => follow(spec, begun, end, tell).await,
        Err(error) => {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let code = if full { Code::NoSpace } else { Code::Internal };
            not_begun(code, format!("the run cannot be begun: {error}"))
        }
    }
}

/// Is the exit of a run that never began.
pub const fn not_begun(code: Code, reason: String) -> Exit {
    Exit {
        ending: Ending::NotBegun { code, reason },
        duration_ms: 0,
        stdout_bytes: 0,
        stderr_bytes: 0,
        truncated: false,
    }
}

struct Begun {
    child: Child,
    control: UnixStream,
    stdout: Spool,
    stderr: Spool,
    limit: Limit,
}

/// Begins the wrapper, notes durably enough who it is, and only then tells it what to run.
async fn begin(spec: &RunSpec) -> io::Result<Begun> {
    let folder = spool::folder(&spec.work, spec.key);
    let limit = Limit::new(spec.limit_bytes);
    let stdout = Spool::create(&folder, OutputStream::Stdout, &limit)?;
    let stderr = Spool::create(&folder, OutputStream::Stderr, &limit)?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(&spec.wrapper)
        .arg(VERB)
        .env_clear()
        .env(tree::MARK, spec.key.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut control = UnixStream::from_std(ours)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
    if let Some(process) = tree::process(pid) {
        std::fs::write(folder.join("wrapper"), format!("{pid} {}", process.started))?;
    }
    let mut line = serde_json::to_vec(&spec.plan)?;
    line.push(b'\n');
    control.write_all(&line).await?;
    Ok(Begun {
        child,
        control,
        stdout,
        stderr,
        limit,
    })
}

async fn follow(
    spec: RunSpec,
    begun: Begun,
    mut end: oneshot::Receiver<()>,
    tell: impl Fn(RunEvent) + Clone + Send + 'static,
) -> Exit {
    let Begun {
        mut child,
        control,
        stdout,
        stderr,
        limit,
    } = begun;
    let pumps = [
        child
            .stdout
            .take()
            .map(|pipe| tokio::spawn(pump(pipe, stdout, OutputStream::Stdout, tell.clone()))),
        child
            .stderr
            .take()
            .map(|pipe| tokio::spawn(pump(pipe, stderr, OutputStream::Stderr, tell.clone()))),
    ];
    let (words, mut control) = control.into_split();
    let mut words = BufReader::new(words).lines();
    let mut forced_at: Option<Instant> = None;
    let last = loop {
        let patience = forced_at.unwrap_or_else(|| Instant::now() + Duration::from_hours(24));
        tokio::select! {
            word = words.next_line() => match word.ok().flatten().map(|line| serde_json::from_str(&line)) {
                Some(Ok(Word::Started)) => tell(RunEvent::Started),
                Some(Ok(word)) => break Some(word),
                Some(Err(_)) | None => break None,
            },
            // A sender that is gone means the same: nobody wants the run any more.
            _ = &mut end, if forced_at.is_none() => {
                forced_at = Some(Instant::now() + WRAPPER_PATIENCE);
                let _ = control.write_all(b"end\n").await;
            }
            () = tokio::time::sleep_until(patience) => {
                if forced_at.is_some() {
                    tracing::error!(run = %spec.key, "the wrapper did not end its run; its processes are killed");
                    break None;
                }
            }
        }
    };
    drop(control);
    if last.is_none() {
        let _ = child.start_kill();
        let mark = spec.key.to_string();
        let _ = tokio::task::spawn_blocking(move || tree::end(Duration::ZERO, || tree::marked(&mark))).await;
    }
    finish(pumps).await;
    let _ = timeout(Duration::from_secs(1), child.wait()).await;
    let (stdout_bytes, stderr_bytes) = spool::sizes(&spec.work, spec.key);
    let (ending, duration_ms) = judge(last);
    Exit {
        ending,
        duration_ms,
        stdout_bytes,
        stderr_bytes,
        truncated: limit.is_cut(),
    }
}

fn judge(last: Option<Word>) -> (Ending, u64) {
    let unknown = |reason: &str| Ending::Unknown {
        reason: reason.to_owned(),
    };
    match last {
        Some(Word::Exited {
            code,
            signal,
            duration_ms,
            stuck,
        }) => {
            if stuck {
                tracing::error!("a process of a run cannot be killed");
            }
            let ending = match (code, signal) {
                (Some(code), _) => Ending::Code(code),
                (None, Some(signal)) => Ending::Signal(signal),
                (None, None) => unknown("how the process ended is not known"),
            };
            (ending, duration_ms)
        }
        Some(Word::Failed { missing, reason }) => {
            let code = if missing {
                Code::InterpreterMissing
            } else {
                Code::NotPermittedOnDevice
            };
            (Ending::NotBegun { code, reason }, 0)
        }
        Some(Word::Started) | None => (unknown("the process that watched the run died"), 0),
    }
}

/// Moves a pipe into its spool until the end.
async fn pump(mut pipe: impl AsyncRead + Unpin, mut spool: Spool, stream: OutputStream, tell: impl Fn(RunEvent)) {
    let mut buffer = vec![0; READ_BYTES];
    let mut told = 0;
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let size = spool.write(buffer.get(..read).unwrap_or_default());
        if size > told {
            told = size;
            tell(RunEvent::Grew(stream, size));
        }
    }
}

/// Waits for the rest of the output, but not for what a process left behind may still write.
async fn finish(pumps: [Option<JoinHandle<()>>; 2]) {
    let until = Instant::now() + LINGER;
    for mut pump in pumps.into_iter().flatten() {
        if timeout_at(until, &mut pump).await.is_err() {
            pump.abort();
            let _ = pump.await;
        }
    }
    // Lets aborted tasks drop their files before they are measured.
    sleep(Duration::ZERO).await;
}

/// Ends what an earlier life of the agent left of a run, and measures what it wrote.
pub fn end_leftovers(work: &Path, key: RunKey) -> Exit {
    let mark = key.to_string();
    let wrapper = std::fs::read_to_string(spool::folder(work, key).join("wrapper")).unwrap_or_default();
    let wrapper = living_wrapper(&wrapper);
    let gone = tree::end(Duration::ZERO, || {
        let mut left = wrapper.map(tree::below).unwrap_or_default();
        let mut marked = tree::marked(&mark);
        // The wrapper goes last: as long as it lives, nothing escapes it.
        if !left.is_empty() {
            marked.retain(|process| Some(process.pid) != wrapper);
        }
        left.extend(marked);
        left
    });
    if !gone {
        tracing::error!(run = %key, "processes of an interrupted run cannot be killed");
    }
    let (stdout_bytes, stderr_bytes) = spool::sizes(work, key);
    Exit {
        ending: Ending::Unknown {
            reason: "the agent died while it ran".to_owned(),
        },
        duration_ms: 0,
        stdout_bytes,
        stderr_bytes,
        truncated: false,
    }
}

/// Reads the wrapper's note; `None` when that process is gone and its id belongs to another.
fn living_wrapper(note: &str) -> Option<i32> {
    let (pid, started) = note.trim().split_once(' ')?;
    let process = tree::process(pid.parse().ok()?)?;
    (process.started == started.parse::<u64>().ok()?).then_some(process.pid)
}
