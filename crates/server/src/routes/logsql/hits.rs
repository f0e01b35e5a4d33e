//! `/select/logsql/hits`: how many records there are over time.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use logmill_lang::ast::{
    Bucket, BucketSize, ByField, FieldPattern, Number, Pipe, Stats, StatsEntry, StatsFunction,
};
use serde_json::{Map, Value, json};

use super::refused::invalid;
use super::rows::rows;
use super::{JSON, Question, Refused};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::ApiError;
use crate::quota::hold;

const DAY_NS: i64 = 86_400_000_000_000;

/// Counts over time, as VictoriaLogs answers.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/hits",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL; its pipes are left out", example = "error"),
        ("start" = Option<String>, Query, example = "3h"),
        ("end" = Option<String>, Query),
        ("step" = Option<String>, Query, description = "A day without it", example = "1h"),
        ("offset" = Option<String>, Query, description = "How much later than UTC days begin", example = "-4h"),
        ("field" = Option<String>, Query, description = "Counts of every value of it; may be repeated", example = "level"),
        ("fields_limit" = Option<u64>, Query, description = "So many values, and all others together"),
    ),
    responses(
        (status = 200, description = "`hits`: for every value, times and counts", body = Object),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn hits(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    let step_ns = step_ns(&question)?;
    let offset_ns = question.parameters.duration_ns("offset")?.unwrap_or(0);
    let fields: Vec<String> = question
        .parameters
        .all("field")
        .map(str::to_owned)
        .collect();
    let fields_limit = question.parameters.count("fields_limit")?;
    let pipe = Pipe::Stats(count_over_time(step_ns, offset_ns, &fields));
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    for row in rows(&state, question.ask_records(vec![pipe])).await? {
        let values = fields
            .iter()
            .map(|field| (field.clone(), Value::from(row.get(field))));
        let values = Value::Object(values.collect::<Map<_, _>>());
        let one = series
            .entry(values.to_string())
            .or_insert_with(|| Series::of(values));
        one.add(row.get("_time").to_owned(), row.number("hits"));
    }
    let series = top(series, fields_limit);
    let hits: Vec<Value> = series.into_iter().map(Series::answer).collect();
    let body = json!({ "hits": hits }).to_string();
    Ok(hold(place, (JSON, body).into_response()))
}

/// `step`, a day without it.
pub(super) fn step_ns(question: &Question) -> Result<i64, ApiError> {
    let step_ns = question.parameters.duration_ns("step")?.unwrap_or(DAY_NS);
    if step_ns <= 0 {
        let step = question.parameters.get("step").unwrap_or_default();
        return Err(invalid("step", step, "it has to be greater than zero"));
    }
    Ok(step_ns)
}

/// `_time:step offset …` as a field that groups.
pub(super) fn by_time(step_ns: i64, offset_ns: i64) -> ByField {
    ByField {
        field: "_time".to_owned(),
        bucket: Some(Bucket {
            size: BucketSize::Step(nanoseconds(step_ns)),
            offset: (offset_ns != 0).then(|| nanoseconds(offset_ns)),
        }),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "as LogsQL itself has durations: a nanosecond of a year is not seen"
)]
fn nanoseconds(ns: i64) -> Number {
    Number {
        text: format!("{ns}ns"),
        value: ns as f64,
    }
}

fn count_over_time(step_ns: i64, offset_ns: i64, fields: &[String]) -> Stats {
    let values = fields.iter().map(|field| ByField {
        field: field.clone(),
        bucket: None,
    });
    Stats {
        by: std::iter::once(by_time(step_ns, offset_ns))
            .chain(values)
            .collect(),
        functions: vec![StatsEntry {
            function: StatsFunction::Count(vec![FieldPattern::all()]),
            condition: None,
            result_field: "hits".to_owned(),
        }],
    }
}

/// The counts of one combination of values.
struct Series {
    fields: Value,
    counts: BTreeMap<String, u64>,
}

impl Series {
    const fn of(fields: Value) -> Self {
        Self {
            fields,
            counts: BTreeMap::new(),
        }
    }

    fn add(&mut self, time: String, count: u64) {
        *self.counts.entry(time).or_default() += count;
    }

    fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    fn answer(self) -> Value {
        json!({
            "fields": self.fields,
            "timestamps": self.counts.keys().collect::<Vec<_>>(),
            "values": self.counts.values().collect::<Vec<_>>(),
            "total": self.total(),
        })
    }
}

/// So many series with the most records, in their order, and all others as one.
fn top(series: BTreeMap<String, Series>, limit: Option<u64>) -> Vec<Series> {
    let mut series: Vec<Series> = series.into_values().collect();
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    if limit >= series.len() {
        return series;
    }
    series.sort_by_key(|one| std::cmp::Reverse(one.total()));
    let mut rest = Series::of(json!({}));
    for other in series.drain(limit..) {
        for (time, count) in other.counts {
            rest.add(time, count);
        }
    }
    series.push(rest);
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_logsql() {
        let hour = 3_600_000_000_000;
        let stats = count_over_time(hour, 0, &["level".to_owned()]);
        let text = format!("* | {stats}");
        assert_eq!(
            text,
            "* | stats by (_time:3600000000000ns, level) count(*) as \"hits\""
        );
        let parsed = logmill_lang::parse(&text).unwrap();
        assert_eq!(parsed.pipes, [Pipe::Stats(stats)]);
        let moved = by_time(hour, -hour).to_string();
        assert_eq!(moved, "_time:3600000000000ns offset -3600000000000ns");
    }

    #[test]
    fn series_beyond_the_limit_are_one() {
        let mut series = BTreeMap::new();
        for (name, counts) in [("a", [1, 2]), ("b", [9, 0]), ("c", [3, 4])] {
            let mut one = Series::of(json!({ "f": name }));
            for (time, count) in ["t0", "t1"].iter().zip(counts) {
                one.add((*time).to_owned(), count);
            }
            series.insert(name.to_owned(), one);
        }
        let answers: Vec<Value> = top(series, Some(1))
            .into_iter()
            .map(Series::answer)
            .collect();
        let expected = json!([
            {"fields": {"f": "b"}, "timestamps": ["t0", "t1"], "values": [9, 0], "total": 9},
            {"fields": {}, "timestamps": ["t0", "t1"], "values": [4, 6], "total": 10},
        ]);
        assert_eq!(Value::from(answers), expected);
    }
}
