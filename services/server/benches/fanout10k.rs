//! `fanout10k`: one job on ten thousand devices, each of which prints a kibibyte.
//!
//! From the `POST` that makes the job to the last result recorded durably: how soon it was answered, runs in a second,
//! processor time and memory of each process of the server before, right after and half a minute later. The devices are
//! simulated ones in one process that run the script for good, so most of the time on the same processors is theirs.
//! `fanout10k [devices]`. Reference of the ratio: the time until the submission was answered beside what is aimed at, 200 ms.
//! Last line of stdout: one JSON object.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking"
)]

#[path = "../tests/it/fleet.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod fleet;
#[expect(dead_code, reason = "the other benches use more of it")]
mod machine;
#[expect(dead_code, reason = "the other benches use more of it")]
mod processes;
#[expect(dead_code, reason = "the other benches use more of it")]
mod simulated;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::machine::machine;
use crate::processes::{cpu_seconds, descendants, pss_bytes, started_as};

/// Prints 1,024 bytes and starts nothing.
const SCRIPT: &str = "printf '%01024d' 0";
/// Is how long the server is left alone before its memory is read again.
const REST: Duration = Duration::from_secs(30);
/// Is what is aimed at for the answer to the submission, in milliseconds.
const AIM_MS: f64 = 200.0;
/// Is how many rounds are run; memory that grows with each of them stays.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let size: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(10_000);
    eprintln!("fanout10k: starting the server, enrolling and connecting {size} simulated devices");
    let fleet = Fleet::start(0).await;
    let devices = simulated::start_with(&fleet, size, &["--facts", "none", "--run-scripts"]);
    let operator = simulated::Operator::new(&fleet);
    tokio::time::sleep(REST).await;
    let before = memory(&fleet);
    let (mut rounds, mut answered) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (cpu, began) = (cpu(&fleet), Instant::now());
        let job = operator
            .create(&json!({ "targets": { "all": true }, "language": "sh", "script": SCRIPT }))
            .await;
        let submitted = began.elapsed().as_secs_f64() * 1_000.0;
        let took = operator.succeeded(&job, size, began).await.as_secs_f64();
        let used = crate::cpu(&fleet);
        let each: BTreeMap<String, f64> = used
            .iter()
            .map(|(name, seconds)| {
                let spent = seconds - cpu.get(name).copied().unwrap_or(0.0);
                (name.clone(), spent * 1_000.0 / size as f64)
            })
            .collect();
        let full = memory(&fleet);
        let printed = operator.outputs(&job).await;
        assert_eq!(printed["groups_total"], 1, "not all printed the same: {printed}");
        assert_eq!(printed["items"][0]["runs"], size, "an output is missing: {printed}");
        let total: f64 = each.values().sum();
        eprintln!(
            "fanout10k: round {round}: answered in {submitted:.0} ms, all over in {took:.1} s, {total:.2} ms each"
        );
        answered.push(submitted);
        rounds.push(json!({
            "answered_ms": submitted, "all_final_s": took, "runs_per_s": size as f64 / took,
            "server_cpu_ms_per_run": total, "cpu_ms_per_run": each, "pss_bytes_right_after": full,
        }));
        tokio::time::sleep(REST).await;
        if let Some(round) = rounds.last_mut() {
            round["pss_bytes_after_rest"] = json!(memory(&fleet));
        }
    }
    drop(devices);
    let worst = answered.iter().copied().fold(0.0, f64::max);
    println!(
        "{}",
        json!({
            "bench": "fanout10k",
            "unit": "ms until the submission was answered, the worst round",
            "ours": worst,
            "reference": AIM_MS,
            "ratio": worst / AIM_MS,
            "figures": { "devices": size, "bytes_each": 1_024, "pss_bytes_before": before, "rounds": rounds },
            "machine": machine()
        })
    );
}

/// Names each process of the server and reads something of it.
fn each<T>(fleet: &Fleet, read: impl Fn(u32) -> T) -> BTreeMap<String, T> {
    let mut pids = descendants(fleet.server.pid());
    pids.push(fleet.server.pid());
    let named = |pid: u32| match started_as(pid) {
        (program, word) if program == "borealis-server" => word,
        (program, _) => program,
    };
    pids.into_iter().map(|pid| (named(pid), read(pid))).collect()
}

fn cpu(fleet: &Fleet) -> BTreeMap<String, f64> {
    each(fleet, cpu_seconds)
}

fn memory(fleet: &Fleet) -> Value {
    json!(each(fleet, pss_bytes))
}
