//! Replacing on-line keys, with the roots that only the passphrase of the recovery file opens.
//!
//! A rotation is prepared beside `Certificates/Server/` and takes its place in one step: a crash leaves the old keys or the
//! new ones, never some of each. It wants the root's lock, so the server is stopped meanwhile; devices keep what they run and
//! hear of the new keys when they come back: key sets with the welcome of the bus and with each renewal, bus credentials by a
//! renewal over HTTPS, a new issuing CA under the root that they pin. One that slept through several rotations needs only
//! the last.
//!
//! The roots themselves are not replaced here: devices pin them, and what could move a device to another root without its
//! operator could be used by a thief.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use borealis_bus_schema::{
    forms::{Form, PublicKey, Signed},
    messages::enrollment::SignedText,
    order::KeySet,
    subjects::Service,
    time::Timestamp,
};
use borealis_service_kit::{
    keys,
    paths::Paths,
    random,
    trust::{FormerBiscuitRoot, FormerServiceKey, TrustFile},
};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use rustix::fs::{CWD, RenameFlags};
use zeroize::Zeroizing;

use crate::{
    bus::BusKeys,
    certificates,
    init::{InitError, KEY_SET_MS, LEAF_HOLDERS, io_error, write_leaf, write_seed, write_trust},
    recovery::{self, Roots},
};

/// Is how long what an earlier biscuit root signed goes on counting: as long as a run may wait, in milliseconds.
const FORMER_BISCUIT_MS: i64 = 8 * 24 * 3_600_000;

/// Says what is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The code-signing key is signed for another year.
    KeySet,
    /// A new code-signing key. Devices refuse what the old one signs as soon as they have the new set.
    CodeSigning,
    /// A new issuing CA, and new leaves under it.
    IssuingCa,
    /// New signing keys of the bus's operator and account, and new bus users for every service.
    Bus,
    /// New service keys, which sign the heads of the stores, and everything of [`Rotation::Bus`].
    Services,
    /// A new biscuit root; sessions, tokens and grants of the old one go on until they end, unless it was stolen.
    BiscuitRoot {
        /// Whether the old one counts no more at once: every operator logs in again, waiting jobs end as refused.
        stolen: bool,
    },
}

/// Tells what a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// What every service trusts from its next start on.
    pub trust: TrustFile,
    /// The set of code-signing keys.
    pub key_set: KeySet,
}

/// Replaces keys; the caller holds the root's lock.
///
/// Errors: [`InitError::Recovery`] for a wrong passphrase, [`InitError::OtherRoot`] for another deployment's file; nothing
/// was changed then.
pub fn rotate(paths: &Paths, passphrase: &str, what: Rotation, now: Timestamp) -> Result<Rotated, InitError> {
    let trust = TrustFile::read(paths)?;
    let roots = open_roots(paths, &trust, passphrase)?;
    clear(paths)?;
    let staging = staging(paths);
    copy_private(&paths.certificates(), &staging.join("Certificates/Server"))?;
    let staged = Paths::new(&staging, None).map_err(io_error(&staging))?;
    let mut rotated = Rotated {
        key_set: trust.open_key_set()?,
        trust,
    };
    let work = Work {
        paths: &staged,
        roots: &roots,
        now,
    };
    match what {
        Rotation::KeySet => work.key_set(&mut rotated, None)?,
        Rotation::CodeSigning => work.key_set(&mut rotated, Some(random::signing_key()))?,
        Rotation::IssuingCa => work.issuing_ca(&rotated.trust)?,
        Rotation::Bus => work.bus(&mut rotated.trust)?,
        Rotation::Services => {
            work.services(&mut rotated.trust)?;
            work.bus(&mut rotated.trust)?;
        }
        Rotation::BiscuitRoot { stolen } => work.biscuit_root(&mut rotated.trust, stolen)?,
    }
    write_trust(&staged, &rotated.trust)?;
    if matches!(what, Rotation::Bus | Rotation::Services) {
        // What the bus cached of the accounts; enrollment and the config bring it back.
        remove(&paths.nats_resolver())?;
    }
    exchange(&staged.certificates(), &paths.certificates())?;
    // The old keys are here now.
    remove(&staging)?;
    Ok(rotated)
}

fn staging(paths: &Paths) -> PathBuf {
    paths.root().join("Certificates/.rotated")
}

/// Removes what a crash left of a rotation: old keys, or a copy of those that are in use; the caller holds the root's lock.
pub(crate) fn clear(paths: &Paths) -> Result<(), InitError> {
    remove(&staging(paths))
}

/// Seals the roots under a new passphrase, which is handed to `show` once before the old file is replaced.
///
/// Errors: as [`rotate`].
pub fn reseal(paths: &Paths, passphrase: &str, show: &mut dyn FnMut(&str)) -> Result<(), InitError> {
    let trust = TrustFile::read(paths)?;
    let roots = open_roots(paths, &trust, passphrase)?;
    let fresh = recovery::passphrase();
    let sealed = recovery::seal(&roots, trust.deployment, &fresh)?;
    show(&fresh);
    Ok(keys::write_private(&paths.recovery(), &sealed)?)
}

/// Opens the recovery file and makes sure that it is this deployment's.
fn open_roots(paths: &Paths, trust: &TrustFile, passphrase: &str) -> Result<Roots, InitError> {
    let path = paths.recovery();
    let sealed = fs::read(&path).map_err(io_error(&path))?;
    let roots = recovery::open(&sealed, passphrase)?;
    match code_signing_root(&roots) {
        Some(root) if PublicKey::of(&root) == trust.code_signing_root => Ok(roots),
        _ => Err(InitError::OtherRoot),
    }
}

fn code_signing_root(roots: &Roots) -> Option<SigningKey> {
    let seed = Zeroizing::new(BASE64URL_NOPAD.decode(roots.code_signing_root.as_bytes()).ok()?);
    let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_slice()).ok()?);
    Some(SigningKey::from_bytes(&seed))
}

struct Work<'a> {
    paths: &'a Paths,
    roots: &'a Roots,
    now: Timestamp,
}

impl Work<'_> {
    /// Signs the next set: of the same keys, or of a new one alone. The retired key is in no set any more.
    fn key_set(&self, rotated: &mut Rotated, fresh: Option<SigningKey>) -> Result<(), InitError> {
        let root = code_signing_root(self.roots).ok_or(InitError::OtherRoot)?;
        let held = &rotated.key_set;
        let keys = match &fresh {
            None => held.keys.clone(),
            Some(key) => vec![PublicKey::of(key)],
        };
        rotated.key_set = KeySet {
            version: held.version.saturating_add(1),
            keys,
            expires_at: self.now.plus_ms(KEY_SET_MS),
        };
        let signed = Signed::seal(&root, Form::KeySet, &rotated.key_set)?;
        rotated.trust.key_set = SignedText::from(&signed);
        if let Some(key) = fresh {
            keys::write_signing_key(&self.paths.code_signing_key(), &key)?;
        }
        Ok(())
    }

    fn issuing_ca(&self, trust: &TrustFile) -> Result<(), InitError> {
        let short: String = trust.deployment.to_string().chars().take(8).collect();
        let issuing = certificates::issuing(&short, &trust.ca_pem, &self.roots.ca_root_key, self.now)?;
        keys::write_private(&self.paths.issuing_ca_key(), issuing.key.as_bytes())?;
        keys::write_private(&self.paths.issuing_ca_pem(), issuing.certificate.as_bytes())?;
        for holder in LEAF_HOLDERS {
            write_leaf(self.paths, holder, &trust.public_names, self.now)?;
        }
        Ok(())
    }

    fn bus(&self, trust: &mut TrustFile) -> Result<(), InitError> {
        let bus = BusKeys::below(self.roots).map_err(InitError::Seed)?;
        let of_bus = bus.trust(self.now)?;
        if of_bus.account.public_key != trust.account.public_key {
            return Err(InitError::OtherRoot);
        }
        write_seed(&self.paths.operator_signing_seed(), &bus.operator_signing)?;
        write_seed(&self.paths.account_signing_seed(), &bus.account_signing)?;
        write_seed(&self.paths.sys_seed(), &bus.system_user)?;
        keys::write_private(&self.paths.sys_jwt(), of_bus.system_user_jwt.as_bytes())?;
        for service in Service::ALL {
            let (user, jwt) = bus.service_user(service, self.now)?;
            write_seed(&self.paths.bus_seed(service), &user)?;
            keys::write_private(&self.paths.bus_jwt(service), jwt.as_bytes())?;
        }
        trust.operator_jwt = of_bus.operator_jwt;
        trust.account = of_bus.account;
        trust.system_account = of_bus.system_account;
        Ok(())
    }

    fn services(&self, trust: &mut TrustFile) -> Result<(), InitError> {
        for service in Service::ALL {
            let key = random::signing_key();
            keys::write_signing_key(&self.paths.service_key(service), &key)?;
            if let Some(former) = trust.services.insert(service, PublicKey::of(&key)) {
                trust.former_services.push(FormerServiceKey {
                    service,
                    key: former,
                    until: self.now,
                });
            }
        }
        Ok(())
    }

    fn biscuit_root(&self, trust: &mut TrustFile, stolen: bool) -> Result<(), InitError> {
        let key = random::signing_key();
        keys::write_signing_key(&self.paths.biscuit_root_key(), &key)?;
        let former = std::mem::replace(&mut trust.biscuit_root, PublicKey::of(&key));
        trust
            .former_biscuit_roots
            .retain(|former| former.until > self.now && !stolen);
        if !stolen {
            trust.former_biscuit_roots.push(FormerBiscuitRoot {
                key: former,
                until: self.now.plus_ms(FORMER_BISCUIT_MS),
            });
        }
        Ok(())
    }
}

/// Copies a folder of keys, with its modes.
fn copy_private(from: &Path, to: &Path) -> Result<(), InitError> {
    keys::private_folder(to)?;
    let mode = fs::metadata(from).map_err(io_error(from))?.permissions();
    fs::set_permissions(to, mode).map_err(io_error(to))?;
    for entry in fs::read_dir(from).map_err(io_error(from))? {
        let path = entry.map_err(io_error(from))?.path();
        let Some(name) = path.file_name() else { continue };
        let copy = to.join(name);
        let kind = fs::symlink_metadata(&path).map_err(io_error(&path))?;
        if kind.is_dir() {
            copy_private(&path, &copy)?;
        } else {
            fs::copy(&path, &copy).map_err(io_error(&copy))?;
            synced(&copy)?;
        }
    }
    synced(to)
}

fn synced(path: &Path) -> Result<(), InitError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io_error(path))
}

/// Lets two folders change places in one step.
fn exchange(staged: &Path, place: &Path) -> Result<(), InitError> {
    rustix::fs::renameat_with(CWD, staged, CWD, place, RenameFlags::EXCHANGE)
        .map_err(io::Error::from)
        .map_err(io_error(place))?;
    let above: PathBuf = place.parent().unwrap_or(place).to_owned();
    synced(&above)
}

fn remove(folder: &Path) -> Result<(), InitError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder)(error)),
        _ => Ok(()),
    }
}
