//! Jobs in waves with the real server and real agents: what waits says why, and nothing begins after the brake.

use std::path::Path;

use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, said, shared};

fn submit(fleet: &Fleet, script: &str, more: &[&str]) -> String {
    let context = context_of(&fleet.devices()[0]);
    let fixed = ["run", "--all", "--context", &context, "--json"];
    let made = fleet.json(&[&fixed, more, &["--", script]].concat());
    made["job"].as_str().unwrap().to_owned()
}

fn show(fleet: &Fleet, job: &str) -> Value {
    fleet.json(&["jobs", "show", job, "--json"])
}

/// Waits until a job looks as it should, and returns it.
async fn until(fleet: &Fleet, job: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let shown = eventually_within(what, PATIENCE, async || Some(show(fleet, job)).filter(&holds)).await;
    shown.unwrap_or_else(|error| panic!("{error}: {}", show(fleet, job)))
}

fn lines_of(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Lists why the runs wait that wait.
fn reasons(job: &Value) -> Vec<String> {
    let runs = job["runs"].as_array().unwrap().iter();
    let waiting = runs.filter(|run| run["state"] == "queued");
    waiting
        .map(|run| run["reason"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_wave_begins_behind_the_one_before_and_says_what_it_waits_for() {
    let fleet = Fleet::start(4).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let ((began, began_text), (go, go_text)) = (shared(&dir, "began"), shared(&dir, "go"));
    let script = format!("echo in >> {began_text}; while [ ! -e {go_text} ]; do sleep 0.1; done");
    let job = submit(&fleet, &script, &["--waves", "1,50%,rest", "--pause", "8s"]);
    let shown = until(&fleet, &job, "the first wave", |job| job["counts"]["running"] == 1).await;
    assert_eq!(shown["state"], "active", "{shown}");
    let stands =
        |wave: u32, devices: u32| move |job: &Value| job["waves"]["wave"] == wave && job["waves"]["devices"] == devices;
    assert!(stands(1, 1)(&shown) && shown["waves"]["waves_total"] == 3, "{shown}");
    let mut why = reasons(&shown);
    why.sort_unstable();
    let waits = |wave: u32| format!("its wave is {wave} of 3; wave 1 is not over yet");
    assert_eq!(why, [waits(2), waits(2), waits(3)], "{shown}");
    eventually_within("what the first wave wrote", PATIENCE, async || {
        (lines_of(&began) == 1).then_some(())
    })
    .await
    .unwrap();

    std::fs::write(&go, "").unwrap();
    let shown = until(&fleet, &job, "the pause", |job| job["waves"]["state"] == "paused").await;
    assert!(
        shown["waves"]["reason"].as_str().unwrap().contains("is over; wave") && shown["waves"]["next_at"].is_string(),
        "{shown}"
    );
    let shown = until(&fleet, &job, "the end", |job| job["state"] == "done").await;
    assert_eq!(shown["counts"], serde_json::json!({ "succeeded": 4 }), "{shown}");
    assert!(stands(3, 4)(&shown), "{shown}");
    assert_eq!(lines_of(&began), 4);

    // What cannot be is said before anything is made.
    for more in [
        &["--waves", "rest,1"][..],
        &["--waves", "1", "--pause", "20m", "--expires-in", "1h"],
        &["--waves", "0"],
        &["--brake", "3"],
    ] {
        let context = context_of(&fleet.devices()[0]);
        let fixed = ["run", "--all", "--context", &context, "--json"];
        let out = fleet.cli(&[&fixed, more, &["--", "true"]].concat());
        assert_eq!(out.status.code(), Some(64), "{more:?}: {}", said(&out));
    }
}

#[tokio::test]
async fn the_brake_stops_a_job_until_an_operator_says_what_becomes_of_it() {
    let mut fleet = Fleet::start(4).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let ((ran, ran_text), (fixed, fixed_text)) = (shared(&dir, "ran"), shared(&dir, "fixed"));
    let script = format!("echo ran >> {ran_text}; [ -e {fixed_text} ] || exit 4");
    let more = ["--waves", "1,rest", "--brake", "0"];
    let (kept, ended) = (submit(&fleet, &script, &more), submit(&fleet, "exit 5", &more));
    let is_braked = |job: &Value| job["state"] == "paused" && job["waves"]["state"] == "braked";
    for job in [&kept, &ended] {
        let shown = until(&fleet, job, "the brake", is_braked).await;
        assert_eq!(
            shown["counts"],
            serde_json::json!({ "failed": 1, "queued": 3 }),
            "{shown}"
        );
        let why = "the brake stopped the job: 1 of 1 failed; an operator has to continue or to cancel it";
        assert_eq!(reasons(&shown), [why; 3], "{shown}");
    }

    // A server that starts anew finds it so, and nothing of it begins while other jobs do.
    fleet = fleet.restarted(|_| {}).await;
    let other = submit(&fleet, "true", &[]);
    until(&fleet, &other, "another job", |job| job["state"] == "done").await;
    assert!(is_braked(&show(&fleet, &kept)), "{}", show(&fleet, &kept));
    assert_eq!(lines_of(&ran), 1);

    std::fs::write(&fixed, "").unwrap();
    let goes = fleet.json(&["jobs", "continue", &kept, "--json"]);
    assert_eq!(goes["state"], "active", "{goes}");
    let shown = until(&fleet, &kept, "the end", |job| job["state"] == "done").await;
    assert_eq!(
        shown["counts"],
        serde_json::json!({ "failed": 1, "succeeded": 3 }),
        "{shown}"
    );
    assert_eq!(lines_of(&ran), 4);
    let out = fleet.cli(&["jobs", "continue", &kept, "--json"]);
    assert!(said(&out).contains("wrong_state"), "{}", said(&out));

    fleet.json(&["jobs", "cancel", &ended, "--json"]);
    let shown = until(&fleet, &ended, "the cancelled end", |job| job["state"] == "done").await;
    assert_eq!(
        shown["counts"],
        serde_json::json!({ "cancelled": 3, "failed": 1 }),
        "{shown}"
    );

    // A job that nobody continues ends in its time, and says what it waited for.
    let job = submit(
        &fleet,
        "true",
        &["--waves", "1,rest", "--pause", "continue", "--expires-in", "20s"],
    );
    let shown = until(&fleet, &job, "the job to expire", |job| job["state"] == "done").await;
    assert_eq!(
        shown["counts"],
        serde_json::json!({ "expired": 3, "succeeded": 1 }),
        "{shown}"
    );
    let runs = shown["runs"].as_array().unwrap().iter();
    let expired = runs.filter(|run| run["state"] == "expired");
    for run in expired {
        let why = run["reason"].as_str().unwrap();
        assert!(
            why.contains("wave 1 is over; wave 2 begins when an operator continues the job"),
            "{why}"
        );
    }
}
