//! A small service in a process of its own, for tests that kill or trace it: this same test binary, started anew.
//!
//! It reads command numbers from stdin, one a line. It says `t <n>` when it took one, `replay` and `ready` while it opens
//! its store, `a <n> <position>` when the append of `n` is acknowledged, and, when asked, `h <position>` when the head has
//! moved there. End of input closes the store.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use borealis_event_store::{Append, EventLog, OpenOptions, OpenProgress, SledLog};

use crate::support::one;

const STORE: &str = "BOREALIS_PROBE_STORE";
const TAIL: &str = "BOREALIS_PROBE_TAIL";
const FIRST: &str = "BOREALIS_PROBE_FIRST";
const HEADS: &str = "BOREALIS_PROBE_HEADS";
const SKIP_SYNC: &str = "BOREALIS_PROBE_SKIP_SYNC";
/// No answer takes longer than this.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a started process is given.
pub struct Options<'a> {
    pub store: &'a Path,
    /// Events that may wait for the indexes.
    pub tail_events: usize,
    /// Commands that are taken before the store is opened.
    pub taken_first: usize,
    pub skip_sync: bool,
    /// Whether it says where the head is.
    pub tells_heads: bool,
}

/// What the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Taken(u64),
    Replay,
    Ready,
    Acknowledged { number: u64, position: u64 },
}

/// A running process, seen from outside.
pub struct Probe {
    child: Child,
    input: Option<ChildStdin>,
    words: Receiver<Word>,
}

/// The stream that a command's event goes to.
pub fn stream_of(number: u64) -> String {
    format!("command-{number}")
}

/// The command's body; begins with a mark that is found again in a trace.
pub fn body_of(number: u64) -> Vec<u8> {
    let mut body = format!("<mark-{number}>").into_bytes();
    body.resize(200, b'.');
    body
}

fn append_of(number: u64) -> Append {
    one(number, &stream_of(number), 0, &body_of(number))
}

/// Gives the command line of the process, for a tracer to start.
pub fn command(tracer: &[&str], options: &Options<'_>) -> Command {
    let own = std::env::current_exe().unwrap();
    let arguments = [
        "--exact",
        "probe::serves_when_it_is_started_as_the_probe",
        "--nocapture",
    ];
    let mut command = match tracer {
        [] => Command::new(own),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(own);
            command
        }
    };
    command
        .args(arguments)
        .env(STORE, options.store)
        .env(TAIL, options.tail_events.to_string());
    command
        .env(FIRST, options.taken_first.to_string())
        .env_remove(SKIP_SYNC)
        .env_remove(HEADS);
    for (is_set, name) in [(options.skip_sync, SKIP_SYNC), (options.tells_heads, HEADS)] {
        if is_set {
            command.env(name, "1");
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Probe {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, words) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(word) = parse(&line)
                    && sender.send(word).is_err()
                {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, words }
    }

    pub fn send(&mut self, number: u64) {
        // A process that just died takes nothing; its end of output tells.
        let _ = writeln!(self.input.as_mut().unwrap(), "{number}");
    }

    /// Gives the next word; none when the process has ended.
    pub fn next(&mut self) -> Option<Word> {
        match self.words.recv_timeout(DEADLINE) {
            Ok(word) => Some(word),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("the process says nothing for {DEADLINE:?}: {error}"),
        }
    }

    /// Ends the process with SIGKILL, gives what it had still said.
    pub fn kill(mut self) -> Vec<Word> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.next()).collect();
        let status = self.child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "the process ended by itself before the kill: {status}");
        rest
    }

    /// Stops the process where it is, gives what it had still said.
    pub fn pause(&mut self) -> Vec<Word> {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        std::iter::from_fn(|| self.words.recv_timeout(Duration::from_millis(300)).ok()).collect()
    }

    /// Waits for a process that has said its last word.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends the input, waits for a clean end, gives what it had still said.
    pub fn finish(mut self) -> Vec<Word> {
        drop(self.input.take());
        let rest = std::iter::from_fn(|| self.next()).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        rest
    }
}

fn parse(line: &str) -> Option<Word> {
    // The test harness writes its own beginning of a line before the first word.
    let words: Vec<&str> = line.rsplit(" ... ").next()?.split(' ').collect();
    match words.as_slice() {
        ["t", number] => Some(Word::Taken(number.parse().ok()?)),
        ["replay"] => Some(Word::Replay),
        ["ready"] => Some(Word::Ready),
        ["a", number, position] => Some(Word::Acknowledged {
            number: number.parse().ok()?,
            position: position.parse().ok()?,
        }),
        _ => None,
    }
}

fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{words}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
fn serves_when_it_is_started_as_the_probe() {
    let Ok(store) = std::env::var(STORE) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let mut options = OpenOptions::new()
        .tail_events(number(TAIL))
        .exit_on_fault()
        .on_progress(|step| match step {
            OpenProgress::Replaying { .. } => say("replay"),
            OpenProgress::Ready { .. } => say("ready"),
        });
    options.skip_sync = std::env::var(SKIP_SYNC).is_ok();
    say("");
    let mut input = std::io::stdin()
        .lines()
        .map(|line| line.unwrap().parse::<u64>().unwrap());
    let taken = |number: &u64| say(&format!("t {number}"));
    let first: Vec<u64> = input.by_ref().take(number(FIRST)).inspect(taken).collect();
    let log = SledLog::open(store, options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    if std::env::var(HEADS).is_ok() {
        let mut heads = log.subscribe();
        runtime.spawn(async move {
            while heads.changed().await.is_ok() {
                say(&format!("h {}", heads.borrow_and_update().position));
            }
        });
    }
    let mut tasks = Vec::new();
    for number in first.into_iter().chain(input.inspect(taken)) {
        let log = log.clone();
        tasks.push(runtime.spawn(async move {
            let appended = log.append(append_of(number)).await.unwrap();
            say(&format!("a {number} {}", appended.first));
        }));
    }
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
        log.flush_and_close().await.unwrap();
    });
}
