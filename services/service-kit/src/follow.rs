//! Following another service: its signed heads, and its events up to them, verified.
//!
//! The bus may drop, delay or invent anything. A head counts only when the owner's key signed it; events count only when the
//! hash chain over them ends in a head that counts. So a follower reads pages up to a head, hashing, and hands nothing on
//! until the whole stretch fits; where the stretch has many pages it notes the hash at each page's end, and reads again.
//!
//! A mismatch halts the follower: it goes on trying, says so as an error, and its [`Freshness`] ends, so that whoever
//! decides by what it feeds answers `stale`.
//!
//! Instants compare only while the clock goes on. After it was set back the newest word known lies in the future: it counts
//! for nothing then, and the owner's next head takes its place, unless that one stands at an earlier position.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, Signed};
use borealis_bus_schema::ids::VerbName;
use borealis_bus_schema::messages::events::{EventRow, EventsPage, EventsRead, Head};
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{GENESIS, body_digest, chain_hash};
use thiserror::Error;
use tokio::sync::watch;

use crate::bus::{Bus, BusError, RequestOptions};
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// Is how far ahead of this machine's clock a head may be, in milliseconds.
const AHEAD_MS: i64 = 5_000;
/// Is how many events are asked for at once.
const PAGE_EVENTS: u32 = 500;
/// Is how long one page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Is how often somebody who waits for freshness looks.
const LOOK: Duration = Duration::from_millis(20);
/// Is the pause after something failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Is a place in a log: a position and the chain's hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The position; 0 before everything.
    pub position: u64,
    /// The chain's hash after it.
    pub hash: [u8; 32],
}

impl Place {
    /// Returns the place before the first event.
    pub const fn genesis() -> Self {
        Self {
            position: 0,
            hash: GENESIS,
        }
    }
}

/// Is a verified stretch of events.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The events, in order; never empty.
    pub events: Vec<EventRow>,
    /// The place after the last; whoever keeps it can go on from there.
    pub end: Place,
}

/// Tells how old the newest word from an owner is. Handles are cheap to clone.
#[derive(Clone)]
pub struct Freshness {
    at_ms: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
}

impl Freshness {
    /// Makes one that is never fresh before it is told.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            at_ms: Arc::new(AtomicI64::new(i64::MIN)),
            clock,
        }
    }

    /// Tells whether everything up to a head at most that many milliseconds old has been taken in.
    ///
    /// A head further ahead than one may be tells nothing: the clock was set back since.
    pub fn within(&self, ms: i64) -> bool {
        let at = self.at_ms.load(Ordering::SeqCst);
        at != i64::MIN && (-AHEAD_MS..=ms).contains(&self.clock.now().unix_ms().saturating_sub(at))
    }

    /// Waits until everything up to a head at most that many milliseconds old has been taken in.
    pub async fn wait(&self, ms: i64) {
        while !self.within(ms) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says that everything up to a head of that instant has been taken in; goes back only from an instant that is yet to come.
    pub fn note(&self, head_at_ms: i64) {
        let now_ms = self.clock.now().unix_ms();
        let newer = |known: i64| {
            if known > now_ms {
                head_at_ms
            } else {
                known.max(head_at_ms)
            }
        };
        let _ = self
            .at_ms
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |known| Some(newer(known)));
    }

    /// Says that nothing can be relied on.
    pub fn lose(&self) {
        self.at_ms.store(i64::MIN, Ordering::SeqCst);
    }
}

/// Says whose log is followed, and from where.
pub struct FollowConfig {
    /// The connection.
    pub bus: Bus,
    /// The owner of the log.
    pub owner: Service,
    /// The owner's key, from the trust file.
    pub key: PublicKey,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where to go on; [`Place::genesis`] for what is kept in memory only.
    pub from: Place,
    /// Ends it.
    pub shutdown: Shutdown,
}

/// Says why a stretch was not taken in.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The owner did not answer, or said no.
    #[error("{owner} did not give its events")]
    Read {
        /// The owner.
        owner: Service,
        /// What it said.
        #[source]
        source: reply::WireError,
    },
    /// What was read does not end in what the owner signed.
    #[error("the events of {owner} do not fit its signed head at position {position}: {why}")]
    Mismatch {
        /// The owner.
        owner: Service,
        /// Where it shows.
        position: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// Whoever takes the events in could not.
    #[error("events of {owner} behind position {position} could not be taken in: {reason}")]
    Handler {
        /// The owner.
        owner: Service,
        /// Behind which position.
        position: u64,
        /// What it said.
        reason: String,
    },
}

/// Is a running follower.
#[derive(Clone)]
pub struct Follower {
    fresh: Freshness,
    reached: watch::Receiver<Place>,
}

impl Follower {
    /// Begins to follow; `take` is handed verified stretches in order, and the same one again after it failed.
    ///
    /// Errors: [`BusError::Client`].
    pub async fn start<F, Fut>(config: FollowConfig, take: F) -> Result<Self, BusError>
    where
        F: FnMut(Stretch) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let clock = Arc::clone(&config.clock);
        let heads = watch_heads(&config.bus, config.owner, config.key, clock, &config.shutdown).await?;
        let fresh = Freshness::new(Arc::clone(&config.clock));
        let (sender, reached) = watch::channel(config.from);
        let task = FollowTask {
            reader: Reader {
                source: BusPages {
                    bus: config.bus,
                    owner: config.owner,
                },
                owner: config.owner,
            },
            place: config.from,
            fresh: fresh.clone(),
            reached: sender,
            take,
        };
        let shutdown = config.shutdown;
        let needed = shutdown.needs("follower");
        tokio::spawn(async move {
            let _needed = needed;
            tokio::select! {
                () = task.run(heads) => {}
                () = shutdown.wait() => {}
            }
        });
        Ok(Self { fresh, reached })
    }

    /// Returns the age of what it knows.
    pub fn freshness(&self) -> Freshness {
        self.fresh.clone()
    }

    /// Tells whether everything up to a head at most that many milliseconds old has been taken in.
    pub fn fresh_within(&self, ms: i64) -> bool {
        self.fresh.within(ms)
    }

    /// Follows the place up to which events have been taken in.
    pub fn reached(&self) -> watch::Receiver<Place> {
        self.reached.clone()
    }

    /// Waits until it has caught up with a fresh head, at most for a time; tells whether it did.
    pub async fn caught_up(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.fresh.wait(AHEAD_MS)).await.is_ok()
    }
}

/// Listens to a service's heads and gives the newest one whose signature holds; a service that cannot hear them any more ends.
///
/// Errors: [`BusError::Client`].
pub async fn watch_heads(
    bus: &Bus,
    owner: Service,
    key: PublicKey,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<watch::Receiver<Option<Head>>, BusError> {
    let mut incomings = bus.listen(Subject::Head { service: owner }.to_string(), None).await?;
    let (sender, receiver) = watch::channel(None);
    let needed = shutdown.needs("listener to heads");
    tokio::spawn(async move {
        let _needed = needed;
        while let Some(message) = incomings.next().await {
            match read_head(message.body(), owner, &key, clock.as_ref()) {
                Ok(head) => {
                    let now = clock.now();
                    sender.send_if_modified(|newest: &mut Option<Head>| {
                        let newer = newest.as_ref().is_none_or(|known| is_newer(known, &head, now));
                        if newer {
                            *newest = Some(head);
                        }
                        newer
                    });
                }
                Err(why) => tracing::warn!(owner = %owner, why, "a head is not believed"),
            }
        }
    });
    Ok(receiver)
}

/// Tells whether a head says more than the one known.
///
/// A later instant or a later position does; an earlier position at a later instant does too, since whoever follows has to
/// see that the owner went back. What is neither is a repetition, unless the known one is from a time that the clock was set
/// back from: then any head of the owner that did not go back counts.
fn is_newer(known: &Head, head: &Head, now: Timestamp) -> bool {
    let was_set_back = known.at.since_ms(now) > AHEAD_MS;
    known.at < head.at
        || known.position < head.position
        || was_set_back && known.position == head.position && known.at != head.at
}

/// Reads a head as it travels, and says why it is not believed.
pub(crate) fn read_head(body: &[u8], owner: Service, key: &PublicKey, clock: &dyn Clock) -> Result<Head, &'static str> {
    let signed: Signed = codec::decode(body).map_err(|_| "it cannot be read")?;
    let head: Head = signed
        .open(key, Form::Head)
        .map_err(|_| "the owner's key did not sign it")?;
    if head.service != owner {
        return Err("it is another service's");
    }
    if head.at.since_ms(clock.now()) > AHEAD_MS {
        return Err("it is from the future");
    }
    Ok(head)
}

/// Gives pages of an owner's events; the bus in life, a list in tests.
pub(crate) trait Pages: Send + Sync {
    fn page(&self, after: u64) -> impl Future<Output = reply::Reply<EventsPage>> + Send;
}

struct BusPages {
    bus: Bus,
    owner: Service,
}

impl Pages for BusPages {
    async fn page(&self, after: u64) -> reply::Reply<EventsPage> {
        let ask = EventsRead {
            after,
            limit: PAGE_EVENTS,
        };
        let options = RequestOptions {
            timeout: Some(PAGE_TIMEOUT),
            ..RequestOptions::default()
        };
        let subject = Subject::Service {
            service: self.owner,
            verb: VerbName::new("events-read").map_err(|e| reply::WireError::new(Code::Internal, e.to_string()))?,
        };
        let body = codec::encode(&ask)?;
        reply::decode(&self.bus.request_raw(&subject, body, &options).await?)
    }
}

struct FollowTask<P, F> {
    reader: Reader<P>,
    place: Place,
    fresh: Freshness,
    reached: watch::Sender<Place>,
    take: F,
}

impl<P, F, Fut> FollowTask<P, F>
where
    P: Pages,
    F: FnMut(Stretch) -> Fut + Send,
    Fut: Future<Output = Result<(), String>> + Send,
{
    async fn run(mut self, mut heads: watch::Receiver<Option<Head>>) {
        let mut failing = false;
        loop {
            let head = heads.borrow_and_update().clone();
            let outcome = match &head {
                Some(head) => self.catch_up(head).await,
                None => Ok(()),
            };
            match outcome {
                Ok(()) => {
                    if failing {
                        tracing::info!(owner = %self.reader.owner, "its events are followed again");
                    }
                    failing = false;
                    if heads.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let mismatch = matches!(error, FollowError::Mismatch { .. });
                    if mismatch {
                        self.fresh.lose();
                    }
                    if !failing {
                        report(&error, mismatch);
                    }
                    failing = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn catch_up(&mut self, head: &Head) -> Result<(), FollowError> {
        if head.position < self.place.position {
            return Err(self
                .reader
                .mismatch(head.position, "the owner went back behind what it had signed"));
        }
        if head.position == self.place.position {
            if head.hash.0 != self.place.hash {
                return Err(self
                    .reader
                    .mismatch(head.position, "the owner signed another hash than before"));
            }
            self.fresh.note(head.at.unix_ms());
            return Ok(());
        }
        let marks = self.reader.marks_up_to(self.place, head).await?;
        for (mark, stretch) in marks {
            let stretch = match stretch {
                Some(stretch) => stretch,
                None => self.reader.read_to(self.place, mark).await?,
            };
            let end = stretch.end;
            (self.take)(stretch).await.map_err(|reason| FollowError::Handler {
                owner: self.reader.owner,
                position: self.place.position,
                reason,
            })?;
            self.place = end;
            self.reached.send_replace(end);
        }
        self.fresh.note(head.at.unix_ms());
        Ok(())
    }
}

/// Reads an owner's events and checks the chain over them.
struct Reader<P> {
    source: P,
    owner: Service,
}

impl<P: Pages> Reader<P> {
    /// Reads and hashes up to a head; gives the place at the end of each page, and the page itself when it is the only one.
    async fn marks_up_to(&self, from: Place, head: &Head) -> Result<Vec<(Place, Option<Stretch>)>, FollowError> {
        let mut marks = Vec::new();
        let mut place = from;
        while place.position < head.position {
            let stretch = self.read(place, head.position).await?;
            place = stretch.end;
            let only = marks.is_empty() && place.position == head.position;
            marks.push((place, only.then_some(stretch)));
        }
        if place.hash != head.hash.0 {
            return Err(self.mismatch(head.position, "the chain over them ends in another hash"));
        }
        Ok(marks)
    }

    /// Reads again up to a place whose hash is already known to be right.
    async fn read_to(&self, from: Place, mark: Place) -> Result<Stretch, FollowError> {
        let mut events = Vec::new();
        let mut place = from;
        while place.position < mark.position {
            let mut stretch = self.read(place, mark.position).await?;
            place = stretch.end;
            events.append(&mut stretch.events);
        }
        if place == mark {
            Ok(Stretch { events, end: place })
        } else {
            Err(self.mismatch(mark.position, "they changed between two reads"))
        }
    }

    async fn read(&self, from: Place, last: u64) -> Result<Stretch, FollowError> {
        let page = self
            .source
            .page(from.position)
            .await
            .map_err(|source| FollowError::Read {
                owner: self.owner,
                source,
            })?;
        let mut events = page.events;
        events.retain(|event| event.position <= last);
        let mut end = from;
        for event in &events {
            end = self.link(end, event)?;
        }
        if events.is_empty() {
            return Err(self.mismatch(from.position, "events are missing behind it"));
        }
        Ok(Stretch { events, end })
    }

    fn link(&self, before: Place, event: &EventRow) -> Result<Place, FollowError> {
        let position = before.position.saturating_add(1);
        if event.position != position {
            return Err(self.mismatch(position, "an event is missing"));
        }
        if let Some(body) = &event.body
            && body_digest(body) != event.body_digest.0
        {
            return Err(self.mismatch(position, "a body was altered"));
        }
        let hash = chain_hash(
            &before.hash,
            position,
            &event.stream,
            position,
            &event.kind,
            event.at_ms,
            &event.body_digest.0,
        );
        Ok(Place { position, hash })
    }

    fn mismatch(&self, position: u64, why: &'static str) -> FollowError {
        FollowError::Mismatch {
            owner: self.owner,
            position,
            why,
        }
    }
}

fn report(error: &FollowError, mismatch: bool) {
    use std::error::Error as _;
    let cause = error.source().map(ToString::to_string);
    if mismatch {
        tracing::error!(%error, "a followed log cannot be believed; nothing is decided by it");
    } else {
        tracing::warn!(%error, cause, "a followed log could not be read; it is tried again");
    }
}

#[cfg(test)]
mod tests;
