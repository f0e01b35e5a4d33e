//! What questions share: reading JSON bodies, and writing batches as text.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use logmill_query_api::render::{Renderer, plain};
use logmill_query_api::{BatchStream, Error, QueryStats, StatsHandle};
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

/// Appends records as a JSON array.
pub(crate) fn write_records(batches: &[RecordBatch], out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.push(b'[');
    let mut first = true;
    for batch in batches {
        let batch = plain(batch)?;
        let renderer = Renderer::new(&batch)?;
        for row in 0..batch.num_rows() {
            if !first {
                out.push(b',');
            }
            first = false;
            renderer.write_record(row, out);
        }
    }
    out.push(b']');
    Ok(())
}

/// Appends the first record of a batch as a JSON object.
pub(crate) fn write_record(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let batch = plain(batch)?;
    Renderer::new(&batch)?.write_record(0, out);
    Ok(())
}

/// Rows as a JSON document that begins with `head`; its array of rows is followed by `tail`, and by what answering took.
pub(crate) async fn json(
    head: String,
    tail: &'static str,
    write: fn(&Renderer<'_>, usize, &mut Vec<u8>),
    batches: BatchStream,
    stats: StatsHandle,
) -> Result<Response, ApiError> {
    let mut head = Some(head.into_bytes());
    let mut first = true;
    // The head goes out with the first rows: until then a failure can still be an error.
    let rows = batches.map(move |batch| {
        let batch = plain(&batch?).map_err(|error| internal(&error))?;
        let renderer = Renderer::new(&batch).map_err(|error| internal(&error))?;
        let mut out = Vec::new();
        for row in 0..batch.num_rows() {
            if !first {
                out.push(b',');
            }
            first = false;
            write(&renderer, row, &mut out);
        }
        Ok(out)
    });
    let end = futures::stream::once(async move {
        let stats = serde_json::to_string(&Stats::from(stats.get())).map_err(|e| internal(&e))?;
        Ok(format!("],{tail}\"stats\":{stats}}}").into_bytes())
    });
    let parts = rows.chain(end).map(move |part: Result<Vec<u8>, Error>| {
        let part = part?;
        let mut out = head.take().unwrap_or_default();
        out.extend_from_slice(&part);
        Ok(Bytes::from(out))
    });
    stream("application/json", Box::pin(parts)).await
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

/// Longest text of a header, bytes: clients have bounds on a response's head.
const HEADER_TEXT_MAX: usize = 4_096;

/// A text as a header's value: characters that may not stand there as `\u{…}`, and cut where it is too long.
pub(crate) fn header_text(text: &str) -> HeaderValue {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() >= HEADER_TEXT_MAX {
            out.push_str("...");
            break;
        }
        match character {
            ' '..='~' => out.push(character),
            _ => out.extend(character.escape_unicode()),
        }
    }
    HeaderValue::from_str(&out).expect("it is visible ASCII and spaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_fits_a_header() {
        let value = header_text("there is no field \"Größe\"\n");
        assert_eq!(value, r#"there is no field "Gr\u{f6}\u{df}e"\u{a}"#);
        assert!(header_text(&"ö".repeat(100_000)).len() < HEADER_TEXT_MAX + 16);
    }
}
