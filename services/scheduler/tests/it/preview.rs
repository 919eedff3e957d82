//! A job is shown before there is one: which devices, how many of them on line, which cannot run it, with nothing written.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::SiteName;
use borealis_bus_schema::messages::scheduler::JobPreview;
use borealis_bus_schema::messages::shared_events::{DeviceConnected, DeviceStatus};
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::clock::{Clock, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::TestDevice;

use crate::harness::{World, became, event};

async fn preview(world: &World, query: &str) -> Reply<JobPreview> {
    let mut call = world.call("jobs-preview", "", b"", random::id());
    call.path = format!("{}?{query}", call.path_only());
    let answer = world.ask("jobs-preview", &call).await?;
    Ok(serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn a_dry_run_says_what_a_job_would_be_and_writes_nothing() {
    let world = World::start().await;
    let devices: Vec<TestDevice> = (0..4).map(|_| TestDevice::draw()).collect();
    let mut commits = Vec::new();
    for (n, device) in (1..).zip(&devices) {
        let site = SiteName::new(if n == 4 { "bergen" } else { "oslo" }).unwrap();
        let mut events = vec![event(&device.enrolled(&format!("web-{n}"), site))];
        if n == 2 {
            events.push(event(&DeviceConnected {
                guid: device.guid,
                address: "127.0.0.1".into(),
                at: SystemClock.now(),
            }));
        }
        if n == 3 {
            events.push(became(device.guid, DeviceStatus::Quarantined));
        }
        commits.push((format!("device-{}", device.guid), events));
    }
    world.seed(Service::Enrollment, commits).await;
    let enrollment = world.enrollment().await;
    let scheduler = world.scheduler().await;
    let written = || scheduler.log.read_all(0, 1_000).unwrap().len();
    let before = written();

    let all = preview(&world, "all=true").await.unwrap();
    assert_eq!((all.devices_total, all.online, all.unable), (3, 1, 0));
    let names: Vec<&str> = all.items.iter().map(|item| item.hostname.as_str()).collect();
    assert_eq!(names, ["web-1", "web-2", "web-4"]);
    assert!(all.refused.is_none() && !all.awaiting_approval);

    let some = preview(&world, "sites=oslo&filter=hostname%20%3D%20web-*%20and%20offline").await;
    let names: Vec<String> = some.unwrap().items.into_iter().map(|item| item.hostname).collect();
    assert_eq!(names, ["web-1"]);

    let ids: Vec<String> = devices.iter().map(|device| device.guid.to_string()).collect();
    let query = format!("devices={}&except={}&limit=2", ids.join(","), ids[0]);
    let named = preview(&world, &query).await.unwrap();
    assert_eq!((named.devices_total, named.unable), (3, 1));
    assert_eq!(named.items[0].hostname, "web-3", "first what cannot run it");
    assert_eq!(named.items[0].unable.as_ref().unwrap().code, Code::DeviceQuarantined);
    assert_eq!(named.refused.unwrap().code, Code::DeviceQuarantined);
    assert_eq!(named.next_cursor.as_deref(), Some("2"));
    let rest = preview(&world, &format!("{query}&cursor=2")).await.unwrap();
    assert_eq!(rest.items.len(), 1);

    let user = preview(&world, "all=true&context=CURRENTUSER").await.unwrap();
    assert_eq!(user.unable, 3);
    assert_eq!(user.items[0].unable.as_ref().unwrap().code, Code::OrderWrongContext);

    let nobody = preview(&world, "filter=hostname%20%3D%20nobody").await.unwrap();
    assert_eq!(nobody.refused.unwrap().code, Code::InvalidField);
    assert_eq!(written(), before, "a dry run writes nothing");
    for (query, code) in [
        ("", Code::InvalidField),
        ("all=maybe", Code::InvalidField),
        ("all=true&sites=oslo", Code::InvalidField),
        ("sites=no%20site", Code::InvalidField),
        ("devices=x", Code::InvalidField),
        ("filter=os%20is%20linux", Code::FilterInvalid),
        ("all=true&cursor=x", Code::InvalidField),
        ("all=true&limit=0", Code::InvalidField),
    ] {
        assert_eq!(preview(&world, query).await.unwrap_err().code, code, "{query}");
    }
    assert_eq!(written(), before + 8, "one record of each refusal, and nothing else");
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
