//! A real bus, the real gateway on it, and services that are made up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, OperatorId, SessionId};
use borealis_bus_schema::messages::access::LOOK_ONLY;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall, Proof};
use borealis_bus_schema::reply::{self, Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::{Service, filter};
use borealis_service_kit::auth::{BiscuitRoot, Reach, SessionClaims, Sites, mint_session};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::{keys, random};
use borealis_test_support::{TestBus, User, eventually, tls};
use ed25519_dalek::SigningKey;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

pub struct Setting {
    pub bus: TestBus,
    pub port: u16,
    pub client: Client,
    pub biscuit: String,
    pub key: SigningKey,
    pub session: SessionId,
    /// Whether access says that the session stands.
    pub standing: Arc<AtomicBool>,
    /// What access says of the session while it stands.
    pub said: Arc<Mutex<String>>,
    /// How often it was only looked whether the session stands, and how often it was used.
    pub looks: Arc<AtomicUsize>,
    pub uses: Arc<AtomicUsize>,
}

impl Setting {
    /// Starts everything and waits until a call gets through.
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let standing = Arc::new(AtomicBool::new(true));
        let said = Arc::new(Mutex::new(reaches(&[("devices.read", "*"), ("jobs.read", "*")])));
        let (stands, says) = (Arc::clone(&standing), Arc::clone(&said));
        let (looks, uses) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (looked, used) = (Arc::clone(&looks), Arc::clone(&uses));
        serve(&bus, Service::Access, move |call| {
            let counted = match call.query(LOOK_ONLY) {
                Some(_) => &looked,
                None => &used,
            };
            counted.fetch_add(1, Ordering::SeqCst);
            if stands.load(Ordering::SeqCst) {
                Ok(says.lock().unwrap().clone())
            } else {
                Err(WireError::new(Code::TokenRevoked, "the session has ended"))
            }
        })
        .await;
        serve(&bus, Service::Scheduler, echo).await;
        tokio::spawn(borealis_gateway::run(bus.args()));
        let listen = bus.root().join("Server/State/gateway/listen.json");
        let port = eventually("the gateway's address", async || {
            let told: Value = serde_json::from_slice(&std::fs::read(&listen).ok()?).ok()?;
            u16::try_from(told["port"].as_u64()?).ok()
        })
        .await
        .unwrap();
        let root = BiscuitRoot::new(&keys::read_signing_key(&bus.paths().biscuit_root_key()).unwrap()).unwrap();
        let (key, session) = (random::signing_key(), random::id::<SessionId>());
        let claims = SessionClaims {
            operator: random::id::<OperatorId>(),
            username: "ada".to_owned(),
            session,
            session_key: PublicKey::of(&key),
            rights: Reach::from([(Right::DevicesRead, Sites::All), (Right::JobsRead, Sites::All)]),
            expires_at: SystemClock.now().plus_ms(3_600_000),
        };
        let setting = Self {
            port,
            client: client(&bus),
            biscuit: mint_session(&root, &claims).unwrap(),
            key,
            session,
            standing,
            said,
            looks,
            uses,
            bus,
        };
        eventually("a call that gets through", async || {
            let answer = setting.request(Method::GET, "/api/v1/jobs").send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await
        .unwrap();
        setting
    }

    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Begins a request with the session's biscuit.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.biscuit)
    }

    /// Begins a request without a token.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin()))
    }

    /// Begins a change that is signed.
    pub fn change(&self, path: &str, body: &'static [u8]) -> RequestBuilder {
        let (command, now) = (random::id::<CommandId>(), SystemClock.now());
        let proof = Proof::new(&self.key, self.session, command, now, "POST", path, body);
        self.request(Method::POST, path)
            .header("idempotency-key", command.to_string())
            .header("borealis-signature", proof.header())
            .body(body)
    }
}

/// Says in access's words what a session may do.
pub fn reaches(rights: &[(&str, &str)]) -> String {
    let lines: Vec<Value> = rights
        .iter()
        .map(|(right, site)| json!({"right": right, "sites": [site]}))
        .collect();
    json!({"reach": lines}).to_string()
}

fn client(bus: &TestBus) -> Client {
    Client::builder()
        .tls_backend_preconfigured(tls(&bus.paths().ca_pem()).unwrap())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// Answers what was asked.
fn echo(call: &OperatorCall) -> Reply<String> {
    Ok(json!({
        "method": call.method, "path": call.path, "body": String::from_utf8_lossy(&call.body),
        "signed": call.proof.is_some(), "peer": call.peer,
    })
    .to_string())
}

/// Answers on the bus as one service, with that service's own credentials.
pub async fn serve(
    bus: &TestBus,
    service: Service,
    answer: impl Fn(&OperatorCall) -> Reply<String> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let user: User = bus.connect_service(service).await.unwrap();
    let mut asked = user.subscribe(&filter::service(service)).await.unwrap();
    user.settle().await.unwrap();
    tokio::spawn(async move {
        loop {
            let Some(message) = asked.next_within(Duration::from_secs(3_600)).await else {
                continue;
            };
            let answer: Reply<OperatorAnswer> = codec::decode::<OperatorCall>(&message.body)
                .map_err(WireError::from)
                .and_then(|call| answer(&call))
                .map(|json| OperatorAnswer { json });
            let to = message.reply.unwrap();
            user.publish(&to, &reply::encode(&answer).unwrap()).await.unwrap();
        }
    })
}
