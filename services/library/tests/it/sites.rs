//! Who sees and changes an assembly follows from its sites; what is foreign answers like what is missing.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::routes::Right;
use serde_json::{Value, json};

use crate::rig::{RIGHTS, Rig, draft, id_of, nobody};

#[tokio::test]
async fn sites_decide_who_sees_and_who_changes() {
    let rig = Rig::start().await;
    let north = rig.operator(&RIGHTS, "berlin");
    let reader = rig.operator(&[Right::LibraryRead], "berlin");
    let ours = rig.make("ours", json!(["berlin"])).await;
    let shared = rig.make("shared", json!(["berlin", "oslo"])).await;
    let common = rig.make("common", Value::Null).await;
    let foreign = rig.make("foreign", json!(["oslo"])).await;
    let page = rig.ask_as(&north, "list", "", "", &Value::Null).await.unwrap();
    let names: Vec<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["common", "ours", "shared"]);

    let digest = |view: &Value| view["latest_digest"].clone();
    let changes = |view: &Value, sites: Value| {
        [
            ("publish", json!({"version": 1, "digest": digest(view)})),
            (
                "edit",
                json!({"based_on": 1, "draft": draft("other", "echo two", sites)}),
            ),
            ("archive", json!({"archived": true})),
        ]
    };
    let before = rig.events();
    for (verb, body) in changes(&foreign, json!(["berlin"])) {
        let theirs = rig.ask_as(&north, verb, &id_of(&foreign), "", &body).await.unwrap_err();
        let none = rig.ask_as(&north, verb, &nobody(), "", &body).await.unwrap_err();
        assert_eq!(
            (theirs.code, &theirs.message),
            (Code::NotFound, &none.message),
            "{verb}"
        );
    }
    for verb in ["show", "diff", "file"] {
        let theirs = rig
            .ask_as(&north, verb, &id_of(&foreign), "", &Value::Null)
            .await
            .unwrap_err();
        let none = rig.ask_as(&north, verb, &nobody(), "", &Value::Null).await.unwrap_err();
        assert_eq!(
            (theirs.code, &theirs.message),
            (Code::NotFound, &none.message),
            "{verb}"
        );
    }
    // Seen, and for more than the right reaches.
    for view in [&shared, &common] {
        rig.ask_as(&north, "show", &id_of(view), "", &Value::Null)
            .await
            .unwrap();
        for (verb, body) in changes(view, json!(["berlin"])) {
            let refused = rig.ask_as(&north, verb, &id_of(view), "", &body).await.unwrap_err();
            assert_eq!(refused.code, Code::OutOfScope, "{verb}");
        }
    }
    for sites in [json!(["oslo"]), json!(["berlin", "oslo"]), Value::Null] {
        let body = json!({"draft": draft("new", "echo", sites.clone())});
        let refused = rig.ask_as(&north, "create", "", "", &body).await.unwrap_err();
        assert_eq!(refused.code, Code::OutOfScope, "{sites}");
        let body = json!({"based_on": 1, "draft": draft("ours", "echo", sites)});
        let refused = rig.ask_as(&north, "edit", &id_of(&ours), "", &body).await.unwrap_err();
        assert_eq!(refused.code, Code::OutOfScope);
    }
    for (verb, body) in changes(&ours, json!(["berlin"])) {
        let refused = rig.ask_as(&reader, verb, &id_of(&ours), "", &body).await.unwrap_err();
        assert_eq!(refused.code, Code::RightMissing, "{verb}");
    }
    assert_eq!(rig.events(), before, "a refused request wrote an event");
    // A name that a foreign assembly has is no secret that could be asked for.
    let body = json!({"draft": draft("foreign", "echo", json!(["berlin"]))});
    rig.ask_as(&north, "create", "", "", &body).await.unwrap();
    for (verb, body) in changes(&ours, json!(["berlin"])) {
        rig.ask_as(&north, verb, &id_of(&ours), "", &body).await.unwrap();
    }
}
