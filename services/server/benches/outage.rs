//! `outage`: the runs that wait for ten thousand devices after the bus was away.
//!
//! The process of the simulated devices is stopped where it is, a job for all of them is made, the bus is killed and comes
//! back; then the devices go on, find their connections dead, come back and get what waits. Measured from the moment at which
//! they go on, on a bus that is there again, to the last acceptance recorded durably. `outage [devices]`. Reference: what is
//! aimed at, 30 s. Last line of stdout: one JSON object.

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

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::fleet::Fleet;
use crate::machine::machine;
use crate::processes::{descendants, started_as};

/// Is what is aimed at, in seconds.
const AIM_S: f64 = 30.0;
/// Is how long anything may take before the bench fails.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() {
    let size: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(10_000);
    eprintln!("outage: starting the server, enrolling and connecting {size} simulated devices");
    let fleet = Fleet::start(0).await;
    let devices = simulated::start(&fleet, size);
    let operator = simulated::Operator::new(&fleet);
    let held = pid(devices.child.id());
    kill_process(held, Signal::STOP).unwrap();
    let job = operator.ping_all().await;
    let bus = bus(&fleet).unwrap();
    kill_process(pid(bus), Signal::KILL).unwrap();
    eprintln!("outage: {size} runs wait, the bus was killed");
    let began = Instant::now();
    let back = loop {
        // Whoever asks is answered over the bus.
        let view = operator.job(&job).await;
        if view["runs_total"] == size && self::bus(&fleet).is_some_and(|back| back != bus) {
            break view;
        }
        assert!(began.elapsed() < PATIENCE, "the bus does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        back["counts"]["queued"], size,
        "runs went out before the devices could hear: {back}"
    );
    eprintln!("outage: the bus is back; the devices go on");
    kill_process(held, Signal::CONT).unwrap();
    let began = Instant::now();
    let (mut half, mut most) = (None, None);
    let took = loop {
        let view = operator.job(&job).await;
        let queued = view["counts"]["queued"].as_u64().unwrap_or(0);
        let drained = size as u64 - queued;
        if half.is_none() && drained * 2 >= size as u64 {
            half = Some(began.elapsed().as_secs_f64());
        }
        if most.is_none() && drained * 100 >= size as u64 * 95 {
            most = Some(began.elapsed().as_secs_f64());
        }
        if queued == 0 {
            break began.elapsed().as_secs_f64();
        }
        assert!(began.elapsed() < PATIENCE, "runs wait for ever: {view}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let recorded = simulated::acceptances(&fleet);
    assert_eq!(
        recorded, size,
        "the store holds {recorded} acceptances instead of {size}"
    );
    drop(devices);
    println!(
        "{}",
        json!({
            "bench": "outage",
            "unit": "s",
            "ours": took,
            "reference": AIM_S,
            "ratio": took / AIM_S,
            "figures": { "devices": size, "half_after_s": half, "95_percent_after_s": most, "all_after_s": took },
            "machine": machine()
        })
    );
}

fn pid(of: u32) -> Pid {
    Pid::from_raw(i32::try_from(of).unwrap()).unwrap()
}

fn bus(fleet: &Fleet) -> Option<u32> {
    let own = descendants(fleet.server.pid());
    own.into_iter().find(|pid| started_as(*pid).0 == "nats-server")
}
