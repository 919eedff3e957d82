use crate::file::tests::FakeClock;
use crate::{LogConfig, Side, subscriber};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tracing::{error, info, info_span, subscriber::with_default};

fn config(dir: &Path) -> LogConfig {
    LogConfig {
        dir: dir.to_owned(),
        side: Side::Server,
        service: "access".to_owned(),
        stderr: false,
        errors: true,
        filter: "info".to_owned(),
    }
}

/// Runs `emit` and returns the lines of both files.
fn lines_of(emit: impl FnOnce()) -> (Vec<Value>, Vec<Value>) {
    let logs = TempDir::new().unwrap();
    let clock = FakeClock::at("2026-03-01 23:00:00");
    let (subscriber, guard) = subscriber(&config(logs.path()), Arc::new(clock)).unwrap();
    with_default(subscriber, emit);
    drop(guard);
    let read = |name: &str| {
        let text = fs::read_to_string(logs.path().join("Server").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (read("access.log"), read("access.error.log"))
}

#[test]
fn an_event_is_one_line_of_json() {
    let (lines, errors) = lines_of(|| info!(target: "t", count = 3, device = %"7f", "device approved"));
    let expected = json!({
        "ts": "2026-03-02T01:00:00.000Z", "level": "INFO", "service": "access", "target": "t",
        "message": "device approved", "fields": {"count": 3, "device": "7f"},
    });
    assert_eq!(lines, [expected]);
    assert!(errors.is_empty());
}

#[test]
fn ids_of_the_enclosing_request_stand_beside_the_message() {
    let (lines, _) = lines_of(|| {
        let request = info_span!(
            "request",
            correlation_id = "c1",
            message_id = tracing::field::Empty,
            verb = "approve"
        );
        let _entered = request.enter();
        request.record("message_id", "m1");
        let _inner = info_span!("step", verb = "inner").entered();
        info!("done");
    });
    assert_eq!(lines[0]["correlation_id"], "c1");
    assert_eq!(lines[0]["message_id"], "m1");
    assert_eq!(lines[0]["fields"], json!({"verb": "inner"}));
}

#[test]
fn errors_go_to_both_files_with_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("the store did not answer")]
    struct Outer(#[source] std::io::Error);
    let outer = Outer(std::io::Error::other("disk full"));
    let (lines, errors) = lines_of(|| error!(error = &outer as &dyn std::error::Error, "append failed"));
    assert_eq!(lines[0]["fields"]["error"], "the store did not answer: disk full");
    assert_eq!(lines, errors);
}

#[test]
fn the_filter_decides_what_is_written() {
    let (lines, _) = lines_of(|| tracing::debug!("details"));
    assert!(lines.is_empty());
}

#[test]
fn text_with_line_ends_stays_one_line() {
    let (lines, _) = lines_of(|| info!("one\ntwo"));
    assert_eq!(lines[0]["message"], "one\ntwo");
}

#[test]
fn what_looks_like_a_credential_is_replaced() {
    let (lines, _) = lines_of(|| info!(code = "BRL1-ABCDEFGHIJKLMNOP", "used"));
    assert_eq!(lines[0]["fields"]["code"], "BRL1-[redacted]");
}

#[test]
fn a_bad_filter_is_named() {
    let logs = TempDir::new().unwrap();
    let config = LogConfig {
        filter: "=,=loud".to_owned(),
        ..config(logs.path())
    };
    let clock = FakeClock::at("2026-03-01 23:00:00");
    let error = subscriber(&config, Arc::new(clock)).err().unwrap();
    assert!(error.to_string().contains("=loud"), "{error}");
}
