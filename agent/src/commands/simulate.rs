//! `borealis-agent simulate`: many production agents in one process, each with its own key and its own connection.
//!
//! What differs from a real device: the journal is in memory (thousands share one disk), identities stand in one file, facts
//! are small, and scripts are refused unless they are asked for. What an order must be to be accepted is the same.

use super::SimulateArgs;
use super::run::{StartError, stop_at_signals, without_platform_certificates};
use crate::clock;
use crate::core::record::Record;
use crate::identity::api::{Api, ApiError};
use crate::identity::enrol::{enrol, open_key_set};
use crate::identity::{Device, DeviceKeys, host};
use crate::journal::MemoryJournal;
use crate::paths::{Paths, private_folder, write_whole};
use crate::process::run::not_begun;
use crate::roles::inventory::small;
use crate::roles::script::ScriptRole;
use crate::roles::{Action, AgentRole, Hands, Role, RoleEvent, Roles};
use crate::runtime::{self, Keeper, Parts, Standing};
use crate::settings::{self, Settings};
use crate::tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::{DeploymentId, Guid};
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::enrollment::{Credentials, SignedText, Trust};
use borealis_bus_schema::order::Context;
use borealis_logging::{LogConfig, Side};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// Is how many devices enrol, or connect for the first time, at once.
const AT_ONCE: usize = 32;

/// Is how long a device may keep others waiting until it is welcome.
const FIRST_WELCOME: Duration = Duration::from_secs(10);

/// Is how often changed identities are written, at most.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Is one simulated device in the file.
#[derive(Clone, Serialize, Deserialize)]
struct Simulated {
    identity_seed: String,
    exchange_seed: String,
    guid: Guid,
    credentials: Credentials,
}

/// Is the file of simulated devices.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Fleet {
    trust: Option<Trust>,
    devices: BTreeMap<usize, Simulated>,
}

/// Shares the fleet between the devices and whoever writes it.
type Shared = Arc<Mutex<(Fleet, bool)>>;

fn changed(fleet: &Shared, change: impl FnOnce(&mut Fleet)) {
    let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut fleet.0);
    fleet.1 = true;
}

/// Runs the fleet until it is told to stop.
///
/// Errors: [`StartError`].
pub fn simulate(args: &SimulateArgs) -> Result<(), StartError> {
    let paths = Paths::new(&args.place.root(), args.place.logs.as_deref());
    let settings = Settings::load(&paths, Some(Context::System))?;
    let url = settings.server(&paths, args.server.server_url.clone())?;
    let code = settings::code_of(args.server.installer_code.as_deref(), &settings)?;
    for folder in [paths.state(), paths.work()] {
        private_folder(&folder).map_err(|source| StartError::Io { path: folder, source })?;
    }
    without_platform_certificates(&paths)?;
    raise_file_limit();
    let _guard = borealis_logging::init(&LogConfig {
        dir: paths.logs().to_owned(),
        side: Side::Agent,
        service: "simulate".to_owned(),
        stderr: false,
        errors: false,
        filter: settings
            .log_filter
            .clone()
            .unwrap_or_else(|| "warn,async_nats=off".to_owned()),
    })?;
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .map_err(|source| StartError::Io {
            path: paths.root().to_owned(),
            source,
        })?;
    let outcome = rt.block_on(fleet(args, &paths, url, code));
    rt.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn fleet(args: &SimulateArgs, paths: &Paths, url: String, code: Option<InstallerCode>) -> Result<(), StartError> {
    let (stop_sender, stop) = watch::channel(false);
    stop_at_signals(stop_sender, paths.root())?;
    let file = paths.simulated();
    let fleet: Shared = Arc::new(Mutex::new((load(&file)?, false)));
    let api = shared_api(&url, code.as_ref(), &fleet)?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let setup = Arc::new(Setup {
        paths: paths.clone(),
        api,
        code,
        fleet: Arc::clone(&fleet),
        gate: Arc::new(Semaphore::new(AT_ONCE)),
        run_scripts: args.run_scripts,
        small_facts: args.facts == "small",
        tell,
    });
    let mut devices = JoinSet::new();
    for index in 0..args.devices {
        devices.spawn(device(Arc::clone(&setup), index, stop.clone()));
    }
    let mut ready = Ready::new(args.devices);
    let mut stopping = stop.clone();
    let mut save_at = tokio::time::interval(SAVE_EVERY);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(news) = told.recv() => if ready.took(news) {
                save(&file, &fleet)?;
                announce(&ready)?;
            },
            Some(ended) = devices.join_next() => if let Ok(Err(error)) = ended {
                devices.abort_all();
                save(&file, &fleet)?;
                return Err(error);
            },
            _ = save_at.tick() => save(&file, &fleet)?,
        }
    }
    let all = async { while devices.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(9), all).await;
    save(&file, &fleet)
}

/// Makes the one HTTPS client that all devices share.
fn shared_api(url: &str, code: Option<&InstallerCode>, fleet: &Shared) -> Result<Api, StartError> {
    let trust = fleet.lock().unwrap_or_else(PoisonError::into_inner).0.trust.clone();
    let config = match (trust, code) {
        (Some(trust), _) => tls::root_of_pem(&trust.ca_pem).and_then(|root| tls::trusting(&root)),
        (None, Some(code)) => tls::trusting_hash(*code.ca_sha256()),
        (None, None) => return Err(StartError::NoCode),
    };
    Ok(Api::new(url, config.map_err(ApiError::from)?, AT_ONCE)?)
}

struct Setup {
    paths: Paths,
    api: Api,
    code: Option<InstallerCode>,
    fleet: Shared,
    gate: Arc<Semaphore>,
    run_scripts: bool,
    small_facts: bool,
    tell: mpsc::UnboundedSender<News>,
}

/// Is what the devices tell the counter.
enum News {
    Enrolled(usize),
    Welcome(usize),
}

struct Ready {
    wanted: usize,
    enrolled: BTreeSet<usize>,
    connected: BTreeSet<usize>,
    announced: bool,
}

impl Ready {
    const fn new(wanted: usize) -> Self {
        Self {
            wanted,
            enrolled: BTreeSet::new(),
            connected: BTreeSet::new(),
            announced: false,
        }
    }

    /// Counts, and tells once when all are there.
    fn took(&mut self, news: News) -> bool {
        match news {
            News::Enrolled(index) => self.enrolled.insert(index),
            News::Welcome(index) => self.connected.insert(index),
        };
        let all = self.enrolled.len() == self.wanted && self.connected.len() == self.wanted;
        let first = all && !self.announced;
        self.announced |= all;
        first
    }
}

fn announce(ready: &Ready) -> Result<(), StartError> {
    let line = serde_json::json!({ "enrolled": ready.enrolled.len(), "connected": ready.connected.len() });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|source| StartError::Io {
            path: "/dev/stdout".into(),
            source,
        })
}

/// Is one device's whole life.
async fn device(setup: Arc<Setup>, index: usize, mut stop: watch::Receiver<bool>) -> Result<(), StartError> {
    let permit = Arc::clone(&setup.gate).acquire_owned().await;
    let device = tokio::select! {
        device = existing_or_new(&setup, index) => device?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    let _ = setup.tell.send(News::Enrolled(index));
    let on = Arc::new(Notify::new());
    let is_on = Arc::clone(&on);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(FIRST_WELCOME, is_on.notified()).await;
        drop(permit);
    });
    loop {
        let parts = parts(&setup, index, device.clone(), Arc::clone(&on));
        if let runtime::Ended::Stopped = runtime::run(parts, stop.clone()).await? {
            return Ok(());
        }
        tracing::warn!(index, "the server does not know a simulated device any more");
        let pause = Duration::from_millis(60_000 + crate::random::spread() % 60_000);
        if tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
            return Ok(());
        }
    }
}

async fn existing_or_new(setup: &Setup, index: usize) -> Result<Device, StartError> {
    let known = {
        let fleet = setup.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        fleet.0.trust.clone().zip(fleet.0.devices.get(&index).cloned())
    };
    if let Some((trust, simulated)) = known
        && let Some(keys) = keys_of(&simulated)
    {
        let key_set = open_key_set(&trust)?;
        return Ok(Device {
            keys,
            guid: simulated.guid,
            trust,
            key_set,
            credentials: simulated.credentials,
            next: None,
        });
    }
    let code = setup.code.as_ref().ok_or(StartError::NoCode)?;
    let keys = DeviceKeys::generate().map_err(crate::identity::files::FilesError::from)?;
    let mut facts = host::facts(Context::System, setup.paths.root());
    facts.hostname = hostname(index);
    facts.machine_hash =
        borealis_bus_schema::order::Digest::of(format!("{}#{index}", facts.machine_hash).as_bytes()).to_string();
    let device = enrol(&setup.api, code, &keys, &facts).await?;
    let (identity, exchange) = keys.seeds();
    changed(&setup.fleet, |fleet| {
        fleet.trust = Some(device.trust.clone());
        let simulated = Simulated {
            identity_seed: STANDARD.encode(identity),
            exchange_seed: STANDARD.encode(exchange),
            guid: device.guid,
            credentials: device.credentials.clone(),
        };
        fleet.devices.insert(index, simulated);
    });
    Ok(device)
}

fn keys_of(simulated: &Simulated) -> Option<DeviceKeys> {
    let seed = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
    Some(DeviceKeys::of_seeds(
        seed(&simulated.identity_seed)?,
        seed(&simulated.exchange_seed)?,
    ))
}

fn hostname(index: usize) -> String {
    format!("sim-{index:05}")
}

fn parts(setup: &Arc<Setup>, index: usize, device: Device, on: Arc<Notify>) -> Parts {
    let script: Box<dyn Role> = if setup.run_scripts {
        Box::new(ScriptRole::default())
    } else {
        Box::new(RefusingRole)
    };
    let mut roles: Vec<Box<dyn Role>> = vec![Box::new(AgentRole), script];
    if setup.small_facts {
        roles.push(Box::new(SmallFactsRole {
            guid: device.guid,
            hostname: hostname(index),
        }));
    }
    // The counter of a journal in memory begins at the time, so that it never goes back from one start to the next.
    let counter = u64::try_from(clock::wall().unix_ms()).unwrap_or(0);
    let api = setup.api.clone();
    Parts {
        device,
        context: Context::System,
        journal: Box::new(MemoryJournal),
        records: vec![Record::Hello { counter }],
        roles: Roles::new(roles),
        work: setup.paths.work(),
        wrapper: "/proc/self/exe".into(),
        keeper: Box::new(FleetKeeper {
            index,
            fleet: Arc::clone(&setup.fleet),
            tell: setup.tell.clone(),
            on,
        }),
        api: Arc::new(move || Some(api.clone())),
        max_running: 4,
    }
}

struct FleetKeeper {
    index: usize,
    fleet: Shared,
    tell: mpsc::UnboundedSender<News>,
    on: Arc<Notify>,
}

impl Keeper for FleetKeeper {
    fn credentials(&mut self, _deployment: DeploymentId, credentials: &Credentials) -> Result<(), String> {
        changed(&self.fleet, |fleet| {
            if let Some(device) = fleet.devices.get_mut(&self.index) {
                device.credentials = credentials.clone();
            }
        });
        Ok(())
    }
    fn key_set(&mut self, signed: &Signed) -> Result<(), String> {
        changed(&self.fleet, |fleet| {
            if let Some(trust) = &mut fleet.trust {
                trust.key_set = SignedText::from(signed);
            }
        });
        Ok(())
    }
    fn status(&mut self, standing: &Standing) {
        if standing.welcome {
            self.on.notify_one();
            let _ = self.tell.send(News::Welcome(self.index));
        }
    }
}

/// Stands for the script role where scripts are not to be run.
struct RefusingRole;

impl Role for RefusingRole {
    fn name(&self) -> &'static str {
        "script"
    }
    fn verbs(&self) -> &'static [&'static str] {
        &["run", "cancel"]
    }
    fn handle(&self, action: Action, hands: &Hands) {
        if let Action::Begin(order) = action {
            let key = crate::core::record::RunKey {
                run: order.run,
                attempt: order.attempt,
            };
            let reason = "simulated devices run no scripts".to_owned();
            hands.tell(RoleEvent::Exited(key, not_begun(Code::NotPermittedOnDevice, reason)));
        }
    }
}

/// Tells small facts.
struct SmallFactsRole {
    guid: Guid,
    hostname: String,
}

impl Role for SmallFactsRole {
    fn name(&self) -> &'static str {
        "inventory"
    }
    fn verbs(&self) -> &'static [&'static str] {
        &[]
    }
    fn handle(&self, action: Action, hands: &Hands) {
        if matches!(action, Action::Gather) {
            hands.tell(RoleEvent::Facts(Box::new(small(self.guid, &self.hostname))));
        }
    }
}

fn load(path: &Path) -> Result<Fleet, StartError> {
    let bad = |source| StartError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| bad(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fleet::default()),
        Err(error) => Err(bad(error)),
    }
}

fn save(path: &Path, fleet: &Shared) -> Result<(), StartError> {
    let bytes = {
        let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut fleet.1) {
            return Ok(());
        }
        serde_json::to_vec(&fleet.0)
    };
    let saved = bytes
        .map_err(Into::into)
        .and_then(|bytes| write_whole(path, &bytes, 0o600));
    saved.map_err(|source| {
        tracing::error!(error = %source, "the simulated identities cannot be kept");
        StartError::Io {
            path: path.to_owned(),
            source,
        }
    })
}

/// Lets this process hold as many connections as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %chain(&error), "the limit of open files cannot be raised");
    }
}
