//! The log on an embedded sled database.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::core::{self, Core, SharedCore};
use crate::database::Database;
use crate::indexer::Indexer;
use crate::log::{MAX_ANSWER_BYTES, MAX_APPEND_BYTES, MAX_BODY_BYTES, MAX_KIND_BYTES, SUMMARISED};
use crate::writer::{Request, Writer};
use crate::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};

/// Requests that may wait for the writer.
const QUEUE_REQUESTS: usize = 1024;
/// Bytes that may wait for the writer, in KiB.
const QUEUE_KIB: usize = 32 * 1024;

/// Is told the error that ended a log; a service ends its process here, see [`crate::storage_exit`].
pub type FaultHook = Arc<dyn Fn(&StoreError) + Send + Sync>;
/// Is told how an open proceeds.
pub type ProgressHook = Arc<dyn Fn(OpenProgress) + Send + Sync>;

/// A step of opening a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenProgress {
    /// The database is open; the rows after this position are read now.
    Replaying {
        /// Where the indexes end.
        after: Position,
    },
    /// The log is whole up to here and takes appends.
    Ready {
        /// The durable head.
        head: Head,
    },
}

/// How a store is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How long a held lock is tried; 10 s unless told.
    pub lock_timeout: Duration,
    /// The database's cache in bytes; 8 MiB unless told.
    pub cache_bytes: u64,
    /// How many events may wait in memory for the indexes; 8,192 unless told. More makes starts slower.
    pub tail_events: usize,
    /// Bytes that stay free on the disk; [`RESERVE_BYTES`](crate::RESERVE_BYTES) unless told.
    pub reserve_bytes: u64,
    /// Is told the error that ends the log.
    pub on_fault: Option<FaultHook>,
    /// Is told how the open proceeds.
    pub on_progress: Option<ProgressHook>,
    /// Answers without the sync, to show that a test notices.
    #[cfg(feature = "test-faults")]
    pub skip_sync: bool,
}

impl OpenOptions {
    /// Gives the usual options: no hooks, 10 s for the lock.
    pub fn new() -> Self {
        Self {
            lock_timeout: Duration::from_secs(10),
            cache_bytes: 8 << 20,
            // Where it is to die between indexes and their position, it writes them often.
            tail_events: if borealis_fail_points::is_on() { 32 } else { 8192 },
            reserve_bytes: crate::RESERVE_BYTES,
            on_fault: None,
            on_progress: None,
            #[cfg(feature = "test-faults")]
            skip_sync: false,
        }
    }

    /// Sets what is told the error that ends the log.
    pub fn on_fault(mut self, hook: impl Fn(&StoreError) + Send + Sync + 'static) -> Self {
        self.on_fault = Some(Arc::new(hook));
        self
    }

    /// Ends the process with the storage error's exit code when the log fails.
    pub fn exit_on_fault(self) -> Self {
        self.on_fault(|error| crate::storage_exit(error))
    }

    /// Sets what is told how the open proceeds.
    pub fn on_progress(mut self, hook: impl Fn(OpenProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(hook));
        self
    }

    /// Sets how long a held lock is tried.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets how many bytes stay free on the disk.
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Sets how many events may wait in memory for the indexes.
    pub fn tail_events(mut self, events: usize) -> Self {
        self.tail_events = events.max(1);
        self
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OpenOptions")
            .field("lock_timeout", &self.lock_timeout)
            .field("cache_bytes", &self.cache_bytes)
            .field("tail_events", &self.tail_events)
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}

/// An [`EventLog`] in one sled database. Handles are cheap to clone; the lock falls with the last one.
#[derive(Debug, Clone)]
pub struct SledLog {
    handle: Arc<Handle>,
}

/// What the clones of a log share; stops the writer when the last is gone.
#[derive(Debug)]
struct Handle {
    core: SharedCore,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SledLog {
    /// Opens the store in a folder, makes it when there is none. Blocks while it waits for the lock and reads the tail.
    ///
    /// **Errors**: [`StoreError::Locked`] when another process keeps it for longer than the options allow,
    /// [`StoreError::Broken`] when the tail does not continue the hash chain, else what the database says.
    pub fn open(folder: impl AsRef<Path>, options: OpenOptions) -> Result<Self, StoreError> {
        let database = Database::open(folder.as_ref(), &options)?;
        let tell = |step| {
            if let Some(hook) = &options.on_progress {
                hook(step);
            }
        };
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (rows, index) = core::load(&database)?;
            if index.is_importing()? {
                return Err(StoreError::UnfinishedImport {
                    path: folder.as_ref().to_owned(),
                });
            }
            tell(OpenProgress::Replaying {
                after: index.indexed()?.reached.position,
            });
            let (tail, head) = core::replay_tail(&rows, &index, options.tail_events.saturating_mul(4))?;
            Ok((rows, index, (tail, head)))
        }));
        let (rows, index, state) = match opened {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => {
                database.leak();
                return Err(error);
            }
            Err(payload) => {
                database.leak();
                return Err(StoreError::panicked("read the log", payload.as_ref()));
            }
        };
        let head = state.1;
        let core = Arc::new(Core::new(database, rows, index, state, options.on_fault.clone()));
        let log = Self::start(core, options.tail_events)?;
        tell(OpenProgress::Ready { head });
        tracing::info!(folder = %folder.as_ref().display(), position = head.position, "event store open");
        Ok(log)
    }

    fn start(core: SharedCore, tail_events: usize) -> Result<Self, StoreError> {
        let (sender, requests) = mpsc::channel(QUEUE_REQUESTS);
        let indexer = Indexer::start(Arc::clone(&core), tail_events)?;
        let writer = Writer::new(Arc::clone(&core), requests, indexer);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(StoreError::file("start the thread of", Path::new("store-writer")))?;
        let handle = Handle {
            core,
            requests: Mutex::new(Some(sender)),
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    pub(crate) fn core(&self) -> &SharedCore {
        &self.handle.core
    }

    fn sender(&self) -> Option<mpsc::Sender<Request>> {
        self.handle
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why the writer does not answer: it failed, or it was closed.
    fn ended(&self) -> AppendError {
        self.core().fault().map_or(AppendError::Closed, AppendError::Storage)
    }

    /// Appends without the check that only compaction writes summaries.
    pub(crate) async fn submit(&self, append: Append) -> Result<Appended, AppendError> {
        let size = check_sizes(&append)?;
        if let Some(fault) = self.core().fault() {
            return Err(AppendError::Storage(fault));
        }
        let sender = self.sender().ok_or_else(|| self.ended())?;
        let kib = u32::try_from(size.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.handle.room)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| self.ended())?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Append {
            append: Box::new(append),
            size,
            reply,
            room,
        };
        sender.send(request).await.map_err(|_| self.ended())?;
        drop(sender);
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Alters a stored row behind the log's back, to show that a reader notices.
    #[cfg(feature = "test-faults")]
    pub fn alter_for_tests(&self, first: Position, from: &[u8], to: &[u8]) {
        let rows = &self.core().rows.0;
        if let Ok(Some(row)) = rows.get(first.to_be_bytes()) {
            let at = row
                .windows(from.len())
                .position(|window| window == from)
                .unwrap_or_default();
            let mut altered = row.to_vec();
            altered.splice(at..at + from.len(), to.iter().copied());
            let _ = rows.insert(first.to_be_bytes(), altered);
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let sender = self
            .handle
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(sender) = sender else {
            return self.core().fault().map_or(Ok(()), Err);
        };
        let (reply, answer) = oneshot::channel();
        let sent = sender.send(Request::Close { reply }).await;
        drop(sender);
        if sent.is_ok()
            && let Ok(result) = answer.await
        {
            return result;
        }
        self.core().fault().map_or(Ok(()), Err)
    }
}

impl EventLog for SledLog {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            if append
                .writes
                .iter()
                .flat_map(|write| &write.events)
                .any(|event| event.kind == SUMMARISED)
            {
                return Err(AppendError::Invalid {
                    reason: "summaries are written by compaction only",
                });
            }
            self.submit(append).await
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let core = self.core();
        core.guarded("read the log", || core.read_all(after, limit))
    }

    fn read_stream(&self, stream: &StreamId, after: Version, limit: usize) -> Result<Vec<EventRecord>, StoreError> {
        let core = self.core();
        core.guarded("read a stream", || core.read_stream(stream, after, limit))
    }

    fn stream_version(&self, stream: &StreamId) -> Result<Version, StoreError> {
        let core = self.core();
        core.guarded("find a stream", || core.version(stream))
    }

    fn head(&self) -> Head {
        self.core().durable_head()
    }

    fn subscribe(&self) -> watch::Receiver<Head> {
        self.core().head.subscribe()
    }

    fn command(&self, command_id: &[u8; 16]) -> Result<Option<CommandRecord>, StoreError> {
        let core = self.core();
        let now = core.tail().log_time_ms;
        let found = core.guarded("look a command up", || core.command(command_id, now))?;
        Ok(found.map(|commit| CommandRecord {
            digest: commit.digest,
            answer: commit.answer,
            first: commit.first,
            last: commit.last,
        }))
    }

    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.close())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its panics are caught and reported inside.
            let _ = thread.join();
        }
    }
}

/// Checks the parts of an append; gives its size in bytes.
fn check_sizes(append: &Append) -> Result<usize, AppendError> {
    let at_most = |what, size, max| {
        if size > max {
            Err(AppendError::TooLarge { what, size, max })
        } else {
            Ok(size)
        }
    };
    let mut total = 64 + at_most("the answer", append.answer.len(), MAX_ANSWER_BYTES)?;
    let mut streams: Vec<&StreamId> = append.writes.iter().map(|write| &write.stream).collect();
    streams.sort_unstable();
    streams.dedup();
    if streams.len() < append.writes.len() {
        return Err(AppendError::Invalid {
            reason: "a stream is named twice",
        });
    }
    for write in &append.writes {
        total += write.stream.as_str().len();
        for event in &write.events {
            total += at_most("an event's kind", event.kind.len(), MAX_KIND_BYTES)?;
            total += write.stream.as_str().len() + at_most("an event's body", event.body.len(), MAX_BODY_BYTES)?;
            if event.kind.is_empty() || !event.kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(AppendError::Invalid {
                    reason: "an event's kind has 1 to 64 letters and digits",
                });
            }
        }
    }
    at_most("the append", total, MAX_APPEND_BYTES)
}
