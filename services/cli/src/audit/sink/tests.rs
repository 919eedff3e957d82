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
async fn frames(stream: &mut TcpStream, wanted: usize) -> Vec<String> {
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
    assert!(frames(&mut stream, 1).await[0].contains(" position=\"3\" "));
    sending.await.unwrap().unwrap();
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
