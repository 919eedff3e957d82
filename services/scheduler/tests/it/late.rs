//! A device that ran what it got, and told so after the scheduler had given it up.

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::{Form, Signed};
use borealis_bus_schema::ids::RunId;
use borealis_bus_schema::messages::device::{ResultKept, RunResult, TellResult};
use borealis_bus_schema::messages::scheduler::{JobView, RunState};
use borealis_bus_schema::reply;
use borealis_bus_schema::subjects::Service;
use borealis_scheduler::run::{End, Event};
use borealis_scheduler::stored::Stored;
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::{DEADLINE, TestDevice};

use crate::harness::{World, enrolled, result, stream_of};

#[tokio::test]
async fn a_run_that_was_called_expired_and_ran_is_what_its_device_says_also_after_a_restart() {
    let world = World::start().await;
    let device = TestDevice::draw();
    let known = ("device-1".to_owned(), vec![enrolled(&device)]);
    world.seed(Service::Enrollment, vec![known]).await;
    let job = world.seed_job(&[device.guid]).await;
    let expired = End::without_device(RunState::Expired, SystemClock.now(), None, None);
    let ended = Stored::Run(Event::Ended(expired)).encode().unwrap();
    world
        .seed(Service::Scheduler, vec![(stream_of(job, &device.guid), vec![ended])])
        .await;
    let (scheduler, enrollment) = tokio::join!(world.scheduler(), world.enrollment());
    let states = async || {
        let call = world.call("jobs-show", &job.to_string(), b"", random::id());
        let view: JobView = serde_json::from_str(&world.ask("jobs-show", &call).await.unwrap()).unwrap();
        assert_eq!(view.state, "done");
        view.counts.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(states().await, [(RunState::Expired, 1)]);

    let user = world.bus.connect_device(&device).await.unwrap();
    let run = RunId::of_job(&job, &device.guid);
    let subject = format!("borealis.v1.device.{}.tell.agent.result", device.guid);
    let tell = async |state: RunState| {
        let result = RunResult {
            state,
            ..result(&device, run)
        };
        let told = TellResult {
            result: Signed::seal(&device.key, Form::Result, &result).unwrap(),
        };
        let answer = user.request(&subject, &codec::encode(&told).unwrap(), DEADLINE).await;
        reply::decode::<ResultKept>(&answer.unwrap()).unwrap().run
    };
    assert_eq!(tell(RunState::Failed).await, run);
    assert_eq!(states().await, [(RunState::Failed, 1)]);
    // What a device has signed once stays.
    assert_eq!(tell(RunState::Succeeded).await, run);
    assert_eq!(states().await, [(RunState::Failed, 1)]);
    scheduler.stop().await.unwrap();
    let scheduler = world.scheduler().await;
    assert_eq!(states().await, [(RunState::Failed, 1)]);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
