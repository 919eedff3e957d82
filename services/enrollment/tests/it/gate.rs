//! A log that refuses or holds back some appends until it is told otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use borealis_event_store::{
    Append, AppendError, Appended, BoxFuture, CommandRecord, EventLog, EventRecord, Head, Position, StoreError,
    StreamId, Version,
};
use tokio::sync::watch;

/// Says what becomes of appends that hold an event of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// They are refused.
    Refuse(&'static str),
    /// The first one waits, the others do not.
    HoldFirst(&'static str),
    /// All are made.
    Open,
}

/// Is the switch of a [`GatedLog`].
#[derive(Clone)]
pub struct Gate {
    rule: watch::Sender<Rule>,
    stopped: Arc<AtomicUsize>,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            rule: watch::Sender::new(Rule::Open),
            stopped: Arc::default(),
        }
    }
    pub fn set(&self, rule: Rule) {
        self.rule.send_replace(rule);
    }
    /// Counts the appends that were refused or held.
    pub fn stopped(&self) -> usize {
        self.stopped.load(Ordering::SeqCst)
    }
    pub fn before(&self, inner: Arc<dyn EventLog>) -> Arc<dyn EventLog> {
        Arc::new(GatedLog {
            inner,
            gate: self.clone(),
            held: Mutex::new(false),
        })
    }
}

struct GatedLog {
    inner: Arc<dyn EventLog>,
    gate: Gate,
    held: Mutex<bool>,
}

impl GatedLog {
    async fn pass(&self, append: Append) -> Result<Appended, AppendError> {
        let holds = |kind: &str| {
            append
                .writes
                .iter()
                .flat_map(|write| &write.events)
                .any(|e| e.kind == kind)
        };
        let rule = *self.gate.rule.borrow();
        match rule {
            Rule::Refuse(kind) if holds(kind) => {
                self.gate.stopped.fetch_add(1, Ordering::SeqCst);
                return Err(AppendError::Invalid {
                    reason: "the gate is shut",
                });
            }
            Rule::HoldFirst(kind) if holds(kind) && !std::mem::replace(&mut *self.held.lock().unwrap(), true) => {
                self.gate.stopped.fetch_add(1, Ordering::SeqCst);
                let mut rule = self.gate.rule.subscribe();
                rule.wait_for(|rule| *rule == Rule::Open).await.unwrap();
            }
            _ => {}
        }
        self.inner.append(append).await
    }
}

impl EventLog for GatedLog {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.pass(append))
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
        self.inner.command(command_id)
    }
    fn flush_and_close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.flush_and_close()
    }
}
