//! Pins the exact bytes of what is signed and sent: CBOR in hex beside its JSON. `BOREALIS_GEN=1` adds a missing file and
//! never rewrites one; a difference is a change of the contract.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, Signed, sign};
use borealis_bus_schema::ids::{CommandId, Guid, OrderId, RoleName, RunId, SessionId, SiteName, VerbName};
use borealis_bus_schema::messages::device::{Accepted, Hello, OutputKept, RunResult, TellOutput, Welcome};
use borealis_bus_schema::messages::enrollment::HostFacts;
use borealis_bus_schema::messages::events::{EventRow, EventsRead, Head};
use borealis_bus_schema::messages::inventory::{Cpu, Facts, Memory, Os, Summary};
use borealis_bus_schema::messages::scheduler::{OutputStream, RunState};
use borealis_bus_schema::messages::shared_events::{DeviceConnected, DeviceEnrolled, DeviceKeyRotated, SessionEnded};
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::{Context, Digest, KeySet, Language, Order, OrderBody, ScriptBody, key_id, sign_batch};
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_test_support::pinned;
use ed25519_dalek::SigningKey;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn at() -> Timestamp {
    Timestamp::from_unix_ms(1_795_341_600_123)
}
fn guid() -> Guid {
    Guid::from_random([7; 16])
}
fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}
fn run() -> RunId {
    RunId::from_bytes([2; 16])
}

fn order() -> Order {
    Order {
        order: OrderId::from_bytes([1; 16]),
        run: run(),
        attempt: 1,
        guid: guid(),
        context: Context::System,
        role: RoleName::script(),
        verb: VerbName::run(),
        body: OrderBody::Script(ScriptBody {
            language: Language::Sh,
            script: b"echo hi".to_vec(),
            digest: Digest::of(b"echo hi"),
            args: vec!["a b".into()],
            env: BTreeMap::from([("K".into(), "v".into())]),
            timeout_ms: 60_000,
            output_limit_bytes: 10 << 20,
        }),
        issued_at: at(),
        expires_at: at().plus_ms(3_600_000),
        key_id: key_id(&PublicKey::of(&key())),
    }
}

/// Checks one value: its bytes are those on file, and they decode to the value again.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let bytes = codec::encode(value).unwrap();
    assert_eq!(&codec::decode::<T>(&bytes).unwrap(), value, "{name} does not read back");
    check_value(name, &bytes, serde_json::to_value(value).unwrap());
}

fn check_value(name: &str, bytes: &[u8], value: Value) {
    let found = json!({ "cbor_hex": hex::encode(bytes), "json": value });
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.json"));
    pinned(&path, &found).unwrap();
}

#[test]
fn golden_order_and_its_signed_forms() {
    check("order.script.v1", &order());
    check(
        "order.ping.v1",
        &Order {
            role: RoleName::agent(),
            verb: VerbName::ping(),
            body: OrderBody::Ping,
            ..order()
        },
    );
    check(
        "order.cancel.v1",
        &Order {
            verb: VerbName::cancel(),
            body: OrderBody::Cancel { run: run() },
            ..order()
        },
    );
    let batch = sign_batch(
        &key(),
        &[
            order(),
            Order { attempt: 2, ..order() },
            Order { attempt: 3, ..order() },
        ],
    )
    .unwrap();
    check("signed-order.v1", batch.get(1).unwrap());
    let keys = KeySet {
        version: 1,
        keys: vec![PublicKey::of(&key())],
        expires_at: at(),
    };
    check("key-set.v1", &keys);
    check("signed-key-set.v1", &Signed::seal(&key(), Form::KeySet, &keys).unwrap());
}

#[test]
fn golden_signed_bytes_of_every_form() {
    for form in Form::ALL {
        let bytes = form.bytes(&[b"first", b"", b"third"]);
        let signature = sign(&key(), form, &[b"first", b"", b"third"]);
        let name = format!("form.{}", form.context().replace('/', "-"));
        check_value(
            &name,
            &bytes,
            json!({ "context": form.context(), "signature": signature }),
        );
    }
}

#[test]
fn golden_operator_call() {
    let (session, command) = (SessionId::from_bytes([4; 16]), CommandId::from_bytes([5; 16]));
    let proof = Proof::new(&key(), session, command, at(), "POST", "/api/v1/jobs", b"{}");
    let header = proof.header();
    let call = OperatorCall {
        method: "POST".into(),
        path: "/api/v1/jobs".into(),
        body: b"{}".to_vec(),
        proof: Some(proof),
        peer: "127.0.0.1".into(),
    };
    check("operator-call.v1", &call);
    check_value("operator-proof-header.v1", header.as_bytes(), json!(header));
}

#[test]
fn golden_words_of_devices() {
    let result = RunResult {
        guid: guid(),
        run: run(),
        attempt: 1,
        state: RunState::Succeeded,
        exit_code: Some(0),
        signal: None,
        started_at: Some(at()),
        ended_at: at().plus_ms(12),
        duration_ms: 12,
        stdout_bytes: 3,
        stderr_bytes: 0,
        truncated: false,
        reason: None,
        code: None,
    };
    check("run-result.v1", &result);
    let signed = Signed::seal(&key(), Form::Result, &result).unwrap();
    check(
        "accepted.v1",
        &Accepted {
            run: run(),
            attempt: 1,
            state: RunState::Succeeded,
            result: Some(signed.clone()),
        },
    );
    check(
        "tell-output.v1",
        &TellOutput {
            run: run(),
            attempt: 1,
            stream: OutputStream::Stdout,
            offset: 3,
            data: vec![0, 255],
        },
    );
    check(
        "output-kept.v1",
        &OutputKept {
            run: run(),
            stream: OutputStream::Stderr,
            next_offset: 5,
        },
    );
    let hello = Hello {
        guid: guid(),
        agent_version: "0.1.0".into(),
        contexts: vec![Context::System],
        roles: vec!["agent".into(), "script".into()],
        journal_counter: 9,
        at: at(),
        challenge: None,
    };
    check("hello.v1", &hello);
    check(
        "hello-answer.v1",
        &Hello {
            challenge: Some("n".into()),
            ..hello.clone()
        },
    );
    check(
        "welcome.v1",
        &Welcome {
            server_time: at(),
            key_set: signed.clone(),
            challenge: None,
            quarantined: false,
            renew: false,
        },
    );
    check(
        "welcome-challenge.v1",
        &Welcome {
            server_time: at(),
            key_set: signed,
            challenge: Some("n".into()),
            quarantined: true,
            renew: false,
        },
    );
    let facts = Facts {
        guid: guid(),
        at: at(),
        summary: Summary {
            hostname: "web-1".into(),
            ..Summary::default()
        },
        cpu: Cpu {
            model: "x".into(),
            logical: 2,
            physical: None,
        },
        memory: Memory {
            total_bytes: 1,
            available_bytes: 1,
            swap_bytes: 0,
        },
        storage: vec![],
        network: vec![],
        os: Os {
            family: "linux".into(),
            ..Os::default()
        },
        software: vec![],
    };
    check("facts.v1", &facts);
}

#[test]
fn golden_events_and_errors() {
    let head = Head {
        service: Service::Access,
        position: 7,
        hash: Digest([1; 32]),
        at: at(),
    };
    check("head.v1", &head);
    check_value(
        "events-read.v1",
        &codec::encode(&EventsRead { after: 7, limit: 500 }).unwrap(),
        json!({ "after": 7, "limit": 500 }),
    );
    let row = EventRow {
        position: 8,
        stream: "session-1".into(),
        kind: "SessionEnded".into(),
        at_ms: 5,
        body_digest: Digest([2; 32]),
        body: None,
    };
    check_value(
        "event-row.v1",
        &codec::encode(&row).unwrap(),
        serde_json::to_value(&row).unwrap(),
    );
    let facts = HostFacts {
        hostname: "web-1".into(),
        os: "linux".into(),
        os_version: "12".into(),
        arch: "x86_64".into(),
        agent_version: "0.1.0".into(),
        context: Context::System,
        machine_hash: "00".into(),
    };
    let enrolled = DeviceEnrolled {
        guid: guid(),
        site: SiteName::default_site(),
        public_key: PublicKey::of(&key()),
        exchange_key: PublicKey::from_bytes([6; 32]),
        exchange_key_signature: SignatureBytes::from_bytes([8; 64]),
        facts,
        address: "127.0.0.1".into(),
        first_seen_at: at(),
        approved_at: at(),
    };
    check("device-enrolled.v1", &enrolled);
    check(
        "device-key-rotated.v1",
        &DeviceKeyRotated {
            guid: guid(),
            public_key: PublicKey::from_bytes([5; 32]),
            previous_key: PublicKey::of(&key()),
            exchange_key: PublicKey::from_bytes([6; 32]),
            exchange_key_signature: SignatureBytes::from_bytes([8; 64]),
            at: at(),
        },
    );
    check(
        "device-connected.v1",
        &DeviceConnected {
            guid: guid(),
            address: "127.0.0.1".into(),
            at: at(),
        },
    );
    let ended = SessionEnded {
        session: SessionId::from_bytes([4; 16]),
        reason: "log-out".into(),
        at: at(),
    };
    check("session-ended.v1", &ended);
    check("wire-error.v1", &WireError::new(Code::NotFound, "there is no such job"));
}
