//! Deciding and writing: the one way from a command to durable events.
//!
//! A command is decided on the state as the log has it, written with the versions of the streams it touches, and decided
//! again when one of them moved meanwhile. The state takes the log in by its order, so that it never knows more or less than
//! what is durable.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, AppendError, EventLog, Head, StreamWrite};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::error::Fault;
use crate::state::State;
use crate::stored::Event;

/// Is how often a command is decided anew when its streams move.
const ATTEMPTS: usize = 16;
/// Is how many records are taken in at a time.
const PAGE: usize = 1_000;

/// Says whose command an append is.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The command.
    pub id: CommandId,
    /// Digest of what was asked.
    pub digest: [u8; 32],
    /// Now.
    pub at: Timestamp,
}

impl Stamp {
    /// Makes the stamp of an act that nobody repeats by its id.
    pub fn own(id: CommandId, at: Timestamp) -> Self {
        Self {
            id,
            digest: sha256(id.as_bytes()),
            at,
        }
    }
}

/// Is what a command comes to: events to write, and what the caller needs.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What happened; nothing is written when it is empty.
    pub events: Vec<Event>,
    /// What the caller needs; of an operator's command the answer, which never holds a secret.
    pub value: T,
}

/// Says how the answer of an operator's command is kept for its repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As JSON text, which answers a repetition as it stands.
    Json,
    /// As CBOR, which is no text, so that a repetition comes to the handler: something has to be added to the answer.
    Cbor,
}

/// Holds the log and the state folded from it.
pub struct Ledger {
    log: Arc<dyn EventLog>,
    state: RwLock<State>,
}

impl Ledger {
    /// Folds the whole log.
    ///
    /// Errors: [`Fault`] when the log cannot be read.
    pub fn open(log: Arc<dyn EventLog>) -> Result<Self, Fault> {
        let ledger = Self {
            log,
            state: RwLock::default(),
        };
        ledger.catch_up()?;
        Ok(ledger)
    }

    /// Looks at the state.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        // A panic while folding would leave a torn state; folding does not panic, and its errors end the service.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides and writes an act that nobody repeats by its id.
    ///
    /// Errors: what `decide` says, or a [`Fault`] of the log, which is of the same type.
    pub async fn commit<T, E: From<Fault>>(
        &self,
        stamp: Stamp,
        decide: impl Fn(&State) -> Result<Outcome<T>, E>,
    ) -> Result<T, E> {
        self.write(stamp, decide, |_| Ok(Vec::new()))
            .await
            .map(|(value, _)| value)
    }

    /// Decides and writes an operator's command; when it had been made before, returns its first answer.
    ///
    /// Errors: what `decide` says, or a [`Fault`].
    pub async fn command<T, E>(
        &self,
        stamp: Stamp,
        kept: Kept,
        decide: impl Fn(&State) -> Result<Outcome<T>, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Fault>,
    {
        let (value, first) = self.write(stamp, decide, |value| kept.write(value)).await?;
        match first {
            Some(answer) => Ok(kept.read(&answer)?),
            None => Ok(value),
        }
    }

    /// Returns the answer of an operator's command when it was made before.
    ///
    /// Errors: [`Fault`] when the log or the answer cannot be read.
    pub fn answered<T: DeserializeOwned>(&self, id: &CommandId, kept: Kept) -> Result<Option<T>, Fault> {
        let record = self.log.command(id.as_bytes())?;
        record.map(|record| kept.read(&record.answer)).transpose()
    }

    /// Follows the log's durable head.
    pub fn subscribe(&self) -> watch::Receiver<Head> {
        self.log.subscribe()
    }

    /// Returns the log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    async fn write<T, E: From<Fault>>(
        &self,
        stamp: Stamp,
        decide: impl Fn(&State) -> Result<Outcome<T>, E>,
        answer: impl Fn(&T) -> Result<Vec<u8>, Fault>,
    ) -> Result<(T, Option<Vec<u8>>), E> {
        for _ in 0..ATTEMPTS {
            self.catch_up()?;
            let (writes, value) = {
                let state = self.state();
                let outcome = decide(&state)?;
                (writes(&state, &outcome.events)?, outcome.value)
            };
            if writes.is_empty() {
                return Ok((value, None));
            }
            let append = Append {
                command_id: *stamp.id.as_bytes(),
                command_digest: stamp.digest,
                at_ms: stamp.at.unix_ms(),
                writes,
                answer: answer(&value)?,
            };
            match self.log.append(append).await {
                Ok(appended) => {
                    self.catch_up()?;
                    return Ok((value, appended.replayed.then_some(appended.answer)));
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(Fault::Append(error).into()),
            }
        }
        Err(Fault::Contended.into())
    }

    fn catch_up(&self) -> Result<(), Fault> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        while state.position() < self.log.head().position {
            let records = self.log.read_all(state.position(), PAGE)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                state.apply(record)?;
            }
        }
        Ok(())
    }
}

impl Kept {
    fn write<T: Serialize>(self, value: &T) -> Result<Vec<u8>, Fault> {
        match self {
            Kept::Json => serde_json::to_vec(value).map_err(|_| Fault::Answer),
            Kept::Cbor => codec::encode(value).map_err(|_| Fault::Answer),
        }
    }

    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Fault> {
        match self {
            Kept::Json => serde_json::from_slice(bytes).map_err(|_| Fault::Answer),
            Kept::Cbor => codec::decode(bytes).map_err(|_| Fault::Answer),
        }
    }
}

/// Groups events by stream, in order.
fn writes(state: &State, events: &[Event]) -> Result<Vec<StreamWrite>, Fault> {
    let mut writes: Vec<StreamWrite> = Vec::new();
    for event in events {
        let stream = event.stream()?;
        let new = event.to_new()?;
        match writes.iter_mut().find(|write| write.stream == stream) {
            Some(write) => write.events.push(new),
            None => writes.push(StreamWrite {
                stream,
                expected: state.version(event),
                events: vec![new],
            }),
        }
    }
    Ok(writes)
}
