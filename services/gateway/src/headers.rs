//! What every response says to the browser about itself.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const FIXED: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// Returns the content security policy; with a nonce, styles that carry it are allowed.
///
/// Scripts come only from here; `wasm-unsafe-eval` lets the password's WebAssembly be compiled and nothing else.
pub(crate) fn policy(nonce: Option<&str>) -> String {
    let style = nonce.map_or_else(String::new, |nonce| format!(" 'nonce-{nonce}'"));
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'{style}; img-src 'self'; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; object-src 'none'; \
         base-uri 'none'; form-action 'none'; frame-src 'none'; frame-ancestors 'none'"
    )
}

/// Adds what is missing: a response may have set its own policy and its own caching.
pub(crate) fn secure(headers: &mut HeaderMap) {
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY)
        && let Ok(value) = HeaderValue::from_str(&policy(None))
    {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_nothing_inline() {
        for policy in [policy(None), policy(Some("abc"))] {
            assert!(
                !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
                "{policy}"
            );
            for part in [
                "script-src 'self' 'wasm-unsafe-eval'",
                "frame-ancestors 'none'",
                "object-src 'none'",
                "base-uri 'none'",
                "connect-src 'self'",
            ] {
                assert!(policy.contains(part), "{policy}");
            }
        }
        assert!(policy(Some("abc")).contains("style-src 'self' 'nonce-abc';"));
    }

    #[test]
    fn a_response_keeps_its_own_policy_and_caching() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        secure(&mut headers);
        assert_eq!(headers["cache-control"], "public");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let mut headers = HeaderMap::new();
        secure(&mut headers);
        assert_eq!(headers["cache-control"], "no-store");
    }
}
