//! A script becomes an assembly, is published, and runs on a real agent with variables of odd bytes; what is wrong is refused.

use std::path::Path;

use borealis_bus_schema::subjects::Service;
use borealis_test_support::eventually_within;
use serde_json::Value;
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, context_of, lines, said, shared};

const SCRIPT: &str = r#"printf '%s|' "$WHO" "$who" "$KEEP_DAYS" "$LOUD"; printf '%s' "$1""#;

/// Runs an assembly and returns the last line.
fn run(fleet: &Fleet, device: &Value, assembly: &str, more: &[&str]) -> Value {
    let out = fleet.cli(&[&args(device, assembly), more].concat());
    let last = lines(&out.stdout).into_iter().rfind(|line| line["final"] == true);
    last.unwrap_or_else(|| panic!("{}", said(&out)))
}

fn args<'a>(device: &'a Value, assembly: &'a str) -> [&'a str; 9] {
    let guid = device["guid"].as_str().unwrap();
    let context = if context_of(device) == "SYSTEM" {
        "SYSTEM"
    } else {
        "CURRENTUSER"
    };
    [
        "run",
        "--device",
        guid,
        "--context",
        context,
        "--assembly",
        assembly,
        "--follow",
        "--json",
    ]
}

/// Returns the code with which the command line was refused.
fn refused(fleet: &Fleet, args: &[&str]) -> String {
    let out = fleet.cli(args);
    assert!(!out.status.success(), "{args:?}: {}", said(&out));
    let found = [&out.stdout, &out.stderr].into_iter().flat_map(|bytes| lines(bytes));
    let code = found
        .filter_map(|line| line["error"]["code"].as_str().map(ToOwned::to_owned))
        .next();
    code.unwrap_or_else(|| panic!("{args:?}: {}", said(&out)))
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_script_is_imported_published_and_run_with_odd_values() {
    let fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let dir = TempDir::with_prefix("borealis-library-").unwrap();
    let file = written(dir.path(), "greet.sh", SCRIPT.as_bytes());

    let made = fleet.json(&["library", "import", &file, "--json"]);
    assert_eq!(
        (made["change"].as_str(), made["name"].as_str()),
        (Some("created"), Some("greet"))
    );
    assert_eq!(refused(&fleet, &args(&device, "greet")), "not_published");
    let edited = fleet.json(&[
        "library",
        "edit",
        "greet",
        "--variable",
        "who!",
        "--variable",
        "keep days:number=7",
        "--variable",
        "loud:boolean=no",
        "--publish",
        "--note",
        "with variables",
        "--json",
    ]);
    assert_eq!(
        (edited["latest"].as_u64(), edited["published"].as_u64()),
        (Some(2), Some(2))
    );
    assert_eq!(refused(&fleet, &args(&device, "greet@1")), "not_published");

    // Nothing in a value is read as code, whatever bytes it has.
    let odd: &[u8] = b"a'b\"c$(touch /tmp/x)`id`;\\n\n\t--\x01\xff\xfe\xc3";
    let bytes = format!("who={}", written(dir.path(), "odd", odd));
    let last = run(&fleet, &device, "greet", &["--var-file", &bytes, "--var", "loud=YES"]);
    let mut expected = odd.to_vec();
    expected.push(b'|');
    expected.extend_from_slice(odd);
    expected.extend_from_slice(b"|7|true|");
    let printed = base64_of(last["stdout_base64"].as_str().unwrap());
    assert_eq!(printed, expected, "{last}");
    let last = run(
        &fleet,
        &device,
        "Greet@2",
        &["--var", "who=Zoë=1", "--var", "keep days=-1.5"],
    );
    assert_eq!(last["stdout"], "Zoë=1|Zoë=1|-1.5|false|");

    let before = fleet.stored(Service::Scheduler).len();
    for (more, code) in [
        (&[][..], "variable_missing"),
        (&["--var", "who="], "variable_missing"),
        (&["--var", "who=x", "--var", "keep days=soon"], "variable_invalid"),
        (&["--var", "who=x", "--var", "LD_PRELOAD=x"], "variable_undeclared"),
    ] {
        assert_eq!(
            refused(&fleet, &[&args(&device, "greet"), more].concat()),
            code,
            "{more:?}"
        );
    }
    fleet.json(&["sites", "create", "berlin", "--json"]);
    fleet.json(&["library", "edit", "greet", "--site", "berlin", "--publish", "--json"]);
    let elsewhere = [&args(&device, "greet"), &["--var", "who=x"][..]].concat();
    assert_eq!(refused(&fleet, &elsewhere), "out_of_scope");
    let tried = args(&device, "greet").map(|arg| if arg == "--follow" { "--dry-run" } else { arg });
    let shown = lines(&fleet.cli(&tried).stdout).remove(0);
    assert_eq!(
        [&shown["refused"]["code"], &shown["items"][0]["unable"]["code"]],
        ["out_of_scope"; 2],
        "{shown}"
    );
    fleet.json(&["library", "archive", "greet", "--json"]);
    assert_eq!(refused(&fleet, &elsewhere), "wrong_state");
    assert_eq!(refused(&fleet, &args(&device, "nothing of this name")), "not_found");
    let after = fleet.stored(Service::Scheduler);
    let jobs = |events: &[Value]| events.iter().filter(|event| event["kind"] == "JobCreated").count();
    assert_eq!(jobs(&after), 2, "{} events before, {} after", before, after.len());
}

#[tokio::test]
async fn documents_come_in_and_go_out_and_a_folder_is_followed() {
    let fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let dir = TempDir::with_prefix("borealis-library-").unwrap();
    let document = r#"{"version": 1, "name": "Old report", "description": "Tells", "category": "script", "type": "bash",
        "script": "cHJpbnRmICVzICIkUEFUSF8xIg==", "script_encoding": "base64", "timeout_seconds": 90,
        "sites": {"mode": "all", "values": []},
        "variables": [{"name": "path-1", "label": "", "type": "string", "default": "/", "required": true, "description": ""}],
        "files": []}"#;
    let file = written(dir.path(), "old.json", document.as_bytes());
    let made = fleet.json(&["library", "import", &file, "--publish", "--json"]);
    assert_eq!(
        (made["published"].as_u64(), made["type"].as_str()),
        (Some(1), Some("bash"))
    );
    let again = fleet.json(&["library", "import", &file, "--publish", "--json"]);
    assert_eq!(
        (again["change"].as_str(), again["latest"].as_u64()),
        (Some("unchanged"), Some(1))
    );
    let last = run(&fleet, &device, "Old report", &["--var", "path-1=$HOME"]);
    assert_eq!(last["stdout"], "$HOME");
    let out = fleet.cli(&["library", "export", "Old report"]);
    let mut exported: Value = serde_json::from_slice(&out.stdout).unwrap();
    exported.as_object_mut().unwrap().remove("tags");
    assert_eq!(exported, serde_json::from_str::<Value>(document).unwrap());

    let folder = dir.path().join("scripts");
    std::fs::create_dir_all(folder.join("disk")).unwrap();
    let (path, source) = (folder.to_str().unwrap().to_owned(), folder.join("disk/free.sh"));
    std::fs::write(&source, "df").unwrap();
    std::fs::write(folder.join("up.py"), "print(1)").unwrap();
    let sync = |more: &[&str]| -> Vec<(String, String, bool)> {
        let out = fleet.cli(&[&["library", "sync", &path, "--json"], more].concat());
        assert!(out.status.success(), "{}", said(&out));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = lines(&out.stdout).into_iter();
        found
            .map(|line| (text(&line["change"]), text(&line["name"]), line["applied"] == true))
            .collect()
    };
    let change = |change: &str, name: &str, applied| (change.to_owned(), name.to_owned(), applied);
    assert_eq!(
        sync(&[]),
        [change("create", "free", false), change("create", "up", false)]
    );
    assert_eq!(
        fleet
            .cli(&["library", "list", "--tag", "source:scripts", "--json"])
            .stdout,
        b"",
        "nothing was made"
    );
    assert_eq!(
        sync(&["--apply", "--publish"]),
        [change("create", "free", true), change("create", "up", true)]
    );
    assert_eq!(
        sync(&["--apply"]),
        [change("none", "free", false), change("none", "up", false)]
    );
    std::fs::write(&source, "df -h").unwrap();
    std::fs::remove_file(folder.join("up.py")).unwrap();
    assert_eq!(
        sync(&[]),
        [change("change", "free", false), change("archive", "up", false)]
    );
    assert_eq!(
        sync(&["--apply"]),
        [change("change", "free", true), change("archive", "up", true)]
    );
    let shown = fleet.json(&["library", "show", "free", "--json"]);
    assert_eq!(
        (
            shown["standing"]["latest"].as_u64(),
            shown["standing"]["published"].as_u64()
        ),
        (Some(2), Some(1))
    );
    assert_eq!(
        (
            shown["content"]["script"].as_str(),
            shown["content"]["category"].as_str()
        ),
        (Some("df -h"), Some("disk"))
    );
    let diff = fleet.json(&["library", "diff", "free", "--json"]);
    assert!(diff["script"].as_str().unwrap().contains("+df -h"), "{diff}");
    assert_eq!(
        fleet.json(&["library", "show", "up", "--json"])["standing"]["archived"],
        true
    );

    // What did not come from the folder is not taken over, nor everything put away with an empty one.
    let refused = |more: &[&str]| {
        let out = fleet.cli(&[&["library", "sync", &path, "--apply", "--json"], more].concat());
        assert_eq!(out.status.code(), Some(64), "{}", said(&out));
    };
    let latest = || fleet.json(&["library", "show", "Old report", "--json"])["standing"]["latest"].as_u64();
    let taken = folder.join("Old report.sh");
    std::fs::write(&taken, "true").unwrap();
    refused(&[]);
    assert_eq!(latest(), Some(1));
    assert_eq!(
        sync(&["--apply", "--adopt"]),
        [change("change", "Old report", true), change("none", "free", false)]
    );
    assert_eq!(latest(), Some(2));
    std::fs::remove_file(&taken).unwrap();
    std::fs::remove_file(&source).unwrap();
    refused(&["--adopt"]);
    assert_eq!(
        fleet.json(&["library", "show", "free", "--json"])["standing"]["archived"],
        false
    );
}

#[tokio::test]
async fn a_schedule_runs_the_version_that_it_was_made_for() {
    let fleet = Fleet::start(1).await;
    let device = fleet.devices().remove(0);
    let dir = TempDir::with_prefix("borealis-library-").unwrap();
    let (effect, effect_text) = shared(&dir, "effect");
    let file = written(dir.path(), "mark.sh", b"echo one >> \"$INTO\"");
    fleet.json(&["library", "import", &file, "--json"]);
    fleet.json(&["library", "edit", "mark", "--variable", "into!", "--publish", "--json"]);
    let (into, context) = (format!("into={effect_text}"), context_of(&device));
    let what = [
        "--device",
        device["guid"].as_str().unwrap(),
        "--context",
        &context,
        "--json",
    ];
    let head = [
        "schedules",
        "create",
        "--name",
        "marks",
        "--cron",
        "*/2 * * * * *",
        "--assembly",
        "mark",
    ];
    assert_eq!(refused(&fleet, &[&head[..], &what].concat()), "variable_missing");
    let made = fleet.json(&[&head[..], &["--var", &into], &what].concat());
    let id = made["schedule"].as_str().unwrap();
    let marks = || std::fs::read_to_string(&effect).unwrap_or_default().lines().count();
    eventually_within("the schedule to run", PATIENCE, async || (marks() >= 1).then_some(()))
        .await
        .unwrap();

    // What is published or put away later is another matter.
    let newer = written(dir.path(), "mark.sh", b"echo two >> \"$INTO\"");
    fleet.json(&["library", "import", &newer, "--publish", "--json"]);
    fleet.json(&["library", "archive", "mark", "--json"]);
    let before = marks();
    let out = fleet.cli(&["schedules", "run-now", id, "--yes", "--follow", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    eventually_within("the schedule to go on", PATIENCE, async || {
        (marks() >= before + 3).then_some(())
    })
    .await
    .unwrap();
    let text = std::fs::read_to_string(&effect).unwrap();
    assert!(text.lines().all(|line| line == "one"), "{text}");
}

fn base64_of(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).unwrap()
}
