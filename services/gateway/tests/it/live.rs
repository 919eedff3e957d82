//! The live WebSocket: who may open it, what it tells, when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use borealis_bus_schema::codec;
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::bus::LiveBody;
use borealis_test_support::{DEADLINE, eventually, tls};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::setting::{Setting, reaches};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn open(setting: &Setting, headers: &[(&'static str, String)]) -> Result<Socket, u16> {
    let config = tls(&setting.bus.paths().ca_pem()).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", setting.port)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, tcp).await.unwrap();
    let url = format!("wss://localhost:{}/api/v1/live", setting.port);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

fn bearer(setting: &Setting) -> (&'static str, String) {
    ("authorization", format!("Bearer {}", setting.biscuit))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_own_page_or_a_program_with_a_token_may_open_it() {
    let setting = Setting::start().await;
    let id: String = setting.bus.trust().deployment.to_string().chars().take(8).collect();
    let cookie = ("cookie", format!("__Host-borealis-{id}={}", setting.biscuit));
    let own = ("origin", setting.origin());
    assert!(open(&setting, &[cookie.clone(), own.clone()]).await.is_ok());
    assert!(open(&setting, &[bearer(&setting)]).await.is_ok());
    assert_eq!(open(&setting, &[]).await.unwrap_err(), 401);
    assert_eq!(open(&setting, std::slice::from_ref(&own)).await.unwrap_err(), 401);
    assert_eq!(open(&setting, std::slice::from_ref(&cookie)).await.unwrap_err(), 403);
    for origin in [
        "null".to_owned(),
        "https://evil.example".to_owned(),
        format!("https://evil.localhost:{}", setting.port),
        "https://localhost".to_owned(),
        format!("http://localhost:{}", setting.port),
        format!("{}.evil.example", setting.origin()),
    ] {
        let refused = open(&setting, &[cookie.clone(), ("origin", origin.clone())])
            .await
            .unwrap_err();
        assert_eq!(refused, 403, "{origin}");
    }
    setting.standing.store(false, Ordering::SeqCst);
    assert_eq!(open(&setting, &[bearer(&setting)]).await.unwrap_err(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_and_the_end_of_the_session_closes_it() {
    let setting = Setting::start().await;
    let mut socket = open(&setting, &[bearer(&setting)]).await.unwrap();
    let inventory = setting.bus.connect_service(Service::Inventory).await.unwrap();
    let body = LiveBody {
        at: Timestamp::from_unix_ms(0),
        data: json!({"guid": "g", "presence": "online"}),
    };
    let body = codec::encode(&body).unwrap();
    let heard = eventually("an event", async || {
        inventory
            .publish("borealis.v1.event.inventory.device.presence-changed", &body)
            .await
            .unwrap();
        match timeout(Duration::from_millis(300), socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Value>(&text).ok(),
            _ => None,
        }
    })
    .await
    .unwrap();
    assert_eq!(
        (&heard["type"], &heard["past"]),
        (&json!("event"), &json!("presence-changed"))
    );
    assert_eq!(heard["data"], json!({"guid": "g", "presence": "online"}));

    setting.standing.store(false, Ordering::SeqCst);
    assert_eq!(closed(&mut socket).await, Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_closes_it() {
    let setting = Setting::start().await;
    let mut socket = open(&setting, &[bearer(&setting)]).await.unwrap();
    *setting.said.lock().unwrap() = reaches(&[("devices.read", "berlin")]);
    assert_eq!(closed(&mut socket).await, Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_was_taken_away_does_not_come_back_by_opening_it_again() {
    let setting = Setting::start().await;
    *setting.said.lock().unwrap() = reaches(&[("jobs.read", "*")]);
    assert_eq!(open(&setting, &[bearer(&setting)]).await.unwrap_err(), 403);

    // The token still holds jobs.read, and devices.read everywhere; access says less.
    *setting.said.lock().unwrap() = reaches(&[("devices.read", "berlin")]);
    let mut socket = open(&setting, &[bearer(&setting)]).await.unwrap();
    let inventory = setting.bus.connect_service(Service::Inventory).await.unwrap();
    let scheduler = setting.bus.connect_service(Service::Scheduler).await.unwrap();
    let body = LiveBody {
        at: Timestamp::from_unix_ms(0),
        data: json!({"guid": "g"}),
    };
    let body = codec::encode(&body).unwrap();
    let mut heard = Vec::new();
    eventually("events of devices", async || {
        for (user, subject) in [
            (&scheduler, "borealis.v1.event.scheduler.job.created"),
            (&inventory, "borealis.v1.event.inventory.device.presence-changed"),
        ] {
            user.publish(subject, &body).await.unwrap();
        }
        if let Ok(Some(Ok(Message::Text(text)))) = timeout(Duration::from_millis(300), socket.next()).await {
            heard.push(serde_json::from_str::<Value>(&text).unwrap());
        }
        (heard.len() >= 3).then_some(())
    })
    .await
    .unwrap();
    for event in heard {
        assert_eq!((&event["service"], &event["data"]), (&json!("inventory"), &json!({})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_is_no_use_of_the_session() {
    let setting = Setting::start().await;
    // The read by which the setting began is told a moment later.
    eventually("the use of a read", async || {
        (setting.uses.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await
    .unwrap();
    let _socket = open(&setting, &[bearer(&setting)]).await.unwrap();
    eventually("looks whether the session stands", async || {
        (setting.looks.load(Ordering::SeqCst) >= 3).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(setting.uses.load(Ordering::SeqCst), 1);
}

/// Waits until the server closes it, and returns the code.
async fn closed(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Option<u16> {
    let end = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|f| u16::from(f.code)),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    };
    timeout(DEADLINE, end).await.unwrap()
}
