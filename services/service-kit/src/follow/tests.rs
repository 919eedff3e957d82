use std::sync::Mutex;

use super::*;
use crate::clock::ManualClock;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::time::Timestamp;
use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);
const OWNER: Service = Service::Access;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Is an owner's log in a list, which tests alter.
#[derive(Clone, Default)]
struct Owner {
    rows: Arc<Mutex<Vec<EventRow>>>,
    hashes: Arc<Mutex<Vec<[u8; 32]>>>,
    page: usize,
}

impl Owner {
    fn with(count: u64, page: usize) -> Self {
        let owner = Self {
            page,
            ..Self::default()
        };
        for _ in 0..count {
            owner.add();
        }
        owner
    }

    fn add(&self) {
        let (mut rows, mut hashes) = (self.rows.lock().unwrap(), self.hashes.lock().unwrap());
        let position = rows.len() as u64 + 1;
        let body = position.to_be_bytes().to_vec();
        let digest = body_digest(&body);
        let before = hashes.last().copied().unwrap_or(GENESIS);
        hashes.push(chain_hash(&before, position, "s-1", position, "Happened", 7, &digest));
        rows.push(EventRow {
            position,
            stream: "s-1".into(),
            kind: "Happened".into(),
            at_ms: 7,
            body_digest: Digest(digest),
            body: Some(ByteBuf::from(body)),
        });
    }

    fn head(&self, at: Timestamp) -> Head {
        let hashes = self.hashes.lock().unwrap();
        Head {
            service: OWNER,
            position: hashes.len() as u64,
            hash: Digest(hashes.last().copied().unwrap_or(GENESIS)),
            at,
        }
    }

    fn alter(&self, change: impl FnOnce(&mut Vec<EventRow>)) {
        change(&mut self.rows.lock().unwrap());
    }
}

impl Pages for Owner {
    async fn page(&self, after: u64) -> reply::Reply<EventsPage> {
        let rows = self.rows.lock().unwrap();
        let events = rows.iter().filter(|row| row.position > after).take(self.page).cloned();
        Ok(EventsPage {
            events: events.collect(),
        })
    }
}

type Taken = Arc<Mutex<Vec<u64>>>;

type Take = Box<dyn FnMut(Stretch) -> std::future::Ready<Result<(), String>> + Send>;

fn task(owner: &Owner, from: Place) -> (FollowTask<Owner, Take>, Taken) {
    let taken = Taken::default();
    let seen = Arc::clone(&taken);
    let take = move |stretch: Stretch| {
        seen.lock()
            .unwrap()
            .extend(stretch.events.iter().map(|event| event.position));
        std::future::ready(Ok(()))
    };
    (task_with(owner, from, Box::new(take)), taken)
}

fn task_with(owner: &Owner, from: Place, take: Take) -> FollowTask<Owner, Take> {
    FollowTask {
        reader: Reader {
            source: owner.clone(),
            owner: OWNER,
        },
        place: from,
        fresh: Freshness::new(Arc::new(ManualClock::at(NOW))),
        reached: watch::channel(from).0,
        take,
    }
}

fn why(outcome: Result<(), FollowError>) -> &'static str {
    match outcome.unwrap_err() {
        FollowError::Mismatch { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn events_arrive_in_order_once_in_one_page_or_many() {
    for page in [1, 3, 7, 100] {
        let owner = Owner::with(10, page);
        let (mut task, taken) = task(&owner, Place::genesis());
        task.catch_up(&owner.head(NOW)).await.unwrap();
        owner.add();
        task.catch_up(&owner.head(NOW)).await.unwrap();
        task.catch_up(&owner.head(NOW)).await.unwrap();
        assert_eq!(*taken.lock().unwrap(), (1..=11).collect::<Vec<_>>(), "pages of {page}");
        assert!(task.fresh.within(5_000));
    }
}

#[tokio::test]
async fn it_goes_on_where_it_stood() {
    let owner = Owner::with(4, 100);
    let place = Place {
        position: 4,
        hash: owner.head(NOW).hash.0,
    };
    owner.add();
    let (mut task, taken) = task(&owner, place);
    task.catch_up(&owner.head(NOW)).await.unwrap();
    assert_eq!(*taken.lock().unwrap(), [5]);
    assert_eq!(task.reached.borrow().position, 5);
}

#[tokio::test]
async fn an_altered_body_hands_on_nothing() {
    for page in [2, 100] {
        let owner = Owner::with(6, page);
        owner.alter(|rows| rows[4].body = Some(ByteBuf::from(b"other".to_vec())));
        let (mut task, taken) = task(&owner, Place::genesis());
        assert_eq!(why(task.catch_up(&owner.head(NOW)).await), "a body was altered");
        assert!(taken.lock().unwrap().is_empty() && !task.fresh.within(i64::MAX));
    }
}

#[tokio::test]
async fn an_altered_event_does_not_end_in_the_head() {
    for page in [2, 100] {
        let owner = Owner::with(6, page);
        owner.alter(|rows| rows[1].kind = "Other".into());
        let (mut task, taken) = task(&owner, Place::genesis());
        let said = why(task.catch_up(&owner.head(NOW)).await);
        assert_eq!(said, "the chain over them ends in another hash");
        assert!(taken.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_gap_and_a_cut_tail_are_found() {
    let owner = Owner::with(6, 100);
    owner.alter(|rows| {
        rows.remove(2);
    });
    let (mut one, taken) = task(&owner, Place::genesis());
    assert_eq!(why(one.catch_up(&owner.head(NOW)).await), "an event is missing");
    let owner = Owner::with(6, 100);
    owner.alter(|rows| rows.truncate(3));
    let (mut other, also) = task(&owner, Place::genesis());
    assert_eq!(
        why(other.catch_up(&owner.head(NOW)).await),
        "events are missing behind it"
    );
    assert!(taken.lock().unwrap().is_empty() && also.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_owner_that_went_back_is_found() {
    let owner = Owner::with(6, 100);
    let (mut task, _taken) = task(&owner, Place::genesis());
    task.catch_up(&owner.head(NOW)).await.unwrap();
    let older = Owner::with(5, 100);
    assert!(why(task.catch_up(&older.head(NOW)).await).contains("went back"));
    let mut other = owner.head(NOW);
    other.hash = Digest([9; 32]);
    assert!(why(task.catch_up(&other).await).contains("another hash"));
}

#[tokio::test]
async fn a_stretch_that_was_not_taken_in_comes_again() {
    let owner = Owner::with(3, 100);
    let mut calls = 0;
    let take = move |stretch: Stretch| {
        calls += 1;
        assert_eq!(stretch.events.len(), 3);
        let outcome = if calls == 1 { Err("not now".to_owned()) } else { Ok(()) };
        std::future::ready(outcome)
    };
    let mut task = task_with(&owner, Place::genesis(), Box::new(take));
    assert!(task.catch_up(&owner.head(NOW)).await.is_err());
    assert!(!task.fresh.within(i64::MAX));
    task.catch_up(&owner.head(NOW)).await.unwrap();
    assert!(task.fresh.within(0));
}

#[test]
fn a_head_counts_only_with_the_owners_signature() {
    let clock = ManualClock::at(NOW);
    let public = PublicKey::of(&key());
    let owner = Owner::with(2, 100);
    let seal =
        |key: &SigningKey, form: Form, head: &Head| codec::encode(&Signed::seal(key, form, head).unwrap()).unwrap();
    let head = owner.head(NOW);
    let read = |body: &[u8]| read_head(body, OWNER, &public, &clock);
    assert_eq!(read(&seal(&key(), Form::Head, &head)).unwrap(), head);
    let forged = seal(&SigningKey::from_bytes(&[2; 32]), Form::Head, &head);
    assert_eq!(read(&forged).unwrap_err(), "the owner's key did not sign it");
    let other_form = seal(&key(), Form::Countersign, &head);
    assert_eq!(read(&other_form).unwrap_err(), "the owner's key did not sign it");
    let other = Head {
        service: Service::Library,
        ..head.clone()
    };
    assert_eq!(
        read(&seal(&key(), Form::Head, &other)).unwrap_err(),
        "it is another service's"
    );
    let ahead = Head {
        at: NOW.plus_ms(AHEAD_MS + 1),
        ..head
    };
    assert_eq!(
        read(&seal(&key(), Form::Head, &ahead)).unwrap_err(),
        "it is from the future"
    );
    assert_eq!(read(b"rubbish").unwrap_err(), "it cannot be read");
}

#[test]
fn a_head_is_newer_by_instant_or_position_and_a_repeated_one_never_is() {
    let (older, later) = (Owner::with(2, 100), Owner::with(3, 100));
    let known = older.head(NOW);
    assert!(is_newer(&known, &older.head(NOW.plus_ms(1)), NOW));
    assert!(
        is_newer(&known, &later.head(NOW.plus_ms(-900)), NOW),
        "the clock was set back a little"
    );
    assert!(
        is_newer(&later.head(NOW), &older.head(NOW.plus_ms(1)), NOW),
        "an owner that went back is seen"
    );
    assert!(!is_newer(&known, &known, NOW));
    assert!(!is_newer(&known, &older.head(NOW.plus_ms(-1)), NOW));
    assert!(!is_newer(&later.head(NOW), &older.head(NOW.plus_ms(-1)), NOW));
}

#[test]
fn a_head_from_a_time_that_the_clock_was_set_back_from_gives_way() {
    let (older, later) = (Owner::with(2, 100), Owner::with(3, 100));
    let known = later.head(NOW.plus_ms(3_600_000));
    assert!(is_newer(&known, &later.head(NOW), NOW));
    assert!(
        !is_newer(&known, &later.head(NOW), NOW.plus_ms(3_600_000)),
        "it is old then"
    );
    assert!(!is_newer(&known, &older.head(NOW), NOW), "one of before is repeated");
    assert!(!is_newer(&known, &known, NOW));
}

#[test]
fn freshness_is_none_after_the_clock_was_set_back_until_the_next_head() {
    let clock = Arc::new(ManualClock::at(NOW.plus_ms(3_600_000)));
    let fresh = Freshness::new(clock.clone());
    fresh.note(NOW.plus_ms(3_600_000).unix_ms());
    assert!(fresh.within(5_000));
    clock.set(NOW);
    assert!(!fresh.within(5_000) && !fresh.within(i64::MAX));
    fresh.note(NOW.plus_ms(-10).unix_ms());
    assert!(fresh.within(10));
    clock.advance_ms(5_000);
    assert!(!fresh.within(5_000), "it ends at its time again");
}

#[test]
fn freshness_never_goes_back_but_can_be_lost() {
    let clock = Arc::new(ManualClock::at(NOW));
    let fresh = Freshness::new(clock.clone());
    assert!(!fresh.within(i64::MAX));
    fresh.note(NOW.unix_ms());
    fresh.note(NOW.plus_ms(-10_000).unix_ms());
    assert!(fresh.within(0));
    clock.advance_ms(5_001);
    assert!(!fresh.within(5_000));
    fresh.lose();
    assert!(!fresh.within(i64::MAX));
}
