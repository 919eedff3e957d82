//! The control socket: while a service runs, `borealis-server store` and backup ask it, since it holds the store's lock.
//!
//! Shape: a Unix socket of mode 600, `Server/State/<service>/control.sock`; one JSON line asks ([`ControlRequest`]), JSON lines
//! answer ([`ControlLine`]): any number of `line`, then one `done` or `error`.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::messages::audit::KnownHead;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{
    BoxFuture, EventLog, EventRecord, OpenOptions, SledLog, StoreError, StreamId, VerifyReport, verify,
};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::paths::Paths;

/// Rebuilds a service's views from position zero; gives how many events were read.
pub type RebuildViews = Arc<dyn Fn() -> BoxFuture<'static, Result<u64, String>> + Send + Sync>;

/// Is the longest request line in bytes.
const REQUEST_BYTES: u64 = 256 << 10;
/// Is about how large one piece of an export is.
const PIECE_BYTES: usize = 48 << 10;
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
    /// The service, or the store itself, said no.
    #[error("{0}")]
    Refused(String),
    /// The store of a service that does not run cannot be opened.
    #[error("the event store cannot be opened")]
    Store(#[from] StoreError),
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
    /// Checks the whole chain, and that heads known from elsewhere stand in it.
    Verify {
        /// Heads that signing countersigned.
        #[serde(default)]
        known: Vec<KnownHead>,
    },
    /// Prints the events of one stream with their bodies.
    Stream {
        /// The stream's name.
        name: String,
    },
    /// Prints every event with its body.
    Events,
    /// Gives the whole log in the form that an import takes, in pieces; see [`export_piece`].
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
    store: SledLog,
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
                    let (store, rebuild) = (store.clone(), rebuild.clone());
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, store, rebuild).await {
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

/// Takes the lines of an answer.
trait Sink: Send {
    fn line(&mut self, value: Value) -> impl Future<Output = io::Result<()>> + Send;
}

struct Out(tokio::net::unix::OwnedWriteHalf);

impl Out {
    async fn send(&mut self, line: &ControlLine) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.0.write_all(&bytes).await
    }
}

impl Sink for Out {
    async fn line(&mut self, value: Value) -> io::Result<()> {
        self.send(&ControlLine::Line { value }).await
    }
}

struct Print<F>(F);

impl<F: FnMut(Value) -> io::Result<()> + Send> Sink for Print<F> {
    async fn line(&mut self, value: Value) -> io::Result<()> {
        (self.0)(value)
    }
}

async fn answer(stream: UnixStream, store: SledLog, rebuild: Option<RebuildViews>) -> io::Result<()> {
    let (input, output) = stream.into_split();
    let mut out = Out(output);
    let mut line = String::new();
    BufReader::new(input.take(REQUEST_BYTES)).read_line(&mut line).await?;
    let last = match serde_json::from_str(&line) {
        Err(_) => Err("this is no request".to_owned()),
        Ok(request) => perform(store, request, rebuild, &mut out).await?,
    };
    let last = match last {
        Ok(value) => ControlLine::Done { value },
        Err(message) => ControlLine::Error { message },
    };
    out.send(&last).await
}

/// Does what is asked; the outer error is the sink's.
async fn perform(
    store: SledLog,
    request: ControlRequest,
    rebuild: Option<RebuildViews>,
    out: &mut impl Sink,
) -> io::Result<Result<Value, String>> {
    match request {
        ControlRequest::Tail { after, follow } => tail(out, Arc::new(store), after, follow).await,
        ControlRequest::Verify { known } => Ok(verified(store, known).await),
        ControlRequest::Stream { name } => stream(out, Arc::new(store), &name).await,
        ControlRequest::Events => events(out, Arc::new(store)).await,
        ControlRequest::Export => export(out, store).await,
        ControlRequest::RebuildViews => match rebuild {
            None => Ok(Err("this service has no views to rebuild".to_owned())),
            Some(rebuild) => Ok(rebuild().await.map(|events| json!({"events": events}))),
        },
    }
}

async fn page(log: &Arc<dyn EventLog>, after: u64) -> Result<Vec<EventRecord>, String> {
    let log = Arc::clone(log);
    tokio::task::spawn_blocking(move || log.read_all(after, PAGE))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| chain(&error))
}

async fn tail(
    out: &mut impl Sink,
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
                out.line(event_line(event, false)).await?;
            }
        }
        if !follow || heads.changed().await.is_err() {
            return Ok(Ok(json!({"position": after})));
        }
    }
}

async fn verified(store: SledLog, known: Vec<KnownHead>) -> Result<Value, String> {
    // A chain that does not hold ends the store; a head that is not there is told, so that a store that was put back from a
    // backup goes on.
    let report = tokio::task::spawn_blocking(move || {
        let report = verify(&store, &[])?;
        known_stand(&store, &report, &known).map(|()| report)
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| chain(&error))?;
    Ok(report_line(&report))
}

/// Checks that known heads stand in a log whose chain holds; the first that does not is named.
fn known_stand(store: &SledLog, report: &VerifyReport, known: &[KnownHead]) -> Result<(), StoreError> {
    let mut known = known.to_vec();
    known.sort_by_key(|head| head.position);
    for head in known {
        if head.position > report.head.position {
            return Err(StoreError::Broken {
                position: report.head.position.saturating_add(1),
                reason: "the log ends before a countersigned head: its tail was cut off, or an older copy was put back",
            });
        }
        let Some(before) = head.position.checked_sub(1) else {
            continue;
        };
        let event = store.read_all(before, 1)?;
        if event.first().is_some_and(|event| event.hash != head.hash.0) {
            return Err(StoreError::Broken {
                position: head.position,
                reason: "a countersigned head has another hash: what stands at or before it was altered or removed",
            });
        }
    }
    Ok(())
}

async fn stream(out: &mut impl Sink, log: Arc<dyn EventLog>, name: &str) -> io::Result<Result<Value, String>> {
    let Ok(stream) = StreamId::new(name) else {
        return Ok(Err(format!("{name:?} is no stream")));
    };
    let mut after = 0;
    loop {
        let (log, stream) = (Arc::clone(&log), stream.clone());
        let page = tokio::task::spawn_blocking(move || log.read_stream(&stream, after, PAGE)).await;
        let events = match page {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return Ok(Err(chain(&error))),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(last) = events.last() else {
            return Ok(Ok(json!({"version": after})));
        };
        after = last.version;
        for event in &events {
            out.line(event_line(event, true)).await?;
        }
    }
}

/// Gives the outcome of a check as `verify` prints it.
pub fn report_line(report: &VerifyReport) -> Value {
    json!({
        "whole": true,
        "checked": report.checked,
        "dropped": report.dropped,
        "position": report.head.position,
        "hash": hex::encode(report.head.hash),
    })
}

async fn events(out: &mut impl Sink, log: Arc<dyn EventLog>) -> io::Result<Result<Value, String>> {
    let end = log.head().position;
    let mut after = 0;
    while after < end {
        let events = match page(&log, after).await {
            Ok(events) => events,
            Err(message) => return Ok(Err(message)),
        };
        for event in events.iter().filter(|event| event.position <= end) {
            out.line(event_line(event, true)).await?;
        }
        match events.last() {
            Some(last) => after = last.position,
            None => return Ok(Err(format!("events are missing behind position {after}"))),
        }
    }
    Ok(Ok(json!({"events": end})))
}

/// Hands an export on in pieces, as the store writes it on a thread of its own.
async fn export(out: &mut impl Sink, store: SledLog) -> io::Result<Result<Value, String>> {
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
        borealis_event_store::export(&store, &mut writer)
    });
    while let Some(piece) = pieces.recv().await {
        out.line(json!({"export_base64": BASE64.encode(&piece)})).await?;
    }
    Ok(match writing.await {
        Ok(Ok(head)) => Ok(json!({"position": head.position, "hash": hex::encode(head.hash)})),
        Ok(Err(error)) => Err(chain(&error)),
        Err(error) => Err(error.to_string()),
    })
}

struct Pieces(mpsc::Sender<Vec<u8>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(bytes.to_vec())
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a line of an export back; `None` for what is none.
pub fn export_piece(line: &Value) -> Option<Vec<u8>> {
    BASE64.decode(line.get("export_base64")?.as_str()?.as_bytes()).ok()
}

/// Gives an event as `tail` and `export` print it.
///
/// Shape: `{position, stream, version, kind, at_ms, body_digest, hash, dropped}`, with `body_base64` in exports.
pub fn event_line(event: &EventRecord, with_body: bool) -> Value {
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

/// Does the same without the service, on the store itself, which no process may have open.
///
/// Errors: [`ControlError::Store`], [`ControlError::Refused`].
pub async fn ask_off_line(
    paths: &Paths,
    service: Service,
    request: ControlRequest,
    rebuild: Option<RebuildViews>,
    print: impl FnMut(Value) -> io::Result<()> + Send,
) -> Result<Value, ControlError> {
    let folder = paths.state(service);
    // Looking must not make a store where none is.
    if !folder.join("db").exists() {
        return Err(ControlError::Refused(format!("{service} has no event store here")));
    }
    let opened = folder.clone();
    let opening = tokio::task::spawn_blocking(move || SledLog::open(&opened, OpenOptions::new()));
    let store = opening
        .await
        .map_err(|error| ControlError::Refused(error.to_string()))??;
    let outcome = perform(store.clone(), request, rebuild, &mut Print(print)).await;
    store.flush_and_close().await?;
    outcome
        .map_err(failed(&folder, "printed"))?
        .map_err(ControlError::Refused)
}

/// Tells whether a failed request means that the service does not run.
pub fn not_running(error: &ControlError) -> bool {
    matches!(error, ControlError::Io { source, .. }
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
}
