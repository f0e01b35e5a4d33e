//! `GET /fields`: names and types; `GET /fields/{name}/values`: values of one.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::Uri;
use logmill_query_api::{FieldValues, FieldValuesQuery, Fields, FieldsQuery};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ValueAnswer, answers};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::Stats;
use crate::routes::selection::{Parameters, SelectionParameters};

/// Values without `limit`.
const DEFAULT_VALUES: u64 = 100;

/// The fields that records have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldsAnswer {
    /// Those of every kind of record first, then by name.
    fields: Vec<FieldAnswer>,
    /// Records in all.
    total: u64,
    warnings: Vec<String>,
    stats: Stats,
}

/// A field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldAnswer {
    #[schema(example = "http.status")]
    name: String,
    /// timestamp, boolean, integer, float, text.
    #[serde(rename = "type")]
    #[schema(example = "integer")]
    kind: &'static str,
    /// Records that have it.
    count: u64,
}

impl From<Fields> for FieldsAnswer {
    fn from(fields: Fields) -> Self {
        let each = fields.fields.into_iter().map(|field| FieldAnswer {
            name: field.name,
            kind: field.kind.as_str(),
            count: field.count,
        });
        Self {
            fields: each.collect(),
            total: fields.total,
            warnings: fields.warnings,
            stats: fields.stats.into(),
        }
    }
}

/// The values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldValuesAnswer {
    /// The commonest first.
    values: Vec<ValueAnswer>,
    /// Whether there are more.
    more: bool,
    warnings: Vec<String>,
    stats: Stats,
}

impl From<FieldValues> for FieldValuesAnswer {
    fn from(found: FieldValues) -> Self {
        Self {
            values: answers(found.values),
            more: found.more,
            warnings: found.warnings,
            stats: found.stats.into(),
        }
    }
}

/// The fields that records have: names, types, and how many records have each.
#[utoipa::path(
    get,
    path = "/fields",
    tag = "page",
    params(SelectionParameters, ("timeout_ms" = Option<u64>, Query)),
    responses(
        (status = 200, description = "The fields", body = FieldsAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn fields(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::read(uri.query(), &["timeout_ms"])?;
    let query = FieldsQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.fields(query).await?;
    Ok(hold(place, Json(FieldsAnswer::from(found)).into_response()))
}

/// The values of a field, and how many records have each.
#[utoipa::path(
    get,
    path = "/fields/{name}/values",
    tag = "page",
    params(
        ("name" = String, Path, example = "http.status"),
        SelectionParameters,
        ("prefix" = Option<String>, Query, description = "Only values that begin with this, case and all"),
        ("limit" = Option<u64>, Query, example = 100),
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "The values", body = FieldValuesAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn values(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    Path(field): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::read(uri.query(), &["prefix", "limit", "timeout_ms"])?;
    let query = FieldValuesQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        field,
        prefix: parameters.take("prefix"),
        limit: parameters.number("limit")?.unwrap_or(DEFAULT_VALUES),
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.field_values(query).await?;
    let answer = FieldValuesAnswer::from(found);
    Ok(hold(place, Json(answer).into_response()))
}
