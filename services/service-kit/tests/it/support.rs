//! A deployment with one operator, and services made of a few handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CommandId, OperatorId, SessionId};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{Append, EventLog, NewEvent, OpenOptions, SledLog, StreamId, StreamWrite};
use borealis_service_kit::auth::{Authoriser, BiscuitRoot, HOP_LIFE_MS, SessionClaims, Sites, attenuate, mint_session};
use borealis_service_kit::bus::{Bus, BusConfig, RequestOptions};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::keys;
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::service::{ServeError, ServiceBuilder};
use borealis_service_kit::shutdown::Shutdown;
use borealis_test_support::{TestBus, eventually};
use ed25519_dalek::SigningKey;
use tokio::task::JoinHandle;

/// Is a root with a running bus and one operator who may do everything.
pub struct Deployment {
    pub bus: TestBus,
    pub session: SessionId,
    pub session_key: SigningKey,
    pub token: String,
}

impl Deployment {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let root = BiscuitRoot::new(&keys::read_signing_key(&bus.paths().biscuit_root_key()).unwrap()).unwrap();
        let (session, session_key) = (random::id(), random::signing_key());
        let claims = SessionClaims {
            operator: random::id::<OperatorId>(),
            username: "ada".into(),
            session,
            session_key: PublicKey::of(&session_key),
            rights: Right::ALL
                .into_iter()
                .map(|right| (right, Sites::All))
                .collect::<BTreeMap<_, _>>(),
            expires_at: SystemClock.now().plus_ms(600_000),
        };
        let token = mint_session(&root, &claims).unwrap();
        Self {
            bus,
            session,
            session_key,
            token,
        }
    }

    pub async fn connect(&self, service: Service) -> Bus {
        let config = BusConfig {
            service,
            paths: self.bus.paths().clone(),
            trust: Arc::clone(self.bus.trust()),
        };
        Bus::connect(config).await.unwrap()
    }

    /// Runs a service of handlers.
    pub async fn serve(&self, service: Service, build: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Running {
        let folder = self.bus.paths().state(service);
        keys::private_folder(&folder).unwrap();
        let store = SledLog::open(&folder, OpenOptions::new()).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(store.clone());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let revoked = Arc::new(RevocationSet::new());
        let authoriser = Authoriser::new(
            self.bus.trust().biscuit_root,
            service,
            Arc::clone(&revoked),
            Arc::clone(&clock),
        );
        let builder = ServiceBuilder::new(
            service,
            self.bus.paths().clone(),
            self.connect(service).await,
            Arc::clone(&log),
            clock,
            Arc::new(authoriser.unwrap()),
        );
        let shutdown = Shutdown::manual();
        let task = tokio::spawn(build(builder).run(shutdown.clone()));
        let paths = self.bus.paths().clone();
        eventually("the service's ready file", async || {
            borealis_service_kit::ready::read(&paths, service)
        })
        .await
        .unwrap();
        Running {
            log,
            store,
            revoked,
            shutdown,
            task,
        }
    }

    /// Builds a call of a verb, signed when the verb changes something.
    pub fn call(&self, service: Service, verb: &str, id: &str, body: &[u8]) -> OperatorCall {
        self.call_as(service, verb, id, body, random::id())
    }

    pub fn call_as(&self, service: Service, verb: &str, id: &str, body: &[u8], command: CommandId) -> OperatorCall {
        let route = of_verb(service, verb).unwrap();
        let path = route.path.replace("{id}", id);
        let proof = Proof::new(
            &self.session_key,
            self.session,
            command,
            SystemClock.now(),
            route.method,
            &path,
            body,
        );
        OperatorCall {
            method: route.method.to_owned(),
            path,
            body: body.to_vec(),
            proof: route.changes.then_some(proof),
            peer: "127.0.0.1".to_owned(),
        }
    }

    /// Narrows the operator's token to a verb, as the gateway does.
    pub fn options(&self, service: Service, verb: &str) -> RequestOptions {
        let need = of_verb(service, verb).map_or(Need::Session, |route| route.need);
        RequestOptions {
            biscuit: Some(attenuate(&self.token, service, need, SystemClock.now(), HOP_LIFE_MS).unwrap()),
            ..RequestOptions::default()
        }
    }

    /// Asks a verb as the gateway does, with the operator's token.
    pub async fn ask(&self, gateway: &Bus, service: Service, verb: &str, body: &[u8]) -> Reply<String> {
        let call = self.call(service, verb, "0123", body);
        let answer = gateway.call(service, verb, &call, self.options(service, verb)).await;
        answer.map(|answer| answer.json)
    }
}

/// Is a running service.
pub struct Running {
    pub log: Arc<dyn EventLog>,
    pub store: SledLog,
    pub revoked: Arc<RevocationSet>,
    pub shutdown: Shutdown,
    pub task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.begin();
        self.task.await.unwrap().unwrap();
        self.log.flush_and_close().await.unwrap();
    }

    /// Appends one event to a stream.
    pub async fn append(&self, stream: &str, kind: &str, body: Vec<u8>) {
        let stream = StreamId::new(stream).unwrap();
        let expected = self.log.stream_version(&stream).unwrap();
        let append = Append {
            command_id: random::bytes(),
            command_digest: [0; 32],
            at_ms: SystemClock.now().unix_ms(),
            writes: vec![StreamWrite {
                stream,
                expected,
                events: vec![NewEvent {
                    kind: kind.to_owned(),
                    body,
                }],
            }],
            answer: Vec::new(),
        };
        self.log.append(append).await.unwrap();
    }
}
