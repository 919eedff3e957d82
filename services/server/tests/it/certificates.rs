//! Certificates that end soon are made anew under a running server, and nobody starts anew for it.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    sync::Arc,
};

use borealis_bus_schema::{subjects::Service, time::Timestamp};
use borealis_provision::certificates;
use borealis_service_kit::{
    clock::{Clock, SystemClock},
    keys,
    paths::{Paths, Ports},
    ready,
};
use borealis_test_support::{DEADLINE, TestServer, eventually, tls};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};

const DAY_MS: i64 = 24 * 3_600_000;

/// Gives a holder a certificate that ends within the 60 days before which a new one is made.
fn give_one_that_ends_soon(paths: &Paths, holder: &str, now: Timestamp) {
    let text = |path| std::fs::read_to_string(path).unwrap();
    let (issuing, root) = (text(paths.issuing_ca_pem()), text(paths.ca_pem()));
    let long_ago = now.plus_ms(-350 * DAY_MS);
    let names = ["localhost".to_owned()];
    let soon = certificates::leaf(holder, &names, &issuing, &text(paths.issuing_ca_key()), &root, long_ago).unwrap();
    assert!(certificates::leaf_is_due(holder, &soon.certificate, &[], now).unwrap());
    keys::write_private(&paths.leaf_key(holder), soon.key.as_bytes()).unwrap();
    keys::write_private(&paths.leaf_pem(holder), soon.certificate.as_bytes()).unwrap();
}

fn on_file(paths: &Paths, holder: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_file(paths.leaf_pem(holder)).ok()
}

/// Returns the leaf that a server shows; the bus speaks a line before TLS begins.
fn shown(paths: &Paths, port: u16, speaks_first: bool) -> Option<CertificateDer<'static>> {
    let config = tls(&paths.ca_pem()).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = BufReader::new(stream);
    if speaks_first {
        stream.read_line(&mut String::new()).ok()?;
    }
    let mut stream = stream.into_inner();
    while client.is_handshaking() {
        client.complete_io(&mut stream).ok()?;
    }
    Some(client.peer_certificates()?.first()?.clone().into_owned())
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn certificates_that_end_soon_are_made_anew_while_everything_runs() {
    let server = TestServer::start().await.unwrap();
    let paths = server.paths().clone();
    let now = SystemClock.now();
    let pids = || {
        let nats = Ports::read(&paths).unwrap().map(|ports| ports.pid);
        let gateway = ready::read(&paths, Service::Gateway).map(|mark| mark.pid);
        (nats, gateway)
    };
    let before = pids();
    let ports = [
        ("nats", port_of(&server.ready().nats_url), true),
        ("gateway", port_of(&server.ready().url), false),
    ];
    let first = ports.map(|(_, port, speaks_first)| shown(&paths, port, speaks_first).unwrap());
    for (holder, ..) in ports {
        give_one_that_ends_soon(&paths, holder, now);
    }
    let due = |holder| {
        let text = std::fs::read_to_string(paths.leaf_pem(holder)).unwrap_or_default();
        certificates::leaf_is_due(holder, &text, &[], now).unwrap_or(true)
    };
    assert!(due("nats") && due("gateway"));

    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    for ((holder, port, speaks_first), first) in ports.into_iter().zip(first) {
        eventually(&format!("{holder} to show its new certificate"), async || {
            let shown = shown(&paths, port, speaks_first)?;
            (!due(holder) && shown != first && Some(shown) == on_file(&paths, holder)).then_some(())
        })
        .await
        .unwrap();
    }
    assert_eq!(pids(), before, "neither was started anew");
}
