//! Passkeys are made, used and removed on a real bus; and whoever stands between gets nothing by them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::messages::access::UserView;
use borealis_bus_schema::operator::OperatorCall;
use borealis_bus_schema::passkey::Asked;
use borealis_bus_schema::reply::Reply;
use borealis_bus_schema::routes::{STEP_UP_MS, of_verb};
use borealis_bus_schema::seeds::LinkSecret;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::bus::Bus;
use borealis_service_kit::random;
use borealis_test_support::{Answer, Authenticator, Seen};
use serde_json::{Value, json};

use crate::client::{ask, post, post_from};
use crate::factors::aged;
use crate::harness::{Operator, Running, World, call_at, code, narrowed, now};
use crate::people::{ask_about, joined};

const HOST: &str = "localhost";
const ORIGIN: &str = "https://localhost:5000";

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn nonce(answer: &Value) -> [u8; 32] {
    let bytes = URL_SAFE_NO_PAD.decode(answer["nonce"].as_str().unwrap()).unwrap();
    bytes.try_into().unwrap()
}

/// Is a passkey with what it knows of its owner.
struct Phone {
    authenticator: Authenticator,
    user_handle: String,
    id: String,
}

impl Phone {
    fn answer(&mut self, seen: &Seen) -> Value {
        let answer = self.authenticator.answer(seen).unwrap();
        self.assertion(&answer)
    }

    fn assertion(&self, answer: &Answer) -> Value {
        json!({
            "credential_id": text(&self.authenticator.credential), "client_data_json": text(&answer.client_data),
            "authenticator_data": text(&answer.authenticator_data), "signature": text(&answer.signature),
            "user_handle": self.user_handle,
        })
    }
}

/// Makes a passkey, as the page does.
async fn register(bus: &Bus, operator: &Operator, name: &str) -> Reply<Phone> {
    let started = ask_about(
        bus,
        operator,
        "passkeys-register",
        "",
        &json!({"step": "start", "host": HOST}),
    )
    .await?;
    let asked = Asked::Register {
        session: operator.session,
        session_key: PublicKey::of(&operator.key),
    };
    let authenticator = Authenticator::new().unwrap();
    let made = authenticator.make(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    let finish = json!({
        "step": "finish", "ceremony_id": started["ceremony_id"], "name": name,
        "made": {"client_data_json": text(&made.client_data), "authenticator_data": text(&made.authenticator_data)},
    });
    let made = ask_about(bus, operator, "passkeys-register", "", &finish).await?;
    assert_eq!((&made["name"], &made["host"]), (&json!(name), &json!(HOST)));
    Ok(Phone {
        authenticator,
        user_handle: started["user_handle"].as_str().unwrap().to_owned(),
        id: made["id"].as_str().unwrap().to_owned(),
    })
}

async fn begin(bus: &Bus, key: PublicKey) -> Value {
    let body = json!({"step": "passkey_start", "host": HOST, "session_public_key": key});
    post(bus, "login", &body).await.unwrap()
}

fn shown(key: PublicKey, started: &Value) -> Seen {
    Seen::well(
        ORIGIN,
        HOST,
        Asked::LogIn { session_key: key }.challenge(&nonce(started)),
    )
}

async fn finish(bus: &Bus, started: &Value, assertion: &Value) -> Reply<Value> {
    let body = json!({"step": "passkey_finish", "login_id": started["login_id"], "assertion": assertion});
    post(bus, "login", &body).await
}

/// Logs in with a passkey, as the page does.
async fn log_in(bus: &Bus, phone: &mut Phone) -> Reply<Operator> {
    let key = random::signing_key();
    let public = PublicKey::of(&key);
    let started = begin(bus, public).await;
    let answer = finish(bus, &started, &phone.answer(&shown(public, &started))).await?;
    Ok(Operator {
        session: serde_json::from_value(answer["session_id"].clone()).unwrap(),
        token: answer["token"].as_str().unwrap().to_owned(),
        key,
    })
}

/// Counts what stands in the log, refusals on record aside.
fn happened(access: &Running) -> usize {
    let events = access.log.read_all(0, 1_000).unwrap();
    events
        .iter()
        .filter(|event| event.kind != borealis_bus_schema::audit::KIND)
        .count()
}

#[tokio::test]
async fn a_passkey_is_made_named_and_logs_in_without_the_password_until_it_is_removed() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    let session = ask_about(&gateway, &ada, "session", "", &json!({})).await.unwrap();
    assert_eq!(session["passkeys"], 1);
    let begun = log_in(&gateway, &mut phone).await.unwrap();
    let session = ask_about(&gateway, &begun, "session", "", &json!({})).await.unwrap();
    assert_eq!(
        (&session["username"], session["proved_at"].is_string()),
        (&json!("ada"), true)
    );

    // The same after a restart.
    access.stop().await.unwrap();
    let access = world.serve(Service::Access, borealis_access::build).await;
    log_in(&gateway, &mut phone).await.unwrap();
    let renamed = ask_about(
        &gateway,
        &begun,
        "passkeys-rename",
        &phone.id,
        &json!({"name": "Old phone"}),
    )
    .await;
    let renamed = renamed.unwrap();
    assert_eq!(
        (&renamed["name"], renamed["last_used_at"].is_string()),
        (&json!("Old phone"), true)
    );
    let listed = ask_about(&gateway, &ada, "passkeys-list", "", &json!({}))
        .await
        .unwrap();
    assert_eq!(listed["items"], json!([renamed]));

    // Nobody else sees, names or removes it.
    let (_, bob) = joined(&gateway, &ada, "bob", &["administrator"]).await;
    let none = ask_about(&gateway, &bob, "passkeys-list", "", &json!({}))
        .await
        .unwrap();
    assert_eq!(none["items"], json!([]));
    let before = happened(&access);
    for (verb, body) in [
        ("passkeys-rename", json!({"name": "mine"})),
        ("passkeys-remove", json!({})),
    ] {
        assert_eq!(
            code(ask_about(&gateway, &bob, verb, &phone.id, &body).await),
            Code::NotFound,
            "{verb}"
        );
    }
    let old = aged(&world, &gateway, &ada, STEP_UP_MS).await;
    let refused = ask_about(&gateway, &old, "passkeys-remove", &phone.id, &json!({})).await;
    assert_eq!(code(refused), Code::StepUpRequired);
    assert_eq!(
        register(&gateway, &old, "more").await.err().map(|e| e.code),
        Some(Code::StepUpRequired)
    );
    assert_eq!(happened(&access), before);
    ask_about(&gateway, &ada, "passkeys-remove", &phone.id, &json!({}))
        .await
        .unwrap();
    let gone = log_in(&gateway, &mut phone).await;
    assert_eq!(gone.err().map(|error| error.code), Some(Code::PasskeyUnknown));
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_puts_its_own_key_into_a_log_in_gets_no_session() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    let before = happened(&access);
    let (own, thiefs) = (
        PublicKey::of(&random::signing_key()),
        PublicKey::of(&random::signing_key()),
    );
    // The page asks for its own key, the gateway for another; the passkey signs what the page made.
    let started = begin(&gateway, thiefs).await;
    let assertion = phone.answer(&shown(own, &started));
    assert_eq!(
        code(finish(&gateway, &started, &assertion).await),
        Code::PasskeyChallenge
    );
    // Nor with the nonce of another log-in under the right key.
    let (first, second) = (begin(&gateway, own).await, begin(&gateway, own).await);
    let assertion = phone.answer(&shown(own, &first));
    assert_eq!(
        code(finish(&gateway, &second, &assertion).await),
        Code::PasskeyChallenge
    );
    // Nor with an answer that was given within a session, for a step-up.
    let started = begin(&gateway, own).await;
    let asked = Asked::StepUp {
        session: ada.session,
        session_key: own,
        act: None,
    };
    let assertion = phone.answer(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    assert_eq!(
        code(finish(&gateway, &started, &assertion).await),
        Code::PasskeyChallenge
    );
    assert_eq!(happened(&access), before, "no session was begun");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_serves_once_and_a_counter_that_stands_still_is_a_copy() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    for _ in 0..2 {
        log_in(&gateway, &mut phone).await.unwrap();
    }
    let key = PublicKey::of(&random::signing_key());
    let started = begin(&gateway, key).await;
    let assertion = phone.answer(&shown(key, &started));
    finish(&gateway, &started, &assertion).await.unwrap();
    let before = happened(&access);
    assert_eq!(
        code(finish(&gateway, &started, &assertion).await),
        Code::PasskeyChallenge
    );
    // A copy of the passkey does not know how far the other counted.
    for counted in [0, 2] {
        phone.authenticator.counter = counted;
        let copied = log_in(&gateway, &mut phone).await;
        assert_eq!(
            copied.err().map(|error| error.code),
            Some(Code::PasskeyCopied),
            "{counted}"
        );
    }
    phone.authenticator.counter = 3;
    assert_eq!(happened(&access), before);
    let recorded = access.log.read_all(0, 1_000).unwrap();
    let recorded = recorded.iter().filter_map(|event| event.body.as_deref());
    let named = |body: &[u8]| body.windows(14).any(|bytes| bytes == b"passkey_copied");
    assert_eq!(recorded.filter(|body| named(body)).count(), 2, "each is on record");
    log_in(&gateway, &mut phone).await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn what_browser_or_authenticator_say_wrongly_begins_no_session() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (_, bob) = joined(&gateway, &ada, "bob", &["administrator"]).await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    let mut bobs = register(&gateway, &bob, "Key").await.unwrap();
    let before = happened(&access);
    let key = PublicKey::of(&random::signing_key());
    type Wrong = fn(&mut Seen);
    let wrongs: [(Code, Wrong); 5] = [
        (Code::PasskeyOrigin, |seen| {
            seen.origin = "https://evil.example".to_owned()
        }),
        (Code::PasskeyOrigin, |seen| seen.rp_id = "evil.example".to_owned()),
        (Code::PasskeyUnverified, |seen| seen.flags = 1),
        (Code::PasskeyUnverified, |seen| seen.flags = 4),
        (Code::PasskeyInvalid, |seen| {
            seen.kind = Some("webauthn.create".to_owned())
        }),
    ];
    for (number, (expected, wrong)) in wrongs.into_iter().enumerate() {
        let started = begin(&gateway, key).await;
        let mut seen = shown(key, &started);
        wrong(&mut seen);
        let refused = finish(&gateway, &started, &phone.answer(&seen)).await;
        assert_eq!(code(refused), expected, "{number}");
    }
    // Somebody else's passkey is not one's own by another name or another owner.
    type Change = fn(&mut Value, &Value);
    let changes: [(Code, Change); 5] = [
        (Code::PasskeyUnknown, |mine, _| mine["credential_id"] = json!("AAAA")),
        (Code::PasskeyUnknown, |mine, _| mine["user_handle"] = json!("")),
        (Code::PasskeyUnknown, |mine, bobs| {
            mine["user_handle"] = bobs["user_handle"].clone()
        }),
        (Code::PasskeyUnknown, |mine, bobs| {
            mine["credential_id"] = bobs["credential_id"].clone()
        }),
        (Code::PasskeyInvalid, |mine, bobs| {
            mine["signature"] = bobs["signature"].clone()
        }),
    ];
    for (number, (expected, change)) in changes.into_iter().enumerate() {
        let started = begin(&gateway, key).await;
        let (mut mine, theirs) = (phone.answer(&shown(key, &started)), bobs.answer(&shown(key, &started)));
        change(&mut mine, &theirs);
        assert_eq!(code(finish(&gateway, &started, &mine).await), expected, "{number}");
    }
    let started = begin(&gateway, key).await;
    let mut all_bobs = phone.answer(&shown(key, &started));
    all_bobs["credential_id"] = json!(text(&bobs.authenticator.credential));
    all_bobs["user_handle"] = json!(bobs.user_handle);
    assert_eq!(code(finish(&gateway, &started, &all_bobs).await), Code::PasskeyInvalid);
    assert_eq!(happened(&access), before, "no session was begun");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_passkey_of_whoever_may_not_log_in_opens_nothing() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let (user, bob) = joined(&gateway, &ada, "bob", &["technician"]).await;
    let mut key = register(&gateway, &bob, "Key").await.unwrap();
    log_in(&gateway, &mut key).await.unwrap();
    let id = user.id.to_string();
    ask_about(&gateway, &ada, "users-disable", &id, &json!({"reason": "left"}))
        .await
        .unwrap();
    let before = happened(&access);
    let refused = log_in(&gateway, &mut key).await;
    assert_eq!(refused.err().map(|error| error.code), Some(Code::LoginFailed));
    assert_eq!(happened(&access), before);
    ask_about(&gateway, &ada, "users-enable", &id, &json!({}))
        .await
        .unwrap();
    log_in(&gateway, &mut key).await.unwrap();
    // A reset takes the passkeys away, for whoever had the password may have made one.
    let link = LinkSecret::new(random::bytes()).public_key();
    let reset = ask_about(&gateway, &ada, "users-reset", &id, &json!({"link": link}))
        .await
        .unwrap();
    let reset: UserView = serde_json::from_value(reset).unwrap();
    assert_eq!(reset.passkeys, 0);
    let refused = log_in(&gateway, &mut key).await;
    assert_eq!(refused.err().map(|error| error.code), Some(Code::PasskeyUnknown));
    access.stop().await.unwrap();
}

#[tokio::test]
async fn an_address_has_no_passkeys_and_starts_are_throttled() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let key = PublicKey::of(&random::signing_key());
    for host in ["127.0.0.1", "::1", "evil.example"] {
        let body = json!({"step": "passkey_start", "host": host, "session_public_key": key});
        assert_eq!(
            code(post(&gateway, "login", &body).await),
            Code::PasskeyUnavailable,
            "{host}"
        );
        let body = json!({"step": "start", "host": host});
        for verb in ["passkeys-register", "step-up-passkey"] {
            let refused = ask_about(&gateway, &ada, verb, "", &body).await;
            assert_eq!(code(refused), Code::PasskeyUnavailable, "{verb} {host}");
        }
    }
    let body = json!({"step": "passkey_start", "host": HOST, "session_public_key": key});
    let mut last = None;
    for _ in 0..=borealis_access::throttle::PER_PEER {
        last = post_from(&gateway, "login", &body, "192.0.2.7").await.err();
    }
    assert_eq!(last.map(|error| error.code), Some(Code::Throttled));
    assert!(post_from(&gateway, "login", &body, "192.0.2.8").await.is_ok());
    access.stop().await.unwrap();
}

/// Is an invitation as one signed request.
struct Invitation {
    call: OperatorCall,
}

impl Invitation {
    fn new(by: &Operator, username: &str) -> Self {
        let link = LinkSecret::new(random::bytes()).public_key();
        let body = json!({"username": username, "roles": ["viewer"], "link": link}).to_string();
        let command: CommandId = random::id();
        Self {
            call: call_at(by, Service::Access, "users-invite", body.as_bytes(), command, now()),
        }
    }

    fn act(&self) -> String {
        text(self.call.act().unwrap())
    }

    async fn send(&self, bus: &Bus, token: &str) -> Reply<String> {
        let need = of_verb(Service::Access, "users-invite").unwrap().need;
        let token = narrowed(token, Service::Access, need, 0);
        ask(bus, Service::Access, "users-invite", &self.call, Some(token)).await
    }
}

/// Asks for a step-up and shows the passkey what `seen` makes of it.
async fn step_up(
    bus: &Bus,
    operator: &Operator,
    phone: &mut Phone,
    (told, signed): (Option<&Invitation>, Option<&Invitation>),
    change: impl FnOnce(&mut Asked),
) -> Reply<Value> {
    let body = json!({"step": "start", "host": HOST, "act": told.map(Invitation::act)});
    let started = ask_about(bus, operator, "step-up-passkey", "", &body).await?;
    let mut asked = Asked::StepUp {
        session: operator.session,
        session_key: PublicKey::of(&operator.key),
        act: signed.and_then(|invitation| invitation.call.act()),
    };
    change(&mut asked);
    let assertion = phone.answer(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    let body = json!({"step": "finish", "ceremony_id": started["ceremony_id"], "assertion": assertion});
    ask_about(bus, operator, "step-up-passkey", "", &body).await
}

#[tokio::test]
async fn a_step_up_by_passkey_is_for_its_session_and_for_the_one_act_it_was_asked_for() {
    let (world, access, gateway, ada) = World::with_ada().await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    let old = aged(&world, &gateway, &ada, STEP_UP_MS).await;
    let (wanted, other) = (Invitation::new(&old, "bob"), Invitation::new(&old, "eve"));
    assert_eq!(code(wanted.send(&gateway, &old.token).await), Code::StepUpRequired);
    let before = happened(&access);
    // Whoever stands between names another act than the one that the page had signed.
    let swapped = step_up(&gateway, &old, &mut phone, (Some(&other), Some(&wanted)), |_| {}).await;
    assert_eq!(code(swapped), Code::PasskeyChallenge);
    let widened = step_up(&gateway, &old, &mut phone, (None, Some(&wanted)), |_| {}).await;
    assert_eq!(code(widened), Code::PasskeyChallenge);
    let elsewhere = step_up(&gateway, &old, &mut phone, (None, None), |asked| {
        *asked = Asked::StepUp {
            session: random::id(),
            session_key: PublicKey::of(&old.key),
            act: None,
        };
    });
    assert_eq!(code(elsewhere.await), Code::PasskeyChallenge);
    let by_log_in = step_up(&gateway, &old, &mut phone, (None, None), |asked| {
        *asked = Asked::LogIn {
            session_key: PublicKey::of(&old.key),
        };
    });
    assert_eq!(code(by_log_in.await), Code::PasskeyChallenge);
    // Another operator's passkey does not stand for this one.
    let (_, bob) = joined(&gateway, &ada, "fred", &["administrator"]).await;
    let mut bobs = register(&gateway, &bob, "Key").await.unwrap();
    let joined_by = happened(&access);
    let theirs = step_up(&gateway, &old, &mut bobs, (Some(&wanted), Some(&wanted)), |_| {}).await;
    assert_eq!(code(theirs), Code::PasskeyUnknown);
    assert!(
        joined_by > before && happened(&access) == joined_by,
        "nothing was proved"
    );

    let done = step_up(&gateway, &old, &mut phone, (Some(&wanted), Some(&wanted)), |_| {})
        .await
        .unwrap();
    let token = done["token"].as_str().unwrap();
    assert_eq!(done["session_id"], json!(old.session));
    assert_eq!(code(other.send(&gateway, token).await), Code::StepUpRequired);
    wanted.send(&gateway, token).await.unwrap();
    // Without an act it is for whatever is done in the next minutes, as a password is.
    let done = step_up(&gateway, &old, &mut phone, (None, None), |_| {}).await.unwrap();
    other.send(&gateway, done["token"].as_str().unwrap()).await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_is_taken_only_where_it_was_asked_for() {
    let (_world, access, gateway, ada) = World::with_ada().await;
    let mut phone = register(&gateway, &ada, "Phone").await.unwrap();
    let (_, bob) = joined(&gateway, &ada, "bob", &["administrator"]).await;
    let before = happened(&access);
    // What was begun in one session is not ended in another, nor as something else.
    let key = PublicKey::of(&ada.key);
    let start = json!({"step": "start", "host": HOST});
    let started = ask_about(&gateway, &ada, "step-up-passkey", "", &start).await.unwrap();
    let asked = Asked::StepUp {
        session: ada.session,
        session_key: key,
        act: None,
    };
    let assertion = phone.answer(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    let body = json!({"step": "finish", "ceremony_id": started["ceremony_id"], "assertion": assertion});
    let refused = ask_about(&gateway, &bob, "step-up-passkey", "", &body).await;
    assert_eq!(code(refused), Code::PasskeyChallenge);
    let started = ask_about(&gateway, &ada, "step-up-passkey", "", &start).await.unwrap();
    let assertion = phone.answer(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    let as_log_in = json!({"login_id": started["ceremony_id"]});
    assert_eq!(
        code(finish(&gateway, &as_log_in, &assertion).await),
        Code::PasskeyChallenge
    );
    // A passkey that was made in answer to another session's question is not kept.
    let started = ask_about(&gateway, &ada, "passkeys-register", "", &start)
        .await
        .unwrap();
    let asked = Asked::Register {
        session: bob.session,
        session_key: PublicKey::of(&bob.key),
    };
    let made = Authenticator::new()
        .unwrap()
        .make(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
    let body = json!({
        "step": "finish", "ceremony_id": started["ceremony_id"], "name": "x",
        "made": {"client_data_json": text(&made.client_data), "authenticator_data": text(&made.authenticator_data)},
    });
    let refused = ask_about(&gateway, &ada, "passkeys-register", "", &body).await;
    assert_eq!(code(refused), Code::PasskeyChallenge);
    assert_eq!(happened(&access), before);
    // Nor is one kept that another session ends, of the same operator or of another one.
    let again = log_in(&gateway, &mut phone).await.unwrap();
    let before = happened(&access);
    for other in [&bob, &again] {
        let started = ask_about(&gateway, &ada, "passkeys-register", "", &start).await;
        let started = started.unwrap();
        let asked = Asked::Register {
            session: ada.session,
            session_key: key,
        };
        let made = Authenticator::new()
            .unwrap()
            .make(&Seen::well(ORIGIN, HOST, asked.challenge(&nonce(&started))));
        let body = json!({
            "step": "finish", "ceremony_id": started["ceremony_id"], "name": "x",
            "made": {"client_data_json": text(&made.client_data), "authenticator_data": text(&made.authenticator_data)},
        });
        let refused = ask_about(&gateway, other, "passkeys-register", "", &body).await;
        assert_eq!(code(refused), Code::PasskeyChallenge);
    }
    assert_eq!(happened(&access), before);
    access.stop().await.unwrap();
}
