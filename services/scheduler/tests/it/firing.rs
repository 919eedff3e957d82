//! What a schedule does when the service comes back, and that it does it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::{JobId, RunId, ScheduleId};
use borealis_bus_schema::messages::device::{ResultKept, TellResult};
use borealis_bus_schema::messages::scheduler::{JobView, Page};
use borealis_bus_schema::messages::schedules::{ScheduleHistory, ScheduleView};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::{Append, AppendError, BoxFuture, EventLog};
use borealis_service_kit::random;
use borealis_service_kit::run::Deps;
use borealis_test_support::{DEADLINE, LogHooks, TestDevice, TestService, eventually_within, hooked};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::harness::{World, became, connected, enrolled, result};

const HOUR: i64 = 3_600_000;

async fn read<T: DeserializeOwned>(world: &World, verb: &str, id: &str) -> T {
    let call = world.call(verb, id, b"", random::id());
    serde_json::from_str(&world.ask(verb, &call).await.unwrap()).unwrap()
}

async fn history(world: &World, id: ScheduleId) -> Vec<ScheduleHistory> {
    let page: Page<ScheduleHistory> = read(world, "schedules-history", &id.to_string()).await;
    page.items
}

/// Waits until a schedule's history has some lines of a kind, and returns it.
async fn until(world: &World, id: ScheduleId, what: &str, count: usize) -> Vec<ScheduleHistory> {
    eventually_within("the history", DEADLINE, async || {
        let lines = history(world, id).await;
        (lines.iter().filter(|line| line.what == what).count() >= count).then_some(lines)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_service_that_was_away_does_what_each_policy_says_once_and_never_again() {
    let world = World::start().await;
    let (device, gone) = (TestDevice::draw(), TestDevice::draw());
    let known = vec![
        enrolled(&device),
        enrolled(&gone),
        became(gone.guid, DeviceStatus::Revoked),
    ];
    world
        .seed(Service::Enrollment, vec![("device-1".to_owned(), known)])
        .await;
    // The last of twelve was due between five and ten minutes ago, whatever the time is: nothing is on time.
    let cron = |policy: &str| {
        let mut timing = json!({"kind": "every_10_minutes", "misfire": policy});
        timing["misfire_most"] = json!(3);
        timing
    };
    let away = 2 * HOUR - HOUR / 12;
    let skip = world.seed_schedule(&[device.guid], cron("skip"), away).await;
    let once = world.seed_schedule(&[device.guid], cron("once"), away).await;
    let all = world.seed_schedule(&[device.guid], cron("all"), away).await;
    let nobody = world.seed_schedule(&[gone.guid], cron("once"), away).await;
    let (mut scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());

    let count = |lines: &[ScheduleHistory], reason: &str| -> u64 {
        let those = lines.iter().filter(|line| line.reason.as_deref() == Some(reason));
        those.map(|line| line.count).sum()
    };
    let ran = |lines: &[ScheduleHistory]| lines.iter().filter(|line| line.what == "ran").count();
    let lines = until(&world, skip, "not_run", 1).await;
    assert_eq!((ran(&lines), count(&lines, "missed")), (0, 12), "{lines:?}");
    let lines = until(&world, once, "ran", 1).await;
    assert_eq!((ran(&lines), count(&lines, "missed")), (1, 11), "{lines:?}");
    let lines = until(&world, all, "ran", 3).await;
    assert_eq!((ran(&lines), count(&lines, "missed")), (3, 9), "{lines:?}");
    let lines = until(&world, nobody, "not_run", 2).await;
    assert_eq!((ran(&lines), count(&lines, "no_targets")), (0, 1), "{lines:?}");

    // Each job is the one that its schedule and its time name.
    for line in history(&world, all).await.iter().filter(|line| line.what == "ran") {
        let job = line.job.unwrap();
        assert_eq!(job, JobId::of_firing(&all, line.due.unwrap()));
        let view: JobView = read(&world, "jobs-show", &job.to_string()).await;
        assert_eq!((view.schedule, view.due, view.runs_total), (Some(all), line.due, 1));
    }
    let before: Vec<ScheduleView> = [
        read(&world, "schedules-show", &once.to_string()).await,
        read(&world, "schedules-show", &all.to_string()).await,
    ]
    .into();
    scheduler.stop().await.unwrap();
    scheduler = world.scheduler().await;
    for view in before {
        let again: ScheduleView = read(&world, "schedules-show", &view.schedule.to_string()).await;
        assert_eq!(again, view, "a restart changes nothing");
    }
    let page: Page<JobView> = read(&world, "jobs-list", "").await;
    assert_eq!(page.items.len(), 4);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

fn not_run<'a>(lines: &'a [ScheduleHistory], reason: &str) -> Option<&'a ScheduleHistory> {
    lines.iter().find(|line| line.reason.as_deref() == Some(reason))
}

#[tokio::test]
async fn a_run_holds_the_next_firing_while_its_device_is_there_and_one_that_is_away_holds_only_itself() {
    let world = World::start().await;
    let (here, away) = (TestDevice::draw(), TestDevice::draw());
    let known = vec![enrolled(&here), enrolled(&away), connected(&here)];
    world
        .seed(Service::Enrollment, vec![("device-1".to_owned(), known)])
        .await;
    let timing = json!({"cron": "* * * * * *", "concurrency": "forbid"});
    let id = world.seed_schedule(&[here.guid, away.guid], timing, 1_000).await;
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());
    let lines = until(&world, id, "ran", 1).await;
    let first = lines.iter().find(|line| line.what == "ran").unwrap();
    assert_eq!(first.devices, Some(2), "{lines:?}");
    let lines = until(&world, id, "not_run", 2).await;
    assert!(not_run(&lines, "still_running").is_some(), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.what == "ran").count(), 1, "{lines:?}");

    let user = world.bus.connect_device(&here).await.unwrap();
    let done = result(&here, RunId::of_job(&first.job.unwrap(), &here.guid));
    let told = TellResult {
        result: Signed::seal(&here.key, Form::Result, &done).unwrap(),
    };
    let subject = format!("borealis.v1.device.{}.tell.agent.result", here.guid);
    let answer = user.request(&subject, &codec::encode(&told).unwrap(), DEADLINE).await;
    reply::decode::<ResultKept>(&answer.unwrap()).unwrap();
    let lines = until(&world, id, "ran", 2).await;
    let second = lines.iter().find(|line| line.what == "ran").unwrap();
    assert_eq!(second.devices, Some(1), "the run that waits is enough: {lines:?}");
    let view: JobView = read(&world, "jobs-show", &first.job.unwrap().to_string()).await;
    assert_eq!((view.state.as_str(), view.cancelled), ("active", false));
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

#[tokio::test]
async fn a_schedule_that_replaces_waits_for_what_an_operator_let_run_and_does_not_cancel_it() {
    let world = World::start().await;
    let device = TestDevice::draw();
    let known = vec![enrolled(&device), connected(&device)];
    world
        .seed(Service::Enrollment, vec![("device-1".to_owned(), known)])
        .await;
    let timing = json!({"cron": "* * * * * *", "concurrency": "replace"});
    let id = world.seed_schedule(&[device.guid], timing, 1_000).await;
    let by_hand = world.seed_job_of(&[device.guid], Some(id)).await;
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());
    let lines = until(&world, id, "not_run", 2).await;
    assert!(not_run(&lines, "still_running").is_some(), "{lines:?}");
    assert!(lines.iter().all(|line| line.what != "ran"), "{lines:?}");
    let view: JobView = read(&world, "jobs-show", &by_hand.to_string()).await;
    assert!(!view.cancelled);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

/// Is a log that makes the first firing durable and does not say so.
struct Unanswered {
    log: Arc<dyn EventLog>,
    done: AtomicBool,
}

impl LogHooks for Unanswered {
    fn before_append<'a>(&'a self, append: &'a Append) -> BoxFuture<'a, Result<(), AppendError>> {
        Box::pin(async move {
            let makes_job = append.writes.len() > 1 && append.writes[0].stream.as_str().starts_with("schedule-");
            if !makes_job || self.done.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            self.log.append(append.clone()).await?;
            Err(AppendError::Closed)
        })
    }
}

#[tokio::test]
async fn a_job_whose_firing_became_durable_without_an_answer_is_there() {
    let world = World::start().await;
    let device = TestDevice::draw();
    let known = vec![enrolled(&device), connected(&device)];
    world
        .seed(Service::Enrollment, vec![("device-1".to_owned(), known)])
        .await;
    let timing = json!({"kind": "once"});
    let id = world.seed_schedule(&[device.guid], timing, 1_000).await;
    let enrollment = world.enrollment().await;
    let build = async |deps: Deps| {
        let unanswered = Unanswered {
            log: Arc::clone(&deps.log),
            done: AtomicBool::new(false),
        };
        let log = hooked(Arc::clone(&deps.log), Arc::new(unanswered));
        borealis_scheduler::build(Deps { log, ..deps }).await
    };
    let scheduler = TestService::start(&world.bus, Service::Scheduler, build).await.unwrap();
    let job = until(&world, id, "ran", 1).await[0].job.unwrap();
    let view: JobView = read(&world, "jobs-show", &job.to_string()).await;
    assert_eq!((view.schedule, view.runs_total), (Some(id), 1));
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

#[tokio::test]
async fn a_schedule_that_cannot_be_planned_any_more_says_so_and_holds_up_no_other() {
    let world = World::start().await;
    let device = TestDevice::draw();
    let known = ("device-1".to_owned(), vec![enrolled(&device)]);
    world.seed(Service::Enrollment, vec![known]).await;
    let gone = json!({"cron": "* * * * * *", "zone": "Mars/Base"});
    let gone = world.seed_schedule(&[device.guid], gone, 1_000).await;
    let fine = world
        .seed_schedule(&[device.guid], json!({"kind": "once"}), 1_000)
        .await;
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());
    until(&world, fine, "ran", 1).await;
    let view: ScheduleView = read(&world, "schedules-show", &gone.to_string()).await;
    assert_eq!((view.state.as_str(), view.code), ("stopped", Some(Code::ZoneUnknown)));
    assert_eq!(
        (view.follows.as_str(), view.zone.as_str()),
        ("cron:* * * * * *", "Mars/Base")
    );
    assert_eq!(view.next_at, None);
    let call = world.call("schedules-resume", &gone.to_string(), b"{}", random::id());
    let refused = world.ask("schedules-resume", &call).await.unwrap_err();
    assert_eq!(refused.code, Code::WrongState);
    assert!(refused.message.contains("Mars/Base"), "{}", refused.message);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

#[tokio::test]
async fn a_page_of_schedules_fits_a_message_however_many_devices_they_name() {
    let world = World::start().await;
    let guids: Vec<_> = (0..512).map(|_| TestDevice::draw().guid).collect();
    let mut all = Vec::new();
    for _ in 0..60 {
        all.push(world.seed_schedule(&guids, json!({"cron": "@yearly"}), 1_000).await);
    }
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let mut call = world.call("schedules-list", "", b"", random::id());
        call.path = format!("{}?limit=500{cursor}", call.path_only());
        let text = world.ask("schedules-list", &call).await.unwrap();
        assert!(text.len() < 600_000, "{} bytes", text.len());
        let page: Page<ScheduleView> = serde_json::from_str(&text).unwrap();
        seen.extend(page.items.into_iter().map(|view| view.schedule));
        pages += 1;
        let Some(next) = page.next_cursor else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(pages > 1);
    seen.sort_unstable();
    all.sort_unstable();
    assert_eq!(seen, all, "each once");
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
