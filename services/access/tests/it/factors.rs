//! A second factor is enrolled, asked for at each log-in, and taken away, on a real bus.

use borealis_access::{build, totp};
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::factor::{Factor, PERIOD_S, recovery_codes, totp_secret};
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{Right, STEP_UP_MS, of_verb};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{Bounds, SessionClaims, Sites, mint_session_within};
use borealis_service_kit::bus::Bus;
use borealis_service_kit::random;
use serde_json::{Value, json};

use crate::client::{ask, change_password, finish_knowing, log_in, log_in_with, post, prove_again, second, start};
use crate::harness::{Operator, World, call_at, code, narrowed, now};
use crate::people::{ask_about, invite, joined};

/// Is an authenticator app that counts codes by itself, so that no test waits for the next period.
struct App {
    secret: Vec<u8>,
}

impl App {
    /// Returns the code of a period before or behind the present one.
    fn code(&self, drift: i64) -> Factor {
        let step = totp::step_at(now()).saturating_add_signed(drift);
        Factor::totp(&totp::code(&self.secret, step)).unwrap()
    }

    fn digits(&self, drift: i64) -> String {
        totp::code(&self.secret, totp::step_at(now()).saturating_add_signed(drift))
    }
}

/// Waits until the present period goes on for a while: each test uses the three codes that serve in it.
async fn room() {
    borealis_test_support::eventually("a period with room", async || {
        let within_s = now().unix_ms().div_euclid(1_000).rem_euclid(PERIOD_S);
        (within_s < 18).then_some(())
    })
    .await
    .unwrap();
}

async fn send(bus: &Bus, operator: &Operator, verb: &str, body: Value) -> Reply<Value> {
    ask_about(bus, operator, verb, "", &body).await
}

async fn enrol(bus: &Bus, ada: &Operator, factor: Option<&Factor>) -> Reply<App> {
    let asked = async |body: Value| send(bus, ada, "totp-enrol", body).await;
    let (offered, secret) = prove_again("ada", "p", factor, asked).await?;
    assert!(offered["confirm_until"].is_string(), "{offered}");
    assert_eq!(offered.as_object().unwrap().len(), 1, "no secret is sent: {offered}");
    Ok(App {
        secret: totp_secret(&secret).to_vec(),
    })
}

/// Enrols an app and confirms it by the code of the period before, so that later ones are left to log in.
async fn with_app(bus: &Bus, ada: &Operator) -> App {
    room().await;
    let app = enrol(bus, ada, None).await.unwrap();
    let standing = send(bus, ada, "totp-confirm", json!({"code": app.digits(-1)})).await;
    assert_eq!(
        standing.unwrap(),
        json!({"second_factor": true, "recovery_codes_left": 0})
    );
    app
}

#[tokio::test]
async fn a_log_in_takes_a_code_and_each_code_serves_once() {
    let (world, access, gateway, ada) = World::with_ada().await;
    room().await;
    let app = enrol(&gateway, &ada, None).await.unwrap();
    let wrong = send(&gateway, &ada, "totp-confirm", json!({"code": "000000"})).await;
    assert_eq!(code(wrong), Code::FactorInvalid);
    // Until it is confirmed the password alone serves.
    assert!(log_in_with(&gateway, "ada", "p", None).await.0.unwrap()["token"].is_string());
    let confirmed = send(&gateway, &ada, "totp-confirm", json!({"code": app.digits(-1)})).await;
    confirmed.unwrap();

    let alone = log_in_with(&gateway, "ada", "p", None).await.0.unwrap();
    assert_eq!(alone["factors"], json!(["totp"]), "{alone}");
    assert!(alone.get("token").is_none());
    // The code that confirmed it is used up.
    let used = log_in_with(&gateway, "ada", "p", Some(&app.code(-1))).await.0;
    assert_eq!(code(used), Code::FactorInvalid);
    let fresh = log_in_with(&gateway, "ada", "p", Some(&app.code(0))).await.1.unwrap();
    let session = ask_about(&gateway, &fresh, "session", "", &json!({})).await.unwrap();
    assert_eq!(session["second_factor"], true);
    let again = log_in_with(&gateway, "ada", "p", Some(&app.code(0))).await.0;
    assert_eq!(code(again), Code::FactorInvalid);

    // The same after a restart: what was used stays used, and the sealed secret opens.
    access.stop().await.unwrap();
    let access = world.serve(Service::Access, build).await;
    let again = log_in_with(&gateway, "ada", "p", Some(&app.code(0))).await.0;
    assert_eq!(code(again), Code::FactorInvalid);
    assert!(log_in_with(&gateway, "ada", "p", Some(&app.code(1))).await.0.is_ok());
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_password_is_changed_with_a_code_too_and_once() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let app = with_app(&gateway, &ada).await;
    let change = async |old: &str, factor: Option<&Factor>| {
        let asked = async |body: Value| send(&gateway, &ada, "password", body).await;
        change_password("ada", (old, factor), "new", asked).await.unwrap()
    };
    assert_eq!(code(change("p", None).await), Code::FactorRequired);
    assert_eq!(code(change("p", Some(&app.code(-1))).await), Code::FactorInvalid);
    assert_eq!(
        log_in_with(&gateway, "ada", "p", None).await.0.unwrap()["factors"],
        json!(["totp"])
    );
    change("p", Some(&app.code(0))).await.unwrap();
    assert!(log_in(&gateway, "ada", "p").await.is_err());
    let again = log_in_with(&gateway, "ada", "new", Some(&app.code(0))).await.0;
    assert_eq!(code(again), Code::FactorInvalid, "the code is used up");
    assert!(log_in_with(&gateway, "ada", "new", Some(&app.code(1))).await.0.is_ok());
    access.stop().await.unwrap();
}

#[tokio::test]
async fn codes_are_throttled_like_passwords_and_a_log_in_is_good_for_five() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let app = with_app(&gateway, &ada).await;
    let public = PublicKey::of(&random::signing_key());
    let wrong = Factor::totp("000000").unwrap();
    let before = access.events().unwrap();
    let mut refused = Vec::new();
    for _ in 0..3 {
        let (client, started) = start(&gateway, "ada", "p", public, "192.0.2.1").await.unwrap();
        let (finish, secret) = finish_knowing(client, &started, "ada", "p", public).unwrap();
        let answer = post(&gateway, "login", &finish).await.unwrap();
        for _ in 0..6 {
            refused.push(code(post(&gateway, "login", &second(&answer, &secret, &wrong)).await));
        }
    }
    let tried = refused.iter().filter(|code| **code == Code::FactorInvalid).count();
    assert_eq!(tried, 10, "{refused:?}");
    assert_eq!(&refused[5..6], [Code::LoginFailed], "five tries for one password");
    assert!(refused.contains(&Code::Throttled));
    let right = log_in_with(&gateway, "ada", "p", Some(&app.code(0))).await.0;
    assert_eq!(code(right), Code::Throttled);
    assert_eq!(access.events().unwrap(), before, "no session was begun");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_code_serves_only_the_log_in_for_which_it_was_proved() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let app = with_app(&gateway, &ada).await;
    let public = PublicKey::of(&random::signing_key());
    let (client, started) = start(&gateway, "ada", "p", public, "192.0.2.1").await.unwrap();
    let (finish, secret) = finish_knowing(client, &started, "ada", "p", public).unwrap();
    let mine = post(&gateway, "login", &finish).await.unwrap();
    let (client, started) = start(&gateway, "ada", "p", public, "192.0.2.1").await.unwrap();
    let (finish, _) = finish_knowing(client, &started, "ada", "p", public).unwrap();
    let thiefs = post(&gateway, "login", &finish).await.unwrap();
    // Whoever carries the proof cannot use it for a log-in of their own.
    let carried = second(&thiefs, &secret, &app.code(0));
    assert_eq!(code(post(&gateway, "login", &carried).await), Code::FactorInvalid);
    let own = second(&mine, &secret, &app.code(0));
    assert!(post(&gateway, "login", &own).await.unwrap()["token"].is_string());
    assert_eq!(code(post(&gateway, "login", &own).await), Code::LoginFailed);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn recovery_codes_serve_once_and_the_log_holds_none() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let asked = async |body: Value| send(&gateway, &ada, "recovery-codes", body).await;
    let none = prove_again("ada", "p", None, asked).await;
    assert_eq!(code(none), Code::WrongState);
    let app = with_app(&gateway, &ada).await;
    let missing = prove_again("ada", "p", None, asked).await;
    assert_eq!(code(missing), Code::FactorRequired);
    let (made, secret) = prove_again("ada", "p", Some(&app.code(0)), asked).await.unwrap();
    assert_eq!(made, json!({"second_factor": true, "recovery_codes_left": 10}));
    let codes = recovery_codes(&secret);
    let recovery = |text: &str| Factor::recovery(text).unwrap();

    let factors = log_in_with(&gateway, "ada", "p", None).await.0.unwrap()["factors"].clone();
    assert_eq!(factors, json!(["totp", "recovery"]));
    let begun = log_in_with(&gateway, "ada", "p", Some(&recovery(&codes[3]))).await.0;
    assert!(begun.unwrap()["token"].is_string());
    for gone in [codes[3].as_str(), "AAAA-AAAA-AAAA-AAAA"] {
        let again = log_in_with(&gateway, "ada", "p", Some(&recovery(gone))).await.0;
        assert_eq!(code(again), Code::FactorInvalid);
    }
    let session = ask_about(&gateway, &ada, "session", "", &json!({})).await.unwrap();
    assert_eq!(session["recovery_codes_left"], 9);

    let hidden = codes.iter().map(|code| code.replace('-', "").into_bytes());
    let hidden: Vec<Vec<u8>> = hidden.chain([app.secret.clone()]).collect();
    for event in access.log.read_all(0, 1_000).unwrap() {
        let body = event.body.unwrap_or_default();
        for secret in &hidden {
            assert!(
                !body.windows(secret.len()).any(|bytes| bytes == secret),
                "{}",
                event.kind
            );
        }
    }
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_factor_is_taken_away_by_its_owner_or_by_one_who_holds_no_less() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (bob_user, bob) = joined(&gateway, &ada, "bob", &["technician"]).await;
    let app = with_app(&gateway, &ada).await;
    let users = ask_about(&gateway, &ada, "users-list", "", &json!({})).await.unwrap();
    let of = |name: &str| {
        let items = users["items"].as_array().unwrap();
        items.iter().find(|user| user["username"] == name).unwrap().clone()
    };
    assert_eq!(
        (&of("ada")["second_factor"], &of("bob")["second_factor"]),
        (&json!(true), &json!(false))
    );
    let adas_id = of("ada")["id"].as_str().unwrap().to_owned();
    let none = json!({});
    let refused = ask_about(&gateway, &bob, "users-reset-factor", &adas_id, &none).await;
    assert_eq!(code(refused), Code::RightMissing);
    let nothing = ask_about(&gateway, &ada, "users-reset-factor", &bob_user.id.to_string(), &none).await;
    assert_eq!(code(nothing), Code::WrongState);

    // Another app takes a code of the first.
    assert_eq!(
        enrol(&gateway, &ada, None).await.err().map(|error| error.code),
        Some(Code::FactorRequired)
    );
    let other = enrol(&gateway, &ada, Some(&app.code(0))).await.unwrap();
    send(&gateway, &ada, "totp-confirm", json!({"code": other.digits(-1)}))
        .await
        .unwrap();
    let by_first = log_in_with(&gateway, "ada", "p", Some(&app.code(1))).await.0;
    assert_eq!(code(by_first), Code::FactorInvalid);
    assert!(log_in_with(&gateway, "ada", "p", Some(&other.code(0))).await.0.is_ok());

    let removed = send(&gateway, &ada, "totp-remove", none.clone()).await.unwrap();
    assert_eq!(removed["second_factor"], false);
    assert!(log_in_with(&gateway, "ada", "p", None).await.0.unwrap()["token"].is_string());
    with_app(&gateway, &ada).await;
    let reset = ask_about(&gateway, &ada, "users-reset-factor", &adas_id, &none)
        .await
        .unwrap();
    assert_eq!(reset["second_factor"], false);
    assert!(log_in_with(&gateway, "ada", "p", None).await.0.unwrap()["token"].is_string());
    access.stop().await.unwrap();
}

/// Is the same log-in with a biscuit that says that the password was proved some time ago.
pub async fn aged(world: &World, gateway: &Bus, ada: &Operator, ago_ms: i64) -> Operator {
    let session = ask_about(gateway, ada, "session", "", &json!({})).await.unwrap();
    let claims = SessionClaims {
        operator: serde_json::from_value(session["operator"].clone()).unwrap(),
        username: "ada".into(),
        session: ada.session,
        session_key: PublicKey::of(&ada.key),
        rights: Right::ALL.into_iter().map(|right| (right, Sites::All)).collect(),
        expires_at: now().plus_ms(3_600_000),
    };
    let bounds = Bounds {
        proved_at: Some(now().plus_ms(-ago_ms)),
        ..Bounds::default()
    };
    let root = borealis_test_support::biscuit_root(&world.bus).unwrap();
    Operator {
        token: mint_session_within(&root, &claims, &bounds).unwrap(),
        ..ada.clone()
    }
}

#[tokio::test]
async fn a_dangerous_act_waits_for_the_password_and_the_session_goes_on() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let app = with_app(&gateway, &ada).await;
    let old = aged(&world, &gateway, &ada, STEP_UP_MS).await;
    let before = access.events().unwrap();
    let refused = invite(&gateway, &old, "bob", &["viewer"]).await;
    assert_eq!(code(refused), Code::StepUpRequired);
    // What is not dangerous goes on.
    ask_about(&gateway, &old, "users-list", "", &json!({})).await.unwrap();

    let asked = async |body: Value| send(&gateway, &old, "step-up", body).await;
    let missing = prove_again("ada", "p", None, asked).await;
    assert_eq!(code(missing), Code::FactorRequired);
    let used = prove_again("ada", "p", Some(&app.code(-1)), asked).await;
    assert_eq!(code(used), Code::FactorInvalid);
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    let (done, _) = prove_again("ada", "p", Some(&app.code(0)), asked).await.unwrap();
    assert_eq!(done["session_id"], json!(old.session));
    let proved = Operator {
        token: done["token"].as_str().unwrap().to_owned(),
        ..old.clone()
    };
    invite(&gateway, &proved, "bob", &["viewer"]).await.unwrap();
    // The old biscuit is what it was, and the new one is of the same session.
    let still = invite(&gateway, &old, "eve", &["viewer"]).await;
    assert_eq!(code(still), Code::StepUpRequired);
    send(&gateway, &old, "logout", json!({})).await.unwrap();
    let over = ask_about(&gateway, &proved, "session", "", &json!({})).await;
    assert_eq!(code(over), Code::TokenRevoked);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_did_not_hear_the_answer_proves_once() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let last = std::cell::RefCell::new(None);
    let need = of_verb(Service::Access, "step-up").unwrap().need;
    let token = || Some(narrowed(&ada.token, Service::Access, need, 0));
    let asked = async |body: Value| {
        let call = call_at(
            &ada,
            Service::Access,
            "step-up",
            body.to_string().as_bytes(),
            random::id(),
            now(),
        );
        let answer = ask(&gateway, Service::Access, "step-up", &call, token()).await?;
        last.replace(Some(call));
        Ok(serde_json::from_str(&answer).unwrap())
    };
    let (first, _) = prove_again("ada", "p", None, asked).await.unwrap();
    let position = access.events().unwrap();
    let call = last.borrow().clone().unwrap();
    let again = ask(&gateway, Service::Access, "step-up", &call, token()).await.unwrap();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["proved_at"], access.events().unwrap()),
        (&first["proved_at"], position)
    );
    let kept = access
        .log
        .command(call.proof.as_ref().unwrap().command.as_bytes())
        .unwrap()
        .unwrap()
        .answer;
    let biscuit = first["token"].as_str().unwrap();
    assert!(
        !String::from_utf8_lossy(&kept).contains(biscuit),
        "the log keeps no biscuit"
    );
    // Who has another session of the same operator repeats the words under its own key: the proof was not theirs.
    let thief = log_in(&gateway, "ada", "p").await.unwrap();
    let (command, body) = (call.proof.as_ref().unwrap().command, call.body.clone());
    let stolen = call_at(&thief, Service::Access, "step-up", &body, command, now());
    let token = Some(narrowed(&thief.token, Service::Access, need, 0));
    let refused = ask(&gateway, Service::Access, "step-up", &stolen, token).await;
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
    access.stop().await.unwrap();
}
