//! What browsers get beside the answer: headers and the cookie.

use super::*;

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let world = world(Fake::default());
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/devices"),
        ("GET", "/assets/none.js"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/devices"),
        ("POST", "/api/v1/login"),
        ("PUT", "/api/v1/jobs"),
    ] {
        let (response, _) = world.send(method, path, &[], Body::empty()).await;
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-inline"),
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert!(
            headers.contains_key("strict-transport-security") && headers.contains_key("x-request-id"),
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(
            !headers.contains_key("server") && !headers.contains_key("access-control-allow-origin"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_further_proof_of_the_password_sets_the_cookie_anew() {
    let done = json!({
        "token": "def_-=", "session_id": "x", "username": "ada", "expires_at": NOW.plus_ms(60_000), "proved_at": NOW,
    });
    let started = json!({"exchange_id": "x", "login_response": "y", "factors": ["totp"]});
    let fake = Fake::default();
    for json in [started.to_string(), done.to_string(), done.to_string()] {
        fake.script.lock().unwrap().push_back(Ok(OperatorAnswer { json }));
    }
    let world = world(fake);
    let signed = world.signed("/api/v1/step-up", b"{}");
    let (response, _) = world.send("POST", "/api/v1/step-up", &borrowed(&signed), "{}").await;
    assert!(!response.headers().contains_key("set-cookie"));
    let (response, _) = world.send("POST", "/api/v1/step-up", &borrowed(&signed), "{}").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-borealis-abababab=def_-=;"), "{cookie}");
    let signed = world.signed("/api/v1/step-up/passkey", b"{}");
    let (response, _) = world
        .send("POST", "/api/v1/step-up/passkey", &borrowed(&signed), "{}")
        .await;
    assert!(response.headers().contains_key("set-cookie"), "a passkey's does too");
}

#[tokio::test]
async fn a_log_in_sets_the_cookie_and_a_log_out_clears_it() {
    let finished = json!({"token": "abc_-=", "session_id": "x", "username": "ada", "expires_at": NOW.plus_ms(60_000)});
    let started = json!({"login_id": "x", "login_response": "y"});
    let fake = Fake::default();
    for json in [started.to_string(), finished.to_string()] {
        fake.script.lock().unwrap().push_back(Ok(OperatorAnswer { json }));
    }
    let world = world(fake);
    let (response, _) = world.send("POST", "/api/v1/login", &[], "{}").await;
    assert!(!response.headers().contains_key("set-cookie"));
    let (response, _) = world.send("POST", "/api/v1/login", &[], "{}").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(
        cookie,
        "__Host-borealis-abababab=abc_-=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"
    );
    let signed = world.signed("/api/v1/logout", b"{}");
    let (response, _) = world.send("POST", "/api/v1/logout", &borrowed(&signed), "{}").await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn the_cookie_serves_for_reads() {
    let world = world(Fake::default());
    let cookie = format!("a=b; __Host-borealis-abababab={}", world.biscuit);
    let (response, _) = world
        .send("GET", "/api/v1/devices?limit=5", &[("cookie", &cookie)], Body::empty())
        .await;
    assert_eq!(response.status(), 200);
    let asked = world.fake.asked.lock().unwrap();
    assert_eq!(asked.first().unwrap().2.path, "/api/v1/devices?limit=5");
}
