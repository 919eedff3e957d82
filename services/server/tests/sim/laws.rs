//! What has to hold in every world, by name.

use std::collections::{BTreeMap, BTreeSet};

use borealis_agent::core::record::RunKey;
use borealis_bus_schema::ids::{Guid, JobId, RunId};
use borealis_bus_schema::messages::device::RunResult;
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::Order;
use borealis_event_store::EventRecord;
use borealis_scheduler::run::State;

/// Is by how much the device's idea of the server's time may be behind, in milliseconds: what a delayed word brings about.
const SKEW_MS: i64 = 60_000;

/// Says which law is broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub law: &'static str,
    pub by: String,
}

/// Watches a world.
#[derive(Default)]
pub struct Laws {
    acknowledged: BTreeSet<JobId>,
    effects: BTreeMap<RunKey, u32>,
    done: BTreeMap<RunKey, u64>,
    said: BTreeSet<(RunId, u32, &'static str)>,
    revoked: BTreeSet<Guid>,
    /// The first law that was broken.
    pub broken: Option<Broken>,
}

impl Laws {
    pub fn breaks(&mut self, law: &'static str, by: String) {
        self.broken.get_or_insert(Broken { law, by });
    }

    /// Notes that a client was told that its job is kept.
    pub fn acknowledged(&mut self, job: JobId) {
        self.acknowledged.insert(job);
    }

    pub fn revoke(&mut self, guid: Guid) {
        self.revoked.insert(guid);
    }

    pub fn is_revoked(&self, guid: &Guid) -> bool {
        self.revoked.contains(guid)
    }

    /// Notes that a device signed a result.
    pub fn said(&mut self, result: &RunResult) {
        self.said.insert((result.run, result.attempt, result.state.as_str()));
    }

    /// Notes that a process began and left its line.
    pub fn effect(&mut self, key: RunKey) {
        let times = self.effects.entry(key).or_default();
        *times += 1;
        if *times > 1 {
            self.breaks("an_effect_happens_once_per_attempt", format!("run {key}"));
        }
    }

    /// Notes that a process came to a good end, having printed so much.
    pub fn done(&mut self, key: RunKey, output: u64) {
        self.done.insert(key, output);
    }

    /// Checks that nothing begins whose time is over.
    pub fn check_in_time(&mut self, order: &Order, now_ms: i64) {
        let late_ms = now_ms - order.expires_at.unix_ms();
        if late_ms > SKEW_MS {
            let by = format!("run {} begins {late_ms} ms after its end", order.run);
            self.breaks("an_expired_order_does_not_begin", by);
        }
    }

    /// Checks the log itself.
    pub fn check_log(&mut self, records: &[EventRecord]) {
        let mut jobs = BTreeSet::new();
        let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
        for record in records {
            let stream = record.stream.as_str();
            match (record.kind.as_str(), ended.get(stream).copied().unwrap_or_default()) {
                ("JobCreated", _) => {
                    if !jobs.insert(stream) {
                        return self.breaks("a_command_makes_one_job", stream.to_owned());
                    }
                }
                ("RunEnded", 0) => {
                    ended.insert(stream, 1);
                }
                ("RunEndedAfterAll", 1) => {
                    ended.insert(stream, 2);
                }
                (_, 0) | ("RunOutput", 1) => {}
                (kind, _) => {
                    return self.breaks("what_is_over_stays_over", format!("{kind} in {stream}"));
                }
            }
        }
        let lost = self
            .acknowledged
            .iter()
            .find(|job| !jobs.contains(format!("job-{job}").as_str()))
            .copied();
        if let Some(job) = lost {
            self.breaks("what_was_acknowledged_is_kept", format!("job {job}"));
        }
    }

    /// Checks a run once everything is over.
    pub fn check_run(&mut self, guid: &Guid, run: RunId, state: &State, is_ping: bool) {
        let Some(end) = &state.end else {
            let by = format!("run {run} is {}", state.state.as_str());
            return self.breaks("every_run_ends", by);
        };
        let key = RunKey {
            run,
            attempt: state.attempt,
        };
        let effects = self.effects.get(&key).copied().unwrap_or_default();
        let is_of_device = end.duration_ms.is_some();
        if is_of_device && !self.said.contains(&(run, state.attempt, end.state.as_str())) {
            let by = format!("run {run} is {}, which its device never said", end.state.as_str());
            return self.breaks("an_end_has_a_witness", by);
        }
        if !is_of_device && end.reason.is_none() {
            let by = format!("run {run} is {} for no reason", end.state.as_str());
            return self.breaks("an_end_has_a_witness", by);
        }
        if end.state == RunState::Succeeded && !is_ping {
            if effects != 1 || !self.done.contains_key(&key) {
                let by = format!("run {run} succeeded and has {effects} effects");
                return self.breaks("a_success_has_one_effect", by);
            }
            let (printed, kept) = (self.done.get(&key).copied().unwrap_or_default(), state.stdout.bytes);
            if !end.truncated && printed != kept {
                let by = format!("run {run} printed {printed} bytes, {kept} are kept");
                return self.breaks("kept_output_is_whole_or_marked", by);
            }
        }
        let never_ran = matches!(end.state, RunState::Expired | RunState::Refused)
            || (end.state == RunState::Cancelled
                && end.started_at.is_none()
                && end.duration_ms.unwrap_or_default() == 0);
        if never_ran && effects > 0 && !self.is_revoked(guid) {
            let by = format!("run {run} is {} and ran", end.state.as_str());
            self.breaks("what_never_ran_has_no_effect", by);
        }
    }
}
