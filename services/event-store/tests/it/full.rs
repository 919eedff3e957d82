//! A disk that takes no more.

use std::collections::BTreeMap;
use std::process::Command;

use borealis_event_store::{Append, AppendError, EventLog, OpenOptions, STORAGE_EXIT_CODE};

use crate::probe::{self, Probe, Word, body_of, stream_of};
use crate::support::{Place, block_on, one, stream};

/// Makes writes fail beyond a file size of some MiB, as a full disk does, then becomes the given program.
const LIMITED: [&str; 4] = ["sh", "-c", "trap '' XFSZ; ulimit -f 8192; exec \"$@\"", "sh"];

#[test]
fn a_store_without_room_takes_nothing_and_lives() {
    let place = Place::new();
    let log = place.open();
    block_on(log.append(one(1, "before", 0, b"kept"))).unwrap();
    drop(log);
    let no_room = OpenOptions::new()
        .reserve_bytes(u64::MAX)
        .on_fault(|error| panic!("the store ends: {error}"));
    let log = place.open_with(no_room);
    let head = log.head();
    for number in 2..5 {
        let refused = block_on(log.append(one(number, "after", 0, b"refused")));
        assert!(
            matches!(&refused, Err(AppendError::Storage(error)) if error.is_full()),
            "{refused:?}"
        );
    }
    // What adds nothing is answered as ever: a command that was made before, one that changes nothing, and a read.
    let again = block_on(log.append(one(1, "before", 0, b"kept"))).unwrap();
    assert_eq!((again.replayed, again.answer), (true, b"1".to_vec()));
    let nothing = Append {
        writes: Vec::new(),
        ..one(5, "after", 0, b"")
    };
    assert_eq!(block_on(log.append(nothing)).unwrap().answer, b"5");
    assert_eq!(log.read_all(0, 10).unwrap().len(), 1);
    assert_eq!(log.head(), head);
    drop(log);
    let log = place.open();
    let taken = block_on(log.append(one(2, "after", 0, b"refused"))).unwrap();
    assert_eq!((taken.first, taken.replayed), (2, false));
}

#[test]
fn a_store_that_cannot_write_ends_its_process_and_keeps_what_it_acknowledged() {
    let place = Place::new();
    let options = probe::Options {
        store: &place.path(),
        tail_events: 500,
        taken_first: 0,
        skip_sync: false,
        tells_heads: false,
    };
    let command: Command = probe::command(&LIMITED, &options);
    let mut probe = Probe::start(command);
    let mut acknowledged = BTreeMap::new();
    let mut sent = 64;
    (1..=sent).for_each(|number| probe.send(number));
    while let Some(word) = probe.next() {
        if let Word::Acknowledged { number, position } = word {
            acknowledged.insert(number, position);
            sent += 1;
            assert!(sent < 200_000, "the limit on the file's size is not felt");
            probe.send(sent);
        }
    }
    assert_eq!(probe.ended().code(), Some(STORAGE_EXIT_CODE));
    assert!(
        acknowledged.len() > 500,
        "only {} appends before the disk was full",
        acknowledged.len()
    );
    let log = place.open();
    for (number, position) in &acknowledged {
        let found = log.read_stream(&stream(&stream_of(*number)), 0, 9).unwrap();
        let bodies: Vec<_> = found
            .iter()
            .map(|event| (event.position, event.body.clone().unwrap()))
            .collect();
        assert_eq!(bodies, [(*position, body_of(*number))]);
    }
}
