//! The web page, which is part of this program.
//!
//! Files whose name carries a hash of their content are cached for ever; the page itself never is, because each response
//! carries a fresh nonce for the styles that are made at run time. Unknown paths get the page, which knows its own routes.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use borealis_service_kit::random;
use http::{HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;

use crate::headers;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../ui/dist"]
#[allow_missing = true]
struct Files;

const PAGE: &str = "index.html";
/// Stands in the page where each response puts its nonce.
const NONCE: &str = "__CSP_NONCE__";

/// Is what is served when the program was made without the page.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Borealis</title>\
<h1>Borealis</h1><p>This server was built without its web page. Build it with <code>./Borealis.sh build</code>.</p></html>";

/// Answers a path outside the API.
pub(crate) fn serve(path: &str) -> Response {
    let name = path.trim_start_matches('/');
    if name.is_empty() || name == PAGE {
        return page();
    }
    match Files::get(name) {
        Some(file) => asset(name, file.data),
        None if name.starts_with("assets/") => missing(),
        None => page(),
    }
}

fn page() -> Response {
    let nonce = STANDARD_NO_PAD.encode(random::bytes::<18>());
    let html = Files::get(PAGE).map_or_else(
        || NOT_BUILT.to_owned(),
        |file| String::from_utf8_lossy(&file.data).replace(NONCE, &nonce),
    );
    let mut response = Response::new(Body::from(html));
    let all = response.headers_mut();
    all.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::from_str(&headers::policy(Some(&nonce))) {
        all.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn asset(name: &str, data: Cow<'static, [u8]>) -> Response {
    let caching = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = Response::new(Body::from(data.into_owned()));
    let all = response.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

fn missing() -> Response {
    let mut response = Response::new(Body::from("There is no such file.\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_page_has_a_nonce_of_its_own_and_is_never_cached() {
        let (one, other) = (serve("/"), serve("/devices/some"));
        let policy = |response: &Response| {
            response.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_ne!(policy(&one), policy(&other));
        assert_eq!(one.headers()["cache-control"], "no-store");
        let nonce = policy(&one)
            .split("'nonce-")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap()
            .to_owned();
        let html = text(one).await;
        assert!(!html.contains(NONCE));
        assert!(html.contains(&nonce) || html.contains("built without"), "{html}");
    }

    #[test]
    fn a_missing_asset_is_missing_and_not_the_page() {
        assert_eq!(serve("/assets/nothing.js").status(), StatusCode::NOT_FOUND);
        assert_eq!(serve("/jobs/x").status(), StatusCode::OK);
        assert_eq!(
            serve("/../Cargo.toml").headers()["content-type"],
            "text/html; charset=utf-8"
        );
    }

    #[test]
    fn hashed_files_are_cached_for_ever_and_typed() {
        for name in Files::iter() {
            let response = serve(&format!("/{name}"));
            let caching = response.headers()["cache-control"].to_str().unwrap().to_owned();
            assert_eq!(caching.contains("immutable"), name.starts_with("assets/"), "{name}");
            assert_ne!(response.headers()["content-type"], "application/octet-stream", "{name}");
        }
    }
}
