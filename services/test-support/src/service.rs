//! A service that runs inside its test, as its process runs it but for confinement and signals.

use std::path::Path;
use std::sync::Arc;

use borealis_bus_schema::forms::SignatureBytes;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::messages::shared_events::{DeviceEnrolled, SharedEvent};
use borealis_bus_schema::order::Context;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::{audit, codec};
use borealis_event_store::{Append, EventLog, NewEvent, OpenOptions, SledLog, StreamId, StreamWrite};
use borealis_logging::{LogConfig, Side};
use borealis_service_kit::auth::Authoriser;
use borealis_service_kit::bus::{Bus, BusConfig};
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::control::RebuildViews;
use borealis_service_kit::follow::{Place, Stretch};
use borealis_service_kit::paths::Paths;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::run::{Base, Built, Deps, RunError};
use borealis_service_kit::service::ServeError;
use borealis_service_kit::shutdown::Shutdown;
use borealis_service_kit::{confine, keys, random, ready};
use tokio::task::JoinHandle;

use crate::{TestBus, TestDevice, TestError, eventually};

/// Is a service that runs.
pub struct TestService {
    /// Its log.
    pub log: Arc<dyn EventLog>,
    /// The same log as it stands on the disk.
    pub store: SledLog,
    /// What it holds for revoked.
    pub revoked: Arc<RevocationSet>,
    /// Rebuilds its views, if it has any.
    pub rebuild_views: Option<RebuildViews>,
    /// Tells it to stop.
    pub shutdown: Shutdown,
    /// The service itself.
    pub task: JoinHandle<Result<(), ServeError>>,
}

impl TestService {
    /// Starts a service that hears nothing of access, and waits until it answers.
    ///
    /// Errors: it cannot be built, or is not ready in time.
    pub async fn start(
        bus: &TestBus,
        service: Service,
        build: impl AsyncFnOnce(Deps) -> Result<Built, RunError>,
    ) -> Result<Self, TestError> {
        Self::run(deps(bus, service).await?, build).await
    }

    /// Starts a service that follows access from its beginning, and waits until it answers.
    ///
    /// Errors: as [`TestService::start`].
    pub async fn start_following_access(
        bus: &TestBus,
        service: Service,
        build: impl AsyncFnOnce(Deps) -> Result<Built, RunError>,
    ) -> Result<Self, TestError> {
        let mut deps = deps(bus, service).await?;
        let revoked = Arc::clone(&deps.revoked);
        let take = move |stretch: Stretch| {
            let applied = stretch.events.iter().try_for_each(|event| match &event.body {
                Some(body) => revoked.apply(&event.kind, body).map_err(|error| error.to_string()),
                None => Ok(()),
            });
            std::future::ready(applied)
        };
        let access = deps.follow(Service::Access, Place::genesis(), take).await;
        let access = access.map_err(|error| TestError::of("access", &error))?;
        deps.authoriser = Arc::new(authoriser(&deps)?.with_freshness(access.freshness()));
        deps.access = Some(access);
        Self::run(deps, build).await
    }

    async fn run(deps: Deps, build: impl AsyncFnOnce(Deps) -> Result<Built, RunError>) -> Result<Self, TestError> {
        let (base, log, store) = (Arc::clone(&deps.base), Arc::clone(&deps.log), deps.store.clone());
        let (revoked, shutdown) = (Arc::clone(&deps.revoked), base.shutdown.clone());
        let of = |error: RunError| TestError::of(base.service.name(), &error);
        let built = build(deps).await.map_err(of)?;
        let task = tokio::spawn(built.builder.run(shutdown.clone()));
        eventually("the service's ready file", async || {
            ready::read(&base.paths, base.service)
        })
        .await?;
        Ok(Self {
            log,
            store,
            revoked,
            rebuild_views: built.rebuild_views,
            shutdown,
            task,
        })
    }

    /// Stops it and closes its log.
    ///
    /// Errors: it ended with an error.
    pub async fn stop(self) -> Result<(), TestError> {
        self.shutdown.begin();
        let ended = self.task.await.map_err(|error| TestError::of("service", &error))?;
        ended.map_err(|error| TestError::of("service", &error))?;
        let closed = self.log.flush_and_close().await;
        closed.map_err(|error| TestError::of("log", &error))
    }

    /// Counts the events in its log; what the audit keeps of refusals is left out.
    ///
    /// Errors: the log cannot be read.
    pub fn events(&self) -> Result<usize, TestError> {
        let events = self.log.read_all(0, 100_000);
        let events = events.map_err(|error| TestError::of("log", &error))?;
        Ok(events.iter().filter(|event| event.kind != audit::KIND).count())
    }

    /// Appends an event that other services read, past the service.
    ///
    /// Errors: the log does not take it.
    pub async fn tell<T: SharedEvent>(&self, stream: &str, event: &T) -> Result<(), TestError> {
        let body = codec::encode(event).map_err(|error| TestError::of(T::KIND, &error))?;
        append(self.log.as_ref(), stream, T::KIND, body).await
    }
}

/// Opens what a service builds itself from; it hears nothing of access.
///
/// Errors: its store, its keys or the bus cannot be opened.
async fn deps(bus: &TestBus, service: Service) -> Result<Deps, TestError> {
    let of = |error: &dyn std::error::Error| TestError::of(service.name(), error);
    let paths = bus.paths().clone();
    let store = open_store(&paths, service)?;
    let config = LogConfig {
        dir: paths.logs().to_owned(),
        side: Side::Server,
        service: service.name().to_owned(),
        stderr: false,
        errors: false,
        filter: "info".to_owned(),
    };
    let (_, log_guard) =
        borealis_logging::subscriber(&config, Arc::new(borealis_logging::SystemClock)).map_err(|error| of(&error))?;
    let base = Arc::new(Base {
        service,
        args: bus.args(),
        trust: Arc::clone(bus.trust()),
        clock: Arc::new(SystemClock),
        shutdown: Shutdown::manual(),
        isolation: confine::isolation(),
        log_guard,
        paths,
    });
    let revoked = Arc::new(RevocationSet::new());
    let key = keys::read_signing_key(&base.paths.service_key(service));
    let root = base.trust.biscuit_root;
    let authoriser = Authoriser::new(root, service, Arc::clone(&revoked), Arc::clone(&base.clock));
    Ok(Deps {
        service_key: key.map_err(|error| of(&error))?,
        bus: connect(bus, service).await?,
        log: Arc::new(store.clone()),
        store,
        revoked,
        authoriser: Arc::new(authoriser.map_err(|error| of(&error))?),
        access: None,
        base,
    })
}

fn authoriser(deps: &Deps) -> Result<Authoriser, TestError> {
    let (base, revoked) = (&deps.base, Arc::clone(&deps.revoked));
    Authoriser::new(base.trust.biscuit_root, base.service, revoked, Arc::clone(&base.clock))
        .map_err(|error| TestError::of("authoriser", &error))
}

/// Connects to the bus as a service does.
///
/// Errors: the bus refuses it.
pub async fn connect(bus: &TestBus, service: Service) -> Result<Bus, TestError> {
    let config = BusConfig {
        service,
        paths: bus.paths().clone(),
        trust: Arc::clone(bus.trust()),
    };
    Bus::connect(config).await.map_err(|error| TestError::of("bus", &error))
}

/// Opens the log of a service that does not run.
///
/// Errors: it cannot be opened.
pub fn open_store(paths: &Paths, service: Service) -> Result<SledLog, TestError> {
    let folder = paths.state(service);
    keys::private_folder(&folder).map_err(|error| TestError::of("state", &error))?;
    SledLog::open(&folder, OpenOptions::new()).map_err(|error| TestError::of("log", &error))
}

/// Appends one event to a stream, past the service.
///
/// Errors: the log does not take it.
pub async fn append(log: &dyn EventLog, stream: &str, kind: &str, body: Vec<u8>) -> Result<(), TestError> {
    let of = |error: &dyn std::error::Error| TestError::of(stream, error);
    let stream_id = StreamId::new(stream).map_err(|error| of(&error))?;
    let expected = log.stream_version(&stream_id).map_err(|error| of(&error))?;
    let append = Append {
        command_id: random::bytes(),
        command_digest: [0; 32],
        at_ms: SystemClock.now().unix_ms(),
        writes: vec![StreamWrite {
            stream: stream_id,
            expected,
            events: vec![NewEvent {
                kind: kind.to_owned(),
                body,
            }],
        }],
        answer: Vec::new(),
    };
    log.append(append).await.map(|_| ()).map_err(|error| of(&error))
}

/// Returns what a machine tells of itself when it asks to be enrolled.
pub fn host_facts(hostname: &str, machine_hash: &str) -> HostFacts {
    HostFacts {
        hostname: hostname.into(),
        os: "linux".into(),
        os_version: "Debian 12".into(),
        arch: "x86_64".into(),
        agent_version: "0.1.0".into(),
        context: Context::System,
        machine_hash: machine_hash.into(),
    }
}

impl TestDevice {
    /// Returns what enrollment says when this device was enrolled.
    pub fn enrolled(&self, hostname: &str, site: SiteName) -> DeviceEnrolled {
        let now = SystemClock.now();
        DeviceEnrolled {
            guid: self.guid,
            site,
            public_key: self.public_key(),
            exchange_key: self.public_key(),
            exchange_key_signature: SignatureBytes::from_bytes([0; 64]),
            facts: host_facts(hostname, &"ab".repeat(32)),
            address: "192.0.2.1".into(),
            first_seen_at: now,
            approved_at: now,
        }
    }
}

/// Confines a thread as a service's process is, and reports which keys it can still open.
///
/// Errors: its own key cannot be opened, or another's can.
pub fn isolated(service: Service, own_key: impl FnOnce(&Paths) -> std::path::PathBuf) -> Result<(), TestError> {
    let bus = TestBus::provision()?;
    let paths = bus.paths().clone();
    keys::private_folder(&paths.state(service)).map_err(|error| TestError::of("state", &error))?;
    let own: &Path = &own_key(&paths);
    // Landlock holds for a thread and what it starts; the test's own cleans up afterwards.
    let confined = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let isolation = confine::confine(&paths, service);
            let own = keys::read_signing_key(own).is_ok();
            (isolation, own, confine::probe_others(&paths, service))
        });
        thread.join()
    });
    let (isolation, own, others) = confined.map_err(|_| TestError("the confined thread panicked".to_owned()))?;
    if !own {
        return Err(TestError("its own key cannot be read".to_owned()));
    }
    match (isolation.landlock, others.is_empty()) {
        (true, false) => Err(TestError(format!("keys of others can be read: {others:?}"))),
        (false, _) if isolation.keys_isolated() => Err(TestError(
            "a kernel without Landlock is not reported as such".to_owned(),
        )),
        _ => Ok(()),
    }
}
