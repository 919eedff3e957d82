//! Requests over TLS, a real bus and a made-up service.

use borealis_bus_schema::subjects::Service;
use borealis_test_support::eventually;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::setting::{Setting, serve};

async fn json(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_service_and_bad_ones_do_not() {
    let setting = Setting::start().await;
    let (status, told) = json(setting.change("/api/v1/jobs?a=b", b"{\"x\": 1}").send().await.unwrap()).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["path"], "/api/v1/jobs?a=b");
    assert_eq!(told["body"], "{\"x\": 1}");
    assert_eq!((&told["signed"], &told["peer"]), (&true.into(), &"127.0.0.1".into()));

    let table = [
        (setting.bare(Method::GET, "/api/v1/jobs"), 401, "token_missing"),
        (
            setting.bare(Method::GET, "/api/v1/jobs").bearer_auth("x"),
            401,
            "token_invalid",
        ),
        (
            setting.request(Method::POST, "/api/v1/jobs"),
            400,
            "idempotency_key_missing",
        ),
        (setting.request(Method::GET, "/api/v1/nothing"), 404, "unknown_route"),
        (
            setting.request(Method::DELETE, "/api/v1/jobs"),
            405,
            "method_not_allowed",
        ),
        (
            setting.bare(Method::POST, "/api/v1/login").body(vec![b'x'; 1_200_000]),
            413,
            "too_large",
        ),
        (
            setting
                .bare(Method::POST, "/api/v1/login")
                .header("origin", "https://evil.example"),
            403,
            "wrong_origin",
        ),
        (
            setting.request(Method::GET, &format!("/api/v1/jobs?{}", "a".repeat(5_000))),
            400,
            "malformed",
        ),
        (setting.request(Method::GET, "/api/v1/devices"), 503, "unavailable"),
    ];
    for (request, status, code) in table {
        let (found, problem) = json(request.send().await.unwrap()).await;
        assert_eq!((found, &problem["code"]), (status, &code.into()), "{problem}");
    }
    let still = setting.request(Method::GET, "/api/v1/jobs").send().await.unwrap();
    assert_eq!(still.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_may_die_and_come_back_in_the_middle() {
    let mut setting = Setting::start().await;
    setting.bus.kill();
    let request = setting.change("/api/v1/jobs", b"{}");
    let asking = tokio::spawn(request.send());
    setting.bus.resume().await.unwrap();
    let response = asking.await.unwrap().unwrap();
    assert_eq!(response.status(), 200, "{:?}", response.text().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_bus_and_the_page_is_served() {
    let setting = Setting::start().await;
    let (status, ready) = json(setting.bare(Method::GET, "/readyz").send().await.unwrap()).await;
    assert_eq!(
        (status, &ready["ready"], &ready["bus"]),
        (503, &false.into(), &"connected".into())
    );
    let page = setting.bare(Method::GET, "/devices/any").send().await.unwrap();
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.headers().contains_key("content-security-policy"));
    let (status, alive) = json(setting.bare(Method::GET, "/healthz").send().await.unwrap()).await;
    assert_eq!((status, &alive["alive"]), (200, &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_on_the_socket_harms_nobody_else() {
    let setting = Setting::start().await;
    let address = ("127.0.0.1", setting.port);
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // What is no TLS is cut.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let huge = setting
        .request(Method::GET, "/api/v1/jobs")
        .header("x", "a".repeat(100_000));
    let refused = huge.send().await;
    assert!(refused.is_err() || refused.is_ok_and(|r| r.status().as_u16() == 431));
    let still = setting.request(Method::GET, "/api/v1/jobs").send().await.unwrap();
    assert_eq!(still.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_later_answers_the_request_that_waits() {
    let setting = Setting::start().await;
    let asking = tokio::spawn(setting.request(Method::GET, "/api/v1/devices").send());
    serve(&setting.bus, Service::Inventory, |_| Ok("{\"items\":[]}".to_owned())).await;
    let (status, list) = json(asking.await.unwrap().unwrap()).await;
    assert_eq!((status, list.to_string().as_str()), (200, "{\"items\":[]}"));
    eventually("the mark that says ready", async || {
        setting
            .bus
            .root()
            .join("Server/State/gateway/ready")
            .exists()
            .then_some(())
    })
    .await
    .unwrap();
}
