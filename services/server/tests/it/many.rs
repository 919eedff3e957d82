//! Jobs on many devices: named by site, filter and exclusion, shown before they are made, done again where they failed.

use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, context_of, lines, said, shared};

fn run(fleet: &Fleet, targets: &[&str], more: &[&str], script: &str) -> std::process::Output {
    let devices = fleet.devices();
    let context = context_of(&devices[0]);
    let fixed = ["--context", &context, "--json"];
    fleet.cli(&[&["run"], targets, &fixed, more, &["--", script]].concat())
}

#[tokio::test]
async fn a_dry_run_names_the_devices_and_the_job_is_on_exactly_these() {
    let fleet = Fleet::start(3).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let devices = fleet.devices();
    let guids: Vec<&str> = devices.iter().map(|device| device["guid"].as_str().unwrap()).collect();
    let script = format!("echo ran >> {effect_text}");
    let targets = [
        "--filter",
        "online and os = linux and site = default",
        "--except",
        guids[0],
    ];

    let out = run(&fleet, &targets, &["--dry-run"], &script);
    assert!(out.status.success(), "{}", said(&out));
    let shown: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&shown["devices_total"], &shown["online"], &shown["unable"]),
        (&2.into(), &2.into(), &0.into())
    );
    let named: Vec<&str> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["guid"].as_str().unwrap())
        .collect();
    assert!(!named.contains(&guids[0]), "{shown}");
    // The other context is one that these agents do not have.
    let other = if context_of(&devices[0]) == "SYSTEM" {
        "CURRENTUSER"
    } else {
        "SYSTEM"
    };
    let out = fleet.cli(&[
        "run",
        "--site",
        "default",
        "--context",
        other,
        "--dry-run",
        "--",
        "true",
    ]);
    let sheet = String::from_utf8(out.stdout).unwrap();
    assert!(
        sheet.contains("cannot run it  3") && sheet.contains("the job asks for"),
        "{sheet}"
    );
    assert!(
        fleet.cli(&["jobs", "list", "--json"]).stdout.is_empty(),
        "a dry run makes no job"
    );
    assert!(!effect.exists());

    let out = run(&fleet, &targets, &["--follow"], &script);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(std::fs::read_to_string(&effect).unwrap().lines().count(), 2);
    let finals: Vec<Value> = lines(&out.stdout)
        .into_iter()
        .filter(|line| line["final"] == true)
        .collect();
    assert_eq!(finals.len(), 2);
    assert!(finals.iter().all(|line| line["guid"] != guids[0]), "{finals:?}");

    // What cannot be is said before anything is made.
    for (targets, code) in [
        (vec!["--filter", "os is linux"], 64),
        (vec!["--site", "nowhere"], 64),
        (vec!["--all", "--site", "default"], 64),
        (vec!["--except", guids[0]], 64),
    ] {
        let out = run(&fleet, &targets, &[], &script);
        assert_eq!(out.status.code(), Some(code), "{targets:?}: {}", said(&out));
    }
    assert_eq!(lines(&fleet.cli(&["jobs", "list", "--json"]).stdout).len(), 1);
}
