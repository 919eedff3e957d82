//! Real processes are killed at each named crash point, while clients ask for jobs, a schedule fires and agents run.
//!
//! One world serves all points. Each kill is proved: whoever died noted the point, and a point that is never reached fails
//! the test. `just chaos` kills more often and prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_test_support::{FailPoints, ServerOptions, eventually_within, number_of};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Agent, Fleet, PATIENCE, context_of, lines, said};
use crate::kills::find_child;
use crate::ledger::Ledger;

/// Is how often a process is killed at each point unless `BOREALIS_CHAOS_POINT_KILLS` says otherwise.
const KILLS: u64 = 2;
const CLIENTS: usize = 2;

/// Are the points, each with the process that dies there, at odd and at even kills.
const POINTS: [(&str, &str, &str); 20] = [
    ("CS1", "scheduler", "scheduler"),
    ("CS2", "scheduler", "signing"),
    ("CS3", "scheduler", "signing"),
    ("CS4", "scheduler", "scheduler"),
    ("CS5", "scheduler", "scheduler"),
    ("CS6", "scheduler", "scheduler"),
    ("CS7", "scheduler", "scheduler"),
    ("CS8", "scheduler", "scheduler"),
    ("CS9", "scheduler", "scheduler"),
    ("CS10", "scheduler", "signing"),
    ("CS12", "scheduler", "scheduler"),
    ("CA1", "run", "run"),
    ("CA2", "run", "run"),
    ("CA3", "run", "run"),
    ("CA4", "run", "run"),
    ("CA5", "run", "run"),
    ("CA6", "run", "run"),
    ("CA7", "run", "run"),
    ("CA8", "run", "run"),
    ("CA9", "run", "run"),
];

/// Makes a root in which an agent runs one script at a time, so that others wait.
fn one_at_a_time() -> TempDir {
    let root = TempDir::with_prefix("borealis-agent-").unwrap();
    let settings = root.path().join("Agent/Borealis/Settings");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(settings.join("agent_settings.json"), r#"{"max_running":1}"#).unwrap();
    root
}

/// Makes a schedule whose jobs leave the name of their run.
fn often(fleet: &Fleet, device: &Value, effect: &str) -> String {
    let (guid, context) = (device["guid"].as_str().unwrap(), context_of(device));
    let script = format!("echo fired $BOREALIS_RUN >> {effect}");
    let when = ["schedules", "create", "--name", "often", "--cron", "*/2 * * * * *"];
    let what = ["--device", guid, "--lang", "sh", "--context", &context, "--json"];
    let made = fleet.json(&[&when[..], &what, &["--", &script]].concat());
    made["schedule"].as_str().unwrap().to_owned()
}

/// Waits until somebody died at the armed point, and until another process stands in its place.
async fn strike(fleet: &Fleet, agents: &mut [Agent], points: &FailPoints, point: &str, who: &str) {
    let what = format!("a process to reach {point}");
    let dead = eventually_within(&what, PATIENCE, async || points.died(point)).await;
    let dead = dead.unwrap_or_else(|error| panic!("{point} was never reached: {error}"));
    if point.starts_with("CA") {
        let agent = eventually_within("the agent to be dead", PATIENCE, async || {
            agents.iter_mut().position(|agent| !agent.lives())
        });
        let agent = agent.await.unwrap();
        agents[agent].start(None);
        return;
    }
    eventually_within("the child to be back", PATIENCE, async || {
        find_child(fleet, who).filter(|back| back.as_raw_nonzero().get().unsigned_abs() != dead)
    })
    .await
    .unwrap();
}

/// Checks that each firing made one job and that each of these happened at most once; returns how many there were.
async fn firings(fleet: &Fleet, schedule: &str, effects: &BTreeMap<String, u64>) -> usize {
    let jobs = eventually_within("the schedule's jobs to be over", PATIENCE, async || {
        let out = fleet.cli(&["jobs", "list", "--limit", "1000000", "--json"]);
        assert!(out.status.success(), "{}", said(&out));
        let jobs = lines(&out.stdout).into_iter();
        let jobs: Vec<Value> = jobs.filter(|job| job["schedule"] == schedule).collect();
        jobs.iter().all(|job| job["state"] == "done").then_some(jobs)
    });
    let jobs = jobs.await.unwrap();
    let dues: BTreeSet<&str> = jobs.iter().filter_map(|job| job["due"].as_str()).collect();
    assert_eq!(dues.len(), jobs.len(), "a firing made two jobs");
    let succeeded = jobs.iter().filter(|job| job["counts"]["succeeded"] == 1).count();
    let interrupted = jobs.iter().filter(|job| job["counts"]["interrupted"] == 1).count();
    assert_eq!(succeeded + interrupted, jobs.len(), "{jobs:?}");
    let fired = effects.keys().filter(|line| line.starts_with("fired ")).count();
    assert!(
        (succeeded..=jobs.len()).contains(&fired),
        "{succeeded} firings succeeded and {fired} left an effect"
    );
    jobs.len()
}

fn table(took: &BTreeMap<&str, Vec<Duration>>) {
    println!("point  kills  armed until back: median  longest");
    for (point, _, _) in POINTS {
        let mut times = took.get(point).cloned().unwrap_or_default();
        times.sort_unstable();
        let median = times[times.len() / 2].as_millis();
        let longest = times[times.len() - 1].as_millis();
        println!("{point:5}  {:5}  {median:21} ms  {longest:5} ms", times.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_points_lose_nothing_acknowledged_and_repeat_no_effect() {
    let kills = number_of("BOREALIS_CHAOS_POINT_KILLS").unwrap().unwrap_or(KILLS);
    let points = FailPoints::new(&["borealis-server", "borealis-agent"]).unwrap();
    let options = ServerOptions {
        env: vec![points.variable()],
        ..ServerOptions::default()
    };
    let dir = TempDir::with_prefix("borealis-").unwrap();
    let roots = vec![one_at_a_time(), one_at_a_time()];
    let mut fleet = Fleet::start_with(dir, roots, &options).await;
    let devices = fleet.all_online().await;
    let mut agents = std::mem::take(&mut fleet.agents);
    let fleet = Arc::new(fleet);
    let ledger = Ledger::new();
    let schedule = often(&fleet, &devices[0], ledger.effect());
    let asking = ledger.clients(&fleet, &devices, CLIENTS, "sleep 0.2");

    let mut took: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for kill in 0..kills {
        for (point, odd, even) in POINTS {
            if point.starts_with("CS") {
                ledger.goes_on().await;
            }
            let (began, who) = (Instant::now(), if kill % 2 == 0 { odd } else { even });
            points.arm(point, who, 1 + kill % 2).unwrap();
            strike(&fleet, &mut agents, &points, point, who).await;
            took.entry(point).or_default().push(began.elapsed());
        }
    }
    points.disarm().unwrap();
    ledger.goes_on().await;
    let summary = ledger.close(asking, &["succeeded", "interrupted"]).await;
    fleet.json(&["schedules", "delete", &schedule, "--json"]);
    let fired = firings(&fleet, &schedule, &ledger.effects()).await;
    // Only an agent's death interrupts a run, and an agent here runs one at a time.
    let deaths = kills * POINTS.iter().filter(|(point, _, _)| point.starts_with("CA")).count() as u64;
    let interrupted = summary.states.get("interrupted").copied().unwrap_or_default();
    assert!(
        interrupted <= deaths,
        "{interrupted} runs were interrupted by {deaths} deaths of agents"
    );
    let verified = verified(fleet.server.paths().root());
    table(&took);
    println!("{summary}; firings {fired}, none twice; stores verified {verified}");
}

/// Has each store checked, from its first event to its last; returns how many there are.
fn verified(root: &Path) -> usize {
    let services = ["access", "enrollment", "signing", "scheduler", "inventory", "library"];
    for service in services {
        let out = std::process::Command::new(borealis_test_support::programs::built("borealis-server").unwrap())
            .args(["store", service, "verify", "--root"])
            .arg(root)
            .output()
            .unwrap();
        assert!(out.status.success(), "{service}: {}", said(&out));
    }
    services.len()
}
