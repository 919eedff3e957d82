use std::sync::Arc;

use borealis_bus_schema::audit::{Actor, KIND};
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{CorrelationId, OperatorId};
use borealis_event_store::{OpenOptions, SledLog};

use super::*;
use crate::clock::ManualClock;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

struct Rig {
    _folder: tempfile::TempDir,
    store: SledLog,
    recorder: Recorder,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = SledLog::open(folder.path(), OpenOptions::new()).unwrap();
    let recorder = Recorder::new(Arc::new(store.clone()), Arc::new(ManualClock::at(NOW)));
    Rig {
        _folder: folder,
        store,
        recorder,
    }
}

fn refused(number: u8, ago_ms: i64) -> AuditRecord {
    let act = Act::new(
        NOW.plus_ms(-ago_ms),
        "GET /metrics",
        "metrics",
        CorrelationId::from_bytes([number; 16]),
    );
    act.note(|record| {
        record.actor = Actor::operator(&OperatorId::from_bytes([number; 16]), "ada");
        record.address = Some(format!("192.0.2.{number}"));
        record.outcome = Outcome::Refused(Code::RightMissing);
    });
    act.record()
}

fn kept(rig: &Rig) -> Vec<AuditRecord> {
    let events = rig.store.read_all(0, 1_000).unwrap();
    assert!(events.iter().all(|event| event.kind == KIND));
    let bodies = events.into_iter().map(|event| event.body.unwrap());
    bodies.map(|body| codec::decode(&body).unwrap()).collect()
}

#[tokio::test]
async fn a_batch_is_one_append_whose_records_keep_their_times() {
    let rig = rig();
    let batch = vec![
        refused(1, 5_000),
        refused(2, HANDED_WITHIN_MS),
        refused(3, HANDED_WITHIN_MS + 1),
        refused(4, -1_000),
    ];
    assert_eq!(rig.recorder.handed(batch, [1; 16]).await.unwrap(), 4);
    let ago: Vec<i64> = kept(&rig).iter().map(|record| NOW.since_ms(record.at)).collect();
    assert_eq!(ago, [5_000, HANDED_WITHIN_MS, 0, 0]);
    let command = rig.store.command(&[1; 16]).unwrap().unwrap();
    assert_eq!((command.first, command.last), (1, 4), "one append");
}

#[tokio::test]
async fn the_same_batch_counts_once_also_after_a_restart() {
    let rig = rig();
    let batch = || vec![refused(1, 0), refused(2, 0)];
    for _ in 0..2 {
        assert_eq!(rig.recorder.handed(batch(), [1; 16]).await.unwrap(), 2);
    }
    let again = Recorder::new(Arc::new(rig.store.clone()), Arc::new(ManualClock::at(NOW)));
    again.handed(batch(), [1; 16]).await.unwrap();
    assert_eq!(kept(&rig).len(), 2);
    again.handed(batch(), [2; 16]).await.unwrap();
    assert_eq!(kept(&rig).len(), 4);
}

#[test]
fn a_device_without_room_decides_nothing() {
    for code in [Code::Busy, Code::NoSpace, Code::Stale] {
        assert!(!is_refusal(code), "{code}");
    }
    for code in [
        Code::OrderExpired,
        Code::OrderReplayed,
        Code::ClockSkew,
        Code::Throttled,
    ] {
        assert!(is_refusal(code), "{code}");
    }
}
