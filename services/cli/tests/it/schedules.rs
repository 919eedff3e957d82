//! When a schedule fires, as lines and as a table.

use std::sync::{Arc, Mutex};

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::Service;
use serde_json::json;

use crate::setting::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_lines_for_programs_and_a_table_for_people() {
    let setting = Setting::start().await.with_session().await;
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    setting
        .serve(Service::Scheduler, move |verb, call| {
            assert_eq!(verb, "schedules-preview");
            seen.lock().unwrap().clone_from(&call.path);
            if call.query("cron").as_deref() == Some("0 25 * * *") {
                let message = "field 2, hour: \"25\" has 25, which is not between 0 and 23";
                return Err(WireError::new(Code::CronInvalid, message));
            }
            Ok(json!({
                "schedule": "cron:30 2 * * *", "zone": "Europe/Stockholm", "zones_release": "2026f",
                "from": "2027-03-27T00:00:00.000Z", "until": null, "more": true,
                "items": [
                    {"at": "2027-03-27T01:30:00.000Z", "local": "2027-03-27T02:30:00+01:00", "change": null, "note": null},
                    {"at": "2027-03-28T01:00:00.000Z", "local": "2027-03-28T03:00:00+02:00", "change": "gap",
                     "note": "2027-03-28 02:30 does not exist"},
                ],
            })
            .to_string())
        })
        .await;

    let from = "2027-03-27T00:00:00Z";
    let mut args = [
        "schedules",
        "preview",
        "--cron",
        "30 2 * * *",
        "--zone",
        "Europe/Stockholm",
    ]
    .to_vec();
    args.extend(["--from", from, "--count", "2"]);
    let table = setting.run(&args).await;
    assert_eq!(table.code, 0, "{}", table.stderr);
    assert!(table.stdout.contains("zones of 2026f"), "{}", table.stdout);
    assert!(table.stdout.contains("2027-03-28T03:00:00+02:00"), "{}", table.stdout);
    assert_eq!(
        *asked.lock().unwrap(),
        "/api/v1/schedules/preview?zone=Europe%2FStockholm&cron=30%202%20%2A%20%2A%20%2A&from=2027-03-27T00%3A00%3A00.000Z\
         &count=2"
    );

    args.push("--json");
    let lines = setting.run(&args).await.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["at"], "2027-03-27T01:30:00.000Z");
    assert_eq!(lines[0]["note"], json!(null));
    assert_eq!(lines[1]["note"], "2027-03-28 02:30 does not exist");

    let bad = setting
        .run(&["schedules", "preview", "--cron", "0 25 * * *", "--json"])
        .await;
    assert_eq!((bad.code, &bad.json()["error"]["code"]), (64, &json!("cron_invalid")));
    assert!(
        bad.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("field 2, hour")
    );

    let month = setting
        .run(&["schedules", "preview", "--cron", "@daily", "--last-month"])
        .await;
    assert!(asked.lock().unwrap().ends_with("&period=last_month&count=1000"));
    assert!(month.stderr.contains("there are more"), "{}", month.stderr);
    for wrong in [
        &["schedules", "preview"][..],
        &["schedules", "preview", "--cron", "@daily", "--kind", "daily"],
        &[
            "schedules",
            "preview",
            "--cron",
            "@daily",
            "--last-month",
            "--from",
            from,
        ],
    ] {
        assert_eq!(setting.run(wrong).await.code, 64, "{wrong:?}");
    }
}
