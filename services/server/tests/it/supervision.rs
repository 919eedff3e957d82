//! A whole server: it gets ready, its parts are shut off from each other, what ends comes back, and it stops in time.

use std::{
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use borealis_bus_schema::subjects::Service;
use borealis_server::services::IsolationReport;
use borealis_service_kit::{paths::Ports, ready};
use borealis_test_support::{ServerOptions, TestServer, eventually, programs};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn alive(pid: u32) -> bool {
    // A child that ended and was not waited for yet lives no more.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

fn stores() -> impl Iterator<Item = Service> {
    Service::ALL.into_iter().filter(|service| service.has_store())
}

#[tokio::test]
async fn the_bus_may_open_as_many_files_as_the_machine_allows() {
    let machine = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(512),
        ..machine
    };
    // What is started from here inherits it.
    setrlimit(Resource::Nofile, few).unwrap();
    let server = TestServer::start().await.unwrap();
    let bus = Ports::read(server.paths()).unwrap().unwrap().pid;
    let limits = std::fs::read_to_string(format!("/proc/{bus}/limits")).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limits: Vec<&str> = files.unwrap().split_whitespace().collect();
    let (soft, hard) = (limits[0], limits[1]);
    let allowed = machine
        .maximum
        .map_or("unlimited".to_owned(), |files| files.to_string());
    assert_eq!((soft, hard), (allowed.as_str(), allowed.as_str()));
}

#[tokio::test]
async fn a_server_gets_ready_and_stops_in_time() {
    let server = TestServer::start().await.unwrap();
    let ready_file = server.paths().root().join("ready.json");
    let mode = std::fs::metadata(&ready_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let ready = server.ready().clone();
    assert!(ready.url.starts_with("https://127.0.0.1:"), "{ready:?}");
    assert!(ready.nats_url.starts_with("tls://127.0.0.1:"), "{ready:?}");
    assert_eq!((ready.ca, ready.pid), (server.paths().ca_pem(), server.pid()));
    let link = ready.setup_link.unwrap();
    assert!(link.starts_with(&format!("{}/setup#", ready.url)) && link.len() > ready.url.len() + 20);

    let started = children(server.pid());
    assert_eq!(started.len(), Service::ALL.len() + 1);
    let secret = link.rsplit_once('#').unwrap().1.to_owned();
    let passphrase = passphrase(&server.screen());
    let logs: String = Service::ALL
        .iter()
        .map(|service| server.log(service.name()))
        .collect::<String>()
        + &server.log("server")
        + &server.log("nats");
    assert!(logs.contains("everything answers"));
    assert!(!logs.contains(&secret) && !logs.contains(&passphrase));

    let began = Instant::now();
    let (status, root) = server.stop().await.unwrap();
    assert!(
        status.success() && began.elapsed() < Duration::from_secs(10),
        "{status} {:?}",
        began.elapsed()
    );
    assert!(started.iter().all(|pid| !alive(*pid)));
    assert!(!ready_file.exists());
    drop(root);
}

fn passphrase(screen: &str) -> String {
    let is_one = |line: &&str| line.len() == 31 && line.chars().all(|c| c == '-' || c.is_ascii_alphanumeric());
    screen.lines().map(str::trim).find(is_one).unwrap().to_owned()
}

#[tokio::test]
async fn no_service_can_open_what_belongs_to_another() {
    let server = TestServer::start().await.unwrap();
    for service in Service::ALL {
        let report = IsolationReport::read(server.paths(), service).unwrap();
        assert_eq!(report.others_open, Vec::<std::path::PathBuf>::new(), "{service}");
        assert!(report.landlock && !report.dumpable, "{service}: {report:?}");
        assert!(children(server.pid()).contains(&report.pid));
        // Its memory and its files are not shown to others of the same user.
        if !rustix::process::geteuid().is_root() {
            assert!(std::fs::read(format!("/proc/{}/environ", report.pid)).is_err());
        }
    }
    assert!(!server.screen().contains("keys not isolated"), "{}", server.screen());
}

#[tokio::test]
async fn a_second_server_on_the_root_is_75() {
    let server = TestServer::start().await.unwrap();
    for command in ["up", "nats", "init"] {
        let output = Command::new(programs::built("borealis-server").unwrap())
            .arg(command)
            .arg("--root")
            .arg(server.paths().root())
            .args(["--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(75), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&server.pid().to_string()), "{said}");
    }
    assert!(server.ready().pid == server.pid() && alive(server.pid()));
}

#[tokio::test]
async fn what_is_killed_comes_back_where_it_was() {
    let server = TestServer::start().await.unwrap();
    let paths = server.paths().clone();
    let ports = Ports::read(&paths).unwrap().unwrap();
    kill(ports.pid);
    let back = eventually("the bus", async || {
        Ports::read(&paths).ok().flatten().filter(|now| now.pid != ports.pid)
    })
    .await
    .unwrap();
    assert_eq!(back.nats, ports.nats);
    for service in stores() {
        let before = eventually("the service", async || ready::read(&paths, service))
            .await
            .unwrap();
        kill(before.pid);
        let after = eventually(service.name(), async || {
            ready::read(&paths, service).filter(|now| now.pid != before.pid && alive(now.pid))
        })
        .await
        .unwrap();
        assert!(after.keys_isolated);
    }
    assert!(server.screen().contains("signal 9"), "{}", server.screen());
    let (status, _root) = server.stop().await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn children_end_with_their_parent_and_a_new_server_takes_over() {
    let server = TestServer::start().await.unwrap();
    let started = children(server.pid());
    let root = server.kill().unwrap();
    eventually("the children's end", async || {
        started.iter().all(|pid| !alive(*pid)).then_some(())
    })
    .await
    .unwrap();
    let server = TestServer::start_in(root, &ServerOptions::default()).await.unwrap();
    for service in stores() {
        let output = Command::new(programs::built("borealis-server").unwrap())
            .args(["store", service.name(), "verify", "--root"])
            .arg(server.paths().root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{service}: {output:?}");
    }
}
