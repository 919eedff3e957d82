//! Every schedule, in memory: the fold of the log, rebuilt at start.
//!
//! A schedule that sleeps costs an entry and an appointment, and nothing else: what it asks for, and who may, is read from
//! its file when it fires for the first time.

pub mod firing;
pub mod history;
pub mod retire;
pub mod stored;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use borealis_bus_schema::ids::{JobId, ScheduleId, SiteName};
use borealis_bus_schema::messages::scheduler::Targets;
use borealis_bus_schema::messages::schedules::ScheduleView;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::time::Timestamp;
use borealis_calendar::{Plan, PlanError, Zone};
use borealis_service_kit::auth::Caller;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::error;

use crate::agenda::Agenda;
use crate::handlers::plan_refused;
use crate::newest::{Place, newest};
use crate::schedule::{self, Created, Event, Standing, State};

/// Is how many entries of its history a schedule keeps at hand.
pub const HISTORY: usize = 1_000;
/// Is who a schedule acts for, and on what: read from its file once.
#[derive(Debug)]
pub struct Authority {
    /// Its author, as the grant says.
    pub author: Caller,
    /// The devices that its request names.
    pub targets: Targets,
    /// The sites that its assembly is for; none where it is for all, or it runs none.
    pub sites: Option<BTreeSet<SiteName>>,
    /// The list of devices that there were when it was made: a file that is on disk.
    pub listed: Digest,
}

/// Is one schedule.
#[derive(Debug)]
pub struct Entry {
    /// What was asked.
    pub created: Created,
    /// When it is due.
    pub plan: Plan,
    /// Where it stands.
    pub slot: tokio::sync::Mutex<Slot>,
    /// Who it acts for; none before its first firing.
    pub authority: OnceLock<Authority>,
    /// Why nothing of it is due: what was accepted cannot be planned any more.
    pub unplanned: Option<WireError>,
}

/// Is what changes of a schedule.
#[derive(Debug)]
pub struct Slot {
    /// The fold of its events.
    pub state: State,
    /// The stream's version.
    pub version: u64,
    /// The positions of its newest events, the oldest first.
    pub recent: VecDeque<u64>,
    /// The jobs that it made and that may not be over.
    pub jobs: Vec<JobId>,
    /// Why it is looked at no more although it is active: its grant's time is over, by this clock.
    pub dormant: Option<WireError>,
}

impl Slot {
    /// Folds an event.
    pub fn evolve(&mut self, plan: &Plan, event: &Event, position: u64) {
        self.state = schedule::evolve(self.state.clone(), plan.policy, event);
        self.version = position;
        if self.recent.len() >= HISTORY {
            self.recent.pop_front();
        }
        self.recent.push_back(position);
        self.jobs.extend(event.jobs());
    }
}

impl Entry {
    /// Makes an entry.
    pub fn new(created: Created, plan: Plan, position: u64) -> Self {
        let slot = Slot {
            state: State::new(&plan),
            version: position,
            recent: VecDeque::from([position]),
            jobs: Vec::new(),
            dormant: None,
        };
        Self {
            created,
            plan,
            slot: tokio::sync::Mutex::new(slot),
            authority: OnceLock::new(),
            unplanned: None,
        }
    }

    fn follows(&self) -> String {
        let timing = &self.created.timing;
        match (&self.unplanned, &timing.cron) {
            (None, _) => self.plan.schedule.kind().to_string(),
            (Some(_), Some(cron)) => format!("cron:{cron}"),
            (Some(_), None) => timing.kind.clone().unwrap_or_default(),
        }
    }

    fn zone(&self) -> &str {
        match self.unplanned {
            None => self.plan.schedule.zone().name(),
            Some(_) => &self.created.timing.zone,
        }
    }

    /// Returns the schedule as operators see it.
    pub fn view(&self, slot: &Slot) -> ScheduleView {
        let Created {
            schedule,
            name,
            username,
            what,
            timing,
            ..
        } = &self.created;
        let state = &slot.state;
        let next = (state.standing == Standing::Active && slot.dormant.is_none())
            .then(|| schedule::next_due(state, &self.plan))
            .flatten();
        let (word, code, reason) = match (&state.standing, self.unplanned.as_ref().or(slot.dormant.as_ref())) {
            (Standing::Archived, _) => ("archived", None, None),
            (Standing::Paused, _) => ("paused", None, None),
            (Standing::Stopped { code, reason }, _) => ("stopped", Some(*code), Some(reason.to_string())),
            (Standing::Active, Some(error)) => ("stopped", Some(error.code), Some(error.message.clone())),
            (Standing::Active, None) if next.is_none() && state.queued.is_none() => ("ended", None, None),
            (Standing::Active, None) => ("active", None, None),
        };
        ScheduleView {
            schedule: *schedule,
            name: name.clone(),
            created_at: self.created.created_at,
            created_by: username.clone(),
            state: word.to_owned(),
            reason,
            code,
            follows: self.follows(),
            zone: self.zone().to_owned(),
            start: self.plan.schedule.start(),
            end: self.plan.schedule.end(),
            misfire: timing.misfire,
            misfire_most: timing.misfire_most,
            late_limit_ms: timing.late_limit_ms,
            concurrency: timing.concurrency,
            delay_ms: self.plan.delay_ms.unsigned_abs(),
            role: what.role.clone(),
            verb: what.verb.clone(),
            language: what.language,
            context: what.context,
            script_digest: what.script_digest,
            timeout_ms: what.timeout_ms,
            expires_in_ms: self.created.expires_in_ms,
            guids: self.created.guids.clone(),
            next_at: next,
            next_local: next.map(|next| self.plan.schedule.describe(next).local),
            skips: state.left_out().collect(),
            queued: state.queued,
            fired: state.fired,
            not_run: state.not_run,
            last_job: state.last.map(|(job, _)| job),
            last_at: state.last.map(|(_, at)| at),
        }
    }
}

/// Holds every schedule.
#[derive(Debug)]
pub struct Schedules {
    all: RwLock<HashMap<ScheduleId, Arc<Entry>>>,
    by_time: RwLock<BTreeSet<Place<ScheduleId>>>,
    zones: Mutex<HashMap<String, Zone>>,
    /// When which schedule is looked at.
    pub agenda: Mutex<Agenda<ScheduleId>>,
    /// Schedules of which a firing waits for a job.
    pub waiting: Mutex<HashMap<JobId, ScheduleId>>,
    /// Wakes the firing.
    pub wake: Notify,
    /// Schedules that were ended and whose grants may live.
    pub retiring: Mutex<BTreeSet<ScheduleId>>,
    /// Wakes whoever ends grants.
    pub retire: Notify,
}

impl Default for Schedules {
    fn default() -> Self {
        Self {
            all: RwLock::default(),
            by_time: RwLock::default(),
            zones: Mutex::default(),
            agenda: Mutex::new(Agenda::new()),
            waiting: Mutex::default(),
            wake: Notify::new(),
            retiring: Mutex::default(),
            retire: Notify::new(),
        }
    }
}

impl Schedules {
    /// Adds a schedule. One that cannot be planned any more, its zone being gone, stands there and says so; nothing of it is
    /// due, and nobody else is held up.
    pub fn add(&self, created: Created, position: u64) -> Arc<Entry> {
        let (id, at) = (created.schedule, created.created_at);
        let entry = match self.plan(&created) {
            Ok(plan) => Entry::new(created, plan, position),
            Err(error) => {
                error!(schedule = %id, name = %created.name, error = %error, "a schedule cannot be planned any more; nothing of it is due");
                let plan = Plan::never(at, created.timing.concurrency);
                Entry {
                    unplanned: Some(plan_refused(&error)),
                    ..Entry::new(created, plan, position)
                }
            }
        };
        let entry = Arc::new(entry);
        self.all.write().insert(id, Arc::clone(&entry));
        self.by_time.write().insert((at, id));
        entry
    }

    fn plan(&self, created: &Created) -> Result<Plan, PlanError> {
        let zone = self.zone(&created.timing.zone)?;
        Plan::of(&created.timing, &created.schedule, created.signed_at, zone)
    }

    /// Finds a zone; each is read once.
    fn zone(&self, name: &str) -> Result<Zone, PlanError> {
        let mut zones = self.zones.lock();
        if let Some(zone) = zones.get(name) {
            return Ok(zone.clone());
        }
        let zone = Zone::named(name)?;
        zones.insert(name.to_owned(), zone.clone());
        Ok(zone)
    }

    /// Finds a schedule.
    pub fn get(&self, id: &ScheduleId) -> Option<Arc<Entry>> {
        self.all.read().get(id).cloned()
    }

    /// Lists every schedule, in no order.
    pub fn every(&self) -> Vec<Arc<Entry>> {
        self.all.read().values().cloned().collect()
    }

    /// Sets when a schedule is looked at next; never, without a time.
    pub fn appoint(&self, id: ScheduleId, at: Option<Timestamp>) {
        let mut agenda = self.agenda.lock();
        match at {
            Some(at) => agenda.set(id, at.unix_ms()),
            None => agenda.remove(&id),
        }
        drop(agenda);
        self.wake.notify_one();
    }

    /// Lists those that a filter lets through, newest first, behind a place, at most `limit`.
    pub fn newest(
        &self,
        before: Option<Place<ScheduleId>>,
        limit: usize,
        sees: impl Fn(&Entry) -> bool,
    ) -> Vec<(Place<ScheduleId>, Arc<Entry>)> {
        newest(&self.by_time, &self.all, before, limit, sees)
    }
}
