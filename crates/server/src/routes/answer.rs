//! What `/query` and `/sql` share: reading JSON bodies, and streaming batches as text.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode, header};
use logmill_query_api::render::{Renderer, plain};
use logmill_query_api::{BatchStream, Error, QueryStats};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Span;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::{AppState, body};

/// Longest body of a question.
const QUESTION_MAX_BYTES: u64 = 2 << 20;

/// What answering took.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Inside the engine.
    #[schema(example = 3.1)]
    elapsed_ms: f64,
    /// Rows in the answer.
    rows_matched: u64,
    /// Rows looked at.
    rows_scanned: u64,
    /// Bytes read from segments, compressed.
    bytes_scanned: u64,
    /// Granules (8,192 rows) read.
    granules_read: u64,
    /// Granules of all of the tenant's records.
    granules_total: u64,
}

impl From<QueryStats> for Stats {
    #[allow(
        clippy::cast_precision_loss,
        reason = "microseconds of a query are far below 2^53"
    )]
    fn from(stats: QueryStats) -> Self {
        Self {
            elapsed_ms: stats.elapsed_us as f64 / 1_000.0,
            rows_matched: stats.rows_matched,
            rows_scanned: stats.rows_scanned,
            bytes_scanned: stats.bytes_scanned,
            granules_read: stats.granules_read,
            granules_total: stats.granules_total,
        }
    }
}

/// Reads the JSON body of a question, within its bounds of size and time.
pub(crate) async fn question<T: DeserializeOwned>(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    let timeout = Duration::from_millis(state.options.body_timeout_ms);
    let mut share = state.budget.share();
    let mut bytes = Vec::new();
    body::read(
        body,
        None,
        QUESTION_MAX_BYTES,
        timeout,
        &mut share,
        &mut bytes,
    )
    .await?;
    json_body(headers, &bytes)
}

/// A JSON body as `T`; what is wrong with it is said with its position.
fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    if content_type.is_some_and(|found| !found.starts_with(b"application/json")) {
        let message = "a question is application/json";
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        ));
    }
    if body.trim_ascii().first() != Some(&b'{') {
        let message = "the body is a JSON object: see /docs";
        return Err(ApiError::bad_request("invalid_body", message));
    }
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() {
            "invalid_body"
        } else {
            "malformed_json"
        };
        ApiError::bad_request(code, error.to_string())
    })
}

/// A batch as text, or why not.
type Part = Result<Bytes, Error>;

/// A stream of parts as a response. The first part is awaited, so that an early failure still has its status; a later
/// one breaks the connection off, so that the client notices, and is logged.
pub(crate) async fn stream(
    content_type: &'static str,
    mut parts: impl Stream<Item = Part> + Send + Unpin + 'static,
) -> Result<Response, ApiError> {
    let first = parts.next().await.transpose()?;
    let first = futures::stream::iter(first.map(Ok));
    // The connection asks for the parts, after the request's own task is done.
    let span = Span::current();
    let parts = first.chain(parts).map(move |part| {
        part.map_err(|error| {
            span.in_scope(|| tracing::warn!(code = error.code(), %error, "an answer broke off"));
            std::io::Error::other(error)
        })
    });
    Ok((
        [(header::CONTENT_TYPE, content_type)],
        Body::from_stream(parts),
    )
        .into_response())
}

/// Records, one a line.
pub(crate) async fn ndjson(batches: BatchStream) -> Result<Response, ApiError> {
    let parts = batches.map(|batch| {
        let batch = batch?;
        let mut out = Vec::new();
        let rendered = plain(&batch).and_then(|batch| {
            let renderer = Renderer::new(&batch)?;
            for row in 0..batch.num_rows() {
                renderer.write_record(row, &mut out);
                out.push(b'\n');
            }
            Ok(())
        });
        rendered.map_err(|error| internal(&error))?;
        Ok(Bytes::from(out))
    });
    stream("application/x-ndjson", parts).await
}

/// An answer that cannot be written is a bug.
pub(crate) fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::Engine {
        kind: logmill_model::ErrorKind::Internal,
        message: error.to_string(),
    }
}
