//! Request bodies: read within their bounds, into memory that was reserved first; and what is done with the rest of
//! those that are refused.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use http::{StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

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

/// Reads what a route left of its request's body, before the answer goes out: a connection that is closed while its
/// client still sends is reset, and the client may never see why it was refused.
pub(crate) async fn drain_rest(request: Request, next: Next) -> Response {
    // A client that waits to be told to go on has sent nothing yet; once the body is asked for, it would.
    let waits = request.headers().contains_key(header::EXPECT);
    let (request, mut returned) = {
        let (parts, body) = request.into_parts();
        let (lent, returned) = Lent::new(body);
        (Request::from_parts(parts, Body::new(lent)), returned)
    };
    let response = next.run(request).await;
    if let Ok((body, begun)) = returned.try_recv()
        && (begun || !waits)
    {
        drain(body).await;
    }
    response
}

/// A body that goes back to its owner when its reader is done with it.
struct Lent {
    body: Body,
    /// Whether any of it was asked for.
    begun: bool,
    owner: Option<oneshot::Sender<(Body, bool)>>,
}

impl Lent {
    fn new(body: Body) -> (Self, oneshot::Receiver<(Body, bool)>) {
        let (owner, returned) = oneshot::channel();
        let lent = Self {
            body,
            begun: false,
            owner: Some(owner),
        };
        (lent, returned)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.begun = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            // The owner is gone when its connection is.
            let _ = owner.send((std::mem::take(&mut self.body), self.begun));
        }
    }
}

/// Reads on and forgets, within bounds.
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
