//! What the request loop knows of an act, and the verbs with which the audit is read.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::audit::{Actor, Outcome};
use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::envelope;
use borealis_bus_schema::forms::sha256;
use borealis_bus_schema::ids::{CorrelationId, Guid, RoleName, VerbName};
use borealis_bus_schema::messages::audit::{
    AuditFinding, AuditList, AuditVerified, AuditVerify, MAX_NOTED, NoteRefusals, RefusalsNoted,
};
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::routes::{AUDIT_ASKS, Route};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Head, StoreError, halt, verify_piece};

use super::AuditVerb;
use super::dispatch::{Core, not_for_you};
use crate::audit::{Act, AuditIndex};
use crate::auth::{Authoriser, Caller, Question};
use crate::bus::Incoming;
use crate::operator::{fits, wire_error};

/// Is how many events one piece of a check has.
const MAX_PIECE: u32 = 20_000;
/// Is how long a store that was found broken goes on, so that its answer leaves.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Begins the act of an operator's call, or of a public one.
pub(super) fn of_call(route: &Route, call: &OperatorCall, now: Timestamp, correlation: CorrelationId) -> Act {
    let act = Act::new(
        now,
        &format!("{} {}", route.method, route.path),
        route.verb,
        correlation,
    );
    act.note(|record| {
        // Only addresses: the text comes from another process.
        record.address = call.peer.parse::<std::net::IpAddr>().ok().map(|peer| peer.to_string());
        record.command = call.proof.as_ref().map(|proof| proof.command);
        if let Some(Some(id)) = route.matches(&call.method, call.path_only()) {
            record.add_object(object_kind(route.path), id);
        }
    });
    act
}

/// Names the kind of thing that the parameter of a path stands for: the word before it, as streams name it.
fn object_kind(path: &str) -> &str {
    let before = path.split("/{").next().unwrap_or_default();
    let word = before.rsplit('/').next().unwrap_or_default();
    match word {
        "assemblies" => "assembly",
        word => word.strip_suffix('s').unwrap_or(word),
    }
}

/// Begins the act of another service.
pub(super) fn of_internal(
    core: &Core,
    verb: &str,
    askers: &[Service],
    message: &Incoming,
    correlation: CorrelationId,
) -> Act {
    let act = Act::new(
        core.clock.now(),
        &format!("bus {}.{verb}", core.service),
        verb,
        correlation,
    );
    let asker = askers.iter().find(|asker| message.answers_to(asker.name()));
    act.note(|record| {
        record.via = asker.copied();
        record.actor = asker.map_or_else(Actor::anonymous, |asker| Actor::service(*asker));
    });
    act
}

/// Begins the act of a device.
pub(super) fn of_tell(guid: Guid, role: &RoleName, verb: &VerbName, now: Timestamp, message: &Incoming) -> Act {
    let correlation = message
        .header_id(envelope::CORRELATION_ID)
        .unwrap_or_else(crate::random::id);
    let act = Act::new(now, &format!("tell {role}.{verb}"), verb.as_str(), correlation);
    act.note(|record| {
        record.actor = Actor::device(&guid);
        record.add_object("device", &guid.to_string());
    });
    act
}

/// Tells whether a device's word is a hint that nobody relies on.
pub(super) fn is_hint(verb: &VerbName) -> bool {
    matches!(verb.as_str(), "output" | "state")
}

/// Adds who asks, once that is verified.
pub(super) fn note_caller(act: &Act, caller: &Caller) {
    act.note_caller(caller);
}

/// Adds whose token was refused, where this deployment minted it.
pub(super) fn note_speaker(act: &Act, authoriser: &Authoriser, biscuit: Option<&str>) {
    if let Some(caller) = authoriser.speaker(biscuit) {
        note_caller(act, &caller);
    }
}

/// Gives what became of an act.
pub(super) fn outcome<T>(reply: &Reply<T>) -> Result<(), Code> {
    reply.as_ref().map(|_| ()).map_err(|error| error.code)
}

/// Answers a verb of the audit; only the gateway asks them.
pub(super) async fn answer(
    core: &Arc<Core>,
    which: AuditVerb,
    message: &Incoming,
    correlation: CorrelationId,
) -> Reply<Vec<u8>> {
    let askers = [Service::Gateway];
    let verb = match which {
        AuditVerb::List => "audit-list",
        AuditVerb::Verify => "audit-verify",
        AuditVerb::Note => "audit-note",
    };
    let act = of_internal(core, verb, &askers, message, correlation);
    let reply = asked(core, which, message, &askers, &act).await;
    core.audit.end(&act, outcome(&reply), false).await;
    reply
}

async fn asked(
    core: &Arc<Core>,
    which: AuditVerb,
    message: &Incoming,
    askers: &[Service],
    act: &Act,
) -> Reply<Vec<u8>> {
    if !message.answers_to(Service::Gateway.name()) {
        return Err(not_for_you());
    }
    if which == AuditVerb::Note {
        return note(core, message.body()).await;
    }
    let biscuit = message.header(envelope::BISCUIT);
    may_read(&core.authoriser, biscuit, askers).inspect_err(|_| note_speaker(act, &core.authoriser, biscuit))?;
    let index = core.index.as_ref().ok_or_else(away)?;
    let body = message.body();
    match which {
        AuditVerb::List => {
            let ask: AuditList = codec::decode(body)?;
            let page = on_thread(index, move |index| index.list(&ask)).await?;
            Ok(reply::encode(&Ok(page))?)
        }
        _ => {
            let ask: AuditVerify = codec::decode(body)?;
            Ok(reply::encode(&Ok(verify(index, ask).await?))?)
        }
    }
}

/// Decides who may read the audit.
fn may_read(authoriser: &Authoriser, biscuit: Option<&str>, askers: &[Service]) -> Reply<()> {
    let question = Question {
        need: AUDIT_ASKS.need,
        resource: None,
        via: askers,
    };
    fits(&authoriser.decide(biscuit, question)?, AUDIT_ASKS)
}

fn away() -> WireError {
    WireError::new(Code::Unavailable, "this service has no index of its audit")
}

async fn on_thread<T: Send + 'static>(
    index: &Arc<AuditIndex>,
    work: impl FnOnce(&AuditIndex) -> Result<T, StoreError> + Send + 'static,
) -> Reply<T> {
    let index = Arc::clone(index);
    let done = tokio::task::spawn_blocking(move || work(&index)).await;
    done.map_err(|_| WireError::new(Code::Internal, "the audit could not be read"))?
        .map_err(|_| WireError::new(Code::StorageFailed, "the store failed"))
}

/// Checks a piece; a chain that does not hold ends this store once the answer has left.
async fn verify(index: &Arc<AuditIndex>, ask: AuditVerify) -> Reply<AuditVerified> {
    let from = Head {
        position: ask.position,
        hash: ask.hash.0,
    };
    let known = ask.known.map(|known| Head {
        position: known.position,
        hash: known.hash.0,
    });
    let limit = u64::from(ask.limit.clamp(1, MAX_PIECE));
    let piece = on_thread(index, move |index| verify_piece(index.log(), from, limit, known)).await?;
    if let Some((position, reason)) = piece.finding.filter(|_| piece.broken) {
        tracing::error!(position, reason, "the log's chain is broken; this store halts");
        let index = Arc::clone(index);
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORD).await;
            halt(index.log(), position, reason);
        });
    }
    Ok(AuditVerified {
        position: piece.head.position,
        hash: Digest(piece.head.hash),
        checked: piece.checked,
        dropped: piece.dropped,
        end: piece.end,
        finding: piece.finding.map(|(position, what)| AuditFinding {
            position,
            what: what.to_owned(),
        }),
    })
}

/// Keeps what the gateway refused by itself; what it says of these acts is bounded, and never that they were accepted.
async fn note(core: &Core, body: &[u8]) -> Reply<Vec<u8>> {
    let noted: NoteRefusals = codec::decode(body)?;
    let refused = noted.records.into_iter().take(MAX_NOTED);
    let refused = refused.filter(|record| matches!(record.outcome, Outcome::Refused(_)));
    let records = refused.map(|mut record| {
        record.via = Some(Service::Gateway);
        record.within_bounds()
    });
    let kept = core.audit.handed(records.collect(), batch_id(body)).await;
    let kept = kept.map_err(|error| wire_error(&error))?;
    Ok(reply::encode(&Ok(RefusalsNoted { kept }))?)
}

/// Names a batch by what it says.
fn batch_id(body: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    let digest = sha256(body);
    for (byte, from) in id.iter_mut().zip(digest) {
        *byte = from;
    }
    id
}
