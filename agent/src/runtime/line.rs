//! Where the bus is, and how to reach it with the newest credentials.

use crate::core::backoff::{Backoff, Jitter};
use crate::identity::{Device, DeviceKeys};
use crate::transport::{Bus, BusConfig, BusError, Link};
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::Credentials;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

/// Holds what a connection is made of.
pub(super) struct Line {
    urls: Vec<String>,
    guid: Guid,
    keys: DeviceKeys,
    ca_pem: String,
    jwt: Arc<RwLock<String>>,
    seed: u64,
    label: String,
}

impl Line {
    pub(super) fn new(device: &Device, seed: u64) -> Self {
        Self {
            urls: device.credentials.bus_urls.clone(),
            guid: device.guid,
            keys: device.keys.clone(),
            ca_pem: device.trust.ca_pem.clone(),
            jwt: Arc::new(RwLock::new(device.credentials.bus_jwt.clone())),
            seed,
            label: format!("{:016x}", crate::random::spread()),
        }
    }

    /// Begins to connect.
    pub(super) async fn connect(&self) -> Result<(Bus, UnboundedReceiver<Link>), BusError> {
        let (sender, links) = unbounded_channel();
        let bus = Bus::connect(BusConfig {
            urls: self.urls.clone(),
            guid: self.guid,
            keys: self.keys.clone(),
            ca_pem: self.ca_pem.clone(),
            jwt: Arc::clone(&self.jwt),
            links: sender,
            jitter_seed: self.seed.rotate_left(17),
            label: self.label.clone(),
        })
        .await?;
        Ok((bus, links))
    }

    /// Takes other keys, for which the credentials are that come next.
    pub(super) fn rekeyed(&mut self, keys: DeviceKeys) {
        self.keys = keys;
    }

    /// Takes fresh credentials; returns whether the bus is somewhere else now.
    pub(super) fn took(&mut self, credentials: &Credentials) -> bool {
        let mut jwt = self.jwt.write().unwrap_or_else(PoisonError::into_inner);
        jwt.clone_from(&credentials.bus_jwt);
        let moved = !credentials.bus_urls.is_empty() && self.urls != credentials.bus_urls;
        if moved {
            self.urls.clone_from(&credentials.bus_urls);
        }
        moved
    }
}

/// Says when a device that finds no bus asks the server where it is.
///
/// Seldom and spread: in an outage thousands do not find it.
pub(super) struct Away {
    asks_at: Instant,
    backoff: Backoff,
    jitter: Jitter,
}

impl Away {
    pub(super) fn new(seed: u64) -> Self {
        let mut away = Self {
            asks_at: Instant::now(),
            backoff: Backoff::new(30_000, 1_800_000),
            jitter: Jitter::new(seed.rotate_left(43)),
        };
        away.begins();
        away
    }
    pub(super) const fn asks_at(&self) -> Instant {
        self.asks_at
    }
    /// Begins to count: the connection is gone.
    pub(super) fn begins(&mut self) {
        self.asks_at = Instant::now() + Duration::from_millis(self.backoff.next_ms(&mut self.jitter));
    }
    /// Puts the next question further away.
    pub(super) fn asked(&mut self) {
        self.begins();
    }
    /// Begins anew with short pauses.
    pub(super) const fn is_back(&mut self) {
        self.backoff.reset();
    }
}
