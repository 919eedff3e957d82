//! The log as handlers see it: the first append inside an act carries the act's record.
//!
//! Records stand in streams of their own, `audit-<n>`; each append takes a stream that no other append is using, so that
//! they never conflict and share syncs as before. What the caller is told of positions leaves the record out: it stands
//! last, and services compute versions from what they wrote themselves.

use std::sync::{Arc, Mutex, PoisonError};

use borealis_bus_schema::audit::{AuditRecord, KIND, STREAM_PREFIX};
use borealis_bus_schema::codec;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, NewEvent, Position,
    StoreError, StreamId, StreamWrite, Version,
};
use tokio::sync::watch;

use super::act::Act;

/// Is an [`EventLog`] that adds the record of the act under way. Handles are cheap to clone.
#[derive(Clone)]
pub struct AuditedLog {
    inner: Arc<dyn EventLog>,
    prefix: &'static str,
    streams: Arc<Mutex<Streams>>,
}

/// Begins the names of the streams of refusals, which the request loop writes past the handlers' log.
const REFUSED_PREFIX: &str = "audit-refused-";

/// Hands out streams for records.
#[derive(Debug, Default)]
struct Streams {
    /// Those that nobody uses, with their version; none is known before its first use.
    free: Vec<(u32, Option<Version>)>,
    made: u32,
}

/// Is a stream that one append uses.
struct Borrowed {
    number: u32,
    stream: StreamId,
    version: Version,
}

impl AuditedLog {
    /// Stands in front of a log.
    pub fn new(inner: Arc<dyn EventLog>) -> Self {
        Self {
            inner,
            prefix: STREAM_PREFIX,
            streams: Arc::default(),
        }
    }

    /// Stands in front of a log for records that belong to no change; its streams are others than the handlers'.
    pub fn for_refusals(inner: Arc<dyn EventLog>) -> Self {
        Self {
            prefix: REFUSED_PREFIX,
            ..Self::new(inner)
        }
    }

    /// Appends records that belong to no change, in one commit, as of the newest of them.
    ///
    /// Errors: [`AppendError`].
    pub async fn append_records(&self, records: &[AuditRecord], id: [u8; 16]) -> Result<(), AppendError> {
        match records.iter().map(|record| record.at).max() {
            Some(newest) => self.append_records_at(records, newest, id).await,
            None => Ok(()),
        }
    }

    /// Appends records as of an instant; those that are handed over late are older than that.
    ///
    /// Errors: [`AppendError`].
    pub async fn append_records_at(
        &self,
        records: &[AuditRecord],
        now: Timestamp,
        id: [u8; 16],
    ) -> Result<(), AppendError> {
        if records.is_empty() {
            return Ok(());
        }
        let events: Vec<NewEvent> = records.iter().map(event_of).collect::<Result<_, _>>()?;
        loop {
            let borrowed = self.borrow()?;
            let append = Append {
                command_id: id,
                command_digest: [0; 32],
                at_ms: now.unix_ms(),
                writes: vec![borrowed.write(events.clone())],
                answer: Vec::new(),
            };
            match self.inner.append(append).await {
                Ok(appended) => {
                    let version = if appended.replayed {
                        borrowed.version
                    } else {
                        appended.last
                    };
                    self.give_back(&borrowed, Some(version));
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => {
                    self.give_back(&borrowed, None);
                    return Err(error);
                }
            }
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stream that nobody uses; one whose append's end nobody saw is not used again before the next start.
    fn borrow(&self) -> Result<Borrowed, AppendError> {
        let (number, version) = {
            let mut streams = self.streams();
            streams.free.pop().unwrap_or_else(|| {
                streams.made += 1;
                (streams.made, None)
            })
        };
        let stream = StreamId::new(&format!("{}{number}", self.prefix)).map_err(|_| AppendError::Invalid {
            reason: "an audit stream has no such name",
        })?;
        let version = match version {
            Some(version) => version,
            None => self.inner.stream_version(&stream).map_err(AppendError::Storage)?,
        };
        Ok(Borrowed {
            number,
            stream,
            version,
        })
    }

    fn give_back(&self, borrowed: &Borrowed, version: Option<Version>) {
        self.streams().free.push((borrowed.number, version));
    }

    async fn append_with(&self, append: Append, act: Act, mut record: AuditRecord) -> Result<Appended, AppendError> {
        for write in append.writes.iter().filter(|write| !write.events.is_empty()) {
            // Streams are named by what they are about: `job-<id>`.
            if let Some((kind, id)) = write.stream.as_str().split_once('-') {
                record.add_object(kind, id);
            }
        }
        let event = event_of(&record)?;
        loop {
            let borrowed = self.borrow()?;
            let mut with = append.clone();
            with.writes.push(borrowed.write(vec![event.clone()]));
            match self.inner.append(with).await {
                Ok(appended) if appended.replayed => {
                    self.give_back(&borrowed, Some(borrowed.version));
                    // The first time left the record; this is no second act.
                    act.settle(true);
                    return self.without_record(appended);
                }
                Ok(mut appended) => {
                    self.give_back(&borrowed, Some(appended.last));
                    act.settle(true);
                    appended.last = appended.last.saturating_sub(1);
                    return Ok(appended);
                }
                Err(AppendError::Conflict { stream, .. }) if stream == borrowed.stream => {}
                Err(error) => {
                    self.give_back(&borrowed, None);
                    act.settle(false);
                    return Err(error);
                }
            }
        }
    }

    /// Leaves the record out of what a repeated command is told.
    fn without_record(&self, mut appended: Appended) -> Result<Appended, AppendError> {
        appended.last = self
            .last_own(appended.first, appended.last)
            .map_err(AppendError::Storage)?;
        Ok(appended)
    }

    fn last_own(&self, first: Position, last: Position) -> Result<Position, StoreError> {
        if last <= first {
            return Ok(last);
        }
        let at_end = self.inner.read_all(last.saturating_sub(1), 1)?;
        let is_record = at_end.first().is_some_and(|event| event.kind == KIND);
        Ok(if is_record { last.saturating_sub(1) } else { last })
    }
}

impl Borrowed {
    fn write(&self, events: Vec<NewEvent>) -> StreamWrite {
        StreamWrite {
            stream: self.stream.clone(),
            expected: self.version,
            events,
        }
    }
}

fn event_of(record: &AuditRecord) -> Result<NewEvent, AppendError> {
    let body = codec::encode(record).map_err(|_| AppendError::Invalid {
        reason: "an audit record cannot be encoded",
    })?;
    Ok(NewEvent {
        kind: KIND.to_owned(),
        body,
    })
}

impl EventLog for AuditedLog {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            let writes_something = append.writes.iter().any(|write| !write.events.is_empty());
            let act = Act::current().filter(|_| writes_something);
            if let Some(act) = act
                && let Some(record) = act.take()
            {
                return self.append_with(append, act, record).await;
            }
            let appended = self.inner.append(append).await?;
            if appended.replayed {
                self.without_record(appended)
            } else {
                Ok(appended)
            }
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.read_all(after, limit)
    }

    fn read_stream(&self, stream: &StreamId, after: Version, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.read_stream(stream, after, limit)
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, StoreError> {
        self.inner.stream_version(stream)
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn subscribe(&self) -> watch::Receiver<Head> {
        self.inner.subscribe()
    }

    fn command(&self, command_id: &[u8; 16]) -> Result<Option<CommandRecord>, StoreError> {
        let Some(mut record) = self.inner.command(command_id)? else {
            return Ok(None);
        };
        record.last = self.last_own(record.first, record.last)?;
        Ok(Some(record))
    }

    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.flush_and_close()
    }
}

#[cfg(test)]
mod tests;
