//! The wrapper around one run: `borealis-agent __reaper`, with the control socket as its standard input.
//!
//! **Shape.** The agent writes one line of JSON, the [`Plan`], then `end` when the run is to be ended. The wrapper writes
//! lines of JSON, [`Word`]s: `started`, then `exited` once. The end of the socket means that the agent is gone: the tree is
//! ended then. The wrapper's standard output and error are the run's.

use super::tree;
use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, setsid, wait};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Is the hidden sub-command that makes this program a wrapper.
pub const VERB: &str = "__reaper";

/// Is how long a process may take to end by itself when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Is what the wrapper runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: BTreeMap<String, OsString>,
    /// Where it runs.
    pub folder: PathBuf,
}

/// Is what the wrapper tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The process lives.
    Started,
    /// The process could not be begun.
    Failed {
        /// Whether the program is not there.
        missing: bool,
        /// What the system said.
        reason: String,
    },
    /// The process ended; where it was ended, its whole tree is gone.
    Exited {
        /// The exit code.
        code: Option<i32>,
        /// The signal.
        signal: Option<i32>,
        /// How long it lived.
        duration_ms: u64,
        /// Whether something of the tree would not die.
        stuck: bool,
    },
}

/// Is the wrapper's whole life.
pub fn main() -> ExitCode {
    match live() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "borealis-agent: the wrapper failed: {error}");
            ExitCode::from(70)
        }
    }
}

fn live() -> io::Result<()> {
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    let mut agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(agent.try_clone()?).lines();
    let Some(plan) = lines.next().transpose()? else {
        return Ok(());
    };
    let plan: Plan = serde_json::from_str(&plan)?;
    let began = Instant::now();
    let mut command = Command::new(&plan.program);
    command
        .args(&plan.args)
        .env_clear()
        .envs(&plan.env)
        .current_dir(&plan.folder)
        .stdin(Stdio::null());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let reason = error.to_string();
            return say(&mut agent, &Word::Failed { missing, reason });
        }
    };
    let child = i32::try_from(child.id()).unwrap_or(0);
    let _ = say(&mut agent, &Word::Started);
    let (tell, told) = channel();
    let tell_end = tell.clone();
    std::thread::spawn(move || {
        // `end`, an unreadable line and the end of the socket all mean the same.
        let _ = lines.next();
        let _ = tell_end.send(Event::End);
    });
    std::thread::spawn(move || reap_until(child, &tell));
    let (status, ended) = watch(&told);
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let stuck = ended && !tree::end(Duration::ZERO, own_tree);
    let (code, signal) = status;
    let word = Word::Exited {
        code,
        signal,
        duration_ms,
        stuck,
    };
    say(&mut agent, &word)
}

/// Is what the wrapper waits for.
enum Event {
    /// The tree is to be ended.
    End,
    /// The child is gone, with this exit code or signal.
    Exited(Option<i32>, Option<i32>),
}

fn own_tree() -> Vec<tree::Process> {
    tree::below(getpid().as_raw_nonzero().get())
}

/// Reaps whatever ends below, also what was orphaned, until the child itself has ended.
fn reap_until(child: i32, tell: &Sender<Event>) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == child => {
                let _ = tell.send(Event::Exited(status.exit_status(), status.terminating_signal()));
                return;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Waits until the child is gone; returns its exit code or signal, and whether it was ended from outside.
fn watch(told: &Receiver<Event>) -> ((Option<i32>, Option<i32>), bool) {
    match told.recv() {
        Ok(Event::Exited(code, signal)) => ((code, signal), matches!(told.try_recv(), Ok(Event::End))),
        Ok(Event::End) => {
            tree::end(GRACE, own_tree);
            match told.recv_timeout(Duration::from_secs(1)) {
                Ok(Event::Exited(code, signal)) => ((code, signal), true),
                _ => ((None, None), true),
            }
        }
        Err(_) => ((None, None), true),
    }
}

fn say(agent: &mut UnixStream, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    agent.write_all(&line)
}
