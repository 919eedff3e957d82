//! Running and following.

use std::sync::{Arc, Mutex};

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{Guid, JobId, RunId};
use borealis_bus_schema::messages::scheduler::CreateJob;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::Service;
use serde_json::{Value, json};

use crate::setting::Setting;

fn line(guid: &Guid, more: &Value) -> Value {
    let (job, run) = (JobId::from_bytes([4; 16]), RunId::from_bytes([5; 16]));
    let mut line = json!({"job": job, "run": run, "guid": guid, "hostname": "web"});
    for (name, value) in more.as_object().unwrap() {
        line[name] = value.clone();
    }
    line
}

fn device(seed: u8, hostname: &str) -> Value {
    json!({
        "guid": Guid::from_random([seed; 16]), "hostname": hostname, "site": "default", "status": "active",
        "presence": "online", "os": "linux", "os_version": "Debian 12", "arch": "x86_64", "agent_version": "0.1.0",
        "context": "SYSTEM", "fingerprint": "", "addresses": [], "last_user": null, "uptime_ms": null, "cpu": null,
        "memory_bytes": null, "approved_at": "2026-01-01T00:00:00.000Z", "first_seen_at": "2026-01-01T00:00:00.000Z",
        "last_seen_at": null,
    })
}

/// Is a scheduler that loses answers: the job is made, but nobody hears so; output comes in three pages.
async fn forgetful_scheduler(setting: &Setting) -> Arc<Mutex<Vec<OperatorCall>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, guid) = (Arc::clone(&calls), Guid::from_random([1; 16]));
    let mut failures = 4;
    setting
        .serve(Service::Scheduler, move |verb, call| {
            seen.lock().unwrap().push(call.clone());
            let done = |lines: Value, cursor: &str, done: bool| {
                Ok(json!({"lines": lines, "cursor": cursor, "done": done}).to_string())
            };
            match (verb, call.query("cursor").as_deref()) {
                ("jobs-create", _) if failures > 0 => {
                    failures -= 1;
                    Err(WireError::new(Code::StorageFailed, "the answer is lost"))
                }
                ("jobs-create", _) => {
                    let job = JobId::from_bytes([4; 16]);
                    Ok(json!({"job": job, "runs_total": 1}).to_string())
                }
                (_, None) => {
                    let chunk = json!({"stream": "stdout", "seq": 0, "data": "one\n"});
                    done(json!([line(&guid, &chunk)]), "a+b/=", false)
                }
                (_, Some("a+b/=")) => {
                    let chunk = json!({"stream": "stdout", "seq": 0, "data": "one\n"});
                    let next = json!({"stream": "stderr", "seq": 0, "data_base64": "/w=="});
                    done(json!([line(&guid, &chunk), line(&guid, &next)]), "c", false)
                }
                _ => {
                    let last = json!({
                        "final": true, "state": "failed", "exit_code": 3, "duration_ms": 5, "truncated": false,
                        "reason": null, "code": null,
                    });
                    done(json!([line(&guid, &last)]), "d", true)
                }
            }
        })
        .await;
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_run_prints_every_chunk_once_and_ends_with_the_scripts_code() {
    let setting = Setting::start().await.with_session().await;
    let calls = forgetful_scheduler(&setting).await;
    let list = json!({"items": [device(1, "web"), device(2, "db")], "next_cursor": null, "total": 2});
    setting
        .serve(Service::Inventory, move |_, _| Ok(list.to_string()))
        .await;

    let args = [
        "run",
        "--device",
        "web",
        "--lang",
        "bash",
        "--timeout",
        "30s",
        "--follow",
        "--json",
    ];
    let words = [&args[..], &["--", "echo", "a b"]].concat();
    let end = setting.run(&words).await;
    assert_eq!(end.code, 3, "{} {}", end.stdout, end.stderr);
    let lines = end.lines();
    assert_eq!(lines.len(), 3, "{}", end.stdout);
    assert_eq!(
        (&lines[0]["stream"], &lines[0]["data"]),
        (&json!("stdout"), &json!("one\n"))
    );
    assert_eq!(lines[1]["data_base64"], "/w==");
    assert_eq!(
        (&lines[2]["final"], &lines[2]["stdout"]),
        (&json!(true), &json!("one\n"))
    );
    assert_eq!(lines[2]["stderr_base64"], "/w==");
    assert_eq!(
        (&lines[2]["exit_code"], &lines[2]["state"]),
        (&json!(3), &json!("failed"))
    );

    let calls = calls.lock().unwrap();
    let made: Vec<_> = calls.iter().filter(|call| call.method == "POST").collect();
    assert!(made.len() > 1);
    let first = made[0].proof.clone().unwrap();
    for call in &made {
        let proof = call.proof.clone().unwrap();
        // The same command, signed anew, so that it happens once and never counts as old.
        assert_eq!((proof.command, &call.body), (first.command, &made[0].body));
        assert!(call.verify(&proof, &PublicKey::of(&setting.token.key)).is_ok());
    }
    let job: CreateJob = serde_json::from_slice(&made[0].body).unwrap();
    assert_eq!(job.script.as_deref(), Some("echo 'a b'"));
    assert_eq!(job.targets.guids, [Guid::from_random([1; 16])]);
    assert_eq!(job.timeout_ms, 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn following_goes_on_over_a_bus_that_dies() {
    let mut setting = Setting::start().await.with_session().await;
    let _calls = forgetful_scheduler(&setting).await;
    let guid = Guid::from_random([1; 16]).to_string();
    let mut command = setting.bare(&["run", "--device", &guid, "--follow", "--", "uname"]);
    command.env("BOREALIS_TOKEN", setting.token.reveal());
    let running = tokio::spawn(async move { crate::setting::ended(&mut command, "").await });
    setting.bus.kill();
    setting.bus.resume().await.unwrap();
    let end = running.await.unwrap();
    assert_eq!((end.code, end.stdout.as_str()), (3, "one\n"), "{}", end.stderr);
    assert!(end.stderr.contains("web: failed, exit code 3, 5 ms"), "{}", end.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_name_is_told_with_its_guids() {
    let setting = Setting::start().await.with_session().await;
    let list = json!({"items": [device(1, "web"), device(2, "web")], "next_cursor": null, "total": 2});
    setting
        .serve(Service::Inventory, move |_, _| Ok(list.to_string()))
        .await;
    let end = setting.run(&["run", "--device", "web", "--json", "--", "uname"]).await;
    assert_eq!(end.code, 64);
    let message = end.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&Guid::from_random([2; 16]).to_string()), "{message}");
    let listed = setting.run(&["devices", "list", "--json"]).await;
    assert_eq!((listed.code, listed.lines().len()), (0, 2));
    let table = setting.run(&["devices", "list"]).await;
    assert!(
        table.stdout.starts_with("GUID") && table.stdout.contains("online"),
        "{}",
        table.stdout
    );
    let unknown = setting.run(&["run", "--device", "mail", "--json", "--", "uname"]).await;
    assert_eq!(
        (unknown.code, &unknown.json()["error"]["code"]),
        (70, &json!("not_found"))
    );
}
