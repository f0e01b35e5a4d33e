//! Request bodies: read within their bounds, into memory that was reserved first.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use http::StatusCode;

use crate::budget::Share;
use crate::error::ApiError;

/// Memory set aside for a body before any of it is there.
const EXPECTED_MAX_BYTES: u64 = 2 << 20;

/// Reads a body into `out` (cleared first): at most `max_bytes`, within `timeout`.
pub(crate) async fn read(
    body: Body,
    declared_length: Option<u64>,
    max_bytes: u64,
    timeout: Duration,
    share: &mut Share,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    out.clear();
    if declared_length.is_some_and(|length| length > max_bytes) {
        drain(body).await;
        return Err(too_large(max_bytes));
    }
    let mut reserved = 0;
    // What is declared is not taken in advance: a client that declares much and sends nothing must not hold it.
    let expected = declared_length.unwrap_or(0).min(EXPECTED_MAX_BYTES);
    out.reserve(usize::try_from(expected).unwrap_or(0));
    let mut chunks = body.into_data_stream();
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                ApiError::bad_request("incomplete_body", format!("the body broke off: {error}"))
            })?;
            let length = (out.len() + chunk.len()) as u64;
            if length > max_bytes {
                return Err(too_large(max_bytes));
            }
            if length > reserved {
                share.grow(length - reserved)?;
                reserved = length;
            }
            out.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {} ms", timeout.as_millis());
            Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                message,
            ))
        }
    }
}

/// Bytes and time that are spent on the rest of a body that is refused.
const DRAIN_MAX_BYTES: usize = 16 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads on and forgets: a connection that is closed while its client still sends is reset, and the client may never
/// see why it was refused.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut left = DRAIN_MAX_BYTES;
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // What does not arrive in time is not waited for.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}

fn too_large(max_bytes: u64) -> ApiError {
    let message =
        format!("the body is longer than the limit of {max_bytes} bytes: send smaller batches");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}
