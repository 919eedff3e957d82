//! Who is there.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::subjects::{Service, filter};
use borealis_test_support::{DEADLINE, TestDevice, eventually};
use serde_json::Value;

use crate::rig::{INVENTORY, Rig, now};

#[tokio::test]
async fn presence_is_what_enrollment_says_and_stale_when_it_says_nothing() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    rig.eventually("offline", &device.guid, |shown| shown["presence"] == "offline")
        .await;
    rig.connected(&device).await;
    let shown = rig
        .eventually("online", &device.guid, |shown| shown["presence"] == "online")
        .await;
    assert_eq!(
        (&shown["hostname"], &shown["facts"]),
        (&Value::from("web-1"), &Value::Null)
    );
    assert_eq!(shown["addresses"][0], "192.0.2.2");
    let left_at = now();
    rig.disconnected(&device, left_at).await;
    let shown = rig
        .eventually("offline again", &device.guid, |shown| shown["presence"] == "offline")
        .await;
    assert_eq!(shown["last_seen_at"], left_at.to_string());

    let id = device.guid.to_string();
    let Rig {
        bus,
        gateway,
        operator,
        enrollment,
        inventory,
    } = rig;
    enrollment.stop().await.unwrap();
    let call = borealis_bus_schema::operator::OperatorCall {
        method: "GET".into(),
        path: format!("/api/v1/devices/{id}"),
        body: Vec::new(),
        proof: None,
        peer: "192.0.2.7:1".into(),
    };
    eventually("stale", async || {
        let options = borealis_service_kit::bus::RequestOptions {
            biscuit: crate::rig::narrowed(&operator, "devices-show", 0),
            ..Default::default()
        };
        let answer = gateway.call(INVENTORY, "devices-show", &call, options).await.ok()?;
        let shown: Value = serde_json::from_str(&answer.json).unwrap();
        (shown["presence"] == "stale").then_some(())
    })
    .await
    .unwrap();
    inventory.stop().await.unwrap();
    drop(bus);
}

#[tokio::test]
async fn the_list_is_sorted_filtered_and_cut_into_pages() {
    let rig = Rig::start().await;
    for name in ["web-2", "db-1", "web-1"] {
        rig.enrol(&TestDevice::draw(), name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["hostname"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = rig.read("devices-list", "", "?limit=2").await.unwrap();
    assert_eq!(
        (names(&first), &first["total"]),
        (vec!["db-1".to_owned(), "web-1".to_owned()], &Value::from(3))
    );
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = rig
        .read("devices-list", "", &format!("?limit=2&cursor={cursor}"))
        .await
        .unwrap();
    assert_eq!(
        (names(&second), &second["next_cursor"]),
        (vec!["web-2".to_owned()], &Value::Null)
    );
    let filtered = rig.read("devices-list", "", "?q=WEB").await.unwrap();
    assert_eq!((names(&filtered).len(), &filtered["total"]), (2, &Value::from(2)));
    let long = format!("?q={}", "x".repeat(300));
    for query in ["?limit=many", "?cursor=rubbish", long.as_str()] {
        let refused = rig.read("devices-list", "", query).await;
        assert_eq!(refused.unwrap_err().code, Code::InvalidField, "{query}");
    }
}

#[tokio::test]
async fn changes_are_told_for_live_views() {
    let rig = Rig::start().await;
    let gateway = rig.bus.connect_service(Service::Gateway).await.unwrap();
    let mut live = gateway.subscribe(&filter::events_of(INVENTORY)).await.unwrap();
    gateway.settle().await.unwrap();
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    rig.connected(&device).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let message = live.next_within(DEADLINE).await.unwrap();
        let body = String::from_utf8_lossy(&message.body).into_owned();
        if message.subject.contains(".device.") && body.contains(&device.guid.to_string()) {
            told.push(message.subject);
        }
    }
    let expected = ["added", "presence-changed"];
    assert_eq!(
        told,
        expected.map(|past| format!("borealis.v1.event.inventory.device.{past}"))
    );
}
