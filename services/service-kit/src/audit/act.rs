//! One act on its way: who asks for what, as far as it is known by now.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use borealis_bus_schema::audit::{Actor, ActorKind, AuditRecord, Outcome};
use borealis_bus_schema::ids::{CorrelationId, SessionId};
use borealis_bus_schema::time::Timestamp;

use crate::auth::Caller;

tokio::task_local! {
    static CURRENT: Act;
}

/// Says where an act's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Nowhere yet.
    Not,
    /// In an append that is under way.
    Underway,
    /// In the log.
    Done,
}

#[derive(Debug)]
struct Inner {
    record: AuditRecord,
    kept: Kept,
}

/// Is an act under way. Handles are cheap to clone.
#[derive(Debug, Clone)]
pub struct Act(Arc<Mutex<Inner>>);

impl Act {
    /// Begins an act of somebody who has proved nothing yet.
    pub fn new(at: Timestamp, action: &str, verb: &str, correlation: CorrelationId) -> Self {
        let record = AuditRecord {
            at,
            actor: Actor::anonymous(),
            session: None,
            grant: None,
            address: None,
            via: None,
            action: action.to_owned(),
            verb: verb.to_owned(),
            objects: Vec::new(),
            outcome: Outcome::Accepted,
            correlation,
            command: None,
            more: 0,
        };
        Self(Arc::new(Mutex::new(Inner {
            record: record.within_bounds(),
            kept: Kept::Not,
        })))
    }

    /// Adds what is known by now.
    pub fn note(&self, change: impl FnOnce(&mut AuditRecord)) {
        self.with(|inner| change(&mut inner.record));
    }

    /// Adds whoever a token speaks for.
    pub fn note_caller(&self, caller: &Caller) {
        self.note(|record| of_caller(record, caller));
    }

    /// Returns the record as it stands.
    pub fn record(&self) -> AuditRecord {
        self.with(|inner| inner.record.clone())
    }

    /// Tells whether the record is in the log, or may be: its append was begun and nobody waited for the end.
    pub fn is_kept(&self) -> bool {
        self.with(|inner| inner.kept != Kept::Not)
    }

    /// Says that nothing is to be kept: the act changes nothing, or was made, and kept, before.
    pub fn leaves_nothing(&self) {
        self.settle(true);
    }

    /// Takes the record for an append, unless it was taken before.
    pub(super) fn take(&self) -> Option<AuditRecord> {
        self.with(|inner| {
            if inner.kept != Kept::Not {
                return None;
            }
            inner.kept = Kept::Underway;
            Some(inner.record.clone())
        })
    }

    /// Says that the append with the record was made, or that it was not.
    pub(super) fn settle(&self, made: bool) {
        self.with(|inner| inner.kept = if made { Kept::Done } else { Kept::Not });
    }

    /// Returns the act inside which this task runs.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs work inside an act: the first append to an [`super::AuditedLog`] there carries the act's record.
///
/// Tasks that the work spawns are outside, unless they take the act along: [`carried`].
pub async fn within<F: Future>(act: Act, work: F) -> F::Output {
    CURRENT.scope(act, work).await
}

/// Takes the act under way along with work that becomes a task of its own.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let act = Act::current();
    async move {
        match act {
            Some(act) => within(act, work).await,
            None => work.await,
        }
    }
}

fn on_current(change: impl FnOnce(&mut AuditRecord)) {
    if let Some(act) = Act::current() {
        act.note(change);
    }
}

/// Says that the act under way changes nothing: accepted, it leaves no record.
pub fn note_no_change() {
    if let Some(act) = Act::current() {
        act.leaves_nothing();
    }
}

/// Names an object of the act under way, before its append; outside of an act it does nothing.
pub fn note_object(kind: &str, id: impl std::fmt::Display) {
    on_current(|record| record.add_object(kind, &id.to_string()));
}

/// Names who does it, where only the handler knows: a public route's body proves it. Whom a token names stays.
pub fn note_actor(actor: Actor) {
    on_current(|record| {
        if record.actor.kind != ActorKind::Operator {
            record.actor = actor;
        }
    });
}

/// Names whoever a token speaks for that the handler verified itself: a grant in the body.
pub fn note_caller(caller: &Caller) {
    on_current(|record| of_caller(record, caller));
}

/// Writes whoever a token speaks for into a record.
fn of_caller(record: &mut AuditRecord, caller: &Caller) {
    record.actor = Actor::operator(&caller.operator, &caller.username);
    record.session = Some(caller.session);
    record.grant = caller.grant;
}

/// Names the session that the act begins or ends.
pub fn note_session(session: SessionId) {
    on_current(|record| record.session = Some(session));
}
