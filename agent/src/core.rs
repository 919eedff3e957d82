//! The agent's decisions, without input or output: an input and the time go in, things to do come out.
//!
//! Nothing here reads a clock, waits, or touches a disk, a socket or a process. What has to be durable before the next step
//! is an [`Output::Append`]; the shell writes it and hands the [`Step`] back as [`Input::Appended`] (or
//! [`Input::AppendFailed`]), and only then does the core acknowledge, start or report. So the same core drives one machine,
//! a thousand simulated ones, and a simulation that runs through years.
//!
//! [`Core`] is the whole; [`session`] speaks with the server, [`acceptance`] decides about orders, [`book`] remembers runs,
//! [`facts`] decides what is worth telling.

pub mod acceptance;
pub mod backoff;
pub mod book;
pub mod facts;
pub mod record;
pub mod runs;
pub mod session;
pub mod time;
pub mod window;

#[cfg(test)]
mod tests;

use backoff::Jitter;
use book::Book;
use borealis_bus_schema::codec::CodecError;
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::{PublicKey, Signed};
use borealis_bus_schema::ids::{Guid, RoleName, RunId, VerbName};
use borealis_bus_schema::messages::device::{Accepted, Hello, RunResult, TellState, Welcome};
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::order::{Context, KeySet, Order};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::time::Timestamp;
use facts::FactsDesk;
use record::{Record, RunKey};
use session::Session;
use std::collections::VecDeque;
use time::{Now, ServerClock};

/// Is how many runs wait at most.
pub const MAX_QUEUED: usize = 256;

/// Signs what the device says; the key stays behind it.
pub trait Sealer: Send {
    /// Signs a run's result.
    ///
    /// Errors: the codec's, when it is too large.
    fn result(&self, result: &RunResult) -> Result<Signed, CodecError>;
    /// Signs a hello.
    ///
    /// Errors: as [`Sealer::result`].
    fn hello(&self, hello: &Hello) -> Result<Signed, CodecError>;
    /// Signs facts.
    ///
    /// Errors: as [`Sealer::result`].
    fn facts(&self, facts: &Facts) -> Result<Signed, CodecError>;
    /// Signs a result out of the journal again: it may have been signed with a key that was replaced since.
    fn again(&self, result: &Signed) -> Signed;
}

/// Names a role with its verbs.
#[derive(Debug, Clone)]
pub struct RoleSpec {
    /// The role.
    pub name: RoleName,
    /// What it can be asked.
    pub verbs: Vec<VerbName>,
}

/// Is what the core needs to know.
pub struct CoreConfig {
    /// The device.
    pub guid: Guid,
    /// With which rights the agent acts.
    pub contexts: Vec<Context>,
    /// The agent's version.
    pub agent_version: String,
    /// What it offers.
    pub roles: Vec<RoleSpec>,
    /// The pinned code-signing root.
    pub code_signing_root: PublicKey,
    /// The keys that may sign orders, opened with the root.
    pub key_set: KeySet,
    /// How many runs may be under way at once.
    pub max_running: usize,
    /// A random number that spreads devices.
    pub jitter_seed: u64,
}

/// Says why a word to the server was not answered as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TellError {
    /// No answer came.
    Lost,
    /// The server refused.
    Refused {
        /// With this code.
        code: Code,
        /// Whether to say it again.
        retry: Retry,
    },
}

/// Tells why a run is ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its time is over.
    TimedOut,
    /// An operator wants it.
    Cancelled,
    /// The agent stops.
    Stopping,
}

/// Tells how a run's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It never began.
    NotBegun {
        /// Why.
        code: Code,
        /// The same in a sentence.
        reason: String,
    },
    /// Nobody saw it: the process that watches died.
    Unknown {
        /// What is known.
        reason: String,
    },
}

/// Is what the shell measured of a run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub ending: Ending,
    /// How long its process lived.
    pub duration_ms: u64,
    /// How much stdout is kept.
    pub stdout_bytes: u64,
    /// How much stderr is kept.
    pub stderr_bytes: u64,
    /// Whether output was cut.
    pub truncated: bool,
}

/// Names where an answer goes; empty when nobody asked for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo(pub String);

/// Is a step that waits for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A hello's number.
    Hello(u64),
    /// An order that will be done.
    Received {
        /// The order.
        order: Box<Order>,
        /// Its digest.
        digest: [u8; 32],
        /// Who asked.
        reply: ReplyTo,
    },
    /// An order that is done at once, or refused for good.
    Settled {
        /// The order.
        order: Box<Order>,
        /// Its digest.
        digest: [u8; 32],
        /// The signed result.
        result: Box<(RunResult, Signed)>,
        /// Who asked.
        reply: ReplyTo,
    },
    /// A cancelled run whose order had not come.
    Forestalled {
        /// The run.
        key: RunKey,
        /// The role it would have belonged to.
        role: RoleName,
        /// The signed result.
        result: Box<(RunResult, Signed)>,
        /// How long it is remembered.
        keep_until: Timestamp,
        /// Who asked.
        reply: ReplyTo,
    },
    /// A run whose process may begin.
    Starting(RunKey),
    /// A run that is over.
    Exited(RunKey),
    /// A run whose result the server has.
    Closed(RunKey),
}

/// Is what happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The program began; what the journal left over is dealt with.
    Began,
    /// The bus is there.
    Connected,
    /// The bus is gone.
    Disconnected,
    /// An order came.
    Order {
        /// The role in its subject.
        role: RoleName,
        /// The verb in its subject.
        verb: VerbName,
        /// Its bytes.
        body: Vec<u8>,
        /// Who asked.
        reply: ReplyTo,
    },
    /// The journal holds the records.
    Appended(Step),
    /// The journal could not take the records.
    AppendFailed {
        /// What was to follow.
        step: Step,
        /// Whether the disk is full.
        full: bool,
    },
    /// The server answered the hello.
    Welcomed(Result<Welcome, TellError>),
    /// The server told its time over HTTPS.
    ServerTime(Timestamp),
    /// A key set came over HTTPS.
    KeySet(Signed),
    /// A run's process lives.
    Started(RunKey),
    /// A run's output grew.
    OutputGrew {
        /// The run.
        key: RunKey,
        /// Which stream.
        stream: OutputStream,
        /// How much the spool holds.
        size: u64,
    },
    /// A run's process, and its whole tree where it was ended, is gone.
    Exited {
        /// The run.
        key: RunKey,
        /// What was measured.
        exit: Exit,
    },
    /// The leftovers of a run of an earlier life are ended.
    LeftoversEnded {
        /// The run.
        key: RunKey,
        /// What its spool holds.
        exit: Exit,
    },
    /// The server answered a piece of output with the first byte that it does not have.
    OutputAnswered {
        /// The run.
        key: RunKey,
        /// Which stream.
        stream: OutputStream,
        /// Where the piece began.
        offset: u64,
        /// What the server said.
        answer: Result<u64, TellError>,
    },
    /// The server answered a result.
    ResultAnswered {
        /// The run.
        key: RunKey,
        /// What it said.
        answer: Result<(), TellError>,
    },
    /// Facts were gathered.
    Facts(Box<Facts>),
    /// The server answered facts.
    FactsAnswered(Result<(), TellError>),
    /// Time passed.
    Tick,
    /// The program is to end.
    Stop,
}

/// Is what is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write these, durably, then hand the step back.
    Append {
        /// The records.
        records: Vec<Record>,
        /// What follows.
        step: Step,
    },
    /// Answer an order.
    Reply {
        /// Who asked.
        to: ReplyTo,
        /// The answer.
        reply: Reply<Accepted>,
    },
    /// Say hello.
    SendHello(Signed),
    /// Renew soon, over HTTPS: the server's time is wanted, or something waits there.
    AskTime,
    /// Keep this key set for the next start.
    KeepKeySet(Signed),
    /// Begin a run.
    Start(Box<Order>),
    /// End a run and its whole process tree.
    End {
        /// The run.
        key: RunKey,
        /// Why.
        why: Why,
    },
    /// End what an earlier life left of a run, and measure its spool.
    EndLeftovers(RunKey),
    /// Hint at a change.
    SendState {
        /// The role that speaks.
        role: RoleName,
        /// The change.
        state: TellState,
    },
    /// Send a piece of output.
    SendOutput {
        /// The run.
        key: RunKey,
        /// The role that speaks.
        role: RoleName,
        /// Which stream.
        stream: OutputStream,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        len: usize,
    },
    /// Send a result.
    SendResult {
        /// The run.
        key: RunKey,
        /// The role that speaks.
        role: RoleName,
        /// The signed result.
        result: Signed,
    },
    /// Remove the run's folder: nothing of it is needed any more.
    Forget(RunKey),
    /// Gather facts.
    GatherFacts,
    /// Send facts.
    SendFacts(Signed),
    /// Nothing is left to do; the program may end.
    Stopped,
}

/// Holds the agent's state and takes its decisions.
pub struct Core {
    config: CoreConfig,
    sealer: Box<dyn Sealer>,
    clock: ServerClock,
    jitter: Jitter,
    session: Session,
    book: Book,
    facts: FactsDesk,
    /// Runs that may begin, oldest first.
    queue: VecDeque<RunKey>,
    /// When a start that the journal could not take is tried again.
    start_retry_at: Option<u64>,
    /// Since when it signs with the key that it has.
    signs_since: u64,
    stopping: bool,
    stopped: bool,
    out: Vec<Output>,
}

impl Core {
    /// Makes the core from what the journal holds.
    pub fn new(config: CoreConfig, sealer: Box<dyn Sealer>, records: Vec<Record>) -> Self {
        let (mut book, kept) = Book::restore(records);
        book.sign_again(&*sealer);
        let queue = book.queued().collect();
        let mut jitter = Jitter::new(config.jitter_seed);
        let facts = FactsDesk::new(&mut jitter);
        Self {
            session: Session::new(kept.hello_counter),
            clock: ServerClock::new(kept.proved_at),
            facts,
            config,
            sealer,
            jitter,
            book,
            queue,
            start_retry_at: None,
            signs_since: 0,
            stopping: false,
            stopped: false,
            out: Vec::new(),
        }
    }

    /// Signs with another key from now on, also what waits for the server.
    pub fn rekey(&mut self, sealer: Box<dyn Sealer>, now: Now) {
        self.sealer = sealer;
        self.signs_since = now.mono_ms;
        self.book.sign_again(&*self.sealer);
    }

    /// Takes one input and returns what is to be done, in this order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Output> {
        self.take(input, now);
        self.advance(now);
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, input: Input, now: Now) {
        match input {
            Input::Began => self.begin(now),
            Input::Connected => self.connected(now),
            Input::Disconnected => self.disconnected(),
            Input::Order {
                role,
                verb,
                body,
                reply,
            } => self.order(&role, &verb, &body, reply, now),
            Input::Appended(step) => self.appended(step, now),
            Input::AppendFailed { step, full } => self.append_failed(step, full, now),
            Input::Welcomed(answer) => self.welcomed(answer, now),
            Input::ServerTime(at) => self.clock.set(at, now),
            Input::KeySet(signed) => self.offered_key_set(signed),
            Input::Started(key) => self.run_started(key, now),
            Input::OutputGrew { key, stream, size } => self.output_grew(key, stream, size),
            Input::Exited { key, exit } => self.run_exited(key, exit, now),
            Input::LeftoversEnded { key, exit } => self.leftovers_ended(key, exit, now),
            Input::OutputAnswered {
                key,
                stream,
                offset,
                answer,
            } => self.output_answered(key, stream, offset, answer, now),
            Input::ResultAnswered { key, answer } => self.result_answered(key, answer, now),
            Input::Facts(facts) => self.gathered(*facts),
            Input::FactsAnswered(answer) => self.facts.answered(&answer, now, &mut self.jitter),
            Input::Tick => {}
            Input::Stop => self.stop(),
        }
    }

    /// Does what time or a free place makes possible.
    fn advance(&mut self, now: Now) {
        self.say_hello_if_due(now);
        self.end_what_ran_too_long(now);
        self.start_what_may_start(now);
        self.send_what_is_due(now);
        self.tell_facts_if_due(now);
        // Only what a signature proves makes anything forgotten: a bus that lies about the time could repeat an order else.
        self.book.forget_until(self.clock.floor());
        if self.stopping && !self.stopped && !self.book.is_any_running() {
            self.stopped = true;
            self.out.push(Output::Stopped);
        }
    }

    /// Returns the monotonic instant at which [`Input::Tick`] is wanted, if any.
    pub fn deadline_ms(&self) -> Option<u64> {
        let online = self.session.is_connected();
        let starts = self.start_retry_at.filter(|_| !self.queue.is_empty() && !self.stopping);
        let candidates = [
            self.session.due_at(),
            self.book.timeout_at(),
            starts,
            self.book.journal_due_at(),
            self.book.send_due_at().filter(|_| online),
            self.facts.due_at().filter(|_| online && !self.stopping),
        ];
        candidates.into_iter().flatten().min()
    }

    /// Returns the records that stand for the whole state; what compaction writes.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![
            Record::Hello {
                counter: self.session.counter(),
            },
            Record::Proved { at: self.clock.floor() },
        ];
        self.book.snapshot(&mut records);
        records
    }

    /// Returns by how much the device's clock is ahead of the server's, once known.
    pub fn skew_ms(&self) -> Option<i64> {
        self.clock.skew_ms()
    }

    /// Returns how many runs are under way, and how many wait.
    pub fn load(&self) -> (usize, usize) {
        (self.book.running(), self.queue.len())
    }

    /// Tells whether output or results are on their way, so that a renewal of the connection should wait.
    pub fn is_streaming(&self) -> bool {
        self.book.running() > 0 || self.book.is_any_sending()
    }

    /// Tells whether the server welcomed this connection.
    pub fn is_welcome(&self) -> bool {
        self.session.is_welcome()
    }

    fn stop(&mut self) {
        self.stopping = true;
        for key in self.book.end_all(Why::Stopping) {
            self.out.push(Output::End {
                key,
                why: Why::Stopping,
            });
        }
    }
}

/// Makes the answer to an order.
fn accepted(
    run: RunId,
    attempt: u32,
    state: borealis_bus_schema::messages::scheduler::RunState,
    result: Option<Signed>,
) -> Accepted {
    Accepted {
        run,
        attempt,
        state,
        result,
    }
}
