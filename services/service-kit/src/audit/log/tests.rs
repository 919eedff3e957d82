use std::sync::Arc;

use borealis_bus_schema::audit::KIND;
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{OpenOptions, SledLog};

use super::*;
use crate::audit::{note_object, within};
use crate::random;

struct Rig {
    _folder: tempfile::TempDir,
    store: SledLog,
    log: AuditedLog,
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = SledLog::open(folder.path(), OpenOptions::new()).unwrap();
    let log = AuditedLog::new(Arc::new(store.clone()));
    Rig {
        _folder: folder,
        store,
        log,
    }
}

fn change(stream: &str, expected: Version, id: [u8; 16]) -> Append {
    Append {
        command_id: id,
        command_digest: [1; 32],
        at_ms: 1_800_000_000_000,
        writes: vec![StreamWrite {
            stream: StreamId::new(stream).unwrap(),
            expected,
            events: vec![NewEvent {
                kind: "Changed".into(),
                body: b"x".to_vec(),
            }],
        }],
        answer: b"{}".to_vec(),
    }
}

fn act() -> Act {
    let at = Timestamp::from_unix_ms(1_800_000_000_000);
    Act::new(
        at,
        "POST /api/v1/things",
        "things-create",
        CorrelationId::from_bytes([1; 16]),
    )
}

fn kinds(rig: &Rig) -> Vec<String> {
    rig.store
        .read_all(0, 1_000)
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect()
}

#[tokio::test]
async fn change_and_record_are_one_commit_and_positions_leave_the_record_out() {
    let rig = rig();
    let act = act();
    let appended = within(act.clone(), async {
        note_object("site", "default");
        rig.log.append(change("thing-7", 0, [1; 16])).await.unwrap()
    });
    let appended = appended.await;
    assert_eq!((appended.first, appended.last), (1, 1));
    assert_eq!(kinds(&rig), ["Changed", KIND]);
    assert!(act.is_kept());
    let events = rig.store.read_all(1, 1).unwrap();
    let record: AuditRecord = codec::decode(events[0].body.as_ref().unwrap()).unwrap();
    assert_eq!(record.objects, ["site/default", "thing/7"]);
    // One commit: the command's effect reaches to the record.
    assert_eq!(rig.store.command(&[1; 16]).unwrap().unwrap().last, 2);
    assert_eq!(rig.log.command(&[1; 16]).unwrap().unwrap().last, 1);
}

#[tokio::test]
async fn a_second_append_and_a_repeated_command_leave_no_second_record() {
    let rig = rig();
    within(act(), async {
        rig.log.append(change("thing-1", 0, [1; 16])).await.unwrap();
        rig.log.append(change("thing-2", 0, [2; 16])).await.unwrap();
    })
    .await;
    let again = within(act(), rig.log.append(change("thing-1", 0, [1; 16])))
        .await
        .unwrap();
    assert!(again.replayed && (again.first, again.last) == (1, 1));
    assert_eq!(kinds(&rig), ["Changed", KIND, "Changed"]);
}

#[tokio::test]
async fn what_was_not_written_leaves_no_record_and_the_next_try_does() {
    let rig = rig();
    let act = act();
    within(act.clone(), async {
        assert!(matches!(
            rig.log.append(change("thing-1", 9, [1; 16])).await,
            Err(AppendError::Conflict { .. })
        ));
        assert!(!act.is_kept());
        rig.log.append(change("thing-1", 0, [1; 16])).await.unwrap();
    })
    .await;
    assert_eq!(kinds(&rig), ["Changed", KIND]);
}

#[tokio::test]
async fn outside_of_an_act_nothing_is_added() {
    let rig = rig();
    rig.log.append(change("thing-1", 0, [1; 16])).await.unwrap();
    assert_eq!(kinds(&rig), ["Changed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_acts_at_once_never_conflict_and_few_streams_carry_them() {
    let rig = rig();
    for round in 0..4u8 {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..32u8 {
            let log = rig.log.clone();
            let append = change(&format!("thing-{round}-{n}"), 0, random::bytes());
            tasks.spawn(within(act(), async move { log.append(append).await.map(|_| ()) }));
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
    }
    assert_eq!(kinds(&rig).iter().filter(|kind| *kind == KIND).count(), 128);
    assert!(rig.log.streams().made <= 32, "{}", rig.log.streams().made);
}

#[tokio::test]
async fn a_log_that_is_opened_again_goes_on_in_its_streams() {
    let rig = rig();
    within(act(), rig.log.append(change("thing-1", 0, [1; 16])))
        .await
        .unwrap();
    let next = AuditedLog::new(Arc::new(rig.store.clone()));
    within(act(), next.append(change("thing-2", 0, [2; 16]))).await.unwrap();
    assert_eq!(kinds(&rig), ["Changed", KIND, "Changed", KIND]);
    assert_eq!(next.streams().made, 1);
}
