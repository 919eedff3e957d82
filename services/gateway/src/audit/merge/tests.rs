use super::*;
use borealis_bus_schema::audit::{Actor, AuditRecord, Outcome};
use borealis_bus_schema::ids::CorrelationId;

/// Is a log: the instants of its records, at positions 10, 20, …
struct Log(Service, Vec<i64>);

fn entry(service: Service, position: u64, at: i64) -> AuditEntry {
    AuditEntry {
        service,
        position,
        record: AuditRecord {
            at: Timestamp::from_unix_ms(at),
            actor: Actor::anonymous(),
            session: None,
            grant: None,
            address: None,
            via: None,
            action: "x".into(),
            verb: "x".into(),
            objects: Vec::new(),
            outcome: Outcome::Accepted,
            correlation: CorrelationId::from_bytes([1; 16]),
            command: None,
            more: 0,
        },
    }
}

impl Log {
    /// Answers like a service that gives up to `limit` records, and looks at no more than `looks`.
    fn page(&self, at: Option<u64>, newest_first: bool, limit: usize, looks: usize) -> AuditPage {
        let all = self.1.iter().zip(1u64..).map(|(at, n)| entry(self.0, n * 10, *at));
        let mut ahead: Vec<AuditEntry> = all
            .filter(|entry| match at {
                None => true,
                Some(at) if newest_first => entry.position < at,
                Some(at) => entry.position > at,
            })
            .collect();
        if newest_first {
            ahead.reverse();
        }
        let end = ahead.len() <= limit.min(looks);
        ahead.truncate(limit.min(looks));
        let last = ahead.last().cloned();
        AuditPage {
            reached: last.as_ref().map_or(at.unwrap_or(0), |entry| entry.position),
            reached_at: last.map(|entry| entry.record.at),
            entries: ahead,
            end,
        }
    }
}

/// Reads everything in pages, through cursors as text.
fn all(logs: &[Log], newest_first: bool, limit: usize, looks: usize) -> Vec<(i64, Service)> {
    let (mut found, mut cursor) = (Vec::new(), Cursor::begin(newest_first));
    for _ in 0..1_000 {
        let pages = logs
            .iter()
            .map(|log| (log.0, log.page(cursor.of(log.0), newest_first, limit, looks)));
        let merged = merge(pages.collect(), cursor, limit);
        found.extend(merged.items.iter().map(|item| (item.record.at.unix_ms(), item.service)));
        if merged.end {
            return found;
        }
        cursor = Cursor::read(&merged.cursor.to_string()).unwrap();
    }
    panic!("the list does not end")
}

fn logs() -> Vec<Log> {
    vec![
        Log(Service::Access, vec![1, 4, 9, 16, 25, 36]),
        Log(Service::Enrollment, vec![2, 3, 5, 7, 11, 13, 17, 19, 23]),
        Log(Service::Library, vec![]),
        Log(Service::Scheduler, vec![100]),
    ]
}

#[test]
fn every_record_comes_once_and_in_order_whatever_the_pages() {
    let mut wanted: Vec<(i64, Service)> = logs()
        .iter()
        .flat_map(|log| log.1.iter().map(|at| (*at, log.0)).collect::<Vec<_>>())
        .collect();
    wanted.sort();
    for (limit, looks) in [(1, 9), (2, 2), (3, 9), (4, 1), (100, 100)] {
        assert_eq!(all(&logs(), false, limit, looks), wanted, "asc {limit} {looks}");
        let backwards: Vec<_> = wanted.iter().rev().copied().collect();
        assert_eq!(all(&logs(), true, limit, looks), backwards, "desc {limit} {looks}");
    }
}

#[test]
fn a_service_that_was_away_is_caught_up_and_nothing_comes_twice() {
    let logs = logs();
    let here: Vec<_> = logs.iter().filter(|log| log.0 != Service::Enrollment).collect();
    let pages = here
        .iter()
        .map(|log| (log.0, log.page(None, false, 100, 100)))
        .collect();
    let first = merge(pages, Cursor::begin(false), 100);
    assert_eq!(first.items.len(), 7);
    let pages = logs
        .iter()
        .map(|log| (log.0, log.page(first.cursor.of(log.0), false, 100, 100)))
        .collect();
    let second = merge(pages, first.cursor, 100);
    assert!(second.items.iter().all(|item| item.service == Service::Enrollment));
    assert_eq!(second.items.len(), 9);
}

#[test]
fn a_cursor_is_read_back_and_rubbish_is_none() {
    let mut cursor = Cursor::begin(false);
    cursor.positions.insert(Service::Access, 7);
    cursor.positions.insert(Service::Signing, u64::MAX);
    assert_eq!(Cursor::read(&cursor.to_string()), Some(cursor));
    for text in [
        "",
        "x",
        "asc.",
        "asc.access",
        "asc.access-",
        "asc.nobody-1",
        "desc.access--1",
        "asc.access-1.access-x",
    ] {
        assert_eq!(Cursor::read(text), None, "{text}");
    }
}
