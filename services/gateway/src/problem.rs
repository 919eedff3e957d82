//! Errors as HTTP tells them.
//!
//! Source: RFC 9457.

use axum::response::{IntoResponse, Response};
use borealis_bus_schema::codes::{Code, Retry};
use borealis_bus_schema::ids::CorrelationId;
use borealis_bus_schema::reply::WireError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Is the body of an error.
///
/// Shape: `{type, title, status, detail, code, retry, request_id}`.
#[derive(Debug, Serialize)]
struct Body<'a> {
    r#type: String,
    title: String,
    status: u16,
    detail: &'a str,
    code: Code,
    retry: Retry,
    request_id: String,
}

/// Is how long a throttled caller is asked to wait, in seconds.
const THROTTLED_S: u16 = 60;
/// Is how long anyone else is asked to wait before the same request, in seconds.
const LATER_S: u16 = 2;

/// Makes the response of an error.
pub(crate) fn response(error: &WireError, request: CorrelationId) -> Response {
    let code = error.code;
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = code.as_str().replace('_', " ");
    let body = Body {
        r#type: format!("urn:borealis:error:{code}"),
        title,
        status: status.as_u16(),
        detail: &error.message,
        code,
        retry: error.retry,
        request_id: request.to_string(),
    };
    let json = serde_json::to_string(&body).unwrap_or_else(|_| format!("{{\"code\":\"{code}\"}}"));
    let mut response = (status, json).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if error.retry == Retry::Later {
        let seconds = if code == Code::Throttled { THROTTLED_S } else { LATER_S };
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"borealis\""),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    async fn read(response: Response) -> Value {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn every_code_becomes_a_problem_with_its_status() {
        let request = CorrelationId::from_bytes([1; 16]);
        for code in Code::ALL {
            let response = response(&WireError::new(*code, "why"), request);
            assert_eq!(response.status().as_u16(), code.http_status(), "{code}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let later = code.retry() == Retry::Later;
            assert_eq!(response.headers().contains_key("retry-after"), later, "{code}");
            let body = read(response).await;
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["detail"], "why");
            assert_eq!(body["status"], code.http_status());
            assert_eq!(body["request_id"], request.to_string());
            assert!(body["type"].is_string() && body["title"].is_string() && body["retry"].is_string());
        }
    }
}
