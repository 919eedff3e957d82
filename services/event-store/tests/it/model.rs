//! Random histories against a model in memory.

use std::collections::BTreeMap;

use borealis_event_store::{
    Append, AppendError, Appended, COMMAND_LIFE_MS, Compaction, EventLog, EventRecord, NewEvent, OpenOptions, SledLog,
    SledView, StreamWrite, Summary, VerifyReport, View, ViewBatch, ViewError, export, import, verify,
};
use futures_util::future::join_all;
use proptest::prelude::*;

use crate::support::{Place, blobs, block_on, id, stream};

const STREAMS: u8 = 5;

/// One command of a random history, before it is known where the streams stand.
#[derive(Debug, Clone)]
struct Draft {
    id: u8,
    digest: u8,
    days: i64,
    writes: Vec<DraftWrite>,
}

#[derive(Debug, Clone)]
struct DraftWrite {
    stream: u8,
    stale: bool,
    bodies: Vec<u16>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Commands that are sent together.
    Commands(Vec<Draft>),
    Reopen,
    /// Drops the bodies of a stream up to a position.
    Compact {
        stream: u8,
        upto: u8,
    },
    /// Lets the view catch up.
    View,
    ReadAll {
        after: u8,
        limit: u8,
    },
    ReadStream {
        stream: u8,
        after: u8,
        limit: u8,
    },
}

fn draft() -> impl Strategy<Value = Draft> {
    let body = prop_oneof![8 => 0u16..400, 1 => 1_000u16..9_000];
    let write = (
        0..STREAMS,
        prop::bool::weighted(0.15),
        prop::collection::vec(body, 0..4),
    );
    let write = write.prop_map(|(stream, stale, bodies)| DraftWrite { stream, stale, bodies });
    let writes = prop::collection::vec(write, 1..4);
    (
        0u8..24,
        prop::bool::weighted(0.1),
        prop_oneof![6 => Just(0i64), 1 => 0i64..25],
        writes,
    )
        .prop_map(|(id, other, days, mut writes)| {
            writes.sort_by_key(|write| write.stream);
            writes.dedup_by_key(|write| write.stream);
            Draft {
                id,
                digest: u8::from(other),
                days,
                writes,
            }
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(draft(), 1..12).prop_map(Step::Commands),
        1 => Just(Step::Reopen),
        1 => (0..STREAMS, any::<u8>()).prop_map(|(stream, upto)| Step::Compact { stream, upto }),
        1 => Just(Step::View),
        2 => (any::<u8>(), 0u8..40).prop_map(|(after, limit)| Step::ReadAll { after, limit }),
        2 => (0..STREAMS, any::<u8>(), 0u8..40)
            .prop_map(|(stream, after, limit)| Step::ReadStream { stream, after, limit }),
    ]
}

/// An event as the model knows it: stream, kind, body when it was not dropped, time.
type ModelEvent = (String, String, Option<Vec<u8>>, i64);
/// A command as the model knows it: digest, time, what it was answered.
type ModelCommand = ([u8; 32], i64, Appended);

#[derive(Debug, Default)]
struct Model {
    events: Vec<ModelEvent>,
    commands: BTreeMap<[u8; 16], ModelCommand>,
    now_ms: i64,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Made(Appended),
    Conflict { stream: String, actual: u64 },
    IdReused,
}

impl Model {
    fn version(&self, name: &str) -> u64 {
        self.events
            .iter()
            .rposition(|event| event.0 == name)
            .map_or(0, |index| index as u64 + 1)
    }

    fn append(&mut self, append: &Append) -> Outcome {
        let now = self.now_ms.max(append.at_ms);
        if let Some((digest, at_ms, answer)) = self.commands.get(&append.command_id)
            && now - at_ms <= COMMAND_LIFE_MS
        {
            let again = Outcome::Made(Appended {
                replayed: true,
                ..answer.clone()
            });
            return if *digest == append.command_digest {
                again
            } else {
                Outcome::IdReused
            };
        }
        for write in &append.writes {
            let actual = self.version(write.stream.as_str());
            if actual != write.expected {
                return Outcome::Conflict {
                    stream: write.stream.to_string(),
                    actual,
                };
            }
        }
        let before = self.events.len() as u64;
        for write in &append.writes {
            for event in &write.events {
                let name = write.stream.to_string();
                self.events
                    .push((name, event.kind.clone(), Some(event.body.clone()), append.at_ms));
            }
        }
        let last = self.events.len() as u64;
        let first = if last == before { before } else { before + 1 };
        let appended = Appended {
            first,
            last,
            answer: append.answer.clone(),
            replayed: false,
        };
        if last > before {
            self.now_ms = now;
            let made = (append.command_digest, append.at_ms, appended.clone());
            self.commands.insert(append.command_id, made);
        }
        Outcome::Made(appended)
    }

    /// Does what a compaction does; gives how many bodies went.
    fn compact(&mut self, compaction: &Compaction) -> u64 {
        self.now_ms = self.now_ms.max(compaction.at_ms);
        let mut dropped = 0;
        for summary in &compaction.summaries {
            let name = summary.stream.to_string();
            for (index, event) in self.events.iter_mut().enumerate() {
                if event.0 == name && (index as u64) < compaction.upto && event.2.take().is_some() {
                    dropped += 1;
                }
            }
            self.events.push((
                name,
                "Summarised".to_owned(),
                Some(summary.body.clone()),
                compaction.at_ms,
            ));
        }
        dropped
    }
}

/// Digests of all events, by stream.
struct Digests;

impl View for Digests {
    const NAME: &'static str = "digests";

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        let key = event.stream.as_str().as_bytes();
        let mut row = batch.get(key)?.unwrap_or_default();
        row.extend_from_slice(&event.body_digest[..4]);
        batch.put(key, row)
    }
}

fn export_of(view: &SledView<Digests>) -> Vec<u8> {
    let mut bytes = Vec::new();
    view.export(&mut bytes).unwrap();
    bytes
}

/// Checks that the view is the same when it is made anew, and what verifying, exporting and importing say.
fn check_upkeep(log: &SledLog, model: &Model) {
    let view = SledView::open(log, Digests).unwrap();
    view.catch_up().unwrap();
    let grown = export_of(&view);
    view.rebuild().unwrap();
    assert!(
        export_of(&view) == grown,
        "the view is another one when it is made anew"
    );
    let dropped = model.events.iter().filter(|event| event.2.is_none()).count() as u64;
    let report = verify(log, &[log.head()]).unwrap();
    assert_eq!(
        report,
        VerifyReport {
            checked: model.events.len() as u64,
            dropped,
            head: log.head()
        }
    );
    let mut bytes = Vec::new();
    export(log, &mut bytes).unwrap();
    let copy = Place::new();
    import(copy.path(), &mut bytes.as_slice()).unwrap();
    check_all(&copy.open_with(OpenOptions::new().tail_events(5)), model);
}

fn name(number: u8) -> String {
    format!("stream-{number}")
}

/// Makes a draft into an append that is right at the model's state, or stale by intent.
fn append_of(draft: &Draft, model: &Model, salt: usize, clock_ms: i64) -> Append {
    let writes = draft.writes.iter().map(|write| {
        let actual = model.version(&name(write.stream));
        StreamWrite {
            stream: stream(&name(write.stream)),
            expected: if write.stale { actual + 1 } else { actual },
            events: write
                .bodies
                .iter()
                .enumerate()
                .map(|(index, len)| NewEvent {
                    kind: format!("Kind{index}"),
                    body: (0..*len).map(|at| (usize::from(at) * 31 + salt) as u8).collect(),
                })
                .collect(),
        }
    });
    Append {
        command_id: id(u64::from(draft.id)),
        command_digest: [draft.digest; 32],
        at_ms: clock_ms,
        writes: writes.collect(),
        answer: format!("answer {salt}").into_bytes(),
    }
}

fn outcome(answer: Result<Appended, AppendError>) -> Outcome {
    match answer {
        Ok(appended) => Outcome::Made(appended),
        Err(AppendError::Conflict { stream, actual, .. }) => Outcome::Conflict {
            stream: stream.to_string(),
            actual,
        },
        Err(AppendError::IdReused) => Outcome::IdReused,
        Err(other) => panic!("{other:?}"),
    }
}

fn check_all(log: &SledLog, model: &Model) {
    assert_eq!(log.head().position, model.events.len() as u64);
    check_read(log, model, 0, usize::MAX);
    for number in 0..STREAMS {
        assert_eq!(
            log.stream_version(&stream(&name(number))).unwrap(),
            model.version(&name(number))
        );
        check_stream(log, model, number, 0, usize::MAX);
    }
    for (id, (digest, at_ms, answer)) in &model.commands {
        let found = log.command(id).unwrap();
        assert_eq!(found.is_some(), model.now_ms - at_ms <= COMMAND_LIFE_MS);
        if let Some(found) = found {
            assert_eq!(
                (found.digest, found.answer, found.last),
                (*digest, answer.answer.clone(), answer.last)
            );
        }
    }
}

fn check_read(log: &SledLog, model: &Model, after: u64, limit: usize) {
    let found = log.read_all(after, limit).unwrap();
    let expected = model.events.iter().enumerate().skip(after as usize).take(limit);
    assert_eq!(found.len(), expected.len());
    for (record, (index, event)) in found.into_iter().zip(expected) {
        assert_eq!((record.position, record.version), (index as u64 + 1, index as u64 + 1));
        assert_eq!(
            (record.stream.to_string(), record.kind, record.body, record.at_ms),
            *event
        );
    }
}

fn check_stream(log: &SledLog, model: &Model, number: u8, after: u64, limit: usize) {
    let found = log.read_stream(&stream(&name(number)), after, limit).unwrap();
    let of_stream = |(index, event): &(usize, &ModelEvent)| *index as u64 >= after && event.0 == name(number);
    let expected: Vec<_> = model.events.iter().enumerate().filter(of_stream).take(limit).collect();
    assert_eq!(found.len(), expected.len());
    for (record, (index, event)) in found.into_iter().zip(expected) {
        assert_eq!((record.version, record.body), (index as u64 + 1, event.2.clone()));
    }
}

fn play(steps: &[Step], tail_events: usize) {
    let place = Place::new();
    let options = || OpenOptions::new().tail_events(tail_events);
    let mut log = place.open_with(options());
    let mut model = Model::default();
    let mut clock_ms = 1_000_000;
    let mut salt = 0;
    for step in steps {
        match step {
            Step::Commands(drafts) => {
                let mut expected = Vec::new();
                let mut appends = Vec::new();
                for draft in drafts {
                    salt += 1;
                    clock_ms += draft.days * 24 * 60 * 60 * 1000 + 1;
                    let append = append_of(draft, &model, salt, clock_ms);
                    expected.push(model.append(&append));
                    appends.push(append);
                }
                let answers = block_on(join_all(appends.into_iter().map(|append| log.append(append))));
                let answers: Vec<_> = answers.into_iter().map(outcome).collect();
                assert_eq!(answers, expected);
            }
            Step::Reopen => {
                drop(log);
                log = place.open_with(options());
                check_all(&log, &model);
            }
            Step::Compact { stream: number, upto } => {
                salt += 1;
                clock_ms += 1;
                let target = stream(&name(*number));
                let expected = model.version(target.as_str());
                let body = format!("summary {salt}").into_bytes();
                let compaction = Compaction {
                    command_id: id(1_000 + salt as u64),
                    at_ms: clock_ms,
                    upto: u64::from(*upto),
                    summaries: vec![Summary {
                        stream: target,
                        expected,
                        body,
                    }],
                };
                let dropped = model.compact(&compaction);
                assert_eq!(block_on(log.compact(compaction)).unwrap().dropped, dropped);
            }
            Step::View => {
                SledView::open(&log, Digests).unwrap().catch_up().unwrap();
            }
            Step::ReadAll { after, limit } => check_read(&log, &model, u64::from(*after), usize::from(*limit)),
            Step::ReadStream { stream, after, limit } => {
                check_stream(&log, &model, *stream, u64::from(*after), usize::from(*limit));
            }
        }
    }
    check_all(&log, &model);
    check_upkeep(&log, &model);
    assert_eq!(blobs(&place.path()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_behaves_as_its_model(
        steps in prop::collection::vec(step(), 1..20),
        tail_events in prop_oneof![Just(3usize), Just(20), Just(8192)],
    ) {
        play(&steps, tail_events);
    }
}
