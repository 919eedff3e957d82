//! `dispatch`: one signed order to each of N simulated devices from one job, against raw request/reply to as many clients.
//!
//! Ours: from the `POST` that makes the job to the last acceptance recorded durably by scheduler. Reference: one message of
//! 128 bytes to each of N clients of the same nats-server over TLS and one reply of 23 bytes from each, in the same run, in
//! turn with ours. The simulated devices are production cores with every check; only their journals are in memory, since
//! thousands of them share one disk. Last line of stdout: one JSON object.

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
#[expect(dead_code, reason = "the other bench uses more of it")]
mod raw;
#[expect(dead_code, reason = "the other benches use more of it")]
mod simulated;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::Fleet;
use crate::machine::{machine, median};

const ROUNDS: usize = 7;

#[tokio::main]
async fn main() {
    let size: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000);
    eprintln!("dispatch: starting the server");
    let fleet = Fleet::start(0).await;
    eprintln!("dispatch: enrolling and connecting {size} simulated devices");
    let devices = simulated::start(&fleet, size);
    eprintln!("dispatch: connecting {size} raw clients to the same nats-server");
    let raw = raw::connect(&fleet, size, raw::Answer::AtOnce).await;
    let operator = simulated::Operator::new(&fleet);
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let theirs = raw.round(size).await;
        let took = one_job(&operator, size).await;
        eprintln!("dispatch: round {round}: ours {took:?}, raw {theirs:?}");
        if round > 0 {
            // The first round warms both sides and is left out.
            ours.push(took.as_secs_f64() * 1_000.0);
            reference.push(theirs.as_secs_f64() * 1_000.0);
        }
    }
    let recorded = simulated::acceptances(&fleet);
    let wanted = size * (ROUNDS + 1);
    assert_eq!(
        recorded, wanted,
        "the store holds {recorded} acceptances instead of {wanted}"
    );
    let ratios: Vec<f64> = ours.iter().zip(&reference).map(|(a, b)| a / b).collect();
    drop(devices);
    println!(
        "{}",
        json!({
            "bench": "dispatch",
            "unit": "ms",
            "ours": median(&ours),
            "reference": median(&reference),
            "ratio": median(&ratios),
            "figures": {
                "devices": size,
                "rounds": ROUNDS,
                "ours_ms": ours,
                "reference_ms": reference,
                "acceptances_recorded": recorded,
                "journals": "in memory, since the simulated devices share one disk"
            },
            "machine": machine()
        })
    );
}

/// Makes one job for every device and waits until each acceptance is durable.
async fn one_job(operator: &simulated::Operator, size: usize) -> Duration {
    let began = Instant::now();
    let job = operator.ping_all().await;
    loop {
        let view = operator.job(&job).await;
        let queued = view["counts"]["queued"].as_u64().unwrap_or(0);
        let total = view["runs_total"].as_u64().unwrap_or(0);
        assert_eq!(total, size as u64, "the job has {total} runs");
        if queued == 0 {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(120), "the job hangs: {view}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
