use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use borealis_bus_schema::audit::{Actor, KIND};
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{CorrelationId, OperatorId};
use borealis_event_store::{Append, BoxFuture, OpenOptions, SledLog};
use borealis_test_support::{LogHooks, hooked};
use futures_util::FutureExt as _;
use tokio::sync::watch;

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
    let events = rig.store.read_all(0, 10_000).unwrap();
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

/// Holds appends up until they are let through, and refuses them while it is told so.
struct Slow {
    open: watch::Sender<bool>,
    full: AtomicBool,
}

impl Slow {
    /// Makes a log before another, and what holds it up.
    fn before(inner: &SledLog, open: bool) -> (Arc<Self>, Arc<dyn EventLog>) {
        let slow = Arc::new(Self {
            open: watch::Sender::new(open),
            full: AtomicBool::new(false),
        });
        (Arc::clone(&slow), hooked(Arc::new(inner.clone()), slow))
    }
}

impl LogHooks for Slow {
    fn before_append<'a>(&'a self, _: &'a Append) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move {
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
            if self.full.load(Ordering::SeqCst) {
                return Err(AppendError::Invalid { reason: "it is full" });
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_repeated_batch_is_answered_once_the_first_is_durable() {
    let rig = rig();
    let (slow, log) = Slow::before(&rig.store, false);
    let recorder = Recorder::new(log, Arc::new(ManualClock::at(NOW)));
    let batch = || vec![refused(1, 0), refused(2, 0)];
    let (mut first, mut second) = (
        Box::pin(recorder.handed(batch(), [1; 16])),
        Box::pin(recorder.handed(batch(), [1; 16])),
    );
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none(), "it was not durable yet");
    slow.open.send_replace(true);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (2, 2));
    assert_eq!(kept(&rig).len(), 2);
}

#[tokio::test]
async fn a_batch_that_could_not_be_kept_is_kept_whole_at_its_repetition() {
    let rig = rig();
    let (slow, log) = Slow::before(&rig.store, true);
    slow.full.store(true, Ordering::SeqCst);
    let recorder = Recorder::new(log, Arc::new(ManualClock::at(NOW)));
    let batch = || vec![refused(1, 0), refused(2, 0)];
    // More often than the limits let one of them through.
    for _ in 0..100 {
        recorder.handed(batch(), [1; 16]).await.unwrap_err();
    }
    slow.full.store(false, Ordering::SeqCst);
    assert_eq!(recorder.handed(batch(), [1; 16]).await.unwrap(), 2);
    assert_eq!(kept(&rig).len(), 2);
}

#[tokio::test]
async fn what_a_full_disk_refused_is_recorded_once_there_is_room() {
    let rig = rig();
    let (slow, log) = Slow::before(&rig.store, true);
    slow.full.store(true, Ordering::SeqCst);
    let recorder = Recorder::new(log, Arc::new(ManualClock::at(NOW)));
    let records: Vec<AuditRecord> = (0..MAX_UNWRITTEN).map(|_| refused(1, HANDED_WITHIN_MS + 1)).collect();
    recorder.keep(&[refused(2, 1_000)]).await;
    recorder.keep(&records).await;
    recorder.write_counted().await;
    slow.full.store(false, Ordering::SeqCst);
    recorder.write_counted().await;
    recorder.write_counted().await;
    let kept = kept(&rig);
    assert_eq!(kept.len(), MAX_UNWRITTEN, "it is bounded, and nothing is kept twice");
    let ago: Vec<i64> = kept.iter().map(|record| NOW.since_ms(record.at)).collect();
    assert_eq!((ago.first(), ago.last()), (Some(&1_000), Some(&0)));
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
