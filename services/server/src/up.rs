//! All of the server: keys, bus and services, supervised.

mod bootstrap;
mod charges;
mod last_ports;
mod ready_file;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use borealis_bus_schema::subjects::Service;
use borealis_logging::{Guard, LogConfig, LogFile, Side, SystemClock as LogClock};
use borealis_provision::{self as provision, Options, Outcome, lock::Lock, nats_server};
use borealis_service_kit::{
    args::ServiceArgs,
    clock::{Clock, SystemClock},
    exit, keys,
    paths::{Paths, Ports},
    trust::TrustFile,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

pub use bootstrap::{Bootstrap, BootstrapToken};
pub use charges::ListenFile;

use crate::{
    error::ServerError,
    process, screen,
    supervise::{Charge, Happening, State, Supervised},
};
use charges::{GatewayCharge, NatsCharge, ServiceCharge};
use last_ports::{LastPorts, prefer};
use ready_file::ReadyFile;

/// Is how long everything together may take to stop.
const STOP: Duration = Duration::from_millis(9_500);
/// Is how often access is asked whether there is an operator by now.
const SETUP_LOOK: Duration = Duration::from_secs(2);
/// Is how often the logs of silent days are renamed.
const ROLL_LOOK: Duration = Duration::from_secs(60);
/// Is how often the certificates are asked whether they end soon.
const LEAF_LOOK: Duration = Duration::from_secs(3_600);

/// Is how long before its end the set of code-signing keys is spoken of at each start, in milliseconds: 60 days.
const KEY_SET_WARNING_MS: i64 = 60 * 24 * 3_600_000;

/// Says how much is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The bus and every service.
    All,
    /// The bus alone.
    Bus,
}

/// Makes the keys of a root.
///
/// Errors: another server runs on it; the keys cannot be made.
pub fn init(args: &ServiceArgs) -> Result<(), ServerError> {
    process::hide_memory();
    let paths = args.paths().map_err(ServerError::io("the root"))?;
    let _lock = lock(&paths)?;
    let outcome = make_keys(args, &paths)?;
    let there = format!("{} has its keys already", paths.root().display());
    let lines: &[&str] = if outcome.made { &[] } else { &[&there] };
    screen::tell(&serde_json::json!({"made": outcome.made, "ca": paths.ca_pem()}), lines);
    Ok(())
}

/// Makes certificates anew that end soon, also while the server runs.
///
/// Errors: there are no keys yet; they cannot be used.
pub fn renew(args: &ServiceArgs) -> Result<(), ServerError> {
    process::hide_memory();
    let paths = args.paths().map_err(ServerError::io("the root"))?;
    let outcome = provision::renew(&paths, &options(args))?;
    let lines: Vec<String> = match outcome.leaves.as_slice() {
        [] => vec!["No certificate ends soon.".to_owned()],
        leaves => leaves
            .iter()
            .map(|holder| format!("The certificate of {holder} was made anew."))
            .collect(),
    };
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    screen::tell(&serde_json::json!({"renewed": outcome.leaves}), &lines);
    Ok(())
}

/// Starts the bus, or everything, and runs until SIGINT or SIGTERM.
///
/// Errors: it cannot start.
pub fn run(args: ServiceArgs, parts: Parts) -> Result<u8, ServerError> {
    runtime()?.block_on(async {
        let mut up = Up::start(args, parts).await?;
        let outcome = up.run().await;
        up.stop().await;
        outcome.map(|()| exit::OK)
    })
}

/// Makes the runtime of a supervisor: one thread, with which its children live and die.
///
/// Errors: the system's.
pub fn runtime() -> Result<tokio::runtime::Runtime, ServerError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::io("the runtime"))
}

/// Is a running server.
pub struct Up {
    args: ServiceArgs,
    paths: Paths,
    trust: TrustFile,
    parts: Parts,
    bootstrap: Bootstrap,
    happenings: mpsc::UnboundedReceiver<Happening>,
    teller: mpsc::UnboundedSender<Happening>,
    nats: Option<Supervised>,
    services: Vec<Supervised>,
    further: Vec<Supervised>,
    signals: Signals,
    look_now: Signal,
    ready_file: Option<ReadyFile>,
    setup_secret: Option<String>,
    log: Guard,
    nats_log: Option<Arc<LogFile>>,
    _lock: Lock,
}

/// Tells why a server that runs goes on no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everything answers for the first time.
    Ready,
    /// It is to stop.
    Stop,
}

impl Up {
    /// Takes the root, makes its keys where there are none, and starts the children.
    ///
    /// Errors: the root is taken (75), a port is (76), nats-server is missing or another one (78); what else can fail.
    pub async fn start(mut args: ServiceArgs, parts: Parts) -> Result<Self, ServerError> {
        process::hide_memory();
        process::raise_open_files();
        let paths = args.paths().map_err(ServerError::io("the root"))?;
        let lock = lock(&paths)?;
        let log = log(&paths)?;
        let program = nats_server::find(&args, &paths)?;
        check_port("the bus", args.nats_listen, "--nats-listen")?;
        if parts == Parts::All {
            check_port("the web page", args.listen, "--listen")?;
        }
        let last = LastPorts::read(&paths);
        args.nats_listen = prefer(args.nats_listen, last.nats);
        args.listen = prefer(args.listen, last.gateway);
        let outcome = make_keys(&args, &paths)?;
        let (teller, happenings) = mpsc::unbounded_channel();
        tracing::info!(root = %paths.root().display(), pid = std::process::id(), "the server starts");
        let mut up = Self {
            bootstrap: Bootstrap::default(),
            trust: outcome.trust,
            parts,
            happenings,
            teller,
            nats: None,
            services: Vec::new(),
            further: Vec::new(),
            signals: Signals::new()?,
            look_now: signal(SignalKind::user_defined1()).map_err(ServerError::io("the signal handlers"))?,
            ready_file: None,
            setup_secret: None,
            log,
            nats_log: None,
            _lock: lock,
            args,
            paths,
        };
        up.start_children(program)?;
        Ok(up)
    }

    fn start_children(&mut self, program: PathBuf) -> Result<(), ServerError> {
        screen::line(&format!("Starting Borealis in {}", self.paths.root().display()));
        let own = std::env::current_exe().map_err(ServerError::io("this program's path"))?;
        let nats_log = Arc::new(LogFile::open(
            self.paths.logs(),
            Side::Server,
            "nats",
            Arc::new(LogClock),
        )?);
        self.nats_log = Some(Arc::clone(&nats_log));
        let nats = NatsCharge::new(
            own.clone(),
            program,
            self.paths.clone(),
            self.trust.clone(),
            self.args.nats_listen,
            nats_log,
        );
        self.nats = Some(self.supervise(nats));
        if self.parts == Parts::Bus {
            return Ok(());
        }
        for service in Service::ALL {
            let charge = ServiceCharge::new(service, own.clone(), self.paths.clone(), self.args.clone());
            let child = match service {
                Service::Gateway => self.supervise(GatewayCharge::new(charge, self.args.listen)),
                Service::Access => self.supervise(charge.with_line(self.bootstrap.clone())),
                _ => self.supervise(charge),
            };
            self.services.push(child);
        }
        Ok(())
    }

    fn supervise(&self, charge: impl Charge) -> Supervised {
        Supervised::start(charge, self.teller.clone())
    }

    /// Keeps a further child running, which is stopped first.
    pub fn add(&mut self, charge: impl Charge) -> tokio::sync::watch::Receiver<State> {
        let child = self.supervise(charge);
        let state = child.state();
        self.further.push(child);
        state
    }

    /// Returns the root's paths.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
    /// Returns the line to access.
    pub fn bootstrap(&self) -> Bootstrap {
        self.bootstrap.clone()
    }

    /// Returns the address for programs on this machine, once the gateway listens.
    pub fn local_url(&self) -> Option<String> {
        let port = ListenFile::read(&self.paths)?.port;
        let host = match self.args.listen.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip if ip.is_ipv6() => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        Some(format!("https://{host}:{port}"))
    }

    /// Returns the address for browsers and devices, once the gateway listens.
    pub fn public_url(&self) -> Option<String> {
        let port = ListenFile::read(&self.paths)?.port;
        let given = !self.args.public_names.is_empty();
        match self.trust.public_names.first() {
            // Who listens on one address only is reached there, unless a name was given for it.
            Some(name) if given || self.args.listen.ip().is_unspecified() => match name.parse::<std::net::Ipv6Addr>() {
                Ok(address) => Some(format!("https://[{address}]:{port}")),
                Err(_) => Some(format!("https://{name}:{port}")),
            },
            _ => self.local_url(),
        }
    }

    /// Returns the link with which the first operator sets a password; `None` once there is one.
    pub fn setup_link(&self) -> Option<String> {
        let secret = self.setup_secret.as_ref()?;
        Some(format!("{}/setup#{secret}", self.public_url()?))
    }

    /// Runs until everything is to stop.
    ///
    /// Errors: a child can never start.
    pub async fn run(&mut self) -> Result<(), ServerError> {
        while self.turn().await? == Turn::Ready {
            self.print_addresses();
        }
        Ok(())
    }

    /// Prints where the web page is, and how its first operator gets in.
    ///
    /// Shape: as JSON what the ready file says.
    pub fn print_addresses(&self) {
        let content = self.ready_content();
        let mut lines = vec![String::new()];
        match (self.parts, &content.nats_url, &content.url) {
            (Parts::Bus, Some(nats), _) => lines.push(format!("The bus listens: {nats}")),
            (_, _, Some(url)) => {
                lines.push(format!("The web page:  {url}"));
                if let Some(fingerprint) = self.served_fingerprint() {
                    lines.push(format!("Its certificate (SHA-256):  {fingerprint}"));
                }
            }
            _ => {}
        }
        if let Some(warning) = self.key_set_warning() {
            lines.push(warning);
        }
        if let Some(link) = &content.setup_link {
            lines.push(format!("First operator, once:  {link}"));
        }
        lines.push("Ctrl-C stops everything.".to_owned());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        screen::tell(&serde_json::to_value(&content).unwrap_or_default(), &lines);
    }

    /// Returns the SHA-256 of the certificate that browsers are shown, as they write it; none while it cannot be read.
    fn served_fingerprint(&self) -> Option<String> {
        let leaf = CertificateDer::from_pem_file(self.paths.leaf_pem("gateway")).ok()?;
        let pairs: Vec<String> = Sha256::digest(&leaf).iter().map(|byte| format!("{byte:02X}")).collect();
        Some(pairs.join(":"))
    }

    /// Says when the code-signing keys have to be signed anew, if that is soon.
    fn key_set_warning(&self) -> Option<String> {
        let ends_at = self.trust.open_key_set().ok()?.expires_at;
        let soon = SystemClock.now().plus_ms(KEY_SET_WARNING_MS) >= ends_at;
        let warning = format!(
            "Devices accept orders until {ends_at}: run `borealis-server recovery renew-key-set` before, with the server stopped"
        );
        if soon {
            tracing::warn!(%ends_at, "the set of code-signing keys ends soon");
        }
        soon.then_some(warning)
    }

    /// Goes on until everything answers for the first time, or everything is to stop.
    ///
    /// Errors: a child can never start.
    pub async fn turn(&mut self) -> Result<Turn, ServerError> {
        let mut look = tokio::time::interval(SETUP_LOOK);
        let mut roll = tokio::time::interval(ROLL_LOOK);
        let mut leaves = tokio::time::interval_at(tokio::time::Instant::now() + LEAF_LOOK, LEAF_LOOK);
        for ticks in [&mut look, &mut roll, &mut leaves] {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = self.signals.any() => {
                    screen::line("Stopping");
                    return Ok(Turn::Stop);
                }
                Some(happening) = self.happenings.recv() => {
                    self.show(&happening)?;
                    if self.ready_file.is_none() && self.all_answer() {
                        while let Ok(happening) = self.happenings.try_recv() {
                            self.show(&happening)?;
                        }
                        self.announce().await?;
                        return Ok(Turn::Ready);
                    }
                }
                _ = look.tick(), if self.setup_secret.is_some() => self.look_for_operator().await?,
                _ = roll.tick() => {
                    self.log.roll_if_due();
                    self.nats_log.iter().for_each(|log| log.roll_if_due());
                }
                _ = leaves.tick() => self.renew_leaves(),
                Some(()) = self.look_now.recv() => self.renew_leaves(),
            }
        }
    }

    /// Makes the certificates anew that end soon; gateway and bus take them without a restart.
    fn renew_leaves(&self) {
        let renewed = match make_keys(&self.args, &self.paths) {
            Ok(outcome) => outcome.leaves,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "certificates that end soon cannot be made anew");
                return;
            }
        };
        for holder in &renewed {
            tracing::info!(holder, "the certificate ended soon and was made anew");
        }
        // The gateway looks at its file by itself.
        if renewed.contains(&"nats") {
            self.reload_bus();
        }
    }

    /// Lets nats-server read its config again, and with it its certificate; connections stay.
    fn reload_bus(&self) {
        let state = self.nats.as_ref().map(|child| child.state().borrow().clone());
        let Some(State::Ready { pid, .. }) = state else {
            return;
        };
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let told = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::HUP));
        if let Some(Err(error)) = told {
            tracing::error!(%error, "nats-server cannot be told of its new certificate");
        }
    }

    fn show(&self, happening: &Happening) -> Result<(), ServerError> {
        let name = &happening.name;
        match &happening.state {
            State::Starting | State::Stopped => {}
            State::Ready { remark, restarts, .. } => {
                let again = if *restarts > 0 { " again" } else { "" };
                screen::part(name, &format!("ready{again}{remark}"));
            }
            State::Waiting { why, pause } => {
                screen::part(name, &format!("ended ({why}); starts again in {} s", pause.as_secs()));
            }
            State::GaveUp { code, said } => {
                return Err(ServerError::Child {
                    name: name.clone(),
                    code: *code,
                    said: said.clone(),
                });
            }
        }
        Ok(())
    }

    fn all_answer(&self) -> bool {
        let nats = self.nats.iter();
        nats.chain(&self.services)
            .all(|child| child.state().borrow().is_ready())
    }

    /// Writes the ready file, the first time that everything answers.
    async fn announce(&mut self) -> Result<(), ServerError> {
        if self.parts == Parts::All {
            self.setup_secret = match self.bootstrap.setup_secret().await {
                Ok(secret) => secret,
                Err(error) => {
                    tracing::warn!(error = %error, "access did not say whether there is an operator");
                    None
                }
            };
        }
        tracing::info!("everything answers");
        self.keep_ports();
        self.write_ready_file()?;
        Ok(())
    }

    fn keep_ports(&self) {
        let nats = Ports::read(&self.paths).ok().flatten();
        let nats = nats.and_then(|ports| ports.nats.rsplit_once(':')?.1.parse().ok());
        let before = LastPorts::read(&self.paths);
        let now = LastPorts {
            nats: nats.unwrap_or(before.nats),
            gateway: ListenFile::read(&self.paths).map_or(before.gateway, |file| file.port),
        };
        if now != before {
            now.write(&self.paths);
        }
    }

    fn ready_content(&self) -> ready_file::Content {
        ready_file::Content {
            url: self.public_url(),
            nats_url: Ports::read(&self.paths).ok().flatten().map(|ports| ports.nats),
            ca: self.paths.ca_pem(),
            pid: std::process::id(),
            setup_link: self.setup_link(),
        }
    }

    fn write_ready_file(&mut self) -> Result<(), ServerError> {
        let content = self.ready_content();
        let written = match &self.ready_file {
            Some(file) => file.write(&content),
            None => ReadyFile::at(self.args.ready_file.as_deref()).and_then(|file| {
                file.write(&content)?;
                self.ready_file = Some(file);
                Ok(())
            }),
        };
        written.map_err(ServerError::io("the ready file"))
    }

    /// Takes the set-up link back once it was used.
    async fn look_for_operator(&mut self) -> Result<(), ServerError> {
        match self.bootstrap.setup_secret().await {
            Ok(None) => {
                self.setup_secret = None;
                self.write_ready_file()
            }
            Ok(Some(secret)) if self.setup_secret.as_ref() != Some(&secret) => {
                self.setup_secret = Some(secret);
                self.write_ready_file()
            }
            // Access may be starting again; it is asked again soon.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    /// Stops everything: what was added, the gateway, the services, signing, the bus.
    ///
    /// signing stops behind the services whose last heads it countersigns.
    pub async fn stop(mut self) {
        let began = Instant::now();
        let by = |share: f64| began + STOP.mul_f64(share);
        self.ready_file = None;
        let (gateway, services): (Vec<_>, Vec<_>) = std::mem::take(&mut self.services)
            .into_iter()
            .partition(|child| child.name() == Service::Gateway.name());
        stop_all(std::mem::take(&mut self.further), by(0.3)).await;
        stop_all(gateway, by(0.5)).await;
        let (signing, services): (Vec<_>, Vec<_>) = services
            .into_iter()
            .partition(|child| child.name() == Service::Signing.name());
        stop_all(services, by(0.8)).await;
        stop_all(signing, by(0.92)).await;
        stop_all(self.nats.take().into_iter().collect(), by(1.0)).await;
        tracing::info!(took_ms = began.elapsed().as_millis(), "the server stopped");
        screen::line(&format!("Stopped after {:.1} s", began.elapsed().as_secs_f64()));
    }
}

async fn stop_all(children: Vec<Supervised>, deadline: Instant) {
    let stopping: Vec<_> = children
        .into_iter()
        .map(|child| tokio::spawn(child.stop(deadline)))
        .collect();
    for task in stopping {
        if let Err(error) = task.await {
            tracing::error!(%error, "a child could not be stopped");
        }
    }
}

struct Signals {
    all: [Signal; 3],
}

impl Signals {
    fn new() -> Result<Self, ServerError> {
        let catch = |kind| signal(kind).map_err(ServerError::io("the signal handlers"));
        Ok(Self {
            all: [
                catch(SignalKind::interrupt())?,
                catch(SignalKind::terminate())?,
                catch(SignalKind::hangup())?,
            ],
        })
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.all;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

pub(crate) fn lock(paths: &Paths) -> Result<Lock, ServerError> {
    let states = paths.states();
    std::fs::create_dir_all(&states).map_err(ServerError::io(format!("{}", states.display())))?;
    Ok(Lock::take(&paths.lock())?)
}

fn log(paths: &Paths) -> Result<Guard, ServerError> {
    Ok(borealis_logging::init(&LogConfig {
        dir: paths.logs().to_owned(),
        side: Side::Server,
        service: "server".to_owned(),
        stderr: false,
        errors: false,
        filter: std::env::var("BOREALIS_LOG").unwrap_or_else(|_| "info".to_owned()),
    })?)
}

fn options(args: &ServiceArgs) -> Options {
    let mut names = args.names();
    let mut given = !args.public_names.is_empty();
    for ip in [args.listen.ip(), args.nats_listen.ip()] {
        let text = ip.to_string();
        let always_there = ["127.0.0.1", "::1"].contains(&text.as_str());
        if !ip.is_unspecified() && !always_there && !names.contains(&text) {
            names.push(text);
            given = true;
        }
    }
    Options {
        names,
        names_given: given,
        now: SystemClock.now(),
    }
}

fn make_keys(args: &ServiceArgs, paths: &Paths) -> Result<Outcome, ServerError> {
    let outcome = provision::init(paths, &options(args), &mut |passphrase| {
        let why = "Keys were made for this server. Its roots are sealed in Server/recovery.brl; this opens them:";
        show_passphrase(why, passphrase);
    })?;
    keys::shared_folder(&paths.nats_state())
        .map_err(|error| ServerError::io("the bus's folder")(std::io::Error::other(error)))?;
    Ok(outcome)
}

/// Shows a passphrase, this once.
pub(crate) fn show_passphrase(why: &str, passphrase: &str) {
    let shown = format!("    {passphrase}");
    let once = "Write it down now: it is shown this once and kept nowhere.";
    screen::tell(
        &serde_json::json!({"recovery_passphrase": passphrase}),
        &["", why, "", &shown, "", once, ""],
    );
}

fn check_port(what: &'static str, address: SocketAddr, option: &'static str) -> Result<(), ServerError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(ServerError::PortInUse { what, address, option })
        }
        Err(error) => Err(ServerError::io(format!("listening on {address} for {what}"))(error)),
    }
}
