//! What a scheduler does that knows only a part of enrollment's log, as at each start.

use borealis_bus_schema::codec;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::device::{ResultKept, TellResult};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::messages::shared_events::DeviceStatus;
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::Service;
use borealis_event_store::NewEvent;
use borealis_service_kit::random;
use borealis_test_support::{DEADLINE, TestDevice, eventually};

use crate::harness::{World, became, ends, enrolled, result, stream_of};

#[tokio::test]
async fn history_ends_no_run_that_waits() {
    let world = World::start().await;
    let (back, out) = (TestDevice::draw(), TestDevice::draw());
    let noise = NewEvent {
        kind: "CodeMinted".into(),
        body: Vec::new(),
    };
    let events = vec![enrolled(&back), became(back.guid, DeviceStatus::Revoked)];
    let later = vec![
        became(back.guid, DeviceStatus::Active),
        enrolled(&out),
        became(out.guid, DeviceStatus::Revoked),
    ];
    // Enough for some pages between what a follower is handed first and last.
    let between = (0..4).map(|_| ("noise-1".to_owned(), vec![noise.clone(); 500]));
    let commits = [("device-1".to_owned(), events)].into_iter().chain(between);
    let commits = commits.chain([("device-1".to_owned(), later)]);
    world.seed(Service::Enrollment, commits.collect()).await;
    let (waits, refused) = (world.seed_job(&[back.guid]).await, world.seed_job(&[out.guid]).await);
    let enrollment = world.enrollment().await;
    let scheduler = world.scheduler().await;
    let ended = eventually("the end of the run whose device is out", async || {
        let ends = ends(&scheduler);
        let is_out = ends.iter().any(|(stream, _)| *stream == stream_of(refused, &out.guid));
        is_out.then_some(ends)
    })
    .await
    .unwrap();
    assert_eq!(ended[0].1.code, Some(Code::DeviceRevoked));
    assert_eq!(
        ended.len(),
        1,
        "{} waits for a device that is let in again",
        stream_of(waits, &back.guid)
    );
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}

#[tokio::test]
async fn until_it_knows_every_device_it_answers_stale() {
    let world = World::start().await;
    let device = TestDevice::draw();
    let known = ("device-1".to_owned(), vec![enrolled(&device)]);
    world.seed(Service::Enrollment, vec![known]).await;
    let job = world.seed_job(&[device.guid]).await;
    let user = world.bus.connect_device(&device).await.unwrap();
    let run = RunId::of_job(&job, &device.guid);
    let subject = format!("borealis.v1.device.{}.tell.agent.result", device.guid);
    let told = codec::encode(&TellResult {
        result: Signed::seal(&device.key, Form::Result, &result(&device, run)).unwrap(),
    })
    .unwrap();
    let tell = async || {
        let answer = user.request(&subject, &told, DEADLINE).await.unwrap();
        reply::decode::<ResultKept>(&answer)
    };
    let body = br#"{"targets":{"all":true},"role":"agent","verb":"ping","expires_in_ms":3600000}"#;
    let unready = async {
        let refused = eventually("an answer", async || {
            let call = world.call("jobs-create", "", body, random::id());
            let refused = world.ask("jobs-create", &call).await.unwrap_err();
            (refused.code != Code::Unavailable).then_some(refused.code)
        });
        assert_eq!(refused.await.unwrap(), Code::Stale);
        assert_eq!(tell().await.unwrap_err().code, Code::Stale);
        world.enrollment().await
    };
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), unready);
    assert_eq!(tell().await.unwrap().run, run);
    assert_eq!(ends(&scheduler)[0].1.state, RunState::Succeeded);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
