//! The second factor with the real server and the real command line: from the QR code to a log-in by a recovery code.

use borealis_access::totp;
use borealis_bus_schema::factor::PERIOD_S;
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_test_support::eventually_within;
use data_encoding::BASE32_NOPAD;
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE, said};

const PASSWORD: &str = "correct horse battery staple";

/// Returns the code of a period before or behind the present one.
fn code(secret: &[u8], drift: i64) -> String {
    totp::code(secret, totp::step_at(SystemClock.now()).saturating_add_signed(drift))
}

/// Waits until the present period goes on for a while: the test uses the codes that serve in it.
async fn room() {
    eventually_within("a period with room", PATIENCE, async || {
        let within_s = SystemClock.now().unix_ms().div_euclid(1_000).rem_euclid(PERIOD_S);
        (within_s < 15).then_some(())
    })
    .await
    .unwrap();
}

fn answer(fleet: &Fleet, args: &[&str], input: &[&str]) -> (Option<i32>, Value) {
    let out = fleet.with_input(args, &(input.join("\n") + "\n"));
    let value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{args:?}: {}", said(&out)));
    (out.status.code(), value)
}

#[tokio::test]
async fn the_command_line_enrols_an_app_and_logs_in_by_its_codes() {
    let mut fleet = Fleet::start(0).await;
    let enrol = ["totp", "enrol", "--password-stdin", "--json"];
    let login = ["login", "--username", "ada", "--password-stdin", "--json"];
    let (status, refused) = answer(&fleet, &enrol, &["not the password"]);
    assert_eq!(
        (status, refused["error"]["code"].as_str()),
        (Some(77), Some("login_failed"))
    );

    room().await;
    let (_, offered) = answer(&fleet, &enrol, &[PASSWORD]);
    let secret = BASE32_NOPAD
        .decode(offered["secret"].as_str().unwrap().as_bytes())
        .unwrap();
    assert!(
        offered["address"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/Borealis:ada%40"),
        "{offered}"
    );
    let (_, standing) = answer(
        &fleet,
        &["totp", "confirm", "--totp-stdin", "--json"],
        &[&code(&secret, -1)],
    );
    assert_eq!(standing["second_factor"], true, "{standing}");

    let (status, missing) = answer(&fleet, &login, &[PASSWORD]);
    assert_eq!(
        (status, missing["error"]["code"].as_str()),
        (Some(77), Some("factor_required"))
    );
    let with_code = [&login[..], &["--totp-stdin"]].concat();
    let (_, begun) = answer(&fleet, &with_code, &[PASSWORD, &code(&secret, 0)]);
    assert!(begun["token"].as_str().unwrap().starts_with("brl1."));
    let (status, again) = answer(&fleet, &with_code, &[PASSWORD, &code(&secret, 0)]);
    assert_eq!(
        (status, again["error"]["code"].as_str()),
        (Some(77), Some("factor_invalid"))
    );

    let create = ["recovery-codes", "create", "--password-stdin", "--totp-stdin", "--json"];
    let (_, made) = answer(&fleet, &create, &[PASSWORD, &code(&secret, 1)]);
    let codes = made["codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    let dir = tempfile::TempDir::with_prefix("borealis-code-").unwrap();
    let file = dir.path().join("code");
    std::fs::write(&file, codes[0].as_str().unwrap()).unwrap();
    let at_file = format!("@{}", file.display());
    let by_recovery = [&login[..], &["--recovery-code", &at_file]].concat();
    let (_, begun) = answer(&fleet, &by_recovery, &[PASSWORD]);
    assert!(begun["token"].as_str().unwrap().starts_with("brl1."));
    let (_, again) = answer(&fleet, &by_recovery, &[PASSWORD]);
    assert_eq!(again["error"]["code"], "factor_invalid");

    let session = fleet.json(&["session", "--json"]);
    assert_eq!(
        (&session["second_factor"], &session["recovery_codes_left"]),
        (&Value::Bool(true), &Value::from(9))
    );
    let by_recovery = std::fs::write(&file, codes[2].as_str().unwrap());
    by_recovery.unwrap();
    let step_up = ["step-up", "--password-stdin", "--recovery-code", &at_file, "--json"];
    let (_, proved) = answer(&fleet, &step_up, &[PASSWORD]);
    let (own, fresh) = (fleet.token.clone(), proved["token"].as_str().unwrap().to_owned());
    assert_ne!(own, fresh);
    fleet.token = fresh;
    let again = fleet.json(&["session", "--json"]);
    assert_eq!(again["session_id"], session["session_id"]);
    assert!(again["proved_at"].as_str() >= session["proved_at"].as_str(), "{again}");
    let reset = fleet.json(&["users", "reset-factor", "ada", "--json"]);
    assert_eq!(reset["second_factor"], false);
    let (_, begun) = answer(&fleet, &login, &[PASSWORD]);
    assert!(begun["token"].as_str().unwrap().starts_with("brl1."));
    // What was read and written nowhere stands in a log file.
    for service in ["access", "gateway", "server"] {
        let log = fleet.server.log(service);
        for secret in [offered["secret"].as_str().unwrap(), codes[1].as_str().unwrap()] {
            assert!(!log.contains(secret), "{service}");
        }
    }
}
