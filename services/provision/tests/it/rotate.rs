//! Each rotation replaces exactly its keys, under the same roots, and nothing without the passphrase.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use borealis_bus_schema::{forms::PublicKey, subjects::Service};
use borealis_provision::{InitError, Rotated, Rotation, recovery, reseal, rotate};
use borealis_service_kit::{keys, nats_jwt, trust::TrustFile};

use crate::init::{Made, NOW, files, made, options, run};

const LATER_MS: i64 = 300 * 24 * 3_600_000;

/// Rotates, and returns what it did with the files that are other ones now.
fn turn(made: &Made, what: Rotation) -> (Rotated, BTreeSet<String>) {
    let before = files(made.dir.path());
    let rotated = rotate(&made.paths, &made.passphrase, what, NOW.plus_ms(LATER_MS)).unwrap();
    let after = files(made.dir.path());
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>(),
        "no file comes or goes"
    );
    for path in after.keys() {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o022, 0, "{path}");
        let is_open = path.ends_with("trust.json") || path.ends_with("ca.pem") && !path.contains("issuing");
        assert!(is_open || mode == 0o600, "{path} {mode:o}");
    }
    assert_eq!(TrustFile::read(&made.paths).unwrap(), rotated.trust);
    let root = made.paths.certificates();
    let changed = after.iter().filter(|(path, bytes)| before.get(*path) != Some(bytes));
    let name = |path: &String| path.trim_start_matches(root.to_str().unwrap()).to_owned();
    (rotated, changed.map(|(path, _)| name(path)).collect())
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn only_the_passphrase_of_this_deployment_rotates() {
    let made = made();
    let before = files(made.dir.path());
    let wrong = rotate(&made.paths, &recovery::passphrase(), Rotation::CodeSigning, NOW);
    assert!(matches!(wrong, Err(InitError::Recovery(_))));
    assert_eq!(files(made.dir.path()), before);
    let other = crate::init::made();
    fs::copy(other.paths.recovery(), made.paths.recovery()).unwrap();
    let foreign = rotate(&made.paths, &other.passphrase, Rotation::Bus, NOW);
    assert!(matches!(foreign, Err(InitError::OtherRoot)));
    assert_eq!(TrustFile::read(&made.paths).unwrap(), made.trust);
}

#[test]
fn a_key_set_is_renewed_with_the_same_keys() {
    let made = made();
    let before = made.trust.open_key_set().unwrap();
    let (rotated, changed) = turn(&made, Rotation::KeySet);
    assert_eq!(changed, names(&["/trust.json"]));
    assert_eq!(
        (rotated.key_set.version, &rotated.key_set.keys),
        (before.version + 1, &before.keys)
    );
    assert!(rotated.key_set.expires_at > before.expires_at);
    assert_eq!(rotated.trust.open_key_set().unwrap(), rotated.key_set);
}

#[test]
fn a_new_code_signing_key_stands_alone_in_the_next_set() {
    let made = made();
    let before = made.trust.open_key_set().unwrap();
    let (rotated, changed) = turn(&made, Rotation::CodeSigning);
    assert_eq!(changed.len(), 2, "{changed:?}");
    let key = keys::read_signing_key(&made.paths.code_signing_key()).unwrap();
    assert_eq!(rotated.key_set.keys, [PublicKey::of(&key)]);
    assert!(rotated.key_set.version == before.version + 1 && rotated.key_set.keys != before.keys);
    assert_eq!(rotated.trust.code_signing_root, made.trust.code_signing_root);
}

#[test]
fn a_new_issuing_ca_stands_under_the_root_that_devices_pin() {
    let made = made();
    let old = fs::read_to_string(made.paths.leaf_pem("gateway")).unwrap();
    let (rotated, changed) = turn(&made, Rotation::IssuingCa);
    assert_eq!(changed.len(), 6, "{changed:?}");
    assert_eq!(rotated.trust.ca_pem, made.trust.ca_pem);
    let chain = fs::read_to_string(made.paths.leaf_pem("gateway")).unwrap();
    let issuing = fs::read_to_string(made.paths.issuing_ca_pem()).unwrap();
    assert!(chain.contains(&issuing) && chain.ends_with(&made.trust.ca_pem) && !old.contains(&issuing));
    let certificates: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let certificates: Vec<_> = certificates.iter().map(|pem| pem.parse_x509().unwrap()).collect();
    for pair in certificates.windows(2) {
        let [below, above] = pair else { unreachable!() };
        below.verify_signature(Some(above.public_key())).unwrap();
        assert_eq!(below.issuer(), above.subject());
    }
}

#[test]
fn new_keys_of_the_bus_stand_under_its_roots() {
    let made = made();
    let (rotated, changed) = turn(&made, Rotation::Bus);
    let services = Service::ALL.len() * 2;
    assert_eq!(changed.len(), services + 4 + 1, "{changed:?}");
    let (before, after) = (&made.trust, &rotated.trust);
    assert_eq!(after.account.public_key, before.account.public_key);
    assert_eq!(after.system_account.public_key, before.system_account.public_key);
    let issuer = |jwt: &str| nats_jwt::read(jwt).unwrap().iss;
    assert_eq!(issuer(&after.operator_jwt), issuer(&before.operator_jwt));
    assert_ne!(issuer(&after.account.jwt), issuer(&before.account.jwt));
    let signing = keys::read_nkey(&made.paths.account_signing_seed()).unwrap();
    for service in Service::ALL {
        let jwt = keys::read_private_text(&made.paths.bus_jwt(service), "JWT").unwrap();
        assert_eq!(issuer(&jwt), signing.public_key(), "{service}");
    }
    assert_eq!(after.services, before.services);
}

#[test]
fn former_service_keys_are_remembered() {
    let made = made();
    let (rotated, _) = turn(&made, Rotation::Services);
    for service in Service::ALL {
        let key = keys::read_signing_key(&made.paths.service_key(service)).unwrap();
        assert_eq!(rotated.trust.service_key(service), Some(&PublicKey::of(&key)));
        let former = rotated.trust.former_services.iter().find(|f| f.service == service);
        assert_eq!(former.map(|f| &f.key), made.trust.service_key(service));
    }
}

#[test]
fn a_former_biscuit_root_counts_for_a_while_unless_it_was_stolen() {
    let made = made();
    let (first, changed) = turn(&made, Rotation::BiscuitRoot { stolen: false });
    assert_eq!(changed.len(), 2, "{changed:?}");
    let [former] = first.trust.former_biscuit_roots.as_slice() else {
        panic!("{:?}", first.trust.former_biscuit_roots)
    };
    assert_eq!(former.key, made.trust.biscuit_root);
    let (second, _) = turn(&made, Rotation::BiscuitRoot { stolen: false });
    assert_eq!(second.trust.former_biscuit_roots.len(), 2);
    let (third, _) = turn(&made, Rotation::BiscuitRoot { stolen: true });
    assert!(third.trust.former_biscuit_roots.is_empty());
    let key = keys::read_signing_key(&made.paths.biscuit_root_key()).unwrap();
    assert_eq!(third.trust.biscuit_root, PublicKey::of(&key));
}

#[test]
fn a_new_passphrase_opens_the_same_roots() {
    let made = made();
    let old = fs::read(made.paths.recovery()).unwrap();
    let mut shown = String::new();
    reseal(&made.paths, &made.passphrase, &mut |words| words.clone_into(&mut shown)).unwrap();
    let new = fs::read(made.paths.recovery()).unwrap();
    assert!(recovery::open(&new, &made.passphrase).is_err());
    assert!(recovery::open(&new, &shown).unwrap() == recovery::open(&old, &made.passphrase).unwrap());
}

#[test]
fn what_a_crash_left_of_a_rotation_is_thrown_away() {
    let made = made();
    let half = made.dir.path().join("Certificates/.rotated/Certificates/Server");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("trust.json"), "half").unwrap();
    rotate(&made.paths, &made.passphrase, Rotation::KeySet, NOW).unwrap();
    assert!(!made.dir.path().join("Certificates/.rotated").exists());
    // Behind the exchange the old keys stand there; the next start removes them.
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("trust.json"), "old").unwrap();
    let (outcome, _) = run(&made.paths, &options(&["host"], false)).unwrap();
    assert!(!outcome.made && !made.dir.path().join("Certificates/.rotated").exists());
}
