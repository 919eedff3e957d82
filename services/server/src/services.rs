//! One service's process: it shuts itself off, then runs.

use std::{path::PathBuf, time::Duration};

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::{
    args::ServiceArgs,
    confine,
    keys::{self, KeyFileError},
    paths::Paths,
};
use serde::{Deserialize, Serialize};

use crate::{error::ServerError, process, screen};

/// Says how well a service's process is shut off from the others.
///
/// Shape: JSON in `Server/State/<service>/isolation.json`, written at each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationReport {
    /// The process.
    pub pid: u32,
    /// Whether Landlock holds.
    pub landlock: bool,
    /// Whether other processes may read its memory.
    pub dumpable: bool,
    /// What it could open although it belongs to others; nothing, when it is shut off.
    pub others_open: Vec<PathBuf>,
}

impl IsolationReport {
    /// Tells whether the service's keys are its own alone.
    pub fn isolated(&self) -> bool {
        self.landlock && !self.dumpable && self.others_open.is_empty()
    }

    /// Returns where a service's report stands.
    pub fn path(paths: &Paths, service: Service) -> PathBuf {
        paths.state(service).join("isolation.json")
    }

    /// Reads a service's report; `None` before it wrote one.
    pub fn read(paths: &Paths, service: Service) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(paths, service)).ok()?).ok()
    }
}

/// Runs a service until it is told to stop.
///
/// Errors: [`ServerError`]; its exit code is the process's.
pub fn run(service: Service, args: ServiceArgs) -> Result<(), ServerError> {
    process::end_with_parent()?;
    process::raise_open_files();
    let paths = args.paths().map_err(ServerError::io("the root"))?;
    wait_for_keys(service, &paths);
    shut_off(service, &paths)?;
    // Confined by now: every thread that the runtime starts is, too.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .map_err(ServerError::io("the runtime"))?;
    let outcome = runtime.block_on(serve(service, args));
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn serve(service: Service, args: ServiceArgs) -> Result<(), ServerError> {
    let outcome = match service {
        Service::Access => borealis_access::run(args).await,
        Service::Enrollment => borealis_enrollment::run(args).await,
        Service::Signing => borealis_signing::run(args).await,
        Service::Library => borealis_library::run(args).await,
        Service::Inventory => borealis_inventory::run(args).await,
        Service::Scheduler => borealis_scheduler::run(args).await,
        Service::Gateway => return borealis_gateway::run(args).await.map_err(ServerError::Gateway),
    };
    outcome.map_err(|source| ServerError::Service {
        service: service.name(),
        source,
    })
}

/// Waits, saying so, until someone made the keys of this root.
fn wait_for_keys(service: Service, paths: &Paths) {
    if !paths.trust_json().exists() {
        screen::line(&format!(
            "{service} waits for the keys of {}: `borealis-server init`, `nats` or `up` makes them",
            paths.root().display()
        ));
    }
    while !paths.trust_json().exists() {
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn shut_off(service: Service, paths: &Paths) -> Result<(), ServerError> {
    let folder = |error: KeyFileError| ServerError::io("the service's folders")(std::io::Error::other(error));
    // They must be there before the process gives up everything else.
    keys::private_folder(&paths.state(service)).map_err(folder)?;
    for path in [paths.nats_state(), paths.server_logs()] {
        keys::shared_folder(&path).map_err(folder)?;
    }
    let isolation = confine::confine(paths, service);
    let report = IsolationReport {
        pid: std::process::id(),
        landlock: isolation.landlock,
        dumpable: isolation.dumpable,
        others_open: confine::probe_others(paths, service),
    };
    let text = serde_json::to_vec(&report).map_err(|error| ServerError::Failed(error.to_string()))?;
    keys::write_private(&IsolationReport::path(paths, service), &text).map_err(folder)
}

fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}
