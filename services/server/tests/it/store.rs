//! A look into a store: the same answers while the service runs and while it does not, and the way back from an export.

use std::{
    path::Path,
    process::{Command, Output},
};

use borealis_test_support::{TestServer, programs};
use serde_json::Value;
use tempfile::TempDir;

fn store(root: &Path, args: &[&str]) -> Output {
    Command::new(programs::built("borealis-server").unwrap())
        .args(["store", "access"])
        .args(args)
        .arg("--root")
        .arg(root)
        .output()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes an event: the first operator sets a password.
fn set_up(server: &TestServer) {
    use std::io::Write;
    let mut child = Command::new(programs::built("borealis").unwrap())
        .args(["setup", "--username", "admin", "--password-stdin", "--json"])
        .env("BOREALIS_SETUP_LINK", server.ready().setup_link.as_ref().unwrap())
        .env("BOREALIS_CA", &server.ready().ca)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"correct horse battery staple\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_store_answers_the_same_whether_its_service_runs_or_not() {
    let server = TestServer::start().await.unwrap();
    set_up(&server);
    let root = server.paths().root().to_owned();
    let ready_file = root.join("ready.json");
    borealis_test_support::eventually("the link's end", async || {
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready_file).ok()?).ok()?;
        ready.get("setup_link").is_none().then_some(())
    })
    .await
    .unwrap();

    let running = lines(&store(&root, &["export"]));
    assert!(!running.is_empty());
    assert_eq!(lines(&store(&root, &["verify"])).first().unwrap()["whole"], true);
    let early = store(&root, &["export", "--raw"]).stdout;
    assert!(early.starts_with(b"BRLSTORE"));

    let (_, kept) = server.stop().await.unwrap();
    let stopped = lines(&store(&root, &["export"]));
    assert_eq!(stopped.get(..running.len()).unwrap(), running);
    let tail = lines(&store(&root, &["tail", "--after", "0"]));
    assert_eq!(tail.len(), stopped.len());
    let verified = lines(&store(&root, &["verify"]));
    assert_eq!(store(&root, &["rebuild-views"]).status.code(), Some(70));

    let raw = store(&root, &["export", "--raw"]).stdout;
    let other = TempDir::new().unwrap();
    let file = other.path().join("access.export");
    std::fs::write(&file, &raw).unwrap();
    let imported = store(other.path(), &["import", file.to_str().unwrap()]);
    assert_eq!(lines(&imported).first().unwrap()["events"], stopped.len());
    // The copy stands in a root without a trust file: there is nothing to compare its head with.
    let mut copied = lines(&store(other.path(), &["verify"]));
    assert!(copied[0]["not_compared"].is_string(), "{copied:?}");
    assert_eq!(verified[0]["countersigned"]["position"], verified[0]["position"]);
    for field in ["not_compared", "countersigned"] {
        copied[0][field] = verified[0][field].clone();
    }
    copied[0].as_object_mut().unwrap().remove("not_compared");
    assert_eq!(copied, verified);
    assert_eq!(lines(&store(other.path(), &["export"])), stopped);
    // Into a store that holds something nothing is read.
    assert_eq!(
        store(other.path(), &["import", file.to_str().unwrap()]).status.code(),
        Some(74)
    );

    let torn = TempDir::new().unwrap();
    std::fs::write(&file, raw.get(..raw.len() - 40).unwrap()).unwrap();
    assert_eq!(
        store(torn.path(), &["import", file.to_str().unwrap()]).status.code(),
        Some(74)
    );
    drop(kept);
}

#[test]
fn the_gateway_keeps_no_store() {
    let root = TempDir::new().unwrap();
    let output = Command::new(programs::built("borealis-server").unwrap())
        .args(["store", "gateway", "verify", "--root"])
        .arg(root.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
}
