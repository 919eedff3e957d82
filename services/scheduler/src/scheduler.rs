//! The service's parts in one place, and how they are rebuilt from the log at start.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use borealis_event_store::{EventLog, EventRecord, StoreError};
use borealis_service_kit::audit::Recorder;
use borealis_service_kit::auth::Authoriser;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::clock::Clock;
use borealis_service_kit::follow::Freshness;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::shutdown::Shutdown;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, mpsc};

use crate::agenda::Agenda;
use crate::book::{Book, FeedItem, FeedWhat, Job, RunKey};
use crate::devices::Devices;
use crate::files::Files;
use crate::job;
use crate::orders::Warrant;
use crate::output::OutputFiles;
use crate::rollout::Rollouts;
use crate::run;
use crate::schedules::Schedules;
use crate::steps;
use crate::stored::{Stored, StoredError};
use crate::targets::{self, TargetsError};

/// Says why the service cannot start from its log.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The store cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// An event cannot be read.
    #[error("the event at position {position} cannot be read")]
    Event {
        /// Where.
        position: u64,
        /// Why.
        #[source]
        source: StoredError,
    },
    /// A file that the log names is missing or damaged.
    #[error("the file {digest} that the log names at position {position} is missing or damaged")]
    File {
        /// Where it is named.
        position: u64,
        /// Its name.
        digest: String,
    },
    /// A list of targets cannot be read.
    #[error("a list of targets cannot be read")]
    Targets(#[from] TargetsError),
}

/// Is the running service.
pub struct Scheduler {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The bus.
    pub bus: Bus,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Jobs and runs.
    pub book: Book,
    /// What is known of devices.
    pub devices: Arc<Devices>,
    /// How old what is known of devices is; set once enrollment is followed.
    pub enrollment: OnceLock<Freshness>,
    /// Warrants and target lists.
    pub files: Files,
    /// Long output.
    pub output: OutputFiles,
    /// Takes runs that are over to be packed.
    pub to_pack: mpsc::UnboundedSender<RunKey>,
    /// When which run is looked at.
    pub agenda: Mutex<Agenda<RunKey>>,
    /// Held while a job becomes durable and enters the book, so that a command makes one job.
    pub entering: tokio::sync::Mutex<()>,
    /// Keeps what devices refuse.
    pub recorder: Arc<Recorder>,
    /// Wakes delivery.
    pub wake: Notify,
    /// When the waves of which job are looked at.
    pub rollouts: Rollouts,
    /// Every schedule.
    pub schedules: Schedules,
    /// Decides what a schedule's author may do now.
    pub authoriser: Arc<Authoriser>,
    /// What is over before its time, as access says.
    pub revoked: Arc<RevocationSet>,
    /// Ends everything.
    pub shutdown: Shutdown,
}

impl Scheduler {
    /// Folds the whole log into an empty book; returns the position it has reached.
    ///
    /// Errors: [`RebuildError`] names the place that cannot be read.
    pub async fn rebuild(&self) -> Result<u64, RebuildError> {
        let mut after = 0;
        loop {
            let page = self.log.read_all(after, 1_000)?;
            let Some(last) = page.last() else { break };
            after = last.position;
            for record in &page {
                self.fold(record).await?;
            }
        }
        let now = self.clock.now().unix_ms();
        let open = self.book.open_runs();
        let open_jobs: BTreeSet<_> = open.iter().map(|key| key.job).collect();
        for key in &open {
            if let Some(job) = self.book.job(&key.job)
                && let Some(slot) = job.slot(key.index)
            {
                steps::resume(&job, &mut *slot.lock().await);
            }
        }
        {
            let mut agenda = self.agenda.lock();
            for key in open {
                agenda.set(key, now);
            }
        }
        for job in open_jobs {
            self.rollouts.hasten(job, now);
        }
        self.appoint_schedules().await;
        self.note_retired().await;
        Ok(after)
    }

    async fn fold(&self, record: &EventRecord) -> Result<(), RebuildError> {
        let Some(stored) = decode(record)? else { return Ok(()) };
        match stored {
            Stored::Job(job::Event::Created(created)) => {
                let targets = self.targets_of(&created, record.position)?;
                self.book.add(Arc::new(Job::new(*created, targets, record.position)));
            }
            Stored::Job(job::Event::Approved(approved)) => {
                if let Some(job) = self.job_of_stream(record) {
                    job.approved.get_or_init(|| approved);
                    *job.version.lock().await = record.position;
                }
            }
            Stored::Job(job::Event::Cancelled { .. }) => {
                if let Some(job) = self.job_of_stream(record) {
                    job.cancelled.store(true, Ordering::Relaxed);
                    *job.version.lock().await = record.position;
                }
            }
            Stored::Job(job::Event::Waves(event)) => {
                if let Some(job) = self.job_of_stream(record) {
                    job.evolve_waves(&event);
                    *job.version.lock().await = record.position;
                }
            }
            Stored::Schedule(event) => self.fold_schedule(record, event).await,
            Stored::Run(event) => {
                if let Some((job, index)) = self.run_of_stream(record)
                    && let Some(slot) = job.slot(index)
                {
                    let mut slot = slot.lock().await;
                    job.evolve(&mut slot, std::slice::from_ref(&event), record.position);
                    feed(&job, index, record.position, &event);
                    let key = job.key(index);
                    if slot.state.end.is_some()
                        && let Some(target) = job.target(index)
                    {
                        self.book.close(&target.guid, &key);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the devices of a job from the files that its event names.
    ///
    /// Errors: [`RebuildError`].
    pub(crate) fn targets_of(
        &self,
        created: &job::Created,
        position: u64,
    ) -> Result<Vec<crate::book::Target>, RebuildError> {
        let missing = |digest: &dyn std::fmt::Display| RebuildError::File {
            position,
            digest: digest.to_string(),
        };
        let bytes = self
            .files
            .read_now(&created.file)?
            .ok_or_else(|| missing(&created.file))?;
        let warrant: Warrant = borealis_bus_schema::codec::decode(&bytes).map_err(|_| missing(&created.file))?;
        let listed = created.firing.map_or(warrant.targets, |firing| firing.targets);
        let list = self.files.read_now(&listed)?.ok_or_else(|| missing(&listed))?;
        Ok(targets::read(&list)?)
    }

    /// Finds the job whose stream a record stands in.
    pub fn job_of_stream(&self, record: &EventRecord) -> Option<Arc<Job>> {
        let id = record.stream.as_str().strip_prefix("job-")?.parse().ok()?;
        self.book.job(&id)
    }

    /// Finds the run whose stream a record stands in.
    pub fn run_of_stream(&self, record: &EventRecord) -> Option<(Arc<Job>, u32)> {
        let id = record.stream.as_str().strip_prefix("run-")?.parse().ok()?;
        self.book.run(&id)
    }
}

/// Decodes a record; `None` when retention dropped its body, when the store wrote it for itself, and for the audit's.
///
/// Errors: [`RebuildError::Event`].
pub fn decode(record: &EventRecord) -> Result<Option<Stored>, RebuildError> {
    if [borealis_event_store::SUMMARISED, borealis_bus_schema::audit::KIND].contains(&record.kind.as_str()) {
        return Ok(None);
    }
    let Some(body) = &record.body else { return Ok(None) };
    let stored = Stored::decode(&record.kind, body);
    stored.map(Some).map_err(|source| RebuildError::Event {
        position: record.position,
        source,
    })
}

/// Adds to a job's feed what followers want to know of a run's event.
pub fn feed(job: &Job, index: u32, position: u64, event: &run::Event) {
    let what = match event {
        run::Event::Output {
            stream,
            seq,
            offset,
            size_bytes,
            inline,
        } => FeedWhat::Chunk {
            stream: *stream,
            seq: *seq,
            offset: *offset,
            size_bytes: u32::try_from(*size_bytes).unwrap_or(u32::MAX),
            inline: inline.is_some(),
        },
        run::Event::Ended(_) | run::Event::EndedAfterAll(_) => FeedWhat::Ended,
        _ => return,
    };
    let mut feed = job.feed.lock();
    feed.ended += u64::from(matches!(event, run::Event::Ended(_)));
    feed.items.push(FeedItem { position, index, what });
}
