//! How many refusals are kept: enough to see an attack and who makes it, too few to fill a disk.
//!
//! Each source (an address, a device, a service, an operator) has a bucket, and shares one more with all others of the kind:
//! addresses cost nothing, and a fleet is many. What finds a bucket empty is counted by source and outcome, and the
//! counts are written once a minute: a record with `more`. Sources and counts are bounded too; the rest is counted together.

use std::collections::BTreeMap;

use borealis_bus_schema::audit::{Actor, ActorKind, AuditRecord, Outcome};
use borealis_bus_schema::codes::Code;

/// Says how fast a bucket empties and fills.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: i64,
    /// The time after which one more fits.
    every_ms: i64,
}

/// An address, a device, a service.
const SOURCE: Rate = Rate {
    burst: 20,
    every_ms: 10_000,
};
/// Somebody with a token that holds: who it is is known, and can be shut out.
const OPERATOR: Rate = Rate {
    burst: 100,
    every_ms: 1_000,
};
/// All that proved nothing, together.
const STRANGERS: Rate = Rate {
    burst: 200,
    every_ms: 2_000,
};
/// All operators together; and all devices and services together.
const KNOWN: Rate = Rate {
    burst: 1_000,
    every_ms: 1_000,
};

/// Is how many sources have a bucket of their own; those beyond share one.
const MAX_SOURCES: usize = 1_024;
/// Is how many counts there are between two times that they are written.
const MAX_COUNTS: usize = 256;
/// Is how many counts are written at a time; the rest in one.
const MAX_TOLD: usize = 16;

/// Says what becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It is kept singly.
    Kept,
    /// It is counted.
    Counted,
}

/// Is where a refusal comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Known(ActorKind, String),
    Address(String),
    Others,
}

impl Source {
    fn of(record: &AuditRecord) -> Self {
        // A token that is over proves who it was made for, not who has it now.
        let over = matches!(
            record.outcome,
            Outcome::Refused(Code::TokenExpired | Code::TokenRevoked)
        );
        match (&record.actor, &record.address) {
            (_, Some(address)) if over => Source::Address(network(address)),
            (
                Actor {
                    kind: ActorKind::Anonymous,
                    ..
                },
                Some(address),
            ) => Source::Address(network(address)),
            (
                Actor {
                    kind: ActorKind::Anonymous,
                    ..
                },
                None,
            ) => Source::Others,
            (Actor { kind, id, .. }, _) => Source::Known(*kind, id.clone().unwrap_or_default()),
        }
    }

    const fn rate(&self) -> Rate {
        match self {
            Source::Known(ActorKind::Operator, _) => OPERATOR,
            Source::Known(..) | Source::Address(_) => SOURCE,
            Source::Others => STRANGERS,
        }
    }

    /// Names the bucket that it shares.
    const fn shared(&self) -> Shared {
        match self {
            Source::Known(ActorKind::Operator, _) => Shared::Operators,
            Source::Known(..) => Shared::Machines,
            Source::Address(_) | Source::Others => Shared::Strangers,
        }
    }

    /// Takes a record for one of whoever another process says that it was.
    fn of_claim(record: &AuditRecord) -> Self {
        match &record.address {
            Some(address) => Source::Address(network(address)),
            None => Source::Others,
        }
    }
}

/// Names those that share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    Strangers,
    Operators,
    Machines,
}

impl Shared {
    const fn rate(self) -> Rate {
        match self {
            Shared::Strangers => STRANGERS,
            Shared::Operators | Shared::Machines => KNOWN,
        }
    }
}

/// Names the network that one subscriber has: an IPv4 address, the first 64 bits of an IPv6 address.
fn network(address: &str) -> String {
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(v6)) => {
            let bits = v6.to_bits() & !u128::from(u64::MAX);
            format!("{}/64", std::net::Ipv6Addr::from_bits(bits))
        }
        _ => address.to_owned(),
    }
}

/// Holds a bucket as the instant at which it will be full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at_ms: i64,
}

impl Bucket {
    fn has_room(self, rate: Rate, now_ms: i64) -> bool {
        let debt = self.full_at_ms.saturating_sub(now_ms).max(0);
        debt.saturating_add(rate.every_ms) <= rate.burst.saturating_mul(rate.every_ms)
    }

    fn take(&mut self, rate: Rate, now_ms: i64) {
        self.full_at_ms = self.full_at_ms.max(now_ms).saturating_add(rate.every_ms);
    }
}

/// Counts refusals of one source and outcome that are not kept singly.
#[derive(Debug)]
struct Count {
    /// The last of them.
    like: AuditRecord,
    more: u64,
}

/// Decides which refusals are kept. Pure: the time is passed in.
#[derive(Debug, Default)]
pub struct Limiter {
    buckets: BTreeMap<Source, Bucket>,
    shared: BTreeMap<Shared, Bucket>,
    counts: BTreeMap<(Source, Outcome), Count>,
}

impl Limiter {
    /// Takes a refusal in.
    pub fn admit(&mut self, record: &AuditRecord, now_ms: i64) -> Admitted {
        self.take_in(Source::of(record), record, now_ms)
    }

    /// Takes in a refusal by another process, which alone says whom it refused: for this one they are all strangers.
    pub fn admit_claimed(&mut self, record: &AuditRecord, now_ms: i64) -> Admitted {
        self.take_in(Source::of_claim(record), record, now_ms)
    }

    fn take_in(&mut self, source: Source, record: &AuditRecord, now_ms: i64) -> Admitted {
        let source = self.seat(source, now_ms);
        let (rate, shared) = (source.rate(), source.shared());
        let bucket = self.buckets.entry(source.clone()).or_default();
        let with_others = self.shared.entry(shared).or_default();
        if bucket.has_room(rate, now_ms) && with_others.has_room(shared.rate(), now_ms) {
            bucket.take(rate, now_ms);
            with_others.take(shared.rate(), now_ms);
            return Admitted::Kept;
        }
        self.count(source, record);
        Admitted::Counted
    }

    /// Gives a source a bucket; those whose buckets are full again are forgotten first.
    fn seat(&mut self, source: Source, now_ms: i64) -> Source {
        if self.buckets.contains_key(&source) {
            return source;
        }
        if self.buckets.len() >= MAX_SOURCES {
            self.buckets.retain(|_, bucket| bucket.full_at_ms > now_ms);
        }
        if self.buckets.len() >= MAX_SOURCES {
            Source::Others
        } else {
            source
        }
    }

    fn count(&mut self, source: Source, record: &AuditRecord) {
        let key = (source, record.outcome);
        let full = self.counts.len() >= MAX_COUNTS && !self.counts.contains_key(&key);
        let key = if full { (Source::Others, record.outcome) } else { key };
        let count = self.counts.entry(key).or_insert_with(|| Count {
            like: record.clone(),
            more: 0,
        });
        count.like = record.clone();
        // What comes from the gateway may itself stand for many.
        count.more = count.more.saturating_add(1).saturating_add(record.more);
    }

    /// Hands out what was counted since the last time: one record for each of the largest counts, one for all others.
    pub fn counted(&mut self) -> Vec<AuditRecord> {
        let mut counts: Vec<((Source, Outcome), Count)> = std::mem::take(&mut self.counts).into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.more));
        let rest = counts.split_off(counts.len().min(MAX_TOLD));
        let mut told: Vec<AuditRecord> = counts
            .into_iter()
            .map(|((source, _), count)| told(&source, count))
            .collect();
        let more: u64 = rest.iter().map(|(_, count)| count.more).sum();
        if let Some((_, count)) = rest.into_iter().next() {
            told.push(of_many(count.like, more));
        }
        told
    }
}

fn told(source: &Source, count: Count) -> AuditRecord {
    if *source == Source::Others {
        return of_many(count.like, count.more);
    }
    AuditRecord {
        more: count.more,
        ..count.like
    }
}

/// Makes the record of refusals that came from more than one source.
fn of_many(like: AuditRecord, more: u64) -> AuditRecord {
    AuditRecord {
        actor: Actor::anonymous(),
        session: None,
        grant: None,
        address: None,
        objects: Vec::new(),
        command: None,
        more,
        ..like
    }
}

#[cfg(test)]
mod tests;
