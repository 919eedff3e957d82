//! A real nats-server with the product's own keys.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use borealis_bus_schema::{
    forms::PublicKey,
    ids::Guid,
    subjects::{Service, inbox_prefix},
    time::Timestamp,
};
use borealis_provision::{Options, init, nats_config, nats_server};
use borealis_service_kit::{
    args::{PlaceArgs, ServiceArgs},
    clock::{Clock, SystemClock},
    keys, nats_jwt,
    nats_jwt::{AccountClaims, UserClaims},
    paths::Paths,
    random,
    trust::TrustFile,
};
use ed25519_dalek::SigningKey;
use nkeys::{KeyPair, KeyPairType};
use tempfile::TempDir;

use crate::{DEADLINE, TestError, User, eventually, programs};

/// Is a device that exists only for a test.
#[derive(Clone)]
pub struct TestDevice {
    /// Its name.
    pub guid: Guid,
    /// Its identity key, which is its bus user's key too.
    pub key: SigningKey,
}

impl TestDevice {
    /// Draws a device.
    pub fn draw() -> Self {
        Self {
            guid: random::id(),
            key: random::signing_key(),
        }
    }

    /// Returns its identity's public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.key)
    }

    /// Returns its name as a user of the bus, `U…`.
    pub fn user_key(&self) -> String {
        nats_jwt::user_key(&self.public_key())
    }
}

/// Returns a device's identity key as a key of the bus.
///
/// Errors: it is no key of the bus.
pub fn user_key_pair(key: &SigningKey) -> Result<KeyPair, TestError> {
    KeyPair::new_from_raw(KeyPairType::User, key.to_bytes()).map_err(|error| TestError::of("device key", &error))
}

/// Is a real bus in a temporary root.
pub struct TestBus {
    dir: Option<TempDir>,
    paths: Paths,
    trust: Arc<TrustFile>,
    passphrase: String,
    port: u16,
    child: Option<Child>,
}

impl TestBus {
    /// Provisions a root and starts its bus on a free port of loopback.
    ///
    /// Errors: nats-server is missing or does not start; its log stands in the text.
    pub async fn start() -> Result<Self, TestError> {
        let mut bus = Self::provision()?;
        bus.resume().await?;
        Ok(bus)
    }

    /// Provisions a root and starts nothing.
    ///
    /// Errors: the root cannot be provisioned.
    pub fn provision() -> Result<Self, TestError> {
        let dir = TempDir::with_prefix("borealis-").map_err(|error| TestError::of("temporary root", &error))?;
        let paths = Paths::new(dir.path(), None).map_err(|error| TestError::of("root", &error))?;
        let mut passphrase = String::new();
        let options = Options {
            names: vec!["localhost".to_owned()],
            names_given: false,
            now: SystemClock.now(),
        };
        let outcome = init(&paths, &options, &mut |words| words.clone_into(&mut passphrase))
            .map_err(|error| TestError::of("init", &error))?;
        Ok(Self {
            dir: Some(dir),
            paths,
            trust: Arc::new(outcome.trust),
            passphrase,
            port: 0,
            child: None,
        })
    }

    /// Starts the bus, again on the port that it had.
    ///
    /// Errors: as [`TestBus::start`].
    pub async fn resume(&mut self) -> Result<(), TestError> {
        let listen = ([127, 0, 0, 1], self.port).into();
        let of = |what: &'static str| move |error: std::io::Error| TestError::of(what, &error);
        let program = nats_server::find_in(&[programs::dependencies()], &[])
            .map_err(|error| TestError::of("nats-server", &error))?;
        nats_config::write(&self.paths, &self.trust, listen).map_err(|error| TestError::of("config", &error))?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log())
            .map_err(of("nats.log"))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(self.paths.nats_conf())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(of("nats-server"))?;
        let pid = child.id();
        self.child = Some(child);
        let found = eventually("nats-server's ports", async || {
            nats_config::listening_port(&self.paths, pid).ok().flatten()
        })
        .await;
        self.port = found.map_err(|error| TestError(format!("{error}\n{}", self.log_text())))?;
        let ports = nats_config::addresses(&self.trust, [127, 0, 0, 1].into(), self.port, pid);
        nats_config::announce(&self.paths, &ports).map_err(|error| TestError::of("ports.json", &error))
    }

    /// Has whoever connects next connect to another port of loopback: a [`Link`](crate::Link) to the bus. `None` ends that.
    ///
    /// Errors: the announcement cannot be written.
    pub fn lead_via(&self, port: Option<u16>) -> Result<(), TestError> {
        let pid = self.pid().unwrap_or_default();
        let port = port.unwrap_or(self.port);
        let ports = nats_config::addresses(&self.trust, [127, 0, 0, 1].into(), port, pid);
        nats_config::announce(&self.paths, &ports).map_err(|error| TestError::of("ports.json", &error))
    }

    /// Returns the bus's own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends nats-server with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It is gone already when this fails.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = nats_config::remove_ports(&self.paths);
    }

    /// Returns the root's paths.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
    /// Returns the root.
    pub fn root(&self) -> &Path {
        self.paths.root()
    }
    /// Returns what the deployment trusts.
    pub fn trust(&self) -> &Arc<TrustFile> {
        &self.trust
    }
    /// Reads what the deployment trusts again, after it was replaced on disk.
    ///
    /// Errors: the file cannot be read.
    pub fn reread_trust(&mut self) -> Result<(), TestError> {
        let trust = TrustFile::read(&self.paths).map_err(|error| TestError::of("trust", &error))?;
        self.trust = Arc::new(trust);
        Ok(())
    }

    /// Returns the passphrase of the recovery file.
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }
    /// Returns nats-server's process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
    /// Returns the bus's address.
    pub fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }
    /// Returns the options with which a service is started on this root; the gateway takes a free port.
    pub fn args(&self) -> ServiceArgs {
        ServiceArgs {
            place: PlaceArgs {
                root: Some(self.root().to_owned()),
                json: false,
            },
            listen: ([127, 0, 0, 1], 0).into(),
            nats_listen: ([127, 0, 0, 1], self.port).into(),
            public_names: vec!["localhost".to_owned()],
            logs: None,
            ready_file: None,
            dependencies: Some(programs::dependencies()),
        }
    }

    /// Returns what nats-server logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> std::path::PathBuf {
        self.root().join("nats.log")
    }

    /// Returns the account's signing key, with which enrollment signs devices.
    ///
    /// Errors: the key cannot be read.
    pub fn account_signing(&self) -> Result<KeyPair, TestError> {
        keys::read_nkey(&self.paths.account_signing_seed()).map_err(|error| TestError::of("account key", &error))
    }

    /// Signs a device's JWT that ends after some milliseconds.
    ///
    /// Errors: the account's key cannot be read.
    pub fn device_jwt(&self, device: &TestDevice, lifetime_ms: i64) -> Result<String, TestError> {
        let now = SystemClock.now();
        let (key, guid) = (device.public_key(), device.guid);
        let claims = UserClaims::device(&key, &guid, &self.trust.account.public_key, now.plus_ms(lifetime_ms));
        self.sign_user(&claims, now)
    }

    /// Signs any user of the account.
    ///
    /// Errors: the account's key cannot be read.
    pub fn sign_user(&self, claims: &UserClaims, now: Timestamp) -> Result<String, TestError> {
        nats_jwt::user(&self.account_signing()?, claims, now).map_err(|error| TestError::of("user JWT", &error))
    }

    /// Connects a device with a JWT of an hour.
    ///
    /// Errors: the bus refuses it.
    pub async fn connect_device(&self, device: &TestDevice) -> Result<User, TestError> {
        let jwt = self.device_jwt(device, 3_600_000)?;
        self.connect_device_with(device, move || jwt.clone()).await
    }

    /// Connects a device that takes its JWT anew at each connect.
    ///
    /// Errors: the bus refuses it.
    pub async fn connect_device_with(
        &self,
        device: &TestDevice,
        jwt: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<User, TestError> {
        self.connect(
            user_key_pair(&device.key)?,
            jwt,
            &inbox_prefix(&device.guid.to_string()),
        )
        .await
    }

    /// Connects with the credentials of a service.
    ///
    /// Errors: they cannot be read, or the bus refuses them.
    pub async fn connect_service(&self, service: Service) -> Result<User, TestError> {
        let of = |error: keys::KeyFileError| TestError::of(service.name(), &error);
        let key = keys::read_nkey(&self.paths.bus_seed(service)).map_err(of)?;
        let jwt = keys::read_private_text(&self.paths.bus_jwt(service), "JWT").map_err(of)?;
        self.connect(key, move || jwt.to_string(), &inbox_prefix(service.name()))
            .await
    }

    /// Connects a user that may do everything in the account: whoever took the bus over.
    ///
    /// Errors: the bus refuses it.
    pub async fn connect_everything(&self) -> Result<User, TestError> {
        let key = KeyPair::new_user();
        let claims = UserClaims {
            public_key: key.public_key(),
            account: self.trust.account.public_key.clone(),
            name: "everything".to_owned(),
            permissions: None,
            subscriptions: -1,
            expires_at: None,
        };
        let jwt = self.sign_user(&claims, SystemClock.now())?;
        self.connect(key, move || jwt.clone(), "_INBOX_everything").await
    }

    /// Connects the user of the system account.
    ///
    /// Errors: its credentials cannot be read, or the bus refuses them.
    pub async fn connect_system(&self) -> Result<User, TestError> {
        let of = |error: keys::KeyFileError| TestError::of("system user", &error);
        let key = keys::read_nkey(&self.paths.sys_seed()).map_err(of)?;
        let jwt = keys::read_private_text(&self.paths.sys_jwt(), "JWT").map_err(of)?;
        self.connect(key, move || jwt.to_string(), nats_jwt::SYSTEM_INBOX).await
    }

    /// Connects with any key and JWT.
    ///
    /// Errors: the bus refuses them.
    pub async fn connect(
        &self,
        key: KeyPair,
        jwt: impl Fn() -> String + Send + Sync + 'static,
        inbox: &str,
    ) -> Result<User, TestError> {
        User::connect(&self.url(), &self.paths.ca_pem(), Some((key, Arc::new(jwt))), inbox).await
    }

    /// Signs the account anew with devices cut off, and pushes it as enrollment does; returns the JWT.
    ///
    /// Errors: the bus does not take it.
    pub async fn revoke(&self, devices: &[&TestDevice]) -> Result<String, TestError> {
        let of = |error: keys::KeyFileError| TestError::of("operator key", &error);
        let now = SystemClock.now();
        let operator = keys::read_nkey(&self.paths.operator_signing_seed()).map_err(of)?;
        let claims = AccountClaims {
            public_key: self.trust.account.public_key.clone(),
            name: borealis_provision::bus::ACCOUNT.to_owned(),
            signing_keys: vec![self.account_signing()?.public_key()],
            revocations: devices
                .iter()
                .map(|device| (device.user_key(), now.unix_ms() / 1000))
                .collect(),
        };
        // The bus keeps the younger of two accounts, in whole seconds; the one in its config may be of this very second.
        let younger = now.plus_ms(1_000);
        let jwt =
            nats_jwt::account(&operator, &claims, younger).map_err(|error| TestError::of("account JWT", &error))?;
        let system = self.connect_system().await?;
        let answer = system
            .request("$SYS.REQ.CLAIMS.UPDATE", jwt.as_bytes(), DEADLINE)
            .await?;
        if !String::from_utf8_lossy(&answer).contains("200") {
            return Err(TestError(format!(
                "the bus refused the account: {}",
                String::from_utf8_lossy(&answer)
            )));
        }
        Ok(jwt)
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            let kept = dir.keep();
            let log = self.log_text();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the bus's root is kept: {}", kept.display());
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
