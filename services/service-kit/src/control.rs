//! The control socket: while a service runs, `borealis-server store` and backup ask it, since it holds the store's lock.
//!
//! Shape: a Unix socket of mode 600, `Server/State/<service>/control.sock`; one JSON line asks ([`ControlRequest`]), JSON lines
//! answer ([`ControlLine`]): any number of `line`, then one `done` or `error`.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{BoxFuture, EventLog, EventRecord, GENESIS, body_digest, chain_hash};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::paths::Paths;

/// Rebuilds a service's views from position zero; gives how many events were read.
pub type RebuildViews = Arc<dyn Fn() -> BoxFuture<'static, Result<u64, String>> + Send + Sync>;

/// Is the longest request line in bytes.
const REQUEST_BYTES: u64 = 4_096;
/// Is how many events are read at once.
const PAGE: usize = 500;

/// Says why the socket could not be used.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The system refused.
    #[error("control socket {} cannot be {did}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        did: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What came back is no answer.
    #[error("the service answered something that cannot be read")]
    Malformed,
    /// The service said no.
    #[error("{0}")]
    Refused(String),
}

/// Is one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// Prints events, newest last, and goes on with those to come.
    Tail {
        /// Behind which position; none for the last ten.
        after: Option<u64>,
        /// Whether to go on.
        follow: bool,
    },
    /// Checks the whole chain.
    Verify,
    /// Prints every event with its body.
    Export,
    /// Throws the views away and builds them again.
    RebuildViews,
}

/// Is one line of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ControlLine {
    /// A piece of the answer.
    Line {
        /// The object to print.
        value: Value,
    },
    /// The end of the answer.
    Done {
        /// The summary to print, if any.
        value: Value,
    },
    /// The end, and why.
    Error {
        /// What happened.
        message: String,
    },
}

/// Serves the socket until dropped.
pub struct ControlServer {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens the socket of a running service; the store's lock says that no other process does.
///
/// Errors: [`ControlError::Io`].
pub fn serve(
    paths: &Paths,
    service: Service,
    log: Arc<dyn EventLog>,
    rebuild: Option<RebuildViews>,
) -> Result<ControlServer, ControlError> {
    let path = paths.control_sock(service);
    let failed = |did| {
        let path = path.clone();
        move |source| ControlError::Io { path, did, source }
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replaced")(error)),
        _ => {}
    }
    // The folder is 0700, so that nobody else can connect in between.
    let listener = UnixListener::bind(&path).map_err(failed("opened"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed("closed to others"))?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (log, rebuild) = (Arc::clone(&log), rebuild.clone());
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, log, rebuild).await {
                            tracing::debug!(%error, "a control request ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be taken");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(ControlServer { task, path })
}

struct Out(tokio::net::unix::OwnedWriteHalf);

impl Out {
    async fn send(&mut self, line: &ControlLine) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.0.write_all(&bytes).await
    }
}

async fn answer(stream: UnixStream, log: Arc<dyn EventLog>, rebuild: Option<RebuildViews>) -> io::Result<()> {
    let (input, output) = stream.into_split();
    let mut out = Out(output);
    let mut line = String::new();
    BufReader::new(input.take(REQUEST_BYTES)).read_line(&mut line).await?;
    let last = match serde_json::from_str(&line) {
        Err(_) => Err("this is no request".to_owned()),
        Ok(ControlRequest::Tail { after, follow }) => tail(&mut out, log, after, follow).await?,
        Ok(ControlRequest::Verify) => verify(log).await,
        Ok(ControlRequest::Export) => export(&mut out, log).await?,
        Ok(ControlRequest::RebuildViews) => match rebuild {
            None => Ok(json!({"views": 0})),
            Some(rebuild) => rebuild().await.map(|events| json!({"events": events})),
        },
    };
    let last = match last {
        Ok(value) => ControlLine::Done { value },
        Err(message) => ControlLine::Error { message },
    };
    out.send(&last).await
}

async fn page(log: &Arc<dyn EventLog>, after: u64) -> Result<Vec<EventRecord>, String> {
    let log = Arc::clone(log);
    tokio::task::spawn_blocking(move || log.read_all(after, PAGE))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| crate::run::chain(&error))
}

async fn tail(
    out: &mut Out,
    log: Arc<dyn EventLog>,
    after: Option<u64>,
    follow: bool,
) -> io::Result<Result<Value, String>> {
    let mut heads = log.subscribe();
    let mut after = after.unwrap_or_else(|| log.head().position.saturating_sub(10));
    loop {
        heads.mark_unchanged();
        loop {
            let events = match page(&log, after).await {
                Ok(events) => events,
                Err(message) => return Ok(Err(message)),
            };
            let Some(last) = events.last() else { break };
            after = last.position;
            for event in &events {
                let value = event_line(event, false);
                out.send(&ControlLine::Line { value }).await?;
            }
        }
        if !follow || heads.changed().await.is_err() {
            return Ok(Ok(json!({"position": after})));
        }
    }
}

/// Reads everything and hashes it again; the log checks its rows by itself on the way.
async fn verify(log: Arc<dyn EventLog>) -> Result<Value, String> {
    let head = log.head();
    let (mut position, mut hash, mut dropped) = (0u64, GENESIS, 0u64);
    while position < head.position {
        let events = page(&log, position).await?;
        if events.is_empty() {
            return Err(format!("events are missing behind position {position}"));
        }
        for event in events.iter().filter(|event| event.position <= head.position) {
            hash = check(position, &hash, event)?;
            position = event.position;
            dropped += u64::from(event.body.is_none());
        }
    }
    if hash != head.hash {
        return Err(format!("the chain does not end in the head at position {position}"));
    }
    Ok(json!({"position": position, "hash": hex::encode(hash), "dropped": dropped, "whole": true}))
}

fn check(before: u64, hash: &[u8; 32], event: &EventRecord) -> Result<[u8; 32], String> {
    let at = before.saturating_add(1);
    let broken = |what: &str| Err(format!("position {at}: {what}"));
    if event.position != at {
        return broken("the event is missing");
    }
    if let Some(body) = &event.body
        && body_digest(body) != event.body_digest
    {
        return broken("the body was altered");
    }
    let next = chain_hash(
        hash,
        at,
        event.stream.as_str(),
        event.version,
        &event.kind,
        event.at_ms,
        &event.body_digest,
    );
    if next == event.hash {
        Ok(next)
    } else {
        broken("the hash does not fit")
    }
}

async fn export(out: &mut Out, log: Arc<dyn EventLog>) -> io::Result<Result<Value, String>> {
    let end = log.head().position;
    let mut after = 0;
    while after < end {
        let events = match page(&log, after).await {
            Ok(events) => events,
            Err(message) => return Ok(Err(message)),
        };
        for event in events.iter().filter(|event| event.position <= end) {
            let value = event_line(event, true);
            out.send(&ControlLine::Line { value }).await?;
        }
        match events.last() {
            Some(last) => after = last.position,
            None => return Ok(Err(format!("events are missing behind position {after}"))),
        }
    }
    Ok(Ok(json!({"events": end})))
}

/// Gives an event as `tail` and `export` print it.
///
/// Shape: `{position, stream, version, kind, at, body_digest, hash, dropped}`, with `body_base64` in exports.
fn event_line(event: &EventRecord, with_body: bool) -> Value {
    let mut value = json!({
        "position": event.position,
        "stream": event.stream.as_str(),
        "version": event.version,
        "kind": event.kind,
        "at_ms": event.at_ms,
        "body_digest": hex::encode(event.body_digest),
        "hash": hex::encode(event.hash),
        "dropped": event.body.is_none(),
    });
    if with_body && let (Some(fields), Some(body)) = (value.as_object_mut(), &event.body) {
        fields.insert("body_base64".to_owned(), json!(BASE64.encode(body)));
    }
    value
}

/// Asks a running service, and hands each line to `print`; gives the summary.
///
/// Errors: [`ControlError::Io`] when the service does not run (`ConnectionRefused`, `NotFound`), [`ControlError::Refused`].
pub async fn ask(
    paths: &Paths,
    service: Service,
    request: &ControlRequest,
    mut print: impl FnMut(Value) -> io::Result<()>,
) -> Result<Value, ControlError> {
    let path = paths.control_sock(service);
    let stream = UnixStream::connect(&path).await.map_err(failed(&path, "reached"))?;
    let (input, mut output) = stream.into_split();
    let mut line = serde_json::to_vec(request).map_err(|_| ControlError::Malformed)?;
    line.push(b'\n');
    output.write_all(&line).await.map_err(failed(&path, "asked"))?;
    let mut lines = BufReader::new(input).lines();
    while let Some(line) = lines.next_line().await.map_err(failed(&path, "read"))? {
        match serde_json::from_str(&line).map_err(|_| ControlError::Malformed)? {
            ControlLine::Line { value } => print(value).map_err(failed(&path, "printed"))?,
            ControlLine::Done { value } => return Ok(value),
            ControlLine::Error { message } => return Err(ControlError::Refused(message)),
        }
    }
    Err(ControlError::Malformed)
}

fn failed(path: &Path, did: &'static str) -> impl FnOnce(io::Error) -> ControlError {
    let path = path.to_owned();
    move |source| ControlError::Io { path, did, source }
}

/// Tells whether a failed request means that the service does not run.
pub fn not_running(error: &ControlError) -> bool {
    matches!(error, ControlError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}
