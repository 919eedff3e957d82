//! scheduler: jobs, and the run of each job on each of its devices.
//!
//! It owns what was asked (jobs) and what became of it (runs). In: `jobs-*` and `runs-*` from operators, `tell.*.result`,
//! `tell.*.output` and `tell.*.state` from devices, enrollment's events for what devices there are. Out: orders to devices,
//! `grant-mint` and `grant-revoke` to access, `scripts-put` to library, `orders-sign` to signing, live events of jobs and runs.
//!
//! On disk, under `Server/State/scheduler/`: the event store; `files/`, the signed requests and target lists, named by
//! their digest; `output/`, what runs printed beyond the first 8 KiB of each stream, synced before it is acknowledged, packed
//! once a run is over.
//!
//! Without a fresh word from enrollment nothing is ordered and no run ends for its device's sake; before the first one
//! whatever it is asked or told is answered `stale`: half of the devices would pass for all of them.
//!
//! How it fails: a storage error ends the process, the supervisor starts it anew and [`scheduler::Scheduler::rebuild`] folds
//! the log; every run that is not over gets an appointment at once. A device that has a run answers the repeated order from
//! its journal, so a restart at any moment starts nothing twice.

pub mod job;
pub mod run;
pub mod schedule;
pub mod stored;
pub mod waves;

pub mod agenda;
pub mod aim;
pub mod book;
pub mod commit;
pub mod devices;
pub mod files;
pub mod fold;
pub mod newest;
pub mod orders;
pub mod output;
pub mod packing;
pub mod schedules;
pub mod steps;
pub mod targets;

pub mod scheduler;

pub mod delivery;
pub mod handlers;
pub mod reader;
pub mod rollout;

use std::sync::Arc;

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::args::ServiceArgs;
use borealis_service_kit::follow::{Place, Stretch};
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};
use borealis_service_kit::service::ServiceBuilder;

use crate::agenda::Agenda;
use crate::book::Book;
use crate::devices::{Changed, Devices};
use crate::files::Files;
use crate::output::OutputFiles;
use crate::rollout::Rollouts;
use crate::scheduler::Scheduler;
use crate::schedules::Schedules;

/// Runs the service's process until it is told to stop.
///
/// Errors: [`RunError`].
pub async fn run(args: ServiceArgs) -> Result<(), RunError> {
    run_service(ServiceMain::new(Service::Scheduler, build), args).await
}

/// Builds the scheduler on a bus and a store that are there already; [`run`] is this in a process of its own.
///
/// Errors: [`RunError`].
pub async fn build(deps: Deps) -> Result<Built, RunError> {
    let state = deps.base.paths.state(Service::Scheduler);
    let builder = deps.builder();
    let (to_pack, over) = tokio::sync::mpsc::unbounded_channel();
    let scheduler = Arc::new(Scheduler {
        recorder: builder.recorder(),
        log: Arc::clone(&deps.log),
        bus: deps.bus.clone(),
        clock: Arc::clone(&deps.base.clock),
        book: Book::default(),
        devices: Arc::new(Devices::default()),
        enrollment: std::sync::OnceLock::new(),
        files: Files::open(&state.join("files"))?,
        output: OutputFiles::open(&state.join("output")).map_err(RunError::service)?,
        to_pack,
        agenda: parking_lot::Mutex::new(Agenda::new()),
        entering: tokio::sync::Mutex::new(()),
        wake: tokio::sync::Notify::new(),
        rollouts: Rollouts::default(),
        schedules: Schedules::default(),
        authoriser: Arc::clone(&deps.authoriser),
        revoked: Arc::clone(&deps.revoked),
        shutdown: deps.base.shutdown.clone(),
    });
    let position = scheduler.rebuild().await.map_err(RunError::service)?;
    tracing::info!(position, open_runs = scheduler.agenda.lock().len(), "the log is folded");
    let follower = Arc::clone(&scheduler);
    let enrollment = deps
        .follow(Service::Enrollment, Place::genesis(), move |stretch| {
            let outcome = take_in(&follower, &stretch);
            async move { outcome }
        })
        .await?
        .freshness();
    scheduler.enrollment.get_or_init(|| enrollment.clone());
    let reading = tokio::spawn(Arc::clone(&scheduler).read_log(position));
    let delivering = tokio::spawn(Arc::clone(&scheduler).deliver());
    let firing = tokio::spawn(Arc::clone(&scheduler).fire());
    let retiring = tokio::spawn(Arc::clone(&scheduler).retire());
    let packing = tokio::spawn(Arc::clone(&scheduler).pack(over));
    let rolling = tokio::spawn(Arc::clone(&scheduler).roll_out());
    // Before it knows the devices it would call them unknown.
    let builder = register(builder, &scheduler).ready_when(enrollment);
    let builder = builder.at_end(reading).at_end(delivering).at_end(rolling);
    Ok(builder.at_end(firing).at_end(retiring).at_end(packing).into())
}

/// Takes in what enrollment says of devices, and brings forward what waits for those that came.
fn take_in(scheduler: &Scheduler, stretch: &Stretch) -> Result<(), String> {
    for event in &stretch.events {
        let Some(body) = &event.body else { continue };
        let changed = scheduler
            .devices
            .apply(&event.kind, body)
            .map_err(|error| error.to_string())?;
        if let Changed::Online(guid) | Changed::Replaced(guid) | Changed::Held(guid) | Changed::ShutOut(guid) = changed
        {
            scheduler.hasten(scheduler.book.open_runs_of(&guid));
        }
    }
    Ok(())
}

macro_rules! on {
    ($me:expr, $method:ident) => {{
        let me = Arc::clone($me);
        move |ctx| Arc::clone(&me).$method(ctx)
    }};
}

fn register(builder: ServiceBuilder, me: &Arc<Scheduler>) -> ServiceBuilder {
    builder
        .operator("jobs-create", on!(me, jobs_create))
        .operator("jobs-preview", on!(me, jobs_preview))
        .operator("jobs-list", on!(me, jobs_list))
        .operator("jobs-show", on!(me, jobs_show))
        .operator("jobs-runs", on!(me, jobs_runs))
        .operator("jobs-output", on!(me, jobs_output))
        .operator("jobs-outputs", on!(me, jobs_outputs))
        .operator("jobs-cancel", on!(me, jobs_cancel))
        .operator("jobs-continue", on!(me, jobs_continue))
        .operator("jobs-request", on!(me, jobs_request))
        .operator("jobs-approve", on!(me, jobs_approve))
        .operator("runs-show", on!(me, runs_show))
        .operator("runs-output", on!(me, runs_output))
        .operator("schedules-preview", on!(me, schedules_preview))
        .operator("schedules-create", on!(me, schedules_create))
        .operator("schedules-list", on!(me, schedules_list))
        .operator("schedules-show", on!(me, schedules_show))
        .operator("schedules-request", on!(me, schedules_request))
        .operator("schedules-history", on!(me, schedules_history))
        .operator("schedules-run", on!(me, schedules_run))
        .operator("schedules-pause", on!(me, schedules_pause))
        .operator("schedules-resume", on!(me, schedules_resume))
        .operator("schedules-skip", on!(me, schedules_skip))
        .operator("schedules-archive", on!(me, schedules_archive))
        .tell("*", "result", on!(me, tell_result))
        .tell("*", "output", on!(me, tell_output))
        .tell("*", "state", on!(me, tell_state))
}
