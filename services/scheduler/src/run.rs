//! One job on one device: its states, and the rules by which it moves.
//!
//! ```text
//! queued ──► delivered ──► running ──► succeeded | failed | timed_out | cancelled | interrupted
//!    │            │            └────────────────────────────────────────────────────────────┐
//!    └──► expired | cancelled | refused                       (no state without a way out) ◄─┘
//! ```
//!
//! Where the job asks for it, a script that failed or whose time was over is tried again: the run is queued anew under the next
//! attempt, and not before its pause is over. Each attempt has an order of its own. What all attempts print is one stream.
//!
//! Acceptance and progress are hints and only move a run forward; the end is the device's signed word, or the scheduler's
//! own when nothing came from the device. What is final stays, and a second end is answered with the first, but for one case:
//! an end that no process stands behind, such as `expired`, gives way to the device's signed word that the process ran.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::{MAX_BACKOFF_MS, OutputStream, RunState};
use borealis_bus_schema::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Is what a run is now: the fold of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it stands.
    pub state: RunState,
    /// Which try.
    pub attempt: u32,
    /// Before when this try does not begin; none for the first.
    pub not_before: Option<Timestamp>,
    /// How the try before ended.
    pub failed: Option<Box<End>>,
    /// When the device took it.
    pub delivered_at: Option<Timestamp>,
    /// When its process began, by the device's clock.
    pub started_at: Option<Timestamp>,
    /// Whether an operator wants it to end.
    pub cancel_requested: bool,
    /// What is kept of stdout.
    pub stdout: Kept,
    /// What is kept of stderr.
    pub stderr: Kept,
    /// How it ended.
    pub end: Option<Box<End>>,
}

/// Is what is kept of one stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// How many bytes.
    pub bytes: u64,
    /// How many of them, from the first, stand in the log itself.
    pub inline_bytes: u64,
    /// How many chunks.
    pub chunks: u64,
    /// How many of the bytes are of tries before this one.
    pub before: u64,
}

impl Kept {
    /// Returns how many bytes are of this try.
    pub const fn of_this_try(&self) -> u64 {
        self.bytes.saturating_sub(self.before)
    }
}

/// Says how often, and after which pause, a run is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// How often.
    pub times: u32,
    /// How long to wait before the first, in milliseconds; doubled for each after it.
    pub backoff_ms: u64,
}

impl Retry {
    /// Decides whether a run that ended is tried again, and before when not; `ends` is when the run's life is over.
    ///
    /// Only what a script did by itself is repeated: it failed, or its time was over. What nobody knows the end of, what an
    /// operator ended, and what never began is not.
    pub fn again_at(&self, state: &State, end: &End, now: Timestamp, ends: Timestamp) -> Option<Timestamp> {
        let by_itself = matches!(end.state, RunState::Failed | RunState::TimedOut) && !end.is_without_process();
        if !by_itself || state.end.is_some() || state.cancel_requested || state.attempt > self.times {
            return None;
        }
        let factor = 1u64 << (state.attempt.saturating_sub(1)).min(20);
        let pause_ms = self.backoff_ms.saturating_mul(factor).min(MAX_BACKOFF_MS);
        let at = now.plus_ms(i64::try_from(pause_ms).unwrap_or(i64::MAX));
        (at < ends).then_some(at)
    }

    /// Makes another try of an end that is followed by one; leaves every other command as it is.
    pub fn instead(&self, state: &State, command: Command, now: Timestamp, ends: Timestamp) -> Command {
        match command {
            Command::End(end) => match self.again_at(state, &end, now, ends) {
                Some(at) => Command::Again { end, at },
                None => Command::End(end),
            },
            other => other,
        }
    }
}

/// Is how a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The final state.
    pub state: RunState,
    /// The exit code, when the process ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When its process began, by the device's clock.
    pub started_at: Option<Timestamp>,
    /// When it ended, by the clock of whoever ended it.
    pub ended_at: Timestamp,
    /// How long its process lived.
    pub duration_ms: Option<u64>,
    /// Whether output was cut.
    pub truncated: bool,
    /// Why, in a sentence.
    pub reason: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
}

impl State {
    /// Returns a run that waits for its device.
    pub fn queued() -> Self {
        Self {
            state: RunState::Queued,
            attempt: 1,
            not_before: None,
            failed: None,
            delivered_at: None,
            started_at: None,
            cancel_requested: false,
            stdout: Kept::default(),
            stderr: Kept::default(),
            end: None,
        }
    }

    /// Returns what is kept of a stream.
    pub fn kept(&self, stream: OutputStream) -> Kept {
        match stream {
            OutputStream::Stdout => self.stdout,
            OutputStream::Stderr => self.stderr,
        }
    }
}

/// Is what a run can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The device says that it has the order in its journal.
    Deliver {
        /// When.
        at: Timestamp,
    },
    /// The device says that the process lives.
    Start {
        /// Since when, by the device's clock.
        at: Timestamp,
    },
    /// The device sends output.
    Output {
        /// Which stream.
        stream: OutputStream,
        /// Where the data begins.
        offset: u64,
        /// How long the data is.
        size_bytes: u64,
        /// The data, where it is to stand in the log ([`place_of`]); otherwise it is in the run's file already.
        inline: Option<Vec<u8>>,
    },
    /// An operator wants it to end.
    Cancel {
        /// When.
        at: Timestamp,
        /// Whether an order to begin may have reached the device, so that only the device can tell how it ends.
        ordered: bool,
    },
    /// It is over.
    End(End),
    /// This try is over, and another one follows.
    Again {
        /// How it ended.
        end: End,
        /// Before when the next one does not begin.
        at: Timestamp,
    },
}

/// Is what happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The device has it.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// Its process lives.
    Started {
        /// Since when.
        at: Timestamp,
    },
    /// Output came.
    Output {
        /// Which stream.
        stream: OutputStream,
        /// Counts the chunks of the stream from 0.
        seq: u64,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        size_bytes: u64,
        /// The data, when it stands in the log; otherwise in the run's file.
        inline: Option<Vec<u8>>,
    },
    /// An operator wants it to end.
    CancelRequested {
        /// When.
        at: Timestamp,
    },
    /// It is over.
    Ended(End),
    /// A try is over, and another one follows.
    Retried {
        /// How it ended.
        end: End,
        /// Before when the next one does not begin.
        at: Timestamp,
    },
    /// It had run after all: its device's signed word takes the place of an end that no process stood behind.
    EndedAfterAll(End),
}

/// Says why a run does not do as asked.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It is over.
    #[error("the run is over")]
    Over,
    /// The output does not begin where the kept output ends.
    #[error("output is kept up to byte {next_offset}")]
    OutOfPlace {
        /// Where the device has to go on.
        next_offset: u64,
    },
    /// The end is none.
    #[error("a run cannot end as {0:?}")]
    NoEnd(RunState),
}

/// Is how much of a stream's beginning stands in the log itself; what is longer goes to a file.
pub const INLINE_BYTES: u64 = 8 << 10;

/// Decides what a command does to a run.
///
/// Errors: [`Rejection`]. An empty list says that the command changes nothing.
pub fn decide(state: &State, command: Command) -> Result<Vec<Event>, Rejection> {
    if let Some(end) = &state.end {
        return match command {
            Command::Output { .. } if end.is_without_process() => decide_open(state, command),
            Command::End(found) if end.gives_way_to(&found) => Ok(vec![Event::EndedAfterAll(found)]),
            _ => Err(Rejection::Over),
        };
    }
    decide_open(state, command)
}

fn decide_open(state: &State, command: Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Deliver { at } => Ok(when(state.state == RunState::Queued, Event::Delivered { at })),
        Command::Start { at } => Ok(when(state.state != RunState::Running, Event::Started { at })),
        Command::Cancel { .. } if state.cancel_requested => Ok(Vec::new()),
        Command::Cancel { at, ordered: false } if state.state == RunState::Queued => {
            let reason = Some("an operator cancelled it before the device had it".to_owned());
            Ok(vec![
                Event::CancelRequested { at },
                Event::Ended(End::without_device(RunState::Cancelled, at, reason, None)),
            ])
        }
        Command::Cancel { at, .. } => Ok(vec![Event::CancelRequested { at }]),
        Command::Output {
            stream,
            offset,
            size_bytes,
            inline,
        } => {
            let place = place_of(state, stream, offset, size_bytes)?;
            Ok(vec![Event::Output {
                stream,
                seq: state.kept(stream).chunks,
                offset,
                size_bytes,
                inline: inline.filter(|_| place == Place::Log),
            }])
        }
        Command::Again { end, .. } if !end.state.is_final() => Err(Rejection::NoEnd(end.state)),
        Command::Again { end, at } => Ok(vec![Event::Retried { end, at }]),
        Command::End(end) if !end.state.is_final() => Err(Rejection::NoEnd(end.state)),
        Command::End(end) => Ok(vec![Event::Ended(end)]),
    }
}

/// Says where a piece of output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the log itself.
    Log,
    /// In the run's file, so many bytes from its beginning.
    File(u64),
}

/// Tells where a piece of output belongs.
///
/// Errors: [`Rejection::Over`]; [`Rejection::OutOfPlace`] for a piece that does not begin where the kept output ends.
pub fn place_of(state: &State, stream: OutputStream, offset: u64, size_bytes: u64) -> Result<Place, Rejection> {
    if state.end.as_ref().is_some_and(|end| !end.is_without_process()) {
        return Err(Rejection::Over);
    }
    let kept = state.kept(stream);
    if offset != kept.bytes || size_bytes == 0 {
        return Err(Rejection::OutOfPlace {
            next_offset: kept.bytes,
        });
    }
    // Once a byte stands in the file, all behind it do too, so that a stream is one prefix and one file.
    if kept.inline_bytes == kept.bytes && kept.bytes.saturating_add(size_bytes) <= INLINE_BYTES {
        Ok(Place::Log)
    } else {
        Ok(Place::File(offset.saturating_sub(kept.inline_bytes)))
    }
}

fn when(holds: bool, event: Event) -> Vec<Event> {
    if holds { vec![event] } else { Vec::new() }
}

/// Folds an event into a run.
pub fn evolve(mut state: State, event: &Event) -> State {
    match event {
        Event::Delivered { at } => {
            state.state = RunState::Delivered;
            state.delivered_at = Some(*at);
        }
        Event::Started { at } => {
            state.state = RunState::Running;
            state.started_at = Some(*at);
        }
        Event::Output {
            stream,
            size_bytes,
            inline,
            ..
        } => {
            let kept = match stream {
                OutputStream::Stdout => &mut state.stdout,
                OutputStream::Stderr => &mut state.stderr,
            };
            kept.bytes += size_bytes;
            kept.chunks += 1;
            if inline.is_some() {
                kept.inline_bytes += size_bytes;
            }
        }
        Event::CancelRequested { .. } => state.cancel_requested = true,
        Event::Retried { end, at } => {
            state.state = RunState::Queued;
            state.attempt = state.attempt.saturating_add(1);
            state.not_before = Some(*at);
            state.failed = Some(Box::new(end.clone()));
            (state.delivered_at, state.started_at) = (None, None);
            state.stdout.before = state.stdout.bytes;
            state.stderr.before = state.stderr.bytes;
        }
        Event::Ended(end) | Event::EndedAfterAll(end) => {
            state.state = end.state;
            state.started_at = end.started_at.or(state.started_at);
            state.end = Some(Box::new(end.clone()));
        }
    }
    state
}

impl End {
    /// Makes the end of a run that no process of a device stands behind.
    pub fn without_device(state: RunState, at: Timestamp, reason: Option<String>, code: Option<Code>) -> Self {
        Self {
            state,
            exit_code: None,
            signal: None,
            started_at: None,
            ended_at: at,
            duration_ms: None,
            truncated: false,
            reason,
            code,
        }
    }

    /// Tells whether no process is known to stand behind it.
    pub const fn is_without_process(&self) -> bool {
        self.started_at.is_none() && self.duration_ms.is_none()
    }

    /// Tells whether another end, which a device signed, says more: that the process ran, or that the device died while it
    /// may have, where this one knows of none.
    pub fn gives_way_to(&self, found: &Self) -> bool {
        let died = found.state == RunState::Interrupted && self.state != RunState::Interrupted;
        self.is_without_process() && found.state.is_final() && (found.started_at.is_some() || died)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }
    fn given(events: &[Event]) -> State {
        events.iter().fold(State::queued(), evolve)
    }
    fn ended(state: RunState) -> End {
        End::without_device(state, at(9), None, None)
    }
    fn ran(state: RunState) -> End {
        End {
            started_at: Some(at(5)),
            duration_ms: Some(4),
            ..ended(state)
        }
    }
    fn output(offset: u64, data: &[u8]) -> Command {
        Command::Output {
            stream: OutputStream::Stdout,
            offset,
            size_bytes: data.len() as u64,
            inline: Some(data.to_vec()),
        }
    }
    fn written(seq: u64, offset: u64, data: &[u8], inline: bool) -> Event {
        let inline = inline.then(|| data.to_vec());
        Event::Output {
            stream: OutputStream::Stdout,
            seq,
            offset,
            size_bytes: data.len() as u64,
            inline,
        }
    }

    #[test]
    fn a_run_goes_forward_only() {
        let delivered = given(&[Event::Delivered { at: at(1) }]);
        assert_eq!(decide(&delivered, Command::Deliver { at: at(2) }), Ok(vec![]));
        let running = given(&[Event::Delivered { at: at(1) }, Event::Started { at: at(2) }]);
        assert_eq!(decide(&running, Command::Deliver { at: at(3) }), Ok(vec![]));
        assert_eq!(decide(&running, Command::Start { at: at(3) }), Ok(vec![]));
        assert_eq!(running.state, RunState::Running);
    }

    #[test]
    fn what_a_script_did_by_itself_is_tried_again_with_growing_pauses_and_nothing_else_is() {
        let retry = Retry {
            times: 3,
            backoff_ms: 1_000,
        };
        let ends = at(1_000_000);
        let mut state = State::queued();
        for (pause_ms, end) in [
            (1_000, RunState::Failed),
            (2_000, RunState::TimedOut),
            (4_000, RunState::Failed),
        ] {
            let attempt = state.attempt;
            let command = retry.instead(&state, Command::End(ran(end)), at(10), ends);
            assert_eq!(
                command,
                Command::Again {
                    end: ran(end),
                    at: at(10 + pause_ms)
                }
            );
            let events = decide(&state, command).unwrap();
            state = events.iter().fold(state, evolve);
            assert_eq!((state.state, state.attempt), (RunState::Queued, attempt + 1));
            assert_eq!((state.not_before, state.end.is_none()), (Some(at(10 + pause_ms)), true));
        }
        // Three times more, and not once more than that.
        assert_eq!(retry.again_at(&state, &ran(RunState::Failed), at(10), ends), None);
        let first = State::queued();
        assert_eq!(
            retry.again_at(&first, &ran(RunState::Failed), at(10), at(1_010)),
            None,
            "no time is left"
        );
        assert_eq!(
            Retry::default().again_at(&first, &ran(RunState::Failed), at(10), ends),
            None
        );
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            let again = retry.again_at(&first, &ran(state), at(10), ends).is_some();
            assert_eq!(
                again,
                matches!(state, RunState::Failed | RunState::TimedOut),
                "{state:?}"
            );
            assert_eq!(
                retry.again_at(&first, &ended(state), at(10), ends),
                None,
                "{state:?} without a process"
            );
        }
        let cancelled = given(&[Event::CancelRequested { at: at(1) }]);
        assert_eq!(retry.again_at(&cancelled, &ran(RunState::Failed), at(10), ends), None);
        let over = given(&[Event::Ended(ended(RunState::Expired))]);
        assert_eq!(retry.again_at(&over, &ran(RunState::Failed), at(10), ends), None);
        let long = Retry {
            times: 10,
            backoff_ms: MAX_BACKOFF_MS,
        };
        let late = State {
            attempt: 10,
            ..State::queued()
        };
        let pause = i64::try_from(MAX_BACKOFF_MS).unwrap();
        assert_eq!(
            long.again_at(&late, &ran(RunState::Failed), at(0), at(i64::MAX)),
            Some(at(pause))
        );
    }

    #[test]
    fn what_all_tries_print_is_one_stream() {
        let first = written(0, 0, b"one", true);
        let again = Event::Retried {
            end: ran(RunState::Failed),
            at: at(9),
        };
        let state = given(&[Event::Started { at: at(1) }, first, again]);
        assert_eq!((state.stdout.bytes, state.stdout.of_this_try()), (3, 0));
        assert_eq!(decide(&state, output(3, b"two")), Ok(vec![written(1, 3, b"two", true)]));
        assert_eq!(
            decide(&state, output(0, b"two")),
            Err(Rejection::OutOfPlace { next_offset: 3 })
        );
        assert_eq!(state.started_at, None, "the next try has not begun");
    }

    #[test]
    fn a_start_may_overtake_the_delivery() {
        assert_eq!(
            decide(&State::queued(), Command::Start { at: at(1) }),
            Ok(vec![Event::Started { at: at(1) }])
        );
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in RunState::ALL.into_iter().filter(|s| s.is_final()) {
            let over = given(&[Event::Ended(ran(state))]);
            assert_eq!(over.state, state);
            for command in [
                Command::Deliver { at: at(1) },
                Command::Start { at: at(1) },
                Command::Cancel {
                    at: at(1),
                    ordered: false,
                },
                output(0, b"x"),
                Command::End(ended(RunState::Succeeded)),
                Command::End(ran(RunState::Succeeded)),
            ] {
                assert_eq!(decide(&over, command), Err(Rejection::Over));
            }
        }
    }

    #[test]
    fn an_end_that_no_process_stands_behind_gives_way_to_one_that_ran_and_only_once() {
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            let expired = given(&[Event::Ended(ended(state))]);
            for command in [
                Command::Deliver { at: at(10) },
                Command::Start { at: at(10) },
                Command::End(ended(state)),
            ] {
                assert_eq!(decide(&expired, command), Err(Rejection::Over));
            }
            let late = decide(&expired, output(0, b"x")).unwrap();
            let expired = late.iter().fold(expired, evolve);
            assert_eq!(
                (expired.state, expired.stdout.bytes),
                (state, 1),
                "output alone ends nothing and begins nothing"
            );
            let after_all = decide(&expired, Command::End(ran(RunState::Failed))).unwrap();
            assert_eq!(after_all, [Event::EndedAfterAll(ran(RunState::Failed))]);
            let over = after_all.iter().fold(expired, evolve);
            assert_eq!(over.state, RunState::Failed);
            assert_eq!(
                decide(&over, Command::End(ran(RunState::Succeeded))),
                Err(Rejection::Over)
            );
            assert_eq!(decide(&over, output(1, b"x")), Err(Rejection::Over));
        }
        // A device that died before it wrote down when the process began tells that it may have.
        let died = ended(RunState::Interrupted);
        let expired = given(&[Event::Ended(ended(RunState::Expired))]);
        let after_all = decide(&expired, Command::End(died.clone())).unwrap();
        assert_eq!(after_all, [Event::EndedAfterAll(died.clone())]);
        let over = after_all.iter().fold(expired, evolve);
        assert_eq!(decide(&over, Command::End(died)), Err(Rejection::Over));
    }

    #[test]
    fn every_state_that_is_not_final_can_end_in_every_final_one() {
        let open = [
            vec![],
            vec![Event::Delivered { at: at(1) }],
            vec![Event::Started { at: at(1) }],
        ];
        for events in open {
            for state in RunState::ALL {
                let decided = decide(&given(&events), Command::End(ended(state)));
                assert_eq!(decided.is_ok(), state.is_final(), "{state:?}");
            }
        }
    }

    #[test]
    fn a_waiting_run_is_cancelled_at_once_a_delivered_one_by_its_device() {
        let events = decide(
            &State::queued(),
            Command::Cancel {
                at: at(1),
                ordered: false,
            },
        )
        .unwrap();
        assert_eq!(given(&events).state, RunState::Cancelled);
        let delivered = given(&[Event::Delivered { at: at(1) }]);
        assert_eq!(
            decide(
                &delivered,
                Command::Cancel {
                    at: at(2),
                    ordered: true
                }
            ),
            Ok(vec![Event::CancelRequested { at: at(2) }])
        );
        let asked = given(&[Event::Delivered { at: at(1) }, Event::CancelRequested { at: at(2) }]);
        assert_eq!(
            decide(
                &asked,
                Command::Cancel {
                    at: at(3),
                    ordered: true
                }
            ),
            Ok(vec![])
        );
    }

    #[test]
    fn a_waiting_run_whose_order_is_out_is_not_called_cancelled_before_its_device_says_so() {
        let cancel = Command::Cancel {
            at: at(1),
            ordered: true,
        };
        assert_eq!(
            decide(&State::queued(), cancel),
            Ok(vec![Event::CancelRequested { at: at(1) }])
        );
    }

    #[test]
    fn output_is_taken_only_where_the_kept_output_ends() {
        let state = given(&[written(0, 0, b"abc", true)]);
        assert_eq!(decide(&state, output(3, b"d")), Ok(vec![written(1, 3, b"d", true)]));
        for offset in [0, 2, 4] {
            assert_eq!(
                decide(&state, output(offset, b"d")),
                Err(Rejection::OutOfPlace { next_offset: 3 })
            );
        }
        assert_eq!(
            decide(&state, output(3, b"")),
            Err(Rejection::OutOfPlace { next_offset: 3 })
        );
    }

    #[test]
    fn long_output_goes_to_the_file_and_never_back() {
        let long = vec![b'x'; INLINE_BYTES as usize];
        let state = given(&[written(0, 0, b"abc", true)]);
        assert_eq!(decide(&state, output(3, &long)), Ok(vec![written(1, 3, &long, false)]));
        let spilled = given(&[written(0, 0, b"abc", true), written(1, 3, &long, false)]);
        let next = 3 + INLINE_BYTES;
        assert_eq!(
            decide(&spilled, output(next, b"y")),
            Ok(vec![written(2, next, b"y", false)])
        );
        assert_eq!(
            spilled.stdout,
            Kept {
                bytes: next,
                inline_bytes: 3,
                before: 0,
                chunks: 2
            }
        );
        assert_eq!(spilled.stderr, Kept::default());
    }
}
