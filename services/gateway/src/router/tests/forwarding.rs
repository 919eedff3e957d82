//! What is forwarded to a service, and what comes of its answer.

use super::*;

#[tokio::test]
async fn a_change_reaches_its_service_exactly_as_it_came() {
    let world = world(Fake::default());
    let (path, body) = ("/api/v1/jobs?x=%20y", &b"{\"odd\" :  1}"[..]);
    let (response, json) = world
        .send("POST", path, &borrowed(&world.signed(path, body)), body)
        .await;
    assert_eq!((response.status().as_u16(), json), (200, json!({"done": true})));
    let asked = world.fake.asked.lock().unwrap();
    let (service, verb, call, options) = asked.first().unwrap();
    assert_eq!((*service, verb.as_str()), (Service::Scheduler, "jobs-create"));
    assert_eq!(
        (call.method.as_str(), call.path.as_str(), call.body.as_slice()),
        ("POST", path, body)
    );
    assert_eq!(call.peer, "10.1.2.3");
    let proof = call.proof.clone().unwrap();
    assert!(
        call.verify(&proof, &PublicKey::of(&SigningKey::from_bytes(&[3; 32])))
            .is_ok()
    );
    // Narrowed on the way, and never the session's own biscuit.
    let narrowed = options.biscuit.clone().unwrap();
    assert!(narrowed != world.biscuit && narrowed.len() > world.biscuit.len());
}

#[tokio::test]
async fn a_service_that_comes_back_answers_the_same_request() {
    let fake = Fake::default();
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::ShuttingDown,
        Code::Stale,
    ] {
        fake.script.lock().unwrap().push_back(failing(code));
    }
    let world = world(fake);
    let signed = borrowed(&world.signed("/api/v1/jobs", b"{}"));
    let (response, _) = world.send("POST", "/api/v1/jobs", &signed, "{}").await;
    assert_eq!(response.status(), 200);
    let asked = world.fake.asked.lock().unwrap();
    assert_eq!(asked.len(), 5);
    // One command id, so that it happens once.
    assert!(asked.iter().all(|(_, _, call, _)| call == &asked[0].2));
}

#[tokio::test]
async fn a_service_that_stays_away_is_unavailable_in_the_end() {
    let fake = Fake::default();
    fake.script
        .lock()
        .unwrap()
        .extend((0..200).map(|_| failing(Code::Unavailable)));
    let world = patient(fake, Duration::from_millis(300));
    let began = Instant::now();
    let bearer = world.bearer();
    let (response, json) = world
        .send("GET", "/api/v1/devices", &[("authorization", &bearer)], Body::empty())
        .await;
    assert_eq!(
        (response.status().as_u16(), &json["code"]),
        (503, &json!("unavailable"))
    );
    assert_eq!(response.headers()["retry-after"], "2");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(world.fake.asked.lock().unwrap().len() > 2);
}

#[tokio::test]
async fn what_must_not_happen_twice_is_not_asked_twice() {
    let fake = Fake::default();
    fake.script.lock().unwrap().push_back(failing(Code::DeadlineExceeded));
    let world = world(fake);
    let answered = world.code("POST", "/api/v1/login", &[], "{}").await;
    assert_eq!(answered, (504, "deadline_exceeded".into()));
    assert_eq!(world.fake.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_comes_through_at_once() {
    let fake = Fake::default();
    fake.script.lock().unwrap().push_back(failing(Code::RightMissing));
    let world = world(fake);
    let bearer = world.bearer();
    let answered = world
        .code("GET", "/api/v1/devices", &[("authorization", &bearer)], Body::empty())
        .await;
    assert_eq!(answered, (403, "right_missing".into()));
}

#[tokio::test]
async fn each_route_of_the_table_is_forwarded_to_its_verb() {
    for route in ROUTES {
        let world = world(Fake::default());
        let path = route.path.replace("{id}", "0123456789abcdef0123456789abcdef");
        let headers = world.signed(&path, b"{}");
        let (response, _) = world.send(route.method, &path, &borrowed(&headers), "{}").await;
        assert_eq!(response.status(), 200, "{} {path}", route.method);
        let asked = world.fake.asked.lock().unwrap();
        let (service, verb, call, options) = asked.first().unwrap();
        assert_eq!((*service, verb.as_str()), (route.service, route.verb));
        assert_eq!(call.proof.is_some(), route.changes, "{path}");
        let is_public = route.need == Need::Public;
        assert_eq!(options.biscuit.is_none(), is_public, "{path}");
    }
}
