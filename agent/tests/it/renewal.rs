//! Credentials that end: the agent is back with fresh ones before anyone notices.

use crate::bus::{Heard, World, credentials, key_set, now};
use crate::pki::Root;
use borealis_agent::identity::DeviceKeys;
use borealis_agent::identity::api::Api;
use borealis_bus_schema::forms::{Form, PublicKey};
use borealis_bus_schema::ids::{RoleName, VerbName};
use borealis_bus_schema::messages::enrollment::{Renew, Renewed, SignedText};
use borealis_bus_schema::messages::scheduler::RunState;
use borealis_bus_schema::order::{Order, OrderBody};
use borealis_test_support::eventually;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIFE_MS: i64 = 3_000;

/// Reads one HTTP request and returns its path and body; `None` when its sender goes away.
async fn request_of(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            let length: usize = length.trim().parse().unwrap();
            if bytes.len() >= head.len() + 4 + length {
                let path = head.split(' ').nth(1).unwrap().to_owned();
                return Some((path, bytes.split_off(head.len() + 4)));
            }
        }
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// Sends one HTTP answer; whoever asked may have gone away.
async fn send(stream: &mut (impl AsyncWriteExt + Unpin), status: u16, kind: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Checks a renewal as enrollment does, and returns the refresh token it showed.
fn checked(renew: &Renew, key: &PublicKey) -> String {
    let token = renew.refresh_token.clone().unwrap_or_default();
    let (guid, at) = (renew.guid.to_string(), renew.issued_at.to_string());
    let fields = [guid.as_bytes(), token.as_bytes(), at.as_bytes(), renew.nonce.as_bytes()];
    key.verify(Form::Renew, &fields, &renew.signature).unwrap();
    token
}

#[tokio::test]
async fn given_credentials_of_seconds_then_the_agent_renews_them_again_and_again_and_stays() {
    let tokens = shown_in_three_renewals(World::new().await).await;
    assert_eq!(tokens, ["first", "token-0", "token-1"], "each shows the newest token");
}

#[tokio::test]
async fn given_a_disk_that_takes_no_credentials_then_the_token_that_it_has_is_shown_again() {
    // One that was never shown to the server would be taken for a stolen one after a restart, with what the disk has.
    let mut world = World::new().await;
    world.keeper_has_room = false;
    let tokens = shown_in_three_renewals(world).await;
    assert_eq!(tokens, ["first", "first", "first"]);
}

#[tokio::test]
async fn given_keys_that_the_server_will_not_take_then_the_old_ones_are_renewed_all_the_same() {
    let mut world = World::new().await;
    world.next = Some(DeviceKeys::of_seeds([7; 32], [8; 32]));
    shown_in_three_renewals(world).await;
}

/// Lets an agent with credentials of seconds live until it has renewed them three times, and returns the tokens it showed.
///
/// The server takes no keys in the place of its own: it is as if the device were quarantined.
async fn shown_in_three_renewals(mut world: World) -> Vec<String> {
    let root = Root::new();
    let acceptor = root.acceptor(&["localhost"], vec![root.der()]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    world.jwt_life_ms = LIFE_MS;
    let pem = root.pem();
    world.api = Arc::new(move || Api::of_root(&url, &pem, 0).ok());
    let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let Some((path, body)) = request_of(&mut stream).await else {
                continue;
            };
            if path == "/api/v1/device/rotate-key" {
                let problem = json!({"code": "wrong_state", "detail": "the device is quarantined", "retry": "refresh"});
                send(&mut stream, 409, "application/problem+json", &problem.to_string()).await;
                continue;
            }
            let renew: Renew = serde_json::from_slice(&body).unwrap();
            let token = checked(&renew, &world.device.public_key());
            let number = tokens.lock().unwrap().len();
            tokens.lock().unwrap().push(token);
            let mut fresh = credentials(&world.bus, &world.device, LIFE_MS);
            fresh.refresh_token = format!("token-{number}");
            let renewed = Renewed {
                credentials: fresh,
                key_set: SignedText::from(&key_set()),
                rotate_key: false,
            };
            let body = serde_json::to_string(&renewed).unwrap();
            send(&mut stream, 200, "application/json", &body).await;
        }
    };
    // The server answers from before the first connection to the last: on a slow machine the first credentials may have
    // ended before they are used.
    let act = async {
        let agent = world.start().await;
        let heard = |heard: &Heard| tokens.lock().unwrap().len() >= 3 && heard.hellos.len() >= 4;
        world.until("three renewals and the hellos that follow", heard).await;
        let ping = Order {
            role: RoleName::agent(),
            verb: VerbName::ping(),
            body: OrderBody::Ping,
            issued_at: now(),
            ..world.order(5, "")
        };
        // It may be asked in the moment in which the agent changes its connection.
        let answered = eventually("a ping's answer", async || world.try_send(&ping).await);
        assert_eq!(answered.await.unwrap().unwrap().state, RunState::Succeeded);
        agent.stopped().await;
    };
    tokio::select! {
        () = serve => {}
        () = act => {}
    }
    let shown = tokens.lock().unwrap();
    shown.iter().take(3).cloned().collect()
}
