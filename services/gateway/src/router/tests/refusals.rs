//! What the gateway refuses by itself.

use super::*;

#[tokio::test]
async fn what_is_missing_is_told_by_a_code_of_its_own() {
    let world = world(Fake::default());
    let bearer = world.bearer();
    let id = CommandId::from_bytes([7; 16]).to_string();
    type Row<'r> = (&'r str, &'r str, Vec<(&'r str, &'r str)>, u16, &'r str);
    let table: Vec<Row<'_>> = vec![
        ("GET", "/api/v1/devices", vec![], 401, "token_missing"),
        (
            "GET",
            "/api/v1/devices",
            vec![("authorization", "Bearer nonsense")],
            401,
            "token_invalid",
        ),
        (
            "GET",
            "/api/v1/devices",
            vec![("authorization", "Basic eA==")],
            401,
            "token_invalid",
        ),
        ("POST", "/api/v1/jobs", vec![], 401, "token_missing"),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer)],
            400,
            "idempotency_key_missing",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer), ("idempotency-key", "no")],
            422,
            "invalid_field",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![("authorization", &bearer), ("idempotency-key", &id)],
            401,
            "signature_missing",
        ),
        (
            "POST",
            "/api/v1/jobs",
            vec![
                ("authorization", &bearer),
                ("idempotency-key", &id),
                ("borealis-signature", "v1 rubbish"),
            ],
            401,
            "signature_invalid",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("origin", "https://evil.example")],
            403,
            "wrong_origin",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("sec-fetch-site", "cross-site")],
            403,
            "wrong_origin",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("content-type", "text/plain")],
            400,
            "malformed",
        ),
        (
            "POST",
            "/api/v1/login",
            vec![("content-length", "2000000")],
            413,
            "too_large",
        ),
        ("GET", "/api/v1/nothing", vec![], 404, "unknown_route"),
        ("GET", "/api/v2/devices", vec![], 404, "unknown_route"),
        ("GET", "/api", vec![], 404, "unknown_route"),
        ("DELETE", "/api/v1/devices", vec![], 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/jobs", vec![], 405, "method_not_allowed"),
        ("POST", "/healthz", vec![], 405, "method_not_allowed"),
        ("POST", "/", vec![], 405, "method_not_allowed"),
        ("GET", "/api/v1/live", vec![], 401, "token_missing"),
        (
            "GET",
            "/api/v1/live",
            vec![("origin", "https://evil.example")],
            403,
            "wrong_origin",
        ),
        (
            "GET",
            "/api/v1/live",
            vec![("authorization", "Bearer nonsense")],
            401,
            "token_invalid",
        ),
    ];
    for (method, path, headers, status, code) in table {
        let answered = world.code(method, path, &headers, Body::empty()).await;
        assert_eq!(answered, (status, code.to_owned()), "{method} {path} {headers:?}");
    }
    assert!(world.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_announced() {
    let world = world(Fake::default());
    let body = vec![b'x'; borealis_bus_schema::codec::MAX_JSON_BYTES + 1];
    assert_eq!(
        world.code("POST", "/api/v1/login", &[], body).await,
        (413, "too_large".into())
    );
}

#[tokio::test]
async fn a_path_tells_the_methods_that_it_takes() {
    let world = world(Fake::default());
    for (path, allowed) in [
        ("/api/v1/jobs", "GET, POST"),
        ("/api/v1/live", "GET"),
        ("/devices", "GET, HEAD"),
    ] {
        let (response, _) = world.send("PUT", path, &[], Body::empty()).await;
        assert_eq!(response.headers()["allow"], allowed, "{path}");
    }
}
