//! Errors as answers: the one place where kinds become HTTP statuses.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use logmill_model::ErrorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::budget::Exhausted;
use crate::request_id;

/// Seconds after which a refused writer may try again: about one flush.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An error as its receiver sees it.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// Stable, for programs.
    #[schema(example = "invalid_time")]
    code: String,
    /// For people.
    message: String,
    /// The request's id, as in the header `X-Request-ID` and in the server's log.
    request_id: String,
}

/// The status of a kind of error.
pub(crate) const fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::LimitExceeded => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unavailable | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A failure of ours: the details go to the log, its receiver gets the request's id to ask about it.
    pub(crate) fn internal(details: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %details, "internal error");
        let message =
            "something is wrong in the server; its log has the details under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    fn of(kind: ErrorKind, code: &'static str, error: &dyn std::fmt::Display) -> Self {
        match status_of(kind) {
            StatusCode::INTERNAL_SERVER_ERROR => Self::internal(error),
            status => {
                if status.is_server_error() {
                    tracing::error!(%error, "request failed");
                }
                Self::new(status, code, error.to_string())
            }
        }
    }
}

impl From<logmill_store::Error> for ApiError {
    fn from(error: logmill_store::Error) -> Self {
        let kind = error.kind();
        Self::of(kind, kind.as_str(), &error)
    }
}

impl From<logmill_query_api::Error> for ApiError {
    fn from(error: logmill_query_api::Error) -> Self {
        Self::of(error.kind(), error.code(), &error)
    }
}

impl From<logmill_ingest::Error> for ApiError {
    fn from(error: logmill_ingest::Error) -> Self {
        match error {
            logmill_ingest::Error::UnsupportedEncoding(_) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                error.code(),
                error.to_string(),
            ),
            _ => Self::of(error.kind(), error.code(), &error),
        }
    }
}

impl From<Exhausted> for ApiError {
    fn from(exhausted: Exhausted) -> Self {
        let message = format!(
            "the requests under way hold all of the {} bytes they may: send again shortly",
            exhausted.limit
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = ErrorDetail {
            code: self.code.to_owned(),
            message: self.message,
            request_id: request_id::current(),
        };
        let mut response = (self.status, Json(ErrorBody { error: detail })).into_response();
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let seconds = HeaderValue::from(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
