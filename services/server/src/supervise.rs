//! One child process: started, watched, started again, stopped.
//!
//! A [`Charge`] says how its child is started and when it answers; [`Supervised`] keeps it running. What ended is started
//! again after 1 s, then 2 s, up to 30 s; a child that was well for a minute begins at 1 s again. Children must be started
//! from the main thread, since they end with the thread that started them: the runtime has only that one.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use borealis_service_kit::exit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{error::ServerError, process};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Is how long a child must have been well for its pauses to begin anew.
const WELL: Duration = Duration::from_secs(60);
/// Is how often a child that starts is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Says how one child is started, and when it answers.
pub trait Charge: Send + 'static {
    /// Returns its name, for screen and log.
    fn name(&self) -> &str;

    /// Prepares a start and says what to start.
    ///
    /// Errors: it cannot be prepared; it is tried again like a child that ended.
    fn command(&mut self) -> Result<Command, ServerError>;

    /// Tells whether the child answers, and a remark for the screen.
    fn answers(&mut self, pid: u32) -> Option<Answering>;

    /// Takes a line that the child printed to stderr.
    fn said(&mut self, line: &str);

    /// Clears away what says that the child answers.
    fn ended(&mut self) {}

    /// Tells whether a first start that ended with this code is in vain.
    fn in_vain(&self, code: Option<i32>) -> Option<u8> {
        (code == Some(i32::from(exit::PORT_IN_USE))).then_some(exit::PORT_IN_USE)
    }
}

/// Is what there is to say of a child that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    /// A remark for the screen, empty when there is nothing to say.
    pub remark: String,
}

/// Tells what a child does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was started and does not answer yet.
    Starting,
    /// It answers.
    Ready {
        /// Its process.
        pid: u32,
        /// A remark for the screen.
        remark: String,
        /// How often it was started before.
        restarts: u32,
    },
    /// It ended and is started again soon.
    Waiting {
        /// Why it ended.
        why: String,
        /// When it is started again.
        pause: Duration,
    },
    /// It ended at its first start, with a code that a restart does not change.
    GaveUp {
        /// The code.
        code: u8,
        /// The last that it said.
        said: String,
    },
    /// It was stopped.
    Stopped,
}

impl State {
    /// Tells whether the child answers.
    pub fn is_ready(&self) -> bool {
        matches!(self, State::Ready { .. })
    }
}

/// Is what happened to a child.
#[derive(Debug, Clone)]
pub struct Happening {
    /// The child.
    pub name: String,
    /// What it does now.
    pub state: State,
}

/// Is a child that is kept running.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    state: watch::Receiver<State>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts a child and keeps it running; what happens to it is told on the channel.
    pub fn start(charge: impl Charge, happenings: mpsc::UnboundedSender<Happening>) -> Self {
        let name = charge.name().to_owned();
        let (state_sender, state) = watch::channel(State::Starting);
        let (stop, stop_receiver) = watch::channel(None);
        let task = Task {
            charge,
            state: state_sender,
            stop: stop_receiver,
            happenings,
            last_words: String::new(),
        };
        Self {
            name,
            state,
            stop,
            task: tokio::spawn(task.run()),
        }
    }

    /// Returns the child's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Follows what the child does.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Stops the child: SIGTERM, and SIGKILL at the deadline.
    pub async fn stop(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        if let Err(error) = self.task.await {
            tracing::error!(child = self.name, %error, "a supervisor failed");
        }
    }
}

struct Task<C> {
    charge: C,
    state: watch::Sender<State>,
    stop: watch::Receiver<Option<Instant>>,
    happenings: mpsc::UnboundedSender<Happening>,
    last_words: String,
}

enum Ended {
    /// By itself; it had answered since the instant, if ever.
    Itself {
        why: String,
        code: Option<i32>,
        ready_since: Option<Instant>,
    },
    /// Since it was told to.
    Told,
}

impl<C: Charge> Task<C> {
    async fn run(mut self) {
        let (mut pause, mut starts) = (FIRST_PAUSE, 0u32);
        loop {
            self.tell(State::Starting);
            let ended = self.once(starts).await;
            self.charge.ended();
            let (why, code, ready_since) = match ended {
                Ended::Told => return self.tell(State::Stopped),
                Ended::Itself { why, code, ready_since } => (why, code, ready_since),
            };
            if starts == 0
                && ready_since.is_none()
                && let Some(code) = self.charge.in_vain(code)
            {
                let said = if self.last_words.is_empty() {
                    why
                } else {
                    std::mem::take(&mut self.last_words)
                };
                return self.tell(State::GaveUp { code, said });
            }
            starts = starts.saturating_add(1);
            if ready_since.is_some_and(|since| since.elapsed() >= WELL) {
                pause = FIRST_PAUSE;
            }
            self.tell(State::Waiting { why, pause });
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told_to_stop(&mut stop) => return self.tell(State::Stopped),
            }
            // Where a test ends children on purpose, again and again, none of them waits longer for that.
            if !borealis_fail_points::is_on() {
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn tell(&self, state: State) {
        let name = self.charge.name().to_owned();
        match &state {
            State::Starting => tracing::info!(child = name, "starting"),
            State::Ready { pid, .. } => tracing::info!(child = name, pid, "ready"),
            State::Waiting { why, pause } => {
                tracing::error!(child = name, why, pause_ms = pause.as_millis(), "ended, starting again");
            }
            State::GaveUp { code, said } => tracing::error!(child = name, code, said, "cannot start"),
            State::Stopped => tracing::info!(child = name, "stopped"),
        }
        self.state.send_replace(state.clone());
        // Nobody listens any more while everything stops.
        let _ = self.happenings.send(Happening { name, state });
    }

    /// Starts the child once and returns when it has ended.
    async fn once(&mut self, restarts: u32) -> Ended {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => {
                let why = borealis_bus_schema::causes::chain(&error);
                return Ended::Itself {
                    why,
                    code: None,
                    ready_since: None,
                };
            }
        };
        let pid = child.id().unwrap_or_default();
        let mut lines = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
        let mut look = tokio::time::interval(LOOK);
        let mut ready_since = None;
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                status = child.wait() => {
                    self.drain(&mut lines).await;
                    let (why, code) = match status {
                        Ok(status) => (reason(status), status.code()),
                        Err(error) => (error.to_string(), None),
                    };
                    return Ended::Itself { why, code, ready_since };
                }
                line = next(&mut lines) => self.hear(line, &mut lines),
                _ = look.tick(), if ready_since.is_none() => {
                    if let Some(answering) = self.charge.answers(pid) {
                        ready_since = Some(Instant::now());
                        self.tell(State::Ready { pid, remark: answering.remark, restarts });
                    }
                }
                () = told_to_stop(&mut stop) => {
                    self.end(child, &mut lines).await;
                    return Ended::Told;
                }
            }
        }
    }

    fn spawn(&mut self) -> Result<Child, ServerError> {
        let mut command = self.charge.command()?;
        command
            .env(process::PARENT, std::process::id().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let what = self.charge.name().to_owned();
        command.spawn().map_err(ServerError::io(format!("starting {what}")))
    }

    fn hear(&mut self, line: Option<String>, lines: &mut Option<Lines<BufReader<ChildStderr>>>) {
        match line {
            Some(line) => {
                self.charge.said(&line);
                self.last_words = line;
            }
            None => *lines = None,
        }
    }

    /// Takes what an ended child had still to say.
    async fn drain(&mut self, lines: &mut Option<Lines<BufReader<ChildStderr>>>) {
        let rest = async {
            while lines.is_some() {
                let line = next(lines).await;
                self.hear(line, lines);
            }
        };
        // A grandchild that holds the pipe open must not hold this up.
        let _ = tokio::time::timeout(Duration::from_millis(200), rest).await;
    }

    async fn end(&mut self, mut child: Child, lines: &mut Option<Lines<BufReader<ChildStderr>>>) {
        let deadline = self.stop.borrow().unwrap_or_else(Instant::now);
        signal(&child, Signal::TERM);
        let waited = loop {
            tokio::select! {
                status = child.wait() => break status.is_ok(),
                line = next(lines) => self.hear(line, lines),
                () = tokio::time::sleep_until(deadline.into()) => break false,
            }
        };
        if !waited {
            tracing::warn!(child = self.charge.name(), "did not stop in time and is killed");
            if let Err(error) = child.kill().await {
                tracing::error!(child = self.charge.name(), %error, "cannot be killed");
            }
        }
        self.drain(lines).await;
    }
}

/// Waits until the child is to stop, which it is too when nobody holds it any more.
async fn told_to_stop(stop: &mut watch::Receiver<Option<Instant>>) {
    let _ = stop.wait_for(Option::is_some).await;
}

/// Waits for a line of the child; for ever when there is none to come.
async fn next(lines: &mut Option<Lines<BufReader<ChildStderr>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in this moment.
        let _ = kill_process(pid, signal);
    }
}

fn reason(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shell {
        script: &'static str,
        said: Vec<String>,
    }

    fn shell(script: &'static str) -> Shell {
        Shell {
            script,
            said: Vec::new(),
        }
    }

    impl Charge for Shell {
        fn name(&self) -> &str {
            "shell"
        }
        fn command(&mut self) -> Result<Command, ServerError> {
            let mut command = Command::new("sh");
            command.args(["-c", self.script]);
            Ok(command)
        }
        fn answers(&mut self, _pid: u32) -> Option<Answering> {
            let ready = self.said.iter().any(|line| line == "ready");
            ready.then(|| Answering { remark: String::new() })
        }
        fn said(&mut self, line: &str) {
            self.said.push(line.to_owned());
        }
    }

    async fn next(happenings: &mut mpsc::UnboundedReceiver<Happening>) -> State {
        let soon = Duration::from_secs(30);
        tokio::time::timeout(soon, happenings.recv())
            .await
            .unwrap()
            .unwrap()
            .state
    }

    #[tokio::test]
    async fn what_ended_is_started_again_after_growing_pauses() {
        let (teller, mut happenings) = mpsc::unbounded_channel();
        let child = Supervised::start(shell("exit 74"), teller);
        let mut pauses = Vec::new();
        while pauses.len() < 2 {
            if let State::Waiting { why, pause } = next(&mut happenings).await {
                assert_eq!(why, "exit code 74");
                pauses.push(pause);
            }
        }
        assert_eq!(pauses, [FIRST_PAUSE, FIRST_PAUSE * 2]);
        child.stop(Instant::now()).await;
    }

    #[tokio::test]
    async fn a_first_start_without_a_port_is_given_up() {
        let (teller, mut happenings) = mpsc::unbounded_channel();
        let _child = Supervised::start(shell("echo the port is taken >&2; exit 76"), teller);
        assert_eq!(next(&mut happenings).await, State::Starting);
        let gave_up = State::GaveUp {
            code: 76,
            said: "the port is taken".to_owned(),
        };
        assert_eq!(next(&mut happenings).await, gave_up);
    }

    #[tokio::test]
    async fn what_does_not_stop_is_killed_at_the_deadline() {
        let (teller, mut happenings) = mpsc::unbounded_channel();
        let child = Supervised::start(
            shell("trap '' TERM; echo ready >&2; while :; do sleep 0.05; done"),
            teller,
        );
        assert_eq!(next(&mut happenings).await, State::Starting);
        assert!(next(&mut happenings).await.is_ready());
        let began = Instant::now();
        child.stop(began + Duration::from_millis(300)).await;
        assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < Duration::from_secs(10));
        assert_eq!(next(&mut happenings).await, State::Stopped);
    }
}
