//! A deployment with an operator, a running inventory, and an enrollment that says what the test says.

use std::collections::BTreeMap;
use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, Signed};
use borealis_bus_schema::ids::{Guid, OperatorId, SessionId, SiteName};
use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::messages::inventory::{
    Cpu, Facts, FactsKept, Interface, Memory, Os, Package, Summary, Volume,
};
use borealis_bus_schema::messages::shared_events::{
    DeviceConnected, DeviceDisconnected, DeviceEnrolled, DeviceStatus, DeviceStatusChanged, SharedEvent,
};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::Context;
use borealis_bus_schema::reply::{self, Reply};
use borealis_bus_schema::routes::{Right, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_event_store::{Append, EventLog, NewEvent, OpenOptions, SledLog, StreamId, StreamWrite};
use borealis_service_kit::auth::{Authoriser, BiscuitRoot, HOP_LIFE_MS, SessionClaims, Sites, attenuate, mint_session};
use borealis_service_kit::bus::{Bus, BusConfig, RequestOptions};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::control::RebuildViews;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::run::{Base, Deps};
use borealis_service_kit::service::{ServeError, ServiceBuilder};
use borealis_service_kit::shutdown::Shutdown;
use borealis_service_kit::{confine, keys, random};
use borealis_test_support::{DEADLINE, TestBus, TestDevice, User, eventually};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use tokio::task::JoinHandle;

pub const INVENTORY: Service = Service::Inventory;

pub fn now() -> Timestamp {
    SystemClock.now()
}

/// Is an operator's log-in.
pub struct Operator {
    pub session: SessionId,
    pub key: SigningKey,
    pub token: String,
}

/// Is a service that runs in this process.
pub struct Running {
    pub log: Arc<dyn EventLog>,
    pub revoked: Arc<RevocationSet>,
    pub rebuild: Option<RebuildViews>,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.begin();
        self.task.await.unwrap().unwrap();
        self.log.flush_and_close().await.unwrap();
    }

    /// Appends one event to a stream.
    pub async fn append<T: SharedEvent>(&self, stream: &str, event: &T) {
        let stream = StreamId::new(stream).unwrap();
        let append = Append {
            command_id: random::bytes(),
            command_digest: [0; 32],
            at_ms: now().unix_ms(),
            writes: vec![StreamWrite {
                expected: self.log.stream_version(&stream).unwrap(),
                stream,
                events: vec![NewEvent {
                    kind: T::KIND.to_owned(),
                    body: codec::encode(event).unwrap(),
                }],
            }],
            answer: Vec::new(),
        };
        self.log.append(append).await.unwrap();
    }
}

/// Is a running deployment.
pub struct Rig {
    pub bus: TestBus,
    pub gateway: Bus,
    pub operator: Operator,
    pub enrollment: Running,
    pub inventory: Running,
}

impl Rig {
    pub async fn start() -> Self {
        let bus = TestBus::start().await.unwrap();
        let enrollment = serve_enrollment(&bus).await;
        Self::on(bus, enrollment).await
    }

    async fn on(bus: TestBus, enrollment: Running) -> Self {
        Self {
            gateway: connect(&bus, Service::Gateway).await,
            operator: log_in(&bus, &Right::ALL),
            inventory: serve_inventory(&bus).await,
            enrollment,
            bus,
        }
    }

    /// Stops inventory and starts it again on the same root.
    pub async fn restart(self) -> Self {
        let Rig {
            bus,
            enrollment,
            inventory,
            ..
        } = self;
        inventory.stop().await;
        Self::on(bus, enrollment).await
    }

    /// Lets enrollment say that a device exists, and waits until inventory knows.
    pub async fn enrol(&self, device: &TestDevice, hostname: &str) {
        let enrolled = DeviceEnrolled {
            guid: device.guid,
            site: SiteName::default_site(),
            public_key: device.public_key(),
            exchange_key: device.public_key(),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            facts: HostFacts {
                hostname: hostname.into(),
                os: "linux".into(),
                os_version: "Debian 12".into(),
                arch: "x86_64".into(),
                agent_version: "0.1.0".into(),
                context: Context::System,
                machine_hash: "ab".repeat(32),
            },
            address: "192.0.2.1".into(),
            first_seen_at: now(),
            approved_at: now(),
        };
        self.enrollment.append(&stream("device", &device.guid), &enrolled).await;
        self.eventually("the device", &device.guid, |_| true).await;
    }

    pub async fn connected(&self, device: &TestDevice) {
        let event = DeviceConnected {
            guid: device.guid,
            address: "192.0.2.2".into(),
            at: now(),
        };
        self.enrollment.append(&stream("presence", &device.guid), &event).await;
    }

    pub async fn disconnected(&self, device: &TestDevice, at: Timestamp) {
        let event = DeviceDisconnected {
            guid: device.guid,
            at,
            reason: "Client Closed".into(),
        };
        self.enrollment.append(&stream("presence", &device.guid), &event).await;
    }

    /// Lets enrollment say that a device's status changed, and waits until inventory knows.
    pub async fn change_status(&self, device: &TestDevice, status: DeviceStatus) {
        let event = DeviceStatusChanged {
            guid: device.guid,
            status,
            reason: "test".into(),
            at: now(),
            by: None,
        };
        self.enrollment.append(&stream("device", &device.guid), &event).await;
        self.eventually("the status", &device.guid, |shown| shown["status"] == status.as_str())
            .await;
    }

    /// Waits until a device is shown as wanted.
    pub async fn eventually(&self, what: &str, guid: &Guid, wanted: impl Fn(&Value) -> bool) -> Value {
        let id = guid.to_string();
        let shown = eventually(what, async || {
            self.read("devices-show", &id, "").await.ok().filter(&wanted)
        });
        shown.await.unwrap()
    }

    /// Reads an operator's verb as the gateway does.
    pub async fn read(&self, verb: &str, id: &str, query: &str) -> Reply<Value> {
        let call = self.call_by(&self.operator, verb, id, query);
        let answer = self.send(verb, &call, narrowed(&self.operator, verb, 0)).await?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub fn call_by(&self, operator: &Operator, verb: &str, id: &str, query: &str) -> OperatorCall {
        let route = of_verb(INVENTORY, verb).unwrap();
        let path = format!("{}{query}", route.path.replace("{id}", id));
        let proof = Proof::new(
            &operator.key,
            operator.session,
            random::id(),
            now(),
            route.method,
            &path,
            b"",
        );
        OperatorCall {
            method: route.method.to_owned(),
            path,
            body: Vec::new(),
            proof: route.changes.then_some(proof),
            peer: "192.0.2.7:4711".to_owned(),
        }
    }

    pub async fn send(&self, verb: &str, call: &OperatorCall, biscuit: Option<String>) -> Reply<String> {
        let options = RequestOptions {
            biscuit,
            ..RequestOptions::default()
        };
        self.gateway
            .call(INVENTORY, verb, call, options)
            .await
            .map(|answer| answer.json)
    }
}

/// Tells facts over a device's connection, signed by any key.
pub async fn tell(user: &User, guid: &Guid, key: &SigningKey, facts: &Facts) -> Reply<FactsKept> {
    let signed = Signed::seal(key, Form::Facts, facts).unwrap();
    let subject = format!("borealis.v1.device.{guid}.tell.inventory.facts");
    let answer = user
        .request(&subject, &codec::encode(&signed).unwrap(), DEADLINE)
        .await
        .unwrap();
    reply::decode(&answer)
}

pub fn facts(guid: Guid) -> Facts {
    Facts {
        guid,
        at: now(),
        summary: Summary {
            hostname: "web-1".into(),
            uptime_ms: 60_000,
            ..Summary::default()
        },
        cpu: Cpu {
            model: "EPYC".into(),
            logical: 4,
            physical: Some(2),
        },
        memory: Memory {
            total_bytes: 8 << 30,
            available_bytes: 4 << 30,
            swap_bytes: 0,
        },
        storage: vec![Volume {
            mount: "/".into(),
            device: "/dev/vda1".into(),
            file_system: "ext4".into(),
            total_bytes: 100 << 30,
            free_bytes: 60 << 30,
        }],
        network: vec![Interface {
            name: "eth0".into(),
            mac: "52:54:00:00:00:01".into(),
            addresses: vec!["10.0.0.7/24".into()],
        }],
        os: Os {
            family: "linux".into(),
            name: "Debian GNU/Linux".into(),
            version: "12".into(),
            kernel: "6.1".into(),
            arch: "x86_64".into(),
        },
        software: packages(3),
    }
}

pub fn packages(count: usize) -> Vec<Package> {
    let package = |number: usize| Package {
        name: format!("package-{number}"),
        version: "1.0".into(),
        source: "dpkg".into(),
    };
    (0..count).map(package).collect()
}

fn stream(aggregate: &str, guid: &Guid) -> String {
    format!("{aggregate}-{guid}")
}

async fn connect(bus: &TestBus, service: Service) -> Bus {
    let config = BusConfig {
        service,
        paths: bus.paths().clone(),
        trust: Arc::clone(bus.trust()),
    };
    Bus::connect(config).await.unwrap()
}

pub fn log_in(bus: &TestBus, rights: &[Right]) -> Operator {
    log_in_at(bus, rights, &Sites::All)
}

/// Logs in an operator whose rights reach some sites.
pub fn log_in_at(bus: &TestBus, rights: &[Right], sites: &Sites) -> Operator {
    let root = BiscuitRoot::new(&keys::read_signing_key(&bus.paths().biscuit_root_key()).unwrap()).unwrap();
    let (session, key) = (random::id(), random::signing_key());
    let claims = SessionClaims {
        operator: random::id::<OperatorId>(),
        username: "ada".into(),
        session,
        session_key: PublicKey::of(&key),
        rights: rights
            .iter()
            .map(|right| (*right, sites.clone()))
            .collect::<BTreeMap<_, _>>(),
        expires_at: now().plus_ms(600_000),
    };
    let token = mint_session(&root, &claims).unwrap();
    Operator { session, key, token }
}

/// Narrows an operator's token to a verb, as the gateway did some time ago.
pub fn narrowed(operator: &Operator, verb: &str, ago_ms: i64) -> Option<String> {
    let need = of_verb(INVENTORY, verb).unwrap().need;
    Some(attenuate(&operator.token, INVENTORY, need, now().plus_ms(-ago_ms), HOP_LIFE_MS).unwrap())
}

async fn deps(bus: &TestBus, service: Service) -> Deps {
    let paths = bus.paths().clone();
    let folder = paths.state(service);
    keys::private_folder(&folder).unwrap();
    let store = SledLog::open(&folder, OpenOptions::new()).unwrap();
    let config = borealis_logging::LogConfig {
        dir: paths.logs().to_owned(),
        side: borealis_logging::Side::Server,
        service: service.name().to_owned(),
        stderr: false,
        errors: false,
        filter: "info".to_owned(),
    };
    let (_, log_guard) = borealis_logging::subscriber(&config, Arc::new(borealis_logging::SystemClock)).unwrap();
    let base = Arc::new(Base {
        service,
        args: bus.args(),
        paths: paths.clone(),
        trust: Arc::clone(bus.trust()),
        clock: Arc::new(SystemClock),
        shutdown: Shutdown::manual(),
        isolation: confine::isolation(),
        log_guard,
    });
    let revoked = Arc::new(RevocationSet::new());
    let authoriser = Authoriser::new(
        bus.trust().biscuit_root,
        service,
        Arc::clone(&revoked),
        Arc::clone(&base.clock),
    );
    Deps {
        service_key: keys::read_signing_key(&paths.service_key(service)).unwrap(),
        bus: connect(bus, service).await,
        log: Arc::new(store.clone()),
        store,
        revoked,
        authoriser: Arc::new(authoriser.unwrap()),
        access: None,
        base,
    }
}

async fn run(bus: &TestBus, deps: &Parts, builder: ServiceBuilder, rebuild: Option<RebuildViews>) -> Running {
    let task = tokio::spawn(builder.run(deps.shutdown.clone()));
    let (paths, service) = (bus.paths().clone(), deps.service);
    eventually("the service's ready file", async || {
        borealis_service_kit::ready::read(&paths, service)
    })
    .await
    .unwrap();
    Running {
        log: Arc::clone(&deps.log),
        revoked: Arc::clone(&deps.revoked),
        rebuild,
        shutdown: deps.shutdown.clone(),
        task,
    }
}

/// Is what of the dependencies outlives the building.
struct Parts {
    service: Service,
    log: Arc<dyn EventLog>,
    revoked: Arc<RevocationSet>,
    shutdown: Shutdown,
}

impl Parts {
    fn of(deps: &Deps) -> Self {
        Self {
            service: deps.base.service,
            log: Arc::clone(&deps.log),
            revoked: Arc::clone(&deps.revoked),
            shutdown: deps.base.shutdown.clone(),
        }
    }
}

async fn serve_enrollment(bus: &TestBus) -> Running {
    let deps = deps(bus, Service::Enrollment).await;
    run(bus, &Parts::of(&deps), deps.builder(), None).await
}

async fn serve_inventory(bus: &TestBus) -> Running {
    let deps = deps(bus, INVENTORY).await;
    let parts = Parts::of(&deps);
    let built = borealis_inventory::service::build(deps).await.unwrap();
    run(bus, &parts, built.builder, built.rebuild_views).await
}
