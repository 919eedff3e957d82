//! What an open run needs next, and what a device's word makes of it: pure.
//!
//! [`crate::delivery`] does what is decided here, and the simulation does the same with a clock, a bus and a disk of its own.
//! Nothing here waits, reads a clock or asks anybody: what is known of the device is an argument ([`Sight`]).

use std::sync::atomic::Ordering;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{Guid, OrderId};
use borealis_bus_schema::messages::device::{Accepted, RunResult, TellOutput, TellState};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;

use crate::book::{Job, Slot};
use crate::devices::Device;
use crate::orders::{Act, Wanted};
use crate::run::{self, Command, End};

/// How often a device is asked after a run that it has, in milliseconds.
const ASK_AGAIN_MS: i64 = 30_000;
/// How often a device is told again to end a run, in milliseconds.
const CANCEL_AGAIN_MS: i64 = 5_000;
/// How often a run is looked at whose device is away, in milliseconds.
const AWAY_MS: i64 = 60_000;
/// How long a run is left alone whose device cannot be judged, because enrollment's newest word is too old, in milliseconds.
const STALE_AGAIN_MS: i64 = 1_000;
/// How long after its life and its timeout a run that nobody reports on is given up, in milliseconds.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// How often a finished run is asked after while its output is on the way.
const OUTPUT_TRIES: u32 = 30;
/// How long a run that may have been ordered is left waiting behind its life, in milliseconds.
const EXPIRY_GRACE_MS: i64 = 60_000;
/// How many characters of a device's own words are kept.
const WORDS: usize = 1_000;
/// How long a finished run waits for output that is on the way before it is asked after again, in milliseconds.
pub const OUTPUT_AGAIN_MS: i64 = 1_000;

/// Says what a run needs that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing, until something happens.
    Nothing,
    /// Another look, so many milliseconds later.
    Later(i64),
    /// Steps that are written down before anything else.
    Write(Vec<Command>),
    /// An order.
    Order(Act),
}

impl Look {
    fn end(state: RunState, now: Timestamp, reason: String, code: Option<Code>) -> Self {
        Look::Write(vec![Command::End(End::without_device(state, now, Some(reason), code))])
    }
}

/// Is a device's verified word on how a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// Whether the device sent more output than is kept.
    pub output_missing: bool,
}

/// Returns how long to wait after a try that failed: one second, doubled each time, a minute at most.
pub fn pause_ms(tries: u32) -> i64 {
    1_000i64.saturating_mul(1 << tries.min(6)).min(60_000)
}

/// Is what is known of a run's device at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The device; none when enrollment told of none.
    pub device: Option<&'a Device>,
    /// Whether enrollment's word on devices is young enough to act by.
    pub is_fresh: bool,
}

/// Decides what an open run needs now.
pub fn look(job: &Job, slot: &mut Slot, sight: Sight<'_>, now: Timestamp) -> Look {
    if slot.state.end.is_some() {
        return Look::Nothing;
    }
    if slot.in_flight {
        slot.look_again = true;
        return Look::Nothing;
    }
    if job.cancelled.load(Ordering::Relaxed) && !slot.state.cancel_requested {
        // A ping has nothing to end on its device, nor has a try before which its pause is not over.
        let waits = slot.state.state == RunState::Queued && slot.state.not_before.is_some_and(|at| now < at);
        let ordered = slot.ordered && !waits && job.created.what.script_digest.is_some();
        return Look::Write(vec![Command::Cancel { at: now, ordered }]);
    }
    let ends = job.created.expires_at;
    if job.awaits_approval() && !slot.state.cancel_requested {
        if now >= ends {
            let reason = "no other operator approved the job in time".to_owned();
            return Look::end(RunState::Expired, now, reason, None);
        }
        slot.held =
            Some("the job is on more devices than its author's limit; another operator has to approve it".to_owned());
        return Look::Later(ends.since_ms(now).clamp(0, AWAY_MS));
    }
    let queued = slot.state.state == RunState::Queued;
    if queued
        && !slot.state.cancel_requested
        && let Some(hold) = job.hold(slot.index)
    {
        // What a brake caught on its way to a device may come to its end there; the device tells of it by itself.
        if now >= ends.plus_ms(if slot.ordered { EXPIRY_GRACE_MS } else { 0 }) {
            let reason = format!("the job's time was over before this run had its turn: {hold}");
            return Look::end(RunState::Expired, now, reason, None);
        }
        return Look::Later(ends.since_ms(now).clamp(1_000, AWAY_MS));
    }
    // A device that may have the order gets a while to say so.
    let grace_ms = if slot.ordered { EXPIRY_GRACE_MS } else { 0 };
    if queued && now >= ends.plus_ms(grace_ms) {
        let (state, reason) = if slot.state.cancel_requested {
            (
                RunState::Cancelled,
                "an operator cancelled it, and its device did not come in time",
            )
        } else if slot.state.failed.is_some() {
            (RunState::Expired, "it failed, and could not be tried again in time")
        } else {
            (RunState::Expired, "its device did not come in time")
        };
        return Look::end(state, now, reason.to_owned(), None);
    }
    if queued && let Some(at) = slot.state.not_before.filter(|at| now < *at) {
        slot.held = Some(waits(&slot.state, at));
        return Look::Later(at.since_ms(now).clamp(0, AWAY_MS));
    }
    if !queued
        && now.since_ms(ends) > GIVE_UP_MS.saturating_add(i64::try_from(job.created.what.timeout_ms).unwrap_or(0))
    {
        let reason = "its device took it and never reported how it ended".to_owned();
        return Look::end(RunState::Interrupted, now, reason, None);
    }
    let away_ms = if queued {
        ends.plus_ms(grace_ms).since_ms(now).clamp(0, AWAY_MS)
    } else {
        AWAY_MS
    };
    let Some(device) = sight.device else {
        return Look::Later(away_ms);
    };
    slot.held = held(device);
    // What the old key's journal knew nobody knows any more: an order that may have gone out is not sent again.
    let is_lost = device.replaced_at.is_some_and(|at| job.created.created_at <= at);
    if is_lost && (slot.ordered || !queued) {
        let reason = "the machine was enrolled anew with another key before it told how the run ended".to_owned();
        return Look::end(RunState::Interrupted, now, reason, None);
    }
    // A run that began in time and outlives its order's time is asked after no more; its device tells how it ended.
    let asked = slot.state.cancel_requested || now < ends;
    let acts = match device.status {
        DeviceStatus::Active => device.online && asked,
        DeviceStatus::Quarantined => false,
        DeviceStatus::Revoked | DeviceStatus::Decommissioned => true,
    };
    if acts && !sight.is_fresh {
        // What is known may be history: a device that was shut out may be let in again further on.
        return Look::Later(away_ms.min(STALE_AGAIN_MS));
    }
    let state = if queued {
        RunState::Refused
    } else {
        RunState::Interrupted
    };
    match device.status {
        DeviceStatus::Active if acts && slot.state.cancel_requested => Look::Order(Act::Cancel),
        DeviceStatus::Active if acts => Look::Order(Act::Begin),
        DeviceStatus::Active | DeviceStatus::Quarantined => Look::Later(away_ms),
        DeviceStatus::Revoked => {
            let reason = because("the device was revoked", device);
            Look::end(state, now, reason, Some(Code::DeviceRevoked))
        }
        DeviceStatus::Decommissioned => {
            let reason = because("the device was decommissioned", device);
            Look::end(state, now, reason, Some(Code::DeviceDecommissioned))
        }
    }
}

/// Says why a run waits that is tried again.
pub fn waits(state: &run::State, at: Timestamp) -> String {
    let how = match state.failed.as_deref() {
        Some(End {
            exit_code: Some(code), ..
        }) => format!("failed with exit code {code}"),
        Some(end) => end.state.as_str().replace('_', " "),
        None => String::new(),
    };
    let (last, next) = (state.attempt.saturating_sub(1), state.attempt);
    format!("attempt {last} {how}; attempt {next} begins at {at}")
}

/// Makes the order of a run that [`look`] found to want one: from now on it may have reached the device.
pub fn want(slot: &mut Slot, guid: Guid, act: Act, order: OrderId) -> Wanted {
    slot.in_flight = true;
    slot.ordered |= act == Act::Begin;
    Wanted {
        run: slot.run,
        attempt: slot.state.attempt,
        guid,
        act,
        order,
    }
}

/// Readies a run that was folded from the log: nobody remembers whether its order went out.
pub fn resume(job: &Job, slot: &mut Slot) {
    slot.ordered = !job.awaits_approval() && job.wave_began(slot.index);
}

/// Says what a device's answer to an order makes of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: the run is over.
    Nothing,
    /// The answer is of another run; this one is asked after so many milliseconds later.
    Later(i64),
    /// Steps that are written down; once they are, [`again_ms`] says when the run is asked after.
    Write(Vec<Command>),
    /// Steps that are written down; the end waits for output that is on the way.
    WaitForOutput(Vec<Command>),
}

/// Takes in a device's answer to an order; `open` verifies the signed result in it.
pub fn take_answer(
    slot: &mut Slot,
    wanted: &Wanted,
    accepted: &Accepted,
    open: impl FnOnce(&Slot, &Signed) -> Option<Ended>,
    now: Timestamp,
) -> Taken {
    slot.in_flight = false;
    slot.hint = None;
    if slot.state.end.is_some() {
        return Taken::Nothing;
    }
    if wanted.attempt != slot.state.attempt {
        return Taken::Later(0);
    }
    if accepted.run != wanted.run {
        return Taken::Later(pause_ms(1));
    }
    let mut commands = vec![Command::Deliver { at: now }];
    if accepted.state == RunState::Running {
        commands.push(Command::Start { at: now });
    }
    let result = accepted.result.as_ref().filter(|_| accepted.state.is_final());
    if let Some(ended) = result.and_then(|result| open(slot, result)) {
        // The answer may overtake output that the device still sends; after some tries what is missing never comes.
        let kept = slot.state.stdout.bytes + slot.state.stderr.bytes;
        let (waits, seen) = slot.output_waits;
        slot.output_waits = if kept > seen { (0, kept) } else { (waits + 1, seen) };
        if ended.output_missing && slot.output_waits.0 < OUTPUT_TRIES {
            return Taken::WaitForOutput(commands);
        }
        commands.push(Command::End(ended.end));
    }
    slot.tries = 0;
    Taken::Write(commands)
}

/// Tells when a run is asked after again whose device answered; a run that an operator ended meanwhile hears of it at once,
/// and is asked after soon.
pub fn again_ms(slot: &mut Slot, act: Act) -> i64 {
    let again = std::mem::take(&mut slot.look_again);
    match (slot.state.cancel_requested, act) {
        _ if again => 0,
        (true, Act::Begin) => 0,
        (true, Act::Cancel) => CANCEL_AGAIN_MS,
        (false, _) => ASK_AGAIN_MS,
    }
}

/// Takes in that an order did not reach its device, or was not taken: it is tried again later, and ends the run when it
/// never can be. It asks for no order.
pub fn not_sent(slot: &mut Slot, error: &WireError, is_final_word: bool, now: Timestamp) -> Look {
    slot.in_flight = false;
    if slot.state.end.is_some() {
        return Look::Nothing;
    }
    if is_final_word && slot.state.state == RunState::Queued {
        return Look::end(RunState::Refused, now, short(&error.message), Some(error.code));
    }
    slot.tries = slot.tries.saturating_add(1);
    slot.hint = Some(short(&error.to_string()));
    if std::mem::take(&mut slot.look_again) {
        slot.tries = 0;
        return Look::Later(0);
    }
    Look::Later(pause_ms(slot.tries - 1))
}

/// Says what a device's verified last word makes of a run; `None` when the run has its end already.
pub fn take_result(state: &run::State, end: End, now: Timestamp) -> Option<Vec<Command>> {
    match &state.end {
        None => Some(vec![Command::Deliver { at: now }, Command::End(end)]),
        Some(before) if before.gives_way_to(&end) => Some(vec![Command::End(end)]),
        Some(_) => None,
    }
}

/// Says what a hint of progress makes of a run; nothing when it is over, or when the hint says that it is.
pub fn take_state(state: &run::State, tell: &TellState, now: Timestamp) -> Vec<Command> {
    if state.end.is_some() || tell.state.is_final() || tell.attempt != state.attempt {
        return Vec::new();
    }
    let mut commands = vec![Command::Deliver { at: now }];
    if tell.state == RunState::Running {
        commands.push(Command::Start { at: tell.at });
    }
    commands
}

/// Says what a piece of output makes of a run that keeps it; `inline` is its data where the log holds it.
pub fn take_output(
    state: &run::State,
    tell: &TellOutput,
    size_bytes: u64,
    inline: Option<Vec<u8>>,
    now: Timestamp,
) -> Vec<Command> {
    let output = Command::Output {
        stream: tell.stream,
        offset: tell.offset,
        size_bytes,
        inline,
    };
    if state.end.is_some() {
        return vec![output];
    }
    // Whoever sends output runs: the hint that says so may have been lost.
    vec![Command::Deliver { at: now }, Command::Start { at: now }, output]
}

/// Verifies a device's final word on a run.
///
/// Errors: `result_signature_invalid` for another key, `conflict` for another run.
pub fn open_result(device: &Device, guid: Guid, slot: &Slot, result: &Signed) -> Result<Ended, WireError> {
    let result: RunResult = result
        .open(&device.public_key, Form::Result)
        .map_err(|_| WireError::new(Code::ResultSignatureInvalid, "the result is not signed by this device"))?;
    if result.guid != guid || result.run != slot.run || result.attempt != slot.state.attempt {
        return Err(WireError::new(Code::Conflict, "the result is of another run"));
    }
    let (stdout, stderr) = (slot.state.stdout.of_this_try(), slot.state.stderr.of_this_try());
    let output_missing = result.stdout_bytes > stdout || result.stderr_bytes > stderr;
    let end = End {
        state: result.state,
        exit_code: result.exit_code,
        signal: result.signal,
        started_at: result.started_at,
        ended_at: result.ended_at,
        duration_ms: Some(result.duration_ms),
        truncated: result.truncated || output_missing,
        reason: result.reason.as_deref().map(short),
        code: result.code,
    };
    Ok(Ended { end, output_missing })
}

/// Says why a run of a quarantined device waits.
fn held(device: &Device) -> Option<String> {
    (device.status == DeviceStatus::Quarantined)
        .then(|| because("the device is quarantined; the run waits until it is released", device))
}

/// Adds to a sentence what an operator said of the device's status.
fn because(sentence: &str, device: &Device) -> String {
    if device.status_reason.is_empty() {
        sentence.to_owned()
    } else {
        short(&format!("{sentence}: {}", device.status_reason))
    }
}

/// Keeps a device's words short enough for an event and a page.
fn short(words: &str) -> String {
    words.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<_> = (0..8).map(pause_ms).collect();
        assert_eq!(pauses, vec![1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }
}
