//! `GET /histogram`: counts over time.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use logmill_model::time::parse_duration;
use logmill_query_api::{Histogram, HistogramQuery, Interval};
use serde::Serialize;
use utoipa::ToSchema;

use super::rfc3339;
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::Stats;
use crate::routes::selection::{Parameters, SelectionParameters};

/// About so many buckets without `interval` and `buckets`.
const DEFAULT_BUCKETS: u64 = 60;
/// Values with a series of their own without `limit`.
const DEFAULT_SERIES: u64 = 10;

/// Counts over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistogramAnswer {
    /// Length of a bucket.
    #[schema(example = 60_000)]
    interval_ms: i64,
    from: String,
    to: String,
    /// First instants of the buckets, without gaps; the first one may begin before `from`.
    buckets: Vec<String>,
    /// The commonest value first.
    series: Vec<SeriesAnswer>,
    /// Of each bucket, records with values that have no series; null when there are none.
    other: Option<Vec<u64>>,
    total: u64,
    warnings: Vec<String>,
    stats: Stats,
}

/// Counts of one value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesAnswer {
    /// Null: records without the field, or all where no field was named.
    value: Option<String>,
    /// A number for each bucket.
    counts: Vec<u64>,
}

impl From<Histogram> for HistogramAnswer {
    fn from(histogram: Histogram) -> Self {
        let series = histogram.series.into_iter().map(|series| SeriesAnswer {
            value: series.value,
            counts: series.counts,
        });
        Self {
            interval_ms: histogram.interval_ns / 1_000_000,
            from: rfc3339(histogram.range.start_ns),
            to: rfc3339(histogram.range.end_ns),
            buckets: histogram.buckets.into_iter().map(rfc3339).collect(),
            series: series.collect(),
            other: histogram.other,
            total: histogram.total,
            warnings: histogram.warnings,
            stats: histogram.stats.into(),
        }
    }
}

/// Counts over time, by the values of a field.
#[utoipa::path(
    get,
    path = "/histogram",
    tag = "page",
    params(
        SelectionParameters,
        ("by" = Option<String>, Query, description = "A field; its commonest values have a series each", example = "level"),
        ("interval" = Option<String>, Query, description = "Length of a bucket, such as `30s`, `5m`, `1h`, or `auto`", example = "5m"),
        ("buckets" = Option<u64>, Query, description = "With `auto`: at most so many", example = 60),
        ("limit" = Option<u64>, Query, description = "Values with a series of their own", example = 10),
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "The counts", body = HistogramAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn histogram(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let names = ["by", "interval", "buckets", "limit", "timeout_ms"];
    let mut parameters = Parameters::read(uri.query(), &names)?;
    let interval = parameters.take("interval");
    let buckets = parameters.number("buckets")?;
    let query = HistogramQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        by: parameters.take("by").filter(|name| !name.is_empty()),
        interval: interval_of(interval.as_deref(), buckets)?,
        limit: parameters.number("limit")?.unwrap_or(DEFAULT_SERIES),
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.histogram(query).await?;
    Ok(hold(
        place,
        Json(HistogramAnswer::from(found)).into_response(),
    ))
}

fn interval_of(interval: Option<&str>, buckets: Option<u64>) -> Result<Interval, ApiError> {
    let invalid = |message: String| ApiError::bad_request("invalid_interval", message);
    match interval {
        None | Some("auto") => Ok(Interval::AtMost(buckets.unwrap_or(DEFAULT_BUCKETS))),
        Some(_) if buckets.is_some() => {
            let message = "either interval or buckets: buckets is for interval=auto";
            Err(invalid(message.to_owned()))
        }
        Some(text) => parse_duration(text).map(Interval::Every).ok_or_else(|| {
            invalid(format!(
                "interval is auto or a length of time such as 30s, 5m, 1h, not {text:?}"
            ))
        }),
    }
}
