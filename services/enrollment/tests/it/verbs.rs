//! Each operator's verb refuses whoever may not, with a code of its own, and writes nothing.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::operator::Proof;
use borealis_bus_schema::routes::{Need, ROUTES, Right};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{HOP_LIFE_MS, Sites, attenuate};
use borealis_service_kit::random;
use serde_json::json;

use crate::rig::{ENROLLMENT, Machine, Rig, log_in, log_in_at, narrowed, now};

#[tokio::test]
async fn every_verb_refuses_whoever_may_not() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let minted = rig.mint(json!({})).await;
    let challenge = machine.request(&rig, &minted.code.unwrap()).await.unwrap();
    let device = rig.enrol(&Machine::draw("web-2")).await;
    let before = rig.service.events().unwrap();

    let operators = ROUTES
        .iter()
        .filter(|r| r.service == ENROLLMENT && r.need != Need::Public);
    let mut seen = 0;
    for route in operators {
        seen += 1;
        let id = if route.path.contains("codes") {
            minted.id.to_string()
        } else if route.path.contains("devices") {
            device.guid.to_string()
        } else {
            challenge.reference.to_string()
        };
        let call = || rig.call_by(&rig.operator, route.verb, &id, "{}", random::id());
        let refused = async |call, biscuit| rig.send(route.verb, &call, biscuit).await.unwrap_err().code;
        let good = || narrowed(&rig.operator, route.verb, 0);

        assert_eq!(refused(call(), None).await, Code::TokenMissing, "{}", route.verb);
        assert_eq!(
            refused(call(), Some("x".into())).await,
            Code::TokenInvalid,
            "{}",
            route.verb
        );
        let elsewhere = attenuate(&rig.operator.token, Service::Scheduler, route.need, now(), HOP_LIFE_MS);
        assert_eq!(
            refused(call(), Some(elsewhere.unwrap())).await,
            Code::WrongService,
            "{}",
            route.verb
        );
        let otherwise = attenuate(&rig.operator.token, ENROLLMENT, Need::Session, now(), HOP_LIFE_MS);
        assert_eq!(
            refused(call(), Some(otherwise.unwrap())).await,
            Code::WrongAction,
            "{}",
            route.verb
        );
        let old = narrowed(&rig.operator, route.verb, 31_000);
        assert_eq!(refused(call(), old).await, Code::TokenExpired, "{}", route.verb);

        let lesser = log_in(&rig.bus, &[Right::JobsRead]);
        let theirs = rig.call_by(&lesser, route.verb, &id, "{}", random::id());
        assert_eq!(
            refused(theirs, narrowed(&lesser, route.verb, 0)).await,
            Code::RightMissing,
            "{}",
            route.verb
        );
        let gone = log_in(&rig.bus, &Right::ALL);
        rig.service.revoked.end_session(gone.session);
        let theirs = rig.call_by(&gone, route.verb, &id, "{}", random::id());
        assert_eq!(
            refused(theirs, narrowed(&gone, route.verb, 0)).await,
            Code::TokenRevoked,
            "{}",
            route.verb
        );

        if route.changes {
            let mut unsigned = call();
            unsigned.proof = None;
            assert_eq!(
                refused(unsigned, good()).await,
                Code::SignatureMissing,
                "{}",
                route.verb
            );
            let mut altered = call();
            altered.body = b"{ }".to_vec();
            assert_eq!(refused(altered, good()).await, Code::SignatureInvalid, "{}", route.verb);
            let mut late = call();
            let (operator, path) = (&rig.operator, late.path.clone());
            let at = now().plus_ms(-31_000);
            let proof = Proof::new(
                &operator.key,
                operator.session,
                random::id(),
                at,
                route.method,
                &path,
                b"{}",
            );
            late.proof = Some(proof);
            assert_eq!(refused(late, good()).await, Code::SignatureExpired, "{}", route.verb);
            let mut foreign = call();
            foreign.proof = rig.call_by(&lesser, route.verb, &id, "{}", random::id()).proof;
            assert_eq!(refused(foreign, good()).await, Code::SignatureInvalid, "{}", route.verb);
        }
    }
    assert_eq!(seen, 12);
    assert_eq!(rig.service.events().unwrap(), before, "nothing was written");
}

#[tokio::test]
async fn undecodable_bodies_are_refused_and_the_service_lives_on() {
    let rig = Rig::start().await;
    for verb in ["enroll-request", "enroll-poll", "device-renew", "device-rotate-key"] {
        let deep = "[".repeat(5_000);
        for (body, code) in [
            ("", Code::Malformed),
            ("{", Code::Malformed),
            ("{}", Code::Malformed),
            (deep.as_str(), Code::TooDeep),
        ] {
            let call = rig.call_by(&rig.operator, verb, "", body, random::id());
            assert_eq!(
                rig.send(verb, &call, None).await.unwrap_err().code,
                code,
                "{verb} {body:.9}"
            );
        }
        let large = format!("\"{}\"", "x".repeat(20_000));
        let call = rig.call_by(&rig.operator, verb, "", &large, random::id());
        assert_eq!(
            rig.send(verb, &call, None).await.unwrap_err().code,
            Code::TooLarge,
            "{verb}"
        );
    }
    assert_eq!(rig.service.events().unwrap(), 0);
    rig.mint(json!({})).await;
}

#[tokio::test]
async fn an_operator_of_another_site_reaches_nothing() {
    let rig = Rig::start().await;
    let minted = rig.mint(json!({})).await;
    let challenge = Machine::draw("web-1")
        .request(&rig, &minted.code.unwrap())
        .await
        .unwrap();
    let device = rig.enrol(&Machine::draw("web-2")).await.guid;
    let before = rig.service.events().unwrap();
    let elsewhere = Sites::Some([SiteName::new("elsewhere").unwrap()].into());
    let other = log_in_at(&rig.bus, &Right::ALL, &elsewhere);
    let drawn = rig.draw_code(json!({})).1.to_string();
    let call = rig.call_by(&other, "codes-create", "", &drawn, random::id());
    let refused = rig
        .send("codes-create", &call, narrowed(&other, "codes-create", 0))
        .await;
    assert_eq!(refused.unwrap_err().code, Code::OutOfScope);
    for (verb, id) in [
        ("codes-revoke", minted.id.to_string()),
        ("approvals-approve", challenge.reference.to_string()),
        ("approvals-deny", challenge.reference.to_string()),
    ] {
        let mut said = Vec::new();
        for id in [id, "0123456789abcdef0123456789abcdef".to_owned()] {
            let call = rig.call_by(&other, verb, &id, "{}", random::id());
            said.push(rig.send(verb, &call, narrowed(&other, verb, 0)).await.unwrap_err());
        }
        assert_eq!(said[0].code, Code::NotFound, "{verb}");
        assert_eq!(
            said[0], said[1],
            "{verb}: what is foreign and what is missing are told apart"
        );
    }
    let strange = borealis_bus_schema::ids::Guid::from_random([9; 16]);
    for verb in [
        "devices-quarantine",
        "devices-release",
        "devices-revoke",
        "devices-decommission",
        "devices-rotate-key",
        "devices-tag",
    ] {
        let mut said = Vec::new();
        for id in [device, strange] {
            let call = rig.call_by(&other, verb, &id.to_string(), "{}", random::id());
            said.push(rig.send(verb, &call, narrowed(&other, verb, 0)).await.unwrap_err());
        }
        assert_eq!(said[0].code, Code::NotFound, "{verb}");
        assert_eq!(said[0], said[1], "{verb}: a foreign device and none are told apart");
    }
    for verb in ["codes-list", "approvals-list"] {
        let call = rig.call_by(&other, verb, "", "", random::id());
        let listed = rig.send(verb, &call, narrowed(&other, verb, 0)).await.unwrap();
        assert!(listed.starts_with("{\"items\":[]"), "{listed}");
    }
    assert_eq!(rig.service.events().unwrap(), before, "nothing was written");
}
