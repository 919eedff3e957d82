//! A service's request loop: every request gets an answer, whatever came in.
//!
//! [`ServiceBuilder`] takes a handler per verb and per word of devices. The loop reads, checks and dispatches: unknown verbs,
//! undecodable bodies, tokens, signatures, repeated commands and too much at once are answered here; a handler that panics
//! fails its own request with `internal`, nothing else. It publishes the signed head, answers `events-read` to those services
//! that follow this one, and announces itself as the NATS services API wants it.

mod announce;
mod audited;
mod dispatch;
mod gate;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::audit;
use borealis_bus_schema::codec;
use borealis_bus_schema::ids::{CorrelationId, Guid, RoleName, VerbName};
use borealis_bus_schema::messages::Request;
use borealis_bus_schema::messages::audit::{LIST_VERB, NoteRefusals, VERIFY_VERB};
use borealis_bus_schema::permissions;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{self, BusVerb, Need, Right, Route};
use borealis_bus_schema::subjects::{Service, filter};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{BoxFuture, EventLog};
use ed25519_dalek::SigningKey;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::audit::{AuditIndex, Recorder};
use crate::auth::{Authoriser, Caller};
use crate::bus::{Bus, BusError, Incomings};
use crate::clock::Clock;
use crate::follow::Freshness;
use crate::heads;
use crate::keys::{self, KeyFileError};
use crate::operator::{OperatorCtx, PublicCtx, is_public, unencodable};
use crate::paths::Paths;
use crate::ready::ReadyMark;
use crate::shutdown::{DRAIN, Shutdown};
use gate::Gate;

/// Says how much a service does at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Operators' calls and public ones; long polls count while they wait.
    pub operators: usize,
    /// Requests of other services.
    pub services: usize,
    /// Words of devices.
    pub devices: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operators: 512,
            services: 512,
            devices: 4_096,
        }
    }
}

/// Is a request of another service, beside its body.
#[derive(Debug, Clone)]
pub struct InternalCtx {
    /// Whom the biscuit speaks for, when the verb needs a right.
    pub caller: Option<Caller>,
    /// The biscuit as it came.
    pub biscuit: Option<String>,
    /// The act it belongs to.
    pub correlation: CorrelationId,
    /// When it was received, by this service's clock.
    pub now: Timestamp,
}

/// Is a word from a device. The bus's permissions prove the sender; a signature inside, where there is one, is the handler's.
#[derive(Debug, Clone)]
pub struct Tell {
    /// The device.
    pub guid: Guid,
    /// The role that speaks.
    pub role: RoleName,
    /// What it tells.
    pub verb: VerbName,
    /// The body, still encoded; shared with the message that it came in.
    pub body: bytes::Bytes,
    /// When it was received, by this service's clock.
    pub now: Timestamp,
}

impl Tell {
    /// Decodes the body.
    ///
    /// Errors: `malformed`, `too_large`, `too_deep`.
    pub fn decode<T: serde::de::DeserializeOwned>(&self) -> Reply<T> {
        Ok(codec::decode(&self.body)?)
    }
}

type OperatorFn = Arc<dyn Fn(OperatorCtx) -> BoxFuture<'static, Reply<String>> + Send + Sync>;
type PublicFn = Arc<dyn Fn(PublicCtx) -> BoxFuture<'static, Reply<String>> + Send + Sync>;
type InternalFn = Arc<dyn Fn(InternalCtx, Vec<u8>) -> BoxFuture<'static, Reply<Vec<u8>>> + Send + Sync>;
type TellFn = Arc<dyn Fn(Tell) -> BoxFuture<'static, Reply<Vec<u8>>> + Send + Sync>;

enum Verb {
    Operator {
        route: &'static Route,
        handle: OperatorFn,
    },
    Public {
        route: &'static Route,
        handle: PublicFn,
    },
    Internal {
        known: &'static BusVerb,
        askers: Vec<Service>,
        handle: InternalFn,
    },
    EventsRead,
    Audit(AuditVerb),
}

/// Names a verb of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AuditVerb {
    List,
    Verify,
    Note,
}

struct TellHandler {
    role: String,
    verb: String,
    handle: TellFn,
}

/// Says why a service could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A verb is not in the table of routes, or of another kind.
    #[error("{service} has no {kind} verb {verb:?} in the table of routes")]
    Verb {
        /// The service.
        service: Service,
        /// What it was registered as.
        kind: &'static str,
        /// The verb.
        verb: String,
    },
    /// The bus could not be used.
    #[error("the bus could not be used")]
    Bus(#[from] BusError),
    /// The service's own key cannot be read.
    #[error("the service's key cannot be read")]
    Key(#[from] KeyFileError),
    /// A task without which the service is not whole ended before its time.
    #[error("a task of the service ended before the service did")]
    TaskEnded,
}

/// Is what a service hears, subscribed to.
struct Heard {
    requests: Incomings,
    announcements: Incomings,
    tells: Vec<(Incomings, TellFn)>,
}

/// Collects what a service does, then runs it.
pub struct ServiceBuilder {
    service: Service,
    paths: Paths,
    bus: Bus,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    authoriser: Arc<Authoriser>,
    key: Option<SigningKey>,
    verbs: BTreeMap<String, Verb>,
    tells: Vec<TellHandler>,
    secret_kinds: BTreeSet<&'static str>,
    limits: Limits,
    ready_when: Vec<Freshness>,
    index: Option<Arc<AuditIndex>>,
    recorder: Arc<Recorder>,
    at_end: Vec<JoinHandle<()>>,
    wrong: Option<ServeError>,
}

impl ServiceBuilder {
    /// Begins a service.
    pub fn new(
        service: Service,
        paths: Paths,
        bus: Bus,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        authoriser: Arc<Authoriser>,
    ) -> Self {
        let recorder = Arc::new(Recorder::new(Arc::clone(&log), Arc::clone(&clock)));
        Self {
            service,
            paths,
            bus,
            log,
            clock,
            authoriser,
            recorder,
            key: None,
            verbs: BTreeMap::new(),
            tells: Vec::new(),
            // Who did what is nothing that other services decide by.
            secret_kinds: BTreeSet::from([audit::KIND]),
            limits: Limits::default(),
            ready_when: Vec::new(),
            index: None,
            at_end: Vec::new(),
            wrong: None,
        }
    }

    /// Names the key that signs heads; without it, it is read from the service's key folder.
    #[must_use]
    pub fn head_key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Names kinds of events whose bodies no other service sees.
    #[must_use]
    pub fn secret_kinds(mut self, kinds: &[&'static str]) -> Self {
        self.secret_kinds.extend(kinds.iter().copied());
        self
    }

    /// Sets how much it does at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets it count as ready, and answer anything but `stale`, only once this and whatever was named before were fresh.
    ///
    /// What follows it is still told its events. Whoever decides by something that has to stay fresh asks again each time.
    #[must_use]
    pub fn ready_when(mut self, fresh: Freshness) -> Self {
        self.ready_when.push(fresh);
        self
    }

    /// Waits for a task of the service once everything is answered, before the log is closed; the task ends by the shutdown.
    /// One that ends earlier ends the service, which its supervisor starts anew.
    #[must_use]
    pub fn at_end(mut self, task: JoinHandle<()>) -> Self {
        self.at_end.push(task);
        self
    }

    /// Returns what keeps refusals; for acts that come on other ways than the request loop, as a device's answer to an order.
    pub fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// Lets it answer for its audit; without, nobody can list or verify it on-line.
    #[must_use]
    pub fn audit_index(mut self, index: Arc<AuditIndex>) -> Self {
        self.index = Some(index);
        self
    }

    fn reject(&mut self, kind: &'static str, verb: &str) {
        self.wrong.get_or_insert(ServeError::Verb {
            service: self.service,
            kind,
            verb: verb.to_owned(),
        });
    }

    /// Takes the handler of an operator's verb; what it returns becomes the JSON answer.
    #[must_use]
    pub fn operator<F, Fut, A>(mut self, verb: &str, handler: F) -> Self
    where
        F: Fn(OperatorCtx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Reply<A>> + Send + 'static,
        A: Serialize,
    {
        match routes::of_verb(self.service, verb).filter(|route| !is_public(route.need)) {
            Some(route) => {
                let handle: OperatorFn = Arc::new(move |ctx| {
                    let answer = handler(ctx);
                    Box::pin(async move { serde_json::to_string(&answer.await?).map_err(unencodable) })
                });
                self.verbs.insert(verb.to_owned(), Verb::Operator { route, handle });
            }
            None => self.reject("operator's", verb),
        }
        self
    }

    /// Takes the handler of a public verb; what it returns becomes the JSON answer.
    #[must_use]
    pub fn public<F, Fut, A>(mut self, verb: &str, handler: F) -> Self
    where
        F: Fn(PublicCtx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Reply<A>> + Send + 'static,
        A: Serialize,
    {
        match routes::of_verb(self.service, verb).filter(|route| is_public(route.need)) {
            Some(route) => {
                let handle: PublicFn = Arc::new(move |ctx| {
                    let answer = handler(ctx);
                    Box::pin(async move { serde_json::to_string(&answer.await?).map_err(unencodable) })
                });
                self.verbs.insert(verb.to_owned(), Verb::Public { route, handle });
            }
            None => self.reject("public", verb),
        }
        self
    }

    /// Takes the handler of a verb that other services ask.
    #[must_use]
    pub fn internal<R, F, Fut>(mut self, handler: F) -> Self
    where
        R: Request + 'static,
        R::Reply: 'static,
        F: Fn(InternalCtx, R) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Reply<R::Reply>> + Send + 'static,
    {
        let known = routes::BUS_VERBS
            .iter()
            .find(|known| known.service == self.service && known.verb == R::VERB && R::SERVICE == self.service);
        match known {
            Some(known) => {
                let handler = Arc::new(handler);
                let handle: InternalFn = Arc::new(move |ctx, body| {
                    let handler = Arc::clone(&handler);
                    Box::pin(async move {
                        let request: R = codec::decode(&body)?;
                        drop(body);
                        encode_reply(handler(ctx, request).await)
                    })
                });
                let askers = askers_of(self.service, R::VERB);
                self.verbs
                    .insert(R::VERB.to_owned(), Verb::Internal { known, askers, handle });
            }
            None => self.reject("internal", R::VERB),
        }
        self
    }

    /// Takes the handler of a word that devices tell; role `*` hears it from every role.
    #[must_use]
    pub fn tell<F, Fut, A>(mut self, role: &str, verb: &str, handler: F) -> Self
    where
        F: Fn(Tell) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Reply<A>> + Send + 'static,
        A: Serialize + Send,
    {
        if !permissions::tells_heard_by(self.service).contains(&(role, verb)) {
            self.reject("device's", verb);
            return self;
        }
        let handle: TellFn = Arc::new(move |tell| {
            let answer = handler(tell);
            Box::pin(async move { encode_reply(answer.await) })
        });
        self.tells.push(TellHandler {
            role: role.to_owned(),
            verb: verb.to_owned(),
            handle,
        });
        self
    }

    /// Serves until the shutdown begins, then finishes what was begun.
    ///
    /// Errors: [`ServeError`], before anything is served; [`ServeError::TaskEnded`] after.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), ServeError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let key = match self.key.take() {
            Some(key) => key,
            None => keys::read_signing_key(&self.paths.service_key(self.service))?,
        };
        self.verbs.insert("events-read".to_owned(), Verb::EventsRead);
        let audit = [
            (LIST_VERB, AuditVerb::List, self.index.is_some()),
            (VERIFY_VERB, AuditVerb::Verify, self.index.is_some()),
            (
                NoteRefusals::VERB,
                AuditVerb::Note,
                self.service == NoteRefusals::SERVICE,
            ),
        ];
        for (verb, which, _) in audit.into_iter().filter(|(_, _, here)| *here) {
            self.verbs.insert(verb.to_owned(), Verb::Audit(which));
        }
        let name = self.service.name();
        let mut tasks: Tasks = std::mem::take(&mut self.at_end).into_iter().collect();
        // The bus may be away: a service that is told to stop waits for it no longer.
        let heard = tokio::select! {
            heard = self.hear() => heard?,
            () = shutdown.wait() => {
                finish(&mut tasks, Instant::now() + DRAIN).await;
                return outcome(&shutdown);
            }
        };
        tasks.push(tokio::spawn(heads::publish(
            key.clone(),
            self.bus.clone(),
            Arc::clone(&self.log),
            Arc::clone(&self.clock),
            shutdown.clone(),
        )));
        let gate = Arc::new(Gate::new(std::mem::take(&mut self.ready_when)));
        tasks.push(tokio::spawn(mark_ready(
            self.paths.clone(),
            self.service,
            Arc::clone(&gate),
            shutdown.clone(),
        )));
        let recorder = Arc::clone(&self.recorder);
        let (counting, ends) = (Arc::clone(&recorder), shutdown.clone());
        tasks.push(tokio::spawn(async move { counting.run(ends).await }));
        if let Some(index) = &self.index {
            tasks.push(tokio::spawn(keep_up(Arc::clone(index), shutdown.clone())));
        }
        tracing::info!(service = name, "serving");
        let (bus, log, clock) = (self.bus.clone(), Arc::clone(&self.log), Arc::clone(&self.clock));
        let mut serving = pin!(self.serve(heard, gate, &recorder, &shutdown));
        let until = loop {
            tokio::select! {
                until = &mut serving => break until,
                Some(ended) = tasks.next() => {
                    note_end(&ended);
                    if !shutdown.begun() {
                        tracing::error!("a task of the service ended before its time; the service ends, to start anew");
                        shutdown.fail();
                    }
                }
            }
        };
        recorder.write_counted().await;
        finish(&mut tasks, until).await;
        // The last head: whoever countersigns learns of what was written while the service stopped.
        let leave = async {
            heads::tell(&key, &bus, log.as_ref(), clock.as_ref()).await;
            bus.flush().await
        };
        match tokio::time::timeout(LEAVE, leave).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last answers may not have left"),
            Err(_) => tracing::warn!("the bus is away: the last answers may not have left"),
        }
        tracing::info!(service = name, "stopped serving");
        outcome(&shutdown)
    }

    /// Subscribes to what the service hears; the subscriptions stand at the bus before anyone is told that it answers.
    async fn hear(&self) -> Result<Heard, BusError> {
        let name = self.service.name();
        let requests = self.bus.listen(filter::service(self.service), Some(name)).await?;
        let announcements = self.bus.listen("$SRV.>".to_owned(), None).await?;
        let mut tells = Vec::new();
        for tell in &self.tells {
            let subject = filter::all_devices_tell(&tell.role, &tell.verb);
            let incomings = self.bus.listen(subject, Some(name)).await?;
            tells.push((incomings, Arc::clone(&tell.handle)));
        }
        self.bus.flush().await?;
        Ok(Heard {
            requests,
            announcements,
            tells,
        })
    }

    /// Serves until the shutdown begins; returns until when the service may go on with what it has begun.
    async fn serve(self, heard: Heard, gate: Arc<Gate>, recorder: &Arc<Recorder>, shutdown: &Shutdown) -> Instant {
        let Heard {
            requests,
            announcements,
            tells,
        } = heard;
        let limits = self.limits;
        let core = Arc::new(dispatch::Core {
            service: self.service,
            log: self.log,
            clock: self.clock,
            authoriser: self.authoriser,
            secret_kinds: self.secret_kinds,
            shutdown: shutdown.clone(),
            stats: announce::Stats::new(self.verbs.keys()),
            audit: Arc::clone(recorder),
            gate,
            turns: Arc::default(),
            index: self.index,
            verbs: self.verbs,
            operators: Arc::new(Semaphore::new(limits.operators)),
            services: Arc::new(Semaphore::new(limits.services)),
            devices: Arc::new(Semaphore::new(limits.devices)),
        });
        let mut loops = JoinSet::new();
        loops.spawn(dispatch::requests(Arc::clone(&core), requests, shutdown.clone()));
        loops.spawn(announce::answer(Arc::clone(&core), announcements, shutdown.clone()));
        for (incomings, handle) in tells {
            loops.spawn(dispatch::tells(Arc::clone(&core), incomings, handle, shutdown.clone()));
        }
        shutdown.wait().await;
        let until = Instant::now() + DRAIN;
        while loops.join_next().await.is_some() {}
        core.drained(until, limits).await;
        until
    }
}

/// Is what the service waits for at its end.
type Tasks = FuturesUnordered<JoinHandle<()>>;

/// Waits for tasks that end by the shutdown.
async fn finish(tasks: &mut Tasks, until: Instant) {
    let rest = async {
        while let Some(ended) = tasks.next().await {
            note_end(&ended);
        }
    };
    let until = until.max(Instant::now() + LAST);
    if tokio::time::timeout_at(until, rest).await.is_err() {
        tracing::warn!("a task of the service did not end in time");
    }
}

fn outcome(shutdown: &Shutdown) -> Result<(), ServeError> {
    if shutdown.failed() {
        return Err(ServeError::TaskEnded);
    }
    Ok(())
}

/// Tells of a task that did not come to its own end.
fn note_end(ended: &Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the service failed");
    }
}

/// Keeps the index of the audit near the log's end, so that a look into it never waits for hours of events.
async fn keep_up(index: Arc<AuditIndex>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEEP_UP) => {}
            () = shutdown.wait() => return,
        }
        let index = Arc::clone(&index);
        match tokio::task::spawn_blocking(move || index.catch_up()).await {
            Ok(Ok(_)) => {}
            // A storage error has its own way out.
            Ok(Err(error)) => tracing::warn!(%error, "the index of the audit does not keep up"),
            Err(error) => tracing::error!(%error, "the index of the audit does not keep up"),
        }
    }
}

/// Says that the service answers, from when it can until the shutdown begins.
async fn mark_ready(paths: Paths, service: Service, gate: Arc<Gate>, shutdown: Shutdown) {
    tokio::select! {
        () = gate.opened() => {}
        () = shutdown.wait() => return,
    }
    let mark = loop {
        match ReadyMark::write(&paths, service) {
            Ok(mark) => break mark,
            Err(error) => tracing::error!(%error, "the ready file cannot be written; it is tried again"),
        }
        tokio::select! {
            () = tokio::time::sleep(READY_AGAIN) => {}
            () = shutdown.wait() => return,
        }
    };
    tracing::info!(service = service.name(), "ready");
    shutdown.wait().await;
    drop(mark);
}

fn encode_reply<A: Serialize>(reply: Reply<A>) -> Reply<Vec<u8>> {
    // The body of a refusal is written where the request is answered.
    let value = reply?;
    borealis_bus_schema::reply::encode(&Ok(value)).map_err(WireError::from)
}

/// Lists the services whose users may publish a request to a verb.
fn askers_of(service: Service, verb: &str) -> Vec<Service> {
    Service::ALL
        .into_iter()
        .filter(|asker| permissions::verbs_asked_by(*asker).contains(&(service, verb)))
        .collect()
}

/// Lists the services that follow one.
fn followers_of(service: Service) -> impl Iterator<Item = Service> {
    Service::ALL
        .into_iter()
        .filter(move |other| permissions::followed_by(*other).contains(&service))
}

/// Is how long a request may take here before it is given up.
const HANDLER_TIMEOUT: Duration = Duration::from_millis(permissions::SERVICE_RESPONSE_MS.unsigned_abs());

/// Is how long the last head and the last answers may take to leave: while the bus is away they never do.
const LEAVE: Duration = Duration::from_secs(1);

/// Is how long tasks are given to end at least, also when the last requests took all the time there was.
const LAST: Duration = Duration::from_millis(500);

/// Is the pause before a ready file that could not be written is tried again.
const READY_AGAIN: Duration = Duration::from_secs(1);

/// Is how often the index of the audit takes in what is new.
const KEEP_UP: Duration = Duration::from_secs(20);

const fn need_of(right: Right) -> Need {
    Need::Right(right)
}
