//! enrollment: installer codes, approvals, device identity, bus credentials, revocation, and who is on the bus.
//!
//! **Asked** by operators: `codes-create|list|revoke`, `approvals-list|approve|deny`,
//! `devices-quarantine|release|revoke|decommission|rotate-key`; by machines, whose body proves itself:
//! `enroll-request`, `enroll-poll`, `device-renew`, `device-rotate-key`; by devices on the bus: `tell.agent.hello`. **Asks** nobody; follows access
//! to know what was revoked, which sites there are and who may still [approve in advance](minters), and holds the only connection to the bus's own account (see [`warden`]).
//!
//! **On disk**: its event log, with the streams `code-<id>`, `approval-<id>`, `device-<guid>` and `presence-<guid>`; its keys,
//! among them `derive.secret`, made at the first start, from which refresh tokens are [computed](derive) instead of kept.
//! No secret stands in the log. Everything else is [folded](state::State) from the log into memory.
//!
//! **How it fails.** Without a bus it waits. A device whose revocation could not be given to the bus yet gets no new
//! credentials, and the push is tried again until the bus holds it. When the warden cannot go on, the process ends and is
//! started anew, since nobody else could shut a device out.

pub mod aggregate;
pub mod presence;

pub mod stored;

pub mod state;

pub mod ledger;

pub mod config;

pub mod derive;

pub mod credentials;

pub mod challenges;
pub mod findings;

pub mod throttle;

pub mod minters;

pub mod app;

pub mod views;

pub mod handlers;

pub mod warden;

mod expiry;
mod live;

pub mod service;

pub mod error;

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::run::{RunError, ServiceMain, run_service};

/// Runs the service until it is told to stop.
///
/// Errors: [`RunError`]; its exit code is the process's.
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    let build = |deps: borealis_service_kit::run::Deps| async move {
        let (builder, _) = service::build(&deps)?;
        Ok(builder.into())
    };
    run_service(ServiceMain::new(Service::Enrollment, build), args).await
}
