//! library: assemblies with their versions, and scripts by their digest.
//!
//! It owns what operators keep to run again, and the text of every script that was ever run, so that a run of last year still
//! shows what it did. In: `assemblies-*` from operators; `assemblies-get` from scheduler; `scripts-put` from scheduler with the
//! right to run, `scripts-get` from scheduler and signing. On disk, under `Server/State/library/`: the event store and `files/`,
//! the texts, the versions and their files, named by their digest and synced before the event that names them. What there is
//! stands in memory besides, folded from the log at start. A storage error ends the process; nothing is lost, for whoever
//! asked asks again.
//!
//! Nobody believes it: whoever runs an assembly signs the digest of its version, and scheduler and signer compare the bytes.

pub mod assembly;
pub mod script;
pub mod stored;

pub mod catalogue;
pub mod library;

pub mod handlers;

use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};
use borealis_service_kit::service::ServiceBuilder;

use crate::library::Library;

/// Runs the service's process until it is told to stop.
///
/// Errors: [`RunError`].
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Library, build), args).await
}

/// Builds the library on a bus and a store that are there already; [`run`] is this in a process of its own.
///
/// Errors: [`RunError`].
pub async fn build(deps: Deps) -> Result<Built, RunError> {
    let files = deps.base.paths.state(Service::Library).join("files");
    let library = Arc::new(Library::open(Arc::clone(&deps.log), &files)?);
    Ok(register(deps.builder(), &library).into())
}

macro_rules! on {
    ($me:expr, $method:ident) => {{
        let me = Arc::clone($me);
        move |ctx| Arc::clone(&me).$method(ctx)
    }};
}

fn register(builder: ServiceBuilder, me: &Arc<Library>) -> ServiceBuilder {
    let (put, get, version) = (Arc::clone(me), Arc::clone(me), Arc::clone(me));
    builder
        .operator("assemblies-list", on!(me, assemblies_list))
        .operator("assemblies-create", on!(me, assemblies_create))
        .operator("assemblies-show", on!(me, assemblies_show))
        .operator("assemblies-edit", on!(me, assemblies_edit))
        .operator("assemblies-diff", on!(me, assemblies_diff))
        .operator("assemblies-file", on!(me, assemblies_file))
        .operator("assemblies-publish", on!(me, assemblies_publish))
        .operator("assemblies-archive", on!(me, assemblies_archive))
        .internal(move |_, request| Arc::clone(&version).assemblies_get(request))
        .internal(move |ctx, request| Arc::clone(&put).put(ctx, request))
        .internal(move |_, request| Arc::clone(&get).get(request))
}
