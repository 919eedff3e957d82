//! What a start refuses, and with which exit code.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use borealis_test_support::programs;
use tempfile::TempDir;

fn server(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(programs::built("borealis-server").unwrap());
    command
        .args(args)
        .arg("--root")
        .arg(root)
        .env(
            "BOREALIS_DEPENDENCIES",
            std::fs::canonicalize(programs::dependencies()).unwrap(),
        )
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn with_stdin(mut command: Command, text: &str) -> Output {
    use std::io::Write;
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{text}").unwrap();
    child.wait_with_output().unwrap()
}

const FREE: [&str; 4] = ["--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"];

fn up<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["up"], &FREE[..], more].concat()
}

#[test]
fn init_makes_keys_once_and_shows_the_passphrase_once() {
    let root = TempDir::new().unwrap();
    let first = server(root.path(), &["init"]).output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    let shown = String::from_utf8(first.stdout).unwrap();
    let passphrase = shown
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 31 && line.contains('-'))
        .unwrap();
    let sealed = std::fs::read(root.path().join("Server/recovery.brl")).unwrap();
    assert!(borealis_provision::recovery::open(&sealed, passphrase).is_ok());
    let ca = std::fs::read(root.path().join("Certificates/Server/ca.pem")).unwrap();
    let second = server(root.path(), &["init"]).output().unwrap();
    assert!(second.status.success());
    assert!(!String::from_utf8(second.stdout).unwrap().contains(passphrase));
    assert_eq!(
        ca,
        std::fs::read(root.path().join("Certificates/Server/ca.pem")).unwrap()
    );
}

#[test]
fn what_is_said_as_json_is_json() {
    let root = TempDir::new().unwrap();
    let parsed = |output: &Output| -> Vec<serde_json::Value> {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = parsed(&server(root.path(), &["init", "--json"]).output().unwrap());
    assert_eq!(first.len(), 2, "{first:?}");
    let sealed = std::fs::read(root.path().join("Server/recovery.brl")).unwrap();
    let passphrase = first.first().unwrap()["recovery_passphrase"].as_str().unwrap();
    assert!(borealis_provision::recovery::open(&sealed, passphrase).is_ok());
    assert_eq!(first.last().unwrap()["made"], true);
    let renewed = with_stdin(
        server(root.path(), &["recovery", "renew-key-set", "--json"]),
        passphrase,
    );
    assert_eq!(parsed(&renewed).first().unwrap()["key_set_version"], 2);
    let wrong = with_stdin(
        server(root.path(), &["recovery", "renew-key-set"]),
        "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA-A",
    );
    assert_eq!(wrong.status.code(), Some(70));
    assert!(
        said(&wrong).contains("does not open") && !said(&wrong).contains("AAAAA"),
        "{}",
        said(&wrong)
    );
    let second = parsed(&server(root.path(), &["init", "--json"]).output().unwrap());
    assert_eq!((second.len(), &second.first().unwrap()["made"]), (1, &false.into()));
    let empty = TempDir::new().unwrap();
    let refused = server(root.path(), &up(&["--json"]))
        .env("BOREALIS_DEPENDENCIES", empty.path())
        .output()
        .unwrap();
    assert_eq!(parsed(&refused).last().unwrap()["error"]["exit_code"], 78);
}

#[test]
fn a_missing_nats_server_is_78() {
    let (root, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let output = server(root.path(), &up(&[]))
        .env("BOREALIS_DEPENDENCIES", empty.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("./Borealis.sh fetch"), "{}", said(&output));
}

#[test]
fn another_nats_server_is_78() {
    let (root, dependencies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let version = borealis_provision::nats_server::pinned().unwrap().version;
    let folder = dependencies.path().join(format!("nats-server-{version}"));
    std::fs::create_dir(&folder).unwrap();
    let fake = folder.join("nats-server");
    std::fs::write(&fake, format!("#!/bin/sh\necho nats-server: v{version}\n")).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    for command in ["up", "nats"] {
        let args = [&[command], &FREE[..]].concat();
        let output = server(root.path(), &args)
            .env("BOREALIS_DEPENDENCIES", dependencies.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        assert!(said(&output).contains("not the pinned"), "{}", said(&output));
    }
}

#[test]
fn a_port_in_use_is_76() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--nats-listen"] {
        let root = TempDir::new().unwrap();
        let mut args = vec!["up"];
        for name in ["--listen", "--nats-listen"] {
            args.extend([name, if name == option { &address } else { "127.0.0.1:0" }]);
        }
        let output = server(root.path(), &args).output().unwrap();
        assert_eq!(output.status.code(), Some(76), "{}", said(&output));
        assert!(said(&output).contains(option), "{}", said(&output));
    }
}

#[test]
fn a_name_that_is_none_ends_the_start() {
    let root = TempDir::new().unwrap();
    let output = server(root.path(), &up(&["--public-name", "https://x"]))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", said(&output));
    assert!(!root.path().join("Certificates/Server").exists());
}

#[test]
fn a_wrong_command_line_is_64() {
    let root = TempDir::new().unwrap();
    let output = server(root.path(), &["nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn routes_are_those_of_the_table() {
    let program = programs::built("borealis-server").unwrap();
    let output = Command::new(program).args(["routes", "--json"]).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<String> = borealis_bus_schema::routes::lines()
        .iter()
        .map(|line| serde_json::to_value(line).unwrap().to_string())
        .collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}
