//! What `init` makes, and that it makes it once.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use borealis_bus_schema::{forms::PublicKey, order::KeySet, subjects::Service, time::Timestamp};
use borealis_provision::{InitError, Options, Outcome, init, recovery};
use borealis_service_kit::{keys, nats_jwt, paths::Paths, trust::TrustFile};

pub const NOW: Timestamp = Timestamp::from_unix_ms(1_795_341_600_000);

pub struct Made {
    pub dir: tempfile::TempDir,
    pub paths: Paths,
    pub passphrase: String,
    pub trust: TrustFile,
}

pub fn options(names: &[&str], given: bool) -> Options {
    Options {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        names_given: given,
        now: NOW,
    }
}

pub fn made() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path(), None).unwrap();
    let (outcome, passphrase) = run(&paths, &options(&["host", "localhost"], false)).unwrap();
    assert!(outcome.made);
    Made {
        dir,
        paths,
        passphrase: passphrase.unwrap(),
        trust: outcome.trust,
    }
}

pub fn run(paths: &Paths, options: &Options) -> Result<(Outcome, Option<String>), InitError> {
    let mut shown = None;
    let outcome = init(paths, options, &mut |words| shown = Some(words.to_owned()))?;
    Ok((outcome, shown))
}

pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_second_run_changes_nothing() {
    let made = made();
    let before = files(made.dir.path());
    let (outcome, shown) = run(&made.paths, &options(&["other-default"], false)).unwrap();
    assert!(!outcome.made && outcome.leaves.is_empty() && shown.is_none());
    assert_eq!(before, files(made.dir.path()));
}

#[test]
fn private_files_are_private() {
    let made = made();
    let public = [made.paths.ca_pem(), made.paths.trust_json()];
    let mut private = 0;
    for path in files(made.dir.path()).keys() {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        if public.iter().any(|open| open == Path::new(path)) {
            assert_eq!(mode, 0o644, "{path}");
        } else {
            assert_eq!(mode, 0o600, "{path}");
            private += 1;
        }
    }
    assert!(private > 30, "{private}");
    for holder in Service::ALL.into_iter().map(Service::name).chain(["nats"]) {
        let mode = fs::metadata(made.paths.key_folder(holder))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{holder}");
    }
}

#[test]
fn only_the_passphrase_opens_the_roots_and_nothing_else_holds_them() {
    let made = made();
    let file = fs::read(made.paths.recovery()).unwrap();
    assert!(recovery::open(&file, &recovery::passphrase()).is_err());
    let roots = recovery::open(&file, &made.passphrase).unwrap();
    let seed = data_encoding::BASE64URL_NOPAD
        .decode(roots.code_signing_root.as_bytes())
        .unwrap();
    let root = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap());
    assert_eq!(PublicKey::of(&root), made.trust.code_signing_root);
    let operator = nats_jwt::read(&made.trust.operator_jwt).unwrap();
    let sealed = nkeys::KeyPair::from_seed(&roots.operator_root).unwrap();
    assert_eq!(operator.iss, sealed.public_key());
    let secrets = [
        &roots.code_signing_root,
        &roots.operator_root,
        &roots.account_root,
        &roots.system_account_root,
        &roots.system_account_signing,
        &roots.ca_root_key,
        &made.passphrase,
    ];
    for (path, content) in files(made.dir.path()) {
        let text = String::from_utf8_lossy(&content);
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{path}");
    }
}

#[test]
fn the_trust_file_fits_the_keys() {
    let made = made();
    let (paths, trust) = (&made.paths, TrustFile::read(&made.paths).unwrap());
    assert_eq!(trust, made.trust);
    for service in Service::ALL {
        let key = keys::read_signing_key(&paths.service_key(service)).unwrap();
        assert_eq!(trust.service_key(service), Some(&PublicKey::of(&key)));
        let jwt = keys::read_private_text(&paths.bus_jwt(service), "JWT").unwrap();
        let user = nats_jwt::read(&jwt).unwrap();
        assert_eq!(
            user.sub,
            keys::read_nkey(&paths.bus_seed(service)).unwrap().public_key()
        );
        assert_eq!((user.name.as_str(), user.exp), (service.name(), None));
    }
    let signing = keys::read_signing_key(&paths.code_signing_key()).unwrap();
    let set: KeySet = trust.open_key_set().unwrap();
    assert_eq!(set.keys, [PublicKey::of(&signing)]);
    assert_eq!(set.expires_at, NOW.plus_ms(365 * 24 * 3_600_000));
    let biscuit = keys::read_signing_key(&paths.biscuit_root_key()).unwrap();
    assert_eq!(trust.biscuit_root, PublicKey::of(&biscuit));
    assert_eq!(fs::read_to_string(paths.ca_pem()).unwrap(), trust.ca_pem);
    assert!(trust.ca_sha256().is_ok());
}

#[test]
fn other_names_make_the_leaves_anew_and_nothing_else() {
    let made = made();
    let before = files(made.dir.path());
    let (outcome, shown) = run(&made.paths, &options(&["rmm.example.org"], true)).unwrap();
    assert!(shown.is_none() && !outcome.made);
    assert_eq!(outcome.leaves, ["gateway", "nats"]);
    assert_eq!(outcome.trust.public_names, ["rmm.example.org"]);
    let changed: Vec<String> = files(made.dir.path())
        .into_iter()
        .filter(|(path, content)| before.get(path) != Some(content))
        .map(|(path, _)| path.rsplit_once("Server/").unwrap().1.to_owned())
        .collect();
    assert_eq!(
        changed,
        [
            "gateway/leaf.key.pem",
            "gateway/leaf.pem",
            "nats/leaf.key.pem",
            "nats/leaf.pem",
            "trust.json"
        ]
    );
}

#[test]
fn what_a_crash_left_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path(), None).unwrap();
    let half = dir.path().join("Certificates/.new/Certificates/Server/access");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("service.ed25519"), "half").unwrap();
    let (outcome, _) = run(&paths, &options(&["localhost"], false)).unwrap();
    assert!(outcome.made);
    assert!(!dir.path().join("Certificates/.new").exists());
    keys::read_signing_key(&paths.service_key(Service::Access)).unwrap();
}

#[test]
fn a_leaf_without_its_key_is_made_anew() {
    let made = made();
    fs::remove_file(made.paths.leaf_pem("nats")).unwrap();
    let (outcome, _) = run(&made.paths, &options(&["host"], false)).unwrap();
    assert_eq!(outcome.leaves, ["nats"]);
}

#[test]
fn a_used_root_without_its_keys_is_left_alone() {
    let made = made();
    fs::create_dir_all(made.paths.state(Service::Access)).unwrap();
    fs::write(made.paths.state(Service::Access).join("db"), "x").unwrap();
    fs::remove_dir_all(made.paths.certificates()).unwrap();
    let error = run(&made.paths, &options(&["host"], false)).unwrap_err();
    assert!(matches!(error, InitError::KeysGone { .. }), "{error}");
    assert!(!made.paths.trust_json().exists());
}

#[test]
fn keys_without_a_trust_file_are_left_alone() {
    let made = made();
    fs::remove_file(made.paths.trust_json()).unwrap();
    let error = run(&made.paths, &options(&["host"], false)).unwrap_err();
    assert!(matches!(error, InitError::Incomplete { .. }), "{error}");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(dir.path(), None).unwrap();
    let error = run(&paths, &options(&["https://x"], true)).unwrap_err();
    assert!(matches!(error, InitError::Name { .. }));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}
