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
/// Shape: `{ready, bus, services: {<name>: "ready" | "away"}, keys}`.
pub(crate) async fn ready(gateway: &Gateway) -> Response {
    let answering = gateway.backend.answering(WITHIN).await;
    let bus = if answering.is_some() { "connected" } else { "away" };
    let names = answering.unwrap_or_default();
    let mut services = Map::new();
    let mut all = true;
    for service in Service::ALL.into_iter().filter(|s| *s != Service::Gateway) {
        let there = names.contains(service.name());
        all &= there;
        let state = if there { "ready" } else { "away" };
        services.insert(service.name().to_owned(), Value::from(state));
    }
    let keys = if confine::isolation().keys_isolated() {
        "isolated"
    } else {
        "keys not isolated"
    };
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({"ready": all, "bus": bus, "services": services, "keys": keys});
    (status, Json(body)).into_response()
}
