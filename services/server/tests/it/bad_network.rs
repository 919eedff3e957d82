//! Agents behind a bad network: every job is delivered once, and what is broken without a word is noticed in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_service_kit::paths::Ports;
use borealis_test_support::{ChaosLink, Weather, eventually_within, number_of};
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE, lines};
use crate::ledger::Ledger;

/// Are the seeds that every run throws its dice from; `BOREALIS_CHAOS_SEED` names one in their place.
const SEEDS: [u64; 3] = [1, 20, 300];
/// Is how many jobs have to be acknowledged in the weather of one seed.
const JOBS: u64 = 8;
/// Is within which time an agent notices a connection that carries nothing any more.
const NOTICED: Duration = Duration::from_secs(45);

fn seeds() -> Vec<u64> {
    let named = number_of("BOREALIS_CHAOS_SEED").unwrap();
    named.map_or_else(|| SEEDS.to_vec(), |seed| vec![seed])
}

/// Starts a server whose devices are told of a link to the bus in place of the bus, and agents that go by it.
async fn fleet_behind_a_link(agents: usize) -> (Fleet, ChaosLink) {
    let mut fleet = Fleet::start(0).await;
    let paths = fleet.server.paths().clone();
    let ports = Ports::read(&paths).unwrap().unwrap();
    let port = ports.nats.rsplit_once(':').unwrap().1.parse().unwrap();
    let link = ChaosLink::to(port).await.unwrap();
    let mut told: Value = serde_json::from_slice(&std::fs::read(paths.ports_json()).unwrap()).unwrap();
    told["public"] = vec![format!("tls://localhost:{}", link.port())].into();
    let beside = paths.ports_json().with_extension("told");
    std::fs::write(&beside, told.to_string()).unwrap();
    std::fs::rename(&beside, paths.ports_json()).unwrap();
    let uses = agents.to_string();
    let code = fleet.json(&["codes", "create", "--uses", &uses, "--auto-approve", "--json"]);
    for _ in 0..agents {
        fleet.add_agent(code["code"].as_str().unwrap());
    }
    fleet.all_online().await;
    assert!(link.connections() >= agents as u64, "the agents go past the link");
    (fleet, link)
}

async fn all_online(fleet: &Fleet, wanted: usize) {
    eventually_within("every agent online", PATIENCE, async || {
        let devices = lines(&fleet.cli(&["devices", "list", "--json"]).stdout);
        let well = |device: &&Value| device["presence"] == "online" && device["status"] == "active";
        (devices.iter().filter(well).count() == wanted).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_delivers_each_job_once_and_a_dead_connection_is_noticed() {
    let (mut fleet, link) = fleet_behind_a_link(2).await;
    let devices = fleet.devices();
    let agents = std::mem::take(&mut fleet.agents);
    let fleet = Arc::new(fleet);
    let ledger = Ledger::new();
    let asking = ledger.clients(&fleet, &devices, 2, "seq 1 300; sleep 0.1");
    for seed in seeds() {
        println!("the weather of seed {seed}");
        link.set(Weather::Rough(seed));
        ledger.goes_on_by(JOBS).await;
    }
    eventually_within("everything to have happened to the link", PATIENCE, async || {
        link.deeds().all_happened().then_some(())
    })
    .await
    .unwrap();
    link.set(Weather::Calm);
    ledger.goes_on().await;
    // Those that connect anew just now would not have to notice anything.
    all_online(&fleet, agents.len()).await;

    // Nothing passes any more, and nobody is told.
    let before = link.connections();
    let began = Instant::now();
    link.freeze();
    eventually_within("the agents to connect anew", PATIENCE, async || {
        (link.connections() >= before + agents.len() as u64).then_some(())
    })
    .await
    .unwrap();
    let noticed = began.elapsed();
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
    ledger.goes_on().await;
    // No process died here: nothing may be interrupted, expired or failed.
    let summary = ledger.close(asking, &["succeeded"]).await;
    all_online(&fleet, agents.len()).await;
    println!(
        "seeds {:?}: {:?}, {} connections",
        seeds(),
        link.deeds(),
        link.connections()
    );
    println!("a dead connection was noticed after {noticed:?}; {summary}");
}
