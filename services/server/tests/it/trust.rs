//! Whoever has the whole bus still moves no device: orders are replayed, retargeted, altered and signed anew, and the file
//! that an honest run wrote once stays as it is.

use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{PublicKey, SignatureBytes};
use borealis_bus_schema::ids::{Guid, OrderId, RoleName, RunId, VerbName};
use borealis_bus_schema::messages::device::{Accepted, RunResult, TellResult};
use borealis_bus_schema::order::{
    Context, Digest, Language, Order, OrderBody, ScriptBody, SignedOrder, key_id, sign_batch,
};
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::{Subject, filter};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::{keys, nats_jwt, random, trust::TrustFile};
use borealis_test_support::{User, eventually_within};
use nkeys::KeyPair;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, said, shared};

/// Connects a user that may do everything on the server's bus.
pub async fn everything(fleet: &Fleet) -> User {
    let paths = fleet.server.paths();
    let trust = TrustFile::read(paths).unwrap();
    let signing = keys::read_nkey(&paths.account_signing_seed()).unwrap();
    let key = KeyPair::new_user();
    let claims = nats_jwt::UserClaims {
        public_key: key.public_key(),
        account: trust.account.public_key.clone(),
        name: "everything".to_owned(),
        permissions: None,
        subscriptions: -1,
        expires_at: None,
    };
    let jwt = nats_jwt::user(&signing, &claims, SystemClock.now()).unwrap();
    let ready = fleet.server.ready();
    let credentials = (key, Arc::new(move || jwt.clone()) as _);
    User::connect(&ready.nats_url, &ready.ca, Some(credentials), "_INBOX_everything")
        .await
        .unwrap()
}

/// Returns the subject of orders of a role and verb to a device.
pub fn subject(guid: &Guid, role: &str, verb: &str) -> String {
    Subject::DeviceDo {
        guid: *guid,
        role: RoleName::new(role).unwrap(),
        verb: VerbName::new(verb).unwrap(),
    }
    .to_string()
}

/// Sends an order as the bus's new owner would, and returns what the device answers.
pub async fn send(user: &User, guid: &Guid, order: &SignedOrder) -> Result<Accepted, Code> {
    let body = codec::encode(order).unwrap();
    let answer = user
        .request(&subject(guid, "script", "run"), &body, Duration::from_secs(20))
        .await
        .unwrap();
    reply::decode::<Accepted>(&answer).map_err(|error| error.code)
}

/// Lists orders that differ from an honest one in one field each.
fn altered(honest: &Order, other: &Guid) -> Vec<(&'static str, Order)> {
    let OrderBody::Script(script) = honest.body.clone() else {
        panic!("an order without a script")
    };
    let with = |change: &dyn Fn(&mut ScriptBody)| {
        let mut script = script.clone();
        change(&mut script);
        Order {
            body: OrderBody::Script(script),
            ..honest.clone()
        }
    };
    let context = if honest.context == Context::System {
        Context::CurrentUser
    } else {
        Context::System
    };
    vec![
        (
            "order",
            Order {
                order: OrderId::from_bytes([9; 16]),
                ..honest.clone()
            },
        ),
        (
            "run",
            Order {
                run: RunId::from_bytes([9; 16]),
                ..honest.clone()
            },
        ),
        (
            "attempt",
            Order {
                attempt: honest.attempt + 1,
                ..honest.clone()
            },
        ),
        (
            "guid",
            Order {
                guid: *other,
                ..honest.clone()
            },
        ),
        (
            "context",
            Order {
                context,
                ..honest.clone()
            },
        ),
        (
            "role",
            Order {
                role: RoleName::agent(),
                ..honest.clone()
            },
        ),
        (
            "verb",
            Order {
                verb: VerbName::ping(),
                ..honest.clone()
            },
        ),
        ("language", with(&|s| s.language = Language::Bash)),
        ("script", with(&|s| s.script.extend(b"\ntrue"))),
        ("digest", with(&|s| s.digest = Digest::of(b"other"))),
        ("args", with(&|s| s.args.push("x".into()))),
        ("env", with(&|s| drop(s.env.insert("BASH_ENV".into(), "/tmp/x".into())))),
        ("timeout", with(&|s| s.timeout_ms += 1)),
        ("output limit", with(&|s| s.output_limit_bytes += 1)),
        (
            "issued at",
            Order {
                issued_at: honest.issued_at.plus_ms(1),
                ..honest.clone()
            },
        ),
        (
            "expires at",
            Order {
                expires_at: honest.expires_at.plus_ms(1),
                ..honest.clone()
            },
        ),
        (
            "key id",
            Order {
                key_id: "0".repeat(16),
                ..honest.clone()
            },
        ),
    ]
}

#[tokio::test]
async fn a_taken_over_bus_moves_no_device() {
    let fleet = Fleet::start(2).await;
    let devices = fleet.devices();
    let (first, second) = (
        devices[0]["guid"].as_str().unwrap(),
        devices[1]["guid"].as_str().unwrap(),
    );
    let thief = everything(&fleet).await;
    let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
    thief.settle().await.unwrap();

    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let (file, file_text) = shared(&dir, "script.sh");
    std::fs::write(&file, format!("echo once >> {effect_text}")).unwrap();
    let context = context_of(&devices[0]);
    let out = fleet.cli(&[
        "run",
        "--device",
        first,
        "--lang",
        "sh",
        "--context",
        &context,
        "--follow",
        "--file",
        &file_text,
    ]);
    assert!(out.status.success(), "{}", said(&out));
    let effect_is_once = || assert_eq!(std::fs::read_to_string(&effect).unwrap(), "once\n");
    effect_is_once();

    let captured = seen.next_within(PATIENCE).await.expect("the thief hears every order");
    let honest: SignedOrder = codec::decode(&captured.body).unwrap();
    let order: Order = codec::decode(&honest.order).unwrap();
    let (guid, other): (Guid, Guid) = (first.parse().unwrap(), second.parse().unwrap());
    assert_eq!(order.guid, guid);

    // Replayed: answered from the journal, with the first result.
    for _ in 0..3 {
        let accepted = send(&thief, &guid, &honest).await.unwrap();
        assert!(accepted.state.is_final() && accepted.result.is_some());
        effect_is_once();
    }
    // Retargeted.
    assert_eq!(send(&thief, &other, &honest).await.unwrap_err(), Code::OrderWrongDevice);
    // Altered, with the honest signature.
    for (field, order) in altered(&order, &other) {
        let forged = SignedOrder {
            order: codec::encode(&order).unwrap(),
            ..honest.clone()
        };
        assert_eq!(
            send(&thief, &guid, &forged).await.unwrap_err(),
            Code::OrderSignatureInvalid,
            "{field}"
        );
        effect_is_once();
    }
    // Signed anew, with a key that the message names.
    let own = random::signing_key();
    for (field, order) in altered(&order, &other).into_iter().chain([("nothing", order.clone())]) {
        let named = Order {
            key_id: key_id(&PublicKey::of(&own)),
            ..order
        };
        let forged = sign_batch(&own, &[named]).unwrap().remove(0);
        assert_eq!(
            send(&thief, &guid, &forged).await.unwrap_err(),
            Code::OrderKeyUnknown,
            "{field}"
        );
        let renamed = SignedOrder {
            key_id: honest.key_id.clone(),
            ..forged
        };
        assert_eq!(
            send(&thief, &guid, &renamed).await.unwrap_err(),
            Code::OrderSignatureInvalid,
            "{field}"
        );
        effect_is_once();
    }
    // The batch's place, size and signature.
    let mut flipped = *honest.signature.as_bytes();
    flipped[0] ^= 1;
    let forged = [
        SignedOrder {
            index: honest.index + 1,
            ..honest.clone()
        },
        SignedOrder {
            size: honest.size + 1,
            ..honest.clone()
        },
        SignedOrder {
            path: vec![0; 32],
            ..honest.clone()
        },
        SignedOrder {
            signature: SignatureBytes::from_bytes(flipped),
            ..honest.clone()
        },
        SignedOrder {
            signature: SignatureBytes::from_bytes([0; 64]),
            ..honest.clone()
        },
    ];
    for forged in forged {
        // The device knows these very bytes: it tells what became of them, or refuses the envelope, and starts nothing.
        match send(&thief, &guid, &forged).await {
            Ok(known) => assert!(known.state.is_final()),
            Err(code) => assert_eq!(code, Code::OrderSignatureInvalid),
        }
        effect_is_once();
    }
    // Bytes that are no order at all; the agent lives on.
    for body in [&b""[..], b"\xff\xff", &[0x9f; 4096]] {
        let answer = thief
            .request(&subject(&guid, "script", "run"), body, Duration::from_secs(20))
            .await
            .unwrap();
        assert!(reply::decode::<Accepted>(&answer).is_err());
    }
    let unknown = codec::encode(&honest).unwrap();
    let answer = thief
        .request(&subject(&guid, "script", "explode"), &unknown, Duration::from_secs(20))
        .await
        .unwrap();
    assert!(reply::decode::<Accepted>(&answer).is_err());
    effect_is_once();
    let (code, last) = {
        let online = eventually_within("both devices online", PATIENCE, async || {
            fleet.devices().iter().all(|d| d["presence"] == "online").then_some(())
        });
        online.await.unwrap();
        fleet.run("echo alive", &[])
    };
    assert_eq!((code, last["stdout"].as_str()), (0, Some("alive\n")));
}

/// Makes a result for an order's run, signed by a key that is not the device's.
pub fn forged_result(order: &Order) -> TellResult {
    let result = RunResult {
        guid: order.guid,
        run: order.run,
        attempt: order.attempt,
        state: borealis_bus_schema::messages::scheduler::RunState::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: None,
        ended_at: SystemClock.now(),
        duration_ms: 1,
        stdout_bytes: 0,
        stderr_bytes: 0,
        truncated: false,
        reason: None,
        code: None,
    };
    let form = borealis_bus_schema::forms::Form::Result;
    let forged = borealis_bus_schema::forms::Signed::seal(&random::signing_key(), form, &result).unwrap();
    TellResult { result: forged }
}

#[tokio::test]
async fn a_forged_result_ends_no_run() {
    let fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (go, go_text) = shared(&dir, "go");
    let thief = everything(&fleet).await;
    let mut seen = thief.subscribe(&filter::all_devices_do()).await.unwrap();
    thief.settle().await.unwrap();
    let followed = fleet.follow(
        &format!("while [ ! -e {go_text} ]; do sleep 0.05; done; echo honest"),
        &[],
    );
    let captured = seen.next_within(PATIENCE).await.expect("the thief hears the order");
    let order: Order = codec::decode(&codec::decode::<SignedOrder>(&captured.body).unwrap().order).unwrap();
    let tell = forged_result(&order);
    let role = RoleName::script();
    let tell_subject = Subject::DeviceTell {
        guid: order.guid,
        role,
        verb: VerbName::new("result").unwrap(),
    };
    let body = codec::encode(&tell).unwrap();
    let answer = thief
        .request(&tell_subject.to_string(), &body, Duration::from_secs(20))
        .await
        .unwrap();
    let refused = reply::decode::<borealis_bus_schema::messages::device::ResultKept>(&answer).unwrap_err();
    assert_eq!(refused.code, Code::ResultSignatureInvalid);
    std::fs::write(&go, "").unwrap();
    let (code, found) = followed.finish();
    let last = found.last().unwrap();
    assert_eq!((code, last["stdout"].as_str()), (0, Some("honest\n")));
}
