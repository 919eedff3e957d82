//! What an operator makes of a device, and what the device may do then.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::messages::enrollment::{ApprovalView, ConflictKind, DeviceStanding, DeviceTags, Identity};
use borealis_bus_schema::messages::shared_events::{DeviceStatus, DeviceStatusChanged, DeviceTagged, SharedEvent as _};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::Right;
use borealis_service_kit::random;
use borealis_test_support::eventually;
use serde_json::json;

use crate::rig::{Machine, Polled as _, Rig, log_in, narrowed};

async fn make(rig: &Rig, device: &Identity, act: &str) -> Reply<DeviceStanding> {
    let verb = format!("devices-{act}");
    rig.ask(&verb, &device.guid.to_string(), &json!({"reason": "odd traffic"}))
        .await
}

fn status_events(rig: &Rig) -> Vec<DeviceStatusChanged> {
    let events = rig
        .events()
        .into_iter()
        .filter(|event| event.kind == DeviceStatusChanged::KIND);
    let read =
        |event: borealis_event_store::EventRecord| borealis_bus_schema::codec::decode(&event.body.unwrap()).unwrap();
    events.map(read).collect()
}

fn tags_told(rig: &Rig) -> Vec<Vec<String>> {
    let events = rig
        .events()
        .into_iter()
        .filter(|event| event.kind == DeviceTagged::KIND);
    let read = |event: borealis_event_store::EventRecord| {
        let tagged: DeviceTagged = borealis_bus_schema::codec::decode(&event.body.unwrap()).unwrap();
        assert_eq!(tagged.by.username, "ada");
        tagged.tags.iter().map(ToString::to_string).collect()
    };
    events.map(read).collect()
}

#[tokio::test]
async fn a_device_gets_tags_with_its_approval_and_later() {
    let rig = Rig::start().await;
    let mut machine = Machine::draw("web-1");
    let code = rig.mint(json!({"uses": 9})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    let id = challenge.reference.to_string();
    let refused: Reply<ApprovalView> = rig.ask("approvals-approve", &id, &json!({"tags": ["Not A Tag"]})).await;
    assert_eq!(refused.unwrap_err().code, Code::Malformed);
    let decider = log_in(&rig.bus, &[Right::ApprovalsDecide]);
    let call = rig.call_by(&decider, "approvals-approve", &id, "{\"tags\":[\"web\"]}", random::id());
    let refused = rig
        .send("approvals-approve", &call, narrowed(&decider, "approvals-approve", 0))
        .await;
    assert_eq!(
        refused.unwrap_err().code,
        Code::RightMissing,
        "filters of others go by tags"
    );
    let approved: ApprovalView = rig
        .ask("approvals-approve", &id, &json!({"tags": ["web", "prod"]}))
        .await
        .unwrap();
    let guid = approved.guid.unwrap().to_string();
    let command: CommandId = random::id();
    let body = json!({"add": ["db"], "remove": ["web"]});
    let now: DeviceTags = rig.command("devices-tag", &guid, &body, command).await.unwrap();
    let again: DeviceTags = rig.command("devices-tag", &guid, &body, command).await.unwrap();
    assert_eq!(now, again, "the same command has the same answer");
    assert_eq!((now.hostname.as_str(), now.tags.len()), ("web-1", 2));

    let many: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let refused: Reply<DeviceTags> = rig.ask("devices-tag", &guid, &json!({ "add": many })).await;
    assert_eq!(refused.unwrap_err().code, Code::InvalidField);
    assert_eq!(tags_told(&rig), [["prod", "web"], ["db", "prod"]]);

    // Who enrols the machine anew keeps its tags, and adds some.
    machine = Machine {
        facts: machine.facts,
        ..Machine::draw("web-1")
    };
    let challenge = machine.request(&rig, &code).await.unwrap();
    let _: ApprovalView = rig
        .ask(
            "approvals-approve",
            &challenge.reference.to_string(),
            &json!({"conflict": "overwrite", "tags": ["new"]}),
        )
        .await
        .unwrap();
    assert_eq!(tags_told(&rig)[2..], [["db", "new", "prod"]]);
}

#[tokio::test]
async fn a_quarantined_device_may_report_and_renew_and_is_released_again() {
    let rig = Rig::start().await;
    let (machine, device, user) = rig.device("web-1").await;

    let command: CommandId = random::id();
    let (id, body) = (device.guid.to_string(), json!({"reason": " odd traffic "}));
    let first: DeviceStanding = rig.command("devices-quarantine", &id, &body, command).await.unwrap();
    let again: DeviceStanding = rig.command("devices-quarantine", &id, &body, command).await.unwrap();
    assert_eq!(first, again, "the same command has the same answer");
    assert_eq!(first.status, DeviceStatus::Quarantined);
    assert_eq!(
        (first.status_reason.as_deref(), first.status_by.as_deref()),
        (Some("odd traffic"), Some("ada"))
    );
    let told = status_events(&rig);
    assert_eq!(told.len(), 1);
    let by = told[0].by.as_ref().unwrap();
    assert_eq!((by.username.as_str(), told[0].reason.as_str()), ("ada", "odd traffic"));

    let twice = make(&rig, &device, "quarantine").await;
    assert_eq!(twice.unwrap_err().code, Code::WrongState);
    let token = device.credentials.refresh_token.as_str();
    machine.renew(&rig, &device, Some(token)).await.unwrap();
    assert!(user.is_connected());

    let released = make(&rig, &device, "release").await.unwrap();
    assert_eq!(released.status, DeviceStatus::Active);
    assert_eq!(make(&rig, &device, "release").await.unwrap_err().code, Code::WrongState);
    assert_eq!(status_events(&rig).len(), 2);
    assert!(!user.events().iter().any(|event| event.contains("disconnected")));
}

#[tokio::test]
async fn a_revoked_device_comes_back_by_a_new_approval_only_and_what_it_had_stays_worthless() {
    let rig = Rig::start().await;
    let (machine, device, user) = rig.device("web-1").await;
    assert_eq!(
        make(&rig, &device, "revoke").await.unwrap().status,
        DeviceStatus::Revoked
    );
    user.told("Authentication Revoked").await.unwrap();
    let released = make(&rig, &device, "release").await;
    assert_eq!(
        released.unwrap_err().code,
        Code::WrongState,
        "a release undoes no revocation"
    );

    // Its own machine asks again, with a code that approves by itself: nothing comes of it without an operator.
    let mut again = machine;
    again.client_nonce = crate::rig::nonce::<32>();
    let code = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    let challenge = again.request(&rig, &code).await.unwrap();
    assert_eq!(again.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let token = device.credentials.refresh_token.as_str();
    let refused = again.renew(&rig, &device, Some(token)).await.map(|_| ());
    assert_eq!(refused.unwrap_err().code, Code::DeviceRevoked);
    assert_eq!(status_events(&rig).len(), 1);

    let waiting = rig.approvals("pending").await;
    assert!(
        waiting[0].reason.as_deref().unwrap().contains("revoked"),
        "{:?}",
        waiting[0].reason
    );
    let approved: Reply<ApprovalView> = rig
        .ask("approvals-approve", &challenge.reference.to_string(), &json!({}))
        .await;
    assert_eq!(
        approved.unwrap().guid,
        Some(device.guid),
        "the same key is the same device"
    );
    let refused = again.renew(&rig, &device, Some(token)).await.map(|_| ());
    assert_eq!(
        refused.unwrap_err().code,
        Code::RefreshInvalid,
        "its old token renews nothing"
    );
    let back = again.poll(&rig, &challenge).await.unwrap().identity();
    assert_eq!(back.guid, device.guid);

    let mut token = back.credentials.refresh_token.clone();
    let key = || borealis_test_support::user_key_pair(&again.key).unwrap();
    let old = device.credentials.bus_jwt.clone();
    let refused = rig.bus.connect(key(), move || old.clone(), "_INBOX_x").await;
    assert!(refused.is_err(), "the JWT from before the revocation connects again");
    eventually("a new JWT connects", async || {
        // The bus counts whole seconds: what is signed in the second of the revocation is refused with what was before.
        let fresh = again.renew(&rig, &back, Some(&token)).await.ok()?.credentials;
        token = fresh.refresh_token;
        let fresh = fresh.bus_jwt;
        let inbox = borealis_bus_schema::subjects::inbox_prefix(&back.guid.to_string());
        rig.bus.connect(key(), move || fresh.clone(), &inbox).await.ok()
    })
    .await
    .unwrap();
    let state = rig.app.ledger.state();
    assert_eq!(state.device(&device.guid).unwrap().status, DeviceStatus::Active);
}

#[tokio::test]
async fn a_device_that_was_revoked_before_it_ever_connected_comes_back_by_a_new_approval() {
    let rig = Rig::start().await;
    let mut machine = Machine::draw("web-1");
    let device = rig.enrol(&machine).await;
    make(&rig, &device, "revoke").await.unwrap();
    machine.client_nonce = crate::rig::nonce::<32>();
    let code = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    let challenge = machine.request(&rig, &code).await.unwrap();
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let approved: Reply<ApprovalView> = rig
        .ask("approvals-approve", &challenge.reference.to_string(), &json!({}))
        .await;
    assert_eq!(approved.unwrap().guid, Some(device.guid));
    assert_eq!(machine.poll(&rig, &challenge).await.unwrap().text(), "approved");
}

#[tokio::test]
async fn a_decommissioned_device_never_comes_back() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let device = rig.enrol(&machine).await;
    let token = device.credentials.refresh_token.as_str();
    machine.renew(&rig, &device, Some(token)).await.unwrap();
    let waiting = Machine {
        client_nonce: crate::rig::nonce::<32>(),
        ..machine
    };
    let code = rig.mint(json!({"uses": 5})).await.code.unwrap();
    let challenge = waiting.request(&rig, &code).await.unwrap();
    assert_eq!(
        make(&rig, &device, "decommission").await.unwrap().status,
        DeviceStatus::Decommissioned
    );
    let events = rig.events().len();

    // A request from before is not approved any more, and no new one is taken.
    let approved: Reply<ApprovalView> = rig
        .ask("approvals-approve", &challenge.reference.to_string(), &json!({}))
        .await;
    assert_eq!(approved.unwrap_err().code, Code::DeviceDecommissioned);
    let auto = rig.mint(json!({"auto_approve": true})).await.code.unwrap();
    for code in [&code, &auto] {
        let refused = waiting.request(&rig, code).await.map(|_| ());
        assert_eq!(refused.unwrap_err().code, Code::DeviceDecommissioned);
    }
    let token = device.credentials.refresh_token.as_str();
    let refused = waiting.renew(&rig, &device, Some(token)).await.map(|_| ());
    assert_eq!(refused.unwrap_err().code, Code::DeviceDecommissioned);
    for act in ["quarantine", "release", "revoke", "decommission"] {
        assert_eq!(
            make(&rig, &device, act).await.unwrap_err().code,
            Code::WrongState,
            "{act}"
        );
    }
    assert_eq!(rig.events().len(), events + 1, "only the second code was written");
    let state = rig.app.ledger.state();
    assert_eq!(
        state.device_by_key(&PublicKey::of(&waiting.key)).map(|d| d.status),
        Some(DeviceStatus::Decommissioned)
    );
}

#[tokio::test]
async fn a_machine_that_was_shut_out_waits_for_an_operator_also_under_a_fresh_key() {
    let rig = Rig::start().await;
    let auto = rig.mint(json!({"auto_approve": true, "uses": 50})).await.code.unwrap();
    let approve = async |id: &str, body: serde_json::Value| -> Reply<ApprovalView> {
        rig.ask("approvals-approve", id, &body).await
    };
    for (act, hostname) in [("revoke", "web-1"), ("decommission", "web-2")] {
        let machine = Machine::draw(hostname);
        let device = rig.enrol(&machine).await;
        make(&rig, &device, act).await.unwrap();

        // The agent of the machine draws new keys; the code would let any new machine in.
        let fresh = machine.with_fresh_keys();
        let challenge = fresh.request(&rig, &auto).await.unwrap();
        assert_eq!(fresh.poll(&rig, &challenge).await.unwrap().text(), "pending", "{act}");
        let waiting = rig.approvals("pending").await;
        let shown = waiting
            .iter()
            .find(|request| request.id == challenge.reference)
            .unwrap();
        assert_eq!(
            shown.conflicts.iter().map(|c| (c.kind, c.guid)).collect::<Vec<_>>(),
            [(ConflictKind::ShutOutMachine, Some(device.guid))]
        );
        assert!(
            shown.reason.as_deref().unwrap().contains("shut out"),
            "{:?}",
            shown.reason
        );
        let id = challenge.reference.to_string();
        let undecided = approve(&id, json!({})).await.map(|_| ());
        assert_eq!(undecided.unwrap_err().code, Code::MachineConflict);

        let overwritten = approve(&id, json!({"conflict": "overwrite"})).await;
        let state = || rig.app.ledger.state().device(&device.guid).unwrap().status;
        if act == "revoke" {
            assert_eq!(
                overwritten.unwrap().guid,
                Some(device.guid),
                "it goes on under its new key"
            );
            assert_eq!(state(), DeviceStatus::Active);
            let back = fresh.poll(&rig, &challenge).await.unwrap().identity();
            assert_eq!(back.guid, device.guid);
        } else {
            assert_eq!(overwritten.map(|_| ()).unwrap_err().code, Code::DeviceDecommissioned);
            let other = approve(&id, json!({"conflict": "co_exist"})).await.unwrap();
            assert_ne!(other.guid, Some(device.guid));
            assert_eq!(state(), DeviceStatus::Decommissioned, "what is gone stays gone");
        }
    }
}

#[tokio::test]
async fn every_device_of_a_machine_is_remembered() {
    let rig = Rig::start().await;
    let auto = rig.mint(json!({"auto_approve": true, "uses": 50})).await.code.unwrap();
    let first = Machine::draw("web-1");
    let (known, second) = (rig.enrol(&first).await, first.with_fresh_keys());
    let challenge = second.request(&rig, &auto).await.unwrap();
    let beside: ApprovalView = rig
        .ask(
            "approvals-approve",
            &challenge.reference.to_string(),
            &json!({"conflict": "co_exist"}),
        )
        .await
        .unwrap();
    let beside_id = beside.guid.unwrap();
    second.poll(&rig, &challenge).await.unwrap().identity();
    let _: DeviceStanding = rig
        .ask("devices-decommission", &beside_id.to_string(), &json!({}))
        .await
        .unwrap();

    // The device that came last is gone; the one before it lives, and comes first. Also after a restart.
    let rig = rig.restart().await;
    let third = first.with_fresh_keys();
    let challenge = third.request(&rig, &auto).await.unwrap();
    assert_eq!(third.poll(&rig, &challenge).await.unwrap().text(), "pending");
    let waiting = rig.approvals("pending").await;
    assert_eq!(
        waiting[0]
            .conflicts
            .iter()
            .map(|c| (c.kind, c.guid))
            .collect::<Vec<_>>(),
        [
            (ConflictKind::KnownMachine, Some(known.guid)),
            (ConflictKind::ShutOutMachine, Some(beside_id))
        ]
    );
    // The one that lives is the same device when its own key asks again: nothing is in conflict.
    let mut again = first;
    again.client_nonce = crate::rig::nonce::<32>();
    let challenge = again.request(&rig, &auto).await.unwrap();
    assert_eq!(again.poll(&rig, &challenge).await.unwrap().identity().guid, known.guid);
}
