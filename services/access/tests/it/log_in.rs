//! From the set-up link to the end of a session, on a real bus.

use borealis_access::build;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::routes::Right;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::random;
use serde_json::{Value, json};

use crate::client::{Failed, ask_well, finish, log_in, post, post_from, set_up, setup_secret, start};
use crate::harness::{World, code};

#[tokio::test]
async fn the_link_makes_one_operator_who_logs_in_and_out() {
    let world = World::start().await;
    let access = world.serve(Service::Access, build).await;
    let gateway = world.connect(Service::Gateway).await;
    let link = setup_secret(&world);
    let wrong = set_up(&gateway, &"A".repeat(43), "ada", "correct horse").await;
    assert_eq!(code(wrong), Code::SetupClosed);
    let bad_name = set_up(&gateway, &link, "not a name", "correct horse").await;
    assert_eq!(code(bad_name), Code::InvalidField);
    set_up(&gateway, &link, "ada", "correct horse").await.unwrap();
    assert!(!world.bus.root().join("Server/State/access/setup_secret").exists());
    let again = set_up(&gateway, &link, "eve", "battery").await;
    assert_eq!(code(again), Code::SetupClosed);

    assert!(matches!(log_in(&gateway, "ada", "battery").await, Err(Failed::Seen)));
    assert!(matches!(
        log_in(&gateway, "nobody", "correct horse").await,
        Err(Failed::Seen)
    ));
    let ada = log_in(&gateway, "ada", "correct horse").await.unwrap();
    let session = ask_well(&gateway, &ada, Service::Access, "session", b"").await.unwrap();
    let session: Value = serde_json::from_str(&session).unwrap();
    assert_eq!(
        (&session["username"], &session["sites"]),
        (&json!("ada"), &json!(["*"]))
    );
    assert_eq!(session["rights"].as_array().unwrap().len(), Right::ALL.len());

    ask_well(&gateway, &ada, Service::Access, "logout", b"{}")
        .await
        .unwrap();
    let ended = ask_well(&gateway, &ada, Service::Access, "session", b"").await;
    assert_eq!(code(ended), Code::TokenRevoked);
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_operators_sessions_and_what_ended() {
    let world = World::start().await;
    let access = world.serve(Service::Access, build).await;
    let link = setup_secret(&world);
    access.stop().await.unwrap();

    let access = world.serve(Service::Access, build).await;
    assert_eq!(setup_secret(&world), link, "an unused link stays the same");
    let gateway = world.connect(Service::Gateway).await;
    set_up(&gateway, &link, "ada", "correct horse").await.unwrap();
    let (here, gone) = (
        log_in(&gateway, "ada", "correct horse").await.unwrap(),
        log_in(&gateway, "ada", "correct horse").await.unwrap(),
    );
    ask_well(&gateway, &gone, Service::Access, "logout", b"{}")
        .await
        .unwrap();
    access.stop().await.unwrap();

    let access = world.serve(Service::Access, build).await;
    ask_well(&gateway, &here, Service::Access, "session", b"")
        .await
        .unwrap();
    let ended = ask_well(&gateway, &gone, Service::Access, "session", b"").await;
    assert_eq!(code(ended), Code::TokenRevoked);
    log_in(&gateway, "ada", "correct horse").await.unwrap();
    access.stop().await.unwrap();
}

#[tokio::test]
async fn a_log_in_binds_one_key_and_each_step_counts_once() {
    let world = World::start().await;
    let access = world.serve(Service::Access, build).await;
    let gateway = world.connect(Service::Gateway).await;
    set_up(&gateway, &setup_secret(&world), "ada", "p").await.unwrap();
    let before = access.events().unwrap();
    let key = PublicKey::of(&random::signing_key());
    let thief = PublicKey::of(&random::signing_key());

    // The binding is over another key than the one that the start named.
    let (client, started) = start(&gateway, "ada", "p", key, "192.0.2.1").await.unwrap();
    let swapped = finish(client, &started, "ada", "p", thief).unwrap();
    assert_eq!(code(post(&gateway, "login", &swapped).await), Code::LoginFailed);

    // A second step is good once, and only for its own log-in.
    let (client, started) = start(&gateway, "ada", "p", key, "192.0.2.1").await.unwrap();
    let good = finish(client, &started, "ada", "p", key).unwrap();
    let mut elsewhere = good.clone();
    elsewhere["login_id"] = json!(random::id::<borealis_bus_schema::ids::SessionId>());
    assert_eq!(code(post(&gateway, "login", &elsewhere).await), Code::LoginFailed);
    let mut broken = good.clone();
    broken["login_finalization"] = json!("AAAA");
    assert_eq!(code(post(&gateway, "login", &broken).await), Code::InvalidField);
    assert_eq!(code(post(&gateway, "login", &good).await), Code::LoginFailed);
    assert_eq!(access.events().unwrap(), before, "nothing was written");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn the_number_of_attempts_does_not_tell_which_names_exist() {
    let world = World::start().await;
    let access = world.serve(Service::Access, build).await;
    let gateway = world.connect(Service::Gateway).await;
    // Ada's address is 192.0.2.1.
    set_up(&gateway, &setup_secret(&world), "ada", "p").await.unwrap();
    let key = PublicKey::of(&random::signing_key());
    let mut admitted = Vec::new();
    for name in ["ada", "nobody"] {
        for peer in ["192.0.2.1", "198.51.100.7"] {
            let mut count = 0;
            for _ in 0..12 {
                count += usize::from(start(&gateway, name, "guess", key, peer).await.is_ok());
            }
            admitted.push(count);
        }
    }
    assert_eq!(admitted[..2], admitted[2..], "{admitted:?}");
    access.stop().await.unwrap();
}

#[tokio::test]
async fn guesses_are_throttled_and_the_real_user_is_not_shut_out() {
    let world = World::start().await;
    let access = world.serve(Service::Access, build).await;
    let gateway = world.connect(Service::Gateway).await;
    set_up(&gateway, &setup_secret(&world), "ada", "p").await.unwrap();
    let key = PublicKey::of(&random::signing_key());
    let mut evaluated = 0;
    for n in 0..40 {
        let peer = format!("198.51.100.{n}");
        match start(&gateway, "ada", "guess", key, &peer).await {
            Ok(_) => evaluated += 1,
            Err(error) => assert_eq!(error.code, Code::Throttled),
        }
    }
    assert!(evaluated <= 10, "{evaluated}");
    let refused = start(&gateway, "ada", "p", key, "198.51.100.99").await;
    assert_eq!(code(refused), Code::Throttled);
    // From the address of the set-up there is room left.
    log_in(&gateway, "ada", "p").await.unwrap();
    let unknown = json!({"step": "start", "username": "bob", "login_request": "?", "session_public_key": key});
    assert_eq!(
        code(post_from(&gateway, "login", &unknown, "203.0.113.1").await),
        Code::InvalidField
    );
    access.stop().await.unwrap();
}
