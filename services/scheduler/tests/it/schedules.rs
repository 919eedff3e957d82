//! A schedule is shown before there is one.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::scheduler::SchedulePreview;
use borealis_bus_schema::reply::Reply;
use borealis_service_kit::random;

use crate::harness::World;

async fn preview(world: &World, query: &str) -> Reply<SchedulePreview> {
    let mut call = world.call("schedules-preview", "", b"", random::id());
    call.path = format!("{}?{query}", call.path_only());
    let answer = world.ask("schedules-preview", &call).await?;
    Ok(serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn a_preview_is_answered_on_the_bus() {
    let world = World::start().await;
    let enrollment = world.enrollment().await;
    let scheduler = world.scheduler().await;
    let span = "zone=Europe/Stockholm&from=2027-03-27T00:00:00Z&count=3";
    let shown = preview(&world, &format!("cron=30%202%20*%20*%20*&{span}"))
        .await
        .unwrap();
    let times: Vec<_> = shown.items.iter().map(|firing| firing.at.to_string()).collect();
    assert_eq!(
        times,
        [
            "2027-03-27T01:30:00.000Z",
            "2027-03-28T01:00:00.000Z",
            "2027-03-29T00:30:00.000Z"
        ]
    );
    assert_eq!(shown.items.get(1).unwrap().change.as_deref(), Some("gap"));
    assert!(shown.more);

    let never = preview(&world, "cron=0%200%2030%202%20*").await.unwrap_err();
    assert_eq!(never.code, Code::ScheduleNeverFires);
    let wrong = preview(&world, "cron=0%2025%20*%20*%20*").await.unwrap_err();
    assert_eq!(wrong.code, Code::CronInvalid);
    assert!(wrong.message.contains("field 2, hour"), "{}", wrong.message);
    scheduler.stop().await.unwrap();
    enrollment.stop().await.unwrap();
}
