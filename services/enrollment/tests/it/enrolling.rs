//! From a code to a connected device.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, Signed};
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::messages::enrollment::{ApprovalView, ConflictKind, EnrollChallenge, EnrollState};
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::auth::Sites;
use borealis_service_kit::nats_jwt;
use borealis_test_support::DEADLINE;
use serde_json::{Value, json};

use crate::rig::{Machine, Polled as _, Rig, hello, log_in_at, narrowed, nonce, poll};

#[tokio::test]
async fn a_machine_becomes_a_connected_device() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let code = rig.mint(json!({})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "pending");

    let waiting = rig.approvals("pending").await;
    let [shown] = waiting.as_slice() else {
        panic!("one request waits")
    };
    assert_eq!(
        (shown.id, shown.hostname.as_str(), shown.address.as_str()),
        (challenge.reference, "web-1", "192.0.2.9")
    );
    assert!(shown.words.contains('-') && shown.fingerprint.len() == 64);
    let approved: ApprovalView = rig
        .ask("approvals-approve", &shown.id.to_string(), &json!({}))
        .await
        .unwrap();
    assert_eq!(approved.state, "approved");

    let identity = machine.poll(&rig, &challenge).await.unwrap().identity();
    assert_eq!(Some(identity.guid), approved.guid);
    assert_eq!(identity.trust.ca_pem, rig.bus.trust().ca_pem);
    assert!(
        identity
            .credentials
            .bus_urls
            .iter()
            .all(|url| url.starts_with("tls://"))
    );
    let claims = nats_jwt::read(&identity.credentials.bus_jwt).unwrap();
    assert_eq!(claims.exp.unwrap() - claims.iat, 86_400);

    let device = rig.connect(&machine, &identity).await;
    rig.wait_for("DeviceConnected", 1).await;
    rig.wait_for("EnrollmentCompleted", 1).await;
    assert!(device.is_connected());
    let used_up = machine.poll(&rig, &challenge).await.map(|state| state.text());
    assert_eq!(used_up.unwrap_err().code, Code::WrongState);
    assert_eq!(rig.approvals("completed").await.len(), 1);
}

#[tokio::test]
async fn the_same_proof_gets_the_same_identity_also_after_a_restart_and_the_log_holds_no_token() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let code = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    let first = machine.poll(&rig, &challenge).await.unwrap().identity();
    let second = machine.poll(&rig, &challenge).await.unwrap().identity();
    let rig = rig.restart().await;
    let third = machine.poll(&rig, &challenge).await.unwrap().identity();
    for again in [second, third] {
        assert_eq!(again.guid, first.guid);
        assert_eq!(again.credentials.refresh_token, first.credentials.refresh_token);
        assert_eq!(again.credentials.bus_jwt, first.credentials.bus_jwt);
    }
    assert_eq!(rig.count("CredentialsIssued"), 1);
    let tag = first
        .credentials
        .refresh_token
        .rsplit('.')
        .next()
        .unwrap()
        .as_bytes()
        .to_vec();
    for body in rig.events().into_iter().filter_map(|event| event.body) {
        assert!(!body.windows(tag.len()).any(|part| part == tag));
    }
}

#[tokio::test]
async fn a_proof_over_anything_else_is_refused_and_uses_nothing_up() {
    let rig = Rig::start().await;
    let (machine, other) = (Machine::draw("web-1"), Machine::draw("web-2"));
    let code = rig.mint(json!({"uses": 2, "auto_approve": true})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    let foreign = other.request(&rig, &code).await.unwrap();
    let before = rig.service.events().unwrap();

    let mut other_nonce = Machine::draw("web-1");
    other_nonce.key = machine.key.clone();
    let (reference, server_nonce) = (challenge.reference, challenge.server_nonce.as_str());
    for signature in [
        other.proof(server_nonce, reference),
        machine.proof(&foreign.server_nonce, reference),
        machine.proof(server_nonce, foreign.reference),
        other_nonce.proof(server_nonce, reference),
    ] {
        let refused = poll(&rig, "192.0.2.9:1", reference, signature)
            .await
            .map(|state| state.text());
        assert_eq!(refused.unwrap_err().code, Code::ProofInvalid);
    }
    let unknown = "0".repeat(32).parse().unwrap();
    let refused = poll(&rig, "192.0.2.9:1", unknown, machine.proof(server_nonce, unknown)).await;
    assert_eq!(refused.map(|state| state.text()).unwrap_err().code, Code::NotFound);

    let mut forged = machine.body(&code);
    forged["exchange_key_signature"] = other.body(&code)["exchange_key_signature"].clone();
    let refused = rig.public::<Value>("enroll-request", &forged, "192.0.2.9:1").await;
    assert_eq!(refused.unwrap_err().code, Code::ProofInvalid);

    assert_eq!(rig.service.events().unwrap(), before, "nothing was written");
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "approved");
}

#[tokio::test]
async fn the_same_key_again_is_the_same_request_and_the_same_device() {
    let rig = Rig::start().await;
    let mut machine = Machine::draw("web-1");
    let code = rig.mint(json!({"uses": 1})).await;
    let text = code.code.unwrap();
    let first = machine.request(&rig, &text).await.unwrap();
    let same = machine.request(&rig, &text).await.unwrap();
    assert_eq!(
        (first.reference, &first.server_nonce),
        (same.reference, &same.server_nonce)
    );
    machine.client_nonce = nonce::<32>();
    let anew = machine.request(&rig, &text).await.unwrap();
    assert_eq!(anew.reference, first.reference);
    assert_ne!(anew.server_nonce, first.server_nonce);
    assert_eq!(
        machine.poll(&rig, &first).await.map(|s| s.text()).unwrap_err().code,
        Code::ProofInvalid
    );
    let _: ApprovalView = rig
        .ask("approvals-approve", &first.reference.to_string(), &json!({}))
        .await
        .unwrap();
    let identity = machine.poll(&rig, &anew).await.unwrap().identity();
    machine
        .renew(&rig, &identity, Some(&identity.credentials.refresh_token))
        .await
        .unwrap();

    let again = rig.enrol(&machine).await;
    assert_eq!(again.guid, identity.guid);
    assert_ne!(again.credentials.refresh_token, identity.credentials.refresh_token);
    assert_eq!(rig.app.ledger.state().device_count(), 1);
}

#[tokio::test]
async fn another_key_on_a_known_machine_waits_for_an_operator_whatever_the_code_says() {
    let rig = Rig::start().await;
    let known = Machine::draw("web-1");
    let identity = rig.enrol(&known).await;
    let mut stranger = Machine::draw("web-1");
    stranger.facts.machine_hash = known.facts.machine_hash.clone();
    let code = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    let challenge = stranger.request(&rig, &code).await.unwrap();
    assert_eq!(stranger.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let waiting = rig.approvals("pending").await;
    let known_as = &waiting[0].conflicts[0];
    assert_eq!(
        (known_as.kind, known_as.guid, known_as.hostname.as_deref()),
        (ConflictKind::KnownMachine, Some(identity.guid), Some("web-1"))
    );
    let events = rig.events().len();
    let id = challenge.reference.to_string();
    let undecided: Reply<ApprovalView> = rig.ask("approvals-approve", &id, &json!({})).await;
    assert_eq!(undecided.unwrap_err().code, Code::MachineConflict);
    let unknown: Reply<ApprovalView> = rig.ask("approvals-approve", &id, &json!({"conflict": "rename"})).await;
    assert_eq!(unknown.unwrap_err().code, Code::Malformed);
    assert_eq!(rig.events().len(), events, "nothing was written");
    let _: ApprovalView = rig
        .ask("approvals-approve", &id, &json!({"conflict": "co_exist"}))
        .await
        .unwrap();
    let second = stranger.poll(&rig, &challenge).await.unwrap().identity();
    assert_ne!(second.guid, identity.guid);
    for (machine, device) in [(&known, &identity), (&stranger, &second)] {
        let token = device.credentials.refresh_token.as_str();
        machine.renew(&rig, device, Some(token)).await.unwrap();
    }
}

#[tokio::test]
async fn an_overwritten_device_goes_on_under_its_new_key_and_the_old_one_is_worthless() {
    let rig = Rig::start().await;
    let (old, identity, on_bus) = rig.device("web-1").await;
    let mut fresh = Machine::draw("web-1");
    fresh.facts.machine_hash = old.facts.machine_hash.clone();
    let code = rig.mint(json!({"auto_approve": true, "uses": 9})).await.code.unwrap();
    let challenge = fresh.request(&rig, &code).await.unwrap();
    let approved: ApprovalView = rig
        .ask(
            "approvals-approve",
            &challenge.reference.to_string(),
            &json!({"conflict": "overwrite"}),
        )
        .await
        .unwrap();
    assert_eq!(approved.guid, Some(identity.guid));
    let taken = fresh.poll(&rig, &challenge).await.unwrap().identity();
    assert_eq!((taken.guid, rig.app.ledger.state().device_count()), (identity.guid, 1));

    on_bus.told("Authentication Revoked").await.unwrap();
    let token = identity.credentials.refresh_token.as_str();
    let refused = old.renew(&rig, &identity, Some(token)).await.map(|_| ());
    assert_eq!(refused.unwrap_err().code, Code::ProofInvalid);
    let mut again = old;
    again.client_nonce = nonce::<32>();
    let refused = again.request(&rig, &code).await.map(|_| ());
    assert_eq!(
        refused.unwrap_err().code,
        Code::DeviceRevoked,
        "the old key makes no device any more"
    );
    let token = taken.credentials.refresh_token.as_str();
    fresh.renew(&rig, &taken, Some(token)).await.unwrap();
    let _there = rig.connect(&fresh, &taken).await;
    let state = rig.app.ledger.state();
    let device = state.device(&taken.guid).unwrap();
    assert_eq!(device.public_key(), PublicKey::of(&fresh.key));
}

#[tokio::test]
async fn no_enrolment_moves_a_device_to_another_site() {
    let rig = Rig::start().await;
    let (known, mut stranger) = (Machine::draw("web-1"), Machine::draw("web-1"));
    let identity = rig.enrol(&known).await;
    stranger.facts.machine_hash = known.facts.machine_hash.clone();
    rig.make_site("lyon");
    rig.make_site("oslo");
    let code = rig
        .mint(json!({"auto_approve": true, "uses": 9, "site": "lyon"}))
        .await
        .code
        .unwrap();
    let approve = async |challenge: &EnrollChallenge, body: serde_json::Value| -> Reply<ApprovalView> {
        rig.ask("approvals-approve", &challenge.reference.to_string(), &body)
            .await
    };

    // The same key with a code of another site waits, and stays where it is.
    let token = identity.credentials.refresh_token.as_str();
    known.renew(&rig, &identity, Some(token)).await.unwrap();
    let mut moving = known;
    moving.client_nonce = nonce::<32>();
    let challenge = moving.request(&rig, &code).await.unwrap();
    assert_eq!(moving.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let refused = approve(&challenge, json!({})).await;
    assert_eq!(refused.unwrap_err().code, Code::MachineConflict);
    let stays = approve(&challenge, json!({"site": "default"})).await.unwrap();
    assert_eq!(stays.guid, Some(identity.guid));
    assert_eq!(
        moving.poll(&rig, &challenge).await.unwrap().identity().site.as_str(),
        "default"
    );

    // Another key of the same machine overwrites nothing in another site; as a device of its own it may be there.
    let challenge = stranger.request(&rig, &code).await.unwrap();
    let refused = approve(&challenge, json!({"conflict": "overwrite"})).await;
    assert_eq!(refused.unwrap_err().code, Code::MachineConflict);
    let second = approve(&challenge, json!({"conflict": "co_exist"})).await.unwrap();
    assert_ne!(second.guid, Some(identity.guid));
    assert_eq!(
        stranger.poll(&rig, &challenge).await.unwrap().identity().site.as_str(),
        "lyon"
    );

    // Whoever sees one site only learns nothing of devices of the other.
    let mut third = Machine::draw("web-1");
    third.facts.machine_hash = stranger.facts.machine_hash.clone();
    let code = rig.mint(json!({"site": "oslo"})).await.code.unwrap();
    third.request(&rig, &code).await.unwrap();
    let oslo = Sites::Some([SiteName::new("oslo").unwrap()].into());
    let local = log_in_at(&rig.bus, &Right::ALL, &oslo);
    let call = rig.call_by(&local, "approvals-list", "", "", borealis_service_kit::random::id());
    let listed = rig
        .send("approvals-list", &call, narrowed(&local, "approvals-list", 0))
        .await
        .unwrap();
    assert!(listed.contains("known_machine") && !listed.contains("lyon"), "{listed}");
    assert!(!listed.contains(&second.guid.unwrap().to_string()), "{listed}");
}

#[tokio::test]
async fn a_denied_machine_is_told_why_and_a_decided_request_stays_decided() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let code = rig.mint(json!({})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    let id = challenge.reference.to_string();
    let denied: ApprovalView = rig
        .ask("approvals-deny", &id, &json!({"reason": "not ours"}))
        .await
        .unwrap();
    assert_eq!(
        (denied.state.as_str(), denied.reason.as_deref()),
        ("denied", Some("not ours"))
    );
    match machine.poll(&rig, &challenge).await.unwrap() {
        EnrollState::Denied { reason } => assert_eq!(reason, "not ours"),
        other => panic!("{}", other.text()),
    }
    for verb in ["approvals-approve", "approvals-deny"] {
        let refused = rig.ask::<ApprovalView>(verb, &id, &json!({})).await;
        assert_eq!(refused.map(|v| v.state).unwrap_err().code, Code::WrongState);
    }
}

#[tokio::test]
async fn guessing_is_throttled_by_the_address_that_connected() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let mut refusals = Vec::new();
    for port in 0..200 {
        let guessed = rig.draw_code(json!({})).0;
        let body = machine.body_with(&guessed);
        let peer = format!("198.51.100.3:{}", 1_000 + port);
        refusals.push(
            rig.public::<Value>("enroll-request", &body, &peer)
                .await
                .unwrap_err()
                .code,
        );
    }
    assert!(refusals[..20].iter().all(|code| *code == Code::CodeInvalid));
    assert!(refusals[20..].iter().all(|code| *code == Code::Throttled));
    let code = rig.mint(json!({})).await.code.unwrap();
    machine.request(&rig, &code).await.unwrap();
}

#[tokio::test]
async fn a_signed_hello_is_welcomed_and_another_is_not() {
    let rig = Rig::start().await;
    let (machine, identity, device) = rig.device("web-1").await;
    let other = Machine::draw("web-2");
    let hello = hello(&identity, 1, None);
    let subject = format!("borealis.v1.device.{}.tell.agent.hello", identity.guid);
    let say = async |signed: &Signed| {
        let answer = device
            .request(&subject, &codec::encode(signed).unwrap(), DEADLINE)
            .await
            .unwrap();
        reply::decode::<Welcome>(&answer)
    };
    let welcome = say(&Signed::seal(&machine.key, Form::Hello, &hello).unwrap())
        .await
        .unwrap();
    assert!(welcome.server_time.since_ms(hello.at).abs() < 60_000);
    let root = rig.bus.trust().code_signing_root;
    assert!(borealis_bus_schema::order::KeySet::open(&welcome.key_set, &root).is_ok());
    let forged = Signed::seal(&other.key, Form::Hello, &hello).unwrap();
    assert_eq!(say(&forged).await.unwrap_err().code, Code::ProofInvalid);
    let elsewhere = Hello {
        guid: rig.enrol(&other).await.guid,
        ..hello
    };
    let elsewhere = Signed::seal(&machine.key, Form::Hello, &elsewhere).unwrap();
    assert_eq!(say(&elsewhere).await.unwrap_err().code, Code::ProofInvalid);
}
