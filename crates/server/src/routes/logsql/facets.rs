//! `/select/logsql/facets`: the most frequent values of every field.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use logmill_lang::ast::{Facets, Pipe};
use serde_json::{Value, json};

use super::rows::rows;
use super::{JSON, Question, Refused};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::quota::hold;

/// The most frequent values of every field, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/facets",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:1h error"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
        ("limit" = Option<u64>, Query, description = "Values of a field", example = 10),
        ("max_values_per_field" = Option<u64>, Query, description = "Fields with more are left out"),
        ("max_value_len" = Option<u64>, Query, description = "Fields with longer ones are left out"),
        ("keep_const_fields" = Option<bool>, Query, description = "Tell fields with one value only, too"),
    ),
    responses(
        (status = 200, description = "`facets`: for every field, values and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn facets(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let parameters = &question.parameters;
    let number =
        |name: &str, default: u64| Ok::<_, Refused>(parameters.count(name)?.unwrap_or(default));
    let pipe = Pipe::Facets(Facets {
        limit: number("limit", Facets::DEFAULT_LIMIT)?,
        max_values_per_field: number("max_values_per_field", Facets::DEFAULT_MAX_VALUES_PER_FIELD)?,
        max_value_len: number("max_value_len", Facets::DEFAULT_MAX_VALUE_LEN)?,
        keep_const_fields: parameters.flag("keep_const_fields"),
    });
    let mut fields: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for row in rows(&state, question.ask_records(vec![pipe])).await? {
        let values = fields.entry(row.get("field_name").to_owned()).or_default();
        values.push((row.number("hits"), row.get("field_value").to_owned()));
    }
    let facets: Vec<Value> = fields
        .into_iter()
        .map(|(name, values)| facet(&name, values))
        .collect();
    let body = json!({ "facets": facets }).to_string();
    Ok(hold(place, (JSON, body).into_response()))
}

fn facet(name: &str, mut values: Vec<(u64, String)>) -> Value {
    values.sort_by(|(left, one), (right, other)| right.cmp(left).then_with(|| one.cmp(other)));
    let values: Vec<Value> = values
        .into_iter()
        .map(|(hits, value)| json!({ "field_value": value, "hits": hits }))
        .collect();
    json!({ "field_name": name, "values": values })
}
