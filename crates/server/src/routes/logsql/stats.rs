//! `/select/logsql/stats_query` and `/select/logsql/stats_query_range`: `stats` as Prometheus answers.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use logmill_lang::value::time::parse_rfc3339;
use serde_json::{Map, Value, json};

use super::hits::step_ns;
use super::rows::{Row, rows};
use super::stats_columns::{Labels, over_time};
use super::{JSON, Question, RefusedQuery};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::quota::hold;

/// Statistics at an instant, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/stats_query",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL with `| stats`", example = "_time:1d | stats by (level) count()"),
        ("time" = Option<String>, Query, description = "What times relative to now count from"),
        ("start" = Option<String>, Query),
        ("end" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A vector of Prometheus", body = Object),
        (status = 422, description = "The query is wrong; `error` says where and how", body = Object),
    )
)]
pub(crate) async fn stats_query(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, RefusedQuery> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let labels = Labels::of(&question.query)?;
    let seconds = seconds(question.now_ns);
    let mut result = Vec::new();
    for row in rows(&state, question.ask()).await? {
        let own = own_labels(&row, &labels);
        for (name, value) in metrics(&row, &labels) {
            result.push(json!({ "metric": metric(name, &own), "value": [seconds, value] }));
        }
    }
    Ok(hold(place, success("vector", result)))
}

/// Statistics over time, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/stats_query_range",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL with `| stats`", example = "* | stats by (level) count()"),
        ("start" = Option<String>, Query, example = "1d"),
        ("end" = Option<String>, Query),
        ("step" = Option<String>, Query, description = "A day without it", example = "1h"),
    ),
    responses(
        (status = 200, description = "A matrix of Prometheus", body = Object),
        (status = 422, description = "The query is wrong; `error` says where and how", body = Object),
    )
)]
pub(crate) async fn stats_query_range(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, RefusedQuery> {
    let (mut question, place) = Question::enter(&state, authorized, request).await?;
    let step_ns = step_ns(&question)?;
    over_time(&mut question.query, step_ns);
    let labels = Labels::of(&question.query)?;
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    for row in rows(&state, question.ask()).await? {
        let t_ns = parse_rfc3339(row.get("_time")).unwrap_or(question.now_ns);
        let mut own = own_labels(&row, &labels);
        own.retain(|(name, _)| *name != "_time");
        for (name, value) in metrics(&row, &labels) {
            let metric = metric(name, &own);
            let one = series.entry(metric.to_string()).or_insert_with(|| Series {
                metric,
                points: BTreeMap::new(),
            });
            one.points.insert(t_ns, value.to_owned());
        }
    }
    let result = series.into_values().map(Series::answer).collect();
    Ok(hold(place, success("matrix", result)))
}

/// One metric over time.
struct Series {
    metric: Value,
    points: BTreeMap<i64, String>,
}

impl Series {
    fn answer(self) -> Value {
        let points = self
            .points
            .into_iter()
            .map(|(t_ns, value)| json!([seconds(t_ns), value]));
        json!({ "metric": self.metric, "values": points.collect::<Vec<_>>() })
    }
}

/// The labels of a row that it has; those that are missing are empty.
fn own_labels<'a>(row: &'a Row, labels: &'a Labels) -> Vec<(&'a str, &'a str)> {
    let all = labels.names().map(|name| (name, row.get(name)));
    all.collect()
}

/// What is no label.
fn metrics<'a>(row: &'a Row, labels: &'a Labels) -> impl Iterator<Item = (&'a str, &'a str)> {
    let fields = row.0.iter().filter(|(name, _)| !labels.contains(name));
    fields.map(|(name, value)| (name.as_str(), value.as_str()))
}

fn metric(name: &str, labels: &[(&str, &str)]) -> Value {
    let mut metric = Map::new();
    metric.insert("__name__".to_owned(), name.into());
    for (label, value) in labels {
        metric.insert((*label).to_owned(), (*value).into());
    }
    Value::Object(metric)
}

/// As Prometheus has times: seconds since the epoch, whole ones without a fraction.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the format has floating point numbers, and seconds are far inside the range of i64"
)]
fn seconds(t_ns: i64) -> Value {
    let seconds = t_ns as f64 / 1e9;
    if seconds.fract() == 0.0 {
        Value::from(seconds as i64)
    } else {
        Value::from(seconds)
    }
}

fn success(result_type: &str, result: Vec<Value>) -> Response {
    let body = json!({
        "status": "success",
        "data": { "resultType": result_type, "result": result },
    });
    (JSON, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds(1_795_676_401_000_000_000).to_string(), "1795676401");
        assert_eq!(seconds(1_795_676_400_999_999_999).to_string(), "1795676401");
        assert_eq!(
            seconds(1_795_676_401_500_000_000).to_string(),
            "1795676401.5"
        );
    }
}
