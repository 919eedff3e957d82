//! `enroll-poll`: a machine asks whether it is a device, and takes its identity.

use borealis_bus_schema::messages::enrollment::{EnrollPoll, EnrollState, Identity};
use borealis_service_kit::audit;
use borealis_service_kit::operator::PublicCtx;
use borealis_service_kit::random;

use super::public::{answer, credentials, public_body};
use crate::aggregate::approval::{Approval, ApprovalRejection, Decision};
use crate::app::App;
use crate::error::Refusal;
use crate::ledger::{Outcome, Stamp};
use crate::state::State;
use crate::stored::Event;

/// Is when a machine asks again, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// Answers a poll; the same proof gets the same identity until the device showed it.
///
/// Errors: `throttled`, `malformed`, `not_found`, `proof_invalid`, `wrong_state` once the identity was shown,
/// `device_revoked`, `unavailable` while the bus has no address.
pub async fn handle(app: &App, ctx: &PublicCtx) -> Result<EnrollState, Refusal> {
    answer(app, ctx, poll(app, ctx)).await
}

async fn poll(app: &App, ctx: &PublicCtx) -> Result<EnrollState, Refusal> {
    let poll: EnrollPoll = public_body(&ctx.call)?;
    let approval = {
        let state = app.ledger.state();
        let found = state.approval(&poll.reference).ok_or(Refusal::NotFound {
            what: "enrolment request",
        })?;
        found.verify(&poll.signature)?;
        found.clone()
    };
    audit::note_object("approval", approval.asked.id);
    app.admit_key(&approval.asked.public_key, ctx.now)?;
    match &approval.decision {
        Decision::Pending if ctx.now >= approval.expires_at() => Ok(EnrollState::Expired),
        Decision::Pending => Ok(EnrollState::Pending {
            retry_after_ms: RETRY_AFTER_MS,
        }),
        Decision::Denied { reason } => Ok(EnrollState::Denied { reason: reason.clone() }),
        Decision::Expired => Ok(EnrollState::Expired),
        Decision::Completed { .. } => Err(ApprovalRejection::Completed.into()),
        Decision::Approved { .. } => identity(app, ctx, &approval).await,
    }
}

async fn identity(app: &App, ctx: &PublicCtx, approval: &Approval) -> Result<EnrollState, Refusal> {
    let key = approval.asked.public_key;
    let id = approval.asked.id;
    let decide = |state: &State| -> Result<Outcome<()>, Refusal> {
        let device = state.device_by_key(&key).ok_or(Refusal::NotFound { what: "device" })?;
        let event = device.issue(id, ctx.now)?;
        Ok(Outcome {
            events: event
                .into_iter()
                .map(|event| Event::Device(device.guid(), event))
                .collect(),
            value: (),
        })
    };
    app.ledger.commit(Stamp::own(random::id(), ctx.now), decide).await?;

    let state = app.ledger.state();
    let device = state.device_by_key(&key).ok_or(Refusal::NotFound { what: "device" })?;
    let family = device
        .family
        .filter(|family| family.name == id && family.newest == 1)
        .ok_or(ApprovalRejection::Completed)?;
    let credentials = credentials(app, device, &family, family.issued_at, ctx.now)?;
    Ok(EnrollState::Approved(Box::new(Identity {
        guid: device.guid(),
        site: device.enrolled.site.clone(),
        trust: app.issuer.trust(),
        credentials,
    })))
}
