//! `footprint`: what an idle agent and the whole server cost, without devices and with a thousand simulated ones.
//!
//! Reference: a bare nats-server with as many TLS connections. PSS shares out what processes share. Last line of stdout: one
//! JSON object.

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
#[expect(dead_code, reason = "the other bench uses more of it")]
mod simulated;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::Fleet;
use crate::machine::machine;
use crate::processes::{cpu_seconds, descendants, pss_bytes, rss_bytes};

/// Is how long something is watched to call it idle.
const WATCH: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let size: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1_000);
    eprintln!("footprint: starting the server");
    let fleet = Fleet::start(0).await;
    settle().await;
    let empty = server_pss(&fleet);
    eprintln!("footprint: the server without devices: {} MiB PSS", empty >> 20);

    let mut fleet = fleet;
    let code = fleet.json(&["codes", "create", "--auto-approve", "--json"]);
    fleet.add_agent(code["code"].as_str().unwrap());
    fleet.all_online().await;
    let pid = agent_pid();
    settle().await;
    let (before, began) = (cpu_seconds(pid), Instant::now());
    tokio::time::sleep(WATCH).await;
    let share = (cpu_seconds(pid) - before) / began.elapsed().as_secs_f64();
    let (rss, pss) = (rss_bytes(pid), pss_bytes(pid));
    eprintln!(
        "footprint: an idle agent: {} KiB RSS, {:.3} % of a core",
        rss >> 10,
        share * 100.0
    );
    fleet.agents.clear();

    eprintln!("footprint: enrolling and connecting {size} simulated devices");
    let devices = simulated::start_with(&fleet, size, &["--facts", "small"]);
    settle().await;
    let (before, began) = (server_cpu(&fleet), Instant::now());
    tokio::time::sleep(WATCH).await;
    let server_share = (server_cpu(&fleet) - before) / began.elapsed().as_secs_f64();
    let full = server_pss(&fleet);
    let nats_full = nats_pss(&fleet);
    drop(devices);

    eprintln!("footprint: the reference: a bare nats-server with {size} connections");
    let bare = borealis_test_support::TestBus::start().await.unwrap();
    let bare_pid = bare.pid().unwrap();
    let bare_empty = pss_bytes(bare_pid);
    let mut held = Vec::with_capacity(size);
    for _ in 0..size {
        let device = borealis_test_support::TestDevice::draw();
        let user = bare.connect_device(&device).await.unwrap();
        user.flush().await.unwrap();
        held.push(user);
    }
    let bare_full = pss_bytes(bare_pid);
    drop(held);

    let each = full.saturating_sub(empty) / size as u64;
    let bare_each = bare_full.saturating_sub(bare_empty) / size as u64;
    println!(
        "{}",
        json!({
            "bench": "footprint",
            "unit": "bytes of PSS per connected device",
            "ours": each,
            "reference": bare_each,
            "ratio": each as f64 / bare_each.max(1) as f64,
            "figures": {
                "devices": size,
                "agent_rss_bytes": rss,
                "agent_pss_bytes": pss,
                "agent_idle_share_of_a_core": share,
                "server_pss_bytes_without_devices": empty,
                "server_pss_bytes": full,
                "server_idle_share_of_a_core": server_share,
                "nats_pss_bytes": nats_full,
                "bare_nats_pss_bytes_without_connections": bare_empty,
                "bare_nats_pss_bytes": bare_full
            },
            "machine": machine()
        })
    );
}

/// Lets what just started come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Finds the agent, a child of this process.
fn agent_pid() -> u32 {
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let own = descendants(std::process::id());
    own.into_iter()
        .find(|pid| name(pid).starts_with("borealis-agent"))
        .unwrap()
}

fn server_pids(fleet: &Fleet) -> Vec<u32> {
    let mut pids = descendants(fleet.server.pid());
    pids.push(fleet.server.pid());
    pids
}

fn server_pss(fleet: &Fleet) -> u64 {
    server_pids(fleet).into_iter().map(pss_bytes).sum()
}

fn server_cpu(fleet: &Fleet) -> f64 {
    server_pids(fleet).into_iter().map(cpu_seconds).sum()
}

fn nats_pss(fleet: &Fleet) -> u64 {
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    server_pids(fleet)
        .into_iter()
        .filter(|pid| name(pid).starts_with("nats-server"))
        .map(pss_bytes)
        .sum()
}
