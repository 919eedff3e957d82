//! What goes wrong has an exit code, and with `--json` a code that programs read.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::Guid;
use borealis_bus_schema::reply::WireError;
use borealis_bus_schema::subjects::Service;
use borealis_test_support::TestBus;
use serde_json::json;

use crate::setting::{Setting, ended, program};

#[tokio::test]
async fn what_cannot_be_meant_is_a_usage_error() {
    for args in [
        &["nonsense"][..],
        &["run", "--json", "--all"],
        &["--json"],
        &["jobs", "show", "x", "--json"],
    ] {
        let end = ended(&mut program(args), "").await;
        assert_eq!(end.code, 64, "{args:?} {}", end.stderr);
        if args.contains(&"--json") {
            assert_eq!(end.json()["error"]["code"], "invalid_field", "{args:?}");
            assert_eq!(end.json()["error"]["exit_code"], 64);
        }
    }
    assert_eq!(ended(&mut program(&["--help"]), "").await.code, 0);
    assert_eq!(ended(&mut program(&["--version"]), "").await.code, 0);
    let no_ca = ended(&mut program(&["session", "--json"]), "").await;
    assert_eq!(no_ca.code, 64);
    let bad_ca = ended(
        program(&["session", "--json"]).env("BOREALIS_CA", "/does/not/exist"),
        "",
    )
    .await;
    assert_eq!(bad_ca.code, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_not_getting_through_has_its_code() {
    let setting = Setting::start().await.with_session().await;
    let guid = Guid::from_random([1; 16]).to_string();

    let no_token = ended(&mut setting.bare(&["session", "--json"]), "").await;
    assert_eq!(
        (no_token.code, &no_token.json()["error"]["code"]),
        (77, &json!("token_missing"))
    );

    let secret = format!("brl1.{}.secret-biscuit", "A".repeat(43));
    let wrong = ended(setting.bare(&["session", "--json"]).env("BOREALIS_TOKEN", &secret), "").await;
    assert_eq!(
        (wrong.code, &wrong.json()["error"]["code"]),
        (77, &json!("token_invalid"))
    );
    let broken = ended(setting.bare(&["session"]).env("BOREALIS_TOKEN", "secret-biscuit"), "").await;
    assert_eq!(broken.code, 77);
    for end in [&wrong, &broken] {
        assert!(!end.stdout.contains("secret-biscuit") && !end.stderr.contains("secret-biscuit"));
    }

    let mut elsewhere = setting.bare(&["session", "--json", "--url", "https://localhost:1"]);
    let away = ended(elsewhere.env("BOREALIS_TOKEN", setting.token.reveal()), "").await;
    assert_eq!((away.code, &away.json()["error"]["code"]), (69, &json!("unavailable")));

    let other = TestBus::provision().unwrap();
    let mut foreign = setting.bare(&["session", "--json"]);
    foreign.env("BOREALIS_CA", other.paths().ca_pem());
    let distrusted = ended(foreign.env("BOREALIS_TOKEN", setting.token.reveal()), "").await;
    assert_eq!(distrusted.code, 69, "{}", distrusted.stdout);

    setting
        .serve(Service::Scheduler, |_, _| {
            Err(WireError::new(Code::RightMissing, "not yours"))
        })
        .await;
    let refused = setting.run(&["run", "--json", "--device", &guid, "--", "uname"]).await;
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (77, &json!("right_missing"))
    );
    assert_eq!(refused.json()["error"]["message"], "not yours");
    let told = setting.run(&["run", "--device", &guid, "--", "uname"]).await;
    assert!(
        told.stdout.is_empty() && told.stderr.contains("right_missing"),
        "{}",
        told.stderr
    );
}
