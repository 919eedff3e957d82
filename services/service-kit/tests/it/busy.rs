//! A machine that is busy with other things refuses no valid token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::routes::{Need, Right};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{Authoriser, BiscuitRoot, HOP_LIFE_MS, SessionClaims, Sites, attenuate, mint_session};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;

/// Returns how often something is done: a few times in every run, as often as it was promised in the long one.
fn times(few: usize, promised: usize) -> usize {
    if std::env::var_os("BOREALIS_SOAK").is_some() {
        promised
    } else {
        few
    }
}

#[test]
fn a_busy_machine_refuses_no_valid_token_soak() {
    let root = BiscuitRoot::new(&random::signing_key()).unwrap();
    let now = SystemClock.now();
    let sites = ["berlin", "oslo", "rome"].map(|name| SiteName::new(name).unwrap());
    let claims = SessionClaims {
        operator: random::id(),
        username: "ada".to_owned(),
        session: random::id(),
        session_key: PublicKey::of(&random::signing_key()),
        rights: Right::ALL
            .into_iter()
            .map(|right| (right, Sites::Some(sites.clone().into())))
            .collect(),
        expires_at: now.plus_ms(24 * 3_600_000),
    };
    let need = Need::Right(Right::JobsRun);
    let session = mint_session(&root, &claims).unwrap();
    // As long as the test runs: what is tried is the load, not the hop's end.
    let token = attenuate(&session, Service::Scheduler, need, now, HOP_LIFE_MS * 1_000).unwrap();
    let authoriser = Authoriser::new(
        root.public().unwrap(),
        Service::Scheduler,
        Arc::new(RevocationSet::new()),
        Arc::new(SystemClock),
    )
    .unwrap();
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let checks = times(2_000, 100_000);
    let over = AtomicBool::new(false);
    let refused: usize = thread::scope(|scope| {
        // Eight threads a core that never rest, and as many who ask as there are cores.
        for _ in 0..cores * 8 {
            scope.spawn(|| {
                let mut turns = 0u64;
                while !over.load(Ordering::Relaxed) {
                    turns = std::hint::black_box(turns.wrapping_mul(31).wrapping_add(1));
                }
            });
        }
        let askers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    (0..checks / cores)
                        .filter(|_| authoriser.authorise(Some(&token), need, None).is_err())
                        .count()
                })
            })
            .collect();
        let refused = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        over.store(true, Ordering::Relaxed);
        refused
    });
    assert_eq!(refused, 0, "of {checks} checks");
}
