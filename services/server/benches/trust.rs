//! `trust`: what the chain from an operator's right to a device's check costs.
//!
//! Enrolments with automatic approval by simulated devices on the same machine; orders signed and verified on one core; the
//! whole check of a biscuit in a service; from an operator's revocation to the end of the device's connection. Reference of
//! the ratio: one bare Ed25519 verification beside one order verified as a device does. Last line of stdout: one JSON object.

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
mod orders;
#[expect(dead_code, reason = "the other bench uses more of it")]
mod processes;
#[expect(dead_code, reason = "the other benches use more of it")]
mod simulated;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{Authoriser, BiscuitRoot, HOP_LIFE_MS, SessionClaims, Sites, attenuate, mint_session};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use serde_json::json;

use crate::fleet::{Fleet, PATIENCE};
use crate::machine::machine;
use crate::processes::{cpu_seconds, descendants};

/// Is how often a biscuit is checked.
const CHECKS: usize = 5_000;
/// Is how many devices are revoked, one after the other.
const REVOKED: usize = 100;

#[tokio::main]
async fn main() {
    let size: usize = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(2_000);
    let rates = orders::measure();
    eprintln!(
        "trust: one core signs {:.0} and verifies {:.0} orders a second",
        rates.signed, rates.verified
    );
    let check = biscuit_check();
    eprintln!("trust: a biscuit is checked in {check:.0} µs (median of {CHECKS})");

    let fleet = Fleet::start(0).await;
    let server = fleet.server.pid();
    let cpu = || descendants(server).into_iter().map(cpu_seconds).sum::<f64>();
    let before = cpu();
    eprintln!("trust: enrolling {size} simulated devices");
    let devices = simulated::start(&fleet, size);
    let cpu_ms = (cpu() - before) * 1_000.0 / as_f64(size);
    let enrolled = events(&fleet, "DeviceEnrolled");
    assert_eq!(enrolled.len(), size, "the store holds other enrolments");
    let (first, last) = (enrolled.values().min().unwrap(), enrolled.values().max().unwrap());
    let per_second = as_f64(size) * 1_000.0 / as_f64(usize::try_from((last - first).max(1)).unwrap());
    eprintln!("trust: {per_second:.0} enrolments a second, {cpu_ms:.1} ms of the server's processors each");

    let cut = revocations(&fleet, &enrolled).await;
    let cut_p99 = cut[cut.len() * 99 / 100];
    eprintln!("trust: cut off within {cut_p99} ms (p99 of {})", cut.len());
    drop(devices);
    println!(
        "{}",
        json!({
            "bench": "trust",
            "unit": "µs",
            "ours": 1e6 / rates.verified,
            "reference": 1e6 / rates.bare,
            "ratio": rates.bare / rates.verified,
            "figures": {
                "orders_signed_per_second": rates.signed,
                "orders_verified_per_second": rates.verified,
                "biscuit_check_us_median": check,
                "devices": size,
                "enrolments_per_second": per_second,
                "enrolment_server_cpu_ms": cpu_ms,
                "revocations": cut.len(),
                "cut_off_ms_median": cut[cut.len() / 2],
                "cut_off_ms_p99": cut_p99,
            },
            "machine": machine()
        })
    );
}

fn as_f64(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// Measures the whole check of a narrowed session in a service, in microseconds: the median.
fn biscuit_check() -> f64 {
    let root = BiscuitRoot::new(&random::signing_key()).unwrap();
    let clock = Arc::new(SystemClock);
    let claims = SessionClaims {
        operator: random::id(),
        username: "bench".to_owned(),
        session: random::id(),
        session_key: PublicKey::of(&random::signing_key()),
        rights: Right::ALL.into_iter().map(|right| (right, Sites::All)).collect(),
        expires_at: clock.now().plus_ms(3_600_000),
    };
    let session = mint_session(&root, &claims).unwrap();
    let need = Need::Right(Right::JobsRun);
    let narrowed = attenuate(&session, Service::Scheduler, need, clock.now(), HOP_LIFE_MS).unwrap();
    let revoked = Arc::new(RevocationSet::new());
    let authoriser = Authoriser::new(root.public().unwrap(), Service::Scheduler, revoked, clock).unwrap();
    let mut took: Vec<Duration> = (0..CHECKS)
        .map(|_| {
            let began = Instant::now();
            authoriser.authorise(Some(&narrowed), need, None).unwrap();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[CHECKS / 2].as_secs_f64() * 1e6
}

/// Reads events of a kind from enrollment's store: when each happened, by device.
fn events(fleet: &Fleet, kind: &str) -> BTreeMap<String, i64> {
    let events = fleet.stored(Service::Enrollment).into_iter();
    events
        .filter(|event| event["kind"] == kind)
        .map(|event| {
            // `device-GUID` or `presence-GUID`.
            let (_, guid) = event["stream"].as_str().unwrap().split_once('-').unwrap();
            let at = event["at_ms"].as_i64().unwrap();
            (guid.to_owned(), at)
        })
        .collect()
}

/// Revokes devices, each when the one before has gone, as an operator does who hears of a theft; returns the milliseconds
/// from the record of each to the record that it left the bus, sorted.
async fn revocations(fleet: &Fleet, enrolled: &BTreeMap<String, i64>) -> Vec<i64> {
    let guids: Vec<&String> = enrolled.keys().take(REVOKED).collect();
    for guid in &guids {
        let out = fleet.cli(&["devices", "revoke", guid, "--json"]);
        assert!(out.status.success(), "{}", fleet::said(&out));
        let gone = borealis_test_support::eventually_within("a revoked device gone", PATIENCE, async || {
            let shown = fleet.json(&["devices", "show", guid, "--json"]);
            (shown["presence"] != "online").then_some(())
        });
        gone.await.unwrap();
    }
    let (gone, revoked) = (
        events(fleet, "DeviceDisconnected"),
        events(fleet, "DeviceStatusChanged"),
    );
    let mut took: Vec<i64> = guids.iter().map(|guid| gone[*guid] - revoked[*guid]).collect();
    took.sort_unstable();
    took
}
