//! The drill: every key that a command replaces is replaced, and the fleet comes along by itself.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, OrderId, RunId};
use borealis_bus_schema::order::{Order, SignedOrder, key_id, sign_batch};
use borealis_bus_schema::subjects::{Service, filter, inbox_prefix};
use borealis_service_kit::{keys, random};
use borealis_test_support::{TestError, User, eventually_within, programs};
use nkeys::KeyPair;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, file_says, said, shared};
use crate::trust::{everything, send};

fn server(root: &Path, args: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(programs::built("borealis-server").unwrap())
        .args(args)
        .args(["--json", "--root"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn recovery(root: &Path, passphrase: &str, acts: &[&[&str]]) {
    for act in acts {
        let out = server(root, &[&["recovery"], *act].concat(), passphrase);
        assert!(out.status.success(), "{act:?}: {}", said(&out));
    }
}

/// Waits until a device is online, and follows a script on it.
async fn runs(fleet: &Fleet, guid: &str, script: &str) -> Output {
    let online = eventually_within("the device online", PATIENCE, async || {
        let mut devices = fleet.devices().into_iter();
        devices.find(|device| device["guid"] == guid && device["presence"] == "online")
    });
    fleet.run_on(&online.await.unwrap(), script, &["--follow"])
}

/// Copies what a thief takes of a service's user of the bus.
fn bus_user(fleet: &Fleet) -> (KeyPair, String) {
    let paths = fleet.server.paths();
    let key = keys::read_nkey(&paths.bus_seed(Service::Scheduler)).unwrap();
    let jwt = keys::read_private_text(&paths.bus_jwt(Service::Scheduler), "JWT").unwrap();
    (key, jwt.to_string())
}

/// Connects to the bus with copied credentials.
async fn connects(fleet: &Fleet, (key, jwt): &(KeyPair, String)) -> Result<User, TestError> {
    let (ready, jwt) = (fleet.server.ready(), jwt.clone());
    let credentials = (key.clone(), Arc::new(move || jwt.clone()) as _);
    let inbox = inbox_prefix(Service::Scheduler.name());
    User::connect(&ready.nats_url, &ready.ca, Some(credentials), &inbox).await
}

#[tokio::test]
async fn every_key_that_a_command_replaces_is_replaced_and_the_fleet_comes_along() {
    let dir = TempDir::with_prefix("borealis-").unwrap();
    let made = server(dir.path(), &["init"], "");
    let first = String::from_utf8(made.stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let passphrase = first["recovery_passphrase"].as_str().unwrap().to_owned();

    let mut fleet = Fleet::start_in(dir, 2).await;
    fleet.agents[0].kill();
    let (asleep, awake) = eventually_within("one device asleep", PATIENCE, async || {
        let devices = fleet.devices();
        let with = |presence: &str| devices.iter().find(|device| device["presence"] == presence).cloned();
        Some((with("offline")?, with("online")?))
    })
    .await
    .unwrap();
    let awake = awake["guid"].as_str().unwrap();
    let effects = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&effects, "effect");
    let (stolen_effect, stolen_text) = shared(&effects, "stolen");
    let waits = format!("echo once >> {effect_text}");
    fleet.submit(&asleep, &waits, &[]);

    // What a thief takes: the code-signing key, and an honest order to change.
    let thiefs_key = keys::read_signing_key(&fleet.server.paths().code_signing_key()).unwrap();
    let thief = everything(&fleet).await;
    let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
    thief.settle().await.unwrap();
    let steal = format!("echo honest >> {stolen_text}");
    let out = runs(&fleet, awake, &steal).await;
    assert!(out.status.success(), "{}", said(&out));
    let captured = loop {
        let message = seen.next_within(PATIENCE).await.expect("the thief hears every order");
        if message.subject.contains(awake) {
            break message;
        }
    };
    let honest: SignedOrder = codec::decode(&captured.body).unwrap();
    let honest: Order = codec::decode(&honest.order).unwrap();
    drop((thief, seen));

    let rounds: [&[&[&str]]; 3] = [
        &[&["rotate-code-signing"]],
        &[&["rotate-bus"], &["rotate-issuing-ca"], &["renew-key-set"]],
        &[&["rotate-services"], &["rotate-biscuit-root"], &["rotate-code-signing"]],
    ];
    for acts in rounds {
        let stolen = bus_user(&fleet);
        assert!(connects(&fleet, &stolen).await.is_ok());
        fleet = fleet.restarted(|root| recovery(root, &passphrase, acts)).await;
        let out = runs(&fleet, awake, "echo alive").await;
        assert!(
            out.status.success() && String::from_utf8_lossy(&out.stdout).contains("alive"),
            "{acts:?}: {}",
            said(&out)
        );
        // The bus's users of before are refused wherever they were replaced, and nowhere else.
        let replaced = acts
            .iter()
            .any(|act| ["rotate-bus", "rotate-services"].contains(&act[0]));
        let again = connects(&fleet, &stolen).await.map(drop);
        assert_eq!(again.is_err(), replaced, "{acts:?}: {again:?}");
    }

    // The one that slept through all of them.
    assert!(!effect.exists());
    fleet.agents[0].start(None);
    assert_eq!(file_says(&effect, "what waited was run").await, "once\n");

    // The stolen key moves nothing any more.
    let thief = everything(&fleet).await;
    let guid: Guid = awake.parse().unwrap();
    let forged = Order {
        order: OrderId::from_bytes([9; 16]),
        run: RunId::from_bytes(random::bytes()),
        key_id: key_id(&PublicKey::of(&thiefs_key)),
        ..honest
    };
    let forged = sign_batch(&thiefs_key, &[forged]).unwrap().remove(0);
    assert_eq!(send(&thief, &guid, &forged).await.unwrap_err(), Code::OrderKeyUnknown);
    assert_eq!(std::fs::read_to_string(&stolen_effect).unwrap(), "honest\n");
    drop(thief);

    // A biscuit root that was stolen: its tokens end at once.
    let stolen: &[&[&str]] = &[&["rotate-biscuit-root", "--stolen"]];
    fleet = fleet.restarted(|root| recovery(root, &passphrase, stolen)).await;
    let refused = fleet.cli(&["devices", "list", "--json"]);
    assert!(said(&refused).contains("token_invalid"), "{}", said(&refused));
    fleet.token = fleet.log_in();
    let out = runs(&fleet, awake, "echo alive").await;
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "once\n");
}
