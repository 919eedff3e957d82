//! The routes that the gateway answers by itself.

use super::*;
use borealis_bus_schema::ids::{GrantId, Guid};
use borealis_service_kit::auth::{Bounds, mint_grant, mint_session_within};

#[tokio::test]
async fn readiness_names_each_service() {
    let away = world(Fake::default());
    let (response, json) = away.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), &json["bus"]), (503, &json!("away")));
    let there = Service::ALL
        .iter()
        .map(|s| (s.name().to_owned(), *s != Service::Library))
        .collect();
    let ready = world(Fake {
        there,
        ..Fake::default()
    });
    let (response, json) = ready.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), &json["ready"]), (200, &json!(true)));
    assert_eq!(json["services"]["scheduler"], "ready");
    assert!(json["services"].get("gateway").is_none());
    // This test confines itself not; library says that it does not either.
    assert_eq!(json["keys"], "keys not isolated");
    let told = ["gateway", "library", "signing"].map(|name| json["isolation"][name].clone());
    assert_eq!(told, ["keys not isolated", "keys not isolated", "isolated"]);
    let (response, json) = ready.send("GET", "/healthz", &[], Body::empty()).await;
    assert_eq!((response.status().as_u16(), json), (200, json!({"alive": true})));
}

#[tokio::test]
async fn own_routes_with_a_right_refuse_whoever_lacks_it_and_ask_nobody() {
    for path in ["/metrics", "/api/v1/audit", "/api/v1/audit/verify?service=access"] {
        let world = world(Fake::default());
        let (response, json) = world.send("GET", path, &[], Body::empty()).await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (401, &json!("token_missing")),
            "{path}"
        );
        let bearer = format!("Bearer {}", world.biscuit);
        let (response, json) = world
            .send("GET", path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (403, &json!("right_missing")),
            "{path}"
        );
        let (response, json) = world
            .send("GET", path, &[("authorization", "Bearer abcd")], Body::empty())
            .await;
        assert_eq!(
            (response.status().as_u16(), &json["code"]),
            (401, &json!("token_invalid")),
            "{path}"
        );
        assert!(world.fake.asked.lock().unwrap().is_empty() && world.fake.inner.lock().unwrap().is_empty());
    }
}

/// Lists the own routes that need a right, as a request names them.
fn own_with_rights() -> impl Iterator<Item = (&'static str, Right)> {
    OWN_ROUTES.iter().filter_map(|route| match (route.path, route.need) {
        (_, Need::Public | Need::Session) => None,
        ("/api/v1/audit/verify", Need::Right(right)) => Some(("/api/v1/audit/verify?service=access", right)),
        (path, Need::Right(right)) => Some((path, right)),
    })
}

#[tokio::test]
async fn own_routes_refuse_what_is_narrowed_and_grants() {
    let berlin = Sites::of_names(&["berlin".to_owned()]).unwrap();
    for (path, right) in own_with_rights() {
        let everywhere = claims(Reach::from([(right, Sites::All)]));
        let devices = Bounds {
            devices: Some([Guid::from_random([4; 16])].into()),
            is_token: true,
            ..Bounds::default()
        };
        let grant = mint_grant(&root(), &everywhere, GrantId::from_bytes([5; 16]), &[6; 32]).unwrap();
        let one_site = mint_session(&root(), &claims(Reach::from([(right, berlin.clone())]))).unwrap();
        let mut table = vec![
            (
                mint_session_within(&root(), &everywhere, &devices).unwrap(),
                403,
                "out_of_scope",
            ),
            (grant, 401, "token_invalid"),
        ];
        if path != "/api/v1/live" {
            table.push((one_site, 403, "out_of_scope"));
        }
        for (biscuit, status, code) in table {
            let world = world(Fake::default());
            let bearer = format!("Bearer {biscuit}");
            let answered = world
                .code("GET", path, &[("authorization", &bearer)], Body::empty())
                .await;
            assert_eq!(answered, (status, code.to_owned()), "{path}");
            assert!(world.fake.asked.lock().unwrap().is_empty() && world.fake.inner.lock().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_right_that_access_says_is_lost_opens_nothing_that_the_gateway_answers_by_itself() {
    let berlin = Sites::of_names(&["berlin".to_owned()]).unwrap();
    for (path, right, standing, code) in [
        ("/metrics", Right::MetricsRead, Reach::new(), "right_missing"),
        (
            "/metrics",
            Right::MetricsRead,
            Reach::from([(Right::MetricsRead, berlin)]),
            "out_of_scope",
        ),
        (
            "/api/v1/live",
            Right::DevicesRead,
            Reach::from([(Right::JobsRead, Sites::All)]),
            "right_missing",
        ),
    ] {
        let fake = Fake {
            standing: Some(standing),
            ..Fake::default()
        };
        let world = with_rights(fake, PATIENCE, &[right]);
        let bearer = world.bearer();
        let answered = world
            .code("GET", path, &[("authorization", &bearer)], Body::empty())
            .await;
        assert_eq!(answered, (403, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn metrics_tell_requests_by_route_and_who_answers() {
    let there = BTreeMap::from([("access".to_owned(), true)]);
    let world = with_rights(
        Fake {
            there,
            ..Fake::default()
        },
        PATIENCE,
        &[Right::MetricsRead],
    );
    world.send("GET", "/healthz", &[], Body::empty()).await;
    let bearer = format!("Bearer {}", world.biscuit);
    let request = http::Request::get("/metrics")
        .header("authorization", bearer)
        .body(Body::empty())
        .unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    for line in [
        r#"borealis_http_requests_total{method="GET",route="/healthz",status="200"} 1"#,
        r#"borealis_service_ready{service="access"} 1"#,
        r#"borealis_service_ready{service="signing"} 0"#,
        "borealis_live_connections 0",
        "borealis_bus_connected 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
    assert!(
        text.ends_with('\n') && text.contains("borealis_build_info{version="),
        "{text}"
    );
}
