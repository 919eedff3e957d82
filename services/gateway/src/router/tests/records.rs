//! What access is told of refusals.

use super::*;
use borealis_bus_schema::messages::audit::{NoteRefusals, RefusalsNoted};

/// Waits until access was told of some refusals: the action, the outcome and the name of whoever was refused.
async fn noted(world: &World, many: usize) -> Vec<(String, &'static str, Option<String>)> {
    borealis_test_support::eventually("access to be told", async || {
        let inner = world.fake.inner.lock().unwrap();
        let noted: Vec<_> = inner
            .iter()
            .flat_map(|(_, _, body, _)| codec::decode::<NoteRefusals>(body).unwrap().records)
            .map(|record| (record.action, record.outcome.as_str(), record.actor.name))
            .collect();
        (noted.len() >= many).then_some(noted)
    })
    .await
    .unwrap()
}

/// Is an access that takes what the gateway refused.
fn taking() -> Fake {
    let kept = Ok(reply::encode(&Ok(RefusalsNoted { kept: 1 })).unwrap());
    Fake {
        answers: BTreeMap::from([((Service::Access, "audit-note"), kept)]),
        ..Fake::default()
    }
}

#[tokio::test]
async fn what_was_only_counted_is_handed_over_before_the_gateway_has_stopped() {
    let world = world(taking());
    for _ in 0..50 {
        world.send("GET", "/api/v1/devices", &[], Body::empty()).await;
    }
    world.answered.begin();
    world.handing.await.unwrap();
    let inner = world.fake.inner.lock().unwrap();
    let records = inner
        .iter()
        .flat_map(|(_, _, body, _)| codec::decode::<NoteRefusals>(body).unwrap().records);
    let refused: u64 = records.map(|record| record.more.max(1)).sum();
    assert_eq!(refused, 50);
}

#[tokio::test]
async fn a_batch_that_access_may_have_taken_is_handed_over_unchanged() {
    let world = world(Fake::default());
    world.send("GET", "/api/v1/devices", &[], Body::empty()).await;
    let bodies = async |many: usize| {
        borealis_test_support::eventually("access to be asked", async || {
            let inner = world.fake.inner.lock().unwrap();
            let bodies: Vec<Vec<u8>> = inner.iter().map(|(_, _, body, _)| body.clone()).collect();
            (bodies.len() >= many).then_some(bodies)
        })
        .await
        .unwrap()
    };
    bodies(1).await;
    world.send("GET", "/api/v1/jobs", &[], Body::empty()).await;
    let bodies = bodies(2).await;
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_forged_token_leaves_a_record_and_what_a_service_refused_leaves_none_here() {
    let fake = taking();
    fake.script.lock().unwrap().push_back(failing(Code::RightMissing));
    let world = world(fake);
    let bearer = world.bearer();
    for token in [bearer.as_str(), "Bearer nonsense", "Bearer abcd", "Basic abcd"] {
        world
            .send("GET", "/api/v1/devices", &[("authorization", token)], Body::empty())
            .await;
    }
    let forged = ("GET /api/v1/devices".to_owned(), "token_invalid", None);
    assert_eq!(noted(&world, 3).await, [forged.clone(), forged.clone(), forged]);
}

#[tokio::test]
async fn what_the_gateway_refuses_by_itself_reaches_access() {
    let world = world(taking());
    for path in ["/api/v1/devices", "/api/v1/nothing", "/healthz"] {
        world.send("GET", path, &[], Body::empty()).await;
    }
    let bearer = format!("Bearer {}", world.biscuit);
    world
        .send("GET", "/metrics", &[("authorization", &bearer)], Body::empty())
        .await;
    let noted = noted(&world, 2).await;
    assert_eq!(
        noted,
        [
            ("GET /api/v1/devices".to_owned(), "token_missing", None),
            ("GET /metrics".to_owned(), "right_missing", Some("ada".to_owned())),
        ]
    );
}
