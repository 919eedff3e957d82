//! The warden: presence, clones, revocation.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::subjects::filter;
use borealis_enrollment::aggregate::device::Change;
use borealis_service_kit::nats_jwt::{self, AccountClaims};
use borealis_service_kit::service::ServeError;
use borealis_test_support::{DEADLINE, eventually};
use nkeys::KeyPair;
use serde_json::json;

use crate::gate::{Gate, Rule};
use crate::rig::{ENROLLMENT, Machine, Polled as _, Rig, now};

#[tokio::test]
async fn a_device_that_leaves_is_called_absent_and_one_that_comes_back_at_once_is_not() {
    let rig = Rig::start().await;
    let (machine, identity, device) = rig.device("web-1").await;
    device.client().force_reconnect().await.unwrap();
    drop(device);
    rig.wait_for("DeviceDisconnected", 1).await;
    let _device = rig.connect(&machine, &identity).await;
    rig.wait_for("DeviceConnected", 2).await;
    assert_eq!((rig.count("DeviceConnected"), rig.count("DeviceDisconnected")), (2, 1));
}

#[tokio::test]
async fn the_newest_of_two_connections_with_one_key_wins() {
    let rig = Rig::start().await;
    let (machine, identity, older) = rig.device("web-1").await;
    let before = older.events().len();
    let _newer = rig.connect(&machine, &identity).await;
    eventually("the older connection's end", async || {
        let events = older.events();
        events[before..]
            .iter()
            .any(|event| event.contains("disconnected"))
            .then_some(())
    })
    .await
    .unwrap();
    assert_eq!(rig.count("DeviceDisconnected"), 0);
}

#[tokio::test]
async fn a_restart_of_the_bus_makes_nobody_absent_who_comes_back() {
    let mut rig = Rig::start().await;
    let (_, identity, _device) = rig.device("web-1").await;
    let (_, leaver, leaving) = rig.device("web-2").await;
    rig.bus.kill();
    drop(leaving);
    rig.bus.resume().await.unwrap();
    rig.wait_for("DeviceDisconnected", 1).await;
    let left = rig
        .events()
        .into_iter()
        .find(|event| event.kind == "DeviceDisconnected")
        .unwrap();
    assert_eq!(left.stream.as_str(), format!("presence-{}", leaver.guid));
    assert_eq!((rig.count("DeviceConnected"), rig.count("DeviceDisconnected")), (2, 1));
    let seen = rig.app.ledger.state().seen(&identity.guid).unwrap();
    assert!(seen.connected);
}

#[tokio::test]
async fn a_revoked_device_is_cut_at_once_and_gets_nothing_more() {
    let rig = Rig::start().await;
    let (machine, identity, device) = rig.device("web-1").await;
    let (_, _, bystander) = rig.device("web-2").await;
    rig.app
        .change_status(identity.guid, Change::Revoke, "stolen", now())
        .await
        .unwrap();
    device.told("Authentication Revoked").await.unwrap();
    rig.wait_for("DeviceDisconnected", 1).await;
    assert!(bystander.is_connected());
    assert!(!bystander.events().iter().any(|event| event.contains("disconnected")));

    let token = identity.credentials.refresh_token.as_str();
    let renewed = machine.renew(&rig, &identity, Some(token)).await.map(|_| ());
    assert_eq!(renewed.unwrap_err().code, Code::DeviceRevoked);
    let again = rig
        .bus
        .connect(
            borealis_test_support::user_key_pair(&machine.key).unwrap(),
            move || identity.credentials.bus_jwt.clone(),
            "_INBOX_x",
        )
        .await;
    assert!(again.is_err(), "the stolen JWT connects no more");
}

#[tokio::test]
async fn a_revocation_made_while_nobody_watched_is_given_to_the_bus_at_the_next_start() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    rig.app
        .change_status(identity.guid, Change::Revoke, "stolen", now())
        .await
        .unwrap();
    let held = async |rig: &Rig| {
        let system = rig.bus.connect_system().await.unwrap();
        let subject = format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", rig.bus.trust().account.public_key);
        let jwt = system.request(&subject, b"", DEADLINE).await.unwrap();
        nats_jwt::read(&String::from_utf8(jwt).unwrap()).unwrap()
    };
    let key = nats_jwt::user_key(&borealis_bus_schema::forms::PublicKey::of(&machine.key));
    eventually("the revocation on the bus", async || {
        held(&rig).await.nats["revocations"].get(&key).cloned()
    })
    .await
    .unwrap();

    // Somebody with the system account's user puts an account there that the operator never signed.
    let stranger = KeyPair::new_operator();
    let trust = rig.bus.trust();
    let claims = AccountClaims {
        public_key: trust.account.public_key.clone(),
        ..AccountClaims::default()
    };
    let poison = nats_jwt::account(&stranger, &claims, now()).unwrap();
    let system = rig.bus.connect_system().await.unwrap();
    system
        .request("$SYS.REQ.CLAIMS.UPDATE", poison.as_bytes(), DEADLINE)
        .await
        .unwrap();
    assert_eq!(held(&rig).await.iss, stranger.public_key());
    let rig = rig.restart().await;
    eventually("the account put right", async || {
        let claims = held(&rig).await;
        (claims.iss != stranger.public_key() && claims.nats["revocations"].get(&key).is_some()).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_happens_is_told_for_live_views() {
    let rig = Rig::start().await;
    let gateway = rig
        .bus
        .connect_service(borealis_bus_schema::subjects::Service::Gateway)
        .await
        .unwrap();
    let mut live = gateway.subscribe(&filter::events_of(ENROLLMENT)).await.unwrap();
    gateway.settle().await.unwrap();
    let machine = Machine::draw("web-1");
    let code = rig.mint(json!({})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let mut told = Vec::new();
    while told.len() < 3 {
        let message = live.next_within(DEADLINE).await.unwrap();
        if !message.subject.ends_with(".head") {
            told.push(message.subject);
        }
    }
    told.sort();
    let expected = ["approval.requested", "code.minted", "code.used"];
    assert_eq!(
        told,
        expected.map(|tail| format!("borealis.v1.event.enrollment.{tail}"))
    );
}

#[tokio::test]
async fn who_came_and_who_left_while_the_log_took_nothing_is_written_afterwards() {
    let gate = Gate::new();
    let rig = Rig::start_behind(&gate).await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    let refused = async |before: usize| {
        eventually("an append that is refused", async || {
            (gate.stopped() > before).then_some(())
        })
        .await
        .unwrap();
    };
    gate.set(Rule::Refuse("DeviceConnected"));
    let user = rig.connect(&machine, &identity).await;
    refused(0).await;
    gate.set(Rule::Open);
    rig.wait_for("DeviceConnected", 1).await;

    let before = gate.stopped();
    gate.set(Rule::Refuse("DeviceDisconnected"));
    drop(user);
    refused(before).await;
    gate.set(Rule::Open);
    rig.wait_for("DeviceDisconnected", 1).await;
    assert!(!rig.app.ledger.state().seen(&identity.guid).unwrap().connected);
}

#[tokio::test]
async fn the_service_ends_when_one_of_its_tasks_fails() {
    let gate = Gate::new();
    let rig = Rig::start_behind(&gate).await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    gate.set(Rule::Panic("DeviceConnected"));
    let _user = rig.connect(&machine, &identity).await;
    let ended = tokio::time::timeout(DEADLINE, rig.service.task).await.unwrap();
    assert!(matches!(ended.unwrap(), Err(ServeError::TaskEnded)));
}
