//! Kills without warning lose nothing that was acknowledged, and let nothing happen twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use borealis_event_store::{EventLog, NewEvent, OpenOptions};
use futures_util::future::join_all;

use crate::probe::{self, Probe, Word, body_of, stream_of};
use crate::support::{Place, blobs, block_on, one, stream};

/// Kills while the process serves.
const SERVING_KILLS: usize = 25;
/// Kills while it reads its log at the start.
const REPLAY_KILLS: usize = 5;
/// Events that make the replay long enough to be hit.
const LARGE_LOG: u64 = 100_000;
/// How long it may take until enough kills have landed, on a machine whose disk and processors much else keeps busy.
const PATIENCE: Duration = Duration::from_secs(420);
/// Commands kept unanswered at any time.
const WINDOW: usize = 64;
/// Fewer unanswered commands than this, and a kill does not count.
const UNANSWERED: usize = 8;

/// What the test knows of the commands it sent: this is the process that records the acknowledgements.
#[derive(Default)]
struct Records {
    next: u64,
    open: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, u64>,
}

impl Records {
    fn new_command(&mut self) -> u64 {
        self.next += 1;
        self.open.insert(self.next);
        self.next
    }

    /// Records a word of the process; `taken` are the commands it holds without having answered.
    fn hear(&mut self, word: Word, taken: &mut BTreeSet<u64>) {
        match word {
            Word::Taken(number) => {
                taken.insert(number);
            }
            Word::Acknowledged { number, position } => {
                taken.remove(&number);
                self.open.remove(&number);
                let before = self.acknowledged.insert(number, position);
                assert!(
                    before.is_none_or(|before| before == position),
                    "command {number} has two positions"
                );
            }
            Word::Replay | Word::Ready => {}
        }
    }
}

fn start(place: &Place, tail_events: usize, taken_first: usize) -> Probe {
    let options = probe::Options {
        store: &place.path(),
        tail_events,
        taken_first,
        skip_sync: false,
        tells_heads: false,
    };
    Probe::start(probe::command(&[], &options))
}

/// Kills a serving process after some acknowledgements; tells whether it held enough unanswered commands.
fn kill_while_serving(place: &Place, records: &mut Records, acknowledgements: usize) -> bool {
    let mut probe = start(place, 500, 0);
    let mut taken = BTreeSet::new();
    for number in &records.open {
        probe.send(*number);
    }
    for _ in records.open.len()..WINDOW {
        probe.send(records.new_command());
    }
    let mut heard = 0;
    while heard < acknowledgements {
        let word = probe.next().expect("the process ended by itself");
        records.hear(word, &mut taken);
        if matches!(word, Word::Acknowledged { .. }) {
            heard += 1;
            probe.send(records.new_command());
        }
    }
    for word in probe.kill() {
        records.hear(word, &mut taken);
    }
    taken.len() >= UNANSWERED
}

/// Kills a process while it reads its log; tells whether it had not yet finished that.
fn kill_while_replaying(place: &Place, records: &mut Records) -> bool {
    let mut probe = start(place, usize::MAX, WINDOW);
    let mut taken = BTreeSet::new();
    for number in &records.open {
        probe.send(*number);
    }
    for _ in records.open.len()..WINDOW {
        probe.send(records.new_command());
    }
    loop {
        let word = probe.next().expect("the process ended by itself");
        records.hear(word, &mut taken);
        if word == Word::Replay {
            break;
        }
    }
    let rest = probe.kill();
    let finished = rest.contains(&Word::Ready);
    for word in rest {
        records.hear(word, &mut taken);
    }
    !finished && taken.len() >= UNANSWERED
}

/// Writes a log that takes a while to read.
fn write_large_log(place: &Place) {
    let log = place.open_with(OpenOptions::new().tail_events(usize::MAX));
    let appends = (0..LARGE_LOG / 500).map(|number| {
        let mut append = one(number + (1 << 40), &format!("large-{number}"), 0, b"");
        let event = |at: u64| NewEvent {
            kind: "Filled".to_owned(),
            body: vec![at as u8; 200],
        };
        append
            .writes
            .iter_mut()
            .for_each(|write| write.events = (0..500).map(event).collect());
        log.append(append)
    });
    for appended in block_on(join_all(appends)) {
        appended.unwrap();
    }
}

/// Runs an attempt until it has landed often enough; on a loaded machine many a kill comes when all is answered already.
fn land(kills: usize, mut attempt: impl FnMut(usize) -> bool) {
    let began = Instant::now();
    let (mut landed, mut tried) = (0, 0);
    while landed < kills {
        assert!(
            began.elapsed() < PATIENCE,
            "only {landed} of {kills} kills landed in {tried} attempts"
        );
        landed += usize::from(attempt(tried));
        tried += 1;
    }
}

#[test]
fn thirty_kills_lose_nothing_acknowledged() {
    let place = Place::new();
    write_large_log(&place);
    let mut records = Records::default();
    land(REPLAY_KILLS, |_| kill_while_replaying(&place, &mut records));
    land(SERVING_KILLS, |tried| {
        kill_while_serving(&place, &mut records, 1 + tried * 37 % 250)
    });

    let mut probe = start(&place, 8192, 0);
    for number in &records.open {
        probe.send(*number);
    }
    let mut taken = BTreeSet::new();
    for word in probe.finish() {
        records.hear(word, &mut taken);
    }
    assert!(records.open.is_empty(), "unanswered at the end: {:?}", records.open);

    let log = place.open();
    let mut lost = Vec::new();
    for (number, position) in &records.acknowledged {
        let found = log.read_stream(&stream(&stream_of(*number)), 0, 10).unwrap();
        let is_whole = matches!(found.as_slice(), [event] if event.position == *position
            && event.body.as_deref() == Some(&body_of(*number)));
        if !is_whole {
            lost.push(*number);
        }
    }
    assert_eq!(
        lost,
        Vec::<u64>::new(),
        "acknowledged commands lost, altered or doubled"
    );
    assert_eq!(log.head().position, LARGE_LOG + records.acknowledged.len() as u64);
    assert_eq!(blobs(&place.path()), 0);
}
