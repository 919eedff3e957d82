//! Jobs on many devices: named by site, filter and exclusion, shown before they are made, done again where they failed.

use std::path::{Path, PathBuf};

use borealis_bus_schema::subjects::Service;
use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, said, shared};

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

/// Lists the runs of a job by their states.
fn states(fleet: &Fleet, job: &str) -> Vec<String> {
    let shown = fleet.json(&["jobs", "show", job, "--json"]);
    let runs = shown["runs"].as_array().unwrap();
    runs.iter()
        .map(|run| run["state"].as_str().unwrap().to_owned())
        .collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(folder).into_iter().flatten();
    let files = folders.flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).into_iter().flatten());
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn what_many_print_alike_is_printed_once_and_what_failed_is_done_again() {
    let fleet = Fleet::start(3).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (first, first_text) = shared(&dir, "first");
    let (done, done_text) = shared(&dir, "done");
    // One of the three, whichever comes first, prints something else and fails; the long output goes to files.
    let script =
        format!("if mkdir {first_text} 2>/dev/null; then echo odd; exit 7; fi; seq 1 4000; echo done >> {done_text}");
    let out = run(&fleet, &["--all"], &["--follow"], &script);
    assert_eq!(out.status.code(), Some(7), "{}", said(&out));
    assert!(first.exists());
    let job = lines(&out.stdout)[0]["job"].as_str().unwrap().to_owned();

    let groups = lines(&fleet.cli(&["jobs", "output", &job, "--fold", "--json"]).stdout);
    let sizes: Vec<_> = groups
        .iter()
        .map(|group| (group["runs"].as_u64(), group["exit_code"].as_i64()))
        .collect();
    assert_eq!(sizes, [(Some(2), Some(0)), (Some(1), Some(7))], "{groups:?}");
    let long: String = (1..=4000).map(|n| format!("{n}\n")).collect();
    let digest = borealis_bus_schema::order::Digest::of(long.as_bytes()).to_string();
    assert_eq!(groups[0]["stdout"], digest, "the digest of what was printed");
    let folded = fleet.cli(&["jobs", "output", &job, "--fold"]);
    assert_eq!(folded.status.code(), Some(7));
    let text = String::from_utf8(folded.stdout).unwrap();
    assert!(text.starts_with("2 same: succeeded, exit code 0 ("), "{text}");
    assert!(
        text.contains("1 variant B: failed, exit code 7 (") && text.contains("  | odd\n"),
        "{text}"
    );
    assert_eq!(text.matches("  | 4000\n").count(), 1, "printed once");
    let each = || String::from_utf8(fleet.cli(&["jobs", "output", &job]).stdout).unwrap();
    assert_eq!(each().matches(": 4000\n").count(), 2, "each by its name");

    // What is over is kept once, packed, and reads the same.
    let folder = fleet.server.paths().state(Service::Scheduler).join("output");
    let packed = eventually_within("both outputs packed", PATIENCE, async || {
        let files = files_below(&folder);
        let leads = files.iter().filter_map(|file| std::fs::read_link(file).ok());
        let leads: Vec<_> = leads.collect();
        (leads.len() == 2).then_some(leads)
    })
    .await
    .unwrap();
    assert!(packed.iter().all(|lead| lead.ends_with(&digest)), "{packed:?}");
    let kept = std::fs::metadata(folder.join("packed").join(&digest[..2]).join(&digest)).unwrap();
    assert!(kept.len() < long.len() as u64 / 2, "{} bytes", kept.len());
    assert_eq!(each().matches(": 4000\n").count(), 2, "each by its name");
    let again = lines(&fleet.cli(&["jobs", "output", &job, "--fold", "--json"]).stdout);
    assert_eq!(again, groups);
    let find = |text: &str| lines(&fleet.cli(&["jobs", "output", &job, "--find", text, "--json"]).stdout);
    let found = find("399");
    assert_eq!(
        (found.len(), &found[0]["runs"], &found[0]["found"]),
        (1, &2.into(), &"399".into())
    );
    assert_eq!(find("od")[0]["found"], "odd");
    assert!(find("nobody prints this").is_empty());

    let again = |more: &[&str]| fleet.json(&[&["jobs", "rerun", &job, "--failed", "--yes", "--json"], more].concat());
    let made = again(&[]);
    assert_eq!(made["runs_total"], 1, "{made}");
    let rerun = made["job"].as_str().unwrap().to_owned();
    assert_eq!(again(&[])["job"], rerun.as_str(), "asking twice makes one job");
    let out = fleet.cli(&["jobs", "follow", &rerun, "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(states(&fleet, &rerun), ["succeeded"]);
    assert_eq!(
        std::fs::read_to_string(&done).unwrap().lines().count(),
        3,
        "once on each device"
    );
    let another = again(&["--again"]);
    assert_ne!(another["job"], rerun.as_str(), "unless it is wanted");
    let nothing = fleet.cli(&["jobs", "rerun", &rerun, "--failed", "--yes", "--json"]);
    assert_eq!(nothing.status.code(), Some(64), "{}", said(&nothing));

    // Its request is shown to nobody else, so nobody else does it again.
    let shown = fleet.json(&["jobs", "show", &job, "--json"]);
    assert_eq!(shown["counts"]["failed"], 1, "the first job is what it was: {shown}");
}

#[tokio::test]
async fn a_script_that_fails_is_tried_again_as_often_as_its_job_asks() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (tries, tries_text) = shared(&dir, "tries");
    let count = || std::fs::read_to_string(&tries).unwrap_or_default().lines().count();
    let script = format!("echo try >> {tries_text}; echo said; [ $(wc -l < {tries_text}) -ge 3 ] || exit 5");

    let (code, last) = fleet.run(&script, &["--retries", "3", "--backoff", "1s"]);
    assert_eq!(
        (code, last["state"].as_str(), count()),
        (0, Some("succeeded"), 3),
        "{last}"
    );
    assert_eq!(last["stdout"], "said\nsaid\nsaid\n", "what all tries printed");
    let run = fleet.run_of(last["job"].as_str().unwrap());
    assert_eq!(run["attempt"], 3, "{run}");

    // No oftener than it asks; the last end is the run's.
    std::fs::remove_file(&tries).unwrap();
    let (code, last) = fleet.run(&script, &["--retries", "1", "--backoff", "1s"]);
    assert_eq!(
        (code, last["state"].as_str(), count()),
        (5, Some("failed"), 2),
        "{last}"
    );
    let (code, _) = fleet.run(&script.replace("-ge 3", "-ge 9"), &[]);
    assert_eq!((code, count()), (5, 3), "a job that asks for none");

    // Between two tries the server starts anew; the run waits, says why, and goes on once, or is cancelled.
    std::fs::remove_file(&tries).unwrap();
    let device = fleet.devices().remove(0);
    let more = ["--retries", "5", "--backoff", "4s"];
    let (kept, ended) = (
        fleet.submit(&device, &script, &more),
        fleet.submit(&device, "exit 9", &["--retries", "5", "--backoff", "1h"]),
    );
    let waits = |fleet: &Fleet, job: &str| {
        let run = fleet.run_of(job);
        (run["state"] == "queued" && run["attempt"] == 2).then_some(run)
    };
    for job in [&kept, &ended] {
        let run = eventually_within("another try that waits", PATIENCE, async || waits(&fleet, job))
            .await
            .unwrap();
        assert!(
            run["reason"]
                .as_str()
                .unwrap()
                .contains("attempt 1 failed with exit code"),
            "{run}"
        );
    }
    fleet = fleet.restarted(|_| {}).await;
    fleet.json(&["jobs", "cancel", &ended, "--json"]);
    let over = |fleet: &Fleet, job: &str| {
        let run = fleet.run_of(job);
        (!["queued", "delivered", "running"].contains(&run["state"].as_str().unwrap())).then_some(run)
    };
    let run = eventually_within("the cancelled run", PATIENCE, async || over(&fleet, &ended))
        .await
        .unwrap();
    assert_eq!(
        (&run["state"], &run["attempt"]),
        (&"cancelled".into(), &2.into()),
        "{run}"
    );
    let run = eventually_within("the last try", PATIENCE, async || over(&fleet, &kept))
        .await
        .unwrap();
    assert_eq!(
        (&run["state"], &run["attempt"]),
        (&"succeeded".into(), &3.into()),
        "{run}"
    );
    assert_eq!(count(), 3, "each try once");
}
