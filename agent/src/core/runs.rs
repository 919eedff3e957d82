//! A run from its turn to its closing: start, output, end, result, until the server has everything.

use super::acceptance::exited_record;
use super::book::{Ended, Phase, Running, Streams};
use super::record::{Record, RunKey};
use super::time::Now;
use super::{Core, Ending, Exit, Output, Step, TellError, Why};
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::messages::device::{Accepted, RunResult, TellState};
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use borealis_bus_schema::order::OrderBody;
use borealis_bus_schema::time::Timestamp;

/// Is the pause before a result is told again that the server refused for good, in milliseconds.
const REFUSED_PAUSE_MS: u64 = 3_600_000;

/// Is for how long after a change of the key a signature may be refused by whoever does not know the key yet, in milliseconds.
const NEW_KEY_MS: u64 = 120_000;

/// Is how long a process may take to begin, in milliseconds.
const START_PATIENCE_MS: u64 = 30_000;

/// Is the pause before the journal is tried again, in milliseconds.
const JOURNAL_PAUSE_MS: u64 = 5_000;

/// Is how a run ended, before it is signed.
#[derive(Debug, Clone)]
pub struct Verdict {
    state: RunState,
    exit_code: Option<i32>,
    signal: Option<i32>,
    started_at: Option<Timestamp>,
    duration_ms: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    truncated: bool,
    reason: Option<String>,
    code: Option<Code>,
}

impl Verdict {
    /// Is the verdict on what was done at once.
    pub const fn succeeded() -> Self {
        Self {
            state: RunState::Succeeded,
            exit_code: None,
            signal: None,
            started_at: None,
            duration_ms: 0,
            stdout_bytes: 0,
            stderr_bytes: 0,
            truncated: false,
            reason: None,
            code: None,
        }
    }
    /// Is the verdict on what never began.
    pub fn ended(state: RunState, reason: &str) -> Self {
        Self {
            state,
            reason: Some(reason.to_owned()),
            ..Self::succeeded()
        }
    }

    /// Is the verdict on what is not done here.
    pub fn refused(code: Code, reason: &str) -> Self {
        Self {
            code: Some(code),
            ..Self::ended(RunState::Refused, reason)
        }
    }

    /// Judges what the shell measured.
    fn of(exit: Exit, ending: Option<Why>, started_at: Option<Timestamp>) -> Self {
        let mut verdict = Self {
            started_at,
            duration_ms: exit.duration_ms,
            stdout_bytes: exit.stdout_bytes,
            stderr_bytes: exit.stderr_bytes,
            truncated: exit.truncated,
            ..Self::succeeded()
        };
        match exit.ending {
            Ending::NotBegun { code, reason } => {
                verdict.state = RunState::Refused;
                verdict.code = Some(code);
                verdict.reason = Some(reason);
                return verdict;
            }
            Ending::Unknown { reason } => {
                verdict.state = RunState::Interrupted;
                verdict.reason = Some(reason);
            }
            Ending::Code(code) => {
                verdict.exit_code = Some(code);
                verdict.state = if code == 0 {
                    RunState::Succeeded
                } else {
                    RunState::Failed
                };
            }
            Ending::Signal(signal) => {
                verdict.signal = Some(signal);
                verdict.state = RunState::Failed;
                verdict.reason = Some(format!("signal {signal} ended it"));
            }
        }
        let (state, reason) = match ending {
            None => return verdict,
            Some(Why::TimedOut) => (RunState::TimedOut, "its time was over"),
            Some(Why::Cancelled) => (RunState::Cancelled, "it was cancelled"),
            Some(Why::Stopping) => (RunState::Interrupted, "the agent stopped"),
        };
        Self {
            state,
            exit_code: None,
            reason: Some(reason.to_owned()),
            ..verdict
        }
    }
}

impl Core {
    /// Builds and signs a result.
    pub(super) fn sealed(&self, key: RunKey, verdict: Verdict, now: Now) -> Option<(RunResult, Signed)> {
        let result = RunResult {
            guid: self.config.guid,
            run: key.run,
            attempt: key.attempt,
            state: verdict.state,
            exit_code: verdict.exit_code,
            signal: verdict.signal,
            started_at: verdict.started_at,
            ended_at: now.wall,
            duration_ms: verdict.duration_ms,
            stdout_bytes: verdict.stdout_bytes,
            stderr_bytes: verdict.stderr_bytes,
            truncated: verdict.truncated,
            reason: verdict.reason,
            code: verdict.code,
        };
        match self.sealer.result(&result) {
            Ok(signed) => Some((result, signed)),
            Err(error) => {
                tracing::error!(run = %key, error = %error, "a result cannot be signed");
                None
            }
        }
    }

    pub(super) fn start_what_may_start(&mut self, now: Now) {
        if self.stopping || self.start_retry_at.is_some_and(|at| at > now.mono_ms) {
            return;
        }
        self.start_retry_at = None;
        while self.book.running() < self.config.max_running {
            let Some(key) = self.queue.pop_front() else { return };
            let server_now = self.clock.at(now);
            let Some(entry) = self.book.get_mut(key) else { continue };
            if !matches!(entry.phase, Phase::Queued(_)) {
                continue;
            }
            let Phase::Queued(order) = std::mem::replace(&mut entry.phase, Phase::Leftover) else {
                continue;
            };
            if server_now >= order.expires_at {
                entry.phase = Phase::Queued(order);
                let verdict = Verdict {
                    code: Some(Code::OrderExpired),
                    ..Verdict::ended(RunState::Expired, "its time was over before its turn came")
                };
                self.end_with(key, verdict, Streams::default(), now);
                continue;
            }
            entry.phase = Phase::Starting(order);
            self.out.push(Output::Append {
                records: vec![Record::Starting { key, at: now.wall }],
                step: Step::Starting(key),
            });
        }
    }

    /// Puts a run back to the front when the journal could not take its start.
    pub(super) fn start_later(&mut self, key: RunKey, now: Now) {
        if let Some(entry) = self.book.get_mut(key)
            && let Phase::Starting(order) = std::mem::replace(&mut entry.phase, Phase::Leftover)
        {
            entry.phase = Phase::Queued(order);
            self.queue.push_front(key);
            self.start_retry_at = Some(now.mono_ms + JOURNAL_PAUSE_MS);
        }
    }

    pub(super) fn may_start(&mut self, key: RunKey, now: Now) {
        let Some(entry) = self.book.get_mut(key) else { return };
        let Phase::Starting(order) = &entry.phase else { return };
        let order = order.clone();
        let timeout_ms = match &order.body {
            OrderBody::Script(script) => script.timeout_ms.max(1),
            _ => 60_000,
        };
        entry.phase = Phase::Running(Box::new(Running {
            // Counted from its start, once that is told; a start that is never told ends too.
            ends_at: Some(now.mono_ms.saturating_add(timeout_ms).saturating_add(START_PATIENCE_MS)),
            timeout_ms,
            started_at: None,
            ending: None,
            streams: Streams::default(),
        }));
        self.out.push(Output::Start(order));
    }

    pub(super) fn run_started(&mut self, key: RunKey, now: Now) {
        let Some(entry) = self.book.get_mut(key) else { return };
        let role = entry.role.clone();
        let Phase::Running(running) = &mut entry.phase else {
            return;
        };
        running.started_at = Some(now.wall);
        running.ends_at = Some(now.mono_ms.saturating_add(running.timeout_ms));
        if self.session.is_connected() {
            self.out.push(Output::SendState {
                role,
                state: TellState {
                    run: key.run,
                    attempt: key.attempt,
                    state: RunState::Running,
                    at: now.wall,
                },
            });
        }
    }

    pub(super) fn end_what_ran_too_long(&mut self, now: Now) {
        if self.book.timeout_at().is_none_or(|at| at > now.mono_ms) {
            return;
        }
        for key in self.book.active() {
            if let Some(entry) = self.book.get_mut(key)
                && let Phase::Running(running) = &mut entry.phase
                && running.ending.is_none()
                && running.ends_at.is_some_and(|at| at <= now.mono_ms)
            {
                running.ending = Some(Why::TimedOut);
                self.out.push(Output::End {
                    key,
                    why: Why::TimedOut,
                });
            }
        }
    }

    /// Cancels a run that is known, and answers where it stands.
    pub(super) fn cancel_known(&mut self, key: RunKey, now: Now) -> Accepted {
        match self.book.get_mut(key).map(|entry| &mut entry.phase) {
            Some(Phase::Queued(_)) => {
                self.queue.retain(|queued| *queued != key);
                let verdict = Verdict::ended(RunState::Cancelled, "it was cancelled before it began");
                self.end_with(key, verdict, Streams::default(), now);
            }
            Some(Phase::Running(running)) if running.ending.is_none() => {
                running.ending = Some(Why::Cancelled);
                self.out.push(Output::End {
                    key,
                    why: Why::Cancelled,
                });
            }
            _ => {}
        }
        let answer = self.book.get(key).map(|entry| entry.answer(key));
        answer.unwrap_or_else(|| super::accepted(key.run, key.attempt, RunState::Cancelled, None))
    }

    pub(super) fn output_grew(&mut self, key: RunKey, stream: OutputStream, size: u64) {
        if let Some(entry) = self.book.get_mut(key)
            && let Phase::Running(running) = &mut entry.phase
        {
            running.streams.of(stream).grew_to(size);
        }
    }

    pub(super) fn run_exited(&mut self, key: RunKey, exit: Exit, now: Now) {
        let Some(entry) = self.book.get_mut(key) else { return };
        if !matches!(entry.phase, Phase::Running(_)) {
            return;
        }
        let Phase::Running(running) = std::mem::replace(&mut entry.phase, Phase::Leftover) else {
            return;
        };
        let Running {
            started_at,
            ending,
            mut streams,
            ..
        } = *running;
        streams.stdout.cut_to(exit.stdout_bytes);
        streams.stderr.cut_to(exit.stderr_bytes);
        self.end_with(key, Verdict::of(exit, ending, started_at), streams, now);
    }

    pub(super) fn leftovers_ended(&mut self, key: RunKey, exit: Exit, now: Now) {
        if !self
            .book
            .get(key)
            .is_some_and(|entry| matches!(entry.phase, Phase::Leftover))
        {
            return;
        }
        let mut streams = Streams::default();
        streams.stdout.grew_to(exit.stdout_bytes);
        streams.stderr.grew_to(exit.stderr_bytes);
        let exit = Exit {
            ending: Ending::Unknown {
                reason: "the agent died while it ran".to_owned(),
            },
            ..exit
        };
        self.end_with(key, Verdict::of(exit, None, None), streams, now);
    }

    /// Signs a run's result and has it recorded.
    fn end_with(&mut self, key: RunKey, verdict: Verdict, streams: Streams, now: Now) {
        let Some((result, signed)) = self.sealed(key, verdict, now) else {
            return;
        };
        let mut ended = Ended::new(result.state, signed, streams);
        ended.unrecorded = Some(result.clone());
        let signed = ended.result.clone();
        self.book.set_phase(key, Phase::Ended(Box::new(ended)));
        self.record_exit(key, (result, signed));
    }

    fn record_exit(&mut self, key: RunKey, result: (RunResult, Signed)) {
        let Some(entry) = self.book.get(key) else { return };
        self.out.push(Output::Append {
            records: vec![exited_record(key, entry.role.clone(), &result, None)],
            step: Step::Exited(key),
        });
    }

    pub(super) fn exit_recorded(&mut self, key: RunKey) {
        if let Some(entry) = self.book.get_mut(key)
            && let Phase::Ended(ended) = &mut entry.phase
        {
            ended.unrecorded = None;
            ended.retry_at = 0;
        }
    }

    /// Lets the journal be tried again: the run stays unrecorded until it works.
    pub(super) fn record_exit_later(&mut self, key: RunKey, now: Now) {
        if let Some(entry) = self.book.get_mut(key)
            && let Phase::Ended(ended) = &mut entry.phase
        {
            tracing::error!(run = %key, "the journal cannot take the end of a run; it is tried again");
            ended.retry_at = now.mono_ms + JOURNAL_PAUSE_MS;
        }
    }

    pub(super) fn output_answered(
        &mut self,
        key: RunKey,
        stream: OutputStream,
        offset: u64,
        answer: Result<u64, TellError>,
        now: Now,
    ) {
        let jitter = &mut self.jitter;
        let Some(entry) = self.book.get_mut(key) else { return };
        let window = match &mut entry.phase {
            Phase::Running(running) => running.streams.of(stream),
            Phase::Ended(ended) => ended.streams.of(stream),
            _ => return,
        };
        match answer {
            Ok(next_offset) => window.answered(offset, next_offset),
            Err(TellError::Refused {
                code,
                retry: Retry::Never,
            }) => {
                tracing::warn!(run = %key, code = %code, "the server does not want a run's output");
                window.give_up();
            }
            Err(_) => window.failed(offset, now.mono_ms, jitter),
        }
    }

    pub(super) fn result_answered(&mut self, key: RunKey, answer: Result<(), TellError>, now: Now) {
        let jitter = &mut self.jitter;
        let Some(entry) = self.book.get_mut(key) else { return };
        let Phase::Ended(ended) = &mut entry.phase else { return };
        ended.in_flight = false;
        match answer {
            Ok(()) => {
                ended.acknowledged = true;
                self.close_now(key);
            }
            // Whoever takes the results may not have heard of a new key yet.
            Err(TellError::Refused {
                code: Code::ResultSignatureInvalid,
                ..
            }) if now.mono_ms.saturating_sub(self.signs_since) < NEW_KEY_MS => {
                ended.retry_at = now.mono_ms.saturating_add(ended.backoff.next_ms(jitter));
            }
            Err(TellError::Refused {
                code,
                retry: Retry::Never,
            }) => {
                tracing::error!(run = %key, code = %code, "the server refuses a run's result");
                ended.retry_at = now.mono_ms.saturating_add(REFUSED_PAUSE_MS);
            }
            Err(_) => ended.retry_at = now.mono_ms.saturating_add(ended.backoff.next_ms(jitter)),
        }
    }

    fn close_now(&mut self, key: RunKey) {
        self.out.push(Output::Append {
            records: vec![Record::Closed { key }],
            step: Step::Closed(key),
        });
    }

    pub(super) fn closed(&mut self, key: RunKey) {
        self.book.close(key);
        self.out.push(Output::Forget(key));
    }

    /// Lets the journal be tried again: until then the result is known to be at the server.
    pub(super) fn close_later(&mut self, key: RunKey, now: Now) {
        if let Some(entry) = self.book.get_mut(key)
            && let Phase::Ended(ended) = &mut entry.phase
        {
            ended.retry_at = now.mono_ms + JOURNAL_PAUSE_MS;
        }
    }

    pub(super) fn send_what_is_due(&mut self, now: Now) {
        for key in self.book.active() {
            self.send_for(key, now);
        }
    }

    fn send_for(&mut self, key: RunKey, now: Now) {
        let online = self.session.is_connected();
        let Some(entry) = self.book.get_mut(key) else { return };
        let role = entry.role.clone();
        let streams = match &mut entry.phase {
            Phase::Running(running) => &mut running.streams,
            Phase::Ended(ended) => &mut ended.streams,
            _ => return,
        };
        if online {
            for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                if let Some(piece) = streams.of(stream).next(now.mono_ms) {
                    self.out.push(Output::SendOutput {
                        key,
                        role: role.clone(),
                        stream,
                        offset: piece.offset,
                        len: piece.len,
                    });
                }
            }
        }
        let Phase::Ended(ended) = &mut entry.phase else { return };
        if ended.retry_at > now.mono_ms {
            return;
        }
        if let Some(result) = ended.unrecorded.clone() {
            // Written at once when it was made; here only after the journal failed.
            if ended.retry_at > 0 {
                ended.retry_at = 0;
                let signed = ended.result.clone();
                self.record_exit(key, (result, signed));
            }
        } else if ended.acknowledged {
            if ended.retry_at > 0 {
                ended.retry_at = 0;
                self.close_now(key);
            }
        } else if online && !ended.in_flight && ended.streams.are_done() {
            ended.in_flight = true;
            let result = ended.result.clone();
            self.out.push(Output::SendResult { key, role, result });
        }
    }
}
