//! What signing's handlers share: the key, the log, and what other services' logs say.

use std::sync::{Arc, Mutex, PoisonError};

use borealis_bus_schema::ids::JobId;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, EventLog, StreamId, StreamWrite, Version};
use borealis_service_kit::auth::{Authoriser, Reach};
use borealis_service_kit::follow::Follower;
use borealis_service_kit::random;
use ed25519_dalek::SigningKey;

use crate::aggregate::{Event, Facts, SignBatch, State, decide, evolve};
use crate::counted::Counted;
use crate::devices::Devices;
use crate::error::SigningError;
use crate::stored;

/// Is how often a batch is decided anew when another batch of its job was written first.
const MAX_CONFLICTS: u32 = 16;

/// Is how many events are read at once.
const PAGE: usize = 256;

/// Is everything that signing works with.
pub struct Signing {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The code-signing key.
    pub key: SigningKey,
    /// The key's name.
    pub key_id: String,
    /// Until when devices accept what the key signs.
    pub key_set_ends_at: Timestamp,
    /// Verifies grants.
    pub authoriser: Arc<Authoriser>,
    /// The devices.
    pub devices: Arc<Devices>,
    /// Keeps the devices fresh.
    pub enrollment: Follower,
    /// What is known of jobs whose devices are counted.
    pub counted: Mutex<Counted>,
}

impl Signing {
    /// Decides a batch and makes it durable; `reach` is what the author may do now.
    ///
    /// Errors: [`SigningError::Rejected`], [`SigningError::Append`], [`SigningError::Store`].
    pub async fn record(&self, batch: &SignBatch, reach: &Reach, now: Timestamp) -> Result<(), SigningError> {
        let is_counted = reach.has_job_limit() || batch.approved.is_some();
        let mut conflicts = 0;
        loop {
            let (state, stream, version) = if is_counted {
                self.counted(&batch.job)?
            } else {
                self.job(&batch.job)?
            };
            let limit = self.limit(batch, &state, reach);
            let events = decide(&state, batch, &Facts { now, limit })?;
            match append(self.log.as_ref(), &events, Some((&stream, version)), now).await {
                Err(SigningError::Append(AppendError::Conflict { .. })) if conflicts < MAX_CONFLICTS => conflicts += 1,
                outcome => return outcome,
            }
        }
    }

    /// Finds the limit that holds for a job: the strictest of the sites of all its devices.
    fn limit(&self, batch: &SignBatch, state: &State, reach: &Reach) -> Option<u64> {
        // Under an approval it is not the limit that counts.
        if batch.approved.is_some() || !reach.has_job_limit() {
            return None;
        }
        let devices = batch.devices(state);
        let known = self.devices.look(devices.iter());
        // A device that is not known gets no order; until it is, it counts with the strictest.
        let limits = known.iter().map(|device| match device {
            Some(device) => reach.job_limit(&device.site),
            None => reach.strictest_job_limit(),
        });
        limits.flatten().min()
    }

    /// Reads all that is known of a job: what it is bound to, for which devices it was signed, which were approved.
    fn counted(&self, job: &JobId) -> Result<(Arc<State>, StreamId, Version), SigningError> {
        let stream = stored::of_job(job)?;
        let version = self.log.stream_version(&stream)?;
        let (mut read, state) = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.take(job)
        };
        let mut state = Arc::unwrap_or_clone(state);
        while read < version {
            let page = self.log.read_stream(&stream, read, PAGE)?;
            let Some(last) = page.last() else { break };
            read = last.position;
            for record in &page {
                state = match &record.body {
                    Some(body) => evolve(state, &stored::decode(&record.kind, body)?),
                    // Nobody can tell any more for which devices.
                    None => State::Closed,
                };
            }
        }
        let state = Arc::new(state);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.keep(*job, read, Arc::clone(&state));
        Ok((state, stream, read))
    }

    /// Reads what a job is bound to: its first event says it.
    fn job(&self, job: &JobId) -> Result<(Arc<State>, StreamId, Version), SigningError> {
        let stream = stored::of_job(job)?;
        let version = self.log.stream_version(&stream)?;
        let first = self.log.read_stream(&stream, 0, 1)?;
        let state = match first.first() {
            None => State::New,
            Some(record) => match &record.body {
                Some(body) => evolve(State::New, &stored::decode(&record.kind, body)?),
                None => State::Closed,
            },
        };
        Ok((Arc::new(state), stream, version))
    }
}

/// Appends events, each to its stream; the version of one of them may be given, the others' are looked up.
///
/// Errors: [`SigningError::Append`], [`SigningError::Store`], [`SigningError::Stored`].
pub async fn append(
    log: &dyn EventLog,
    events: &[Event],
    known: Option<(&StreamId, Version)>,
    now: Timestamp,
) -> Result<(), SigningError> {
    let mut writes: Vec<StreamWrite> = Vec::new();
    for event in events {
        let (stream, event) = stored::encode(event)?;
        if let Some(write) = writes.iter_mut().find(|write| write.stream == stream) {
            write.events.push(event);
            continue;
        }
        let expected = match known {
            Some((known, version)) if *known == stream => version,
            _ => log.stream_version(&stream)?,
        };
        writes.push(StreamWrite {
            stream,
            expected,
            events: vec![event],
        });
    }
    let append = Append {
        command_id: random::bytes(),
        command_digest: [0; 32],
        at_ms: now.unix_ms(),
        writes,
        answer: Vec::new(),
    };
    log.append(append).await?;
    Ok(())
}
