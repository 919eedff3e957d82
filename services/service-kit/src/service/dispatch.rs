//! From a message to its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::{Code, Side};
use borealis_bus_schema::envelope;
use borealis_bus_schema::ids::{CommandId, CorrelationId, MessageId, OperatorId};
use borealis_bus_schema::messages::events::EventsRead;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall};
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::routes::{BusVerb, Route, Tenancy};
use borealis_bus_schema::subjects::{Service, Subject};
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::EventLog;
use futures_util::FutureExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use super::announce::Stats;
use super::audited;
use super::gate::Gate;
use super::turns::Turns;
use super::{
    HANDLER_TIMEOUT, InternalCtx, InternalFn, Limits, OperatorFn, PublicFn, Tell, TellFn, Verb, followers_of, need_of,
};
use crate::audit::{Act, AuditIndex, Recorder, within};
use crate::auth::{Authoriser, Question};
use crate::bus::{Incoming, Incomings};
use crate::clock::Clock;
use crate::heads;
use crate::operator::{OperatorCtx, PublicCtx, admit, route_param, store_error};
use crate::random;
use crate::shutdown::Shutdown;

/// Is what every request of a service shares.
pub(super) struct Core {
    pub(super) service: Service,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) authoriser: Arc<Authoriser>,
    pub(super) secret_kinds: BTreeSet<&'static str>,
    pub(super) shutdown: Shutdown,
    pub(super) verbs: BTreeMap<String, Verb>,
    pub(super) stats: Stats,
    pub(super) audit: Arc<Recorder>,
    pub(super) gate: Arc<Gate>,
    pub(super) turns: Arc<Turns>,
    pub(super) index: Option<Arc<AuditIndex>>,
    pub(super) operators: Arc<Semaphore>,
    pub(super) services: Arc<Semaphore>,
    pub(super) devices: Arc<Semaphore>,
}

impl Core {
    /// Waits until everything that was begun is answered, at most until an instant.
    pub(super) async fn drained(&self, until: tokio::time::Instant, limits: Limits) {
        let all = async {
            for (room, size) in [
                (&self.operators, limits.operators),
                (&self.services, limits.services),
                (&self.devices, limits.devices),
            ] {
                // Fails only for a closed semaphore; none is closed.
                let _ = room.acquire_many(u32::try_from(size).unwrap_or(u32::MAX)).await;
            }
        };
        if tokio::time::timeout_at(until, all).await.is_err() {
            tracing::warn!("some requests were still open when the service stopped");
        }
    }
}

/// Reads requests until the shutdown begins; what was delivered by then is refused, not dropped.
pub(super) async fn requests(core: Arc<Core>, mut incomings: Incomings, shutdown: Shutdown) {
    // One whose requests do not come any more would be ready and deaf.
    let _needed = shutdown.needs("reader of requests");
    loop {
        let message = tokio::select! {
            message = incomings.next() => message,
            () = shutdown.wait() => break,
        };
        match message {
            Some(message) => begin(&core, message),
            None => return,
        }
    }
    refuse_rest(incomings).await;
}

async fn refuse_rest(mut incomings: Incomings) {
    let rest = async {
        incomings.end().await;
        while let Some(message) = incomings.next().await {
            send(&message, Err(stopping())).await;
        }
    };
    // The bus answers the end of a subscription at once; when it is away there is nobody to refuse.
    let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
}

fn stopping() -> WireError {
    WireError::new(Code::ShuttingDown, "the service is stopping")
}

fn overloaded() -> WireError {
    WireError::new(Code::Overloaded, "the service is at its limit")
}

/// Finds the verb, takes a place, and answers in a task of its own.
fn begin(core: &Arc<Core>, message: Incoming) {
    let verb = match message.subject().parse() {
        Ok(Subject::Service { verb, .. }) => verb.as_str().to_owned(),
        _ => String::new(),
    };
    let room = match core.verbs.get(&verb) {
        Some(Verb::Operator { .. } | Verb::Public { .. }) => &core.operators,
        Some(Verb::Internal { .. } | Verb::EventsRead | Verb::Audit(_)) | None => &core.services,
    };
    let permit = Arc::clone(room).try_acquire_owned();
    let core = Arc::clone(core);
    let correlation: CorrelationId = message.header_id(envelope::CORRELATION_ID).unwrap_or_else(random::id);
    let message_id = message.header_id::<MessageId>(envelope::MESSAGE_ID);
    let span = tracing::info_span!(
        "request",
        verb,
        correlation_id = %correlation,
        message_id = message_id.map(tracing::field::display),
    );
    let work = async move {
        let began = Instant::now();
        let reply = match permit {
            Ok(permit) => guarded(answer(&core, &verb, &message, correlation), permit).await,
            Err(_) => Err(overloaded()),
        };
        core.stats.note(&verb, began.elapsed(), reply.as_ref().err());
        note_refusal(&verb, reply.as_ref().err());
        send(&message, reply).await;
    };
    tokio::spawn(work.instrument(span));
}

/// Runs a handler: a panic and a handler that never ends fail this request only.
async fn guarded(handler: impl Future<Output = Reply<Vec<u8>>>, permit: OwnedSemaphorePermit) -> Reply<Vec<u8>> {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    let outcome = tokio::time::timeout(HANDLER_TIMEOUT, caught).await;
    drop(permit);
    match outcome {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => {
            tracing::error!("a request could not be answered: its handler panicked");
            Err(WireError::new(
                Code::Internal,
                "the request failed in an unforeseen way",
            ))
        }
        Err(_) => Err(WireError::new(Code::DeadlineExceeded, "the request took too long")),
    }
}

fn note_refusal(verb: &str, error: Option<&WireError>) {
    match error {
        Some(error) if error.code.side() == Side::Server => {
            tracing::warn!(verb, code = %error.code, "a request failed: {}", error.message);
        }
        Some(error) => tracing::debug!(verb, code = %error.code, "a request was refused: {}", error.message),
        None => tracing::debug!(verb, "a request was answered"),
    }
}

async fn send(message: &Incoming, reply: Reply<Vec<u8>>) {
    if !message.wants_answer() {
        return;
    }
    let body = match reply {
        Ok(body) => Ok(body),
        Err(error) => reply::encode::<()>(&Err(error)),
    };
    match body {
        Ok(body) => {
            if let Err(error) = message.answer(body).await {
                tracing::warn!(%error, "an answer could not be sent");
            }
        }
        Err(error) => tracing::error!(%error, "an answer could not be encoded"),
    }
}

fn known_schema(message: &Incoming) -> Reply<()> {
    if envelope::schema_is_known(message.header(envelope::SCHEMA)) {
        Ok(())
    } else {
        Err(WireError::new(
            Code::UnknownSchema,
            "the schema's major version is not known here",
        ))
    }
}

async fn answer(core: &Arc<Core>, verb: &str, message: &Incoming, correlation: CorrelationId) -> Reply<Vec<u8>> {
    if core.shutdown.begun() {
        return Err(stopping());
    }
    if let Err(refused) = known_schema(message) {
        return no_call(core, verb, message, correlation, Err(refused)).await;
    }
    let handler = core.verbs.get(verb);
    // Whoever follows this service is told its events at once: two services may wait for each other's.
    if matches!(
        handler,
        Some(Verb::Operator { .. } | Verb::Public { .. } | Verb::Internal { .. })
    ) {
        core.gate.pass()?;
    }
    match handler {
        None => {
            let refused = Err(WireError::new(Code::UnknownVerb, "this service has no such verb"));
            no_call(core, verb, message, correlation, refused).await
        }
        Some(Verb::EventsRead) => {
            let reply = events_read(core, message).await;
            no_call(core, verb, message, correlation, reply).await
        }
        Some(Verb::Audit(which)) => audited::answer(core, *which, message, correlation).await,
        Some(Verb::Operator { route, handle }) => operator(core, route, handle, message, correlation).await,
        Some(Verb::Public { route, handle }) => public(core, route, handle, message, correlation).await,
        Some(Verb::Internal { known, askers, handle }) => {
            let asks = Asked { known, askers, handle };
            let act = audited::of_internal(core, verb, askers, message, correlation);
            let reply = within(act.clone(), internal(core, asks, message, &act)).await;
            core.audit.end(&act, audited::outcome(&reply), false).await;
            reply
        }
    }
}

/// Keeps the refusal of a message that is no act of anybody whom it names: the bus alone says who asks.
async fn no_call(
    core: &Core,
    verb: &str,
    message: &Incoming,
    correlation: CorrelationId,
    reply: Reply<Vec<u8>>,
) -> Reply<Vec<u8>> {
    if reply.is_err() {
        let act = audited::of_internal(core, verb, &Service::ALL, message, correlation);
        core.audit.end(&act, audited::outcome(&reply), false).await;
    }
    reply
}

fn json_answer(json: String) -> Reply<Vec<u8>> {
    Ok(reply::encode(&Ok(OperatorAnswer { json }))?)
}

async fn operator(
    core: &Arc<Core>,
    route: &'static Route,
    handle: &OperatorFn,
    message: &Incoming,
    correlation: CorrelationId,
) -> Reply<Vec<u8>> {
    let call: OperatorCall = match codec::decode(message.body()) {
        Ok(call) => call,
        Err(error) => return no_call(core, route.verb, message, correlation, Err(error.into())).await,
    };
    let now = core.clock.now();
    let act = audited::of_call(route, &call, now, correlation);
    let biscuit = message.header(envelope::BISCUIT);
    let work = admitted(
        core,
        route,
        handle,
        call,
        Asker {
            biscuit,
            correlation,
            now,
            act: &act,
        },
    );
    let reply = within(act.clone(), work).await;
    core.audit.end(&act, audited::outcome(&reply), route.changes).await;
    reply
}

/// Is what stands beside an operator's call.
struct Asker<'a> {
    biscuit: Option<&'a str>,
    correlation: CorrelationId,
    now: Timestamp,
    act: &'a Act,
}

async fn admitted(
    core: &Arc<Core>,
    route: &'static Route,
    handle: &OperatorFn,
    call: OperatorCall,
    asker: Asker<'_>,
) -> Reply<Vec<u8>> {
    let (caller, command, param) = admit(route, &call, asker.biscuit, &core.authoriser, asker.now)
        .inspect_err(|_| audited::note_speaker(asker.act, &core.authoriser, asker.biscuit))?;
    audited::note_caller(asker.act, &caller);
    let digest = command_digest(&call, &caller.operator);
    // Whoever repeats a command while it is worked on waits for the first answer.
    let _turn = match command {
        Some(command) => Some(core.turns.take(command).await),
        None => None,
    };
    if let Some(command) = command
        && let Some(first) = answered_before(core, &command, &digest)?
    {
        asker.act.leaves_nothing();
        return json_answer(first);
    }
    let ctx = OperatorCtx {
        command: command.unwrap_or_else(random::id),
        digest,
        param,
        correlation: asker.correlation,
        biscuit: asker.biscuit.unwrap_or_default().to_owned(),
        now: asker.now,
        shutdown: core.shutdown.clone(),
        route,
        act: asker.act.clone(),
        caller,
        call,
    };
    if command.is_some() {
        borealis_fail_points::reached("CS1");
    }
    let answer = handle(ctx).await?;
    if command.is_some() {
        borealis_fail_points::reached("CS4");
    }
    json_answer(answer)
}

/// Tells a repetition from another command: what is asked, and who asks.
fn command_digest(call: &OperatorCall, operator: &OperatorId) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(call.digest());
    digest.update(operator.as_bytes());
    digest.finalize().into()
}

/// Gives the first answer to a command that was made before.
///
/// Errors: `id_reused` when the id was used for another command, `storage_failed`.
fn answered_before(core: &Core, command: &CommandId, digest: &[u8; 32]) -> Reply<Option<String>> {
    let record = core
        .log
        .command(command.as_bytes())
        .map_err(|error| store_error(&error))?;
    match record {
        None => Ok(None),
        Some(record) if &record.digest != digest => Err(WireError::new(
            Code::IdReused,
            "the command id was used before for another command",
        )),
        // An answer that is no text was not written by a handler of an operator's verb; the handler knows what to do.
        Some(record) => Ok(String::from_utf8(record.answer).ok().filter(|text| !text.is_empty())),
    }
}

async fn public(
    core: &Arc<Core>,
    route: &'static Route,
    handle: &PublicFn,
    message: &Incoming,
    correlation: CorrelationId,
) -> Reply<Vec<u8>> {
    let call: OperatorCall = match codec::decode(message.body()) {
        Ok(call) => call,
        Err(error) => return no_call(core, route.verb, message, correlation, Err(error.into())).await,
    };
    let now = core.clock.now();
    let act = audited::of_call(route, &call, now, correlation);
    let work = async {
        let ctx = PublicCtx {
            param: route_param(route, &call)?,
            correlation,
            now,
            shutdown: core.shutdown.clone(),
            call,
        };
        json_answer(handle(ctx).await?)
    };
    let reply = within(act.clone(), work).await;
    // Steps that change nothing, polls above all, leave nothing.
    core.audit.end(&act, audited::outcome(&reply), false).await;
    reply
}

struct Asked<'a> {
    known: &'static BusVerb,
    askers: &'a [Service],
    handle: &'a InternalFn,
}

async fn internal(core: &Arc<Core>, asked: Asked<'_>, message: &Incoming, act: &Act) -> Reply<Vec<u8>> {
    // Only the asker hears its private replies; nobody else learns anything by naming them.
    if !asked.askers.iter().any(|asker| message.answers_to(asker.name())) {
        return Err(not_for_you());
    }
    let biscuit = message.header(envelope::BISCUIT);
    let caller = match asked.known.need {
        None => None,
        Some(right) => {
            let question = Question {
                need: need_of(right),
                resource: None,
                via: asked.askers,
            };
            let decided = core.authoriser.decide(biscuit, question);
            let caller = decided.inspect_err(|_| audited::note_speaker(act, &core.authoriser, biscuit))?;
            audited::note_caller(act, &caller);
            if asked.known.tenancy == Tenancy::Deployment && !caller.may_on_all(right) {
                return Err(WireError::new(
                    Code::OutOfScope,
                    "this reaches the whole deployment, and the right does not",
                ));
            }
            Some(caller)
        }
    };
    let record = act.record();
    let ctx = InternalCtx {
        caller,
        biscuit: biscuit.map(ToOwned::to_owned),
        correlation: record.correlation,
        now: record.at,
    };
    (asked.handle)(ctx, message.body().to_vec()).await
}

pub(super) fn not_for_you() -> WireError {
    WireError::new(Code::RightMissing, "this verb is not for whoever asks")
}

async fn events_read(core: &Arc<Core>, message: &Incoming) -> Reply<Vec<u8>> {
    if !followers_of(core.service).any(|follower| message.answers_to(follower.name())) {
        return Err(not_for_you());
    }
    let ask: EventsRead = codec::decode(message.body())?;
    let core = Arc::clone(core);
    let page = tokio::task::spawn_blocking(move || heads::read_page(core.log.as_ref(), &core.secret_kinds, &ask))
        .await
        .map_err(|_| WireError::new(Code::Internal, "the events could not be read"))??;
    Ok(reply::encode(&Ok(page))?)
}

/// Reads words of devices until the shutdown begins.
pub(super) async fn tells(core: Arc<Core>, mut incomings: Incomings, handle: TellFn, shutdown: Shutdown) {
    let _needed = shutdown.needs("reader of devices' words");
    loop {
        let message = tokio::select! {
            message = incomings.next() => message,
            () = shutdown.wait() => break,
        };
        match message {
            Some(message) => begin_tell(&core, message, &handle),
            None => return,
        }
    }
    refuse_rest(incomings).await;
}

fn begin_tell(core: &Arc<Core>, message: Incoming, handle: &TellFn) {
    let permit = Arc::clone(&core.devices).try_acquire_owned();
    let (core, handle) = (Arc::clone(core), Arc::clone(handle));
    tokio::spawn(async move {
        let reply = match permit {
            Ok(permit) => guarded(told(&core, &message, &handle), permit).await,
            Err(_) => Err(overloaded()),
        };
        note_refusal("tell", reply.as_ref().err());
        send(&message, reply).await;
    });
}

async fn told(core: &Arc<Core>, message: &Incoming, handle: &TellFn) -> Reply<Vec<u8>> {
    core.gate.pass()?;
    let Ok(Subject::DeviceTell { guid, role, verb }) = message.subject().parse() else {
        return Err(WireError::new(Code::UnknownVerb, "this is no word of a device"));
    };
    let now = core.clock.now();
    let act = || audited::of_tell(guid, &role, &verb, now, message);
    if let Err(refused) = known_schema(message) {
        let reply = Err(refused);
        core.audit.end(&act(), audited::outcome(&reply), false).await;
        return reply;
    }
    let tell = Tell {
        guid,
        role: role.clone(),
        verb: verb.clone(),
        body: message.payload(),
        now,
    };
    if audited::is_hint(&verb) {
        // Hints come by the million and are believed by nobody: only what is refused of them is kept.
        let reply = handle(tell).await;
        if reply.is_err() {
            core.audit.end(&act(), audited::outcome(&reply), false).await;
        }
        return reply;
    }
    let act = act();
    let reply = within(act.clone(), handle(tell)).await;
    core.audit.end(&act, audited::outcome(&reply), false).await;
    reply
}
