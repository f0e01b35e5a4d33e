//! Names and values of fields and streams, and how many records have each.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use logmill_lang::ast::{
    ByField, FieldPattern, Pipe, Sort, SortField, Stats, StatsEntry, StatsFunction,
};
use logmill_lang::value::stream;
use serde_json::{Value, json};

use super::rows::rows;
use super::{JSON, Question, Refused};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::ApiError;
use crate::quota::hold;

/// Names and values with the records that have them.
type Hits = Vec<(String, u64)>;

/// The names of fields, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/field_names",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "`values`: names and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn field_names(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let rows = rows(&state, question.ask_records(vec![Pipe::FieldNames])).await?;
    let names = rows
        .into_iter()
        .map(|row| (row.get("name").to_owned(), row.number("hits")));
    let mut hits: Hits = names.collect();
    // The engine computes ids only where they are named; to clients they are a field like others.
    let has = |hits: &Hits, name: &str| {
        hits.iter()
            .find(|(other, _)| other == name)
            .map(|(_, hits)| *hits)
    };
    if let (Some(count), None) = (has(&hits, "_stream"), has(&hits, "_stream_id")) {
        hits.push(("_stream_id".to_owned(), count));
    }
    Ok(hold(place, answer(hits)))
}

/// The values of a field, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/field_values",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("field" = String, Query, example = "level"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
        ("limit" = Option<u64>, Query, description = "So many of the commonest"),
    ),
    responses(
        (status = 200, description = "`values`: values and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn field_values(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let field = field(&question)?;
    let limit = question.parameters.count("limit")?;
    let hits = values_of(&state, &question, &field, limit).await?;
    Ok(hold(place, answer(hits)))
}

/// The streams, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/streams",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
        ("limit" = Option<u64>, Query, description = "So many of the commonest"),
    ),
    responses(
        (status = 200, description = "`values`: streams and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn streams(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    commonest(&state, authorized, request, "_stream").await
}

/// The ids of streams, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/stream_ids",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
        ("limit" = Option<u64>, Query, description = "So many of the commonest"),
    ),
    responses(
        (status = 200, description = "`values`: ids and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn stream_ids(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    commonest(&state, authorized, request, "_stream_id").await
}

/// The names of streams' labels, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/stream_field_names",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "`values`: names and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn stream_field_names(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let streams = values_of(&state, &question, "_stream", None).await?;
    let labels = streams.iter().flat_map(|(stream, count)| {
        stream::labels(stream).map(|(label, _)| (label.to_owned(), *count))
    });
    Ok(hold(place, answer(added(labels))))
}

/// The values of a label of streams, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/stream_field_values",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "_time:5m"),
        ("field" = String, Query, example = "host"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
        ("limit" = Option<u64>, Query, description = "So many of the commonest"),
    ),
    responses(
        (status = 200, description = "`values`: values and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn stream_field_values(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let field = field(&question)?;
    let streams = values_of(&state, &question, "_stream", None).await?;
    let values = streams
        .iter()
        .map(|(stream, count)| (stream::label(stream, &field).into_owned(), *count));
    let mut hits = added(values.filter(|(value, _)| !value.is_empty()));
    cut(&mut hits, question.parameters.count("limit")?);
    Ok(hold(place, answer(hits)))
}

/// The commonest values of a field that every record has.
async fn commonest(
    state: &AppState,
    authorized: Authorized<Query>,
    request: Request,
    field: &str,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(state, authorized, request).await?;
    let limit = question.parameters.count("limit")?;
    let hits = values_of(state, &question, field, limit).await?;
    Ok(hold(place, answer(hits)))
}

/// The parameter `field`.
fn field(question: &Question) -> Result<String, ApiError> {
    let field = question.parameters.get("field");
    field.map(str::to_owned).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_parameter",
            "the parameter field is missing: it names a field",
        )
    })
}

/// The values of a field that are not empty; the commonest, where a limit is given.
async fn values_of(
    state: &AppState,
    question: &Question,
    field: &str,
    limit: Option<u64>,
) -> Result<Hits, ApiError> {
    let rows = rows(state, question.ask_records(counting(field, limit))).await?;
    let hits = rows
        .into_iter()
        .map(|row| (row.get(field).to_owned(), row.number(hits_field(field))));
    let mut hits: Hits = hits.filter(|(value, _)| !value.is_empty()).collect();
    cut(&mut hits, limit);
    Ok(hits)
}

/// Where the counts go.
fn hits_field(field: &str) -> &'static str {
    if field == "hits" { "records" } else { "hits" }
}

/// Pipes that count the values of a field: one more than `limit`, as the empty value may be among them.
fn counting(field: &str, limit: Option<u64>) -> Vec<Pipe> {
    let hits = hits_field(field).to_owned();
    let mut pipes = vec![Pipe::Stats(Stats {
        by: vec![ByField {
            field: field.to_owned(),
            bucket: None,
        }],
        functions: vec![StatsEntry {
            function: StatsFunction::Count(vec![FieldPattern::all()]),
            condition: None,
            result_field: hits.clone(),
        }],
    })];
    if let Some(limit) = limit {
        pipes.push(Pipe::Sort(Sort {
            by: vec![SortField {
                field: hits,
                descending: true,
            }],
            descending: false,
            offset: None,
            limit: Some(limit.saturating_add(1)),
            partition_by: Vec::new(),
            rank_field: None,
        }));
    }
    pipes
}

/// Leaves the commonest.
fn cut(hits: &mut Hits, limit: Option<u64>) {
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    hits.sort_by(|(one, left), (other, right)| right.cmp(left).then_with(|| one.cmp(other)));
    hits.truncate(limit);
}

/// Adds up what has the same name.
fn added(counts: impl Iterator<Item = (String, u64)>) -> Hits {
    let mut hits = BTreeMap::<String, u64>::new();
    for (name, count) in counts {
        *hits.entry(name).or_default() += count;
    }
    hits.into_iter().collect()
}

/// The commonest first.
fn answer(mut hits: Hits) -> Response {
    cut(&mut hits, None);
    let values: Vec<Value> = hits
        .into_iter()
        .map(|(value, hits)| json!({ "value": value, "hits": hits }))
        .collect();
    (JSON, json!({ "values": values }).to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_logsql() {
        let asked = |field: &str, limit| {
            let pipes = counting(field, limit);
            let text = format!(
                "* | {}",
                pipes
                    .iter()
                    .map(Pipe::to_string)
                    .collect::<Vec<_>>()
                    .join(" | ")
            );
            assert_eq!(logmill_lang::parse(&text).unwrap().pipes, pipes);
            text
        };
        assert_eq!(
            asked("a b", None),
            "* | stats by (\"a b\") count(*) as \"hits\""
        );
        assert_eq!(
            asked("hits", Some(2)),
            "* | stats by (\"hits\") count(*) as records | sort by (records desc) limit 3"
        );
    }

    #[test]
    fn the_commonest_are_left() {
        let counts = [("b", 1), ("a", 1), ("c", 5), ("a", 2)];
        let mut hits = added(
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count)),
        );
        cut(&mut hits, Some(2));
        assert_eq!(hits, [("c".to_owned(), 5), ("a".to_owned(), 3)]);
    }
}
