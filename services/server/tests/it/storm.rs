//! Whoever has the whole bus says everything that he can think of, on every subject, for as long as he likes.

use std::time::{Duration, Instant};

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::order::{Order, OrderBody, SignedOrder, key_id, sign_batch};
use borealis_bus_schema::routes::{BUS_VERBS, ROUTES};
use borealis_bus_schema::subjects::{Service, Subject, filter};
use borealis_service_kit::random;
use borealis_test_support::User;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, said, shared};
use crate::trust::{everything, subject};

/// Is how long the storm lasts: seconds in every run, five minutes in the long one.
fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("BOREALIS_SOAK").is_some() {
        300
    } else {
        3
    })
}

/// Makes bytes that are nothing, something, or nearly what is expected.
fn rubbish(turn: usize, honest: &[u8]) -> Vec<u8> {
    let noise = random::bytes::<64>();
    match turn % 6 {
        0 => Vec::new(),
        1 => noise.to_vec(),
        2 => vec![0x9f; 1 + usize::from(noise[0])],
        3 => honest.get(..honest.len() / 2).unwrap_or_default().to_vec(),
        4 => {
            let mut bent = honest.to_vec();
            let at = usize::from(u16::from_be_bytes([noise[0], noise[1]])) % bent.len();
            bent[at] ^= 1 << (noise[2] % 8);
            bent
        }
        _ => honest.iter().copied().chain(noise).collect(),
    }
}

/// Names every subject that somebody listens to.
fn subjects(devices: &[Guid]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for guid in devices {
        for (role, verb) in [
            ("script", "run"),
            ("script", "cancel"),
            ("agent", "ping"),
            ("script", "none"),
        ] {
            all.push(subject(guid, role, verb));
        }
        for (role, verb) in [
            ("agent", "hello"),
            ("script", "result"),
            ("script", "output"),
            ("script", "state"),
            ("inventory", "facts"),
        ] {
            let tell = subject(guid, role, verb).replace(".do.", ".tell.");
            all.push(tell);
        }
    }
    for service in Service::ALL {
        all.push(Subject::Head { service }.to_string());
        for verb in ["events-read", "audit-list", "audit-verify", "none"] {
            all.push(format!("borealis.v1.service.{service}.{verb}"));
        }
    }
    all.extend(
        ROUTES
            .iter()
            .map(|route| format!("borealis.v1.service.{}.{}", route.service, route.verb)),
    );
    all.extend(
        BUS_VERBS
            .iter()
            .map(|verb| format!("borealis.v1.service.{}.{}", verb.service, verb.verb)),
    );
    all
}

async fn storm(thief: &User, devices: &[Guid], honest: &SignedOrder) {
    let order: Order = codec::decode(&honest.order).unwrap();
    let bytes = codec::encode(honest).unwrap();
    let subjects = subjects(devices);
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < lasts() {
        for subject in &subjects {
            thief.ask_blindly(subject, &rubbish(turn, &bytes)).await.unwrap();
            turn += 1;
        }
        thief.flush().await.unwrap();
        for guid in devices {
            // The order as it was, for another device, and one of the thief's own.
            let own = random::signing_key();
            let mut evil = Order {
                guid: *guid,
                run: random::id(),
                order: random::id(),
                key_id: key_id(&PublicKey::of(&own)),
                ..order.clone()
            };
            if let OrderBody::Script(script) = &mut evil.body {
                script.env.insert("BASH_ENV".into(), "/tmp/evil".into());
            }
            let forged = codec::encode(&sign_batch(&own, &[evil]).unwrap().remove(0)).unwrap();
            for body in [&bytes, &forged] {
                thief.ask_blindly(&subject(guid, "script", "run"), body).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_storm_on_the_bus_has_no_effect_and_everything_lives_on_soak() {
    let mut fleet = Fleet::start(2).await;
    let devices = fleet.devices();
    let guids: Vec<Guid> = devices
        .iter()
        .map(|device| device["guid"].as_str().unwrap().parse().unwrap())
        .collect();
    let thief = everything(&fleet).await;
    let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
    thief.settle().await.unwrap();
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let script = format!("echo ran >> {effect_text}");
    let run = |fleet: &Fleet| fleet.run_on(&devices[0], &script, &["--follow"]);
    let out = run(&fleet);
    assert!(out.status.success(), "{}", said(&out));
    let honest = seen.next_within(PATIENCE).await.expect("the thief hears every order");
    let honest: SignedOrder = codec::decode(&honest.body).unwrap();
    drop(seen);

    storm(&thief, &guids, &honest).await;
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "ran\n");
    assert!(fleet.agents.iter_mut().all(crate::fleet::Agent::lives));
    // Nothing of it lasts.
    let out = run(&fleet);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(std::fs::read_to_string(&effect).unwrap(), "ran\nran\n");
}
