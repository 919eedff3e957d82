//! Makes a deployment's keys, once.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use borealis_bus_schema::{
    codec::CodecError,
    forms::{Form, PublicKey, Signed},
    ids::DeploymentId,
    messages::enrollment::SignedText,
    order::KeySet,
    subjects::Service,
    time::Timestamp,
};
use borealis_service_kit::{
    args::is_host_name,
    keys::{self, KeyFileError},
    nats_jwt::JwtError,
    paths::Paths,
    random,
    trust::{TrustError, TrustFile},
};
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    bus::BusKeys,
    certificates::{self, CertificateError, Certified},
    recovery::{self, RecoveryError, Roots},
};

/// Is how long the first set of code-signing keys is valid: a year.
pub(crate) const KEY_SET_MS: i64 = 365 * 24 * 3_600_000;

/// Names who terminates TLS.
pub(crate) const LEAF_HOLDERS: [&str; 2] = ["gateway", "nats"];

/// Says what a deployment is to be called.
#[derive(Debug, Clone)]
pub struct Options {
    /// The names and addresses under which browsers and devices reach it.
    pub names: Vec<String>,
    /// Whether the names were given; else those of an earlier start are kept.
    pub names_given: bool,
    /// This instant.
    pub now: Timestamp,
}

/// Tells what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What every service trusts from now on.
    pub trust: TrustFile,
    /// Whether the keys are new.
    pub made: bool,
    /// Whose leaves were made anew.
    pub leaves: Vec<&'static str>,
}

/// Says why a deployment could not be provisioned.
#[derive(Debug, Error)]
pub enum InitError {
    /// Services have state, but the keys with which devices know this server are gone.
    #[error("{} is gone, but services have state under {}: put the certificates back from a backup", certificates.display(), state.display())]
    KeysGone {
        /// Where the keys should be.
        certificates: PathBuf,
        /// Which state there is.
        state: PathBuf,
    },
    /// Some keys are there, but not what belongs to them.
    #[error("{} holds files but no trust.json: put it back from a backup, or remove the folder to begin anew", certificates.display())]
    Incomplete {
        /// Where the keys are.
        certificates: PathBuf,
    },
    /// A name cannot stand in a certificate.
    #[error("{name:?} is no host name and no address")]
    Name {
        /// The name.
        name: String,
    },
    /// A key file could not be read or written.
    #[error("keys cannot be kept")]
    KeyFile(#[from] KeyFileError),
    /// A folder could not be made or moved.
    #[error("{}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The trust file could not be read or written.
    #[error("the trust file cannot be used")]
    Trust(#[from] TrustError),
    /// A certificate could not be made.
    #[error("certificates cannot be made")]
    Certificate(#[from] CertificateError),
    /// A JWT of the bus could not be made.
    #[error("the keys of the bus cannot be made")]
    Jwt(#[from] JwtError),
    /// The roots could not be sealed.
    #[error("the roots cannot be sealed")]
    Recovery(#[from] RecoveryError),
    /// The recovery file holds another deployment's roots.
    #[error("the recovery file belongs to another deployment")]
    OtherRoot,
    /// The key set could not be encoded.
    #[error("the set of code-signing keys cannot be made")]
    KeySet(#[from] CodecError),
    /// The bus would not give a key's seed.
    #[error("a key of the bus cannot be kept")]
    Seed(#[source] nkeys::error::Error),
    /// The trust file could not be written as JSON.
    #[error("the trust file cannot be written")]
    Json(#[source] serde_json::Error),
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> InitError {
    let path = path.to_owned();
    move |source| InitError::Io { path, source }
}

/// Makes everything that a root lacks; the caller holds the root's lock.
///
/// The passphrase of the recovery file is handed to `show` once, before anything takes its place; it is kept nowhere. A
/// root that is complete is left as it is, but for leaves that end soon or lack a name.
///
/// Errors: [`InitError`]; nothing was put in place then.
pub fn init(paths: &Paths, options: &Options, show: &mut dyn FnMut(&str)) -> Result<Outcome, InitError> {
    if let Some(name) = options.names.iter().find(|name| !is_host_name(name)) {
        return Err(InitError::Name { name: name.clone() });
    }
    if paths.trust_json().exists() {
        return refresh(paths, options);
    }
    let certificates = paths.certificates();
    let holds_files = fs::read_dir(&certificates).is_ok_and(|mut entries| entries.next().is_some());
    if holds_files {
        return Err(InitError::Incomplete { certificates });
    }
    if let Some(state) = state_of_a_service(paths) {
        return Err(InitError::KeysGone { certificates, state });
    }
    let trust = make(paths, options, show)?;
    Ok(Outcome {
        trust,
        made: true,
        leaves: LEAF_HOLDERS.to_vec(),
    })
}

fn state_of_a_service(paths: &Paths) -> Option<PathBuf> {
    let mut states = Service::ALL.into_iter().map(|service| paths.state(service));
    states.find(|state| state.join("db").exists() || state.join("conf").exists())
}

/// Builds everything beside its place, shows the passphrase, then moves it there in one step.
fn make(paths: &Paths, options: &Options, show: &mut dyn FnMut(&str)) -> Result<TrustFile, InitError> {
    let above = paths.root().join("Certificates");
    open_folder(&above)?;
    let staging = above.join(".new");
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&staging)(error)),
        _ => {}
    }
    let staged = Paths::new(&staging, None).map_err(io_error(&staging))?;
    let (trust, roots) = fill(&staged, options)?;
    open_folder(&paths.states())?;
    let passphrase = recovery::passphrase();
    let sealed = recovery::seal(&roots, trust.deployment, &passphrase)?;
    drop(roots);
    keys::write_private(&paths.recovery(), &sealed)?;
    show(&passphrase);
    let place = paths.certificates();
    fs::rename(staged.certificates(), &place).map_err(io_error(&place))?;
    fs::File::open(&above)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(&above))?;
    // An empty folder of a later crash would be removed by the next start; it holds nothing.
    fs::remove_dir_all(&staging).map_err(io_error(&staging))?;
    Ok(trust)
}

/// Makes all keys under a root that nobody uses yet.
fn fill(paths: &Paths, options: &Options) -> Result<(TrustFile, Roots), InitError> {
    open_folder(&paths.certificates())?;
    for holder in Service::ALL.into_iter().map(Service::name).chain(["nats"]) {
        keys::private_folder(&paths.key_folder(holder))?;
    }
    let now = options.now;
    let deployment: DeploymentId = random::id();
    let short: String = deployment.to_string().chars().take(8).collect();

    let (code_signing_root, code_signing) = (random::signing_key(), random::signing_key());
    let authorities = certificates::authorities(&short, &PublicKey::of(&code_signing_root), now)?;
    keys::write_public(&paths.ca_pem(), authorities.root.certificate.as_bytes())?;
    keys::write_private(&paths.issuing_ca_key(), authorities.issuing.key.as_bytes())?;
    keys::write_private(&paths.issuing_ca_pem(), authorities.issuing.certificate.as_bytes())?;
    for holder in LEAF_HOLDERS {
        write_leaf(paths, holder, &options.names, now)?;
    }

    let bus = BusKeys::draw();
    let bus_trust = bus.trust(now)?;
    write_seed(&paths.operator_signing_seed(), &bus.operator_signing)?;
    write_seed(&paths.account_signing_seed(), &bus.account_signing)?;
    write_seed(&paths.sys_seed(), &bus.system_user)?;
    keys::write_private(&paths.sys_jwt(), bus_trust.system_user_jwt.as_bytes())?;

    let mut services = std::collections::BTreeMap::new();
    for service in Service::ALL {
        let key = random::signing_key();
        keys::write_signing_key(&paths.service_key(service), &key)?;
        services.insert(service, PublicKey::of(&key));
        let (user, jwt) = bus.service_user(service, now)?;
        write_seed(&paths.bus_seed(service), &user)?;
        keys::write_private(&paths.bus_jwt(service), jwt.as_bytes())?;
    }

    let biscuit_root = random::signing_key();
    keys::write_signing_key(&paths.biscuit_root_key(), &biscuit_root)?;
    keys::write_signing_key(&paths.code_signing_key(), &code_signing)?;
    let key_set = KeySet {
        version: 1,
        keys: vec![PublicKey::of(&code_signing)],
        expires_at: now.plus_ms(KEY_SET_MS),
    };
    let key_set = Signed::seal(&code_signing_root, Form::KeySet, &key_set)?;

    let trust = TrustFile {
        deployment,
        public_names: options.names.clone(),
        ca_pem: authorities.root.certificate,
        biscuit_root: PublicKey::of(&biscuit_root),
        services,
        code_signing_root: PublicKey::of(&code_signing_root),
        key_set: SignedText::from(&key_set),
        operator_jwt: bus_trust.operator_jwt,
        account: bus_trust.account,
        system_account: bus_trust.system_account,
        former_services: Vec::new(),
        former_biscuit_roots: Vec::new(),
    };
    write_trust(paths, &trust)?;
    let seed = |key: &KeyPair| key.seed().map_err(InitError::Seed);
    let roots = Roots {
        code_signing_root: BASE64URL_NOPAD.encode(Zeroizing::new(code_signing_root.to_bytes()).as_ref()),
        operator_root: seed(&bus.operator_root)?,
        account_root: seed(&bus.account_root)?,
        system_account_root: seed(&bus.system_root)?,
        system_account_signing: seed(&bus.system_signing)?,
        ca_root_key: authorities.root.key.to_string(),
    };
    Ok((trust, roots))
}

/// Keeps what is there, and makes leaves anew that end soon or lack a name.
///
/// A process that runs under a service's own user cannot make any: whoever owns the root does ([`renew`]).
fn refresh(paths: &Paths, options: &Options) -> Result<Outcome, InitError> {
    let mut trust = TrustFile::read(paths)?;
    if is_of_another(&paths.issuing_ca_pem()) {
        return Ok(Outcome {
            trust,
            made: false,
            leaves: Vec::new(),
        });
    }
    crate::rotate::clear(paths)?;
    let _alone = alone(paths)?;
    let mut options = options.clone();
    if !options.names_given {
        options.names.clone_from(&trust.public_names);
    }
    let mut leaves = Vec::new();
    for holder in LEAF_HOLDERS {
        let path = paths.leaf_pem(holder);
        let held = fs::read_to_string(&path);
        let due = match held {
            Ok(pem) => certificates::leaf_is_due(holder, &pem, &options.names, options.now).unwrap_or(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io_error(&path)(error)),
        };
        if due || !paths.leaf_key(holder).exists() {
            write_leaf(paths, holder, &options.names, options.now)?;
            leaves.push(holder);
        }
    }
    if trust.public_names != options.names {
        trust.public_names = options.names;
        write_trust(paths, &trust)?;
    }
    Ok(Outcome {
        trust,
        made: false,
        leaves,
    })
}

/// Makes leaves anew that end soon, also while a server holds the root's lock.
///
/// Errors: [`InitError`].
pub fn renew(paths: &Paths, options: &Options) -> Result<Outcome, InitError> {
    refresh(paths, options)
}

fn is_of_another(path: &Path) -> bool {
    matches!(fs::File::open(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

/// Keeps others from writing leaves for as long as it is held.
fn alone(paths: &Paths) -> Result<fs::File, InitError> {
    let path = paths.issuing_ca_pem();
    let file = fs::File::open(&path).map_err(io_error(&path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| io_error(&path)(errno.into()))?;
    Ok(file)
}

/// Writes a leaf and its key; the leaf goes first away, so that a crash in between makes both anew.
pub(crate) fn write_leaf(paths: &Paths, holder: &str, names: &[String], now: Timestamp) -> Result<(), InitError> {
    let issuing_key = keys::read_private_text(&paths.issuing_ca_key(), "private key")?;
    let issuing = fs::read_to_string(paths.issuing_ca_pem()).map_err(io_error(&paths.issuing_ca_pem()))?;
    let root = fs::read_to_string(paths.ca_pem()).map_err(io_error(&paths.ca_pem()))?;
    let Certified { certificate, key } = certificates::leaf(holder, names, &issuing, &issuing_key, &root, now)?;
    let path = paths.leaf_pem(holder);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&path)(error)),
        _ => {}
    }
    keys::write_private(&paths.leaf_key(holder), key.as_bytes())?;
    keys::write_private(&path, certificate.as_bytes())?;
    Ok(())
}

pub(crate) fn write_seed(path: &Path, key: &KeyPair) -> Result<(), InitError> {
    let seed = Zeroizing::new(key.seed().map_err(InitError::Seed)?);
    Ok(keys::write_private(path, seed.as_bytes())?)
}

pub(crate) fn write_trust(paths: &Paths, trust: &TrustFile) -> Result<(), InitError> {
    let mut text = serde_json::to_vec_pretty(trust).map_err(InitError::Json)?;
    text.push(b'\n');
    Ok(keys::write_public(&paths.trust_json(), &text)?)
}

/// Makes a folder that others may pass through, since it holds what everyone may read too.
fn open_folder(path: &Path) -> Result<(), InitError> {
    fs::create_dir_all(path).map_err(io_error(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io_error(path))
}
