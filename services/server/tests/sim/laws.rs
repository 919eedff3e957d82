//! What has to hold in every world, by name.

use std::collections::{BTreeMap, BTreeSet};

use borealis_agent::core::record::RunKey;
use borealis_bus_schema::ids::{Guid, JobId, RunId};
use borealis_bus_schema::messages::device::RunResult;
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::messages::waves::{Brake, WaveSize, Waves};
use borealis_bus_schema::order::Order;
use borealis_event_store::EventRecord;
use borealis_scheduler::job;
use borealis_scheduler::run::{Event, State};
use borealis_scheduler::scheduler::decode;
use borealis_scheduler::stored::Stored;
use borealis_scheduler::waves;

/// Is by how much the device's idea of the server's time may be behind, in milliseconds: what a delayed word brings about.
const SKEW_MS: i64 = 60_000;

/// Says which law is broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub law: &'static str,
    pub by: String,
}

/// Counts what waves did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moves {
    /// How many began behind another one.
    pub opened: u64,
    /// How often a brake stopped a job.
    pub braked: u64,
}

impl std::ops::AddAssign for Moves {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.braked += other.braked;
    }
}

/// Is a run whose order leaves.
pub struct Turn {
    pub job: JobId,
    pub run: RunId,
    /// Its place in the job.
    pub index: usize,
}

/// Tells where each wave ends in the row of a job's runs, by the words of the documentation.
pub fn ends_of(waves: &Waves, devices: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    while ends.last().is_none_or(|end| *end < devices) {
        let length = match waves.sizes.get(ends.len()).or(waves.sizes.last()).unwrap() {
            WaveSize::Count(count) => usize::try_from(*count).unwrap(),
            WaveSize::Percent(percent) => (devices * usize::try_from(*percent).unwrap()).div_ceil(100),
            WaveSize::Rest => devices,
        };
        ends.push(devices.min(ends.last().unwrap_or(&0) + length));
    }
    ends
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

    /// Checks that nothing begins whose time is over, by what the device can know: one that nobody has told the time since it
    /// started goes by its own clock.
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

    /// Checks that a run whose order leaves has its turn: its wave began, and no brake stopped what has not begun.
    pub fn check_turn(&mut self, records: &[EventRecord], turn: &Turn, ends: &[usize]) {
        let (mut wave, mut is_braked, mut has_begun) = (0, false, false);
        let (job, run) = (format!("job-{}", turn.job), format!("run-{}", turn.run));
        for record in records {
            let stream = record.stream.as_str();
            match record.kind.as_str() {
                "JobWaveOpened" if stream == job => wave += 1,
                "JobBraked" if stream == job => is_braked = true,
                "JobContinued" if stream == job => is_braked = false,
                "RunDelivered" | "RunStarted" if stream == run => has_begun = true,
                "RunRetried" if stream == run => has_begun = false,
                _ => {}
            }
        }
        if turn.index >= ends[wave] {
            let by = format!("{run} of {job}, of which wave {} began last", wave + 1);
            self.breaks("no_run_goes_before_its_wave", by);
        } else if is_braked && !has_begun {
            self.breaks("nothing_new_goes_after_the_brake", format!("{run} of {job}"));
        }
    }

    /// Checks the waves of a job from its beginning: each begins behind an end of the one before, none over too many failures.
    pub fn check_waves(
        &mut self,
        records: &[EventRecord],
        job: &JobId,
        asks: &Waves,
        ends: &[usize],
        runs: &[RunId],
    ) -> Moves {
        let mut moves = Moves::default();
        let (mut wave, mut forgiven, mut is_braked) = (0, 0, false);
        let mut over: BTreeMap<usize, bool> = BTreeMap::new();
        let stream = format!("job-{job}");
        let runs: BTreeMap<String, usize> = runs.iter().map(|run| format!("run-{run}")).zip(0..).collect();
        for record in records {
            let Some(stored) = decode(record).unwrap() else {
                continue;
            };
            let failures = over.values().filter(|has_failed| **has_failed).count();
            match stored {
                Stored::Run(Event::Ended(end) | Event::EndedAfterAll(end)) => {
                    if let Some(index) = runs.get(record.stream.as_str()) {
                        use RunState as S;
                        let has_failed = matches!(end.state, S::Failed | S::TimedOut | S::Refused | S::Interrupted);
                        over.insert(*index, has_failed);
                    }
                }
                Stored::Job(job::Event::Waves(event)) if record.stream.as_str() == stream => match event {
                    waves::Event::Opened { wave: opened, .. } => {
                        moves.opened += 1;
                        let begin = if wave == 0 { 0 } else { ends[wave - 1] };
                        let is_over = (begin..ends[wave]).any(|index| over.contains_key(&index));
                        wave += 1;
                        if usize::try_from(opened).unwrap() != wave + 1 || !is_over || is_braked {
                            self.breaks("a_wave_follows_an_end", format!("wave {opened} of {stream}"));
                        }
                        let most = match asks.brake {
                            Some(Brake::Failures(most)) => usize::try_from(most).unwrap(),
                            Some(Brake::Percent(most)) => ends[wave - 1] * usize::try_from(most).unwrap() / 100,
                            None => usize::MAX,
                        };
                        if failures - forgiven > most {
                            self.breaks("no_wave_begins_over_failures", format!("wave {opened} of {stream}"));
                        }
                    }
                    waves::Event::Braked { .. } => {
                        moves.braked += 1;
                        is_braked = true;
                    }
                    waves::Event::Continued { forgiven: told, .. } => {
                        is_braked = false;
                        forgiven = usize::try_from(told).unwrap();
                    }
                    waves::Event::Over { .. } => {}
                },
                _ => {}
            }
        }
        moves
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
