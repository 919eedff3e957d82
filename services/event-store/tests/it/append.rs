//! Appending, reading and following, one case each.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use borealis_event_store::{
    AppendError, EventLog, Follower, Head, MAX_BODY_BYTES, OpenOptions, SledLog, StoreError, chain_hash,
};
use futures_util::future::join_all;

use crate::support::{Place, blobs, block_on, event, one, stream};

#[test]
fn events_read_back_in_order_with_their_chain() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        for number in 0..10 {
            let name = if number % 2 == 0 { "even" } else { "odd" };
            let expected = log.stream_version(&stream(name)).unwrap();
            let appended = log.append(one(number, name, expected, &[7; 300])).await.unwrap();
            assert_eq!(
                (appended.first, appended.last, appended.replayed),
                (number + 1, number + 1, false)
            );
        }
    });
    let all = log.read_all(0, 100).unwrap();
    assert_eq!(
        all.iter().map(|event| event.position).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>()
    );
    let mut hash = [0; 32];
    for event in &all {
        let stream = event.stream.as_str();
        let (position, digest) = (event.position, &event.body_digest);
        hash = chain_hash(&hash, position, stream, event.version, &event.kind, event.at_ms, digest);
        assert_eq!(event.hash, hash);
    }
    assert_eq!(log.head(), Head { position: 10, hash });
    let odd = log.read_stream(&stream("odd"), 2, 3).unwrap();
    assert_eq!(odd.iter().map(|event| event.version).collect::<Vec<_>>(), [4, 6, 8]);
    assert_eq!(log.read_all(4, 2).unwrap(), all[4..6]);
    assert!(log.read_all(10, 5).unwrap().is_empty());
}

#[test]
fn one_of_many_racers_wins() {
    let place = Place::new();
    let log = place.open();
    let answers = block_on(join_all(
        (0..64).map(|number| log.append(one(number, "race", 0, b"mine"))),
    ));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().skip(1) {
        assert!(
            matches!(
                answer,
                Err(AppendError::Conflict {
                    expected: 0,
                    actual: 1,
                    ..
                })
            ),
            "{answer:?}"
        );
    }
    assert_eq!(log.head().position, 1);
}

#[test]
fn a_repeated_command_gets_the_first_answer() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        let both = tokio::join!(log.append(one(1, "a", 0, b"x")), log.append(one(1, "a", 0, b"x")));
        let (first, again) = (both.0.unwrap(), both.1.unwrap());
        assert_eq!((first.replayed, again.replayed), (false, true));
        assert_eq!((first.first, &first.answer), (again.first, &again.answer));
        let mut other = one(1, "a", 1, b"y");
        other.answer = b"another".to_vec();
        assert!(matches!(log.append(other).await, Err(AppendError::IdReused)));
        assert_eq!(
            log.command(&one(1, "a", 0, b"x").command_id).unwrap().unwrap().answer,
            b"1"
        );
    });
    assert_eq!(log.head().position, 1);
}

#[test]
fn an_append_is_whole_or_absent() {
    let place = Place::new();
    let log = place.open();
    let mut append = one(1, "a", 0, b"x");
    append.writes.extend(one(1, "b", 7, b"y").writes);
    block_on(async {
        let answer = log.append(append.clone()).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Conflict {
                    actual: 0,
                    expected: 7,
                    ..
                })
            ),
            "{answer:?}"
        );
        assert_eq!((log.head().position, log.stream_version(&stream("a")).unwrap()), (0, 0));
        append.writes[1].expected = 0;
        append.writes[1].events = (0..20).map(|_| event("Many", &[1; 500])).collect();
        let appended = log.append(append).await.unwrap();
        assert_eq!((appended.first, appended.last), (1, 21));
    });
    assert_eq!(log.stream_version(&stream("b")).unwrap(), 21);
}

#[test]
fn limits_are_kept_and_named() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        let largest = log.append(one(1, "a", 0, &vec![3; MAX_BODY_BYTES])).await.unwrap();
        assert_eq!(largest.last, 1);
        let larger = log.append(one(2, "a", 1, &vec![3; MAX_BODY_BYTES + 1])).await;
        assert!(
            matches!(
                larger,
                Err(AppendError::TooLarge {
                    what: "an event's body",
                    ..
                })
            ),
            "{larger:?}"
        );
        let mut many = one(3, "a", 1, b"");
        many.writes[0].events = (0..9).map(|_| event("Big", &[0; 30_000])).collect();
        assert!(matches!(
            log.append(many).await,
            Err(AppendError::TooLarge { what: "the append", .. })
        ));
        let mut twice = one(4, "a", 1, b"");
        twice.writes.extend(twice.writes.clone());
        assert!(matches!(log.append(twice).await, Err(AppendError::Invalid { .. })));
        let mut summary = one(5, "a", 1, b"");
        summary.writes[0].events[0].kind = "Summarised".to_owned();
        assert!(matches!(log.append(summary).await, Err(AppendError::Invalid { .. })));
    });
    assert_eq!(log.head().position, 1);
}

#[test]
fn the_head_is_followed() {
    let place = Place::new();
    let log = place.open();
    let mut heads = log.subscribe();
    block_on(async {
        log.append(one(1, "a", 0, b"x")).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), heads.changed())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*heads.borrow(), log.head());
        assert_eq!(log.head().position, 1);
    });
}

#[test]
fn a_follower_gets_every_event_once_and_waits_at_the_end() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        for number in 0..5 {
            log.append(one(number, &format!("s-{number}"), 0, b"x")).await.unwrap();
        }
        let mut follower = Follower::new(Arc::new(log.clone()), 2);
        assert_eq!(follower.next(2).await.unwrap().last().unwrap().position, 4);
        assert_eq!(follower.next(9).await.unwrap().len(), 1);
        let late = async {
            tokio::task::yield_now().await;
            log.append(one(9, "late", 0, b"x")).await.unwrap();
        };
        let (found, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), follower.next(9)), late);
        assert_eq!((found.unwrap().unwrap()[0].position, follower.position()), (6, 6));
    });
}

#[test]
fn a_closed_log_refuses_appends_and_frees_its_lock() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        log.append(one(1, "a", 0, b"x")).await.unwrap();
        log.flush_and_close().await.unwrap();
        assert!(matches!(
            log.append(one(2, "a", 1, b"x")).await,
            Err(AppendError::Closed)
        ));
        log.flush_and_close().await.unwrap();
    });
    assert_eq!(log.read_all(0, 9).unwrap().len(), 1);
    let head = log.head();
    drop(log);
    assert_eq!(place.open().head(), head);
}

#[test]
fn a_held_store_is_tried_for_the_given_time_then_named() {
    let place = Place::new();
    let log = place.open();
    let second = SledLog::open(
        place.path(),
        OpenOptions::new().lock_timeout(Duration::from_millis(200)),
    );
    assert!(
        matches!(second, Err(StoreError::Locked { waited_ms: 200.., .. })),
        "{second:?}"
    );
    let path = place.path();
    let waiting = std::thread::spawn(move || SledLog::open(path, OpenOptions::new()).map(|log| log.head().position));
    drop(log);
    assert_eq!(waiting.join().unwrap().unwrap(), 0);
}

#[test]
fn blobs_stay_empty_with_the_largest_events() {
    let place = Place::new();
    let log = place.open_with(OpenOptions::new().tail_events(16));
    block_on(async {
        for round in 0..12u64 {
            let appends = (0..16u64).map(|number| {
                let mut append = one(
                    round * 16 + number,
                    &format!("s-{round}-{number}"),
                    0,
                    &vec![9; MAX_BODY_BYTES],
                );
                append.answer = vec![5; 8 * 1024];
                log.append(append)
            });
            for answer in join_all(appends).await {
                answer.unwrap();
            }
        }
        log.flush_and_close().await.unwrap();
    });
    drop(log);
    assert_eq!(blobs(&place.path()), 0);
    assert_eq!(place.open().head().position, 12 * 16);
}

#[test]
fn a_torn_snapshot_is_removed_and_nothing_else() {
    let place = Place::new();
    drop(place.open());
    for name in ["snap.0000000000000001.generating", "snap-of-mine", "other.generating"] {
        std::fs::write(place.path().join(name), b"torn").unwrap();
    }
    drop(place.open());
    assert!(!place.path().join("snap.0000000000000001.generating").exists());
    assert!(place.path().join("snap-of-mine").exists() && place.path().join("other.generating").exists());
}

#[test]
fn an_altered_row_halts_the_store_and_tells_the_hook() {
    let place = Place::new();
    let log = place.open();
    block_on(async {
        log.append(one(1, "a", 0, b"genuine")).await.unwrap();
        log.append(one(2, "a", 1, b"second")).await.unwrap();
    });
    drop(log);
    {
        let db = sled::Config::new()
            .path(place.path())
            .segment_size(8 << 20)
            .open()
            .unwrap();
        let rows = db.open_tree("events").unwrap();
        let mut row = rows.get(1u64.to_be_bytes()).unwrap().unwrap().to_vec();
        let at = row.windows(7).position(|window| window == b"genuine").unwrap();
        row[at] = b'G';
        rows.insert(1u64.to_be_bytes(), row).unwrap();
        db.flush().unwrap();
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    // The tail is read at the start, so this store does not even open.
    let opened = SledLog::open(place.path(), OpenOptions::new());
    assert!(
        matches!(opened, Err(StoreError::Broken { position: 1, .. })),
        "{opened:?}"
    );
    let sound = Place::new();
    let log = sound.open_with(OpenOptions::new().on_fault(move |error| sink.lock().unwrap().push(error.to_string())));
    block_on(async {
        log.append(one(1, "a", 0, b"genuine")).await.unwrap();
        log.alter_for_tests(1, b"genuine", b"Genuine");
        assert!(matches!(
            log.read_all(0, 9),
            Err(StoreError::Broken { position: 1, .. })
        ));
        let answer = log.append(one(2, "a", 1, b"x")).await;
        assert!(
            matches!(
                answer,
                Err(AppendError::Storage(StoreError::Broken { position: 1, .. }))
            ),
            "{answer:?}"
        );
    });
    assert!(log.stream_version(&stream("a")).is_err());
    assert_eq!(told.lock().unwrap().len(), 1);
}
