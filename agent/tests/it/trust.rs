//! Whom the agent believes: no byte of a code goes to another server, no signature to a false nonce.

use crate::pki::Root;
use borealis_agent::identity::DeviceKeys;
use borealis_agent::identity::api::{Api, ApiError};
use borealis_agent::tls;
use borealis_agent::transport::{Bus, BusConfig};
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_test_support::DEADLINE;
use serde_json::{Value, json};
use std::sync::{Arc, RwLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Serves one connection and returns what came over TLS, empty when there was no TLS.
async fn heard_by(acceptor: TlsAcceptor, listener: TcpListener) -> Vec<u8> {
    let (stream, _) = listener.accept().await.unwrap();
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return Vec::new();
    };
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.unwrap_or(0);
    buffer.truncate(read);
    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/problem+json\r\ncontent-length: 20\r\n\r\n{\"code\":\"code_used\"}";
    let _ = stream.write_all(answer.as_bytes()).await;
    buffer
}

/// Posts what a code is named by to a server, and returns what the server heard and the agent concluded.
async fn posted(acceptor: TlsAcceptor, ca_sha256: [u8; 32]) -> (Vec<u8>, Result<Value, ApiError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = tokio::spawn(heard_by(acceptor, listener));
    let code = InstallerCode::new([1; 16], ca_sha256);
    let api = Api::new(&url, tls::trusting_hash(ca_sha256).unwrap(), 0).unwrap();
    let answer = api
        .post("/api/v1/enroll/request", &json!({ "code_key": code.public_key() }))
        .await;
    let heard = tokio::time::timeout(DEADLINE, server).await.unwrap().unwrap();
    (heard, answer)
}

#[tokio::test]
async fn given_the_server_that_the_code_names_then_it_is_asked() {
    let root = Root::new();
    let (heard, answer) = posted(root.acceptor(&["localhost"], vec![root.der()]), root.hash()).await;
    assert!(String::from_utf8_lossy(&heard).starts_with("POST /api/v1/enroll/request"));
    assert!(matches!(answer, Err(ApiError::Refused { .. })), "{answer:?}");
}

#[tokio::test]
async fn given_any_other_server_then_it_hears_nothing() {
    let (genuine, stranger) = (Root::new(), Root::new());
    // Whether it is certain that this is another server: then the agent does not try for ever.
    let cases = [
        (
            "another root",
            stranger.acceptor(&["localhost"], vec![stranger.der()]),
            true,
        ),
        (
            "another root that shows the genuine one too",
            stranger.acceptor(&["localhost"], vec![genuine.der()]),
            true,
        ),
        (
            "both, the genuine one last",
            stranger.acceptor(&["localhost"], vec![stranger.der(), genuine.der()]),
            true,
        ),
        (
            "the genuine root, another name",
            genuine.acceptor(&["elsewhere.example"], vec![genuine.der()]),
            false,
        ),
        (
            "the genuine root, not shown",
            genuine.acceptor(&["localhost"], vec![]),
            true,
        ),
    ];
    for (what, acceptor, is_another) in cases {
        let (heard, answer) = posted(acceptor, genuine.hash()).await;
        assert!(heard.is_empty(), "{what}: {} bytes were sent", heard.len());
        let error = answer.unwrap_err();
        match error {
            ApiError::Untrusted(_) => assert!(is_another, "{what}"),
            ApiError::Unreachable(_) => assert!(!is_another, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// Plays a bus that offers a nonce, and returns what the agent says until it closes, or until it has signed.
async fn said_to(nonce: Value) -> String {
    let root = Root::new();
    let acceptor = root.acceptor(&["localhost"], vec![root.der()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tls://localhost:{}", listener.local_addr().unwrap().port());
    let (links, _kept) = mpsc::unbounded_channel();
    let bus = Bus::connect(BusConfig {
        urls: vec![url],
        guid: Guid::from_random([1; 16]),
        keys: DeviceKeys::of_seeds([1; 32], [2; 32]),
        ca_pem: root.pem(),
        jwt: Arc::new(RwLock::new("h.e30.s".to_owned())),
        links,
        jitter_seed: 1,
        label: "0".repeat(16),
    })
    .await
    .unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = json!({
            "server_id": "false", "server_name": "false", "version": "2.15.1", "go": "go", "host": "127.0.0.1", "port": 1,
            "headers": true, "auth_required": true, "tls_required": true, "max_payload": 1_048_576, "proto": 1, "nonce": nonce,
        });
        stream.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return String::new();
        };
        let mut said = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..read]);
            if said.ends_with(b"PING\r\n") {
                break;
            }
        }
        String::from_utf8(said).unwrap()
    };
    let said = tokio::time::timeout(DEADLINE, serve).await.unwrap();
    bus.close().await;
    said
}

#[tokio::test]
async fn given_a_real_nonce_then_it_is_signed() {
    let said = said_to(json!("PXoWU7zWAMt75FY")).await;
    assert!(said.contains("\"sig\":"), "{said}");
}

#[tokio::test]
async fn given_what_a_result_looks_like_as_nonce_then_there_is_no_signature_and_no_credential() {
    let form = Form::Result.bytes(&[&[7; 200]]);
    let as_characters: String = form.iter().map(|byte| char::from(*byte)).collect();
    let in_base64 = data_encoding::BASE64URL_NOPAD.encode(&form);
    assert!(in_base64.len() > 64);
    for nonce in [as_characters, in_base64, String::new(), "with spaces in it".to_owned()] {
        let said = said_to(json!(nonce)).await;
        assert!(said.is_empty(), "{nonce:?}: {said}");
    }
}
