//! signing: the code-signing key, and the last word on what is signed. As small as it can be.
//!
//! **What it owns.** The key whose signature makes a device act. An order is signed only when its author holds a grant that
//! access minted for exactly the request that the author's session key signed, and the order does what the request asks, for
//! a device that enrollment calls active, now. A job on more devices than its author's limit takes another operator's approval
//! besides, of exactly the request and the devices. So whoever takes over the scheduler, the gateway or the bus gets no
//! signature over anything that no operator asked for.
//!
//! **Subjects.** In: `orders-sign`, asked by the scheduler; `countersigned`, asked by the gateway; `events-read`. Follows access (what was revoked) and enrollment
//! (which devices are active), hears the heads of all stores and countersigns them each minute and when it stops. Out: its signed head.
//!
//! **On disk.** `Server/State/signing/`: the event store with every signed batch. `Certificates/Server/signing/`:
//! `code_signing.ed25519`.
//!
//! **How it fails.** Without a fresh word from access or enrollment it answers `stale`, and signs nothing. What it signed is
//! durable before it is answered. A code-signing key that the root's key set does not name ends the process at start.

pub mod aggregate;
pub mod approval;
pub mod counted;
pub mod coverage;
pub mod stored;

mod devices;
mod error;
mod service;

mod countersign;
mod handlers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::order::key_id;
use borealis_bus_schema::permissions::followed_by;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::follow::{Follower, Place, watch_heads};
use borealis_service_kit::keys;
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};

pub use error::SigningError;

use countersign::Countersigner;
use devices::Devices;
use service::Signing;

/// Says that devices would refuse what the key signs.
#[derive(Debug, thiserror::Error)]
#[error("the code-signing key {key_id} is not in the key set that the root signed")]
struct UnknownKey {
    key_id: String,
}

/// Runs signing until it is told to stop.
///
/// Errors: [`RunError`]; its exit code is the process's.
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Signing, build), args).await
}

/// Builds signing on a bus and a store that are there already; [`run`] is this in a process of its own.
///
/// Errors: [`RunError`].
pub async fn build(deps: Deps) -> Result<Built, RunError> {
    let key = keys::read_signing_key(&deps.base.paths.code_signing_key())?;
    let key_id = key_id(&PublicKey::of(&key));
    let key_set = deps.base.trust.open_key_set()?;
    if key_set.key(&key_id).is_none() {
        return Err(RunError::service(UnknownKey { key_id }));
    }
    let devices = Arc::new(Devices::default());
    let enrollment = follow_enrollment(&deps, Arc::clone(&devices)).await?;
    let countersigning = tokio::spawn(countersigner(&deps).await?.run());
    let signing = Arc::new(Signing {
        log: Arc::clone(&deps.log),
        key,
        key_id,
        key_set_ends_at: key_set.expires_at,
        authoriser: Arc::clone(&deps.authoriser),
        devices,
        enrollment,
        counted: Mutex::default(),
    });
    let log = Arc::clone(&deps.log);
    let builder = deps
        .builder()
        .internal(move |ctx, ask| handlers::orders_sign::handle(Arc::clone(&signing), ctx, ask))
        .internal(move |ctx, ask| handlers::countersigned::handle(Arc::clone(&log), ctx, ask))
        .at_end(countersigning);
    Ok(builder.into())
}

async fn follow_enrollment(deps: &Deps, devices: Arc<Devices>) -> Result<Follower, RunError> {
    deps.follow(Service::Enrollment, Place::genesis(), move |stretch| {
        let outcome = devices.apply(&stretch.events).map_err(|error| error.to_string());
        std::future::ready(outcome)
    })
    .await
}

async fn countersigner(deps: &Deps) -> Result<Countersigner, RunError> {
    let mut heads = BTreeMap::new();
    for owner in followed_by(Service::Signing) {
        let clock = Arc::clone(&deps.base.clock);
        heads.insert(
            *owner,
            watch_heads(&deps.bus, *owner, deps.key_of(*owner)?, clock, &deps.base.shutdown).await?,
        );
    }
    Ok(Countersigner {
        log: Arc::clone(&deps.log),
        clock: Arc::clone(&deps.base.clock),
        key: deps.service_key.clone(),
        heads,
        shutdown: deps.base.shutdown.clone(),
    })
}
