//! `GET /metrics`: figures of the gateway as Prometheus text.
//!
//! What is cheap and true: requests by route and status, open live connections, which services answer, the build. Whoever
//! reads them needs the right `metrics.read`, from every address: behind a proxy on the same machine everyone is loopback.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use borealis_bus_schema::routes::{self, Found};
use borealis_bus_schema::subjects::Service;
use http::{HeaderValue, header};

use crate::router::Gateway;

/// Is how long services have to answer.
const WITHIN: Duration = Duration::from_millis(500);

/// Counts requests by method, route and status: as many as there are routes, whatever is asked for.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), Count>>,
}

#[derive(Default, Clone, Copy)]
struct Count {
    requests: u64,
    micros: u64,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn count(&self, method: &str, path: &str, status: u16, took: Duration) {
        let (method, route) = route_of(method, path);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = requests.entry((method, route, status)).or_default();
        count.requests = count.requests.saturating_add(1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        count.micros = count.micros.saturating_add(micros);
    }

    fn write(&self, out: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        head(
            out,
            "borealis_http_requests_total",
            "counter",
            "Requests answered, by route and status.",
        );
        for ((method, route, status), count) in &requests {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            line(
                out,
                "borealis_http_requests_total",
                &labels,
                &count.requests.to_string(),
            );
        }
        let name = "borealis_http_request_seconds_total";
        head(
            out,
            name,
            "counter",
            "Time spent on these requests; live connections count until they stand.",
        );
        for ((method, route, status), count) in &requests {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let seconds = format!("{}.{:06}", count.micros / 1_000_000, count.micros % 1_000_000);
            line(out, name, &labels, &seconds);
        }
    }
}

/// Names a route by its template; what is no route is `other`, so that nobody can invent labels.
fn route_of(method: &str, path: &str) -> (&'static str, &'static str) {
    match routes::find(method, path) {
        Some(Found::Forwarded(route)) => (route.method, route.path),
        Some(Found::Own(route)) => (route.method, route.path),
        None => ("OTHER", "other"),
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    };
    let _ = writeln!(out, "{name}{labels} {value}");
}

/// Answers `GET /metrics`.
pub(crate) async fn answer(gateway: &Gateway) -> Response {
    let text = text(gateway).await;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

async fn text(gateway: &Gateway) -> String {
    let mut out = String::new();
    head(&mut out, "borealis_build_info", "gauge", "The version that runs.");
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    line(&mut out, "borealis_build_info", &version, "1");
    gateway.metrics.write(&mut out);
    head(
        &mut out,
        "borealis_live_connections",
        "gauge",
        "Open live connections of web pages.",
    );
    line(
        &mut out,
        "borealis_live_connections",
        "",
        &gateway.live.open_count().to_string(),
    );
    let answering = gateway.backend.answering(WITHIN).await;
    head(
        &mut out,
        "borealis_bus_connected",
        "gauge",
        "Whether the gateway is connected to the bus.",
    );
    line(
        &mut out,
        "borealis_bus_connected",
        "",
        &u8::from(answering.is_some()).to_string(),
    );
    let there = answering.unwrap_or_default();
    head(
        &mut out,
        "borealis_service_ready",
        "gauge",
        "Whether a service answers.",
    );
    for service in Service::ALL.into_iter().filter(|service| *service != Service::Gateway) {
        let ready = u8::from(there.contains_key(service.name())).to_string();
        line(
            &mut out,
            "borealis_service_ready",
            &format!("service=\"{service}\""),
            &ready,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_paths_make_no_labels() {
        let metrics = Metrics::default();
        for n in 0..1_000 {
            metrics.count("GET", &format!("/x\"{n}"), 404, Duration::ZERO);
            metrics.count("GET", &format!("/api/v1/devices/{n}"), 404, Duration::ZERO);
            metrics.count(&format!("M{n}"), "/api/v1/devices", 405, Duration::ZERO);
        }
        let mut out = String::new();
        metrics.write(&mut out);
        let lines: Vec<&str> = out
            .lines()
            .filter(|line| line.starts_with("borealis_http_requests_total{"))
            .collect();
        assert_eq!(
            lines,
            [
                r#"borealis_http_requests_total{method="GET",route="/api/v1/devices/{id}",status="404"} 1000"#,
                r#"borealis_http_requests_total{method="OTHER",route="other",status="404"} 1000"#,
                r#"borealis_http_requests_total{method="OTHER",route="other",status="405"} 1000"#,
            ]
        );
    }

    #[test]
    fn time_is_written_in_seconds() {
        let metrics = Metrics::default();
        metrics.count("GET", "/healthz", 200, Duration::from_micros(1_250_003));
        let mut out = String::new();
        metrics.write(&mut out);
        assert!(out.contains(r#"route="/healthz",status="200"} 1.250003"#), "{out}");
    }
}
