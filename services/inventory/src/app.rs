//! What the handlers share: log, views, files, and how fresh enrollment's word is.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{DigestFiles, EventLog, SledView};
use borealis_service_kit::follow::Freshness;

use crate::error::Fault;
use crate::views::facts::{self, FactsView};
use crate::views::fleet::{Fleet, Told};

/// Is how old enrollment's newest head may be before nobody's presence can be told, in milliseconds.
pub const PRESENCE_STALE_MS: i64 = 10_000;

/// Holds what the handlers share.
pub struct App {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The newest facts.
    pub facts: Arc<SledView<FactsView>>,
    /// Facts that are too large for an event.
    pub files: DigestFiles,
    fleet: RwLock<Fleet>,
    enrollment: OnceLock<Freshness>,
}

impl App {
    /// Makes the shared part; the view must have caught up.
    pub fn new(log: Arc<dyn EventLog>, facts: Arc<SledView<FactsView>>, files: DigestFiles) -> Arc<Self> {
        Arc::new(Self {
            log,
            facts,
            files,
            fleet: RwLock::default(),
            enrollment: OnceLock::new(),
        })
    }

    /// Looks at the fleet.
    pub fn fleet(&self) -> RwLockReadGuard<'_, Fleet> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the fleet.
    pub fn fleet_mut(&self) -> RwLockWriteGuard<'_, Fleet> {
        self.fleet.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names whose word tells of presence.
    pub fn follow_enrollment(&self, fresh: Freshness) {
        // Set once at the start; a second one would be the same.
        let _ = self.enrollment.set(fresh);
    }

    /// Tells whether presence can be told.
    pub fn presence_is_fresh(&self) -> bool {
        self.enrollment
            .get()
            .is_some_and(|fresh| fresh.within(PRESENCE_STALE_MS))
    }

    /// Reads a device's facts from disk, with the instant at which they came.
    ///
    /// Errors: [`Fault`].
    pub fn facts_of(&self, guid: &Guid) -> Result<Option<(Facts, Timestamp)>, Fault> {
        self.facts.catch_up()?;
        let known = facts::known(&self.facts, guid)?;
        let Some(received_at) = known.received_at else {
            return Ok(None);
        };
        Ok(facts::facts(&known, guid, &self.files)?.map(|facts| (facts, received_at)))
    }

    /// Shows a device's kept facts in the list; for a device that was just learned of.
    ///
    /// Errors: [`Fault`].
    pub fn recall(&self, guid: &Guid) -> Result<(), Fault> {
        if let Some((facts, received_at)) = self.facts_of(guid)? {
            self.fleet_mut().told(guid, Told::of(&facts, received_at));
        }
        Ok(())
    }
}
