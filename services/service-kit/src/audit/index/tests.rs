use std::sync::Arc;

use borealis_bus_schema::audit::{Actor, AuditFilter, Outcome};
use borealis_bus_schema::ids::{CorrelationId, Guid};
use borealis_event_store::OpenOptions;

use super::*;
use crate::audit::AuditedLog;
use crate::random;

const BEGAN: i64 = 1_800_000_000_000;

struct Rig {
    _folder: tempfile::TempDir,
    index: AuditIndex,
}

/// Makes a log with a record each minute; every third is about another device.
async fn rig(records: i64) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = SledLog::open(folder.path(), OpenOptions::new()).unwrap();
    let log = AuditedLog::for_refusals(Arc::new(store.clone()));
    for n in 0..records {
        let record = AuditRecord {
            at: Timestamp::from_unix_ms(BEGAN + n * 60_000),
            actor: Actor::device(&Guid::from_random([1; 16])),
            session: None,
            grant: None,
            address: None,
            via: None,
            action: "tell agent.hello".into(),
            verb: "hello".into(),
            objects: vec![format!("devices/{}", n % 3)],
            outcome: Outcome::Accepted,
            correlation: CorrelationId::from_bytes([1; 16]),
            command: None,
            more: u64::try_from(n).unwrap(),
        };
        log.append_records(&[record], random::bytes()).await.unwrap();
    }
    Rig {
        _folder: folder,
        index: AuditIndex::open(Service::Access, &store).unwrap(),
    }
}

/// Reads to the end in pages.
fn all(rig: &Rig, filter: &AuditFilter, newest_first: bool, limit: u32) -> Vec<u64> {
    let (mut found, mut at) = (Vec::new(), None);
    loop {
        let ask = AuditList {
            at,
            newest_first,
            filter: filter.clone(),
            limit,
        };
        let page = rig.index.list(&ask).unwrap();
        found.extend(page.entries.iter().map(|entry| entry.record.more));
        assert!(page.end || at != Some(page.reached), "a page goes on");
        at = Some(page.reached);
        if page.end {
            return found;
        }
    }
}

fn minutes(from: i64, to: i64) -> AuditFilter {
    AuditFilter {
        from: Some(Timestamp::from_unix_ms(BEGAN + from * 60_000)),
        to: Some(Timestamp::from_unix_ms(BEGAN + to * 60_000)),
        ..AuditFilter::default()
    }
}

#[tokio::test]
async fn pages_give_every_record_once_in_both_directions() {
    let rig = rig(50).await;
    let wanted: Vec<u64> = (0..50).collect();
    let backwards: Vec<u64> = (0..50).rev().collect();
    for limit in [1, 7, 50, 500] {
        assert_eq!(all(&rig, &AuditFilter::default(), false, limit), wanted);
        assert_eq!(all(&rig, &AuditFilter::default(), true, limit), backwards);
    }
}

#[tokio::test]
async fn filters_by_time_and_object_find_what_they_name() {
    let rig = rig(300).await;
    for (from, to) in [(0, 1), (10, 20), (0, 300), (299, 300), (150, 151), (400, 500), (-5, 2)] {
        let range = from.max(0)..to.min(300);
        let wanted: Vec<u64> = range.map(|n| u64::try_from(n).unwrap()).collect();
        assert_eq!(all(&rig, &minutes(from, to), false, 7), wanted, "{from}..{to}");
        let backwards: Vec<u64> = wanted.into_iter().rev().collect();
        assert_eq!(all(&rig, &minutes(from, to), true, 7), backwards, "{from}..{to}");
    }
    let object = AuditFilter {
        object: Some("devices/1".into()),
        ..minutes(0, 9)
    };
    assert_eq!(all(&rig, &object, false, 2), [1, 4, 7]);
}

#[tokio::test]
async fn a_time_filter_does_not_read_the_whole_log() {
    let rig = rig(300).await;
    let ask = AuditList {
        at: None,
        newest_first: false,
        filter: minutes(290, 300),
        limit: 500,
    };
    rig.index.catch_up().unwrap();
    let begin = rig.index.begin(&ask, 300).unwrap();
    assert!((270..=290).contains(&begin), "{begin}");
}

#[tokio::test]
async fn who_follows_gets_what_comes_behind_the_end_and_nothing_twice() {
    let rig = rig(3).await;
    let ask = |at| AuditList {
        at,
        newest_first: false,
        filter: AuditFilter::default(),
        limit: 10,
    };
    let page = rig.index.list(&ask(None)).unwrap();
    assert!(page.end && page.entries.len() == 3);
    assert!(rig.index.list(&ask(Some(page.reached))).unwrap().entries.is_empty());
    let log = AuditedLog::for_refusals(Arc::new(rig.index.log().clone()));
    let record = page.entries[0].record.clone();
    log.append_records(&[record], random::bytes()).await.unwrap();
    assert_eq!(rig.index.list(&ask(Some(page.reached))).unwrap().entries.len(), 1);
}
