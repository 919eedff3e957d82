//! Each part of an approval, changed alone, is refused.

use super::*;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, SessionId};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::coverage::tests::{call_of, granted_for, guid, now};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}
fn command() -> CommandId {
    CommandId::from_bytes([22; 16])
}
fn author_call() -> OperatorCall {
    call_of(&json!({"targets": {"all": true}, "language": "sh", "script": "echo hi"}))
}
fn coverage() -> Coverage {
    let call = author_call();
    Coverage::read(&call, &granted_for(&call), None).unwrap()
}
fn devices(some: &[u8]) -> BTreeSet<Guid> {
    some.iter().map(|n| guid(*n)).collect()
}
fn path() -> String {
    format!("/api/v1/jobs/{}/approve", coverage().job)
}
fn body() -> Value {
    json!({"request": Digest(author_call().digest()), "devices": devices_digest(&devices(&[1, 2, 3]))})
}
fn signed(path: &str, body: &Value) -> Approval {
    let body = body.to_string().into_bytes();
    let session = SessionId::from_bytes([23; 16]);
    let proof = Proof::new(&key(), session, command(), now(), "POST", path, &body);
    Approval {
        grant: String::new(),
        call: OperatorCall {
            method: "POST".into(),
            path: path.into(),
            body,
            proof: Some(proof),
            peer: String::new(),
        },
        devices: Approval::pack(&devices(&[1, 2, 3])),
    }
}
fn granted(call: &OperatorCall) -> Granted {
    Granted {
        author: OperatorId::from_bytes([24; 16]),
        session_key: PublicKey::of(&key()),
        granted_digest: call.granted_digest(&command()),
        ..granted_for(call)
    }
}
fn author() -> OperatorId {
    granted_for(&author_call()).author
}
fn read(approval: &Approval) -> Result<Approved, Refusal> {
    Approved::read(approval, &granted(&approval.call), &coverage(), &author())
}

#[test]
fn an_approval_holds_for_its_request_and_its_devices() {
    let approved = read(&signed(&path(), &body())).unwrap();
    assert_eq!(approved.devices, devices(&[1, 2, 3]));
    assert_eq!(approved.digest, devices_digest(&devices(&[1, 2, 3])));
}

#[test]
fn nobody_approves_what_they_asked_for() {
    let approval = signed(&path(), &body());
    let own = Granted {
        author: author(),
        ..granted(&approval.call)
    };
    assert_eq!(
        Approved::read(&approval, &own, &coverage(), &author()),
        Err(Refusal::OwnApproval)
    );
}

#[test]
fn what_is_changed_alone_is_refused() {
    let good = signed(&path(), &body());
    let mut swapped = good.clone();
    swapped.devices = Approval::pack(&devices(&[1, 2, 4]));
    let mut fewer = good.clone();
    fewer.devices = Approval::pack(&devices(&[1, 2]));
    let mut unsorted = good.clone();
    unsorted.devices.rotate_left(16);
    let mut cut = good.clone();
    cut.devices.pop();
    let mut unsigned = good.clone();
    unsigned.call.proof = None;
    let mut altered = good.clone();
    altered.call.body = body().to_string().replace('}', " }").into_bytes();
    let mut other_request = body();
    other_request["request"] = json!(Digest::of(b"another"));
    let mut other_devices = body();
    other_devices["devices"] = json!(devices_digest(&devices(&[1, 2])));
    let another = path().replace(&coverage().job.to_string(), &JobId::from_bytes([9; 16]).to_string());
    for (what, approval) in [
        ("a swapped device", swapped),
        ("a device less", fewer),
        ("another order", unsorted),
        ("half a device", cut),
        ("no signature", unsigned),
        ("an altered body", altered),
        ("another request", signed(&path(), &other_request)),
        ("other devices", signed(&path(), &other_devices)),
        ("another job", signed(&another, &body())),
        ("another act", signed(&path().replace("approve", "cancel"), &body())),
        ("rubbish", signed(&path(), &json!({}))),
    ] {
        assert!(matches!(read(&approval), Err(Refusal::Approval { .. })), "{what}");
    }
}

#[test]
fn the_key_and_the_grant_are_the_approvers_own_for_this_request() {
    let approval = signed(&path(), &body());
    let read = |granted: &Granted| Approved::read(&approval, granted, &coverage(), &author());
    let another_key = Granted {
        session_key: PublicKey::of(&SigningKey::from_bytes(&[25; 32])),
        ..granted(&approval.call)
    };
    let another_grant = Granted {
        granted_digest: approval.call.granted_digest(&CommandId::from_bytes([26; 16])),
        ..granted(&approval.call)
    };
    for granted in [another_key, another_grant] {
        assert!(matches!(read(&granted), Err(Refusal::Approval { .. })));
    }
}
