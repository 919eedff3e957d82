//! One log, several processes: each test starts this test binary again as the other process.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use borealis_logging::{LogConfig, LogError, LogFile, Side, SystemClock, init};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Names the folder in which a child process logs; the parent does not have it.
const CHILD_LOGS: &str = "BOREALIS_TEST_CHILD_LOGS";

fn open(logs: &Path) -> Result<LogFile, LogError> {
    LogFile::open(logs, Side::Server, "access", Arc::new(SystemClock))
}

/// Runs the test `name` of this binary as a child that finds `logs`.
fn child(name: &str, logs: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD_LOGS, logs)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_second_process_is_refused_until_the_first_is_gone() {
    if let Some(logs) = std::env::var_os(CHILD_LOGS) {
        let log = open(Path::new(&logs)).unwrap();
        log.write_line("from the child");
        println!("\nready");
        // Ends with the pipe or by the kill, whichever is first.
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let logs = tempfile::tempdir().unwrap();
    let mut owner = child("a_second_process_is_refused_until_the_first_is_gone", logs.path());
    let mut output = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(output.any(|line| line.unwrap() == "ready"));

    let error = open(logs.path()).unwrap_err();
    assert!(
        matches!(error, LogError::Owned { owner: Some(pid), .. } if pid == owner.id()),
        "{error}"
    );

    owner.kill().unwrap();
    owner.wait().unwrap();
    open(logs.path()).unwrap().write_line("from the parent");
    let text = fs::read_to_string(logs.path().join("Server/access.log")).unwrap();
    assert_eq!(text, "from the child\nfrom the parent\n");
}

#[test]
fn a_process_that_is_killed_or_panics_leaves_its_last_line() {
    if let Some(logs) = std::env::var_os(CHILD_LOGS) {
        let config = LogConfig {
            dir: logs.into(),
            side: Side::Agent,
            service: "agent".to_owned(),
            stderr: true,
            errors: true,
            filter: "info".to_owned(),
        };
        let _guard = init(&config).unwrap();
        assert!(matches!(init(&config), Err(LogError::Owned { .. })));
        tracing::info!("before the end");
        let joined = std::thread::spawn(|| assert_eq!(1, 2, "told by the test")).join();
        assert!(joined.is_err());
        std::process::abort();
    }
    let logs = tempfile::tempdir().unwrap();
    let ended = child("a_process_that_is_killed_or_panics_leaves_its_last_line", logs.path())
        .wait_with_output()
        .unwrap();
    assert!(!ended.status.success());
    let text = fs::read_to_string(logs.path().join("Agent/agent.log")).unwrap();
    assert!(text.contains("before the end"), "{text}");
    let errors = fs::read_to_string(logs.path().join("Agent/agent.error.log")).unwrap();
    assert!(
        errors.contains("a thread panicked") && errors.contains("told by the test"),
        "{errors}"
    );
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(stderr.contains("INFO  before the end"), "{stderr}");
}
