//! What each request meets: the routes of the table, the gateway's own, and the web page for everything else.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::forms::PublicKey;
use borealis_bus_schema::ids::{CorrelationId, DeploymentId};
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::{self, Found, OWN_ROUTES, OwnRoute, ROUTES};
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::auth::{AuthError, Authoriser};
use borealis_service_kit::clock::Clock;
use borealis_service_kit::random;
use borealis_service_kit::revocation::RevocationSet;
use borealis_service_kit::shutdown::Shutdown;
use borealis_service_kit::trust::FormerBiscuitRoot;
use borealis_service_kit::trust::TrustFile;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

use crate::auth::cookie::SessionCookie;
use crate::auth::origin::Origins;
use crate::backend::Backend;
use crate::forward::Forwarded;
use crate::in_use::InUse;
use crate::live::Live;
use crate::metrics::{self, Metrics};
use crate::refusals::{HandOver, Refusals};
use crate::{audit, forward, headers, live, openapi, own, problem, ready, ui};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Is what a router is built from.
pub struct Config {
    /// The deployment, which names the cookie.
    pub deployment: DeploymentId,
    /// The names under which browsers reach this server.
    pub names: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The key that signs biscuits.
    pub biscuit_root: PublicKey,
    /// Keys that signed biscuits before it and still count for a while.
    pub former_biscuit_roots: Vec<FormerBiscuitRoot>,
    /// What names the keys with which signing vouches for heads.
    pub trust: Arc<TrustFile>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Tells when to stop.
    pub shutdown: Shutdown,
    /// What stands behind.
    pub backend: Arc<dyn Backend>,
    /// The events for open pages.
    pub live: Live,
    /// How long to go on trying while a service is away.
    pub patience: Duration,
}

/// Is how long the gateway goes on trying while a service is away.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Is what every request may use.
pub(crate) struct Gateway {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) cookie: SessionCookie,
    pub(crate) origins: Origins,
    pub(crate) authoriser: Authoriser,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: Shutdown,
    pub(crate) live: Live,
    pub(crate) patience: Duration,
    pub(crate) in_use: InUse,
    pub(crate) trust: Arc<TrustFile>,
    pub(crate) refusals: Refusals,
    pub(crate) metrics: Metrics,
    openapi: String,
}

/// Builds the router, and what hands to access what it refuses by itself.
///
/// Errors: [`AuthError`] when the biscuits' key is no key.
pub fn router(config: Config) -> Result<(Router, HandOver), AuthError> {
    let authoriser = Authoriser::new(
        config.biscuit_root,
        Service::Gateway,
        Arc::new(RevocationSet::new()),
        Arc::clone(&config.clock),
    )?
    .with_former_roots(&config.former_biscuit_roots)?;
    let gateway = Gateway {
        backend: config.backend,
        cookie: SessionCookie::of(&config.deployment),
        origins: Origins::new(&config.names, config.address),
        authoriser,
        clock: config.clock,
        shutdown: config.shutdown,
        live: config.live,
        patience: config.patience,
        in_use: InUse::default(),
        trust: config.trust,
        refusals: Refusals::default(),
        metrics: Metrics::default(),
        openapi: openapi::document(),
    };
    let gateway = Arc::new(gateway);
    let hand_over = HandOver::of(Arc::clone(&gateway));
    Ok((Router::new().fallback(dispatch).with_state(gateway), hand_over))
}

/// Answers one request, whatever happens inside.
async fn dispatch(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (began, id) = (Instant::now(), random::id::<CorrelationId>());
    let (mut parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let outcome = AssertUnwindSafe(answer(&gateway, &mut parts, body, id))
        .catch_unwind()
        .await;
    let outcome = outcome.unwrap_or_else(|_| {
        tracing::error!(%method, path, request = %id, "a request handler panicked");
        Err(WireError::new(Code::Internal, "the request failed inside the gateway"))
    });
    let code = outcome.as_ref().err().map(|error| error.code);
    if let Some(code) = code
        && parts.extensions.get::<Forwarded>().is_none()
    {
        // What a service refused, that service has recorded.
        gateway.refusals.note(&gateway, &parts, code, id);
    }
    let mut response = outcome.unwrap_or_else(|error| problem::response(&error, id));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    headers::secure(response.headers_mut());
    let (status, took_ms) = (response.status().as_u16(), began.elapsed().as_millis());
    gateway.metrics.count(method.as_str(), &path, status, began.elapsed());
    match code {
        Some(code) if status >= 500 => {
            tracing::warn!(%method, path, status, %code, took_ms, request = %id, "request failed")
        }
        Some(code) => tracing::info!(%method, path, status, %code, took_ms, request = %id, "request refused"),
        None if method == Method::GET => {
            tracing::debug!(%method, path, status, took_ms, request = %id, "request answered")
        }
        None => tracing::info!(%method, path, status, took_ms, request = %id, "request answered"),
    }
    response
}

async fn answer(gateway: &Arc<Gateway>, parts: &mut Parts, body: Body, id: CorrelationId) -> Reply<Response> {
    let path = parts.uri.path().to_owned();
    let method = parts.method.clone();
    match routes::find(method.as_str(), &path) {
        Some(Found::Forwarded(route)) => forward::forward(gateway, route, parts, body, id).await,
        Some(Found::Own(route)) => own_answer(gateway, route, parts, id).await,
        None => other(&method, &path, id),
    }
}

/// Answers a route of the gateway's own, for whoever may use it.
async fn own_answer(
    gateway: &Arc<Gateway>,
    route: &'static OwnRoute,
    parts: &mut Parts,
    id: CorrelationId,
) -> Reply<Response> {
    let admitted = own::admit(gateway, route, parts).await?;
    match (route.path, admitted) {
        ("/", None) => Ok(ui::serve("/")),
        ("/healthz", None) => Ok(ready::alive()),
        ("/readyz", None) => Ok(ready::ready(gateway).await),
        ("/api/v1/openapi.json", None) => Ok(document(gateway)),
        ("/metrics", Some(_)) => Ok(metrics::answer(gateway).await),
        ("/api/v1/audit", Some(asker)) => audit::list(gateway, parts, &asker.session, id).await,
        ("/api/v1/audit/verify", Some(asker)) => audit::verify(gateway, parts, &asker.session, id).await,
        ("/api/v1/live", Some(asker)) => live::upgrade(Arc::clone(gateway), parts, asker).await,
        _ => Err(WireError::new(Code::UnknownRoute, "there is no such route")),
    }
}

fn document(gateway: &Gateway) -> Response {
    let mut response = Response::new(Body::from(gateway.openapi.clone()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Answers what no route takes: the page, a missing route, or a method that the path does not have.
fn other(method: &Method, path: &str, id: CorrelationId) -> Reply<Response> {
    let allowed = methods(path);
    let is_page = allowed.is_empty() && !is_api(path);
    if is_page && matches!(*method, Method::GET | Method::HEAD) {
        return Ok(ui::serve(path));
    }
    if allowed.is_empty() && !is_page {
        return Err(WireError::new(Code::UnknownRoute, "there is no such route"));
    }
    let allowed = if is_page {
        "GET, HEAD".to_owned()
    } else {
        allowed.join(", ")
    };
    let refused = WireError::new(Code::MethodNotAllowed, format!("this path takes {allowed}"));
    let mut response = problem::response(&refused, id);
    debug_assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    Ok(response)
}

fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Lists the methods that a path takes.
fn methods(path: &str) -> Vec<&'static str> {
    let forwarded = ROUTES
        .iter()
        .filter(|route| route.matches(route.method, path).is_some());
    let own = OWN_ROUTES
        .iter()
        .filter(|route| route.path == path && route.path != "/");
    let own = own.map(|route| if route.method == "WS" { "GET" } else { route.method });
    let mut all: Vec<&str> = forwarded.map(|route| route.method).chain(own).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
