//! Errors as clients of VictoriaLogs expect them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::error::ApiError;

/// An error whose message is the body, as plain text.
pub(crate) struct Refused(ApiError);

/// An error as Prometheus' query API has it.
pub(crate) struct RefusedQuery(ApiError);

impl<E: Into<ApiError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<E: Into<ApiError>> From<E> for RefusedQuery {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let message = self.0.message.clone();
        with_body(self.0, "text/plain; charset=utf-8", message)
    }
}

impl IntoResponse for RefusedQuery {
    fn into_response(mut self) -> Response {
        if self.0.status == StatusCode::BAD_REQUEST {
            self.0.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        let body = json!({
            "status": "error",
            "errorType": self.0.status.as_str(),
            "error": self.0.message,
        });
        with_body(self.0, "application/json", body.to_string())
    }
}

/// The error with its status and headers (`Retry-After` and the like), and another body.
fn with_body(error: ApiError, content_type: &'static str, body: String) -> Response {
    let (mut parts, _) = error.into_response().into_parts();
    let content_type = HeaderValue::from_static(content_type);
    parts.headers.insert(header::CONTENT_TYPE, content_type);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

/// A parameter that cannot be understood.
pub(super) fn invalid(name: &str, value: &str, wanted: &str) -> ApiError {
    let value: String = value.chars().take(100).collect();
    ApiError::bad_request(
        "invalid_parameter",
        format!("cannot parse {name}={value:?}: {wanted}"),
    )
}
