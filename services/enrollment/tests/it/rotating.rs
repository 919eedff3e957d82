//! A device replaces its identity key.

use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, Signed, sign};
use borealis_bus_schema::messages::device::{Hello, Welcome};
use borealis_bus_schema::messages::enrollment::{DeviceStanding, Identity, KeyRotated, Renewed, RotateKey};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::order::Context;
use borealis_bus_schema::reply::{self, Reply};
use borealis_test_support::{DEADLINE, eventually, eventually_within};
use serde_json::json;

use crate::rig::{Machine, Rig, nonce, now};

/// Is how soon the old key is worthless everywhere.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Makes the wish of a device for the keys of another machine, signed by both.
fn wish(machine: &Machine, identity: &Identity, next: &Machine) -> RotateKey {
    let (old, new) = (PublicKey::of(&machine.key), PublicKey::of(&next.key));
    let (issued_at, nonce) = (now(), nonce::<16>());
    let fields = RotateKey::fields(&identity.guid, &old, &new, &next.exchange_key, issued_at, &nonce);
    let fields = fields.each_ref().map(|field| field.as_bytes());
    RotateKey {
        guid: identity.guid,
        public_key: new,
        exchange_key: next.exchange_key,
        exchange_key_signature: sign(&next.key, Form::ExchangeKey, &[next.exchange_key.as_bytes()]),
        issued_at,
        old_signature: sign(&machine.key, Form::RotateKey, &fields),
        new_signature: sign(&next.key, Form::RotateKey, &fields),
        nonce,
    }
}

async fn rotate(rig: &Rig, wish: &RotateKey) -> Reply<KeyRotated> {
    let body = serde_json::to_value(wish).unwrap();
    rig.public("device-rotate-key", &body, "192.0.2.9:50000").await
}

fn code<T>(answer: Reply<T>) -> Code {
    answer.map(|_| ()).unwrap_err().code
}

/// Is the identity of a device after its key was replaced.
fn with(identity: &Identity, rotated: &KeyRotated) -> Identity {
    Identity {
        credentials: rotated.credentials.clone(),
        ..identity.clone()
    }
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_old_one_which_is_refused_everywhere_within_seconds() {
    let rig = Rig::start().await;
    let (machine, next) = (Machine::draw("web-1"), Machine::draw("web-1"));
    let identity = rig.enrol(&machine).await;
    let old_on_bus = rig.connect(&machine, &identity).await;
    rig.wait_for("DeviceConnected", 1).await;

    let wish = wish(&machine, &identity, &next);
    let rotated = rotate(&rig, &wish).await.unwrap();
    let cut = eventually_within("the old key's connection is cut", AT_ONCE, async || {
        let events = old_on_bus.events();
        events.iter().any(|event| event.contains("Revoked")).then_some(())
    });
    cut.await.unwrap();
    let token = identity.credentials.refresh_token.as_str();
    assert_eq!(
        code(machine.renew(&rig, &identity, Some(token)).await),
        Code::ProofInvalid
    );
    let key = borealis_test_support::user_key_pair(&machine.key).unwrap();
    let jwt = identity.credentials.bus_jwt.clone();
    assert!(rig.bus.connect(key, move || jwt.clone(), "_INBOX_x").await.is_err());
    let enrols = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    assert_eq!(code(machine.request(&rig, &enrols).await), Code::DeviceRevoked);

    // The new one is the same device, with the tokens that it had.
    let after = with(&identity, &rotated);
    let _new_on_bus = rig.connect(&next, &after).await;
    let token = after.credentials.refresh_token.clone();
    let renewed: Renewed = next.renew(&rig, &after, Some(&token)).await.unwrap();
    assert!(!renewed.rotate_key);
    let state = rig.app.ledger.state();
    let device = state.device(&identity.guid).unwrap();
    assert_eq!(
        (device.public_key(), device.status, state.device_count()),
        (PublicKey::of(&next.key), DeviceStatus::Active, 1)
    );
}

#[tokio::test]
async fn a_lost_answer_is_given_again_also_after_a_restart_and_exactly_one_key_counts_all_the_time() {
    let rig = Rig::start().await;
    let (machine, next) = (Machine::draw("web-1"), Machine::draw("web-1"));
    let identity = rig.enrol(&machine).await;
    let token = identity.credentials.refresh_token.as_str();
    machine.renew(&rig, &identity, Some(token)).await.unwrap();
    assert_eq!(code(next.renew(&rig, &identity, Some(token)).await), Code::ProofInvalid);

    let first = rotate(&rig, &wish(&machine, &identity, &next)).await.unwrap();
    let rig = rig.restart().await;
    // Another request of the same two keys: the device was killed before it heard the answer.
    let again = rotate(&rig, &wish(&machine, &identity, &next)).await.unwrap();
    assert_eq!(again.credentials.refresh_token, first.credentials.refresh_token);
    assert_eq!(rig.count("DeviceKeyRotated"), 1);
    let after = with(&identity, &again);
    let token = after.credentials.refresh_token.as_str();
    assert_eq!(
        code(machine.renew(&rig, &identity, Some(token)).await),
        Code::ProofInvalid
    );
    next.renew(&rig, &after, Some(token)).await.unwrap();

    // The old key takes nothing back, and gives the device no third key.
    let third = Machine::draw("web-1");
    for wish in [wish(&machine, &identity, &third), wish(&next, &identity, &machine)] {
        let refused = code(rotate(&rig, &wish).await);
        assert!(
            matches!(refused, Code::ProofInvalid | Code::MachineConflict),
            "{refused:?}"
        );
    }
    assert_eq!(rig.count("DeviceKeyRotated"), 1);
}

#[tokio::test]
async fn a_wish_needs_both_keys_and_a_device_that_is_not_in_doubt() {
    let rig = Rig::start().await;
    let (machine, next, stranger) = (Machine::draw("web-1"), Machine::draw("web-1"), Machine::draw("x"));
    let identity = rig.enrol(&machine).await;
    let other = rig.enrol(&stranger).await;
    let whole = wish(&machine, &identity, &next);
    let of_stranger = wish(&stranger, &other, &next);
    let bad = [
        (
            "the old key's proof",
            RotateKey {
                old_signature: of_stranger.old_signature,
                ..whole.clone()
            },
        ),
        (
            "the new key's proof",
            RotateKey {
                new_signature: whole.old_signature,
                ..whole.clone()
            },
        ),
        (
            "another new key",
            RotateKey {
                public_key: PublicKey::of(&stranger.key),
                ..whole.clone()
            },
        ),
        (
            "another device",
            RotateKey {
                guid: other.guid,
                ..whole.clone()
            },
        ),
        (
            "another X25519 key",
            RotateKey {
                exchange_key: stranger.exchange_key,
                ..whole.clone()
            },
        ),
        (
            "another time",
            RotateKey {
                issued_at: whole.issued_at.plus_ms(1),
                ..whole.clone()
            },
        ),
        (
            "another nonce",
            RotateKey {
                nonce: nonce::<16>(),
                ..whole.clone()
            },
        ),
    ];
    for (what, wish) in &bad {
        assert_eq!(code(rotate(&rig, wish).await), Code::ProofInvalid, "{what}");
    }
    // The key of another device, whole in itself.
    assert_eq!(
        code(rotate(&rig, &wish(&machine, &identity, &stranger)).await),
        Code::MachineConflict
    );
    assert_eq!(rig.count("DeviceKeyRotated"), 0);

    let id = identity.guid.to_string();
    let _: DeviceStanding = rig.ask("devices-quarantine", &id, &json!({})).await.unwrap();
    assert_eq!(code(rotate(&rig, &whole).await), Code::WrongState);
    let asked = rig.ask::<DeviceStanding>("devices-rotate-key", &id, &json!({})).await;
    assert_eq!(code(asked), Code::WrongState);
    let _: DeviceStanding = rig.ask("devices-release", &id, &json!({})).await.unwrap();
    rotate(&rig, &whole).await.unwrap();
}

#[tokio::test]
async fn an_operator_who_wants_a_new_key_is_heard_by_the_device_at_once() {
    let rig = Rig::start().await;
    let (machine, next) = (Machine::draw("web-1"), Machine::draw("web-1"));
    let identity = rig.enrol(&machine).await;
    let user = rig.connect(&machine, &identity).await;
    rig.wait_for("DeviceConnected", 1).await;
    let welcome = async || {
        let hello = Hello {
            guid: identity.guid,
            agent_version: "0.1.0".into(),
            contexts: vec![Context::System],
            roles: vec![],
            journal_counter: 1,
            at: now(),
            challenge: None,
        };
        let body = codec::encode(&Signed::seal(&machine.key, Form::Hello, &hello).unwrap()).unwrap();
        let subject = format!("borealis.v1.device.{}.tell.agent.hello", identity.guid);
        reply::decode::<Welcome>(&user.request(&subject, &body, DEADLINE).await.unwrap()).unwrap()
    };
    assert!(!welcome().await.renew);
    let before = user.events().len();
    let id = identity.guid.to_string();
    for _ in 0..2 {
        let asked: DeviceStanding = rig
            .ask("devices-rotate-key", &id, &json!({"reason": "hygiene"}))
            .await
            .unwrap();
        assert_eq!(asked.status, DeviceStatus::Active);
    }
    assert_eq!(rig.count("DeviceKeyRotationAsked"), 1, "once is enough");
    eventually("the connection is ended and comes back", async || {
        let events = user.events();
        let ended = events[before..].iter().any(|event| event.contains("disconnected"));
        (ended && user.is_connected()).then_some(())
    })
    .await
    .unwrap();
    assert!(welcome().await.renew);
    let token = identity.credentials.refresh_token.as_str();
    let renewed = machine.renew(&rig, &identity, Some(token)).await.unwrap();
    assert!(renewed.rotate_key);

    // It is asked for until it is done, also after a restart.
    drop(user);
    let rig = rig.restart().await;
    let token = renewed.credentials.refresh_token.as_str();
    let renewed = machine.renew(&rig, &identity, Some(token)).await.unwrap();
    assert!(renewed.rotate_key);
    let rotated = rotate(&rig, &wish(&machine, &identity, &next)).await.unwrap();
    let after = with(&identity, &rotated);
    let renewed = next
        .renew(&rig, &after, Some(&after.credentials.refresh_token))
        .await
        .unwrap();
    assert!(!renewed.rotate_key);
}

#[tokio::test]
async fn whoever_renews_with_the_key_that_was_given_up_has_the_device_quarantined() {
    let rig = Rig::start().await;
    let (machine, next) = (Machine::draw("web-1"), Machine::draw("web-1"));
    let identity = rig.enrol(&machine).await;
    let token = identity.credentials.refresh_token.clone();
    rotate(&rig, &wish(&machine, &identity, &next)).await.unwrap();
    let renew = async |machine: &Machine, after_ms: i64| {
        let renewal = machine.renewal(&identity, Some(&token), now().plus_ms(after_ms));
        let body = serde_json::to_value(renewal).unwrap();
        let answer: Reply<Renewed> = rig.public("device-renew", &body, "192.0.2.9:50000").await;
        code(answer)
    };
    let status = || rig.app.ledger.state().device(&identity.guid).unwrap().status;
    // What was asked before the change, and whatever a stranger signs, says nothing.
    assert_eq!(renew(&machine, 0).await, Code::ProofInvalid);
    assert_eq!(renew(&Machine::draw("x"), 3_600_000).await, Code::ProofInvalid);
    assert!(!rig.app.has_findings());
    assert_eq!(renew(&machine, 3_600_000).await, Code::ProofInvalid);
    eventually("the quarantine", async || {
        (status() == DeviceStatus::Quarantined).then_some(())
    })
    .await
    .unwrap();
}
