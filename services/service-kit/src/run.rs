//! How a service's process comes up and goes down.
//!
//! The program confines itself ([`crate::confine::confine`]) before it starts its runtime; then [`run_service`] opens the log
//! file, reads what is trusted, opens the event store (a storage error ends the process with code 74, then and later),
//! connects to the bus, follows access, lets the service build itself, and serves until SIGTERM or SIGINT.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{EventLog, OpenOptions, SledLog, StoreError};
use borealis_logging::{LogConfig, LogError, Side};
use ed25519_dalek::SigningKey;
use thiserror::Error;

use crate::args::ServiceArgs;
use crate::audit::{AuditIndex, AuditedLog};
use crate::auth::{AuthError, Authoriser};
use crate::bus::{Bus, BusConfig, BusError};
use crate::clock::{Clock, SystemClock};
use crate::confine;
use crate::control::{self, ControlError, RebuildViews};
use crate::follow::{FollowConfig, Follower, Place};
use crate::keys::{self, KeyFileError};
use crate::paths::Paths;
use crate::ready;
use crate::revocation::RevocationSet;
use crate::service::{ServeError, ServiceBuilder};
use crate::shutdown::Shutdown;
use crate::trust::{TrustError, TrustFile};

/// Says why a service's process ends.
#[derive(Debug, Error)]
pub enum RunError {
    /// The root cannot be found.
    #[error("the root cannot be found")]
    Root(#[source] std::io::Error),
    /// The log file cannot be opened.
    #[error("the log cannot be opened")]
    Log(#[from] LogError),
    /// The signal handlers cannot be set.
    #[error("the signal handlers cannot be set")]
    Signals(#[source] std::io::Error),
    /// The trust file is unusable.
    #[error("the deployment's trust file is unusable")]
    Trust(#[from] TrustError),
    /// A key cannot be read.
    #[error("a key of the service cannot be read")]
    Key(#[from] KeyFileError),
    /// The store cannot be opened.
    #[error("the event store cannot be opened")]
    Store(#[from] StoreError),
    /// The bus cannot be used.
    #[error("the bus cannot be used")]
    Bus(#[from] BusError),
    /// The biscuits' root or the policy is unusable.
    #[error("the service cannot decide who may do what")]
    Auth(#[from] AuthError),
    /// The control socket cannot be opened.
    #[error("the control socket cannot be opened")]
    Control(#[from] ControlError),
    /// The service cannot serve.
    #[error("the service cannot serve")]
    Serve(#[from] ServeError),
    /// The trust file names no key of a service.
    #[error("the trust file names no key of {0}")]
    NoServiceKey(Service),
    /// The service could not build itself.
    #[error("the service could not start")]
    Service(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RunError {
    /// Wraps a service's own error.
    pub fn service(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Service(error.into())
    }

    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Store(_) => crate::exit::STORAGE,
            _ => crate::exit::FAILED,
        }
    }
}

/// Is what every service's process has before it has a store: also what the gateway stands on.
pub struct Base {
    /// The service.
    pub service: Service,
    /// The options it was started with.
    pub args: ServiceArgs,
    /// The paths under the root.
    pub paths: Paths,
    /// What it trusts.
    pub trust: Arc<TrustFile>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Tells when to stop.
    pub shutdown: Shutdown,
    /// How well the process is shut off.
    pub isolation: confine::Isolation,
    /// Keeps the log file.
    pub log_guard: borealis_logging::Guard,
}

impl Base {
    /// Opens the log file, listens to signals and reads what is trusted.
    ///
    /// Errors: [`RunError::Root`], [`RunError::Log`], [`RunError::Signals`], [`RunError::Trust`].
    pub fn start(service: Service, args: ServiceArgs) -> Result<Self, RunError> {
        let paths = args.paths().map_err(RunError::Root)?;
        let log_guard = borealis_logging::init(&LogConfig {
            dir: paths.logs().to_owned(),
            side: Side::Server,
            service: service.name().to_owned(),
            stderr: std::io::IsTerminal::is_terminal(&std::io::stderr()),
            errors: false,
            filter: std::env::var("BOREALIS_LOG").unwrap_or_else(|_| "info".to_owned()),
        })?;
        let shutdown = Shutdown::on_signals().map_err(RunError::Signals)?;
        let isolation = confine::isolation();
        if isolation.keys_isolated() {
            tracing::info!(service = service.name(), "starting; keys are isolated");
        } else {
            tracing::warn!(
                service = service.name(),
                landlock = isolation.landlock,
                dumpable = isolation.dumpable,
                "starting; keys not isolated"
            );
        }
        ready::clear(&paths, service);
        let trust = Arc::new(TrustFile::read(&paths)?);
        Ok(Self {
            service,
            args,
            paths,
            trust,
            clock: Arc::new(SystemClock),
            shutdown,
            isolation,
            log_guard,
        })
    }

    /// Connects to the bus; `None` when the service is stopped while it waits for it.
    ///
    /// Errors: as [`Bus::connect`].
    pub async fn connect(&self) -> Result<Option<Bus>, BusError> {
        let config = BusConfig {
            service: self.service,
            paths: self.paths.clone(),
            trust: Arc::clone(&self.trust),
        };
        tokio::select! {
            bus = Bus::connect(config) => bus.map(Some),
            () = self.shutdown.wait() => Ok(None),
        }
    }
}

/// Is what a service builds itself from.
pub struct Deps {
    /// Paths, trust, clock, shutdown.
    pub base: Arc<Base>,
    /// The connection to the bus.
    pub bus: Bus,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The same log as it stands on this disk, for views and digest files.
    pub store: SledLog,
    /// The key that signs this service's heads, and whatever else it signs as itself.
    pub service_key: SigningKey,
    /// What was revoked; fed by following access, and in access by access itself.
    pub revoked: Arc<RevocationSet>,
    /// Decides who may do what.
    pub authoriser: Arc<Authoriser>,
    /// The follower of access; none in access itself.
    pub access: Option<Follower>,
}

impl Deps {
    /// Begins the service.
    pub fn builder(&self) -> ServiceBuilder {
        let builder = ServiceBuilder::new(
            self.base.service,
            self.base.paths.clone(),
            self.bus.clone(),
            Arc::clone(&self.log),
            Arc::clone(&self.base.clock),
            Arc::clone(&self.authoriser),
        )
        .head_key(self.service_key.clone());
        match &self.access {
            Some(access) => builder.ready_when(access.freshness()),
            None => builder,
        }
    }

    /// Returns a service's key from the trust file.
    ///
    /// Errors: [`RunError::NoServiceKey`].
    pub fn key_of(&self, service: Service) -> Result<borealis_bus_schema::forms::PublicKey, RunError> {
        self.base
            .trust
            .service_key(service)
            .copied()
            .ok_or(RunError::NoServiceKey(service))
    }

    /// Follows another service's log.
    ///
    /// Errors: [`RunError::NoServiceKey`], [`RunError::Bus`].
    pub async fn follow<F, Fut>(&self, owner: Service, from: Place, take: F) -> Result<Follower, RunError>
    where
        F: FnMut(crate::follow::Stretch) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let config = FollowConfig {
            bus: self.bus.clone(),
            owner,
            key: self.key_of(owner)?,
            clock: Arc::clone(&self.base.clock),
            from,
            shutdown: self.base.shutdown.clone(),
        };
        Ok(Follower::start(config, take).await?)
    }
}

/// Is a service that has built itself.
pub struct Built {
    /// What it does.
    pub builder: ServiceBuilder,
    /// Rebuilds its views, for `borealis-server store <service> rebuild-views`.
    pub rebuild_views: Option<RebuildViews>,
}

impl From<ServiceBuilder> for Built {
    fn from(builder: ServiceBuilder) -> Self {
        Self {
            builder,
            rebuild_views: None,
        }
    }
}

type BuildFn = Box<dyn FnOnce(Deps) -> Pin<Box<dyn Future<Output = Result<Built, RunError>> + Send>> + Send>;

/// Names a service and how it builds itself.
pub struct ServiceMain {
    service: Service,
    build: BuildFn,
}

impl ServiceMain {
    /// Takes the service's name and its builder.
    pub fn new<F, Fut>(service: Service, build: F) -> Self
    where
        F: FnOnce(Deps) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Built, RunError>> + Send + 'static,
    {
        Self {
            service,
            build: Box::new(move |deps| Box::pin(build(deps))),
        }
    }
}

/// Runs a service's process until it is told to stop.
///
/// Errors: [`RunError`]; its [`RunError::exit_code`] is the process's.
pub async fn run_service(main: ServiceMain, args: ServiceArgs) -> Result<(), RunError> {
    let base = Arc::new(Base::start(main.service, args)?);
    let outcome = run_on(main, Arc::clone(&base)).await;
    if let Err(error) = &outcome {
        tracing::error!(error = %chain(error), "the service ends");
    }
    outcome
}

async fn run_on(main: ServiceMain, base: Arc<Base>) -> Result<(), RunError> {
    let service_key = keys::read_signing_key(&base.paths.service_key(base.service))?;
    let store = open_store(&base).await?;
    let log: Arc<dyn EventLog> = Arc::new(AuditedLog::new(Arc::new(store.clone())));
    let Some(bus) = base.connect().await? else {
        return close(&log).await;
    };
    let revoked = Arc::new(RevocationSet::new());
    let access = follow_access(&base, &bus, &revoked).await?;
    let mut authoriser = Authoriser::new(
        base.trust.biscuit_root,
        base.service,
        Arc::clone(&revoked),
        Arc::clone(&base.clock),
    )?
    .with_former_roots(&base.trust.former_biscuit_roots)?;
    if let Some(access) = &access {
        authoriser = authoriser.with_freshness(access.freshness());
    }
    let deps = Deps {
        base: Arc::clone(&base),
        bus,
        log: Arc::clone(&log),
        store: store.clone(),
        service_key,
        revoked,
        authoriser: Arc::new(authoriser),
        access,
    };
    let built = (main.build)(deps).await?;
    let index = Arc::new(AuditIndex::open(base.service, &store)?);
    let rebuild = rebuild_all(built.rebuild_views, Arc::clone(&index));
    let control = control::serve(&base.paths, base.service, store, Some(rebuild))?;
    let served = built.builder.audit_index(index).run(base.shutdown.clone()).await;
    drop(control);
    let closed = close(&log).await;
    served?;
    closed
}

/// Rebuilds the service's own views, then the index of its audit.
fn rebuild_all(own: Option<RebuildViews>, index: Arc<AuditIndex>) -> RebuildViews {
    Arc::new(move || {
        let (own, index) = (own.clone(), Arc::clone(&index));
        Box::pin(async move {
            if let Some(own) = own {
                own().await?;
            }
            let rebuilt = tokio::task::spawn_blocking(move || index.rebuild()).await;
            rebuilt
                .map_err(|error| error.to_string())?
                .map_err(|error| chain(&error))
        })
    })
}

async fn open_store(base: &Base) -> Result<SledLog, RunError> {
    let folder = base.paths.state(base.service);
    keys::private_folder(&folder)?;
    let opening = tokio::task::spawn_blocking(move || SledLog::open(&folder, OpenOptions::new().exit_on_fault()));
    match opening.await {
        Ok(store) => Ok(store?),
        Err(error) => Err(RunError::service(error)),
    }
}

/// Feeds the set of what was revoked by following access, unless this is access.
async fn follow_access(base: &Base, bus: &Bus, revoked: &Arc<RevocationSet>) -> Result<Option<Follower>, RunError> {
    if base.service == Service::Access {
        return Ok(None);
    }
    let key = base.trust.service_key(Service::Access).copied();
    let config = FollowConfig {
        bus: bus.clone(),
        owner: Service::Access,
        key: key.ok_or(RunError::NoServiceKey(Service::Access))?,
        clock: Arc::clone(&base.clock),
        from: Place::genesis(),
        shutdown: base.shutdown.clone(),
    };
    let revoked = Arc::clone(revoked);
    let follower = Follower::start(config, move |stretch| {
        let outcome = stretch.events.iter().try_for_each(|event| match &event.body {
            Some(body) => revoked.apply(&event.kind, body).map_err(|error| error.to_string()),
            None => Ok(()),
        });
        std::future::ready(outcome)
    })
    .await?;
    Ok(Some(follower))
}

async fn close(log: &Arc<dyn EventLog>) -> Result<(), RunError> {
    Ok(log.flush_and_close().await?)
}
