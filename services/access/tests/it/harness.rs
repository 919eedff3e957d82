//! A deployment with a real bus, on which services run inside the test.

use std::future::Future;
use std::sync::Arc;

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::{CommandId, SessionId};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Need, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, EventLog, NewEvent, OpenOptions, SledLog, StreamId, StreamWrite};
use borealis_logging::{LogConfig, Side};
use borealis_service_kit::auth::{Authoriser, HOP_LIFE_MS, attenuate};
use borealis_service_kit::bus::{Bus, BusConfig};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::follow::{FollowConfig, Follower, Place};
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::run::{Base, Built, Deps, RunError};
use borealis_service_kit::service::ServeError;
use borealis_service_kit::shutdown::Shutdown;
use borealis_service_kit::{confine, keys, random, ready};
use borealis_test_support::{TestBus, eventually};
use ed25519_dalek::SigningKey;
use tokio::task::JoinHandle;

/// Is a root with a running bus.
pub struct World {
    pub bus: TestBus,
}

/// Is a service that runs.
pub struct Running {
    pub log: Arc<dyn EventLog>,
    pub shutdown: Shutdown,
    task: JoinHandle<Result<(), ServeError>>,
}

/// Is an operator who is logged in.
#[derive(Clone)]
pub struct Operator {
    pub session: SessionId,
    pub key: SigningKey,
    pub token: String,
}

impl World {
    pub async fn start() -> Self {
        Self {
            bus: TestBus::start().await.unwrap(),
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

    /// Writes events into the log of a service that does not run yet.
    pub async fn seed(&self, service: Service, events: Vec<(StreamId, NewEvent)>) {
        let folder = self.bus.paths().state(service);
        keys::private_folder(&folder).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(SledLog::open(&folder, OpenOptions::new()).unwrap());
        for (stream, event) in events {
            append(log.as_ref(), stream, event).await;
        }
        log.flush_and_close().await.unwrap();
    }

    /// Runs a service as its process does, but for confinement and signals.
    pub async fn serve<F, Fut>(&self, service: Service, build: F) -> Running
    where
        F: FnOnce(Deps) -> Fut,
        Fut: Future<Output = Result<Built, RunError>>,
    {
        let base = Arc::new(self.base(service));
        let folder = base.paths.state(service);
        keys::private_folder(&folder).unwrap();
        let store = SledLog::open(&folder, OpenOptions::new()).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(store.clone());
        let bus = self.connect(service).await;
        let revoked = Arc::new(RevocationSet::new());
        let access = self.follow_access(&base, &bus, &revoked).await;
        let root = base.trust.biscuit_root;
        let mut authoriser = Authoriser::new(root, service, Arc::clone(&revoked), Arc::clone(&base.clock)).unwrap();
        if let Some(access) = &access {
            authoriser = authoriser.with_freshness(access.freshness());
        }
        let shutdown = base.shutdown.clone();
        let built = build(Deps {
            service_key: keys::read_signing_key(&base.paths.service_key(service)).unwrap(),
            base,
            bus,
            log: Arc::clone(&log),
            store,
            revoked,
            authoriser: Arc::new(authoriser),
            access,
        });
        let built = built.await.unwrap();
        let task = tokio::spawn(built.builder.run(shutdown.clone()));
        let paths = self.bus.paths();
        eventually("the service's ready file", async || ready::read(paths, service))
            .await
            .unwrap();
        Running { log, shutdown, task }
    }

    fn base(&self, service: Service) -> Base {
        let config = LogConfig {
            dir: self.bus.paths().logs().to_owned(),
            side: Side::Server,
            service: service.name().to_owned(),
            stderr: false,
            errors: false,
            filter: "info".to_owned(),
        };
        let (_, log_guard) = borealis_logging::subscriber(&config, Arc::new(borealis_logging::SystemClock)).unwrap();
        Base {
            service,
            args: self.bus.args(),
            paths: self.bus.paths().clone(),
            trust: Arc::clone(self.bus.trust()),
            clock: Arc::new(SystemClock),
            shutdown: Shutdown::manual(),
            isolation: confine::isolation(),
            log_guard,
        }
    }

    async fn follow_access(&self, base: &Base, bus: &Bus, revoked: &Arc<RevocationSet>) -> Option<Follower> {
        if base.service == Service::Access {
            return None;
        }
        let config = FollowConfig {
            bus: bus.clone(),
            owner: Service::Access,
            key: *base.trust.service_key(Service::Access).unwrap(),
            clock: Arc::clone(&base.clock),
            from: Place::genesis(),
            shutdown: base.shutdown.clone(),
        };
        let revoked = Arc::clone(revoked);
        let take = move |stretch: borealis_service_kit::follow::Stretch| {
            for event in &stretch.events {
                if let Some(body) = &event.body {
                    revoked.apply(&event.kind, body).unwrap();
                }
            }
            std::future::ready(Ok(()))
        };
        Some(Follower::start(config, take).await.unwrap())
    }
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.begin();
        self.task.await.unwrap().unwrap();
        self.log.flush_and_close().await.unwrap();
    }

    pub fn position(&self) -> u64 {
        self.log.head().position
    }
}

/// Appends one event to a stream, past the service.
pub async fn append(log: &dyn EventLog, stream: StreamId, event: NewEvent) {
    let expected = log.stream_version(&stream).unwrap();
    let append = Append {
        command_id: random::bytes(),
        command_digest: [0; 32],
        at_ms: now().unix_ms(),
        writes: vec![StreamWrite {
            stream,
            expected,
            events: vec![event],
        }],
        answer: Vec::new(),
    };
    log.append(append).await.unwrap();
}

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Builds a call of a route, signed when it changes something.
pub fn call_at(
    operator: &Operator,
    service: Service,
    verb: &str,
    body: &[u8],
    command: CommandId,
    at: Timestamp,
) -> OperatorCall {
    let route = of_verb(service, verb).unwrap();
    let proof = Proof::new(
        &operator.key,
        operator.session,
        command,
        at,
        route.method,
        route.path,
        body,
    );
    OperatorCall {
        method: route.method.to_owned(),
        path: route.path.to_owned(),
        body: body.to_vec(),
        proof: route.changes.then_some(proof),
        peer: "192.0.2.1".to_owned(),
    }
}

/// Narrows a token as the gateway does, some milliseconds ago.
pub fn narrowed(token: &str, service: Service, need: Need, ago_ms: i64) -> String {
    attenuate(token, service, need, now().plus_ms(-ago_ms), HOP_LIFE_MS).unwrap()
}

pub fn code<T>(reply: Reply<T>) -> Code {
    match reply {
        Ok(_) => panic!("it was answered"),
        Err(error) => error.code,
    }
}
