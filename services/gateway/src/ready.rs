//! Whether the gateway lives, and whether everything behind it answers.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::confine;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::router::Gateway;

/// Is how long services have to answer.
const WITHIN: Duration = Duration::from_secs(2);

/// Answers `GET /healthz`.
pub(crate) fn alive() -> Response {
    Json(json!({"alive": true})).into_response()
}

/// Answers `GET /readyz`: 200 when every service answers, else 503.
///
/// Shape: `{ready, bus, services: {<name>: "ready" | "away"}, keys, isolation: {<name>: "isolated" | "keys not isolated" |
/// "unknown"}}`. `keys` is "isolated" when the gateway's and those of every service that answers are. A service says it of
/// itself, over the bus: Landlock holds, and no other process may read its memory.
pub(crate) async fn ready(gateway: &Gateway) -> Response {
    let answering = gateway.backend.answering(WITHIN).await;
    let bus = if answering.is_some() { "connected" } else { "away" };
    let there = answering.unwrap_or_default();
    let (mut services, mut isolation) = (Map::new(), Map::new());
    let (mut all, mut isolated) = (true, confine::isolation().keys_isolated());
    isolation.insert(Service::Gateway.name().to_owned(), Value::from(words(Some(isolated))));
    for service in Service::ALL.into_iter().filter(|s| *s != Service::Gateway) {
        let found = there.get(service.name()).copied();
        all &= found.is_some();
        isolated &= found != Some(false);
        let state = if found.is_some() { "ready" } else { "away" };
        services.insert(service.name().to_owned(), Value::from(state));
        isolation.insert(service.name().to_owned(), Value::from(words(found)));
    }
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let keys = words(Some(isolated));
    let body = json!({"ready": all, "bus": bus, "services": services, "keys": keys, "isolation": isolation});
    (status, Json(body)).into_response()
}

const fn words(isolated: Option<bool>) -> &'static str {
    match isolated {
        Some(true) => "isolated",
        Some(false) => "keys not isolated",
        None => "unknown",
    }
}
