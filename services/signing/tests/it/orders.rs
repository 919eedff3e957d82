//! What is signed is what the operator asked for, and a device accepts it.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{Guid, RoleName, VerbName};
use borealis_bus_schema::messages::shared_events::OperatorDisabled;
use borealis_bus_schema::messages::signing::OrdersSigned;
use borealis_bus_schema::order::{Context, Digest, Expected, Order, OrderBody, ScriptBody, SignedOrder};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_provision::{Rotation, rotate};
use borealis_service_kit::auth::Sites;
use borealis_service_kit::random;
use serde_json::json;

use crate::fleet::{Fleet, ping_order, script_order};
use crate::harness::{code, now};

/// Verifies as the device does.
fn accepted(fleet: &Fleet, signed: &SignedOrder, guid: &Guid, role: &str, verb: &str) -> Order {
    let keys = fleet.world.bus.trust().open_key_set().unwrap();
    let (role, verb) = (RoleName::new(role).unwrap(), VerbName::new(verb).unwrap());
    let expected = Expected {
        guid,
        contexts: &[Context::System],
        role: &role,
        verb: &verb,
        now: now(),
    };
    signed.verify(&keys, expected).unwrap()
}

#[tokio::test]
async fn a_batch_is_signed_and_each_device_accepts_its_own() {
    let fleet = Fleet::start().await;
    let mut devices = Vec::new();
    for _ in 0..5 {
        devices.push(fleet.device("default").await);
    }
    let command = random::id();
    let call = fleet.ping(&json!({"all": true}), command);
    let grant = fleet.grant(&call).await;
    let last = ping_order(command, devices[4]);
    fleet.until(&grant, &call, &last, |reply| reply.is_ok()).await;
    let before = fleet.signing.events().unwrap();
    let orders = devices.iter().map(|guid| ping_order(command, *guid)).collect();
    let signed = fleet.sign(&grant, &call, orders).await.unwrap().orders;
    for (signed, guid) in signed.iter().zip(&devices) {
        assert_eq!(accepted(&fleet, signed, guid, "agent", "ping").body, OrderBody::Ping);
    }
    assert!(
        fleet.signing.events().unwrap() > before,
        "what was signed is in the log"
    );
    fleet.stop().await;
}

#[tokio::test]
async fn a_script_comes_from_the_request_and_its_run_can_be_ended() {
    let fleet = Fleet::start().await;
    let (guid, command) = (fleet.device("default").await, random::id());
    let body = json!({"targets": {"guids": [guid]}, "language": "sh", "script": "echo hi", "timeout_ms": 60_000});
    let call = fleet.job(&body, command);
    let grant = fleet.grant(&call).await;
    let order = script_order(command, guid, "echo hi");
    fleet.until(&grant, &call, &order, |reply| reply.is_ok()).await;
    let signed = fleet.sign(&grant, &call, vec![order.clone()]).await.unwrap().orders;
    match accepted(&fleet, &signed[0], &guid, "script", "run").body {
        OrderBody::Script(script) => assert_eq!(script.script, b"echo hi"),
        other => panic!("{other:?}"),
    }
    let end = Order {
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run: order.run },
        ..order.clone()
    };
    let signed = fleet.sign(&grant, &call, vec![end.clone()]).await.unwrap().orders;
    accepted(&fleet, &signed[0], &guid, "script", "cancel");
    let other_text = Order {
        body: match order.body.clone() {
            OrderBody::Script(script) => OrderBody::Script(ScriptBody {
                digest: Digest::of(b"echo ho"),
                script: b"echo ho".to_vec(),
                ..script
            }),
            other => other,
        },
        ..order
    };
    let before = fleet.signing.events().unwrap();
    let refused = fleet.sign(&grant, &call, vec![other_text]).await;
    assert_eq!(code(refused), Code::GrantMismatch);
    assert_eq!(fleet.signing.events().unwrap(), before, "nothing was written");
    fleet.stop().await;
}

#[tokio::test]
async fn a_job_stays_with_its_first_request_also_after_a_restart() {
    let fleet = Fleet::start().await;
    let (guid, command) = (fleet.device("default").await, random::id());
    let call = fleet.ping(&json!({"guids": [guid]}), command);
    let grant = fleet.grant(&call).await;
    let order = ping_order(command, guid);
    fleet.until(&grant, &call, &order, |reply| reply.is_ok()).await;

    let fleet = fleet.with_signing_restarted().await;
    // Even whoever could mint grants gets no other content for the same run.
    let other = fleet.ping(&json!({"all": true}), command);
    let forged = fleet.forged_grant(&other, &[Right::JobsRun], Sites::All);
    let again = |order: &Order| Order {
        order: random::id(),
        ..order.clone()
    };
    fleet.until(&grant, &call, &order, |reply| reply.is_ok()).await;
    let before = fleet.signing.events().unwrap();
    let refused = fleet.sign(&forged, &other, vec![again(&order)]).await;
    assert_eq!(code(refused), Code::AlreadySigned);
    assert_eq!(fleet.signing.events().unwrap(), before, "nothing was written");
    fleet.sign(&grant, &call, vec![again(&order)]).await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn nothing_is_signed_once_the_key_set_has_ended() {
    let mut fleet = Fleet::start().await;
    let (guid, command) = (fleet.device("default").await, random::id());
    let call = fleet.ping(&json!({"guids": [guid]}), command);
    let grant = fleet.grant(&call).await;
    let order = ping_order(command, guid);
    fleet.until(&grant, &call, &order, |reply| reply.is_ok()).await;

    let bus = &mut fleet.world.bus;
    let two_years_ago = now().plus_ms(-2 * 365 * 24 * 3_600_000);
    rotate(bus.paths(), bus.passphrase(), Rotation::KeySet, two_years_ago).unwrap();
    bus.reread_trust().unwrap();
    let fleet = fleet.with_signing_restarted().await;
    let before = fleet.signing.events().unwrap();
    let refused = |reply: &Reply<OrdersSigned>| {
        let error = reply.as_ref().err();
        error.is_some_and(|error| error.code == Code::Unavailable && error.message.contains("renew-key-set"))
    };
    fleet.until(&grant, &call, &order, refused).await;
    assert_eq!(fleet.signing.events().unwrap(), before, "nothing was written");
    fleet.stop().await;
}

#[tokio::test]
async fn what_a_disabled_author_began_can_still_be_ended_and_nothing_else() {
    let fleet = Fleet::start().await;
    let (guid, command) = (fleet.device("default").await, random::id());
    let body = json!({"targets": {"guids": [guid]}, "language": "sh", "script": "sleep 9", "timeout_ms": 60_000});
    let call = fleet.job(&body, command);
    let grant = fleet.grant(&call).await;
    let begin = script_order(command, guid, "sleep 9");
    fleet.until(&grant, &call, &begin, |reply| reply.is_ok()).await;
    let disabled = OperatorDisabled {
        operator: fleet.operator,
        reason: "left".to_owned(),
        at: now(),
    };
    let stream = format!("operator-{}", fleet.operator);
    fleet.access.tell(&stream, &disabled).await.unwrap();
    let revoked = |reply: &Reply<OrdersSigned>| reply.as_ref().is_err_and(|error| error.code == Code::TokenRevoked);
    fleet.until(&grant, &call, &begin, revoked).await;

    let end = Order {
        order: random::id(),
        verb: VerbName::cancel(),
        body: OrderBody::Cancel { run: begin.run },
        ..begin.clone()
    };
    let signed = fleet.sign(&grant, &call, vec![end.clone()]).await.unwrap().orders;
    accepted(&fleet, &signed[0], &guid, "script", "cancel");
    // An end opens no door for a beginning.
    let before = fleet.signing.events().unwrap();
    let both = fleet.sign(&grant, &call, vec![end, begin]).await;
    assert_eq!(code(both), Code::TokenRevoked);
    assert_eq!(fleet.signing.events().unwrap(), before, "nothing was written");
    fleet.stop().await;
}
