//! A disk that takes no more.

use std::collections::BTreeMap;
use std::process::Command;

use borealis_event_store::{EventLog, STORAGE_EXIT_CODE};

use crate::probe::{self, Probe, Word, body_of, stream_of};
use crate::support::{Place, stream};

/// Makes writes fail beyond a file size of some MiB, as a full disk does, then becomes the given program.
const LIMITED: [&str; 4] = ["sh", "-c", "trap '' XFSZ; ulimit -f 8192; exec \"$@\"", "sh"];

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
