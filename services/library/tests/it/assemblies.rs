//! Versions are written, published, compared, archived and found; what is wrong is refused and writes nothing.

use borealis_bus_schema::assembly::Assembly;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::library::GetAssembly;
use borealis_bus_schema::order::Digest;
use borealis_service_kit::bus::RequestOptions;
use serde_json::{Value, json};

use crate::rig::{Rig, draft, id_of, nobody};

fn edit(based_on: u32, draft: &Value) -> Value {
    json!({ "based_on": based_on, "draft": draft, "note": "again" })
}

fn publish(version: u32, digest: &Value) -> Value {
    json!({ "version": version, "digest": digest })
}

#[tokio::test]
async fn a_version_stays_what_it_is_and_runs_once_it_is_published() {
    let rig = Rig::start().await;
    let made = rig.make("Clean up", Value::Null).await;
    let id = id_of(&made);
    assert_eq!((&made["latest"], &made["published"]), (&json!(1), &Value::Null));
    let again = edit(1, &draft("Clean up", "echo one\necho two", Value::Null));
    let second = rig.ask("edit", &id, &again).await.unwrap();
    assert_eq!(second["latest"], 2);
    let same = edit(2, &draft("Clean up", "echo one\necho two", Value::Null));
    assert_eq!(
        rig.ask("edit", &id, &same).await.unwrap()["latest"],
        2,
        "nothing new is no version"
    );
    let published = rig
        .ask("publish", &id, &publish(1, &made["latest_digest"]))
        .await
        .unwrap();
    assert_eq!((&published["published"], &published["latest"]), (&json!(1), &json!(2)));

    let rig = rig.restart().await;
    let shown = rig
        .ask_as(&rig.admin, "show", &id, "?version=1", &Value::Null)
        .await
        .unwrap();
    assert_eq!(shown["content"]["script"], "echo one");
    assert_eq!(shown["version"]["state"], "published");
    assert_eq!(shown["versions"][0]["state"], "draft");
    assert_eq!(shown["versions"][0]["note"], "again");
    let content: Assembly = serde_json::from_value(shown["content"].clone()).unwrap();
    assert_eq!(
        json!(content.digest().unwrap()),
        made["latest_digest"],
        "what is shown is what the digest names"
    );

    let diff = rig
        .ask_as(&rig.admin, "diff", &id, "?from=1&to=2", &Value::Null)
        .await
        .unwrap();
    let lines = diff["script"].as_str().unwrap();
    assert!(
        lines.contains("--- version 1\n+++ version 2\n") && lines.contains("\n+echo two"),
        "{lines}"
    );
    let get = GetAssembly {
        assembly: id.parse().unwrap(),
        version: 1,
    };
    let bytes = rig.scheduler.request(&get, RequestOptions::default()).await.unwrap();
    let digest: Digest = serde_json::from_value(made["latest_digest"].clone()).unwrap();
    assert!(bytes.published && !bytes.archived);
    assert_eq!(Assembly::read(&bytes.content, &digest).unwrap(), content);
    assert_eq!(rig.events(), 3);
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let rig = Rig::start().await;
    for name in ["b", "A", "c"] {
        rig.make(name, Value::Null).await;
    }
    let gone = id_of(&rig.make("gone", Value::Null).await);
    rig.ask("archive", &gone, &json!({ "archived": true })).await.unwrap();
    let names = async |query: &str| -> (Vec<String>, Value) {
        let page = rig.ask_as(&rig.admin, "list", "", query, &Value::Null).await.unwrap();
        let items = page["items"].as_array().unwrap().iter();
        (
            items.map(|item| item["name"].as_str().unwrap().to_owned()).collect(),
            page["next_cursor"].clone(),
        )
    };
    assert_eq!(names("").await.0, ["A", "b", "c"]);
    let (first, cursor) = names("?limit=2").await;
    let cursor = cursor.as_str().unwrap().replace(' ', "%20");
    assert_eq!(
        (
            first.join(" "),
            names(&format!("?limit=2&cursor={cursor}")).await.0.join(" ")
        ),
        ("A b".into(), "c".into())
    );
    assert_eq!(names("?state=archived").await.0, ["gone"]);
    assert_eq!(names("?q=DISK%20b").await.0, ["b"]);
    assert_eq!(names("?q=one").await.0.len(), 0);
    assert_eq!(names("?q=one&in=script").await.0.len(), 3);
    assert_eq!(names("?type=python").await.0.len(), 0);
    assert_eq!(names("?tag=disk&category=upkeep&type=sh").await.0.len(), 3);
    for wrong in ["?state=odd", "?limit=x"] {
        let refused = rig
            .ask_as(&rig.admin, "list", "", wrong, &Value::Null)
            .await
            .unwrap_err();
        assert_eq!(refused.code, Code::InvalidField, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_writes_nothing() {
    let rig = Rig::start().await;
    let made = rig.make("Clean up", Value::Null).await;
    let id = id_of(&made);
    let good = draft("Other", "echo", Value::Null);
    let spoilt = |field: &str, value: Value| {
        let mut spoilt = good.clone();
        spoilt[field] = value;
        spoilt
    };
    let cases = [
        ("create", "", json!({}), Code::Malformed),
        ("create", "", json!({"draft": good, "surprise": 1}), Code::Malformed),
        (
            "create",
            "",
            json!({"draft": spoilt("script", json!(" "))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("script", json!("x".repeat(300_000)))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("type", json!("cobol"))}),
            Code::Malformed,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("sites", json!([]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("variables", json!([{"name": "a=b", "type": "string"}]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("files", json!([{"name": "a", "data_base64": "?"}]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("files", json!([{"name": "a"}]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("files", json!([{"name": "../a", "data_base64": ""}]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("files", json!([{"name": "a", "digest": made["latest_digest"]}]))}),
            Code::InvalidField,
        ),
        (
            "create",
            "",
            json!({"draft": spoilt("name", json!("CLEAN UP"))}),
            Code::NameTaken,
        ),
        (
            "create",
            "",
            json!({"draft": good, "note": "x".repeat(2_000)}),
            Code::InvalidField,
        ),
        ("edit", &id, edit(7, &good), Code::Conflict),
        ("edit", &id, json!({"draft": good}), Code::Malformed),
        ("edit", &nobody(), edit(1, &good), Code::NotFound),
        ("edit", "rubbish", edit(1, &good), Code::NotFound),
        (
            "publish",
            &id,
            publish(1, &json!(Digest::of(b"x"))),
            Code::DigestMismatch,
        ),
        ("publish", &id, publish(2, &made["latest_digest"]), Code::NotFound),
        ("publish", &nobody(), publish(1, &made["latest_digest"]), Code::NotFound),
        ("archive", &id, json!({"archived": false}), Code::WrongState),
        ("archive", &nobody(), json!({"archived": true}), Code::NotFound),
    ];
    for (verb, id, body, code) in cases {
        let refused = rig.ask(verb, id, &body).await.unwrap_err();
        assert_eq!(refused.code, code, "{verb} {body}: {}", refused.message);
    }
    for (verb, query, code) in [
        ("show", "?version=9", Code::NotFound),
        ("show", "?version=x", Code::InvalidField),
        ("diff", "?from=1&to=4", Code::NotFound),
        ("file", "", Code::InvalidField),
        (
            "file",
            &format!("?digest={}", made["latest_digest"].as_str().unwrap()),
            Code::NotFound,
        ),
    ] {
        let refused = rig
            .ask_as(&rig.admin, verb, &id, query, &Value::Null)
            .await
            .unwrap_err();
        assert_eq!(refused.code, code, "{verb}{query}");
    }
    assert_eq!(rig.events(), 1, "a refused request wrote an event");
    rig.ask("archive", &id, &json!({ "archived": true })).await.unwrap();
    for (verb, body) in [
        ("edit", edit(1, &draft("Clean up", "echo two", Value::Null))),
        ("publish", publish(1, &made["latest_digest"])),
        ("archive", json!({"archived": true})),
    ] {
        assert_eq!(
            rig.ask(verb, &id, &body).await.unwrap_err().code,
            Code::WrongState,
            "{verb}"
        );
    }
    // The name is free now, and so the assembly does not come back under it.
    rig.make("Clean up", Value::Null).await;
    let back = rig
        .ask("archive", &id, &json!({ "archived": false }))
        .await
        .unwrap_err();
    assert_eq!(back.code, Code::NameTaken);
}

#[tokio::test]
async fn files_stay_with_their_assembly() {
    let rig = Rig::start().await;
    let mut with_file = draft("With a file", "cat notes.txt", Value::Null);
    with_file["files"] = json!([{"name": "notes.txt", "mime_type": "text/plain", "data_base64": "AP8KIQ=="}]);
    let made = rig.ask("create", "", &json!({ "draft": with_file })).await.unwrap();
    let id = id_of(&made);
    let shown = rig.ask("show", &id, &Value::Null).await.unwrap();
    let file = shown["content"]["files"][0].clone();
    assert_eq!((&file["size_bytes"], &file["name"]), (&json!(4), &json!("notes.txt")));
    let query = format!("?digest={}", file["digest"].as_str().unwrap());
    let bytes = rig.ask_as(&rig.admin, "file", &id, &query, &Value::Null).await.unwrap();
    assert_eq!(bytes["data_base64"], "AP8KIQ==");
    // A later version keeps it by its digest; another assembly cannot take it that way.
    with_file["files"] = json!([{"name": "renamed.txt", "digest": file["digest"]}]);
    let second = rig.ask("edit", &id, &edit(1, &with_file)).await.unwrap();
    assert_eq!(second["latest"], 2);
    let shown = rig.ask("show", &id, &Value::Null).await.unwrap();
    assert_eq!(shown["content"]["files"][0]["size_bytes"], 4);
    let other = id_of(&rig.make("Other", Value::Null).await);
    with_file["name"] = json!("Other");
    let taken = rig.ask("edit", &other, &edit(1, &with_file)).await.unwrap_err();
    assert_eq!(taken.code, Code::InvalidField);
    let foreign = rig
        .ask_as(&rig.admin, "file", &other, &query, &Value::Null)
        .await
        .unwrap_err();
    assert_eq!(foreign.code, Code::NotFound);
}
