//! `borealis-agent run`: one agent per root, until it is told to stop.

use super::RunArgs;
use super::status::StatusFile;
use crate::core::backoff::{Backoff, Jitter};
use crate::core::book::Book;
use crate::identity::api::{Api, ApiError};
use crate::identity::enrol::{EnrolError, enrol};
use crate::identity::files::{FilesError, IdentityFiles};
use crate::identity::{Device, DeviceKeys, host};
use crate::journal::{FileJournal, JournalError};
use crate::paths::{Paths, private_folder};
use crate::process::spool;
use crate::roles::inventory::InventoryRole;
use crate::roles::script::ScriptRole;
use crate::roles::{AgentRole, Roles};
use crate::runtime::{self, Ended, Keeper, Parts, RunError, Standing};
use crate::settings::{self, Settings, SettingsError};
use crate::tls;
use borealis_bus_schema::causes::chain;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::Signed;
use borealis_bus_schema::ids::DeploymentId;
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::enrollment::Credentials;
use borealis_bus_schema::order::Context;
use borealis_logging::{LogConfig, LogError, LogFile, Side, SystemClock};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Is the variable that names the folder of platform certificates to the TLS library.
const CERTIFICATE_FOLDER: &str = "SSL_CERT_DIR";
/// Is the variable that names a file of them.
const CERTIFICATE_FILE: &str = "SSL_CERT_FILE";

/// Says why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A folder or file cannot be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another agent runs on this root.
    #[error("another agent runs on {}", root.display())]
    RootInUse {
        /// The root.
        root: PathBuf,
    },
    /// The log cannot be used.
    #[error("the log cannot be used")]
    Log(#[from] LogError),
    /// The identity cannot be used.
    #[error("the identity cannot be used")]
    Identity(#[from] FilesError),
    /// The machine is not enrolled and has no code.
    #[error(
        "this machine is not enrolled: give an installer code (BOREALIS_INSTALLER_CODE, --installer-code @FILE, or installer_code in agent_settings.json)"
    )]
    NoCode,
    /// There is no device whose key could be replaced.
    #[error("this machine is not enrolled, so it has no key that could be replaced")]
    NoDevice,
    /// The key was not replaced in time.
    #[error("the server took no new key in time; the running agent tries on")]
    KeyNotTaken,
    /// Enrolment failed for good.
    #[error("this machine is not enrolled")]
    Enrol(#[from] EnrolError),
    /// The server's address or trust is unusable.
    #[error("the server cannot be asked")]
    Api(#[from] ApiError),
    /// The journal cannot be used.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    /// The agent cannot go on.
    #[error("the agent cannot go on")]
    Run(#[from] RunError),
}

impl StartError {
    /// Returns the stable code of the failure.
    pub fn code(&self) -> Code {
        match self {
            StartError::Settings(SettingsError::Code(_)) | StartError::NoCode => Code::CodeInvalid,
            StartError::Settings(_) => Code::InvalidField,
            StartError::RootInUse { .. } => Code::RootInUse,
            StartError::NoDevice => Code::NotFound,
            StartError::KeyNotTaken => Code::Unavailable,
            StartError::Enrol(EnrolError::Denied { .. }) => Code::ApprovalDenied,
            StartError::Enrol(EnrolError::Api(error)) | StartError::Api(error) => match error {
                ApiError::Refused { code, .. } => *code,
                ApiError::Address { .. } => Code::InvalidField,
                ApiError::Untrusted(_) => Code::ServerUntrusted,
                _ => Code::Unavailable,
            },
            StartError::Journal(JournalError::Unreadable { .. }) => Code::UnknownSchema,
            StartError::Journal(error) if error.is_full() => Code::NoSpace,
            StartError::Journal(_) => Code::StorageFailed,
            _ => Code::Internal,
        }
    }
}

/// Runs the agent.
///
/// Errors: [`StartError`].
pub fn run(args: &RunArgs) -> Result<(), StartError> {
    let paths = Paths::new(&args.place.root(), args.place.logs.as_deref());
    let settings = Settings::load(&paths, args.context)?;
    let url = settings.server(&paths, args.server.server_url.clone())?;
    let code = settings::code_of(args.server.installer_code.as_deref(), &settings)?;
    private(&paths.state())?;
    private(&paths.work())?;
    without_platform_certificates(&paths)?;
    let _lock = lock(&paths)?;
    let guard = borealis_logging::init(&LogConfig {
        dir: paths.logs().to_owned(),
        side: Side::Agent,
        service: "agent".to_owned(),
        stderr: true,
        errors: true,
        filter: settings
            .log_filter
            .clone()
            .unwrap_or_else(|| "info,async_nats=off".to_owned()),
    })?;
    let boot = LogFile::open(paths.logs(), Side::Agent, "bootstrap", Arc::new(SystemClock))?;
    boot.write_line(&bootstrap_line(&format!(
        "starting version {}",
        env!("CARGO_PKG_VERSION")
    )));
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(2))
        .build();
    let rt = rt.map_err(|source| StartError::Io {
        path: paths.root().to_owned(),
        source,
    })?;
    let context = settings.context.unwrap_or_else(settings::default_context);
    let agent = Agent {
        paths,
        context,
        url,
        code,
        max_running: settings.max_running.unwrap_or(4).clamp(1, 64),
        boot,
    };
    let outcome = rt.block_on(async {
        let rolling = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_mins(10)).await;
                guard.roll_if_due();
            }
        });
        let outcome = agent.live().await;
        rolling.abort();
        outcome
    });
    if let Err(error) = &outcome {
        tracing::error!(error = %chain(error), "the agent ends");
    }
    rt.shutdown_timeout(Duration::from_millis(200));
    outcome
}

struct Agent {
    paths: Paths,
    context: Context,
    url: String,
    code: Option<InstallerCode>,
    max_running: usize,
    boot: LogFile,
}

impl Agent {
    async fn live(&self) -> Result<(), StartError> {
        let (stop_sender, stop) = watch::channel(false);
        let signals = stop_at_signals(stop_sender, self.paths.root());
        signals?;
        let files = IdentityFiles::new(&self.paths, self.context);
        let mut device = match files.load()? {
            Some(device) => device,
            None => match self.enrol(&files, stop.clone()).await? {
                Some(device) => device,
                None => return Ok(()),
            },
        };
        let mut jitter = Jitter::new(crate::random::spread());
        let mut backoff = Backoff::new(30_000, 3_600_000);
        loop {
            self.boot
                .write_line(&bootstrap_line(&format!("device {} begins", device.guid)));
            let ended = runtime::run(self.parts(device, &files)?, stop.clone()).await?;
            if matches!(ended, Ended::Stopped) {
                self.boot.write_line(&bootstrap_line("stopped"));
                return Ok(());
            }
            tracing::error!("the server does not know this device any more");
            self.boot
                .write_line(&bootstrap_line("the server does not know this device any more"));
            if self.code.is_some() {
                match self.enrol(&files, stop.clone()).await {
                    Ok(Some(fresh)) => {
                        device = fresh;
                        backoff.reset();
                        continue;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => tracing::error!(error = %chain(&error), "this machine cannot enrol again"),
                }
            }
            let pause = Duration::from_millis(backoff.next_ms(&mut jitter));
            let mut stopping = stop.clone();
            if tokio::time::timeout(pause, stopping.wait_for(|stop| *stop))
                .await
                .is_ok()
            {
                return Ok(());
            }
            // What was renewed, or replaced, meanwhile stands on disk.
            device = files.load()?.ok_or(StartError::NoDevice)?;
        }
    }

    /// Enrols with the code; `None` when the agent was stopped meanwhile.
    async fn enrol(
        &self,
        files: &IdentityFiles,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<Device>, StartError> {
        let code = self.code.as_ref().ok_or(StartError::NoCode)?;
        let keys = files.keys()?;
        let words = keys.words();
        self.boot
            .write_line(&bootstrap_line(&format!("asking for enrolment; this key is {words}")));
        StatusFile::new(&self.paths).write_enrolling(&self.url, self.context, &words);
        let api = Api::new(
            &self.url,
            tls::trusting_hash(*code.ca_sha256()).map_err(ApiError::from)?,
            1,
        )?;
        let facts = host::facts(self.context, self.paths.root());
        let device = tokio::select! {
            device = enrol(&api, code, &keys, &facts) => device?,
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        };
        files.save(&device)?;
        self.boot
            .write_line(&bootstrap_line(&format!("enrolled as {}", device.guid)));
        tracing::info!(guid = %device.guid, "this machine is enrolled");
        Ok(Some(device))
    }

    fn parts(&self, device: Device, files: &IdentityFiles) -> Result<Parts, StartError> {
        let (journal, records) = FileJournal::open(&self.paths.journal())?;
        let (book, _) = Book::restore(records.clone());
        spool::keep_only(&self.paths.work(), &book.active());
        let roles = Roles::new(vec![
            Box::new(AgentRole),
            Box::new(ScriptRole::default()),
            Box::new(InventoryRole::new(device.guid)),
        ]);
        let keeper = DiskKeeper {
            files: files.clone(),
            status: StatusFile::new(&self.paths),
            new_key_wanted: self.paths.new_key_wanted(),
            identity: (
                self.url.clone(),
                self.context,
                device.guid.to_string(),
                device.keys.words(),
            ),
        };
        let (url, ca_pem) = (self.url.clone(), device.trust.ca_pem.clone());
        Ok(Parts {
            context: self.context,
            journal: Box::new(journal),
            records,
            roles,
            work: self.paths.work(),
            wrapper: "/proc/self/exe".into(),
            keeper: Box::new(keeper),
            api: Arc::new(move || match Api::of_root(&url, &ca_pem, 0) {
                Ok(api) => Some(api),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the server cannot be asked");
                    None
                }
            }),
            max_running: self.max_running,
            device,
        })
    }
}

struct DiskKeeper {
    files: IdentityFiles,
    status: StatusFile,
    new_key_wanted: PathBuf,
    identity: (String, Context, String, String),
}

impl Keeper for DiskKeeper {
    fn credentials(&mut self, deployment: DeploymentId, credentials: &Credentials) -> Result<(), String> {
        self.files
            .save_credentials(deployment, credentials)
            .map_err(|error| chain(&error))
    }
    fn key_set(&mut self, signed: &Signed) -> Result<(), String> {
        self.files.save_key_set(signed).map_err(|error| chain(&error))
    }
    fn status(&mut self, standing: &Standing) {
        let (url, context, guid, words) = &self.identity;
        self.status.write(url, *context, guid, words, standing);
    }
    fn draw_keys(&mut self) -> Result<DeviceKeys, String> {
        self.files.prepare().map_err(|error| chain(&error))
    }
    fn adopt_keys(
        &mut self,
        keys: &DeviceKeys,
        deployment: DeploymentId,
        credentials: &Credentials,
    ) -> Result<(), String> {
        self.identity.3 = keys.words();
        let kept = self.files.save_credentials(deployment, credentials);
        kept.and_then(|()| self.files.adopt()).map_err(|error| chain(&error))
    }
    fn new_key_is_wanted(&mut self) -> Option<bool> {
        Some(std::fs::remove_file(&self.new_key_wanted).is_ok())
    }
}

fn bootstrap_line(text: &str) -> String {
    let line = serde_json::json!({ "ts": crate::clock::wall().to_string(), "service": "bootstrap", "message": text });
    line.to_string()
}

pub(super) fn private(folder: &Path) -> Result<(), StartError> {
    private_folder(folder).map_err(|source| StartError::Io {
        path: folder.to_owned(),
        source,
    })
}

/// Takes the root for this process; the lock ends with it.
pub(super) fn lock(paths: &Paths) -> Result<File, StartError> {
    let path = paths.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let io_error = |source| StartError::Io {
        path: path.clone(),
        source,
    };
    let file = file.map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::RootInUse {
            root: paths.root().to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

/// Begins this program anew where the environment would make the bus library read the platform's certificates.
///
/// The library loads them at each connect although they are never trusted here: megabytes of memory for nothing, and no
/// connection at all where the variables name a file that is not there. An empty folder in their place ends both.
pub(super) fn without_platform_certificates(paths: &Paths) -> Result<(), StartError> {
    use std::os::unix::process::CommandExt;
    let empty = paths.no_certificates();
    private(&empty)?;
    let empty = std::path::absolute(&empty).unwrap_or(empty);
    let is_set = std::env::var_os(CERTIFICATE_FOLDER).is_some_and(|folder| Path::new(&folder) == empty);
    if is_set && std::env::var_os(CERTIFICATE_FILE).is_none() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|source| StartError::Io {
        path: "/proc/self/exe".into(),
        source,
    })?;
    let mut command = std::process::Command::new(&program);
    let source = command
        .args(std::env::args_os().skip(1))
        .env_remove(CERTIFICATE_FILE)
        .env(CERTIFICATE_FOLDER, &empty)
        .exec();
    Err(StartError::Io { path: program, source })
}

/// Turns SIGTERM and SIGINT into the wish to stop.
pub(super) fn stop_at_signals(sender: watch::Sender<bool>, root: &Path) -> Result<(), StartError> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let sender = sender.clone();
        let mut signals = signal(kind).map_err(|source| StartError::Io {
            path: root.to_owned(),
            source,
        })?;
        tokio::spawn(async move {
            signals.recv().await;
            let _ = sender.send(true);
            // Keeps the channel open until the program ends.
            std::future::pending::<()>().await;
        });
    }
    Ok(())
}
