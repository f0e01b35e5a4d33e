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
    /// For 429 and 503: when to send again, where it is not the usual time.
    pub(crate) retry_after_seconds: Option<u64>,
    /// The tenant's quota that is used up.
    pub(crate) quota: Option<&'static str>,
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
    /// Of 429 `quota_exceeded`: which one, as the tenant's settings call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<&'static str>,
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
            retry_after_seconds: None,
            quota: None,
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

    /// Something the server needs does not work. Paths and what the system said go to the log.
    fn unavailable(code: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        if is_disk_full(&error.to_string()) {
            let message = "no space left on the server's disk; what was acknowledged is safe: make room there, \
                           then send the request again";
            return Self::new(status, "disk_full", message);
        }
        let message = "something the server needs does not work: /health/ready names the component, \
                       its log has the details under the request id";
        Self::new(status, code, message)
    }

    fn of(kind: ErrorKind, code: &'static str, error: &dyn std::fmt::Display) -> Self {
        match kind {
            ErrorKind::Unavailable => Self::unavailable(code, error),
            ErrorKind::Corrupt | ErrorKind::Internal => Self::internal(error),
            _ => Self::new(status_of(kind), code, error.to_string()),
        }
    }
}

/// What anybody may hear of a component that does not work: paths and what the system said are in the log.
pub(crate) fn public_failure(component: &str, failure: &str) -> &'static str {
    if component == "memtable" {
        "it is full until the next flush is done"
    } else if is_disk_full(failure) {
        "no space left on the server's disk: make room there"
    } else {
        "it does not work: the server's log has the details"
    }
}

/// Whether an error's text is of a disk, or a quota of it, that is used up. The text, because log, object store and
/// catalog each wrap the system's error in another way, and some pass on its words alone.
fn is_disk_full(error: &str) -> bool {
    const WORDS: [&str; 4] = [
        "No space left on device",
        "Disk quota exceeded",
        "database or disk is full",     // SQLite
        "not enough space on the disk", // Windows
    ];
    WORDS.iter().any(|words| error.contains(words))
}

impl From<logmill_store::Error> for ApiError {
    fn from(error: logmill_store::Error) -> Self {
        let kind = error.kind();
        Self::of(kind, kind.as_str(), &error)
    }
}

impl From<logmill_catalog::Error> for ApiError {
    fn from(error: logmill_catalog::Error) -> Self {
        use logmill_catalog::Error;
        let code = match &error {
            Error::UnknownTenant(_) => "unknown_tenant",
            Error::TenantExists(_) => "tenant_exists",
            Error::InvalidKey(_) => "invalid_key",
            other => other.kind().as_str(),
        };
        Self::of(error.kind(), code, &error)
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
            quota: self.quota,
        };
        let mut response = (self.status, Json(ErrorBody { error: detail })).into_response();
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let seconds = self.retry_after_seconds.unwrap_or(RETRY_AFTER_SECONDS);
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"logmill\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(kind_of_system: i32) -> logmill_store::Error {
        logmill_store::Error::Io {
            operation: "writing",
            path: "/srv/secret/place".to_owned(),
            source: std::io::Error::from_raw_os_error(kind_of_system),
        }
    }

    #[test]
    fn a_full_disk_is_named_and_its_path_is_not() {
        let answer = ApiError::from(io_error(28));
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code, "disk_full");
        assert!(answer.message.contains("make room"), "{}", answer.message);
        assert!(!answer.message.contains("secret"), "{}", answer.message);
    }

    #[test]
    fn readiness_shows_no_paths() {
        let full = public_failure("wal", &io_error(28).to_string());
        assert!(full.contains("no space left"), "{full}");
        let broken = public_failure("wal", &io_error(5).to_string());
        assert!(
            broken.contains("log") && !broken.contains("secret"),
            "{broken}"
        );
    }

    #[test]
    fn what_does_not_work_is_answered_without_paths() {
        let answer = ApiError::from(io_error(5));
        assert_eq!(
            (answer.status, answer.code),
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        );
        assert!(!answer.message.contains("secret"), "{}", answer.message);
    }
}
