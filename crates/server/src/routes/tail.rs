//! `GET /tail`: live records, as server-sent events.

use std::convert::Infallible;
use std::io::Write;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::{HeaderMap, Uri, header};
use logmill_query_api::render::{Renderer, plain};
use logmill_query_api::{Error, TailEvent, TailEvents, TailQuery};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::routes::answer::header_text;
use crate::routes::selection::{Parameters, SelectionParameters};

/// Live records, as server-sent events.
///
/// `event: record` has a record as JSON, as `/query` shows it, as soon as it is acknowledged. A reader that takes less than
/// arrives gets `event: missed` with `{"records":N,"exact":true}`; nobody waits for it. Comments say that the tail is still
/// there when nothing arrives; `event: end` says why it ends: `stopping`, or `interrupted`, when not every record could be
/// told any more. A reader then begins again: with `Last-Event-ID`, as browsers do by themselves, what was acknowledged since
/// that record comes first, and `backfill` is nothing. `missed` without a number (`null`) says that some of it may be in memory no more.
#[utoipa::path(
    get,
    path = "/tail",
    tag = "page",
    params(
        SelectionParameters,
        ("fields" = Option<String>, Query, description = "With commas", example = "timestamp,message"),
        ("backfill" = Option<u64>, Query, description = "So many of the latest records come first; `from` and `to` are for these alone", example = 100),
        ("Last-Event-ID" = Option<String>, Header, description = "The last `id` of another tail of the tenant, to go on behind it"),
    ),
    responses(
        (status = 200, description = "Events, for as long as they are read", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
        (status = 429, description = "As many tails of the tenant are open as may", body = ErrorBody),
    )
)]
pub(crate) async fn tail(
    State(state): State<AppState>,
    Authorized { tenant, .. }: Authorized<Query>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let after = headers.get("last-event-id").map(|id| {
        // One that is no text is not one of ours either.
        id.to_str().unwrap_or_default().to_owned()
    });
    let mut parameters = Parameters::read(uri.query(), &["fields", "backfill"])?;
    let query = TailQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        fields: parameters.list("fields"),
        backfill: parameters.number("backfill")?.unwrap_or(0),
        after,
    };
    let tail = state.engine.tail(query).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let body = Body::from_stream(events(&tail.id, tail.events, state.stopped()));
    let mut response = (headers, body).into_response();
    if !tail.warnings.is_empty() {
        let value = header_text(&tail.warnings.join("; "));
        response.headers_mut().insert("x-logmill-warning", value);
    }
    Ok(response)
}

/// The events as text, until the server stops.
fn events(
    id: &str,
    events: TailEvents,
    stopped: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let span = Span::current();
    let live = futures::stream::unfold(Some(events), move |events| {
        let (stopped, span) = (stopped.clone(), span.clone());
        async move {
            let mut events = events?;
            let event = tokio::select! {
                biased;
                () = stopped.cancelled() => return Some((end("stopping"), None)),
                event = events.next() => event,
            };
            let text = match event {
                Some(event) => event.and_then(text_of),
                None => return Some((end("interrupted"), None)),
            };
            match text {
                Ok(text) => Some((text, Some(events))),
                Err(error) => {
                    span.in_scope(
                        || tracing::warn!(code = error.code(), %error, "a tail broke off"),
                    );
                    Some((end("interrupted"), None))
                }
            }
        }
    });
    // The first thing that is sent tells a reader that it is listened to, and where it begins.
    let begin = futures::stream::iter([Bytes::from(format!(": listening\nid: {id}\n\n"))]);
    begin.chain(live).map(Ok)
}

fn end(reason: &str) -> Bytes {
    Bytes::from(format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n"))
}

fn text_of(event: TailEvent) -> Result<Bytes, Error> {
    match event {
        TailEvent::Idle { id } => Ok(Bytes::from(format!(": nothing new\nid: {id}\n\n"))),
        TailEvent::Missed { records, exact } => {
            let data = serde_json::json!({"records": records, "exact": exact});
            Ok(Bytes::from(format!("event: missed\ndata: {data}\n\n")))
        }
        TailEvent::Records { batch, ids } => {
            let mut out = Vec::new();
            let rendered = plain(&batch).and_then(|batch| {
                let renderer = Renderer::new(&batch)?;
                for row in 0..batch.num_rows() {
                    if let Some(id) = ids.get(row) {
                        let _ = writeln!(out, "id: {id}");
                    }
                    // JSON has no line breaks of its own: a record is one line of data.
                    out.extend_from_slice(b"event: record\ndata: ");
                    renderer.write_record(row, &mut out);
                    out.extend_from_slice(b"\n\n");
                }
                Ok(())
            });
            rendered.map_err(|error| super::answer::internal(&error))?;
            Ok(Bytes::from(out))
        }
    }
}
