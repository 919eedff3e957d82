//! What devices tell of themselves.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::inventory::FactsKept;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_test_support::TestDevice;
use serde_json::json;

use crate::rig::{INVENTORY, Rig, facts, packages, tell};

#[tokio::test]
async fn signed_facts_are_kept_shown_and_survive_a_restart() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "unnamed").await;
    let user = rig.bus.connect_device(&device).await.unwrap();
    let mut told = facts(device.guid);
    let kept = tell(&user, &device.guid, &device.key, &told).await.unwrap();
    assert_eq!(kept, FactsKept { changed: true });
    told.at = told.at.plus_ms(1_000);
    told.summary.uptime_ms += 1_000;
    let kept = tell(&user, &device.guid, &device.key, &told).await.unwrap();
    assert_eq!(kept, FactsKept { changed: false });
    assert_eq!(rig.inventory.events().unwrap(), 1);

    let shown = rig
        .eventually("the facts", &device.guid, |shown| shown["hostname"] == "web-1")
        .await;
    assert_eq!(shown["uptime_ms"], json!(61_000));
    assert_eq!(shown["facts"]["summary"]["uptime_ms"], json!(61_000));
    assert_eq!(shown["facts"]["cpu"]["model"], "EPYC");
    assert_eq!(shown["addresses"], json!(["10.0.0.7"]));

    let rig = rig.restart().await;
    let shown = rig
        .eventually("the facts", &device.guid, |shown| shown["facts"] != json!(null))
        .await;
    assert_eq!((&shown["hostname"], &shown["cpu"]), (&json!("web-1"), &json!("EPYC")));
    assert_eq!(shown["facts"]["software"].as_array().unwrap().len(), 3);
    let user = rig.bus.connect_device(&device).await.unwrap();
    told.at = told.at.plus_ms(1_000);
    told.cpu.logical = 8;
    tell(&user, &device.guid, &device.key, &told).await.unwrap();
    let shown = rig
        .eventually("the change", &device.guid, |shown| {
            shown["facts"]["cpu"]["logical"] == json!(8)
        })
        .await;
    assert_eq!(shown["facts"]["os"]["kernel"], "6.1");
    let rebuilt = rig.inventory.rebuild_views.clone().unwrap()().await.unwrap();
    // What the audit keeps of refusals stands in the same log.
    let all = rig.inventory.log.head().position;
    assert!((2..=all).contains(&rebuilt), "{rebuilt} of {all}");
    let again = rig.eventually("the same", &device.guid, |_| true).await;
    assert_eq!(again["facts"], shown["facts"]);
}

#[tokio::test]
async fn a_long_software_list_stands_in_a_file() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    let user = rig.bus.connect_device(&device).await.unwrap();
    let mut told = facts(device.guid);
    told.software = packages(3_000);
    tell(&user, &device.guid, &device.key, &told).await.unwrap();
    let event = rig.inventory.log.read_all(0, 10).unwrap().remove(0);
    assert!(event.body.unwrap().len() < 8_192);
    let files = rig.bus.paths().state(INVENTORY).join("files");
    assert!(files.is_dir());
    let shown = rig
        .eventually("the facts", &device.guid, |shown| shown["facts"] != json!(null))
        .await;
    assert_eq!(shown["facts"]["software"].as_array().unwrap().len(), 3_000);
}

#[tokio::test]
async fn facts_that_the_device_did_not_sign_are_refused() {
    let rig = Rig::start().await;
    let (device, other) = (TestDevice::draw(), TestDevice::draw());
    rig.enrol(&device, "web-1").await;
    rig.enrol(&other, "web-2").await;
    let user = rig.bus.connect_device(&device).await.unwrap();
    let told = facts(device.guid);
    let code = async |key, facts| tell(&user, &device.guid, key, facts).await.unwrap_err().code;
    let elsewhere = facts(other.guid);
    assert_eq!(code(&other.key, &told).await, Code::ProofInvalid);
    assert_eq!(code(&device.key, &elsewhere).await, Code::ProofInvalid);
    let mut future = told.clone();
    future.at = future.at.plus_ms(3_600_000);
    assert_eq!(code(&device.key, &future).await, Code::InvalidField);
    let stranger = TestDevice::draw();
    let unknown = rig.bus.connect_device(&stranger).await.unwrap();
    let refused = tell(&unknown, &stranger.guid, &stranger.key, &facts(stranger.guid)).await;
    assert_eq!(refused.unwrap_err().code, Code::Unavailable);
    assert_eq!(rig.inventory.events().unwrap(), 0, "nothing was written");
    assert!(tell(&user, &device.guid, &device.key, &told).await.unwrap().changed);
}

#[tokio::test]
async fn a_quarantined_device_may_report_and_a_revoked_one_may_not() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    let user = rig.bus.connect_device(&device).await.unwrap();
    let told = facts(device.guid);
    for (status, code) in [
        (DeviceStatus::Revoked, Code::DeviceRevoked),
        (DeviceStatus::Decommissioned, Code::DeviceDecommissioned),
    ] {
        rig.change_status(&device, status).await;
        let refused = tell(&user, &device.guid, &device.key, &told).await;
        assert_eq!(refused.unwrap_err().code, code);
    }
    assert_eq!(rig.inventory.events().unwrap(), 0, "nothing was written");
    rig.change_status(&device, DeviceStatus::Quarantined).await;
    tell(&user, &device.guid, &device.key, &told).await.unwrap();
}
