//! Schedules with the real server and a real agent: each firing happens once, or says why it did not.

use std::collections::BTreeSet;
use std::path::Path;

use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_test_support::eventually_within;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, said, shared};
use crate::kills::find_child;
use crate::operators::{join, with_token};

/// Makes a schedule that leaves a mark at each of its times.
fn every(fleet: &Fleet, seconds: u32, effect: &str, more: &[&str]) -> String {
    let device = fleet.devices().remove(0);
    let (guid, context) = (device["guid"].as_str().unwrap(), context_of(&device));
    let (cron, script) = (format!("*/{seconds} * * * * *"), format!("echo ran >> {effect}"));
    let what = ["--device", guid, "--lang", "sh", "--context", &context, "--json"];
    let args = ["schedules", "create", "--name", "often", "--cron", &cron];
    let made = fleet.json(&[&args, more, &what, &["--", &script]].concat());
    assert_eq!(made["state"], "active", "{made}");
    made["schedule"].as_str().unwrap().to_owned()
}

fn history(fleet: &Fleet, id: &str) -> Vec<Value> {
    let out = fleet.cli(&["schedules", "history", id, "--limit", "500", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    lines(&out.stdout)
}

fn of(history: &[Value], what: &str) -> Vec<Value> {
    history.iter().filter(|line| line["what"] == what).cloned().collect()
}

fn instant(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn marks(effect: &Path) -> usize {
    std::fs::read_to_string(effect).unwrap_or_default().lines().count()
}

async fn until_ran(fleet: &Fleet, id: &str, times: usize) {
    eventually_within("the schedule to run", PATIENCE, async || {
        (of(&history(fleet, id), "ran").len() >= times).then_some(())
    })
    .await
    .unwrap();
}

async fn until(at: Timestamp) {
    eventually_within("a time to come", PATIENCE, async || {
        (SystemClock.now() >= at).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until every job of a history is over, and returns how many there are.
async fn all_over(fleet: &Fleet, history: &[Value]) -> usize {
    let jobs = history.iter().filter_map(|line| line["job"].as_str());
    let jobs: BTreeSet<&str> = jobs.collect();
    for job in &jobs {
        eventually_within("the job to be over", PATIENCE, async || {
            let shown = fleet.json(&["jobs", "show", job, "--json"]);
            (shown["state"] == "done").then(|| assert_eq!(shown["counts"]["succeeded"], 1, "{shown}"))
        })
        .await
        .unwrap();
    }
    jobs.len()
}

#[tokio::test]
async fn a_schedule_fires_is_left_out_paused_goes_on_and_runs_now() {
    let fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let id = every(&fleet, 2, &effect_text, &[]);
    until_ran(&fleet, &id, 2).await;

    let skipped = fleet.json(&["schedules", "skip-next", &id, "--json"]);
    let left_out = skipped["skips"][0].as_str().unwrap().to_owned();
    let line = eventually_within("the firing to be left out", PATIENCE, async || {
        let lines = of(&history(&fleet, &id), "not_run");
        lines.into_iter().find(|line| line["due"] == left_out)
    });
    assert_eq!(line.await.unwrap()["reason"], "skipped");

    let paused = fleet.json(&["schedules", "pause", &id, "--json"]);
    assert_eq!(
        (paused["state"].as_str(), &paused["next_at"]),
        (Some("paused"), &Value::Null)
    );
    let at = SystemClock.now();
    until(at.plus_ms(5_000)).await;
    let resumed = fleet.json(&["schedules", "resume", &id, "--json"]);
    assert_eq!(resumed["state"], "active");
    let known = history(&fleet, &id);
    let passed = of(&known, "not_run")
        .into_iter()
        .find(|line| line["reason"] == "paused");
    assert!(passed.unwrap()["count"].as_u64().unwrap() >= 2);
    let during = |line: &&Value| (at..at.plus_ms(5_000)).contains(&instant(&line["due"]));
    assert_eq!(of(&known, "ran").iter().filter(during).count(), 0, "{known:?}");

    let (before, job) = (
        of(&known, "ran").len(),
        fleet.cli(&["schedules", "run-now", &id, "--yes", "--follow", "--json"]),
    );
    assert!(job.status.success(), "{}", said(&job));
    until_ran(&fleet, &id, before + 1).await;
    let shown = fleet.json(&[
        "jobs",
        "show",
        of(&history(&fleet, &id), "ran")[0]["job"].as_str().unwrap(),
        "--json",
    ]);
    assert_eq!(shown["schedule"], id.as_str());

    let gone = fleet.json(&["schedules", "delete", &id, "--json"]);
    assert_eq!(gone["state"], "archived");
    let out = fleet.cli(&["schedules", "resume", &id, "--json"]);
    assert!(said(&out).contains("wrong_state"), "{}", said(&out));
    let known = history(&fleet, &id);
    let jobs = all_over(&fleet, &known).await;
    assert_eq!((jobs, of(&known, "ran_now").len()), (of(&known, "ran").len() + 1, 1));
    assert_eq!(marks(&effect), jobs);
}

#[tokio::test]
async fn what_a_schedule_runs_is_tried_again_as_it_asks() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let failing = format!("{effect_text}; exit 3");
    let id = every(&fleet, 5, &failing, &["--retries", "2", "--backoff", "1s"]);
    // It is read from the log.
    fleet = fleet.restarted(|_| {}).await;
    until_ran(&fleet, &id, 1).await;
    fleet.json(&["schedules", "pause", &id, "--json"]);
    let ran = of(&history(&fleet, &id), "ran");
    for line in &ran {
        let job = line["job"].as_str().unwrap();
        let run = eventually_within("the last try", PATIENCE, async || {
            let run = fleet.run_of(job);
            (run["state"] == "failed").then_some(run)
        });
        let run = run.await.unwrap();
        assert_eq!((&run["attempt"], &run["exit_code"]), (&3.into(), &3.into()), "{run}");
    }
    assert_eq!(marks(&effect), 3 * ran.len());
}

#[tokio::test]
async fn what_a_schedule_ran_and_failed_is_done_again_and_nothing_is_signed_unseen() {
    let fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let (guid, context) = (device["guid"].as_str().unwrap(), context_of(&device));
    let create = ["schedules", "create", "--name", "once", "--kind", "immediately"];
    let what = ["--device", guid, "--context", &context, "--json", "--", "exit 7"];
    let made = fleet.json(&[&create[..], &what].concat());
    let id = made["schedule"].as_str().unwrap().to_owned();
    until_ran(&fleet, &id, 1).await;
    let fired = of(&history(&fleet, &id), "ran")[0]["job"].as_str().unwrap().to_owned();

    let unseen = fleet.cli(&["schedules", "run-now", &id, "--json"]);
    assert_eq!(unseen.status.code(), Some(64), "{}", said(&unseen));
    assert_eq!(of(&history(&fleet, &id), "ran_now").len(), 0);
    let now = fleet.json(&["schedules", "run-now", &id, "--yes", "--json"]);

    // Both what was due and what an operator let run.
    for job in [fired.as_str(), now["job"].as_str().unwrap()] {
        let out = fleet.cli(&["jobs", "follow", job, "--json"]);
        assert_eq!(out.status.code(), Some(7), "{}", said(&out));
        let review = fleet.json(&["jobs", "review", job, "--json"]);
        assert_eq!(review["asks"]["script"], "exit 7", "{review}");
        let again = fleet.cli(&["jobs", "rerun", job, "--failed", "--yes", "--follow", "--json"]);
        assert_eq!(again.status.code(), Some(7), "{}", said(&again));
    }
}

#[tokio::test]
async fn a_schedule_of_a_disabled_author_is_refused_and_says_why() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let bob = join(&mut fleet, "bob", &["technician"]);
    let id = with_token(&mut fleet, &bob, |fleet| every(fleet, 2, &effect_text, &[]));
    until_ran(&fleet, &id, 1).await;
    // A log-out changes nothing.
    let out = with_token(&mut fleet, &bob, |fleet| fleet.cli(&["logout", "--json"]));
    assert!(out.status.success(), "{}", said(&out));
    let ran = of(&history(&fleet, &id), "ran").len();
    until_ran(&fleet, &id, ran + 1).await;

    fleet.json(&["users", "disable", "bob", "--reason", "left", "--json"]);
    let shown = eventually_within("the schedule to stop", PATIENCE, async || {
        let shown = fleet.json(&["schedules", "show", &id, "--json"]);
        (shown["state"] == "stopped").then_some(shown)
    });
    let shown = shown.await.unwrap();
    assert_eq!(
        (shown["code"].as_str(), &shown["next_at"]),
        (Some("token_revoked"), &Value::Null)
    );
    let known = history(&fleet, &id);
    assert_eq!(known[0]["what"], "stopped");
    let refused = of(&known, "not_run");
    assert_eq!(
        (refused.len(), refused[0]["reason"].as_str()),
        (1, Some("refused")),
        "{known:?}"
    );
    assert_eq!(refused[0]["code"], "token_revoked");
    // Whoever may lets it run in their own name all the same.
    let out = fleet.cli(&["schedules", "run-now", &id, "--yes", "--follow", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let jobs = of(&known, "ran").len();
    assert!((1..=jobs + 1).contains(&marks(&effect)));
}

#[tokio::test]
async fn a_service_killed_at_the_moment_of_firing_fires_once() {
    let fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let id = every(&fleet, 3, &effect_text, &[]);
    until_ran(&fleet, &id, 1).await;
    for round in 0..4_i64 {
        let next = instant(&fleet.json(&["schedules", "show", &id, "--json"])["next_at"]);
        let pid = find_child(&fleet, "scheduler").unwrap();
        // A little earlier or later each time: before it is decided, while it is written, after.
        until(next.plus_ms(round * 4 - 2)).await;
        kill_process(pid, Signal::KILL).unwrap();
        eventually_within("the scheduler to be back", PATIENCE, async || {
            find_child(&fleet, "scheduler").filter(|back| *back != pid)
        })
        .await
        .unwrap();
        eventually_within("the firing to be written down", PATIENCE, async || {
            let out = fleet.cli(&["schedules", "history", &id, "--limit", "500", "--json"]);
            let known = if out.status.success() {
                lines(&out.stdout)
            } else {
                Vec::new()
            };
            known.iter().any(|line| line["due"] == next.to_string()).then_some(())
        })
        .await
        .unwrap();
    }
    fleet.json(&["schedules", "delete", &id, "--json"]);
    let known = history(&fleet, &id);
    let mut due: Vec<Timestamp> = of(&known, "ran").iter().map(|line| instant(&line["due"])).collect();
    due.sort_unstable();
    assert!(of(&known, "not_run").is_empty(), "{known:?}");
    assert!(
        due.windows(2).all(|pair| pair[1].since_ms(pair[0]) == 3_000),
        "none twice and none missing: {due:?}"
    );
    assert_eq!(all_over(&fleet, &known).await, due.len());
    assert_eq!(marks(&effect), due.len(), "each had its effect once");
}

fn grants(fleet: &Fleet) -> Vec<Value> {
    let out = fleet.cli(&["grants", "list", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    lines(&out.stdout)
}

#[tokio::test]
async fn a_grant_that_is_revoked_signs_nothing_more_and_an_archived_schedule_leaves_none() {
    let mut fleet = Fleet::start(1).await;
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let ended = every(&fleet, 3, &effect_text, &[]);
    until_ran(&fleet, &ended, 1).await;
    let of_schedule = |id: &str| grants(&fleet).into_iter().find(|grant| grant["schedule"] == id);
    assert_eq!(of_schedule(&ended).unwrap()["acts"], "schedule");
    fleet.json(&["schedules", "delete", &ended, "--json"]);
    eventually_within("the grant of the archived schedule to be over", PATIENCE, async || {
        of_schedule(&ended).is_none().then_some(())
    })
    .await
    .unwrap();
    all_over(&fleet, &history(&fleet, &ended)).await;

    // One schedule loses its grant, the other goes on.
    let (first, second) = (every(&fleet, 3, &effect_text, &[]), every(&fleet, 3, &effect_text, &[]));
    until_ran(&fleet, &first, 1).await;
    let grant = of_schedule(&first).unwrap()["id"].as_str().unwrap().to_owned();
    let revoked = fleet.json(&["grants", "revoke", &grant, "--json"]);
    assert_eq!(
        (&revoked["state"], &revoked["schedule"]),
        (&"revoked".into(), &first.as_str().into())
    );
    let again = fleet.cli(&["grants", "revoke", &grant, "--json"]);
    assert!(said(&again).contains("not_found"), "{}", said(&again));
    let shown = eventually_within("the schedule to stop", PATIENCE, async || {
        let shown = fleet.json(&["schedules", "show", &first, "--json"]);
        (shown["state"] == "stopped").then_some(shown)
    });
    assert_eq!(shown.await.unwrap()["code"], "token_revoked");
    let ran = of(&history(&fleet, &second), "ran").len();
    until_ran(&fleet, &second, ran + 1).await;
    assert!(marks(&effect) > 0);

    // What waits for a device is refused once its grant is over, within seconds.
    let guid = fleet.devices()[0]["guid"].as_str().unwrap().to_owned();
    let context = context_of(&fleet.devices()[0]);
    fleet.agents[0].kill();
    let what = ["run", "--device", &guid, "--context", &context, "--json", "--", "true"];
    let job = fleet.json(&what)["job"].as_str().unwrap().to_owned();
    let known = grants(&fleet);
    let grant = known.iter().find(|grant| grant["job"] == job.as_str()).unwrap();
    fleet.json(&["grants", "revoke", grant["id"].as_str().unwrap(), "--json"]);
    fleet.agents[0].start(None);
    let run = eventually_within("the run to be refused", PATIENCE, async || {
        let run = fleet.run_of(&job);
        (run["state"] == "refused").then_some(run)
    });
    assert_eq!(run.await.unwrap()["code"], "token_revoked");
}
