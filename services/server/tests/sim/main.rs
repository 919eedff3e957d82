//! Worlds from seeds: the scheduler's and the agent's own decisions with a simulated clock, network, disks and processes.
//!
//! Nothing of what decides is made for the test: `borealis_scheduler` brings its book, agenda, aggregates, stored events and
//! [`borealis_scheduler::steps`], `borealis_agent` its core and the rule that a journal is written before anything is done.
//! Around them a world of one thread lets processes die in the middle of a write, disks forget what was not synced, the bus
//! lose, delay, double and repeat, clocks jump, devices leave; then everything heals, and the [`laws`] must hold.
//!
//! `just sim SEED` runs one seed and prints what happens in it. A failure names seed and commit; both replay it exactly.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod dice;

mod disk;

mod device;
mod server;

mod laws;
mod world;

use std::collections::BTreeMap;

use borealis_test_support::number_of;

use laws::Broken;
use world::{Report, Sabotage, World};

/// Are the crash points that are hit at least fifty times in a thousand worlds. What they stand for says `RELIABILITY.md`.
const POINTS: [&str; 17] = [
    "CS1", "CS2", "CS4", "CS5", "CS6", "CS7", "CS8", "CS9", "CA1", "CA2", "CA3", "CA4", "CA5", "CA6", "CA7", "CA8",
    "CA9",
];

/// Is how many seeds every change is tried with.
const SEEDS: u64 = 1_000;

fn run(seed: u64, sabotage: Sabotage) -> Result<Report, Broken> {
    World::new(seed, sabotage, false).run()
}

/// Names the commit that is tested, and whether the tree differs from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        output.ok().filter(|output| output.status.success())
    };
    let Some(head) = git(&["rev-parse", "HEAD"]) else {
        return "unknown commit".to_owned();
    };
    let is_changed = git(&["status", "--porcelain"]).is_none_or(|output| !output.stdout.is_empty());
    let head = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    if is_changed { format!("{head}, changed") } else { head }
}

/// Says how to see a failure again.
fn failure(seed: u64, Broken { law, by }: &Broken) -> String {
    let commit = commit();
    format!("seed {seed}, commit {commit}: {law} is broken: {by}; `just sim {seed}` shows how")
}

#[test]
fn every_law_holds_in_a_thousand_worlds() {
    let mut sum = Report::default();
    let (mut ends, mut deaths): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    let mut broken: BTreeMap<&str, Vec<(u64, Broken)>> = BTreeMap::new();
    for seed in 0..SEEDS {
        let report = match run(seed, Sabotage::None) {
            Ok(report) => report,
            Err(found) => {
                broken.entry(found.law).or_default().push((seed, found));
                continue;
            }
        };
        sum.happenings += report.happenings;
        sum.runs += report.runs;
        sum.server_deaths += report.server_deaths;
        sum.device_deaths += report.device_deaths;
        sum.waves += report.waves;
        for (state, count) in report.ends {
            *ends.entry(state).or_default() += count;
        }
        for (point, count) in report.deaths {
            *deaths.entry(point).or_default() += count;
        }
    }
    let failures = broken.values().map(|found| {
        let (seed, first) = &found[0];
        format!("{} ({} seeds in all)", failure(*seed, first), found.len())
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!(
        "{SEEDS} worlds, {} happenings, {} runs, {} deaths of the server, {} of devices; {ends:?}",
        sum.happenings, sum.runs, sum.server_deaths, sum.device_deaths
    );
    // A world in which nothing is at stake proves nothing.
    for state in [
        "succeeded",
        "failed",
        "timed_out",
        "cancelled",
        "interrupted",
        "expired",
    ] {
        assert!(
            ends.get(state).is_some_and(|count| *count > 20),
            "{state} is too rare: {ends:?}"
        );
    }
    println!("waves: {:?}", sum.waves);
    assert!(
        sum.waves.opened > 200 && sum.waves.braked > 50,
        "waves are too rare: {:?}",
        sum.waves
    );
    println!("deaths by crash point: {deaths:?}");
    for point in POINTS {
        let times = deaths.get(point).copied().unwrap_or_default();
        assert!(times >= 50, "{point} is hit {times} times only: {deaths:?}");
    }
    assert!(
        sum.server_deaths > SEEDS && sum.device_deaths > SEEDS,
        "too little dies"
    );
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 77, 20_261_122] {
        let (first, second) = (run(seed, Sabotage::None), run(seed, Sabotage::None));
        assert_eq!(first, second, "seed {seed}");
        assert_ne!(first.unwrap().trace, run(seed + 1, Sabotage::None).unwrap().trace);
    }
}

/// Runs the seed of `just sim SEED` and prints what happens; without one there is nothing to do.
#[test]
fn one_seed_is_shown() {
    let Some(seed) = number_of("BOREALIS_SIM_SEED").unwrap() else {
        return;
    };
    match World::new(seed, Sabotage::None, true).run() {
        Ok(report) => println!("seed {seed}, commit {}: {report:?}", commit()),
        Err(broken) => panic!("{}", failure(seed, &broken)),
    }
}

/// Finds the first world in which a sabotage breaks a law; names every law that it broke on the way.
fn found(sabotage: Sabotage, law: &str) -> Result<u64, Vec<&'static str>> {
    let mut others = Vec::new();
    for seed in 0..100 {
        match run(seed, sabotage) {
            Err(broken) if broken.law == law => return Ok(seed),
            Err(broken) => others.push(broken.law),
            Ok(_) => {}
        }
    }
    Err(others)
}

#[test]
fn each_sabotage_is_found_by_its_law() {
    for (sabotage, law) in [
        (Sabotage::JournalSkipsSyncs, "an_effect_happens_once_per_attempt"),
        (Sabotage::LogSkipsSyncs, "what_was_acknowledged_is_kept"),
        (Sabotage::LogForgetsCommands, "a_command_makes_one_job"),
        (Sabotage::ShellStartsTwice, "an_effect_happens_once_per_attempt"),
        (Sabotage::ResultsNeverArrive, "every_run_ends"),
        (Sabotage::WavesBeginAtOnce, "no_run_goes_before_its_wave"),
        (Sabotage::BrakeSlips, "nothing_new_goes_after_the_brake"),
        (Sabotage::DeviceMakesUpResults, "an_end_has_a_witness"),
    ] {
        let seed = found(sabotage, law);
        assert!(seed.is_ok(), "{sabotage:?} does not break {law}: {seed:?}");
    }
}
