//! Enrolment requests as operators see them.

use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::enrollment::{ApprovalView, Conflict, ConflictKind};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::words::words;
use borealis_service_kit::auth::Caller;

use crate::aggregate::approval::{Approval, Asked, Decision};
use crate::aggregate::device::Device;
use crate::app::rivals;
use crate::state::State;

/// Shows a request to a caller.
pub fn show(state: &State, approval: &Approval, caller: &Caller, now: Timestamp) -> ApprovalView {
    let asked = &approval.asked;
    let fingerprint = asked.public_key.fingerprint();
    let conflicts = match approval.decision {
        Decision::Pending => conflicts(state, asked, caller),
        _ => Vec::new(),
    };
    let (reason, guid) = match &approval.decision {
        Decision::Denied { reason } => (Some(reason.clone()), None),
        Decision::Approved { guid, .. } | Decision::Completed { guid } => (None, Some(*guid)),
        Decision::Pending => (conflicts.first().map(in_words), None),
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
        conflicts,
    }
}

/// Finds what an operator has to know before approving; what has to be decided comes first.
fn conflicts(state: &State, asked: &Asked, caller: &Caller) -> Vec<Conflict> {
    let mut found = Vec::new();
    match state.device_by_key(&asked.public_key) {
        Some(device) => {
            let revoked = device.status == DeviceStatus::Revoked;
            found.extend(revoked.then(|| with(device, ConflictKind::RevokedDevice, caller)));
            let elsewhere = device.enrolled.site != asked.site;
            found.extend(elsewhere.then(|| with(device, ConflictKind::OtherSite, caller)));
        }
        None => found.extend(rivals(state, asked).into_iter().map(|rival| {
            let kind = match rival.admitted() {
                Ok(()) => ConflictKind::KnownMachine,
                Err(_) => ConflictKind::ShutOutMachine,
            };
            with(rival, kind, caller)
        })),
    }
    let namesake = state.devices().find(|device| {
        let facts = &device.enrolled.facts;
        device.enrolled.site != asked.site
            && device.public_key() != asked.public_key
            && device.admitted().is_ok()
            && facts.hostname.eq_ignore_ascii_case(&asked.facts.hostname)
            && sees(caller, &device.enrolled.site)
    });
    found.extend(namesake.map(|device| with(device, ConflictKind::SameHostname, caller)));
    found
}

fn sees(caller: &Caller, site: &SiteName) -> bool {
    caller.may(Right::ApprovalsRead, site) || caller.may(Right::ApprovalsDecide, site)
}

fn with(device: &Device, kind: ConflictKind, caller: &Caller) -> Conflict {
    let shown = sees(caller, &device.enrolled.site).then_some(device);
    Conflict {
        kind,
        guid: shown.map(Device::guid),
        hostname: shown.map(|device| device.enrolled.facts.hostname.clone()),
        site: shown.map(|device| device.enrolled.site.clone()),
    }
}

fn in_words(conflict: &Conflict) -> String {
    let device = match (&conflict.hostname, &conflict.guid, &conflict.site) {
        (Some(hostname), Some(guid), Some(site)) => format!("{hostname} ({guid}) of site {site}"),
        _ => "a device of another site".to_owned(),
    };
    match conflict.kind {
        ConflictKind::KnownMachine => {
            format!(
                "this machine is known as {device} under another key; whoever approves says what becomes of that device"
            )
        }
        ConflictKind::ShutOutMachine => {
            format!(
                "this machine was {device}, which was shut out, and asks with another key; whoever approves says what it is now"
            )
        }
        ConflictKind::RevokedDevice => format!("this key is the revoked device {device}; approving admits it again"),
        ConflictKind::OtherSite => format!("this key is {device}, and no enrolment moves a device to another site"),
        ConflictKind::SameHostname => format!("{device} has the same host name"),
    }
}
