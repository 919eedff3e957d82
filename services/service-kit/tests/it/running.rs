//! A whole process of a service: up, asked, told to stop.

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{OpenOptions, SledLog};
use borealis_service_kit::control::{self, ControlRequest};
use borealis_service_kit::follow::Place;
use borealis_service_kit::operator::OperatorCtx;
use borealis_service_kit::ready;
use borealis_service_kit::run::{Built, Deps, RunError, ServiceMain, run_service};
use borealis_service_kit::service::ServeError;
use borealis_service_kit::shutdown::DRAIN;
use borealis_test_support::{DEADLINE, eventually};
use serde_json::json;

use crate::support::{Deployment, record};

async fn build(deps: Deps) -> Result<Built, RunError> {
    let builder = deps.builder();
    Ok(builder
        .operator("session", async |ctx: OperatorCtx| {
            Ok(json!({"user": ctx.caller.username}))
        })
        .into())
}

#[tokio::test]
async fn a_service_comes_up_answers_and_stops_at_sigterm() {
    let all = Deployment::start().await;
    let paths = all.bus.paths().clone();
    let running = tokio::spawn(run_service(ServiceMain::new(Service::Access, build), all.bus.args()));
    eventually("readiness", async || ready::read(&paths, Service::Access))
        .await
        .unwrap();
    let gateway = all.connect(Service::Gateway).await;
    let answer = all.ask(&gateway, Service::Access, "session", b"").await.unwrap();
    assert_eq!(answer, r#"{"user":"ada"}"#);
    let report = control::ask(
        &paths,
        Service::Access,
        &ControlRequest::Verify { known: Vec::new() },
        |_| Ok(()),
    )
    .await;
    assert_eq!(report.unwrap()["whole"], true);

    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    running.await.unwrap().unwrap();
    assert!(ready::read(&paths, Service::Access).is_none() && !paths.control_sock(Service::Access).exists());
    SledLog::open(paths.state(Service::Access), OpenOptions::new()).unwrap();
    let log = std::fs::read_to_string(paths.server_logs().join("access.log")).unwrap();
    assert!(log.contains("SIGTERM") && !log.contains(&all.operator.token));
}

#[tokio::test]
async fn a_service_that_waits_for_its_bus_can_be_stopped() {
    let bus = borealis_test_support::TestBus::provision().unwrap();
    let running = tokio::spawn(run_service(ServiceMain::new(Service::Library, build), bus.args()));
    let log = bus.paths().server_logs().join("library.log");
    eventually("that it says what it waits for", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("waiting for the bus").then_some(())
    })
    .await
    .unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_stops_by_itself_while_its_bus_is_dead() {
    let mut all = Deployment::start().await;
    let paths = all.bus.paths().clone();
    let running = tokio::spawn(run_service(ServiceMain::new(Service::Access, build), all.bus.args()));
    eventually("readiness", async || ready::read(&paths, Service::Access))
        .await
        .unwrap();
    all.bus.kill();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(DRAIN + DEADLINE, running).await;
    ended.unwrap().unwrap().unwrap();
    SledLog::open(paths.state(Service::Access), OpenOptions::new()).unwrap();
}

#[tokio::test]
async fn a_service_whose_bus_dies_while_it_starts_can_be_stopped() {
    let all = Deployment::start().await;
    let args = all.bus.args();
    let (told, dead) = tokio::sync::oneshot::channel();
    let main = ServiceMain::new(Service::Access, move |deps: Deps| async move {
        let mut all = all;
        all.bus.kill();
        deps.bus.connected().wait_for(|stands| !stands).await.unwrap();
        told.send(all).ok().unwrap();
        build(deps).await
    });
    let running = tokio::spawn(run_service(main, args));
    let _all = dead.await.unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(DRAIN + DEADLINE, running).await;
    ended.unwrap().unwrap().unwrap();
}

async fn with_failing_task(deps: Deps) -> Result<Built, RunError> {
    let task = tokio::spawn(async { panic!("this task fails") });
    Ok(build(deps).await?.builder.at_end(task).into())
}

async fn with_failing_follower(deps: Deps) -> Result<Built, RunError> {
    deps.follow(Service::Access, Place::genesis(), |stretch| {
        assert!(stretch.events.is_empty(), "this follower fails");
        std::future::ready(Ok(()))
    })
    .await?;
    Ok(deps.builder().into())
}

#[tokio::test]
async fn a_service_ends_when_what_takes_in_followed_events_fails() {
    let all = Deployment::start().await;
    let access = all.serve(Service::Access, |builder| builder).await;
    record(&access, "operator-1", "OperatorCreated", b"x".to_vec()).await;
    let main = ServiceMain::new(Service::Library, with_failing_follower);
    let ended = tokio::time::timeout(DEADLINE, run_service(main, all.bus.args())).await;
    assert!(matches!(ended.unwrap(), Err(RunError::Serve(ServeError::TaskEnded))));
}

#[tokio::test]
async fn a_service_ends_when_a_task_that_it_needs_ends_before_it() {
    let all = Deployment::start().await;
    let paths = all.bus.paths().clone();
    let main = ServiceMain::new(Service::Access, with_failing_task);
    let ended = tokio::time::timeout(DEADLINE, run_service(main, all.bus.args())).await;
    assert!(matches!(ended.unwrap(), Err(RunError::Serve(ServeError::TaskEnded))));
    let log = std::fs::read_to_string(paths.server_logs().join("access.log")).unwrap();
    assert!(
        log.contains("ERROR") && log.contains("a task of the service failed"),
        "{log}"
    );
}
