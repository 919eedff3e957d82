//! `grant-mint`: the right to act later on exactly one signed request.
//!
//! The scheduler, which asks, hands on the biscuit that it got: it says who asks and what the asker's token was narrowed to,
//! and the grant is narrowed to the same. There is no other way to a grant. The same request gives the same grant again.
//!
//! An approval of another operator's job is granted only to a log-in whose password was proved not long ago, as its biscuit
//! says: nobody who merely passes requests on has such a one.

use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::access::{Grant, GrantFor, MintGrant};
use borealis_bus_schema::operator::{FRESHNESS_MS, OperatorCall, Proof};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{self, Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{Authoriser, Caller, Question};
use borealis_service_kit::operator::proved_lately;
use borealis_service_kit::service::InternalCtx;

use crate::aggregate::{Asker, Command, Event, GrantFacts};
use crate::error::AccessError;
use crate::service::{Access, CommandKey};

/// Mints the grant.
///
/// Errors: `signature_missing`, `wrong_action` for another request than one that makes a job or a schedule or approves a job, those of the
/// authoriser for the biscuit, `session_required` and `step_up_required` for an approval, `signature_invalid`,
/// `signature_expired`, `right_missing`, `id_reused`.
pub async fn handle(
    access: Arc<Access>,
    authoriser: Arc<Authoriser>,
    ctx: InternalCtx,
    ask: MintGrant,
) -> Reply<Grant> {
    let (proof, acts) = signed(&ask.call)?;
    let now = ctx.now;
    let call_digest = Digest(ask.call.digest());
    if let Some(grant) = minted_before(&access, proof, call_digest)? {
        // Only whoever has the signed request gets the grant again.
        verify(&ask.call, proof, &grant.session_key)?;
        return answer(&access, grant, now);
    }
    let caller = caller(&authoriser, ctx.biscuit.as_deref(), proof)?;
    if acts == GrantFor::Approval {
        proved_lately(&caller, &ask.call, now)?;
    }
    let asker = Asker {
        operator: caller.operator,
        key: caller.session_key,
        reach: caller.reach,
        devices: caller.devices,
        token_ends_at: caller.is_token.then_some(caller.expires_at),
    };
    verify(&ask.call, proof, &asker.key)?;
    access.presence.note(proof.session, now);
    if now.since_ms(proof.issued_at).saturating_abs() > FRESHNESS_MS {
        return Err(WireError::new(
            Code::SignatureExpired,
            "the signature is older, or further ahead, than allowed",
        ));
    }
    let command = Command::MintGrant {
        session: proof.session,
        command: proof.command,
        call_digest,
        expires_at: ask.expires_at,
        acts,
        asker,
    };
    let key = CommandKey {
        id: *proof.command.as_bytes(),
        digest: call_digest.0,
        answer: Vec::new(),
    };
    let (events, _) = access.execute(command, key).await?;
    let grant = the_grant(events)?;
    // It may have been minted at the same time for another who named his command alike.
    verify(&ask.call, proof, &grant.session_key)?;
    answer(&access, grant, now)
}

/// Reads the biscuit that came with the request, which must be that of whoever signed it.
fn caller(authoriser: &Authoriser, biscuit: Option<&str>, proof: &Proof) -> Reply<Caller> {
    let question = Question {
        need: Need::Right(Right::JobsRun),
        resource: None,
        via: &[Service::Scheduler],
    };
    let caller = authoriser.decide(biscuit, question)?;
    if caller.grant.is_some() || caller.session != proof.session {
        return Err(WireError::new(
            Code::SignatureInvalid,
            "the signature is of another session",
        ));
    }
    Ok(caller)
}

fn signed(call: &OperatorCall) -> Reply<(&Proof, GrantFor)> {
    let fits = |verb| {
        let route = routes::of_verb(Service::Scheduler, verb);
        route.is_some_and(|route| route.matches(&call.method, &call.path).is_some())
    };
    let proof = call.proof.as_ref().ok_or_else(|| {
        WireError::new(
            Code::SignatureMissing,
            "a grant is given for a request that the session key signed",
        )
    })?;
    if fits("jobs-create") || fits("schedules-run") {
        Ok((proof, GrantFor::Job))
    } else if fits("schedules-create") {
        Ok((proof, GrantFor::Schedule))
    } else if fits("jobs-approve") {
        Ok((proof, GrantFor::Approval))
    } else {
        Err(WireError::new(
            Code::WrongAction,
            "a grant is given for a request that makes a job or a schedule, or approves a job",
        ))
    }
}

fn verify(call: &OperatorCall, proof: &Proof, key: &borealis_bus_schema::forms::PublicKey) -> Reply<()> {
    call.verify(proof, key)
        .map_err(|_| WireError::new(Code::SignatureInvalid, "the signature does not fit the request"))
}

fn minted_before(access: &Access, proof: &Proof, call_digest: Digest) -> Reply<Option<GrantFacts>> {
    let Some(record) = access
        .log
        .command(proof.command.as_bytes())
        .map_err(AccessError::from)?
    else {
        return Ok(None);
    };
    if record.digest != call_digest.0 {
        return Err(WireError::new(
            Code::IdReused,
            "the command id was used before for another command",
        ));
    }
    let events = access.events_of(&borealis_event_store::Appended {
        first: record.first,
        last: record.last,
        answer: record.answer,
        replayed: true,
    })?;
    Ok(events.into_iter().find_map(granted))
}

fn granted(event: Event) -> Option<GrantFacts> {
    match event {
        Event::GrantMinted(grant) => Some(grant),
        _ => None,
    }
}

fn the_grant(events: Vec<Event>) -> Reply<GrantFacts> {
    events
        .into_iter()
        .find_map(granted)
        .ok_or_else(|| WireError::new(Code::Internal, "no grant was minted"))
}

fn answer(access: &Access, grant: GrantFacts, now: Timestamp) -> Reply<Grant> {
    if now >= grant.expires_at {
        return Err(WireError::new(Code::TokenExpired, "the grant of this request is over"));
    }
    let token = access.mint_grant(&grant)?;
    Ok(Grant {
        grant: grant.grant,
        token,
    })
}
