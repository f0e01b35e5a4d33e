//! `GET /patterns`: messages that differ in numbers and names alone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use logmill_query_api::{Pattern, Patterns, PatternsQuery};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ValueAnswer, answers, rfc3339};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::Stats;
use crate::routes::selection::{Parameters, SelectionParameters};

/// Patterns without `limit`.
const DEFAULT_PATTERNS: u64 = 50;
/// Examples of each without `examples`.
const DEFAULT_EXAMPLES: u64 = 3;

/// The patterns of messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PatternsAnswer {
    /// The commonest first.
    patterns: Vec<PatternAnswer>,
    /// Records whose pattern is not told.
    other: u64,
    /// Records that have a message.
    total: u64,
    stats: Stats,
}

/// Messages that differ in numbers, addresses, identifiers and names alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PatternAnswer {
    /// With `<N>`, `<UUID>`, `<IP4>`, `<IP6>`, `<DATE>`, `<TIME>`, `<DATETIME>`, `<W>` for what differs.
    #[schema(example = "took <N>ms")]
    pattern: String,
    count: u64,
    /// Of all records that have a message: 0 to 1.
    share: f64,
    /// Time of the oldest.
    first: String,
    /// Time of the newest.
    last: String,
    levels: Vec<ValueAnswer>,
    services: Vec<ValueAnswer>,
    /// Some of the messages.
    examples: Vec<String>,
}

impl From<Patterns> for PatternsAnswer {
    fn from(found: Patterns) -> Self {
        let total = found.total;
        let patterns = found.patterns.into_iter();
        Self {
            patterns: patterns.map(|pattern| answer(pattern, total)).collect(),
            other: found.other,
            total,
            stats: found.stats.into(),
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share needs no more than the 53 bits of a float"
)]
fn answer(pattern: Pattern, total: u64) -> PatternAnswer {
    PatternAnswer {
        share: pattern.count as f64 / total.max(1) as f64,
        pattern: pattern.pattern,
        count: pattern.count,
        first: rfc3339(pattern.first_ns),
        last: rfc3339(pattern.last_ns),
        levels: answers(pattern.levels),
        services: answers(pattern.services),
        examples: pattern.examples,
    }
}

/// The patterns of messages, with counts and examples.
#[utoipa::path(
    get,
    path = "/patterns",
    tag = "page",
    params(
        SelectionParameters,
        ("limit" = Option<u64>, Query, example = 50),
        ("examples" = Option<u64>, Query, description = "Messages of each pattern", example = 3),
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "The patterns", body = PatternsAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn patterns(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::read(uri.query(), &["limit", "examples", "timeout_ms"])?;
    let query = PatternsQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        limit: parameters.number("limit")?.unwrap_or(DEFAULT_PATTERNS),
        examples: parameters.number("examples")?.unwrap_or(DEFAULT_EXAMPLES),
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.patterns(query).await?;
    Ok(hold(
        place,
        Json(PatternsAnswer::from(found)).into_response(),
    ))
}
