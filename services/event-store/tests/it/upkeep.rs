//! Verifying, retention, export and import.

use std::ops::ControlFlow;

use borealis_event_store::{
    Append, AppendError, Compaction, EventLog, Head, OpenOptions, SledLog, StoreError, Summary, VerifyReport, export,
    import, read_export, verify, verify_folder,
};
use futures_util::future::join_all;

use crate::support::{Place, block_on, event, id, one, stream};

/// Three streams, thirty events, several rows.
fn fill(log: &SledLog) -> Vec<Head> {
    (0..10)
        .map(|round| {
            let mut append = one(round, "a", 0, &[round as u8; 100]);
            append.writes.extend(one(round, "b", 0, &[round as u8; 300]).writes);
            append.writes.extend(one(round, "c", 0, &[round as u8; 20]).writes);
            for write in &mut append.writes {
                write.expected = log.stream_version(&write.stream).unwrap();
            }
            block_on(log.append(append)).unwrap();
            log.head()
        })
        .collect()
}

fn compaction(log: &SledLog, number: u64, names: &[&str]) -> Compaction {
    let summary = |name: &&str| Summary {
        stream: stream(name),
        expected: log.stream_version(&stream(name)).unwrap(),
        body: format!("summary of {name}").into_bytes(),
    };
    Compaction {
        command_id: id(number),
        at_ms: 2_000,
        upto: u64::MAX,
        summaries: names.iter().map(summary).collect(),
    }
}

/// Alters the rows of a closed store.
fn tamper(place: &Place, change: impl FnOnce(&sled::Tree)) {
    let db = sled::Config::new()
        .path(place.path())
        .segment_size(8 << 20)
        .open()
        .unwrap();
    change(&db.open_tree("events").unwrap());
    db.flush().unwrap();
}

fn broken_at(result: Result<VerifyReport, StoreError>) -> u64 {
    match result {
        Err(StoreError::Broken { position, .. }) => position,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_log_verifies_and_holds_known_heads() {
    let place = Place::new();
    let log = place.open();
    let heads = fill(&log);
    let report = verify(&log, &heads).unwrap();
    assert_eq!(
        report,
        VerifyReport {
            checked: 30,
            dropped: 0,
            head: log.head()
        }
    );
    drop(log);
    assert_eq!(verify_folder(place.path(), &heads).unwrap(), report);
}

#[test]
fn removed_rows_and_cut_tails_are_named() {
    let place = Place::new();
    let heads = fill(&place.open());
    let mut keys = Vec::new();
    tamper(&place, |rows| {
        keys.extend(rows.iter().keys().map(Result::unwrap));
        let middle = &keys[4];
        let row = rows.remove(middle).unwrap().unwrap();
        rows.insert("kept aside", row).unwrap();
        rows.remove("kept aside").unwrap();
    });
    let gap = u64::from_be_bytes(keys[4].as_ref().try_into().unwrap());
    assert_eq!(broken_at(verify_folder(place.path(), &[])), gap);
    assert!(matches!(
        SledLog::open(place.path(), OpenOptions::new()),
        Err(StoreError::Broken { .. })
    ));

    let place = Place::new();
    fill(&place.open());
    tamper(&place, |rows| {
        rows.remove(rows.last().unwrap().unwrap().0).unwrap();
    });
    let report = verify_folder(place.path(), &heads[..5]).unwrap();
    assert!(report.checked < 30);
    assert_eq!(broken_at(verify_folder(place.path(), &heads)), report.checked + 1);
}

#[test]
fn a_log_made_anew_with_other_content_is_not_the_known_one() {
    let place = Place::new();
    let heads = fill(&place.open());
    let forged = Place::new();
    let log = forged.open();
    block_on(log.append(one(77, "a", 0, b"forged"))).unwrap();
    fill_on(&log, 40);
    assert_eq!(verify(&log, &[]).unwrap().checked, 41);
    assert_eq!(broken_at(verify(&log, &heads)), heads[0].position);
    // A mismatch halts the store.
    assert!(log.read_all(0, 1).is_err());
}

fn fill_on(log: &SledLog, events: u64) {
    let appends = (0..events).map(|number| log.append(one(number, &format!("on-{number}"), 0, b"x")));
    block_on(join_all(appends))
        .into_iter()
        .for_each(|appended| drop(appended.unwrap()));
}

#[test]
fn compaction_drops_bodies_and_keeps_what_happened() {
    let place = Place::new();
    let log = place.open_with(OpenOptions::new().tail_events(7));
    let heads = fill(&log);
    let before = log.read_all(0, 100).unwrap();
    let command = compaction(&log, 500, &["a", "b"]);
    let done = block_on(log.compact(command.clone())).unwrap();
    assert_eq!((done.first, done.last, done.dropped), (31, 32, 20));
    let after = log.read_all(0, 100).unwrap();
    for (old, new) in before.iter().zip(&after) {
        let goes = old.stream != stream("c");
        assert_eq!(new.body, if goes { None } else { old.body.clone() });
        assert_eq!(
            (new.body_digest, new.hash, &new.kind),
            (old.body_digest, old.hash, &old.kind)
        );
    }
    assert_eq!(after[30].kind, "Summarised");
    assert_eq!(after[30].body.as_deref(), Some(&b"summary of a"[..]));
    assert_eq!(
        verify(&log, &heads).unwrap(),
        VerifyReport {
            checked: 32,
            dropped: 20,
            head: log.head()
        }
    );
    // The same command again changes nothing, another one drops the summaries too.
    assert_eq!(block_on(log.compact(command.clone())).unwrap().dropped, 0);
    assert!(matches!(
        block_on(log.compact(Compaction {
            command_id: id(501),
            ..command
        })),
        Err(AppendError::Conflict { .. })
    ));
    assert_eq!(block_on(log.compact(compaction(&log, 502, &["a"]))).unwrap().dropped, 1);
    drop(log);
    let log = place.open();
    assert_eq!(
        verify(&log, &heads).unwrap(),
        VerifyReport {
            checked: 33,
            dropped: 21,
            head: log.head()
        }
    );
    // Commands are still known, their answers too.
    assert_eq!(log.command(&id(3)).unwrap().unwrap().answer, b"3");
    assert!(
        block_on(log.append(Append {
            writes: vec![],
            ..one(3, "a", 0, &[3; 100])
        }))
        .unwrap()
        .replayed
    );
}

#[test]
fn a_body_dropped_without_a_summary_is_named() {
    let place = Place::new();
    let log = place.open();
    fill(&log);
    block_on(log.compact(compaction(&log, 500, &["b"]))).unwrap();
    drop(log);
    // The last row holds the summary and nothing after it; without it the log ends whole, but for what it stands for.
    tamper(&place, |rows| {
        let (key, _) = rows.last().unwrap().unwrap();
        assert_eq!(key.as_ref(), 31u64.to_be_bytes());
        rows.remove(key).unwrap();
    });
    assert_eq!(broken_at(verify_folder(place.path(), &[])), 2);
}

#[test]
fn an_export_is_brought_back_whole() {
    let place = Place::new();
    let log = place.open();
    fill(&log);
    block_on(log.compact(compaction(&log, 500, &["b"]))).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(export(&log, &mut bytes).unwrap(), log.head());
    let mut events = Vec::new();
    let head = read_export(&mut bytes.as_slice(), |event| {
        events.push(event);
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!((head.unwrap(), &events), (log.head(), &log.read_all(0, 100).unwrap()));

    let copy = Place::new();
    assert_eq!(import(copy.path(), &mut bytes.as_slice()).unwrap(), log.head());
    let copied = copy.open_with(OpenOptions::new().tail_events(2));
    assert_eq!(copied.read_all(0, 100).unwrap(), events);
    assert_eq!(
        copied.read_stream(&stream("c"), 4, 3).unwrap(),
        log.read_stream(&stream("c"), 4, 3).unwrap()
    );
    assert_eq!(copied.command(&id(3)).unwrap(), log.command(&id(3)).unwrap());
    let mut again = Vec::new();
    export(&copied, &mut again).unwrap();
    assert!(again == bytes);
    drop(copied);
    let second = import(copy.path(), &mut bytes.as_slice());
    assert!(
        matches!(second, Err(StoreError::NotEmpty { position: 31 })),
        "{second:?}"
    );
}

#[test]
fn a_damaged_export_is_refused_and_leaves_no_store_that_opens() {
    let place = Place::new();
    let log = place.open();
    fill(&log);
    let mut bytes = Vec::new();
    export(&log, &mut bytes).unwrap();
    for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let read = read_export(&mut damaged.as_slice(), |_| Ok(ControlFlow::Continue(())));
        assert!(read.is_err(), "byte {at}");
        let cut = read_export(&mut &bytes[..at], |_| Ok(ControlFlow::Continue(())));
        assert!(cut.is_err(), "cut at {at}");
    }
    let half = Place::new();
    assert!(import(half.path(), &mut &bytes[..bytes.len() / 2]).is_err());
    let opened = SledLog::open(half.path(), OpenOptions::new());
    assert!(matches!(opened, Err(StoreError::UnfinishedImport { .. })), "{opened:?}");
}

#[test]
fn answers_and_kinds_survive_the_largest_rows() {
    let place = Place::new();
    let log = place.open();
    let mut append = one(1, "a", 0, &[1; 32 * 1024]);
    append.writes[0].events.push(event(&"K".repeat(64), &[]));
    append.answer = vec![8; 8 * 1024];
    block_on(log.append(append.clone())).unwrap();
    let mut bytes = Vec::new();
    export(&log, &mut bytes).unwrap();
    let copy = Place::new();
    import(copy.path(), &mut bytes.as_slice()).unwrap();
    assert_eq!(
        copy.open().command(&append.command_id).unwrap().unwrap().answer,
        append.answer
    );
}
