use super::*;
use borealis_bus_schema::audit::{Actor, AuditRecord, Outcome};
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use tokio::net::TcpListener;

fn entry(position: u64) -> AuditEntry {
    AuditEntry {
        service: Service::Access,
        position,
        record: AuditRecord {
            at: Timestamp::from_unix_ms(1_795_341_600_003),
            actor: Actor::anonymous(),
            session: None,
            grant: None,
            address: None,
            via: None,
            action: "POST /api/v1/login".into(),
            verb: "login".into(),
            objects: Vec::new(),
            outcome: Outcome::Accepted,
            correlation: CorrelationId::from_bytes([2; 16]),
            command: None,
            more: 0,
        },
    }
}

const PRINTER: Printer = Printer::new(true);

fn positions(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let read = |line: &str| serde_json::from_str::<AuditEntry>(line).unwrap().position;
    text.lines().map(read).collect()
}

#[tokio::test]
async fn a_file_that_was_left_in_the_middle_is_cut_back_to_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target {
        file: Some(folder.path().join("audit.jsonl")),
        cursor_file: Some(folder.path().join("audit.cursor")),
        ..Target::default()
    };
    let path = target.file.clone().unwrap();
    let (mut sink, cursor) = Sink::open(&target, Format::Jsonl, "h", true).unwrap();
    assert_eq!(cursor, None);
    sink.take(&[entry(1), entry(2)], "c2", &PRINTER).await.unwrap();
    drop(sink);
    // Killed behind the write and before the cursor was kept: a whole record and half of one.
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(Format::Jsonl.line(&entry(3), "h").unwrap().as_bytes())
        .unwrap();
    file.write_all(b"{\"service\":\"acc").unwrap();
    let (mut sink, cursor) = Sink::open(&target, Format::Jsonl, "h", true).unwrap();
    assert_eq!(cursor.as_deref(), Some("c2"));
    sink.take(&[entry(3), entry(4)], "c4", &PRINTER).await.unwrap();
    assert_eq!(positions(&path), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_file_that_is_not_what_the_cursor_says_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target {
        file: Some(folder.path().join("audit.jsonl")),
        cursor_file: Some(folder.path().join("audit.cursor")),
        ..Target::default()
    };
    let path = target.file.clone().unwrap();
    fs::write(&path, "somebody else's\n").unwrap();
    assert!(matches!(
        Sink::open(&target, Format::Jsonl, "h", true),
        Err(CliError::File { .. })
    ));
    fs::remove_file(&path).unwrap();
    let (mut sink, _) = Sink::open(&target, Format::Jsonl, "h", true).unwrap();
    sink.take(&[entry(1)], "c1", &PRINTER).await.unwrap();
    drop(sink);
    fs::write(&path, "").unwrap();
    assert!(matches!(
        Sink::open(&target, Format::Jsonl, "h", true),
        Err(CliError::File { .. })
    ));
}

/// Reads frames of octet counting until the peer ends.
async fn frames(stream: &mut (impl AsyncRead + Unpin), wanted: usize) -> Vec<String> {
    let (mut found, mut bytes) = (Vec::new(), Vec::new());
    while found.len() < wanted {
        let mut piece = [0u8; 7];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the connection ended after {found:?}");
        bytes.extend_from_slice(&piece[..read]);
        while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
            if bytes.len() < space + 1 + length {
                break;
            }
            let rest = bytes.split_off(space + 1 + length);
            found.push(String::from_utf8(bytes.split_off(space + 1)).unwrap());
            bytes = rest;
        }
    }
    found
}

#[tokio::test]
async fn syslog_over_tcp_counts_octets_and_comes_back_after_a_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target {
        address: Some(format!("tcp://{}", listener.local_addr().unwrap())),
        ..Target::default()
    };
    let (mut sink, _) = Sink::open(&target, Format::Syslog, "h", true).unwrap();
    let sending = tokio::spawn(async move {
        sink.take(&[entry(1), entry(2)], "c", &PRINTER).await.unwrap();
        sink
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let got = frames(&mut stream, 2).await;
    assert!(
        got[0].starts_with("<110>1 ") && got[1].contains(" position=\"2\" "),
        "{got:?}"
    );
    let mut sink = sending.await.unwrap();
    drop(stream);
    let sending = tokio::spawn(async move { sink.take(&[entry(3)], "c", &PRINTER).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    // The first connection may have lost what was sent on it.
    let got = frames(&mut stream, 3).await;
    for (frame, position) in got.iter().zip(1..) {
        assert!(frame.contains(&format!(" position=\"{position}\" ")), "{got:?}");
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_receiver_that_died_with_records_unread_gets_them_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target {
        address: Some(format!("tcp://{}", listener.local_addr().unwrap())),
        ..Target::default()
    };
    let (mut sink, _) = Sink::open(&target, Format::Syslog, "h", true).unwrap();
    // Each page is written, and so done, as far as the sink can tell; nobody reads any.
    sink.take(&[entry(1)], "c1", &PRINTER).await.unwrap();
    let (unread, _) = listener.accept().await.unwrap();
    sink.take(&[entry(2)], "c2", &PRINTER).await.unwrap();
    drop(unread);
    let sending = tokio::spawn(async move { sink.take(&[entry(3)], "c3", &PRINTER).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let got = frames(&mut stream, 3).await;
    let positions = [1, 2, 3].map(|position| format!(" position=\"{position}\" "));
    assert!(
        got.iter()
            .zip(&positions)
            .all(|(frame, position)| frame.contains(position)),
        "{got:?}"
    );
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_sent_is_kept_for_the_next_connection_up_to_a_mebibyte() {
    let mut receiver = receiver("tcp://h:1", None).unwrap();
    for _ in 0..3_000 {
        receiver.remember(&[7; 1_000]);
    }
    let kept: usize = receiver.recent.iter().map(Vec::len).sum();
    assert!((RECENT_BYTES - 1_000..=RECENT_BYTES).contains(&kept), "{kept}");
}

/// Makes a CA's certificate, and the acceptor of a server of that CA at a name.
fn server(name: &str) -> (String, tokio_rustls::TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&own, &issuer).unwrap();
    let secret = rustls_pki_types::PrivatePkcs8KeyDer::from(own.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], secret.into())
        .unwrap();
    (ca, tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

/// Opens a sink to a server on this machine, which the holder of a CA is to vouch for.
fn tls_sink(folder: &Path, listener: &TcpListener, ca: &str, goes_on: bool) -> Sink {
    let file = folder.join("ca.pem");
    fs::write(&file, ca).unwrap();
    let target = Target {
        address: Some(format!("tls://localhost:{}", listener.local_addr().unwrap().port())),
        ca: Some(file),
        cursor_file: Some(folder.join("cursor")),
        ..Target::default()
    };
    Sink::open(&target, Format::Syslog, "h", goes_on).unwrap().0
}

#[tokio::test]
async fn syslog_over_tls_reaches_the_receiver_that_the_ca_vouches_for_and_comes_back_after_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, acceptor) = server("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sink = tls_sink(folder.path(), &listener, &ca, true);
    let sending = tokio::spawn(async move {
        sink.take(&[entry(1), entry(2)], "c2", &PRINTER).await.unwrap();
        sink
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(stream).await.unwrap();
    let got = frames(&mut stream, 2).await;
    assert!(
        got[0].starts_with("<110>1 ") && got[1].contains(" position=\"2\" "),
        "{got:?}"
    );
    let mut sink = sending.await.unwrap();
    drop(stream);
    let sending = tokio::spawn(async move { sink.take(&[entry(3)], "c3", &PRINTER).await });
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(stream).await.unwrap();
    assert!(frames(&mut stream, 3).await[2].contains(" position=\"3\" "));
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_receiver_that_the_ca_does_not_vouch_for_gets_no_record() {
    for (name, is_known) in [("localhost", false), ("elsewhere.example", true)] {
        let folder = tempfile::tempdir().unwrap();
        let (own_ca, acceptor) = server(name);
        let ca = if is_known { own_ca } else { server("localhost").0 };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sink = tls_sink(folder.path(), &listener, &ca, false);
        let sending = tokio::spawn(async move { sink.take(&[entry(1)], "c1", &PRINTER).await });
        let (stream, _) = listener.accept().await.unwrap();
        // What comes over TLS is nothing: the handshake is ended, or the stream without a byte.
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            assert!(bytes.is_empty(), "{name}: a stranger read {bytes:?}");
        }
        let refused = sending.await.unwrap();
        assert!(matches!(refused, Err(CliError::Unreachable { .. })), "{name}");
        assert!(!folder.path().join("cursor").exists(), "{name}: it counts as sent");
    }
}

#[tokio::test]
async fn an_export_says_that_nobody_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    drop(listener);
    let target = Target {
        address: Some(address),
        ..Target::default()
    };
    let (mut sink, _) = Sink::open(&target, Format::Syslog, "h", false).unwrap();
    let refused = sink.take(&[entry(1)], "c", &PRINTER).await;
    assert!(matches!(refused, Err(CliError::Unreachable { .. })));
}

#[test]
fn only_addresses_are_taken() {
    for (address, ca) in [
        ("h:1", false),
        ("udp://h:1", false),
        ("tcp://h", false),
        ("tcp://h:1/x", false),
        ("tcp://u@h:1", false),
        ("tcp://h:1", true),
        ("tls://h:1", false),
    ] {
        let target = Target {
            address: Some(address.into()),
            ca: ca.then(|| PathBuf::from("/nowhere")),
            ..Target::default()
        };
        let opened = Sink::open(&target, Format::Syslog, "h", true);
        assert!(matches!(opened, Err(CliError::Usage(_))), "{address}");
    }
}
