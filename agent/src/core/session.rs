//! The connection as the core sees it: hello, welcome, and the keys that the server offers.

use super::backoff::Backoff;
use super::record::Record;
use super::time::Now;
use super::{Core, Input, Output, Step, TellError};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::order::KeySet;

/// Holds where the connection stands.
#[derive(Debug)]
pub struct Session {
    connected: bool,
    welcome: bool,
    counter: u64,
    challenge: Option<String>,
    quarantined: bool,
    hello: HelloState,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HelloState {
    /// Nothing is under way.
    Idle,
    /// One is due at this instant.
    Due(u64),
    /// The first was sent, which asks for a challenge.
    Asked,
    /// The number of the second is being written.
    Counting,
    /// The second was sent, which answers the challenge.
    Said,
}

impl Session {
    pub(super) const fn new(counter: u64) -> Self {
        Self {
            connected: false,
            welcome: false,
            counter,
            challenge: None,
            quarantined: false,
            hello: HelloState::Idle,
            backoff: Backoff::new(1_000, 60_000),
        }
    }
    pub(super) const fn is_connected(&self) -> bool {
        self.connected
    }
    pub(super) const fn is_welcome(&self) -> bool {
        self.connected && self.welcome
    }
    pub(super) const fn counter(&self) -> u64 {
        self.counter
    }
    pub(super) const fn due_at(&self) -> Option<u64> {
        match self.hello {
            HelloState::Due(at) if self.connected => Some(at),
            _ => None,
        }
    }
}

impl Core {
    pub(super) fn connected(&mut self, now: Now) {
        self.session.connected = true;
        self.session.welcome = false;
        self.session.challenge = None;
        self.session.hello = HelloState::Due(now.mono_ms);
        self.session.backoff.reset();
        self.book.hurry();
        self.facts.connected(now);
    }

    pub(super) const fn disconnected(&mut self) {
        self.session.connected = false;
        self.session.welcome = false;
        self.session.hello = HelloState::Idle;
    }

    /// Says the first hello, which asks for a challenge and counts nothing.
    pub(super) fn say_hello_if_due(&mut self, now: Now) {
        if self.session.due_at().is_some_and(|at| at <= now.mono_ms) {
            self.session.hello = HelloState::Asked;
            self.session.challenge = None;
            self.send_hello(now);
        }
    }

    /// Says the second hello, which answers the challenge under a number that was never used before.
    pub(super) fn hello_counted(&mut self, counter: u64, now: Now) {
        self.session.counter = self.session.counter.max(counter);
        if self.session.connected && self.session.hello == HelloState::Counting {
            self.session.hello = HelloState::Said;
            self.send_hello(now);
        }
    }

    fn send_hello(&mut self, now: Now) {
        let hello = Hello {
            guid: self.config.guid,
            agent_version: self.config.agent_version.clone(),
            contexts: self.config.contexts.clone(),
            roles: self.config.roles.iter().map(|role| role.name.to_string()).collect(),
            journal_counter: self.session.counter,
            at: now.wall,
            challenge: self.session.challenge.take(),
        };
        match self.sealer.hello(&hello) {
            Ok(signed) => self.out.push(Output::SendHello(signed)),
            Err(error) => {
                tracing::error!(error = %error, "the hello cannot be signed");
                self.hello_again(now);
            }
        }
    }

    pub(super) fn hello_again(&mut self, now: Now) {
        let pause = self.session.backoff.next_ms(&mut self.jitter);
        self.session.hello = HelloState::Due(now.mono_ms.saturating_add(pause));
    }

    pub(super) fn welcomed(&mut self, answer: Result<Welcome, TellError>, now: Now) {
        if !self.session.connected {
            return;
        }
        match answer {
            Ok(welcome) => {
                if self.clock.hear(welcome.server_time, now) {
                    tracing::warn!("the bus's time is behind this device's: the server is asked over HTTPS");
                    self.out.push(Output::AskTime);
                }
                self.told_quarantined(welcome.quarantined);
                if welcome.renew && welcome.challenge.is_none() {
                    self.out.push(Output::AskTime);
                }
                self.offered_key_set(welcome.key_set);
                self.challenged(welcome.challenge, now);
            }
            Err(error) => {
                tracing::warn!(?error, "the server did not answer the hello");
                self.hello_again(now);
            }
        }
    }

    /// Answers the challenge, or is welcome when there is none any more.
    fn challenged(&mut self, challenge: Option<String>, now: Now) {
        match (challenge, self.session.hello) {
            (None, HelloState::Asked | HelloState::Said) => {
                self.session.welcome = true;
                self.session.hello = HelloState::Idle;
                self.session.backoff.reset();
            }
            (Some(challenge), HelloState::Asked) => {
                self.session.challenge = Some(challenge);
                self.session.hello = HelloState::Counting;
                let counter = self.session.counter.saturating_add(1);
                self.out.push(Output::Append {
                    records: vec![Record::Hello { counter }],
                    step: Step::Hello(counter),
                });
            }
            // The answer came too late, or the server began anew meanwhile.
            (Some(_), HelloState::Said) => self.hello_again(now),
            // An answer to a hello of an earlier connection.
            (_, HelloState::Idle | HelloState::Due(_) | HelloState::Counting) => {}
        }
    }

    fn told_quarantined(&mut self, quarantined: bool) {
        if quarantined && !self.session.quarantined {
            tracing::warn!(
                "this device is quarantined: it may report and gets no orders until an operator releases it"
            );
        }
        self.session.quarantined = quarantined;
    }

    /// Takes a key set when the pinned root signed it and it is not older than the one in use.
    pub(super) fn offered_key_set(&mut self, signed: Signed) {
        let offered = match KeySet::open(&signed, &self.config.code_signing_root) {
            Ok(offered) => offered,
            Err(error) => {
                tracing::error!(error = %error, "the server offered a key set that the pinned root did not sign");
                return;
            }
        };
        let own = &self.config.key_set;
        if offered.version < own.version || (offered.version == own.version && offered != *own) {
            tracing::error!(
                offered = offered.version,
                own = own.version,
                "the server offered an older key set"
            );
        } else if offered != *own {
            tracing::info!(version = offered.version, "the device pins a newer key set");
            self.config.key_set = offered;
            self.out.push(Output::KeepKeySet(signed));
        }
    }

    pub(super) fn begin(&mut self, now: Now) {
        self.signs_since = now.mono_ms;
        for key in self.book.leftovers() {
            self.out.push(Output::EndLeftovers(key));
        }
    }

    /// Goes on where the journal made it possible.
    pub(super) fn appended(&mut self, step: Step, now: Now) {
        match step {
            Step::Hello(counter) => self.hello_counted(counter, now),
            Step::Received { order, digest, reply } => self.received(*order, digest, reply, now),
            Step::Settled {
                order,
                digest,
                result,
                reply,
            } => self.settled(*order, digest, *result, reply),
            Step::Forestalled {
                key,
                role,
                result,
                keep_until,
                reply,
            } => {
                self.forestalled(key, role, *result, keep_until, reply);
            }
            Step::Starting(key) => self.may_start(key, now),
            Step::Exited(key) => self.exit_recorded(key),
            Step::Closed(key) => self.closed(key),
        }
    }

    /// Says no, or tries again, where the journal could not take the step.
    pub(super) fn append_failed(&mut self, step: Step, full: bool, now: Now) {
        match step {
            Step::Hello(_) => self.hello_again(now),
            Step::Received { reply, .. } | Step::Settled { reply, .. } | Step::Forestalled { reply, .. } => {
                self.refuse_for_space(reply, full);
            }
            Step::Starting(key) => self.start_later(key, now),
            Step::Exited(key) => self.record_exit_later(key, now),
            Step::Closed(key) => self.close_later(key, now),
        }
    }
}

impl Input {
    /// Names the input for logs; never shows its content.
    pub const fn name(&self) -> &'static str {
        match self {
            Input::Began => "began",
            Input::Connected => "connected",
            Input::Disconnected => "disconnected",
            Input::Order { .. } => "order",
            Input::Appended(_) => "appended",
            Input::AppendFailed { .. } => "append failed",
            Input::Welcomed(_) => "welcomed",
            Input::ServerTime(_) => "server time",
            Input::KeySet(_) => "key set",
            Input::Started(_) => "started",
            Input::OutputGrew { .. } => "output grew",
            Input::Exited { .. } => "exited",
            Input::LeftoversEnded { .. } => "leftovers ended",
            Input::OutputAnswered { .. } => "output answered",
            Input::ResultAnswered { .. } => "result answered",
            Input::Facts(_) => "facts",
            Input::FactsAnswered(_) => "facts answered",
            Input::Tick => "tick",
            Input::Stop => "stop",
        }
    }
}
