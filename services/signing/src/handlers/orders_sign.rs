//! `orders-sign`: signatures over orders that a grant and a signed request cover.
//!
//! Nothing is taken on trust from whoever asks: the grant is verified with the biscuit root, the request with the key that
//! the grant binds, each order with the request, each device with enrollment's log. What is signed is durable before it is
//! answered. A batch is signed as a whole or not at all. Orders that only end runs need no standing of their author: the
//! grant under which the run began is enough. Beyond the author's limit another operator's approval is verified in the same
//! way, each time: with its own grant, its own signature, and its approver's standing now.

use std::sync::Arc;

use borealis_bus_schema::ids::{Guid, SiteName};
use borealis_bus_schema::merkle::MAX_LEAVES;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::messages::signing::{Approval, Firing, OrdersSigned, SignOrders};
use borealis_bus_schema::order::{Order, OrderBody, SignedOrder, sign_batch};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::audit;
use borealis_service_kit::auth::{Caller, STALE_AFTER_MS};
use borealis_service_kit::service::InternalCtx;

use crate::aggregate::SignBatch;
use crate::approval::Approved;
use crate::coverage::{Coverage, Granted, Refusal};
use crate::error::SigningError;
use crate::service::Signing;

/// Is how large the answer may be, in bytes, so that it fits a message of the bus.
const MAX_ANSWER_BYTES: usize = 900_000;

/// Is about what an order takes in the answer besides its bytes and its path.
const ENVELOPE_BYTES: usize = 160;

/// Signs a batch.
///
/// Errors: those of the authoriser for the grant; `digest_mismatch`, `variable_undeclared` and others of the assembly; `stale`; `unavailable` once the key set has ended; `signature_missing`, `signature_invalid`, `malformed` for the
/// request; `grant_mismatch` for an order that does something else; `invalid_field` for its times; `not_found`,
/// `device_quarantined`, `device_revoked`, `device_decommissioned`, `out_of_scope` for its device; `already_signed`;
/// `approval_required` beyond the author's limit, `approval_mismatch` or `own_approval` for an approval that does not hold;
/// `too_large` for an answer that would not fit.
pub async fn handle(signing: Arc<Signing>, ctx: InternalCtx, ask: SignOrders) -> Reply<OrdersSigned> {
    let token = Some(ask.grant.as_str()).filter(|token| !token.is_empty());
    let need = Need::Right(Right::JobsRun);
    let only_ends = ask
        .orders
        .iter()
        .all(|order| matches!(order.body, OrderBody::Cancel { .. }));
    // What somebody began who may not any more must not go on for ever because of that.
    let caller = if only_ends {
        signing.authoriser.recognise(token, need)?
    } else {
        signing.authoriser.authorise(token, need, None)?
    };
    audit::note_caller(&caller);
    // Ending what runs takes nobody's approval.
    let approver = match ask.approval.as_ref().filter(|_| !only_ends) {
        None => None,
        Some(approval) => Some(signing.authoriser.authorise(Some(&approval.grant), need, None)?),
    };
    // What an operator lets run now is what its author signed, whatever became of the author.
    let author = match &ask.firing {
        Some(Firing::Now(author)) => Some(signing.authoriser.recognise(Some(&author.grant), need)?),
        _ => None,
    };
    Ok(sign(&signing, &caller, author.as_ref(), approver.as_ref(), ask, ctx.now).await?)
}

async fn sign(
    signing: &Signing,
    caller: &Caller,
    author: Option<&Caller>,
    approver: Option<&Caller>,
    ask: SignOrders,
    now: Timestamp,
) -> Result<OrdersSigned, SigningError> {
    let granted = granted(caller)?;
    if !signing.enrollment.fresh_within(STALE_AFTER_MS) {
        return Err(SigningError::Stale);
    }
    let ended_at = signing.key_set_ends_at;
    if now >= ended_at {
        return Err(SigningError::KeySetEnded { ended_at });
    }
    let size = ask.orders.len();
    if !(1..=MAX_LEAVES).contains(&size) {
        return Err(Refusal::BatchSize { size }.into());
    }
    let assembly = ask.assembly.as_ref().map(|bytes| bytes.as_slice());
    let coverage = match &ask.firing {
        None => Coverage::read(&ask.call, &granted, assembly)?,
        Some(firing) => {
            let author = author.map(self::granted).transpose()?;
            Coverage::read_firing(&ask.call, &granted, firing, author.as_ref(), assembly)?
        }
    };
    let sites = check_devices(signing, caller, &coverage, &ask.orders)?;
    let approved = match (approver, &ask.approval) {
        (Some(approver), Some(approval)) => {
            let approved = approved(approver, approval, &coverage, &granted)?;
            check_approved(signing, approver, &approved, &ask.orders)?;
            Some(approved)
        }
        _ => None,
    };
    let orders = ask
        .orders
        .into_iter()
        .zip(&sites)
        .map(|(order, site)| coverage.cover(order, site, &signing.key_id, now))
        .collect::<Result<Vec<Order>, Refusal>>()?;
    // Nobody sees these before they are durable.
    let signed = sign_batch(&signing.key, &orders)?;
    check_size(&signed)?;
    let batch = SignBatch {
        job: coverage.job,
        command: coverage.command,
        call: coverage.call,
        grant: granted.grant,
        author: granted.author,
        key_id: signing.key_id.clone(),
        orders,
        named: coverage.named(),
        approved,
    };
    signing.record(&batch, &caller.reach, now).await?;
    tracing::info!(job = %batch.job, grant = %batch.grant, orders = signed.len(), "orders were signed");
    Ok(OrdersSigned { orders: signed })
}

fn granted(caller: &Caller) -> Result<Granted, SigningError> {
    match (caller.grant, caller.call_digest) {
        (Some(grant), Some(granted_digest)) => Ok(Granted {
            grant,
            author: caller.operator,
            session_key: caller.session_key,
            granted_digest,
            expires_at: caller.expires_at,
        }),
        _ => Err(SigningError::NoGrant),
    }
}

fn approved(
    approver: &Caller,
    approval: &Approval,
    coverage: &Coverage,
    author: &Granted,
) -> Result<Approved, SigningError> {
    // A program is nobody's second person.
    if approver.is_token {
        return Err(SigningError::ApproverNoGrant);
    }
    let granted = granted(approver).map_err(|_| SigningError::ApproverNoGrant)?;
    Ok(Approved::read(approval, &granted, coverage, &author.author)?)
}

/// Checks that every device on which something begins was approved, by one who may run jobs there still.
fn check_approved(
    signing: &Signing,
    approver: &Caller,
    approved: &Approved,
    orders: &[Order],
) -> Result<(), SigningError> {
    let begins = orders
        .iter()
        .filter(|order| !matches!(order.body, OrderBody::Cancel { .. }));
    let guids: Vec<Guid> = begins.map(|order| order.guid).collect();
    let found = signing.devices.look(guids.iter());
    for (guid, device) in guids.into_iter().zip(found) {
        if !approved.devices.contains(&guid) {
            return Err(Refusal::NotApproved { guid }.into());
        }
        let device = device.ok_or(SigningError::NoDevice { guid })?;
        if !approver.may_on(Right::JobsRun, &device.site, &guid) {
            return Err(SigningError::OutOfScope { guid });
        }
    }
    Ok(())
}

/// Checks that every device may get orders, and from this author; returns the site of each.
fn check_devices(
    signing: &Signing,
    caller: &Caller,
    coverage: &Coverage,
    orders: &[Order],
) -> Result<Vec<SiteName>, SigningError> {
    let found = signing.devices.look(orders.iter().map(|order| &order.guid));
    let mut sites = Vec::with_capacity(orders.len());
    for (order, device) in orders.iter().zip(found) {
        let guid = order.guid;
        let device = device.ok_or(SigningError::NoDevice { guid })?;
        // What began where an assembly was for is ended wherever its device is now.
        let is_for = matches!(order.body, OrderBody::Cancel { .. }) || coverage.is_for(&device.site);
        if !caller.may_on(Right::JobsRun, &device.site, &guid) || !is_for {
            return Err(SigningError::OutOfScope { guid });
        }
        if device.status != DeviceStatus::Active {
            let status = device.status;
            return Err(SigningError::NotActive { guid, status });
        }
        sites.push(device.site);
    }
    Ok(sites)
}

fn check_size(signed: &[SignedOrder]) -> Result<(), SigningError> {
    let size_bytes = signed
        .iter()
        .map(|order| order.order.len() + order.path.len() + ENVELOPE_BYTES)
        .sum::<usize>();
    if size_bytes > MAX_ANSWER_BYTES {
        return Err(SigningError::AnswerTooLarge {
            size_bytes,
            limit_bytes: MAX_ANSWER_BYTES,
        });
    }
    Ok(())
}
