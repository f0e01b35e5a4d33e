//! `GET /tail`: live records, as server-sent events.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::{Uri, header};
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
/// told any more. A reader then begins again.
#[utoipa::path(
    get,
    path = "/tail",
    tag = "page",
    params(
        SelectionParameters,
        ("fields" = Option<String>, Query, description = "With commas", example = "timestamp,message"),
        ("backfill" = Option<u64>, Query, description = "So many of the latest records come first; `from` and `to` are for these alone", example = 100),
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
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::read(uri.query(), &["fields", "backfill"])?;
    let query = TailQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        fields: parameters.list("fields"),
        backfill: parameters.number("backfill")?.unwrap_or(0),
    };
    let tail = state.engine.tail(query).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let body = Body::from_stream(events(tail.events, state.stopped()));
    let mut response = (headers, body).into_response();
    if !tail.warnings.is_empty() {
        let value = header_text(&tail.warnings.join("; "));
        response.headers_mut().insert("x-logmill-warning", value);
    }
    Ok(response)
}

/// The events as text, until the server stops.
fn events(
    events: TailEvents,
    stopped: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
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
    // The first thing that is sent tells a reader that it is listened to.
    let begin = futures::stream::iter([Bytes::from_static(b": listening\n\n")]);
    begin.chain(live).map(Ok)
}

fn end(reason: &str) -> Bytes {
    Bytes::from(format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n"))
}

fn text_of(event: TailEvent) -> Result<Bytes, Error> {
    match event {
        TailEvent::Idle => Ok(Bytes::from_static(b": nothing new\n\n")),
        TailEvent::Missed { records, exact } => {
            let data = serde_json::json!({"records": records, "exact": exact});
            Ok(Bytes::from(format!("event: missed\ndata: {data}\n\n")))
        }
        TailEvent::Records(batch) => {
            let mut out = Vec::new();
            let rendered = plain(&batch).and_then(|batch| {
                let renderer = Renderer::new(&batch)?;
                for row in 0..batch.num_rows() {
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
