//! `enroll-request`: a machine asks to become a device.

use borealis_bus_schema::forms::Form;
use borealis_bus_schema::ids::{ApprovalId, Guid};
use borealis_bus_schema::messages::enrollment::{Approve, EnrollChallenge, EnrollRequest, HostFacts};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::operator::PublicCtx;
use borealis_service_kit::random;
use data_encoding::BASE64URL_NOPAD;

use super::public::{answer, check_nonce, public_body};
use crate::aggregate::approval::{Approval, Asked, Decision};
use crate::aggregate::device::{Device, DeviceRejection};
use crate::app::{App, Approver, admission, rivals};
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;
use crate::throttle::shown_address;

/// Is how many bytes a nonce has.
const NONCE_BYTES: usize = 32;
/// Is how long a text of the host's facts may be, in characters.
const MAX_TEXT_CHARS: usize = 255;

/// Takes a request for enrolment.
///
/// The same key again is the same request while it is open, and the same device when it is one already. A revoked device may
/// ask as well, and waits for an operator whatever the code says; a decommissioned one is refused. A fresh key on a machine
/// that is a device, or was one before it was shut out, waits for an operator too. A code that approves by itself does so
/// while whoever minted it still could; afterwards its devices wait for an operator.
///
/// Errors: `throttled`, `stale`, `malformed`, `invalid_field`, `proof_invalid`, `code_invalid`, `code_expired`, `code_used`,
/// `code_revoked`, `device_decommissioned`.
pub async fn handle(app: &App, ctx: &PublicCtx) -> Result<EnrollChallenge, Refusal> {
    answer(app, ctx, request(app, ctx)).await
}

async fn request(app: &App, ctx: &PublicCtx) -> Result<EnrollChallenge, Refusal> {
    let request: EnrollRequest = public_body(&ctx.call)?;
    if app.ledger.state().code_by_key(&request.code_key).is_none() {
        return Err(Refusal::UnknownCode);
    }
    request.verify_code(&app.ca_sha256).map_err(|_| Refusal::Proof {
        what: "the installer code's signature over this request",
    })?;
    check_fields(&request)?;
    let exchange: [&[u8]; 1] = [request.exchange_key.as_bytes()];
    request
        .public_key
        .verify(Form::ExchangeKey, &exchange, &request.exchange_key_signature)
        .map_err(|_| Refusal::Proof {
            what: "the signature over the exchange key",
        })?;
    app.admit_key(&request.public_key, ctx.now)?;

    let fresh = Fresh {
        approval: random::id(),
        guid: random::id(),
        server_nonce: BASE64URL_NOPAD.encode(&random::bytes::<NONCE_BYTES>()),
        address: shown_address(&ctx.call.peer),
        now: ctx.now,
    };
    let _turn = app.one_at_a_time(&request.public_key).await;
    let _use = app.one_use_at_a_time(&request.code_key).await;
    let decide = |state: &State| decide(app, state, &request, &fresh);
    app.ledger.commit(Stamp::own(random::id(), ctx.now), decide).await
}

/// Is what the decision needs from outside.
struct Fresh {
    approval: ApprovalId,
    guid: Guid,
    server_nonce: String,
    address: String,
    now: Timestamp,
}

fn decide(
    app: &App,
    state: &State,
    request: &EnrollRequest,
    fresh: &Fresh,
) -> Result<Outcome<EnrollChallenge>, Refusal> {
    let code = state.code_by_key(&request.code_key).ok_or(Refusal::UnknownCode)?;
    let known = state.device_by_key(&request.public_key);
    let revoked = match known.map(Device::admitted) {
        // It may ask; no code decides about it.
        Some(Err(DeviceRejection::Revoked)) => true,
        Some(admitted) => {
            admitted?;
            false
        }
        None if state.is_retired(&request.public_key) => return Err(DeviceRejection::Replaced.into()),
        None => false,
    };
    let elsewhere = known.is_some_and(|device| device.enrolled.site != code.minted.site);
    let open = state
        .approval_by_key(&request.public_key)
        .filter(|approval| approval.is_open(fresh.now))
        // What was approved before the revocation admits nobody any more.
        .filter(|approval| !revoked || approval.decision == Decision::Pending);
    let id = open.map_or(fresh.approval, |approval| approval.asked.id);
    let used = code.r#use(request.public_key, id, fresh.now)?;
    let mut asked = Asked {
        id,
        code: code.minted.id,
        site: code.minted.site.clone(),
        public_key: request.public_key,
        exchange_key: request.exchange_key,
        exchange_key_signature: request.exchange_key_signature,
        facts: request.facts.clone(),
        address: fresh.address.clone(),
        server_nonce: fresh.server_nonce.clone(),
        client_nonce: request.client_nonce.clone(),
        at: fresh.now,
        conflict: None,
    };
    asked.conflict = rivals(state, &asked).first().map(|rival| rival.guid());

    let mut events = Vec::new();
    let mut approval = match open {
        None => {
            let approval = Approval::new(asked.clone());
            let requested = crate::aggregate::approval::ApprovalEvent::Requested(Box::new(asked));
            events.push(Event::Approval(id, requested));
            approval
        }
        Some(open) => {
            let mut approval = open.clone();
            if let Some(event) = approval.ask_again(asked) {
                approval.evolve(&event);
                events.push(Event::Approval(id, event));
            }
            approval
        }
    };
    if approval.decision == Decision::Pending {
        events.extend(used.map(|event| Event::Code(code.minted.id, event)));
        let alone = approval.asked.conflict.is_none() && !revoked && !elsewhere;
        if alone && app.minters.let_it_approve(&code.minted)? {
            let admitted = admission(
                state,
                &approval,
                Approver::Code,
                &Approve::default(),
                fresh.guid,
                fresh.now,
            )?;
            for event in &admitted {
                if let Event::Approval(_, event) = event {
                    approval.evolve(event);
                }
            }
            events.extend(admitted);
        }
    }
    Ok(Outcome {
        events,
        value: EnrollChallenge {
            reference: id,
            server_nonce: approval.asked.server_nonce,
        },
    })
}

fn check_fields(request: &EnrollRequest) -> Result<(), Refusal> {
    let invalid = |what: &str| Refusal::InvalidField { what: what.to_owned() };
    check_nonce("client_nonce", &request.client_nonce, NONCE_BYTES)?;
    let HostFacts {
        hostname,
        os,
        os_version,
        arch,
        agent_version,
        context: _,
        machine_hash,
    } = &request.facts;
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if machine_hash.len() != 64 || !machine_hash.bytes().all(lower_hex) {
        return Err(invalid("machine_hash is not 64 lower hex digits"));
    }
    if hostname.is_empty() {
        return Err(invalid("hostname is empty"));
    }
    for text in [hostname, os, os_version, arch, agent_version] {
        if text.chars().count() > MAX_TEXT_CHARS || text.chars().any(char::is_control) {
            return Err(invalid(
                "a text of the host's facts is too long or holds control characters",
            ));
        }
    }
    Ok(())
}
