//! `echo`: `echo hi` in a shell on each of N devices, its output stored, against the raw bus and a shell.
//!
//! Ours: from the `POST` that makes the job to the last result recorded durably, each with its output. The devices are
//! simulated ones that run scripts for good, all in one process, journals in memory. Reference: one message to each of N
//! clients of the same nats-server over TLS, each of which starts `sh -c 'echo hi'` and answers with what it printed, in the
//! same run, in turn with ours. `echo [most]`: 1, 50, 200 and 1,000 devices, those up to `most`. Last line of stdout: one
//! JSON object; its ratio is that of 50 devices, or of the most below.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking"
)]

#[path = "../tests/it/fleet.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod fleet;
mod machine;
#[expect(dead_code, reason = "the other benches use more of it")]
mod raw;
#[expect(dead_code, reason = "the other benches use more of it")]
mod simulated;

use std::time::Instant;

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::machine::{machine, median};

const ROUNDS: usize = 7;
const SIZES: [usize; 4] = [1, 50, 200, 1_000];
/// Is the number of devices that the best peer was measured with.
const COMPARED: usize = 50;

#[tokio::main]
async fn main() {
    let most: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000);
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= most).collect();
    let largest = *sizes.last().unwrap();
    eprintln!("echo: starting the server, enrolling and connecting {largest} simulated devices");
    let fleet = Fleet::start(0).await;
    let devices = simulated::start_with(&fleet, largest, &["--facts", "none", "--run-scripts"]);
    eprintln!("echo: connecting {largest} raw clients to the same nats-server");
    let raw = raw::connect(&fleet, largest, raw::Answer::Shell).await;
    let operator = simulated::Operator::new(&fleet);
    let guids: Vec<String> = fleet
        .devices()
        .iter()
        .map(|device| device["guid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(guids.len(), largest, "the list of devices is whole");
    let mut told: Vec<Value> = Vec::new();
    for size in sizes {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let theirs = raw.round(size).await;
            let targets = json!({ "guids": guids[..size] });
            let began = Instant::now();
            let job = operator
                .create(&json!({ "targets": targets, "language": "sh", "script": "echo hi" }))
                .await;
            let took = operator.succeeded(&job, size, began).await;
            let printed = operator.outputs(&job).await;
            assert_eq!(printed["groups_total"], 1, "not all printed the same: {printed}");
            eprintln!("echo: {size} devices, round {round}: ours {took:?}, raw {theirs:?}");
            if round > 0 {
                // The first round warms both sides and is left out.
                ours.push(took.as_secs_f64() * 1_000.0);
                reference.push(theirs.as_secs_f64() * 1_000.0);
            }
        }
        let ratios: Vec<f64> = ours.iter().zip(&reference).map(|(a, b)| a / b).collect();
        told.push(json!({
            "devices": size, "ours": median(&ours), "reference": median(&reference), "ratio": median(&ratios),
            "ours_ms": ours, "reference_ms": reference,
        }));
    }
    drop(devices);
    let compared = told
        .iter()
        .rfind(|size| size["devices"].as_u64() <= Some(COMPARED as u64));
    let compared = compared.unwrap();
    println!(
        "{}",
        json!({
            "bench": "echo",
            "unit": "ms",
            "ours": compared["ours"],
            "reference": compared["reference"],
            "ratio": compared["ratio"],
            "figures": { "rounds": ROUNDS, "sizes": told },
            "machine": machine()
        })
    );
}
