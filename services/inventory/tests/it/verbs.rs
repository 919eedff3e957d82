//! Each operator's verb refuses whoever may not, with a code of its own, and writes nothing.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::routes::{Need, ROUTES, Right};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{HOP_LIFE_MS, Sites, attenuate};
use borealis_test_support::TestDevice;

use crate::rig::{INVENTORY, Rig, log_in, log_in_at, narrowed, now};

#[tokio::test]
async fn every_verb_refuses_whoever_may_not() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    let id = device.guid.to_string();
    let mut seen = 0;
    for route in ROUTES.iter().filter(|route| route.service == INVENTORY) {
        seen += 1;
        let call = rig.call_by(&rig.operator, route.verb, &id, "");
        let refused = async |biscuit| rig.send(route.verb, &call, biscuit).await.unwrap_err().code;
        assert_eq!(refused(None).await, Code::TokenMissing, "{}", route.verb);
        assert_eq!(refused(Some("x".into())).await, Code::TokenInvalid, "{}", route.verb);
        let elsewhere = attenuate(&rig.operator.token, Service::Scheduler, route.need, now(), HOP_LIFE_MS);
        assert_eq!(
            refused(Some(elsewhere.unwrap())).await,
            Code::WrongService,
            "{}",
            route.verb
        );
        let otherwise = attenuate(&rig.operator.token, INVENTORY, Need::Session, now(), HOP_LIFE_MS);
        assert_eq!(
            refused(Some(otherwise.unwrap())).await,
            Code::WrongAction,
            "{}",
            route.verb
        );
        let old = narrowed(&rig.operator, route.verb, 31_000);
        assert_eq!(refused(old).await, Code::TokenExpired, "{}", route.verb);
        let lesser = log_in(&rig.bus, &[Right::JobsRead]);
        assert_eq!(
            refused(narrowed(&lesser, route.verb, 0)).await,
            Code::RightMissing,
            "{}",
            route.verb
        );
        let gone = log_in(&rig.bus, &Right::ALL);
        rig.inventory.revoked.end_session(gone.session);
        assert_eq!(
            refused(narrowed(&gone, route.verb, 0)).await,
            Code::TokenRevoked,
            "{}",
            route.verb
        );
    }
    assert_eq!(seen, 2);
    let unknown = rig.read("devices-show", &TestDevice::draw().guid.to_string(), "").await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
    assert_eq!(
        rig.read("devices-show", "x", "").await.unwrap_err().code,
        Code::NotFound
    );
    assert_eq!(rig.inventory.events().unwrap(), 0, "nothing was written");
}

#[tokio::test]
async fn an_operator_of_another_site_sees_nothing() {
    let rig = Rig::start().await;
    let device = TestDevice::draw();
    rig.enrol(&device, "web-1").await;
    let elsewhere = Sites::Some([SiteName::new("elsewhere").unwrap()].into());
    let other = log_in_at(&rig.bus, &Right::ALL, &elsewhere);
    let mut said = Vec::new();
    for guid in [device.guid, TestDevice::draw().guid] {
        let show = rig.call_by(&other, "devices-show", &guid.to_string(), "");
        let refused = rig
            .send("devices-show", &show, narrowed(&other, "devices-show", 0))
            .await;
        said.push(refused.unwrap_err());
    }
    assert_eq!(said[0].code, Code::NotFound);
    assert_eq!(said[0], said[1], "a foreign device and none are told apart");
    let list = rig.call_by(&other, "devices-list", "", "");
    let listed = rig
        .send("devices-list", &list, narrowed(&other, "devices-list", 0))
        .await
        .unwrap();
    assert!(listed.contains("\"total\":0"), "{listed}");
}
