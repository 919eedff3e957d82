//! A log that refuses or holds back some appends until it is told otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use borealis_event_store::{Append, AppendError, BoxFuture, EventLog};
use borealis_test_support::{LogHooks, hooked};
use tokio::sync::watch;

/// Says what becomes of appends that hold an event of a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// They are refused.
    Refuse(&'static str),
    /// The first one waits, the others do not.
    HoldFirst(&'static str),
    /// Whoever makes them panics.
    Panic(&'static str),
    /// All are made.
    Open,
}

/// Is the switch of a log that is held up.
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
        let shut = Shut {
            gate: self.clone(),
            held: Mutex::new(false),
        };
        hooked(inner, Arc::new(shut))
    }
}

struct Shut {
    gate: Gate,
    held: Mutex<bool>,
}

impl Shut {
    async fn pass(&self, append: &Append) -> Result<(), AppendError> {
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
            Rule::Panic(kind) => assert!(!holds(kind), "the gate fails whoever appends"),
            _ => {}
        }
        Ok(())
    }
}

impl LogHooks for Shut {
    fn before_append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(self.pass(append))
    }
}
