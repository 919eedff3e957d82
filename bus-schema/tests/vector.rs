//! The web page signs with the browser's own cryptography, the services verify with this crate. Both sides are tested with
//! the same file of vectors, so that neither can drift alone.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::factor::{Factor, otpauth, recovery_codes, totp_secret};
use borealis_bus_schema::forms::{Form, PublicKey, SignatureBytes, sha256};
use borealis_bus_schema::ids::{CommandId, Guid, SessionId};
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::messages::scheduler::devices_digest;
use borealis_bus_schema::operator::{OperatorCall, Proof};
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::passkey::Asked;
use borealis_bus_schema::seeds::{LinkSecret, LinkUse, Registered};
use borealis_bus_schema::time::Timestamp;
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use std::collections::BTreeSet;

const FILE: &str = include_str!("../../ui/src/api/signing.vector.json");
const ASSEMBLIES: &str = include_str!("../../ui/src/api/assembly.vector.json");

#[derive(Deserialize)]
struct Vectors {
    requests: Vec<Request>,
    approval: Approval,
    factor: SecondFactor,
    installer_code: Minted,
    link: Link,
    passkey: Passkey,
}

/// Is about the first request, its session and its key.
#[derive(Deserialize)]
struct Passkey {
    nonce: String,
    act: String,
    register: String,
    log_in: String,
    step_up: String,
    step_up_for_act: String,
}

#[derive(Deserialize)]
struct Approval {
    method: String,
    path: String,
    body: String,
    devices: BTreeSet<Guid>,
    request_digest: Digest,
    devices_digest: Digest,
    review: Digest,
}

#[derive(Deserialize)]
struct SecondFactor {
    opaque_session_key: String,
    totp_secret: String,
    address: String,
    recovery_codes: Vec<String>,
    totp: ProvedCode,
    recovery: ProvedCode,
}

#[derive(Deserialize)]
struct ProvedCode {
    code: String,
    tag: String,
}

#[derive(Deserialize)]
struct Minted {
    secret: String,
    ca_sha256: String,
    public_key: PublicKey,
    hint: String,
    text: String,
}

#[derive(Deserialize)]
struct Link {
    secret: String,
    public_key: PublicKey,
    username: String,
    registration_request: String,
    registration_response: String,
    registration_record: String,
    start_proof: SignatureBytes,
    finish_proof: SignatureBytes,
}

#[derive(Deserialize)]
struct Request {
    name: String,
    private_key_seed: String,
    public_key: String,
    method: String,
    path: String,
    body: String,
    session_id: SessionId,
    command_id: CommandId,
    issued_at: Timestamp,
    signed_bytes: String,
    signature: String,
    header: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(FILE).unwrap()
}

fn requests() -> Vec<Request> {
    let vectors = vectors();
    assert!(vectors.requests.len() >= 2, "the file holds vectors");
    vectors.requests
}

fn key_of(request: &Request) -> SigningKey {
    let seed = hex::decode(&request.private_key_seed).unwrap();
    SigningKey::from_bytes(&seed.try_into().expect("a seed has 32 bytes"))
}

fn call_of(request: &Request) -> OperatorCall {
    OperatorCall {
        method: request.method.clone(),
        path: request.path.clone(),
        body: request.body.clone().into_bytes(),
        proof: None,
        peer: "127.0.0.1".into(),
    }
}

#[test]
fn both_sides_name_the_same_in_an_approval() {
    let given = vectors().approval;
    let call = OperatorCall {
        method: given.method,
        path: given.path,
        body: given.body.into_bytes(),
        proof: None,
        peer: String::new(),
    };
    let (request, devices) = (Digest(call.digest()), devices_digest(&given.devices));
    assert_eq!((request, devices), (given.request_digest, given.devices_digest));
    assert_eq!(Digest::of(&[request.0, devices.0].concat()), given.review);
}

#[test]
fn both_sides_sign_the_same_bytes() {
    for request in requests() {
        let digest = sha256(request.body.as_bytes());
        let texts = [
            request.session_id.to_string(),
            request.command_id.to_string(),
            request.issued_at.to_string(),
        ];
        let [session, command, issued_at] = &texts;
        let bytes = Form::Request.bytes(&[
            request.method.as_bytes(),
            request.path.as_bytes(),
            &digest,
            session.as_bytes(),
            command.as_bytes(),
            issued_at.as_bytes(),
        ]);
        assert_eq!(hex::encode(bytes), request.signed_bytes, "{}", request.name);
    }
}

#[test]
fn both_sides_make_the_same_signature_and_header() {
    for request in requests() {
        let key = key_of(&request);
        let public = PublicKey::of(&key);
        assert_eq!(hex::encode(public.as_bytes()), request.public_key, "{}", request.name);
        let proof = Proof::new(
            &key,
            request.session_id,
            request.command_id,
            request.issued_at,
            &request.method,
            &request.path,
            request.body.as_bytes(),
        );
        assert_eq!(
            hex::encode(proof.signature.as_bytes()),
            request.signature,
            "{}",
            request.name
        );
        assert_eq!(proof.header(), request.header, "{}", request.name);
    }
}

#[test]
fn the_header_of_the_page_is_taken_and_only_for_its_own_request() {
    for request in requests() {
        let public = PublicKey::of(&key_of(&request));
        let proof = Proof::parse(&request.header, request.command_id).unwrap();
        let call = call_of(&request);
        assert_eq!(call.verify(&proof, &public), Ok(()), "{}", request.name);
        let changed = OperatorCall {
            body: format!("{} ", request.body).into_bytes(),
            ..call
        };
        assert!(changed.verify(&proof, &public).is_err(), "{}", request.name);
    }
}

#[test]
fn both_sides_make_the_same_second_factor() {
    let vectors: Vectors = serde_json::from_str(FILE).unwrap();
    let given = vectors.factor;
    let exchange = hex::decode(&given.opaque_session_key).unwrap();
    let secret = totp_secret(&exchange);
    assert_eq!(hex::encode(secret), given.totp_secret);
    assert_eq!(otpauth(&secret, "ada", "fleet.example:5000"), given.address);
    assert_eq!(recovery_codes(&exchange), given.recovery_codes);
    let totp = Factor::totp(&given.totp.code).unwrap();
    let recovery = Factor::recovery(&given.recovery.code).unwrap();
    assert_eq!(totp.prove(&exchange).tag, given.totp.tag);
    assert_eq!(recovery.prove(&exchange).tag, given.recovery.tag);
}

#[test]
fn both_sides_make_the_same_installer_code() {
    let given = vectors().installer_code;
    let bytes = |text: &str| hex::decode(text).unwrap();
    let secret = bytes(&given.secret).try_into().expect("a secret has 16 bytes");
    let code = InstallerCode::new(secret, bytes(&given.ca_sha256).try_into().expect("a hash has 32 bytes"));
    assert_eq!(
        (code.public_key(), code.hint(), code.reveal()),
        (given.public_key, given.hint, given.text)
    );
}

#[test]
fn both_sides_prove_a_link_alike() {
    let given = vectors().link;
    let link = LinkSecret::parse(&given.secret).unwrap();
    assert_eq!(link.public_key(), given.public_key);
    let start = LinkUse {
        username: &given.username,
        registration_request: &given.registration_request,
        registered: None,
    };
    let finish = LinkUse {
        registered: Some(Registered {
            response: &given.registration_response,
            record: &given.registration_record,
        }),
        ..start
    };
    assert_eq!(
        (start.sign(&link), finish.sign(&link)),
        (given.start_proof, given.finish_proof)
    );
}

#[test]
fn both_sides_ask_a_passkey_for_the_same() {
    let Vectors { requests, passkey, .. } = vectors();
    let request = requests.first().unwrap();
    let (session, session_key) = (request.session_id, PublicKey::of(&key_of(request)));
    let nonce: [u8; 32] = hex::decode(passkey.nonce).unwrap().try_into().unwrap();
    let mut call = call_of(request);
    assert_eq!(call.act(), None, "what nobody signed is no act");
    call.proof = Some(Proof::parse(&request.header, request.command_id).unwrap());
    let act = call.act();
    assert_eq!(act.map(hex::encode), Some(passkey.act));
    let step_up = |act| Asked::StepUp {
        session,
        session_key,
        act,
    };
    for (asked, challenge) in [
        (Asked::Register { session, session_key }, passkey.register),
        (Asked::LogIn { session_key }, passkey.log_in),
        (step_up(None), passkey.step_up),
        (step_up(act), passkey.step_up_for_act),
    ] {
        assert_eq!(hex::encode(asked.challenge(&nonce)), challenge, "{asked:?}");
    }
}

#[derive(Deserialize)]
struct Assemblies {
    versions: Vec<AssemblyVersion>,
}

#[derive(Deserialize)]
struct AssemblyVersion {
    content: serde_json::Value,
    digest: Digest,
}

#[test]
fn both_sides_name_a_version_of_an_assembly_the_same() {
    let Assemblies { versions } = serde_json::from_str(ASSEMBLIES).unwrap();
    for AssemblyVersion { content, digest } in versions {
        let assembly: Assembly = serde_json::from_value(content.clone()).unwrap();
        assembly.check().unwrap();
        assert_eq!(assembly.digest().unwrap(), digest, "{}", assembly.name);
        assert_eq!(
            serde_json::to_value(&assembly).unwrap(),
            content,
            "the page is given every field"
        );
    }
}
