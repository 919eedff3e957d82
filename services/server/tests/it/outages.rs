//! The bus is away: it is killed again and again, kept away, its folder is emptied, and a thousand devices come back at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_test_support::{eventually_within, number_of};
use rustix::process::{Pid, Signal, kill_process};

use crate::fleet::{Fleet, PATIENCE};
use crate::kills::find_child;
use crate::ledger::Ledger;

/// Is how often the bus is killed unless `BOREALIS_CHAOS_BUS_KILLS` says otherwise.
const KILLS: u64 = 3;
/// Is how many jobs are acknowledged between one outage and the next.
const JOBS: u64 = 6;
/// Is how long it is kept away unless `BOREALIS_CHAOS_OUTAGE_S` says otherwise, in seconds.
const OUTAGE_S: u64 = 10;
/// Is how long it may live between two kills where they were asked for: what was promised is 20 s.
const LIVES: Duration = Duration::from_secs(20);

async fn bus(fleet: &Fleet) -> Pid {
    eventually_within("the bus's process", PATIENCE, async || find_child(fleet, "nats"))
        .await
        .unwrap()
}

/// Waits until a time has passed, and does something all the while.
async fn until_over(lasts: Duration, mut meanwhile: impl FnMut()) {
    let began = Instant::now();
    eventually_within("the time to pass", lasts + PATIENCE, async || {
        meanwhile();
        (began.elapsed() >= lasts).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_of_the_bus_lose_nothing_and_repeat_nothing() {
    let mut fleet = Fleet::start(2).await;
    let devices = fleet.all_online().await;
    let agents = std::mem::take(&mut fleet.agents);
    let fleet = Arc::new(fleet);
    let ledger = Ledger::new();
    let asking = ledger.clients(&fleet, &devices, 2, "sleep 0.5");

    let asked = number_of("BOREALIS_CHAOS_BUS_KILLS").unwrap();
    let kills = asked.unwrap_or(KILLS);
    for _ in 0..kills {
        ledger.goes_on_by(JOBS).await;
        if asked.is_some() {
            until_over(LIVES, || {}).await;
        }
        let pid = bus(&fleet).await;
        kill_process(pid, Signal::KILL).unwrap();
        eventually_within("another bus", PATIENCE, async || {
            find_child(&fleet, "nats").filter(|back| *back != pid)
        })
        .await
        .unwrap();
    }
    ledger.goes_on_by(JOBS).await;
    println!("killed {kills} times: {} acknowledged so far", ledger.acknowledged());

    let outage = Duration::from_secs(number_of("BOREALIS_CHAOS_OUTAGE_S").unwrap().unwrap_or(OUTAGE_S));
    until_over(outage, || {
        if let Some(pid) = find_child(&fleet, "nats") {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    })
    .await;
    let back = Instant::now();
    ledger.goes_on().await;
    println!("away for {outage:?}, jobs again {:?} later", back.elapsed());

    ledger.goes_on_by(JOBS).await;
    let folder = fleet.server.paths().nats_state();
    let pid = bus(&fleet).await;
    empty(&folder);
    kill_process(pid, Signal::KILL).unwrap();
    let back = Instant::now();
    ledger.goes_on().await;
    println!("its folder was emptied, jobs again after {:?}", back.elapsed());

    ledger.goes_on_by(JOBS).await;
    let summary = ledger.close(asking, &["succeeded"]).await;
    println!("{summary}");
    drop(agents);
}

fn empty(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        // The bus lives, and may have been quicker.
        removed
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .unwrap();
    }
}
