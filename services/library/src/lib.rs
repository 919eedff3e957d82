//! library: scripts by their digest.
//!
//! It owns the text of every script that was ever run, so that a run of last year still shows what it did. In: `scripts-put`
//! from scheduler with the right to run, `scripts-get` from scheduler and signing. On disk, under `Server/State/library/`:
//! the event store and `files/`, the texts, named by their digest and synced before the event that names them. A storage
//! error ends the process; nothing is lost, for whoever asked asks again.

pub mod library;
pub mod script;

use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_event_store::DigestFiles;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};

use crate::library::Library;

/// Runs the service's process until it is told to stop.
///
/// Errors: [`RunError`].
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Library, build), args).await
}

async fn build(deps: Deps) -> Result<Built, RunError> {
    let files = deps.base.paths.state(Service::Library).join("files");
    let library = Arc::new(Library {
        log: Arc::clone(&deps.log),
        files: Arc::new(DigestFiles::open(files)?),
    });
    let (put, get) = (Arc::clone(&library), library);
    let builder = deps
        .builder()
        .internal(move |ctx, request| Arc::clone(&put).put(ctx, request))
        .internal(move |_, request| Arc::clone(&get).get(request));
    Ok(builder.into())
}
