//! When facts are gathered, and which are worth telling.

use super::backoff::{Backoff, Jitter};
use super::time::Now;
use super::{Core, Output, TellError};
use borealis_bus_schema::codec;
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;

/// Is how often facts are gathered, in milliseconds.
pub const GATHER_EVERY_MS: u64 = 300_000;

/// Is how often facts travel although nothing changed, in milliseconds: a server may have lost some.
pub const REFRESH_EVERY_MS: u64 = 6 * 3_600_000;

/// Is the step in which free space counts as changed, as a part of the whole.
const FREE_STEPS: u64 = 50;

/// Holds what the server knows and when to look again.
#[derive(Debug)]
pub struct FactsDesk {
    gather_at: Option<u64>,
    gathering: bool,
    /// What was gathered and not yet acknowledged.
    waiting: Option<(Digest, Box<Facts>)>,
    in_flight: Option<Digest>,
    told: Option<(Digest, u64)>,
    retry_at: u64,
    backoff: Backoff,
    spread_ms: u64,
}

impl FactsDesk {
    pub(super) const fn new(jitter: &mut Jitter) -> Self {
        Self {
            gather_at: None,
            gathering: false,
            waiting: None,
            in_flight: None,
            told: None,
            retry_at: 0,
            backoff: Backoff::new(2_000, 120_000),
            spread_ms: jitter.below(30_000),
        }
    }

    pub(super) const fn connected(&mut self, now: Now) {
        self.gather_at = Some(now.mono_ms);
        self.retry_at = now.mono_ms;
        self.backoff.reset();
    }

    pub(super) const fn due_at(&self) -> Option<u64> {
        if self.waiting.is_some() && self.in_flight.is_none() {
            return Some(self.retry_at);
        }
        if self.gathering { None } else { self.gather_at }
    }

    pub(super) fn answered(&mut self, answer: &Result<(), TellError>, now: Now, jitter: &mut Jitter) {
        let Some(digest) = self.in_flight.take() else { return };
        match answer {
            Ok(()) => {
                self.told = Some((digest, now.mono_ms));
                self.backoff.reset();
                if self.waiting.as_ref().is_some_and(|(waiting, _)| *waiting == digest) {
                    self.waiting = None;
                }
            }
            Err(error) => {
                tracing::warn!(?error, "the server did not take the facts");
                self.retry_at = now.mono_ms.saturating_add(self.backoff.next_ms(jitter));
            }
        }
    }
}

impl Core {
    pub(super) fn gathered(&mut self, facts: Facts) {
        self.facts.gathering = false;
        let digest = stable_digest(&facts);
        self.facts.waiting = Some((digest, Box::new(facts)));
    }

    pub(super) fn tell_facts_if_due(&mut self, now: Now) {
        if !self.session.is_connected() || self.stopping {
            return;
        }
        if !self.facts.gathering && self.facts.gather_at.is_some_and(|at| at <= now.mono_ms) {
            self.facts.gathering = true;
            self.facts.gather_at = Some(now.mono_ms + GATHER_EVERY_MS + self.facts.spread_ms);
            self.out.push(Output::GatherFacts);
        }
        let Some((digest, facts)) = &self.facts.waiting else {
            return;
        };
        let fresh = |at: u64| now.mono_ms.saturating_sub(at) < REFRESH_EVERY_MS;
        if self.facts.told.is_some_and(|(told, at)| told == *digest && fresh(at)) {
            self.facts.waiting = None;
            return;
        }
        if self.facts.in_flight.is_some() || self.facts.retry_at > now.mono_ms {
            return;
        }
        match self.sealer.facts(facts) {
            Ok(signed) => {
                self.facts.in_flight = Some(*digest);
                self.out.push(Output::SendFacts(signed));
            }
            Err(error) => {
                tracing::error!(error = %error, "the facts cannot be signed");
                self.facts.waiting = None;
            }
        }
    }
}

/// Digests facts without what always changes: instants, uptime, free memory, and free space but for large steps.
fn stable_digest(facts: &Facts) -> Digest {
    let mut stable = facts.clone();
    stable.at = Timestamp::from_unix_ms(0);
    stable.summary.uptime_ms = 0;
    stable.memory.available_bytes = 0;
    for volume in &mut stable.storage {
        let step = (volume.total_bytes / FREE_STEPS).max(1);
        volume.free_bytes /= step;
    }
    Digest::of(&codec::encode(&stable).unwrap_or_default())
}
