//! Each service started by itself under a user of its own, as the units in `deploy/systemd` do it.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use borealis_test_support::{eventually_within, programs};
use tempfile::TempDir;

use crate::fleet::{PATIENCE, said};

/// Is the group's id; the ids behind it are the users'.
const FIRST_ID: u32 = 20_100;
/// Are those who hold keys, in the order of their ids.
const HOLDERS: [&str; 8] = [
    "nats",
    "access",
    "enrollment",
    "signing",
    "scheduler",
    "inventory",
    "library",
    "gateway",
];
const PASSWORD: &str = "correct horse battery staple";

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd")
}

/// Is a root whose parts belong to eight users, with programs that all of them may run.
struct Deployment {
    programs: TempDir,
    root: TempDir,
    children: Vec<Child>,
}

impl Deployment {
    fn prepare() -> Self {
        let (programs, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        for dir in [&programs, &root] {
            std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        }
        let copied = Command::new("cp")
            .arg("-rL")
            .args([programs::built("borealis-server").unwrap(), programs::dependencies()])
            .arg(programs.path())
            .status();
        assert!(copied.unwrap().success());
        let deployment = Self {
            programs,
            root,
            children: Vec::new(),
        };
        let made = deployment
            .server("init", &["--public-name", "localhost"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let owned = deployment.own_users("prepare");
        assert!(owned.status.success(), "{}", said(&owned));
        deployment
    }

    fn program(&self) -> PathBuf {
        self.programs.path().join("borealis-server")
    }

    fn server(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.arg(verb).arg("--root").arg(self.root.path()).args(args);
        command.env("BOREALIS_DEPENDENCIES", self.programs.path().join("Dependencies"));
        command
    }

    fn own_users(&self, act: &str) -> Output {
        Command::new(units().join("own-users.sh"))
            .arg(act)
            .arg(self.root.path())
            .arg(self.root.path().join("Logs"))
            .env("BOREALIS_FIRST_ID", FIRST_ID.to_string())
            .env("BOREALIS_SERVER", self.program())
            .output()
            .unwrap()
    }

    /// Makes a command that runs as a holder's user and in the deployment's group.
    fn run_as(holder: &str, program: &Path) -> Command {
        let index = HOLDERS.iter().position(|each| *each == holder).unwrap();
        let user = FIRST_ID + 1 + u32::try_from(index).unwrap();
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={user}"),
            format!("--regid={FIRST_ID}"),
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ]);
        command.arg(program);
        command
    }

    fn start(&mut self, holder: &str, listen: &str) {
        let mut command = Self::run_as(holder, &self.program());
        command.arg(holder).arg("--root").arg(self.root.path());
        command.args(["--listen", listen, "--nats-listen", "127.0.0.1:0"]);
        command.env("BOREALIS_DEPENDENCIES", self.programs.path().join("Dependencies"));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        self.children.push(command.spawn().unwrap());
    }

    fn cli(&self, url: &str, token: Option<&str>, args: &[&str], stdin: Option<&str>) -> Output {
        let mut command = Command::new(programs::built("borealis").unwrap());
        command.args(args).env("BOREALIS_URL", url);
        command.env("BOREALIS_CA", self.root.path().join("Certificates/Server/ca.pem"));
        command.env_remove("BOREALIS_TOKEN");
        if let Some(token) = token {
            command.env("BOREALIS_TOKEN", token);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, stdin.unwrap_or_default().as_bytes()).unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a test of this file again as the root of a user namespace, where this process is no root.
fn as_root(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .output()
        .unwrap();
    assert!(
        again.status.success(),
        "without root this needs subordinate ids (package uidmap): {}",
        said(&again)
    );
    false
}

#[tokio::test]
async fn each_service_runs_alone_under_a_user_of_its_own_and_reads_nobody_elses() {
    if !as_root("own_users::each_service_runs_alone_under_a_user_of_its_own_and_reads_nobody_elses") {
        return;
    }
    let mut deployment = Deployment::prepare();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("https://localhost:{port}"));
    // In no good order: each waits for what it needs.
    for holder in HOLDERS.iter().rev() {
        deployment.start(holder, &listen);
    }
    let root = deployment.root.path().to_owned();
    let state = root.join("Server/State");
    eventually_within("every service answers", PATIENCE, async || {
        let all = HOLDERS
            .iter()
            .skip(1)
            .all(|holder| state.join(holder).join("ready").exists());
        all.then_some(())
    })
    .await
    .unwrap();

    let secret = std::fs::read_to_string(state.join("access/setup_secret")).unwrap();
    let link = format!("{url}/setup#{}", secret.trim());
    let args = [
        "setup",
        "--link",
        &link,
        "--username",
        "ada",
        "--password-stdin",
        "--json",
    ];
    let set_up = deployment.cli(&url, None, &args, Some(PASSWORD));
    assert!(set_up.status.success(), "{}", said(&set_up));
    let answer: serde_json::Value = serde_json::from_slice(&set_up.stdout).unwrap();
    let token = answer["token"].as_str().unwrap();
    let made = deployment.cli(
        &url,
        Some(token),
        &["codes", "create", "--auto-approve", "--json"],
        None,
    );
    assert!(made.status.success(), "{}", said(&made));

    for holder in HOLDERS {
        for other in HOLDERS.iter().filter(|other| **other != holder) {
            let keys = root.join("Certificates/Server").join(other);
            // The bus's ports are for all; its config and everybody else's state are not.
            let (lister, state) = match *other {
                "nats" => ("cat", state.join("nats/nats.conf")),
                _ => ("ls", state.join(other)),
            };
            for (program, path) in [("ls", keys), (lister, state)] {
                let opened = Deployment::run_as(holder, Path::new(program))
                    .arg(&path)
                    .output()
                    .unwrap();
                assert!(!opened.status.success(), "{holder} opens {}", path.display());
            }
        }
        let owned = Deployment::run_as(holder, Path::new("ls"))
            .arg(root.join("Certificates/Server").join(holder))
            .output();
        assert!(owned.unwrap().status.success(), "{holder} has its own");
    }

    let renewed = deployment.own_users("renew");
    assert!(renewed.status.success(), "{}", said(&renewed));
    assert!(String::from_utf8_lossy(&renewed.stdout).contains("No certificate ends soon"));
}

#[test]
fn the_units_name_users_that_are_made_and_programs_that_are_there() {
    let text = |name: &str| std::fs::read_to_string(units().join(name)).unwrap();
    let (users, target, service) = (
        text("borealis.sysusers"),
        text("borealis.target"),
        text("borealis@.service"),
    );
    for holder in HOLDERS {
        assert!(users.contains(&format!("u borealis-{holder} ")), "{holder}");
        let unit = if holder == "nats" {
            "borealis-nats.service".to_owned()
        } else {
            format!("borealis@{holder}.service")
        };
        assert!(target.contains(&unit), "{unit}");
    }
    assert!(service.contains("User=borealis-%i\n") && service.contains("borealis-server %i --root"));
    assert!(text("borealis-nats.service").contains("User=borealis-nats\n"));
}
