//! Kills at random, of the server's children and of agents, while clients ask for jobs: what was acknowledged is there in the
//! end, and nothing ran twice.
//!
//! Each job's script appends one line to a file that all of them share, the effect counter. `just chaos` kills more often.
//! What is killed, in which order, follows from a seed that each failure names; `BOREALIS_CHAOS_SEED` gives it again. When it
//! strikes depends on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::random;
use borealis_test_support::{eventually_within, number_of};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Agent, Fleet, PATIENCE, context_of, shared};
use crate::kills::find_child;

/// Is how often something is killed unless `BOREALIS_CHAOS_KILLS` says otherwise.
const KILLS: u64 = 30;
const CLIENTS: usize = 2;

/// Is what clients were told.
#[derive(Default)]
struct Told {
    /// The job behind each line that a script writes.
    acknowledged: BTreeMap<String, String>,
    /// How many requests were refused, or got no answer.
    unanswered: u64,
}

/// Asks for one job after the other until it is to stop.
fn ask(fleet: &Fleet, devices: &[Value], effect: &str, client: usize, told: &Mutex<Told>, stops: &AtomicBool) {
    for number in 0.. {
        if stops.load(Ordering::Relaxed) {
            return;
        }
        let device = &devices[number % devices.len()];
        let (guid, context) = (device["guid"].as_str().unwrap(), context_of(device));
        let line = format!("{client}-{number}");
        let script = format!("echo {line} >> {effect}; sleep 1");
        let args = [
            "run",
            "--device",
            guid,
            "--lang",
            "sh",
            "--context",
            &context,
            "--json",
            "--",
            &script,
        ];
        let out = fleet.command(&args).stdin(Stdio::null()).output().unwrap();
        let made: Option<Value> = serde_json::from_slice(&out.stdout).ok();
        let job = made.and_then(|made| Some(made["job"].as_str()?.to_owned()));
        let mut told = told.lock().unwrap();
        match job.filter(|_| out.status.success()) {
            Some(job) => {
                told.acknowledged.insert(line, job);
            }
            None => told.unanswered += 1,
        }
    }
}

/// Kills one process and waits until another stands in its place.
async fn kill(fleet: &Fleet, agents: &mut [Agent], target: &str) {
    if let Some(index) = target.strip_prefix("agent ") {
        let agent = &mut agents[index.parse::<usize>().unwrap()];
        agent.kill();
        agent.start(None);
        return;
    }
    let pid = eventually_within("the child's process", PATIENCE, async || find_child(fleet, target))
        .await
        .unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually_within("the child to be back", PATIENCE, async || {
        find_child(fleet, target).filter(|back| *back != pid)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn kills_at_random_lose_nothing_acknowledged_and_repeat_no_effect() {
    let kills = number_of("BOREALIS_CHAOS_KILLS").unwrap().unwrap_or(KILLS);
    let seed = number_of("BOREALIS_CHAOS_SEED").unwrap();
    let seed = seed.unwrap_or_else(|| u64::from_le_bytes(random::bytes()));
    // A failure anywhere below stands behind this line.
    println!("seed {seed}: `BOREALIS_CHAOS_SEED={seed}` kills the same in the same order");
    let mut fleet = Fleet::start(2).await;
    let devices = fleet.all_online().await;
    let mut agents = std::mem::take(&mut fleet.agents);
    let fleet = Arc::new(fleet);
    let dir = TempDir::with_prefix("borealis-effect-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let (told, stops) = (Arc::new(Mutex::new(Told::default())), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (fleet, devices, effect) = (Arc::clone(&fleet), devices.clone(), effect_text.clone());
            let (told, stops) = (Arc::clone(&told), Arc::clone(&stops));
            std::thread::spawn(move || ask(&fleet, &devices, &effect, client, &told, &stops))
        })
        .collect();

    let mut targets: Vec<String> = Service::ALL.iter().map(|service| service.name().to_owned()).collect();
    targets.push("nats".to_owned());
    // Agents twice: what a device does when its program dies is the harder half.
    for index in (0..agents.len()).chain(0..agents.len()) {
        targets.push(format!("agent {index}"));
    }
    let mut killed: BTreeMap<&str, u64> = BTreeMap::new();
    let mut dice = seed | 1;
    for _ in 0..kills {
        // Source: Marsaglia, Xorshift RNGs (2003).
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let target = &targets[usize::try_from(dice % targets.len() as u64).unwrap()];
        kill(&fleet, &mut agents, target).await;
        *killed.entry(target).or_default() += 1;
        // The next one strikes while requests are answered again.
        let before = told.lock().unwrap().acknowledged.len();
        eventually_within("an answer after a kill", PATIENCE, async || {
            (told.lock().unwrap().acknowledged.len() > before).then_some(())
        })
        .await
        .unwrap();
    }
    stops.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }

    let told = std::mem::take(&mut *told.lock().unwrap());
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let mut succeeded = BTreeSet::new();
    for (line, job) in &told.acknowledged {
        let state = eventually_within("the end of an acknowledged job", PATIENCE, async || {
            let out = fleet.cli(&["jobs", "show", job, "--json"]);
            let shown: Value = serde_json::from_slice(&out.stdout).ok()?;
            let state = shown["runs"][0]["state"].as_str()?.to_owned();
            (!["queued", "delivered", "running"].contains(&state.as_str())).then_some(state)
        })
        .await
        .unwrap_or_else(|error| panic!("seed {seed}: job {job} of line {line} is lost: {error}"));
        assert!(
            ["succeeded", "interrupted"].contains(&state.as_str()),
            "seed {seed}: job {job} is {state}"
        );
        if state == "succeeded" {
            succeeded.insert(line.clone());
        }
        *states.entry(state).or_default() += 1;
    }
    let mut effects: BTreeMap<String, u64> = BTreeMap::new();
    for line in std::fs::read_to_string(&effect).unwrap().lines() {
        *effects.entry(line.to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = effects.iter().filter(|(_, times)| **times > 1).collect();
    assert!(
        twice.is_empty(),
        "seed {seed}: these effects happened more than once: {twice:?}"
    );
    let missing: Vec<_> = succeeded.iter().filter(|line| !effects.contains_key(*line)).collect();
    assert!(
        missing.is_empty(),
        "seed {seed}: these succeeded and left no effect: {missing:?}"
    );
    println!("seed {seed}: {kills} kills, {killed:?}");
    println!(
        "acknowledged {}, lost 0, unanswered {}, ends {states:?}; effects {}, more than once 0",
        told.acknowledged.len(),
        told.unanswered,
        effects.len()
    );
}
