//! The audit of every service as one list, and the check of a piece of it.

use super::*;
use borealis_bus_schema::audit::AuditEntry;
use borealis_bus_schema::forms::{Form, sign};
use borealis_bus_schema::messages::audit::{
    AuditList, AuditPage, AuditVerified, AuditVerify, Countersigned, LIST_VERB, NewestHead, VERIFY_VERB,
};
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::order::Digest;
use borealis_service_kit::audit::Act;

fn entry(service: Service, position: u64, at_ms: i64) -> AuditEntry {
    let act = Act::new(
        NOW.plus_ms(at_ms),
        "POST /api/v1/codes",
        "codes-create",
        CorrelationId::from_bytes([1; 16]),
    );
    AuditEntry {
        service,
        position,
        record: act.record(),
    }
}

fn page(entries: Vec<AuditEntry>) -> Reply<Vec<u8>> {
    let page = AuditPage {
        reached: entries.last().map_or(0, |entry| entry.position),
        reached_at: entries.last().map(|entry| entry.record.at),
        entries,
        end: true,
    };
    Ok(reply::encode(&Ok(page)).unwrap())
}

#[tokio::test]
async fn the_audit_of_every_service_is_one_list_and_whoever_is_away_is_named() {
    let mut answers: BTreeMap<_, _> = Service::ALL
        .iter()
        .map(|service| ((*service, LIST_VERB), page(Vec::new())))
        .collect();
    answers.insert(
        (Service::Access, LIST_VERB),
        page(vec![entry(Service::Access, 9, 5), entry(Service::Access, 3, 1)]),
    );
    answers.insert(
        (Service::Scheduler, LIST_VERB),
        page(vec![entry(Service::Scheduler, 7, 3)]),
    );
    answers.remove(&(Service::Library, LIST_VERB));
    let fake = Fake {
        answers,
        ..Fake::default()
    };
    let world = with_rights(fake, PATIENCE, &[Right::AuditRead]);
    let bearer = format!("Bearer {}", world.biscuit);
    let headers = [("authorization", bearer.as_str())];
    let path = "/api/v1/audit?object=device%2Fx&actor=ada&from=2026-01-01T00:00:00Z&limit=10";
    let (response, json) = world.send("GET", path, &headers, Body::empty()).await;
    assert_eq!(response.status(), 200, "{json}");
    let order: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["position"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [9, 7, 3]);
    assert_eq!(
        (&json["missing"], &json["next_cursor"]),
        (&json!(["library"]), &Value::Null)
    );
    let asked = world.fake.inner.lock().unwrap();
    let (_, _, body, options) = asked.iter().find(|(service, ..)| *service == Service::Access).unwrap();
    let ask: AuditList = codec::decode(body).unwrap();
    assert_eq!(
        (ask.filter.object.as_deref(), ask.filter.actor.as_deref()),
        (Some("device/x"), Some("ada"))
    );
    assert!(ask.newest_first && ask.limit == 10 && ask.filter.from.is_some());
    // Each service gets a token of its own.
    assert!(
        options
            .biscuit
            .as_ref()
            .is_some_and(|narrowed| *narrowed != world.biscuit)
    );
}

#[tokio::test]
async fn what_no_list_gave_is_no_cursor() {
    let world = with_rights(Fake::default(), PATIENCE, &[Right::AuditRead]);
    let bearer = format!("Bearer {}", world.biscuit);
    for query in [
        "cursor=x",
        "order=asc&cursor=desc.access-1",
        "order=up",
        "limit=x",
        "from=yesterday",
    ] {
        let path = format!("/api/v1/audit?{query}");
        let (response, json) = world
            .send("GET", &path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (422, &json!("invalid_field")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_head_that_signing_did_not_sign_counts_for_nothing() {
    let head = Head {
        service: Service::Access,
        position: 5,
        hash: Digest([1; 32]),
        at: NOW,
    };
    for (seed, ago_ms, counts) in [(7u8, 0, true), (8, 0, false), (6, 0, false), (6, 3_600_000, true)] {
        let head = Head {
            at: NOW.plus_ms(-ago_ms),
            ..head.clone()
        };
        let bytes = codec::encode(&head).unwrap();
        let newest = NewestHead {
            countersigned: Some(Countersigned {
                head: head.clone(),
                at: NOW,
                signature: sign(&SigningKey::from_bytes(&[seed; 32]), Form::Countersign, &[&bytes]),
            }),
        };
        let piece = AuditVerified {
            position: 5,
            hash: Digest([1; 32]),
            checked: 5,
            dropped: 0,
            end: true,
            finding: None,
        };
        let fake = Fake {
            answers: BTreeMap::from([
                (
                    (Service::Signing, "countersigned"),
                    Ok(reply::encode(&Ok(newest)).unwrap()),
                ),
                ((Service::Access, VERIFY_VERB), Ok(reply::encode(&Ok(piece)).unwrap())),
            ]),
            ..Fake::default()
        };
        let world = with_rights(fake, PATIENCE, &[Right::AuditRead]);
        let bearer = format!("Bearer {}", world.biscuit);
        let path = "/api/v1/audit/verify?service=access";
        let (response, json) = world
            .send("GET", path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(response.status(), 200, "{json}");
        assert_eq!(json["countersigned"]["position"].is_u64(), counts, "{json}");
        assert_eq!(json["countersigned_error"] == "signature_invalid", !counts, "{json}");
        let asked = world.fake.inner.lock().unwrap();
        let ask: AuditVerify = codec::decode(&asked.last().unwrap().2).unwrap();
        assert_eq!(ask.known.is_some(), counts);
    }
}
