//! The one reader of the log: fills the feeds that followers read, and tells live views what happened.
//!
//! Events are published from here, behind the commit and in the log's order, never by a handler. What one page of the log
//! says of the runs of a job travels as one event: a job for ten thousand devices would drown every page otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::ids::{JobId, RunId, ScheduleId, VerbName};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_event_store::{EventRecord, Follower};
use serde_json::{Value, json};
use tracing::error;

use crate::book::Job;
use crate::run;
use crate::scheduler::{Scheduler, decode, feed};
use crate::schedules::firing::schedule_of_stream;
use crate::stored::Stored;

/// Is how many events are read, and told, at once.
const PAGE: usize = 1_024;
/// Is the pause after the log could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Is what a page of the log says of one job, for live views.
#[derive(Debug, Default)]
struct News {
    created: bool,
    approved: bool,
    cancelled: bool,
    /// Whether its waves went on or stopped.
    moved: bool,
    ended: bool,
    /// The newest state of each run that moved, by its place in the job.
    states: BTreeMap<u32, RunState>,
}

impl Scheduler {
    /// Reads what is committed behind a position until the service stops.
    pub async fn read_log(self: Arc<Self>, after: u64) {
        tokio::select! {
            () = self.read_on(after) => {}
            () = self.shutdown.wait() => {}
        }
    }

    async fn read_on(&self, after: u64) {
        let mut follower = Follower::new(Arc::clone(&self.log), after);
        loop {
            match follower.next(PAGE).await {
                Ok(records) => {
                    let (jobs, schedules) = self.take_page(&records);
                    for (job, news) in jobs {
                        if news.ended {
                            self.schedule_goes_on(&job);
                        }
                        self.tell(job, news).await;
                    }
                    for (schedule, is_new) in schedules {
                        let past = if is_new { "created" } else { "changed" };
                        self.publish("schedule", past, &json!({ "schedule": schedule })).await;
                    }
                }
                Err(failed) => {
                    error!(
                        error = &failed as &dyn std::error::Error,
                        "the log cannot be read; followers see nothing new until it can, it is tried again"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Fills the feeds of a page's jobs, wakes their followers, and gathers what live views are told: of jobs, and which
    /// schedules changed, with whether they are new.
    fn take_page(&self, records: &[EventRecord]) -> (BTreeMap<JobId, News>, BTreeMap<ScheduleId, bool>) {
        let mut all: BTreeMap<JobId, News> = BTreeMap::new();
        let mut schedules = BTreeMap::new();
        let mut filled: BTreeMap<JobId, (Arc<Job>, u64)> = BTreeMap::new();
        for record in records {
            let Ok(Some(stored)) = decode(record) else { continue };
            match stored {
                Stored::Job(event) => {
                    let Some(job) = record
                        .stream
                        .as_str()
                        .strip_prefix("job-")
                        .and_then(|id| id.parse().ok())
                    else {
                        continue;
                    };
                    let news = all.entry(job).or_default();
                    match event {
                        crate::job::Event::Created(_) => news.created = true,
                        crate::job::Event::Approved(_) => news.approved = true,
                        crate::job::Event::Cancelled { .. } => news.cancelled = true,
                        crate::job::Event::Waves(_) => news.moved = true,
                    }
                }
                Stored::Schedule(event) => {
                    if let Some(id) = schedule_of_stream(record) {
                        schedules.insert(id, matches!(event, crate::schedule::Event::Created(_)));
                    }
                }
                Stored::Run(event) => {
                    let Some((job, index)) = self.run_of_stream(record) else {
                        continue;
                    };
                    feed(&job, index, record.position, &event);
                    let news = all.entry(job.created.job).or_default();
                    if let Some(state) = state_of(&event) {
                        news.states.insert(index, state);
                        news.ended |= state.is_final();
                        if state.is_final() {
                            // Nobody listens any more when the service stops.
                            let _ = self.to_pack.send(job.key(index));
                        }
                    }
                    filled.insert(job.created.job, (job, record.position));
                }
            }
        }
        for (job, position) in filled.into_values() {
            job.filled.send_replace(position);
        }
        (all, schedules)
    }

    async fn tell(&self, job: JobId, news: News) {
        if news.created {
            self.publish("job", "created", &json!({ "job": job })).await;
        }
        if news.approved {
            self.publish("job", "approved", &json!({ "job": job })).await;
        }
        if news.cancelled {
            self.publish("job", "cancelled", &json!({ "job": job })).await;
        }
        if news.moved {
            self.publish("job", "changed", &json!({ "job": job })).await;
        }
        let Some(known) = self.book.job(&job).filter(|_| !news.states.is_empty()) else {
            return;
        };
        let runs = news.states.iter().filter_map(|(index, state)| {
            let target = known.target(*index)?;
            let run = RunId::of_job(&job, &target.guid);
            Some(json!({ "run": run, "guid": target.guid, "state": state }))
        });
        let runs: Vec<Value> = runs.collect();
        self.publish("run", "changed", &json!({ "job": job, "runs": runs }))
            .await;
        // What this reader has seen end: the counts may be a moment behind the log.
        if news.ended && known.feed.lock().ended == known.created.runs_total {
            self.publish("job", "done", &json!({ "job": job })).await;
        }
    }

    async fn publish(&self, aggregate: &str, past: &str, data: &Value) {
        let (Ok(aggregate), Ok(past)) = (VerbName::new(aggregate), VerbName::new(past)) else {
            return;
        };
        // Live views read again what they missed; nothing else hears these.
        if let Err(failed) = self.bus.publish_event(&aggregate, &past, self.clock.now(), data).await {
            tracing::debug!(error = &failed as &dyn std::error::Error, "an event was not published");
        }
    }
}

/// Returns the state that an event brings a run into; a wish to cancel and output leave it where it is.
fn state_of(event: &run::Event) -> Option<RunState> {
    match event {
        run::Event::Delivered { .. } => Some(RunState::Delivered),
        run::Event::Started { .. } => Some(RunState::Running),
        run::Event::Ended(end) | run::Event::EndedAfterAll(end) => Some(end.state),
        run::Event::Retried { .. } => Some(RunState::Queued),
        run::Event::CancelRequested { .. } | run::Event::Output { .. } => None,
    }
}
