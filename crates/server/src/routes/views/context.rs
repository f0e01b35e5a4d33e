//! `GET /context`: a record's neighbours in its stream.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use logmill_model::TimeRange;
use logmill_model::field;
use logmill_model::time::parse_duration;
use logmill_query_api::{Condition, Context, ContextQuery, Filter, Literal};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::{self, Stats};
use crate::routes::selection::{Parameters, SelectionParameters, instant};

/// Records on either side without `before` and `after`.
const DEFAULT_NEIGHBOURS: u64 = 10;
/// How far from the record neighbours are looked for without `window`.
const DEFAULT_WINDOW: &str = "1h";

/// A record and its neighbours.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "the shape of the answer, for the document; the answer itself is written by hand"
)]
pub(crate) struct ContextAnswer {
    /// The oldest first.
    #[schema(value_type = Vec<Object>)]
    before: Vec<Value>,
    /// The record itself.
    #[schema(value_type = Object)]
    record: Value,
    /// The oldest first.
    #[schema(value_type = Vec<Object>)]
    after: Vec<Value>,
    /// Other records of the same time that match as well.
    same: u64,
    stats: Stats,
}

/// The records before and after one in the same stream.
///
/// The record is the first one of that time that matches; records of one time have an order of their own (by content),
/// which is the same in every answer.
#[utoipa::path(
    get,
    path = "/context",
    tag = "page",
    params(
        ("timestamp" = String, Query, description = "The record's time, as answers have it", example = "2026-11-20T10:00:00.123456789Z"),
        ("stream" = Option<String>, Query, description = "Its `_stream`", example = "{host=\"n1\",service=\"pay\"}"),
        ("before" = Option<u64>, Query, example = 10),
        ("after" = Option<u64>, Query, example = 10),
        ("window" = Option<String>, Query, description = "How far from the record neighbours are looked for, where `from` and `to` do not say it", example = "1h"),
        SelectionParameters,
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "The record and its neighbours", body = ContextAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
        (status = 404, description = "No record of that time matches", body = ErrorBody),
    )
)]
pub(crate) async fn context(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let names = [
        "timestamp",
        "stream",
        "before",
        "after",
        "window",
        "timeout_ms",
    ];
    let mut parameters = Parameters::read(uri.query(), &names)?;
    let now_ns = state.clock.now_ns();
    let timestamp = parameters.take("timestamp").map(Value::String);
    let at_ns = instant("timestamp", timestamp.as_ref(), now_ns)?.ok_or_else(|| {
        ApiError::bad_request(
            "invalid_time",
            "timestamp is missing: the time of the record",
        )
    })?;
    let window = parameters.take("window");
    let window = window.as_deref().unwrap_or(DEFAULT_WINDOW);
    let window_ns = parse_duration(window).ok_or_else(|| {
        let message = format!("window is a length of time such as 30s, 5m, 1h, not {window:?}");
        ApiError::bad_request("invalid_interval", message)
    })?;
    let mut asked = parameters.asked();
    let (from, to) = (asked.from.take(), asked.to.take());
    let start_ns = instant("from", from.as_ref(), now_ns)?;
    let end_ns = instant("to", to.as_ref(), now_ns)?;
    let mut selection = asked.selection(tenant, now_ns)?;
    selection.range = TimeRange {
        start_ns: start_ns.unwrap_or_else(|| at_ns.saturating_sub(window_ns)),
        end_ns: end_ns.unwrap_or_else(|| at_ns.saturating_add(window_ns)),
    };
    if let Some(stream) = parameters.take("stream") {
        let stream = Condition::In(vec![Literal::String(stream)]);
        selection.filters.push(Filter::of(field::STREAM, stream));
    }
    let query = ContextQuery {
        selection,
        timestamp_ns: at_ns,
        before: parameters.number("before")?.unwrap_or(DEFAULT_NEIGHBOURS),
        after: parameters.number("after")?.unwrap_or(DEFAULT_NEIGHBOURS),
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.context(query).await?;
    let Some(body) = render(&found).map_err(|error| ApiError::internal(&error))? else {
        let message = "no record of that time matches";
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_record",
            message,
        ));
    };
    let response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    Ok(hold(place, response))
}

fn render(found: &Context) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    let Some(record) = &found.record else {
        return Ok(None);
    };
    let mut out = b"{\"before\":".to_vec();
    answer::write_records(&found.before, &mut out)?;
    out.extend_from_slice(b",\"record\":");
    answer::write_record(record, &mut out)?;
    out.extend_from_slice(b",\"after\":");
    answer::write_records(&found.after, &mut out)?;
    out.extend_from_slice(b",\"same\":");
    serde_json::to_writer(&mut out, &found.same)?;
    out.extend_from_slice(b",\"stats\":");
    serde_json::to_writer(&mut out, &Stats::from(found.stats))?;
    out.push(b'}');
    Ok(Some(out))
}
