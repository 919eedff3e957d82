//! Enrolment requests as operators see them.

use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::messages::enrollment::ApprovalView;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::words::words;

use crate::aggregate::approval::{Approval, Asked, Decision};
use crate::state::State;

/// Shows a request.
pub fn show(state: &State, approval: &Approval, now: Timestamp) -> ApprovalView {
    let asked = &approval.asked;
    let fingerprint = asked.public_key.fingerprint();
    let (reason, guid) = match &approval.decision {
        Decision::Denied { reason } => (Some(reason.clone()), None),
        Decision::Approved { guid, .. } | Decision::Completed { guid } => (None, Some(*guid)),
        Decision::Pending => (known_as(state, asked), None),
        Decision::Expired => (None, None),
    };
    ApprovalView {
        id: asked.id,
        hostname: asked.facts.hostname.clone(),
        site: asked.site.clone(),
        os: asked.facts.os.clone(),
        arch: asked.facts.arch.clone(),
        agent_version: asked.facts.agent_version.clone(),
        context: asked.facts.context,
        address: asked.address.clone(),
        words: words(&fingerprint),
        fingerprint,
        code_id: asked.code,
        requested_at: approval.requested_at,
        expires_at: approval.expires_at(),
        state: approval.state_text(now).to_owned(),
        reason,
        guid,
    }
}

/// Says what an operator has to know before approving, if anything.
fn known_as(state: &State, asked: &Asked) -> Option<String> {
    let revoked = state
        .device_by_key(&asked.public_key)
        .filter(|device| device.status == DeviceStatus::Revoked)
        .map(|device| {
            let guid = device.guid();
            format!("this key is the revoked device {guid}; approving admits it again")
        });
    revoked.or_else(|| asked.conflict.map(|guid| conflict(state, guid)))
}

/// Says that the machine is known under another key, which an operator has to know before approving.
fn conflict(state: &State, guid: Guid) -> String {
    let hostname = state
        .device(&guid)
        .map_or("?", |device| device.enrolled.facts.hostname.as_str());
    format!("this machine is known as {hostname} ({guid}) under another key; approving adds it as a second device")
}
