//! Requests against a router whose services are made up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::server::Peer;
use borealis_bus_schema::audit::AuditEntry;
use borealis_bus_schema::forms::{Form, sign};
use borealis_bus_schema::ids::{CommandId, GrantId, Guid, OperatorId, SessionId};
use borealis_bus_schema::messages::audit::{
    AuditList, AuditPage, AuditVerified, AuditVerify, Countersigned, LIST_VERB, NewestHead, NoteRefusals,
    RefusalsNoted, VERIFY_VERB,
};
use borealis_bus_schema::messages::events::Head;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall, Proof};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::{codec, reply};
use borealis_service_kit::audit::Act;
use borealis_service_kit::auth::{
    BiscuitRoot, Bounds, Reach, SessionClaims, Sites, mint_grant, mint_session, mint_session_within, reach,
};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::clock::ManualClock;
use borealis_service_kit::trust::TrustFile;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::ServiceExt;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

/// Is what another service was asked: which one, the verb, the body, and how.
type Asked = (Service, String, Vec<u8>, RequestOptions);

#[derive(Default)]
struct Fake {
    script: Mutex<VecDeque<Reply<OperatorAnswer>>>,
    asked: Mutex<Vec<(Service, String, OperatorCall, RequestOptions)>>,
    there: BTreeMap<String, bool>,
    /// Answers of internal verbs, by service and verb.
    answers: BTreeMap<(Service, &'static str), Reply<Vec<u8>>>,
    inner: Mutex<Vec<Asked>>,
    /// What access says that the session may do; everything unless set.
    standing: Option<Reach>,
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
        let scripted = verb != "session";
        let next = scripted.then(|| self.script.lock().unwrap().pop_front()).flatten();
        let standing = json!({"reach": reach::write(&self.standing.clone().unwrap_or_else(reach::everything))});
        Box::pin(async move {
            next.unwrap_or_else(|| {
                Ok(OperatorAnswer {
                    json: if scripted {
                        "{\"done\":true}".into()
                    } else {
                        standing.to_string()
                    },
                })
            })
        })
    }
    fn ask<'a>(
        &'a self,
        service: Service,
        verb: &'a str,
        body: Vec<u8>,
        options: RequestOptions,
    ) -> BoxFuture<'a, Reply<Vec<u8>>> {
        self.inner
            .lock()
            .unwrap()
            .push((service, verb.to_owned(), body, options));
        let found = self
            .answers
            .iter()
            .find(|((owner, known), _)| *owner == service && *known == verb);
        let away = || Err(WireError::new(Code::Unavailable, "nobody listens"));
        let answer = found.map_or_else(away, |(_, answer)| answer.clone());
        Box::pin(async move { answer })
    }
    fn answering(&self, _: Duration) -> BoxFuture<'_, Option<BTreeMap<String, bool>>> {
        Box::pin(async move { (!self.there.is_empty()).then(|| self.there.clone()) })
    }
}

struct World {
    router: Router,
    fake: Arc<Fake>,
    biscuit: String,
    /// Says that everything is answered.
    answered: Shutdown,
    handing: tokio::task::JoinHandle<()>,
}

/// Trusts one key of signing, and one that was replaced an hour ago.
fn trust() -> TrustFile {
    let key = |seed| PublicKey::of(&SigningKey::from_bytes(&[seed; 32])).to_string();
    let account = json!({"public_key": "A", "jwt": ""});
    let trust = json!({
        "deployment": "0".repeat(32), "public_names": [], "ca_pem": "", "biscuit_root": key(9),
        "services": {"signing": key(7)}, "code_signing_root": key(1), "key_set": {"bytes": "", "signature": "A".repeat(86)},
        "operator_jwt": "", "account": account, "system_account": account,
        "former_services": [{"service": "signing", "key": key(6), "until": NOW.plus_ms(-3_600_000)}],
    });
    serde_json::from_value(trust).unwrap()
}

fn world(fake: Fake) -> World {
    patient(fake, PATIENCE)
}

fn patient(fake: Fake, patience: Duration) -> World {
    with_rights(fake, patience, &[Right::DevicesRead])
}

fn root() -> BiscuitRoot {
    BiscuitRoot::new(&SigningKey::from_bytes(&[9; 32])).unwrap()
}

fn claims(rights: Reach) -> SessionClaims {
    SessionClaims {
        operator: OperatorId::from_bytes([1; 16]),
        username: "ada".into(),
        session: SessionId::from_bytes([2; 16]),
        session_key: PublicKey::of(&SigningKey::from_bytes(&[3; 32])),
        rights,
        expires_at: NOW.plus_ms(3_600_000),
    }
}

fn with_rights(fake: Fake, patience: Duration, rights: &[Right]) -> World {
    let root = root();
    let claims = claims(rights.iter().map(|right| (*right, Sites::All)).collect());
    let fake = Arc::new(fake);
    let config = Config {
        deployment: DeploymentId::from_bytes([0xab; 16]),
        names: vec!["localhost".into()],
        address: "0.0.0.0:5000".parse().unwrap(),
        biscuit_root: root.public().unwrap(),
        former_biscuit_roots: Vec::new(),
        trust: Arc::new(trust()),
        clock: Arc::new(ManualClock::at(NOW)),
        shutdown: Shutdown::manual(),
        backend: fake.clone(),
        live: Live::new(),
        patience,
    };
    let (router, hand_over) = router(config).unwrap();
    let answered = Shutdown::manual();
    let handing = tokio::spawn(hand_over.run(answered.clone()));
    World {
        router,
        answered,
        handing,
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
async fn a_further_proof_of_the_password_sets_the_cookie_anew() {
    let done = json!({
        "token": "def_-=", "session_id": "x", "username": "ada", "expires_at": NOW.plus_ms(60_000), "proved_at": NOW,
    });
    let started = json!({"exchange_id": "x", "login_response": "y", "factors": ["totp"]});
    let fake = Fake::default();
    for json in [started.to_string(), done.to_string()] {
        fake.script.lock().unwrap().push_back(Ok(OperatorAnswer { json }));
    }
    let world = world(fake);
    let signed = world.signed("/api/v1/step-up", b"{}");
    let (response, _) = world.send("POST", "/api/v1/step-up", &borrowed(&signed), "{}").await;
    assert!(!response.headers().contains_key("set-cookie"));
    let (response, _) = world.send("POST", "/api/v1/step-up", &borrowed(&signed), "{}").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-borealis-abababab=def_-=;"), "{cookie}");
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
    let there = Service::ALL
        .iter()
        .map(|s| (s.name().to_owned(), *s != Service::Library))
        .collect();
    let ready = world(Fake {
        there,
        ..Fake::default()
    });
    let (response, json) = ready.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), &json["ready"]), (200, &json!(true)));
    assert_eq!(json["services"]["scheduler"], "ready");
    assert!(json["services"].get("gateway").is_none());
    // This test confines itself not; library says that it does not either.
    assert_eq!(json["keys"], "keys not isolated");
    let told = ["gateway", "library", "signing"].map(|name| json["isolation"][name].clone());
    assert_eq!(told, ["keys not isolated", "keys not isolated", "isolated"]);
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
        let is_public = route.need == Need::Public;
        assert_eq!(options.biscuit.is_none(), is_public, "{path}");
    }
}

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
async fn own_routes_with_a_right_refuse_whoever_lacks_it_and_ask_nobody() {
    for path in ["/metrics", "/api/v1/audit", "/api/v1/audit/verify?service=access"] {
        let world = world(Fake::default());
        let (response, json) = world.send("GET", path, &[], Body::empty()).await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (401, &json!("token_missing")),
            "{path}"
        );
        let bearer = format!("Bearer {}", world.biscuit);
        let (response, json) = world
            .send("GET", path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (403, &json!("right_missing")),
            "{path}"
        );
        let (response, json) = world
            .send("GET", path, &[("authorization", "Bearer abcd")], Body::empty())
            .await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (401, &json!("token_invalid")),
            "{path}"
        );
        assert!(world.fake.asked.lock().unwrap().is_empty() && world.fake.inner.lock().unwrap().is_empty());
    }
}

/// Lists the own routes that need a right, as a request names them.
fn own_with_rights() -> impl Iterator<Item = (&'static str, Right)> {
    OWN_ROUTES.iter().filter_map(|route| match (route.path, route.need) {
        (_, Need::Public | Need::Session) => None,
        ("/api/v1/audit/verify", Need::Right(right)) => Some(("/api/v1/audit/verify?service=access", right)),
        (path, Need::Right(right)) => Some((path, right)),
    })
}

#[tokio::test]
async fn own_routes_refuse_what_is_narrowed_and_grants() {
    let berlin = Sites::of_names(&["berlin".to_owned()]).unwrap();
    for (path, right) in own_with_rights() {
        let everywhere = claims(Reach::from([(right, Sites::All)]));
        let devices = Bounds {
            devices: Some([Guid::from_random([4; 16])].into()),
            is_token: true,
            ..Bounds::default()
        };
        let grant = mint_grant(&root(), &everywhere, GrantId::from_bytes([5; 16]), &[6; 32]).unwrap();
        let one_site = mint_session(&root(), &claims(Reach::from([(right, berlin.clone())]))).unwrap();
        let mut table = vec![
            (
                mint_session_within(&root(), &everywhere, &devices).unwrap(),
                403,
                "out_of_scope",
            ),
            (grant, 401, "token_invalid"),
        ];
        if path != "/api/v1/live" {
            table.push((one_site, 403, "out_of_scope"));
        }
        for (biscuit, status, code) in table {
            let world = world(Fake::default());
            let bearer = format!("Bearer {biscuit}");
            let answered = world
                .code("GET", path, &[("authorization", &bearer)], Body::empty())
                .await;
            assert_eq!(answered, (status, code.to_owned()), "{path}");
            assert!(world.fake.asked.lock().unwrap().is_empty() && world.fake.inner.lock().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_right_that_access_says_is_lost_opens_nothing_that_the_gateway_answers_by_itself() {
    let berlin = Sites::of_names(&["berlin".to_owned()]).unwrap();
    for (path, right, standing, code) in [
        ("/metrics", Right::MetricsRead, Reach::new(), "right_missing"),
        (
            "/metrics",
            Right::MetricsRead,
            Reach::from([(Right::MetricsRead, berlin)]),
            "out_of_scope",
        ),
        (
            "/api/v1/live",
            Right::DevicesRead,
            Reach::from([(Right::JobsRead, Sites::All)]),
            "right_missing",
        ),
    ] {
        let fake = Fake {
            standing: Some(standing),
            ..Fake::default()
        };
        let world = with_rights(fake, PATIENCE, &[right]);
        let bearer = world.bearer();
        let answered = world
            .code("GET", path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(answered, (403, code.to_owned()), "{path}");
    }
}

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

#[tokio::test]
async fn metrics_tell_requests_by_route_and_who_answers() {
    let there = BTreeMap::from([("access".to_owned(), true)]);
    let world = with_rights(
        Fake {
            there,
            ..Fake::default()
        },
        PATIENCE,
        &[Right::MetricsRead],
    );
    world.send("GET", "/healthz", &[], Body::empty()).await;
    let bearer = format!("Bearer {}", world.biscuit);
    let request = http::Request::get("/metrics")
        .header("authorization", bearer)
        .body(Body::empty())
        .unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    for line in [
        r#"borealis_http_requests_total{method="GET",route="/healthz",status="200"} 1"#,
        r#"borealis_service_ready{service="access"} 1"#,
        r#"borealis_service_ready{service="signing"} 0"#,
        "borealis_live_connections 0",
        "borealis_bus_connected 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert!(
        text.ends_with('\n') && text.contains("borealis_build_info{version="),
        "{text}"
    );
}
