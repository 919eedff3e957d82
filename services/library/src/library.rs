//! The service's parts, and what it is asked.

use std::path::Path;
use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::{GetScript, PutScript, Script, ScriptKept as Kept};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_event_store::{Append, AppendError, DigestFiles, EventLog, NewEvent, StoreError, StreamId, StreamWrite};
use borealis_service_kit::operator::{OperatorCtx, store_error, wire_error};
use borealis_service_kit::random;
use borealis_service_kit::service::InternalCtx;
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::assembly;
use crate::catalogue::Catalogue;
use crate::script::{self, Keep, State};
use crate::stored::{ASSEMBLY_STREAM, Stored};

/// Is how many records are taken in at a time.
const PAGE: usize = 1_000;
/// Is how often a command is decided anew when its stream moves; only one command is decided at a time.
const ATTEMPTS: usize = 4;

/// Is the running service.
pub struct Library {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The texts, the versions and their files, named by their digest.
    pub files: Arc<DigestFiles>,
    /// What assemblies there are.
    pub catalogue: RwLock<Catalogue>,
    /// Held while a command is decided and written, so that no two assemblies get one name.
    pub turn: tokio::sync::Mutex<()>,
}

impl Library {
    /// Opens the service's parts and folds the log.
    ///
    /// Errors: [`StoreError`] when the folder or the log cannot be read.
    pub fn open(log: Arc<dyn EventLog>, folder: &Path) -> Result<Self, StoreError> {
        let library = Self {
            log,
            files: Arc::new(DigestFiles::open(folder)?),
            catalogue: RwLock::default(),
            turn: tokio::sync::Mutex::new(()),
        };
        library.catch_up()?;
        Ok(library)
    }

    /// Takes in what the log holds beyond the catalogue.
    fn catch_up(&self) -> Result<(), StoreError> {
        let mut catalogue = self.catalogue.write();
        while catalogue.position() < self.log.head().position {
            let records = self.log.read_all(catalogue.position(), PAGE)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let position = record.position;
                let reason = "an event of an assembly cannot be read";
                catalogue.apply(record).map_err(|error| {
                    tracing::error!(position, error = &error as &dyn std::error::Error, "{reason}");
                    StoreError::Broken { position, reason }
                })?;
            }
        }
        Ok(())
    }

    /// Decides an operator's command on an assembly, writes it, and returns what `answer` makes of the assembly after it.
    ///
    /// `check` sees the catalogue the command is decided on. Files that the events name are on disk before this.
    ///
    /// Errors: what `check` says; the rejection's; those of [`wire_error`].
    pub async fn command<A: Serialize + DeserializeOwned>(
        &self,
        ctx: &OperatorCtx,
        id: AssemblyId,
        command: assembly::Command,
        check: impl Fn(&Catalogue, &assembly::State) -> Reply<()>,
        answer: impl Fn(&assembly::State) -> Reply<A>,
    ) -> Reply<A> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            self.catch_up().map_err(store_failed)?;
            let (write, answer) = {
                let catalogue = self.catalogue.read();
                let none = assembly::State::default();
                let state = catalogue.get(&id).unwrap_or(&none);
                check(&catalogue, state)?;
                let events = assembly::decide(state, command.clone()).map_err(refused)?;
                let after = events.iter().fold(state.clone(), assembly::evolve);
                let answer = answer(&after)?;
                if events.is_empty() {
                    return Ok(answer);
                }
                let events = events.into_iter().map(|event| Stored::Assembly(event).encode());
                let write = StreamWrite {
                    stream: stream(&format!("{ASSEMBLY_STREAM}{id}"))?,
                    expected: catalogue.stream_version(&id),
                    events: events.collect::<Result<Vec<_>, codec::CodecError>>()?,
                };
                (write, serde_json::to_vec(&answer).map_err(|_| unwritable())?)
            };
            match ctx.append_bytes(self.log.as_ref(), vec![write], answer).await {
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(wire_error(&error)),
                Ok(appended) => {
                    self.catch_up().map_err(store_failed)?;
                    return codec::decode_json(&appended.answer, codec::MAX_JSON_BYTES).map_err(WireError::from);
                }
            }
        }
        Err(WireError::new(
            Code::Conflict,
            "others change the assembly at the same time",
        ))
    }

    /// Keeps a body under its digest; it is on disk when this returns.
    ///
    /// Errors: `storage_failed`, `storage_full`.
    pub async fn keep(&self, body: Vec<u8>) -> Reply<()> {
        self.write(body).await
    }

    /// Reads a body that the log names.
    ///
    /// Errors: `storage_failed`, also when the file is missing.
    pub async fn read(&self, digest: Digest) -> Reply<Vec<u8>> {
        let files = Arc::clone(&self.files);
        let read = tokio::task::spawn_blocking(move || files.read(&digest.0)).await;
        read.map_err(|_| failed())?.map_err(store_failed)?.ok_or_else(failed)
    }

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
            let events = events.into_iter().map(|event| Stored::Script(event).encode());
            let events = events.collect::<Result<Vec<_>, codec::CodecError>>()?;
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
        let script = self.read(get.digest).await?;
        Ok(Script { language, script })
    }

    fn state(&self, stream: &StreamId) -> Reply<(State, u64)> {
        let records = self.log.read_stream(stream, 0, 64).map_err(store_failed)?;
        let version = records.last().map_or(0, |record| record.version);
        let mut state = State::default();
        for record in records {
            let Some(body) = &record.body else { continue };
            if let Ok(Stored::Script(kept)) = Stored::decode(&record.kind, body) {
                state = script::evolve(state, &kept);
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
    stream(&format!("script-{digest}"))
}

fn stream(name: &str) -> Reply<StreamId> {
    StreamId::new(name).map_err(|_| WireError::new(Code::Internal, "no stream of that name"))
}

fn refused(rejection: assembly::Rejection) -> WireError {
    WireError::new(rejection.code(), rejection.to_string())
}

fn unwritable() -> WireError {
    WireError::new(Code::Internal, "the answer cannot be written")
}
