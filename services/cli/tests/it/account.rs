//! Set-up, log-in, log-out and the stored session; once with a whole server.

use std::os::unix::fs::PermissionsExt;

use borealis::connection::{self, Stored};
use borealis_bus_schema::ids::SessionId;
use borealis_test_support::TestServer;
use serde_json::json;

use crate::setting::{Setting, ended, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_session_serves_until_the_log_out() {
    let setting = Setting::start().await.with_session().await;
    let root = setting.bus.root().join("operator");
    let path = connection::session_path(&root);
    let stored = Stored {
        url: setting.url(),
        ca_pem: std::fs::read_to_string(setting.bus.paths().ca_pem()).unwrap(),
        token: setting.token.reveal(),
        session_id: SessionId::from_bytes([2; 16]),
    };
    connection::write(&path, &stored).unwrap();
    let root = root.display().to_string();
    let who = ended(&mut program(&["session", "--json", "--root", &root]), "").await;
    assert_eq!(
        (who.code, &who.json()["username"]),
        (0, &json!("ada")),
        "{}",
        who.stderr
    );
    let text = ended(&mut program(&["session", "--root", &root]), "").await;
    assert!(text.stdout.contains("jobs.run"));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ended(&mut program(&["session", "--root", &root]), "").await.code, 70);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

    let out = ended(&mut program(&["logout", "--root", &root]), "").await;
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(!path.exists());
    assert_ne!(ended(&mut program(&["session", "--root", &root]), "").await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_operator_is_set_up_logs_in_and_out() {
    let server = TestServer::start().await.unwrap();
    let link_file = server.paths().root().join("link");
    std::fs::write(&link_file, server.ready().setup_link.as_deref().unwrap()).unwrap();
    let link = format!("@{}", link_file.display());
    let bare = |args: &[&str]| {
        let mut command = program(args);
        command
            .env("BOREALIS_URL", &server.ready().url)
            .env("BOREALIS_CA", &server.ready().ca);
        command
    };
    let setup = [
        "setup",
        "--link",
        &link,
        "--username",
        " Ada ",
        "--password-stdin",
        "--json",
    ];
    let password = "correct horse battery staple\n";

    let made = ended(&mut bare(&setup), password).await;
    assert_eq!(
        (made.code, &made.json()["username"]),
        (0, &json!("ada")),
        "{} {}",
        made.stdout,
        made.stderr
    );
    assert!(made.json()["token"].as_str().unwrap().starts_with("brl1."));
    let again = ended(&mut bare(&setup), password).await;
    assert_eq!(
        (again.code, &again.json()["error"]["code"]),
        (77, &json!("setup_closed")),
        "{}",
        again.stdout
    );

    let login = ["login", "--username", "ada", "--password-stdin", "--json"];
    let wrong = ended(&mut bare(&login), "wrong\n").await;
    assert_eq!(
        (wrong.code, &wrong.json()["error"]["code"]),
        (77, &json!("login_failed"))
    );
    let right = ended(&mut bare(&login), password).await;
    assert_eq!(right.code, 0, "{} {}", right.stdout, right.stderr);
    let token = right.json()["token"].as_str().unwrap().to_owned();
    let with = |args: &[&str]| {
        let mut command = bare(args);
        command.env("BOREALIS_TOKEN", &token);
        command
    };
    let who = ended(&mut with(&["session", "--json"]), "").await;
    assert_eq!(
        (who.code, &who.json()["session_id"]),
        (0, &right.json()["session_id"]),
        "{}",
        who.stdout
    );
    assert_eq!(ended(&mut with(&["logout"]), "").await.code, 0);
    let over = ended(&mut with(&["session", "--json"]), "").await;
    assert_eq!(
        (over.code, &over.json()["error"]["code"]),
        (77, &json!("token_revoked"))
    );
}
