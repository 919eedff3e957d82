//! The first thing that a new user does.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use borealis_test_support::{eventually_within, programs};
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(180);

/// Is a started server that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended already when this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(root: &Path, more: &[&str]) -> Started {
    let screen = File::create(root.join("screen.txt")).unwrap();
    let mut command = Command::new(programs::built("borealis-server").unwrap());
    command
        .arg("quickstart")
        .arg("--root")
        .arg(root)
        .args(["--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"])
        .args(more)
        .env(
            "BOREALIS_DEPENDENCIES",
            std::fs::canonicalize(programs::dependencies()).unwrap(),
        )
        .stdin(Stdio::null())
        .stdout(screen.try_clone().unwrap())
        .stderr(screen);
    Started(command.spawn().unwrap())
}

fn screen(root: &Path) -> String {
    std::fs::read_to_string(root.join("screen.txt")).unwrap_or_default()
}

async fn ended(started: &mut Started, root: &Path) -> Option<i32> {
    let status = eventually_within("the end", PATIENCE, async || started.0.try_wait().ok().flatten()).await;
    status
        .unwrap_or_else(|error| panic!("{error}: {}", screen(root)))
        .code()
}

#[tokio::test]
async fn a_first_script_runs_and_a_second_start_finds_the_device() {
    let root = TempDir::new().unwrap();
    let mut first = start(root.path(), &["--once"]);
    assert_eq!(ended(&mut first, root.path()).await, Some(0), "{}", screen(root.path()));
    let shown = screen(root.path());
    for part in [
        "becomes the first device",
        "A session of 15 minutes was minted and recorded",
        "Approved: key ",
        "system:  Linux",
        "Exit code 0, succeeded after",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let identity = |name: &str| {
        let context = if rustix::process::geteuid().is_root() {
            "SYSTEM"
        } else {
            "CURRENTUSER"
        };
        root.path().join("Certificates/Agent/Identity").join(context).join(name)
    };
    let guid = std::fs::read_to_string(identity("guid.txt")).unwrap();
    assert!(shown.contains(guid.trim()), "{shown}");

    let mut second = start(root.path(), &[]);
    eventually_within("the set-up link", PATIENCE, async || {
        screen(root.path()).contains("/setup#").then_some(())
    })
    .await
    .unwrap();
    let shown = screen(root.path());
    for part in [
        "is a device already",
        "Exit code 0, succeeded after",
        "Ctrl-C stops everything",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let leaf = root.path().join("Certificates/Server/gateway/leaf.pem");
    let pairs: Vec<String> = Sha256::digest(CertificateDer::from_pem_file(leaf).unwrap())
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    assert!(shown.contains(&pairs.join(":")), "{shown}");
    assert_eq!(std::fs::read_to_string(identity("guid.txt")).unwrap(), guid);
    let began = Instant::now();
    let pid = Pid::from_raw(i32::try_from(second.0.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(ended(&mut second, root.path()).await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_device_it_is_70() {
    let (root, programs_only) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // The server's program alone, with nothing beside it.
    let alone = programs_only.path().join("borealis-server");
    std::fs::copy(programs::built("borealis-server").unwrap(), &alone).unwrap();
    let output = Command::new(&alone)
        .args(["quickstart", "--once", "--root"])
        .arg(root.path())
        .args(["--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"])
        .env(
            "BOREALIS_DEPENDENCIES",
            std::fs::canonicalize(programs::dependencies()).unwrap(),
        )
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(70), "{shown}");
    assert!(shown.contains("is missing"), "{shown}");
}
