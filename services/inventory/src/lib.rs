//! inventory: what devices are, what they told of themselves, and whether they are there.
//!
//! **Asked** by operators: `devices-list`, `devices-show`; by devices on the bus: `tell.inventory.facts`. **Follows**
//! enrollment for devices, their status and their presence, and access to know what was revoked.
//!
//! **On disk**: its event log with one stream per device, `FactsChanged` with only the sections that changed; the view
//! `facts` with the newest of each; `files/`, named by their digest, with sections that are too large for an event. In memory
//! stands each device in short, about one kilobyte.
//!
//! **How it fails.** When enrollment's newest head is older than ten seconds, everybody's presence is `stale`: nobody can
//! tell. Facts that are not signed by the device are refused, whoever delivered them.

pub mod aggregate;

pub mod stored;

pub mod views;

pub mod app;

pub mod handlers;

mod reactions;

pub mod service;

pub mod error;

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::run::{RunError, ServiceMain, run_service};

/// Runs the service until it is told to stop.
///
/// Errors: [`RunError`]; its exit code is the process's.
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Inventory, service::build), args).await
}
