//! Pages of several logs become one page by time, and a cursor that goes on behind it in each.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use borealis_bus_schema::audit::AuditEntry;
use borealis_bus_schema::messages::audit::AuditPage;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;

/// Is where a list goes on: a position in each service's log.
///
/// Shape: `asc` or `desc`, then `.<service>-<position>` each; for programs it is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Whether the list goes backwards.
    pub(super) newest_first: bool,
    positions: BTreeMap<Service, u64>,
}

impl Cursor {
    pub(super) const fn begin(newest_first: bool) -> Self {
        Self {
            newest_first,
            positions: BTreeMap::new(),
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut cursor = match parts.next()? {
            "asc" => Self::begin(false),
            "desc" => Self::begin(true),
            _ => return None,
        };
        for part in parts {
            let (name, position) = part.split_once('-')?;
            let service = Service::ALL.into_iter().find(|service| service.name() == name)?;
            cursor.positions.insert(service, position.parse().ok()?);
        }
        Some(cursor)
    }

    /// Returns where a service's list goes on; none at its beginning.
    pub(super) fn of(&self, service: Service) -> Option<u64> {
        self.positions.get(&service).copied()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.newest_first { "desc" } else { "asc" })?;
        for (service, position) in &self.positions {
            write!(f, ".{service}-{position}")?;
        }
        Ok(())
    }
}

/// Is a merged page.
pub(super) struct Merged {
    pub(super) items: Vec<AuditEntry>,
    pub(super) cursor: Cursor,
    /// Whether there is nothing more now.
    pub(super) end: bool,
}

struct Source {
    service: Service,
    entries: VecDeque<AuditEntry>,
    reached: u64,
    reached_at: Option<Timestamp>,
    end: bool,
}

/// Merges pages by time. Within a log its own order stays; nothing is told that another log might still come before.
pub(super) fn merge(pages: Vec<(Service, AuditPage)>, mut cursor: Cursor, limit: usize) -> Merged {
    let newest_first = cursor.newest_first;
    let earlier = |a: Timestamp, b: Timestamp| if newest_first { a > b } else { a < b };
    let mut sources: Vec<Source> = pages
        .into_iter()
        .map(|(service, page)| Source {
            service,
            entries: page.entries.into(),
            reached: page.reached,
            reached_at: page.reached_at,
            end: page.end,
        })
        .collect();
    let mut items = Vec::new();
    while items.len() < limit {
        // What a source has not looked at yet may come before what another one has.
        let open = sources.iter().filter(|source| source.entries.is_empty() && !source.end);
        let horizon = open.map(|source| source.reached_at).reduce(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(if earlier(a, b) { a } else { b }),
            _ => None,
        });
        let mut next: Option<(Timestamp, &mut Source)> = None;
        for source in &mut sources {
            let Some(at) = source.entries.front().map(|entry| entry.record.at) else {
                continue;
            };
            if next.as_ref().is_none_or(|(first, _)| earlier(at, *first)) {
                next = Some((at, source));
            }
        }
        let Some((at, source)) = next else { break };
        let told_too_early = match horizon {
            None => false,
            Some(None) => true,
            Some(Some(horizon)) => earlier(horizon, at),
        };
        if told_too_early {
            break;
        }
        if let Some(entry) = source.entries.pop_front() {
            items.push(entry);
        }
    }
    let end = sources.iter().all(|source| source.end && source.entries.is_empty());
    for source in &sources {
        let place = match source.entries.front() {
            None => source.reached,
            Some(next) if newest_first => next.position.saturating_add(1),
            Some(next) => next.position.saturating_sub(1),
        };
        cursor.positions.insert(source.service, place);
    }
    Merged { items, cursor, end }
}

#[cfg(test)]
mod tests;
