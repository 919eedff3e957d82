//! One HTTP request becomes one call on the bus, and its answer one response.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use borealis_bus_schema::codec::MAX_JSON_BYTES;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::operator::{OperatorAnswer, OperatorCall};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{Need, Route};
use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_service_kit::auth::{HOP_LIFE_MS, attenuate};
use borealis_service_kit::bus::RequestOptions;
use futures_util::StreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::auth::{proof, token};
use crate::in_use;
use crate::router::Gateway;
use crate::server::Peer;

/// Is how long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Is how long one attempt of a read may take, besides what a long poll waits.
const READ_TIME: Duration = Duration::from_secs(4);
/// Is how long one attempt of a change may take.
const CHANGE_TIME: Duration = Duration::from_secs(15);
/// Is the longest that a long poll may wait.
const MAX_WAIT_MS: u64 = 30_000;
/// Is how much of a body that is too large is read, so that its sender gets the answer.
const MAX_DRAINED_BYTES: usize = 8 * MAX_JSON_BYTES;
/// Is how long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Is the longest path with its query.
const MAX_PATH_BYTES: usize = 4 << 10;

/// Marks a request that a service answered: what became of it, that service has recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded;

/// Forwards a request to the service of its route.
pub(crate) async fn forward(
    gateway: &Arc<Gateway>,
    route: &'static Route,
    parts: &mut Parts,
    body: Body,
    id: CorrelationId,
) -> Reply<Response> {
    gateway.origins.check(&parts.method, &parts.headers)?;
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    if path.len() > MAX_PATH_BYTES {
        return Err(WireError::new(
            Code::Malformed,
            format!("the path is longer than {MAX_PATH_BYTES} bytes"),
        ));
    }
    let biscuit = match route.need {
        Need::Public => None,
        _ => Some(token::find(&parts.headers, &gateway.cookie)?.biscuit()),
    };
    let proof = if route.changes {
        Some(proof::read(&parts.headers)?)
    } else {
        None
    };
    not_a_form(&parts.headers)?;
    let call = OperatorCall {
        method: route.method.to_owned(),
        path: path.to_owned(),
        body: read_body(&parts.headers, body).await?,
        proof,
        peer: parts
            .extensions
            .get::<Peer>()
            .map_or_else(String::new, |peer| peer.0.to_string()),
    };
    let mut sent = false;
    let answer = attempts(gateway, route, &call, (biscuit, id), &mut sent).await;
    if let (Ok(_), Some(biscuit), true) = (&answer, biscuit, route.service != Service::Access) {
        in_use::note(gateway, biscuit, &call.peer, id);
    }
    if sent {
        parts.extensions.insert(Forwarded);
    }
    respond(gateway, route, answer)
}

/// Refuses what an HTML form of another site could send.
fn not_a_form(headers: &HeaderMap) -> Result<(), WireError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/plain" | "multipart/form-data" | "application/x-www-form-urlencoded" => Err(WireError::new(
            Code::Malformed,
            "the body must be sent as application/json",
        )),
        _ => Ok(()),
    }
}

/// Reads some of a body that is refused and drops it.
///
/// Whoever still writes when the connection ends sees that it broke, and never the answer.
async fn drain(body: Body) {
    let mut pieces = body.into_data_stream();
    let some = async {
        let mut read_bytes = 0;
        while let Some(Ok(piece)) = pieces.next().await {
            read_bytes += piece.len();
            if read_bytes > MAX_DRAINED_BYTES {
                return;
            }
        }
    };
    // What does not come in time is not waited for.
    let _ = timeout(DRAIN_TIME, some).await;
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, WireError> {
    let too_large = || {
        WireError::new(
            Code::TooLarge,
            format!("the body is larger than {MAX_JSON_BYTES} bytes"),
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_JSON_BYTES as u64) {
        drain(body).await;
        return Err(too_large());
    }
    match timeout(BODY_TIME, axum::body::to_bytes(body, MAX_JSON_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => {
            let cut = std::error::Error::source(&error).is_some_and(|source| source.is::<hyper::Error>());
            if cut {
                Err(WireError::new(Code::Malformed, "the body ended too early"))
            } else {
                Err(too_large())
            }
        }
        Err(_) => Err(WireError::new(
            Code::DeadlineExceeded,
            "the body did not arrive in time",
        )),
    }
}

/// Asks until there is an answer, as long as asking again is safe and help is to be expected; `sent` says whether anything
/// was asked.
async fn attempts(
    gateway: &Gateway,
    route: &Route,
    call: &OperatorCall,
    (biscuit, id): (Option<&str>, CorrelationId),
    sent: &mut bool,
) -> Reply<OperatorAnswer> {
    let wait_ms = call
        .query("wait_ms")
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0);
    let each = if route.changes || route.need == Need::Public {
        CHANGE_TIME
    } else {
        READ_TIME + Duration::from_millis(wait_ms.min(MAX_WAIT_MS))
    };
    let (began, mut pause_ms) = (Instant::now(), 50);
    loop {
        let narrowed = biscuit.map(|text| narrow(gateway, route, text)).transpose()?;
        let options = RequestOptions {
            biscuit: narrowed,
            correlation: Some(id),
            timeout: Some(each),
        };
        *sent = true;
        let asked = gateway.backend.call(route.service, route.verb, call, options);
        let error = tokio::select! {
            answer = asked => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            },
            // A long poll must not hold up the end; whoever reads asks again.
            () = gateway.shutdown.wait(), if !route.changes => {
                return Err(WireError::new(Code::ShuttingDown, "the gateway is stopping"));
            }
        };
        let again = match error.code {
            Code::Unavailable | Code::ShuttingDown | Code::Stale => true,
            // Nobody knows whether it happened: only what may happen twice, or happens once by its id, is asked again.
            Code::DeadlineExceeded => route.need != Need::Public,
            _ => false,
        };
        if !again || began.elapsed() >= gateway.patience || gateway.shutdown.begun() {
            return Err(error);
        }
        sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(800);
    }
}

/// Narrows the biscuit to the one service and the one act.
pub(crate) fn narrow(gateway: &Gateway, route: &Route, biscuit: &str) -> Result<String, WireError> {
    attenuate(biscuit, route.service, route.need, gateway.clock.now(), HOP_LIFE_MS)
        .map_err(|_| WireError::new(Code::TokenInvalid, "the request's token is no token of this server"))
}

fn respond(gateway: &Gateway, route: &Route, answer: Reply<OperatorAnswer>) -> Reply<Response> {
    let answer = answer?;
    let cookie = match route.verb {
        "login" | "step-up" | "step-up-passkey" => session_cookie(gateway, &answer.json),
        "logout" => Some(gateway.cookie.clear()),
        _ => None,
    };
    let mut response = (StatusCode::OK, answer.json).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(cookie) = cookie.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Makes the cookie when a log-in has ended with a session, or a session has got another biscuit.
fn session_cookie(gateway: &Gateway, json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Finished {
        token: String,
        expires_at: Timestamp,
    }
    let finished: Finished = serde_json::from_str(json).ok()?;
    let left_s = finished.expires_at.since_ms(gateway.clock.now()) / 1_000;
    gateway.cookie.set(&finished.token, left_s)
}
