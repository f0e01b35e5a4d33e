//! `GET /facets`: the commonest values of several fields.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use logmill_query_api::{Facet, Facets, FacetsQuery, LeftOut, LeftOutReason};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ValueAnswer, answers};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::Stats;
use crate::routes::selection::{Parameters, SelectionParameters};

/// Values of a field without `limit`.
const DEFAULT_VALUES: u64 = 10;

/// The commonest values of several fields.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetsAnswer {
    facets: Vec<FacetAnswer>,
    /// Fields whose values are not told.
    left_out: Vec<LeftOutAnswer>,
    /// Records in all.
    total: u64,
    stats: Stats,
}

/// The values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetAnswer {
    #[schema(example = "service")]
    field: String,
    /// The commonest first.
    values: Vec<ValueAnswer>,
    /// Different values.
    distinct: u64,
    /// Records that have the field.
    records: u64,
}

/// A field whose values are not told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOutAnswer {
    field: String,
    /// `no_values`: no record has it; `too_many_values`, `values_too_long`: beyond the bounds; `not_counted`: it was not
    /// asked for, and there are many fields.
    #[schema(example = "too_many_values")]
    reason: &'static str,
}

impl From<Facets> for FacetsAnswer {
    fn from(facets: Facets) -> Self {
        let left_out = facets.left_out.into_iter();
        Self {
            facets: facets.facets.into_iter().map(FacetAnswer::from).collect(),
            left_out: left_out.map(LeftOutAnswer::from).collect(),
            total: facets.total,
            stats: facets.stats.into(),
        }
    }
}

impl From<Facet> for FacetAnswer {
    fn from(facet: Facet) -> Self {
        Self {
            field: facet.field,
            values: answers(facet.values),
            distinct: facet.distinct,
            records: facet.records,
        }
    }
}

impl From<LeftOut> for LeftOutAnswer {
    fn from(left_out: LeftOut) -> Self {
        Self {
            field: left_out.field,
            reason: match left_out.reason {
                LeftOutReason::NoValues => "no_values",
                LeftOutReason::TooManyValues => "too_many_values",
                LeftOutReason::ValuesTooLong => "values_too_long",
                LeftOutReason::NotCounted => "not_counted",
            },
        }
    }
}

/// The commonest values of several fields, counted together.
#[utoipa::path(
    get,
    path = "/facets",
    tag = "page",
    params(
        SelectionParameters,
        ("fields" = Option<String>, Query, description = "With commas; without it those that usually have few values", example = "level,service"),
        ("limit" = Option<u64>, Query, description = "Values of a field", example = 10),
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "The values", body = FacetsAnswer),
        (status = 400, description = "The question is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn facets(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::read(uri.query(), &["fields", "limit", "timeout_ms"])?;
    let query = FacetsQuery {
        selection: parameters.asked().selection(tenant, state.clock.now_ns())?,
        fields: parameters.list("fields"),
        limit: parameters.number("limit")?.unwrap_or(DEFAULT_VALUES),
        timeout_ms: parameters.number("timeout_ms")?,
    };
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let found = state.engine.facets(query).await?;
    Ok(hold(place, Json(FacetsAnswer::from(found)).into_response()))
}
