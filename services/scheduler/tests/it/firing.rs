//! What a schedule does when the service comes back, and that it does it once.

use borealis_bus_schema::ids::{JobId, ScheduleId};
use borealis_bus_schema::messages::scheduler::{JobView, Page};
use borealis_bus_schema::messages::schedules::{ScheduleHistory, ScheduleView};
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::random;
use borealis_test_support::{DEADLINE, TestDevice, eventually_within};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::harness::{World, became, enrolled};

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
