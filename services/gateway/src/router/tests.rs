//! Requests against a router whose services are made up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::*;

use crate::server::Peer;
use borealis_bus_schema::ids::{CommandId, OperatorId, SessionId};
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall, Proof};
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::time::Timestamp;
use borealis_bus_schema::{codec, reply};
use borealis_service_kit::auth::{BiscuitRoot, Reach, SessionClaims, Sites, mint_session, reach};
use borealis_service_kit::bus::RequestOptions;
use borealis_service_kit::clock::ManualClock;
use borealis_service_kit::trust::TrustFile;
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tower::ServiceExt;

mod audit;
mod browsers;
mod forwarding;
mod own;
mod records;
mod refusals;

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
