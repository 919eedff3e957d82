//! The service's parts, and what it is asked.

use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::library::{GetScript, PutScript, Script, ScriptKept as Kept};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_event_store::{Append, AppendError, DigestFiles, EventLog, NewEvent, StoreError, StreamId, StreamWrite};
use borealis_service_kit::operator::{store_error, wire_error};
use borealis_service_kit::random;
use borealis_service_kit::service::InternalCtx;

use crate::script::{self, Keep, ScriptKept, State};

/// Is the kind of the service's one event.
pub const SCRIPT_KEPT: &str = "ScriptKept";

/// Is the running service.
pub struct Library {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The texts, named by their digest.
    pub files: Arc<DigestFiles>,
}

impl Library {
    /// Keeps a script: its text is on disk before the event that names it.
    ///
    /// Errors: what [`script::decide`] refuses, `storage_failed`.
    pub async fn put(self: Arc<Self>, ctx: InternalCtx, put: PutScript) -> Reply<Kept> {
        let caller = ctx
            .caller
            .ok_or_else(|| WireError::new(Code::TokenMissing, "the request carries no token"))?;
        let digest = Digest::of(&put.script);
        let keep = Keep {
            digest,
            language: put.language,
            size_bytes: put.script.len(),
            author: caller.operator,
            at: ctx.now,
        };
        let stream = stream_of(&digest)?;
        // Two callers may keep the same text at once; whoever comes second decides again on what the first one wrote.
        for _ in 0..3 {
            let (state, version) = self.state(&stream)?;
            let events = script::decide(&state, &keep).map_err(|r| WireError::new(r.code(), r.to_string()))?;
            if events.is_empty() {
                return Ok(Kept { digest });
            }
            let encode = |event| {
                Ok(NewEvent {
                    kind: SCRIPT_KEPT.to_owned(),
                    body: codec::encode(event)?,
                })
            };
            let events = events
                .iter()
                .map(encode)
                .collect::<Result<Vec<_>, codec::CodecError>>()?;
            self.write(put.script.clone()).await?;
            match self.append(&stream, version, events, &keep).await {
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(wire_error(&error)),
                Ok(()) => return Ok(Kept { digest }),
            }
        }
        Err(WireError::new(
            Code::Conflict,
            "others keep the same script at the same time",
        ))
    }

    /// Returns a script's text.
    ///
    /// Errors: `not_found`, `storage_failed`.
    pub async fn get(self: Arc<Self>, get: GetScript) -> Reply<Script> {
        let unknown = || WireError::new(Code::NotFound, "there is no script of this digest");
        let (state, _) = self.state(&stream_of(&get.digest)?)?;
        let language = *state.languages.first().ok_or_else(unknown)?;
        let files = Arc::clone(&self.files);
        let read = tokio::task::spawn_blocking(move || files.read(&get.digest.0)).await;
        let script = read.map_err(|_| failed())?.map_err(store_failed)?.ok_or_else(failed)?;
        Ok(Script { language, script })
    }

    fn state(&self, stream: &StreamId) -> Reply<(State, u64)> {
        let records = self.log.read_stream(stream, 0, 64).map_err(store_failed)?;
        let version = records.last().map_or(0, |record| record.version);
        let mut state = State::default();
        for record in records {
            if let (SCRIPT_KEPT, Some(body)) = (record.kind.as_str(), &record.body) {
                state = script::evolve(state, &codec::decode::<ScriptKept>(body)?);
            }
        }
        Ok((state, version))
    }

    async fn write(&self, text: Vec<u8>) -> Reply<()> {
        let files = Arc::clone(&self.files);
        let written = tokio::task::spawn_blocking(move || files.put(&text))
            .await
            .map_err(|_| failed())?;
        written.map(|_| ()).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a script could not be kept");
            store_failed(error)
        })
    }

    async fn append(
        &self,
        stream: &StreamId,
        expected: u64,
        events: Vec<NewEvent>,
        keep: &Keep,
    ) -> Result<(), AppendError> {
        let append = Append {
            command_id: random::bytes(),
            command_digest: keep.digest.0,
            at_ms: keep.at.unix_ms(),
            writes: vec![StreamWrite {
                stream: stream.clone(),
                expected,
                events,
            }],
            answer: Vec::new(),
        };
        self.log.append(append).await.map(|_| ())
    }
}

fn failed() -> WireError {
    WireError::new(Code::StorageFailed, "the store failed")
}

fn store_failed(error: StoreError) -> WireError {
    store_error(&error)
}

fn stream_of(digest: &Digest) -> Reply<StreamId> {
    StreamId::new(&format!("script-{digest}")).map_err(|_| WireError::new(Code::Internal, "no stream of that name"))
}

#[cfg(test)]
mod tests {
    use borealis_bus_schema::ids::OperatorId;
    use borealis_bus_schema::order::Language;
    use borealis_bus_schema::time::Timestamp;
    use borealis_test_support::pin_all;

    use super::*;

    #[test]
    fn golden_events_stay_readable() {
        let event = ScriptKept {
            digest: Digest([1; 32]),
            language: Language::Python,
            size_bytes: 7,
            author: OperatorId::from_bytes([2; 16]),
            at: Timestamp::from_unix_ms(1_795_341_600_123),
        };
        let encode = |event: &ScriptKept| {
            let stored = NewEvent {
                kind: SCRIPT_KEPT.to_owned(),
                body: codec::encode(event).unwrap(),
            };
            (None, stored)
        };
        let fields = |event: &ScriptKept, _: &NewEvent| serde_json::to_value(event).unwrap();
        let decode = |kind: &str, body: &[u8]| {
            assert_eq!(kind, SCRIPT_KEPT);
            codec::decode::<ScriptKept>(body)
        };
        pin_all(env!("CARGO_MANIFEST_DIR"), &[event], encode, fields, decode).unwrap();
    }
}
