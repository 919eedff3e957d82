//! Where a service's records stand, and reading them: a view of positions, rebuilt from the log at will.

use super::recorder::HANDED_WITHIN_MS;
use borealis_bus_schema::audit::{AuditEntry, AuditRecord, KIND};
use borealis_bus_schema::codec;
use borealis_bus_schema::messages::audit::{AuditList, AuditPage};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{EventLog as _, EventRecord, SledLog, SledView, StoreError, View, ViewBatch, ViewError};

/// Is how many records one page looks at.
const MAX_LOOKED_AT: usize = 2_000;
/// Is how many records one page holds.
const MAX_ENTRIES: usize = 500;
/// Is about how many bytes one page has, below the bus's limit.
const PAGE_BYTES: usize = 600_000;
/// Is how many rows of the view are read at once.
const CHUNK: usize = 256;
/// Is how far the log's order and the order of the acts may differ: as long as a request may take, and more; what the gateway
/// hands over later keeps its time too.
const SLACK_MS: i64 = 120_000 + HANDED_WITHIN_MS;

/// Keeps the position and the log time of each record.
///
/// Shape: position u64 big endian → at_ms i64 big endian.
struct Positions;

impl View for Positions {
    const NAME: &'static str = "audit";

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        if event.kind == KIND {
            batch.put(&event.position.to_be_bytes(), event.at_ms.to_be_bytes().to_vec())?;
        }
        Ok(())
    }
}

/// Reads the records of one service.
pub struct AuditIndex {
    service: Service,
    log: SledLog,
    view: SledView<Positions>,
}

/// Is where a record stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u64,
    at_ms: i64,
}

impl AuditIndex {
    /// Opens the index of a log; it catches up when it is read.
    ///
    /// Errors: [`StoreError`] when the storage fails.
    pub fn open(service: Service, log: &SledLog) -> Result<Self, StoreError> {
        Ok(Self {
            service,
            log: log.clone(),
            view: SledView::open(log, Positions)?,
        })
    }

    /// Returns the log.
    pub const fn log(&self) -> &SledLog {
        &self.log
    }

    /// Takes in what the log has beyond the index; blocks.
    ///
    /// Errors: [`StoreError`].
    pub fn catch_up(&self) -> Result<u64, StoreError> {
        self.view.catch_up()
    }

    /// Throws the index away and makes it again; blocks.
    ///
    /// Errors: [`StoreError`].
    pub fn rebuild(&self) -> Result<u64, StoreError> {
        self.view.rebuild()
    }

    /// Lists records; blocks.
    ///
    /// Errors: [`StoreError`].
    pub fn list(&self, ask: &AuditList) -> Result<AuditPage, StoreError> {
        let end = self.view.catch_up()?;
        let mut page = AuditPage {
            entries: Vec::new(),
            reached: self.begin(ask, end)?,
            reached_at: None,
            end: false,
        };
        let (mut looked_at, mut bytes) = (0, 0);
        let limit = usize::try_from(ask.limit).unwrap_or(MAX_ENTRIES).clamp(1, MAX_ENTRIES);
        loop {
            let places = self.places(page.reached, ask.newest_first, CHUNK)?;
            if places.is_empty() {
                page.end = true;
                break;
            }
            for place in places {
                if beyond(ask, place.at_ms) {
                    page.end = true;
                    break;
                }
                if page.entries.len() >= limit || bytes > PAGE_BYTES || looked_at >= MAX_LOOKED_AT {
                    return Ok(page);
                }
                looked_at += 1;
                page.reached = place.position;
                let Some((record, size)) = self.read(place.position)? else {
                    continue;
                };
                page.reached_at = Some(record.at);
                if ask.filter.takes(&record) {
                    bytes += size;
                    page.entries.push(AuditEntry {
                        service: self.service,
                        position: place.position,
                        record,
                    });
                }
            }
            if page.end {
                break;
            }
        }
        if !ask.newest_first {
            // What stands behind is no record, or is newer than what is wanted.
            page.reached = page.reached.max(end);
        }
        Ok(page)
    }

    /// Finds where to begin: behind or before the place that was named, and not far outside of the time that is wanted.
    fn begin(&self, ask: &AuditList, end: u64) -> Result<u64, StoreError> {
        if ask.newest_first {
            let named = ask.at.unwrap_or(u64::MAX);
            return match ask.filter.to {
                Some(to) => Ok(named.min(self.before(to.plus_ms(SLACK_MS), end)?.saturating_add(1))),
                None => Ok(named),
            };
        }
        let named = ask.at.unwrap_or(0);
        match ask.filter.from {
            Some(from) => Ok(named.max(self.before(from.plus_ms(-SLACK_MS), end)?)),
            None => Ok(named),
        }
    }

    /// Finds the place behind which no record is older than an instant, as far as the log's times are in order.
    fn before(&self, at: Timestamp, end: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.places(middle, false, 1)?.first() {
                Some(next) if next.at_ms < at.unix_ms() => low = next.position.min(high),
                _ => high = middle,
            }
        }
        Ok(high)
    }

    fn places(&self, from: u64, newest_first: bool, limit: usize) -> Result<Vec<Place>, StoreError> {
        let key = from.to_be_bytes();
        let rows = if newest_first {
            self.view.scan_back(&[], Some(&key), limit)?
        } else {
            self.view.scan(&[], Some(&key), limit)?
        };
        let place = |(key, value): (Vec<u8>, Vec<u8>)| {
            Some(Place {
                position: u64::from_be_bytes(key.try_into().ok()?),
                at_ms: i64::from_be_bytes(value.try_into().ok()?),
            })
        };
        Ok(rows.into_iter().filter_map(place).collect())
    }

    /// Reads a record with its size; none when retention dropped it.
    fn read(&self, position: u64) -> Result<Option<(AuditRecord, usize)>, StoreError> {
        let events = self.log.read_all(position.saturating_sub(1), 1)?;
        let body = events.into_iter().next().and_then(|event| event.body);
        let record = body.and_then(|body| Some((codec::decode::<AuditRecord>(&body).ok()?, body.len() * 2 + 200)));
        Ok(record)
    }
}

/// Tells whether a record's log time lies behind what is wanted, in the direction of reading.
fn beyond(ask: &AuditList, at_ms: i64) -> bool {
    if ask.newest_first {
        ask.filter
            .from
            .is_some_and(|from| at_ms < from.plus_ms(-SLACK_MS).unix_ms())
    } else {
        ask.filter.to.is_some_and(|to| at_ms > to.plus_ms(SLACK_MS).unix_ms())
    }
}

#[cfg(test)]
mod tests;
