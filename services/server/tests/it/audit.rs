//! The audit end to end: what is recorded, how it is read and brought elsewhere, and that nobody alters a store unnoticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use borealis_bus_schema::subjects::Service;
use borealis_event_store::{Append, EventLog as _, NewEvent, OpenOptions, SledLog, StreamWrite};
use borealis_test_support::{eventually_within, programs};
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, lines, said};

fn list(fleet: &Fleet, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["audit", "list", "--limit", "1000", "--json"];
    args.extend(more);
    let out = fleet.cli(&args);
    assert!(out.status.success(), "{}", said(&out));
    lines(&out.stdout)
}

fn has_object(entry: &Value, object: &str) -> bool {
    entry["objects"].as_array().unwrap().iter().any(|found| found == object)
}

fn places(entries: &[Value]) -> BTreeSet<(String, u64)> {
    let place = |entry: &Value| {
        (
            entry["service"].as_str().unwrap().to_owned(),
            entry["position"].as_u64().unwrap(),
        )
    };
    entries.iter().map(place).collect()
}

#[tokio::test]
async fn acts_of_operators_services_and_devices_are_recorded_and_leave_for_a_file_once() {
    let fleet = Fleet::start(1).await;
    let guid = fleet.devices()[0]["guid"].as_str().unwrap().to_owned();
    let folder = TempDir::with_prefix("borealis-audit-").unwrap();
    let (file, cursor) = (folder.path().join("audit.jsonl"), folder.path().join("cursor"));
    let follow = |from: &str| {
        let target = [file.to_str().unwrap(), cursor.to_str().unwrap()];
        let mut command = fleet.command(&[
            "audit",
            "follow",
            "--from",
            from,
            "--to-file",
            target[0],
            "--cursor-file",
            target[1],
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut following = follow("1h");
    let code = fleet.json(&["codes", "create", "--json"]);
    let code = format!("code/{}", code["id"].as_str().unwrap());
    let unknown = "0123456789abcdef0123456789abcdef";
    assert!(!fleet.cli(&["codes", "revoke", unknown, "--json"]).status.success());
    // The follower is killed in the middle, and goes on where it was.
    eventually_within("the follower to have something", PATIENCE, async || {
        cursor.exists().then_some(())
    })
    .await
    .unwrap();
    following.kill().unwrap();
    following.wait().unwrap();
    let (exit, last) = fleet.run("true", &[]);
    assert_eq!(exit, 0);
    let job = format!("job/{}", last["job"].as_str().unwrap());
    let device = format!("device/{guid}");

    let found = eventually_within("the records of the run", PATIENCE, async || {
        let found = list(&fleet, &[]);
        let ended = found
            .iter()
            .any(|entry| entry["verb"] == "result" && has_object(entry, &job));
        ended.then_some(found)
    })
    .await
    .unwrap();
    let expect = |what: &str, fits: &dyn Fn(&Value) -> bool| {
        assert!(found.iter().any(fits), "{what} is missing in {found:#?}");
    };
    let by_ada = |entry: &Value| entry["actor"]["name"] == "ada" && entry["outcome"] == "accepted";
    expect("set-up", &|e| e["action"] == "POST /api/v1/setup" && by_ada(e));
    expect("log-in", &|e| {
        e["verb"] == "login" && by_ada(e) && e["session"].is_string() && e["address"] == "127.0.0.1"
    });
    expect("a code", &|e| {
        e["verb"] == "codes-create" && by_ada(e) && has_object(e, &code) && e["command"].is_string()
    });
    expect("a refusal", &|e| {
        e["verb"] == "codes-revoke" && e["outcome"] == "not_found" && has_object(e, &format!("code/{unknown}"))
    });
    expect("an enrolment", &|e| {
        e["verb"] == "enroll-request" && e["actor"]["kind"] == "anonymous"
    });
    expect("a job", &|e| {
        e["verb"] == "jobs-create" && by_ada(e) && has_object(e, &job) && has_object(e, &device)
    });
    expect("a grant", &|e| {
        e["action"] == "bus access.grant-mint" && by_ada(e) && e["via"] == "scheduler"
    });
    expect("a signature", &|e| {
        e["action"] == "bus signing.orders-sign" && by_ada(e) && has_object(e, &job)
    });
    expect("the device's word on the order", &|e| {
        e["action"] == "do script.run" && e["actor"]["id"] == guid.as_str() && has_object(e, &job)
    });
    expect("the device's word on the end", &|e| {
        e["action"] == "tell script.result" && e["actor"]["id"] == guid.as_str() && e["outcome"] == "accepted"
    });
    // One act has one correlation in every service.
    let of_job: BTreeSet<&str> = found
        .iter()
        .filter(|e| e["verb"] == "jobs-create" || e["verb"] == "grant-mint")
        .map(|e| e["correlation"].as_str().unwrap())
        .collect();
    assert_eq!(of_job.len(), 1, "{found:#?}");
    let times: Vec<&str> = found.iter().map(|entry| entry["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");

    // Filters.
    assert!(
        list(&fleet, &["--object", &device])
            .iter()
            .all(|entry| has_object(entry, &device))
    );
    assert!(
        list(&fleet, &["--outcome", "refused"])
            .iter()
            .all(|entry| entry["outcome"] != "accepted")
    );
    assert!(list(&fleet, &["--actor", &guid]).len() >= 2);
    assert!(list(&fleet, &["--to", "1h"]).is_empty());

    // The follower has everything, once, also what came while it was away.
    let mut following = follow("1h");
    let wanted = places(&list(&fleet, &[]));
    let followed = eventually_within("the follower to catch up", PATIENCE, async || {
        let followed = lines(&std::fs::read(&file).ok()?);
        wanted.is_subset(&places(&followed)).then_some(followed)
    })
    .await
    .unwrap();
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(places(&followed).len(), followed.len(), "something came twice");
    // What nobody may learn from the audit.
    let text = std::fs::read_to_string(&file).unwrap();
    let biscuit = fleet.token.rsplit('.').next().unwrap();
    assert!(!text.contains(biscuit) && !text.contains("correct horse") && !text.contains("BRL1-"));

    let syslog = folder.path().join("audit.log");
    let out = fleet.cli(&[
        "audit",
        "export",
        "--format",
        "syslog",
        "--to-file",
        syslog.to_str().unwrap(),
    ]);
    assert!(out.status.success(), "{}", said(&out));
    let text = std::fs::read_to_string(&syslog).unwrap();
    assert!(text.lines().count() >= wanted.len());
    assert!(
        text.lines()
            .all(|line| line.starts_with("<110>1 ") || line.starts_with("<108>1 ")),
        "{text}"
    );

    // Every store is whole.
    let out = fleet.cli(&["audit", "verify", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(
        lines(&out.stdout).iter().all(|store| store["whole"] == true),
        "{}",
        said(&out)
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &target),
            kind if kind.is_file() => {
                std::fs::copy(entry.path(), target).unwrap();
            }
            _ => {}
        }
    }
}

fn replace(folder: &Path, by: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    copy(by, folder);
}

fn verify(root: &Path, service: Service) -> (Output, Value) {
    let out = Command::new(programs::built("borealis-server").unwrap())
        .args(["store", service.name(), "verify", "--root"])
        .arg(root)
        .output()
        .unwrap();
    let report = lines(&out.stdout).pop().unwrap_or_else(|| panic!("{}", said(&out)));
    (out, report)
}

/// Opens the rows of a stopped store as whoever has the disk could.
fn rows(folder: &Path) -> (sled::Db, sled::Tree) {
    let db = sled::Config::new().path(folder).segment_size(8 << 20).open().unwrap();
    let rows = db.open_tree("events").unwrap();
    (db, rows)
}

/// Writes a log anew with one event's body changed, the chain over it computed again: what a careful forger would do.
fn forge(folder: &Path, at: u64) {
    let events = {
        let store = SledLog::open(folder, OpenOptions::new()).unwrap();
        store.read_all(0, 100_000).unwrap()
    };
    std::fs::remove_dir_all(folder).unwrap();
    let store = SledLog::open(folder, OpenOptions::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut versions = std::collections::BTreeMap::new();
    for event in events {
        let mut body = event.body.unwrap();
        if event.position == at {
            body.push(0);
        }
        let expected = versions.insert(event.stream.clone(), event.version).unwrap_or(0);
        let mut command_id = [0; 16];
        command_id[..8].copy_from_slice(&event.position.to_be_bytes());
        let append = Append {
            command_id,
            command_digest: [0; 32],
            at_ms: event.at_ms,
            writes: vec![StreamWrite {
                stream: event.stream,
                expected,
                events: vec![NewEvent { kind: event.kind, body }],
            }],
            answer: Vec::new(),
        };
        runtime.block_on(store.append(append)).unwrap();
    }
    runtime.block_on(store.flush_and_close()).unwrap();
}

#[tokio::test]
async fn what_is_altered_removed_cut_off_or_put_back_is_named() {
    let dir = TempDir::with_prefix("borealis-").unwrap();
    let mut fleet = Fleet::start_in(dir, 0).await;
    fleet.json(&["codes", "create", "--json"]);
    let (_, dir) = fleet.server.stop().await.unwrap();
    let dir = dir.unwrap();
    let (root, spare) = (dir.path().to_owned(), TempDir::with_prefix("borealis-copies-").unwrap());
    let store = root.join("Server/State/enrollment");
    let (old, whole): (PathBuf, PathBuf) = (spare.path().join("old"), spare.path().join("whole"));
    copy(&store, &old);
    let (out, before) = verify(&root, Service::Enrollment);
    assert!(out.status.success(), "{}", said(&out));
    let old_end = before["position"].as_u64().unwrap();

    fleet = Fleet::again(dir, fleet.token).await;
    for _ in 0..20 {
        fleet.json(&["codes", "create", "--json"]);
    }
    let (_, dir) = fleet.server.stop().await.unwrap();
    copy(&store, &whole);

    // At shutdown every head was countersigned, up to the last event.
    for service in Service::ALL.into_iter().filter(|service| service.has_store()) {
        let (out, report) = verify(&root, service);
        assert!(out.status.success(), "{service}: {}", said(&out));
        assert_eq!(report["not_compared"], Value::Null, "{service}: {report}");
        if service != Service::Signing && report["position"] != 0 {
            assert_eq!(report["countersigned"]["position"], report["position"], "{service}");
        }
    }
    let (_, report) = verify(&root, Service::Enrollment);
    let end = report["position"].as_u64().unwrap();
    assert!(end > old_end + 20, "{report}");

    let broken = |what: &str| {
        let (out, report) = verify(&root, Service::Enrollment);
        assert_eq!(out.status.code(), Some(74), "{what}: {}", said(&out));
        assert_eq!(report["whole"], false, "{what}");
        report["position"]
            .as_u64()
            .unwrap_or_else(|| panic!("{what}: {report}"))
    };

    // An older copy is put back.
    replace(&store, &old);
    assert_eq!(broken("an older copy"), old_end + 1);

    // A record is altered: some byte of a body in the middle of the log.
    replace(&store, &whole);
    let (db, events) = rows(&store);
    let middle = (end / 2).to_be_bytes();
    let (key, row) = events.get_lt(middle).unwrap().unwrap();
    let mut altered = row.to_vec();
    let at = altered.windows(7).position(|bytes| bytes == b"default").unwrap();
    altered[at] = b'D';
    events.insert(&key, altered).unwrap();
    db.flush().unwrap();
    drop((db, events));
    let named = broken("an altered record");
    let first = u64::from_be_bytes(key.as_ref().try_into().unwrap());
    assert!((first..first + 10).contains(&named), "{named} is not at {first}");

    // A row of records is removed.
    replace(&store, &whole);
    let (db, events) = rows(&store);
    events.remove(&key).unwrap();
    db.flush().unwrap();
    drop((db, events));
    assert_eq!(broken("a removed record"), first);

    // The tail is cut off.
    replace(&store, &whole);
    let (db, events) = rows(&store);
    let (last, _) = events.pop_max().unwrap().unwrap();
    db.flush().unwrap();
    drop((db, events));
    assert_eq!(
        broken("a tail that is cut off"),
        u64::from_be_bytes(last.as_ref().try_into().unwrap())
    );

    // The whole log is written anew around an altered record: its chain holds, the countersigned head does not.
    replace(&store, &whole);
    let forged = store.clone();
    std::thread::spawn(move || forge(&forged, old_end + 3)).join().unwrap();
    let named = broken("a forged log");
    assert!((old_end + 3..=end).contains(&named), "{named}");

    // On-line: the service runs on the older copy, and the route says so.
    replace(&store, &old);
    let fleet = Fleet::again(dir.unwrap(), fleet.token).await;
    let found = eventually_within("every service to answer", PATIENCE, async || {
        let out = fleet.cli(&["audit", "verify", "--service", "enrollment", "--json"]);
        let report = lines(&out.stdout).pop()?;
        (report["whole"] == false).then_some((out.status.code(), report))
    })
    .await
    .unwrap();
    assert_eq!(found.0, Some(70), "{}", found.1);
    assert!(
        found.1["finding"]["position"].as_u64().unwrap() > old_end,
        "{}",
        found.1
    );
    let whole = fleet.json(&["audit", "verify", "--service", "access", "--json"]);
    assert_eq!(whole["whole"], true, "{whole}");
}
