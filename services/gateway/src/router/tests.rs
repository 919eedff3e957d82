//! Requests against a router whose services are made up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::server::Peer;
use borealis_bus_schema::ids::{CommandId, OperatorId, SessionId};
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall, Proof};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{BiscuitRoot, SessionClaims, Sites, mint_session};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::clock::ManualClock;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::ServiceExt;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

#[derive(Default)]
struct Fake {
    script: Mutex<VecDeque<Reply<OperatorAnswer>>>,
    asked: Mutex<Vec<(Service, String, OperatorCall, RequestOptions)>>,
    there: BTreeSet<String>,
}

impl Backend for Fake {
    fn call<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        call: &'a OperatorCall,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<OperatorAnswer>> {
        self.asked
            .lock()
            .unwrap()
            .push((service, verb.to_owned(), call.clone(), options));
        let next = self.script.lock().unwrap().pop_front();
        Box::pin(async move {
            next.unwrap_or_else(|| {
                Ok(OperatorAnswer {
                    json: "{\"done\":true}".into(),
                })
            })
        })
    }
    fn answering(&self, _: Duration) -> BoxFuture<'_, Option<BTreeSet<String>>> {
        Box::pin(async move { (!self.there.is_empty()).then(|| self.there.clone()) })
    }
}

struct World {
    router: Router,
    fake: Arc<Fake>,
    biscuit: String,
}

fn world(fake: Fake) -> World {
    patient(fake, PATIENCE)
}

fn patient(fake: Fake, patience: Duration) -> World {
    let root = BiscuitRoot::new(&SigningKey::from_bytes(&[9; 32])).unwrap();
    let claims = SessionClaims {
        operator: OperatorId::from_bytes([1; 16]),
        username: "ada".into(),
        session: SessionId::from_bytes([2; 16]),
        session_key: PublicKey::of(&SigningKey::from_bytes(&[3; 32])),
        rights: BTreeMap::from([(Right::DevicesRead, Sites::All)]),
        expires_at: NOW.plus_ms(3_600_000),
    };
    let fake = Arc::new(fake);
    let config = Config {
        deployment: DeploymentId::from_bytes([0xab; 16]),
        names: vec!["localhost".into()],
        address: "0.0.0.0:5000".parse().unwrap(),
        biscuit_root: root.public().unwrap(),
        former_biscuit_roots: Vec::new(),
        clock: Arc::new(ManualClock::at(NOW)),
        shutdown: Shutdown::manual(),
        backend: fake.clone(),
        live: Live::new(),
        patience,
    };
    World {
        router: router(config).unwrap(),
        fake,
        biscuit: mint_session(&root, &claims).unwrap(),
    }
}

impl World {
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (Response, Value) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer("10.1.2.3".parse().unwrap()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (Response::from_parts(parts, Body::from(bytes)), json)
    }
    async fn code(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
        let (response, json) = self.send(method, path, headers, body).await;
        (
            response.status().as_u16(),
            json["code"].as_str().unwrap_or_default().to_owned(),
        )
    }
    fn bearer(&self) -> String {
        format!("Bearer {}", self.biscuit)
    }
    fn signed(&self, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let command = CommandId::from_bytes([7; 16]);
        let key = SigningKey::from_bytes(&[3; 32]);
        let proof = Proof::new(&key, SessionId::from_bytes([2; 16]), command, NOW, "POST", path, body);
        vec![
            ("authorization", self.bearer()),
            ("idempotency-key", command.to_string()),
            ("borealis-signature", proof.header()),
        ]
    }
}

fn borrowed(headers: &[(&'static str, String)]) -> Vec<(&'static str, &'static str)> {
    headers
        .iter()
        .map(|(name, value)| (*name, &*value.clone().leak()))
        .collect()
}
fn failing(code: Code) -> Reply<OperatorAnswer> {
    Err(WireError::new(code, "made up"))
}

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
async fn what_is_missing_is_told_by_a_code_of_its_own() {
    let world = world(Fake::default());
    let bearer = world.bearer();
    let id = CommandId::from_bytes([7; 16]).to_string();
    type Row<'r> = (&'r str, &'r str, Vec<(&'r str, &'r str)>, u16, &'r str);
    let table: Vec<Row<'_>> = vec![
        ("GET", "/api/v1/devices", vec![], 401, "token_missing"),
        (
            "GET",
            "/api/v1/devices",
            vec![("authorization", "Bearer nonsense")],
            401,
            "token_invalid",
        ),
        (
            "GET",
            "/api/v1/devices",
            vec![("authorization", "Basic eA==")],
            401,
            "token_invalid",
        ),
        ("POST", "/api/v1/jobs", vec![], 401, "token_missing"),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer)],
            400,
            "idempotency_key_missing",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer), ("idempotency-key", "no")],
            422,
            "invalid_field",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer), ("idempotency-key", &id)],
            401,
            "signature_missing",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![
                ("authorization", &bearer),
                ("idempotency-key", &id),
                ("borealis-signature", "v1 rubbish"),
            ],
            401,
            "signature_invalid",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("origin", "https://evil.example")],
            403,
            "wrong_origin",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("sec-fetch-site", "cross-site")],
            403,
            "wrong_origin",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("content-type", "text/plain")],
            400,
            "malformed",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("content-length", "2000000")],
            413,
            "too_large",
        ),
        ("GET", "/api/v1/nothing", vec![], 404, "unknown_route"),
        ("GET", "/api/v2/devices", vec![], 404, "unknown_route"),
        ("GET", "/api", vec![], 404, "unknown_route"),
        ("DELETE", "/api/v1/devices", vec![], 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/jobs", vec![], 405, "method_not_allowed"),
        ("POST", "/healthz", vec![], 405, "method_not_allowed"),
        ("POST", "/", vec![], 405, "method_not_allowed"),
        ("GET", "/api/v1/live", vec![], 401, "token_missing"),
        (
            "GET",
            "/api/v1/live",
            vec![("origin", "https://evil.example")],
            403,
            "wrong_origin",
        ),
        (
            "GET",
            "/api/v1/live",
            vec![("authorization", "Bearer nonsense")],
            401,
            "token_invalid",
        ),
    ];
    for (method, path, headers, status, code) in table {
        let answered = world.code(method, path, &headers, Body::empty()).await;
        assert_eq!(answered, (status, code.to_owned()), "{method} {path} {headers:?}");
    }
    assert!(world.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_announced() {
    let world = world(Fake::default());
    let body = vec![b'x'; borealis_bus_schema::codec::MAX_JSON_BYTES + 1];
    assert_eq!(
        world.code("POST", "/api/v1/login", &[], body).await,
        (413, "too_large".into())
    );
}

#[tokio::test]
async fn a_path_tells_the_methods_that_it_takes() {
    let world = world(Fake::default());
    for (path, allowed) in [
        ("/api/v1/jobs", "GET, POST"),
        ("/api/v1/live", "GET"),
        ("/devices", "GET, HEAD"),
    ] {
        let (response, _) = world.send("PUT", path, &[], Body::empty()).await;
        assert_eq!(response.headers()["allow"], allowed, "{path}");
    }
}

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let world = world(Fake::default());
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/devices"),
        ("GET", "/assets/none.js"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/devices"),
        ("POST", "/api/v1/login"),
        ("PUT", "/api/v1/jobs"),
    ] {
        let (response, _) = world.send(method, path, &[], Body::empty()).await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-inline"),
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert!(
            headers.contains_key("strict-transport-security") && headers.contains_key("x-request-id"),
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(
            !headers.contains_key("server") && !headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_log_in_sets_the_cookie_and_a_log_out_clears_it() {
    let finished = json!({"token": "abc_-=", "session_id": "x", "username": "ada", "expires_at": NOW.plus_ms(60_000)});
    let started = json!({"login_id": "x", "login_response": "y"});
    let fake = Fake::default();
    for json in [started.to_string(), finished.to_string()] {
        fake.script.lock().unwrap().push_back(Ok(OperatorAnswer { json }));
    }
    let world = world(fake);
    let (response, _) = world.send("POST", "/api/v1/login", &[], "{}").await;
    assert!(!response.headers().contains_key("set-cookie"));
    let (response, _) = world.send("POST", "/api/v1/login", &[], "{}").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(
        cookie,
        "__Host-borealis-abababab=abc_-=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"
    );
    let signed = world.signed("/api/v1/logout", b"{}");
    let (response, _) = world.send("POST", "/api/v1/logout", &borrowed(&signed), "{}").await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn the_cookie_serves_for_reads() {
    let world = world(Fake::default());
    let cookie = format!("a=b; __Host-borealis-abababab={}", world.biscuit);
    let (response, _) = world
        .send("GET", "/api/v1/devices?limit=5", &[("cookie", &cookie)], Body::empty())
        .await;
    assert_eq!(response.status(), 200);
    let asked = world.fake.asked.lock().unwrap();
    assert_eq!(asked.first().unwrap().2.path, "/api/v1/devices?limit=5");
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
async fn readiness_names_each_service() {
    let away = world(Fake::default());
    let (response, json) = away.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), &json["bus"]), (503, &json!("away")));
    let there = Service::ALL.iter().map(|s| s.name().to_owned()).collect();
    let ready = world(Fake {
        there,
        ..Fake::default()
    });
    let (response, json) = ready.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), &json["ready"]), (200, &json!(true)));
    assert_eq!(json["services"]["scheduler"], "ready");
    assert!(json["services"].get("gateway").is_none());
    let (response, json) = ready.send("GET", "/healthz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), json), (200, json!({"alive": true})));
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
        let is_public = route.need == borealis_bus_schema::routes::Need::Public;
        assert_eq!(options.biscuit.is_none(), is_public, "{path}");
    }
}
