//! What all questions have in common: whose records, which, and when.

use std::sync::Arc;

use axum::extract::Request;
use logmill_catalog::TenantRow;
use logmill_lang::ast::{LabelFilter, LabelMatch, Matcher, Pipe, StreamFilter, Values};
use logmill_lang::{Filter, Query, parse, parse_filter};
use logmill_model::{TenantId, TimeRange};
use logmill_query_api::{Error, LogsQlQuery};
use serde_json::{Map, Value};

use super::parameters::Parameters;
use super::refused::invalid;
use crate::AppState;
use crate::auth::{self, Authorized};
use crate::error::ApiError;
use crate::quota::Place;

/// A question.
pub(super) struct Question {
    tenant: TenantId,
    /// Has the tenant's quotas.
    row: Option<Arc<TenantRow>>,
    /// `query`, with the extra filters.
    pub(super) query: Query,
    /// `start` and `end`.
    pub(super) range: TimeRange,
    /// `time`, or `end`, or now: what times relative to now count from.
    pub(super) now_ns: i64,
    timeout_ms: Option<u64>,
    pub(super) parameters: Parameters,
}

impl Question {
    /// Reads what a request asks.
    async fn read(
        state: &AppState,
        authorized: Authorized<auth::Query>,
        request: Request,
    ) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let parameters = Parameters::read(state, &parts, body).await?;
        let clock_ns = state.clock.now_ns();
        let start = parameters.time("start", clock_ns)?;
        let end = parameters.time("end", clock_ns)?;
        let time = parameters.time("time", clock_ns)?;
        let now_ns = time.or(end).map_or(clock_ns, |time| time.start_ns);
        let text = parameters.get("query").unwrap_or_default();
        let mut query = parse(text).map_err(Error::from)?;
        for filter in extra_filters(&parameters)? {
            query.restrict(&filter);
        }
        let timeout_ns = parameters.duration_ns("timeout")?;
        Ok(Self {
            tenant: authorized.tenant,
            row: authorized.row,
            query,
            range: TimeRange {
                start_ns: start.map_or(i64::MIN, |start| start.start_ns),
                end_ns: end.map_or(i64::MAX, |end| end_of(end.start_ns)),
            },
            // The first instant of a day belongs to the next one, where days are counted back from it.
            now_ns: now_ns.saturating_sub(1),
            timeout_ms: timeout_ns
                .and_then(|ns| u64::try_from(ns / 1_000_000).ok())
                .filter(|ms| *ms > 0),
            parameters,
        })
    }

    /// Reads what a request asks, and takes a place among the tenant's queries for it.
    pub(super) async fn enter(
        state: &AppState,
        authorized: Authorized<auth::Query>,
        request: Request,
    ) -> Result<(Self, Option<Place>), ApiError> {
        let question = Self::read(state, authorized, request).await?;
        let place = state.auth.quotas.enter_query(question.row.as_deref());
        let place = place.await?;
        Ok((question, place))
    }

    /// As the engine is asked it.
    pub(super) fn ask(&self) -> LogsQlQuery {
        self.ask_for(self.query.clone())
    }

    /// Its records, and what these pipes make of them: questions about records leave the query's own pipes out.
    pub(super) fn ask_records(&self, pipes: Vec<Pipe>) -> LogsQlQuery {
        let mut query = self.query.clone();
        query.pipes = pipes;
        self.ask_for(query)
    }

    /// Another query in the place of its own.
    pub(super) fn ask_for(&self, query: Query) -> LogsQlQuery {
        LogsQlQuery {
            tenant: self.tenant.clone(),
            query,
            range: self.range,
            now_ns: self.now_ns,
            limit: None,
            timeout_ms: self.timeout_ms,
        }
    }
}

/// The first instant after `end`, which is all of the second or millisecond that it is written to.
fn end_of(end_ns: i64) -> i64 {
    let width_ns = [1_000_000_000, 1_000_000]
        .into_iter()
        .find(|width_ns| end_ns % width_ns == 0);
    end_ns.saturating_add(width_ns.unwrap_or(1))
}

/// `extra_filters` and `extra_stream_filters`: LogsQL, or a JSON object of fields and the values they may have.
fn extra_filters(parameters: &Parameters) -> Result<Vec<Filter>, ApiError> {
    let mut filters = Vec::new();
    for (name, of_fields) in [
        ("extra_filters", fields_filter as fn(_) -> _),
        ("extra_stream_filters", stream_filter),
    ] {
        for text in parameters.all(name) {
            filters.push(if text.starts_with("{\"") {
                of_fields(field_values(name, text)?)
            } else {
                parse_filter(text).map_err(Error::from)?
            });
        }
    }
    Ok(filters)
}

/// `{"a":"b","c":["d","e"]}`.
fn field_values(parameter: &str, text: &str) -> Result<Vec<(String, Vec<String>)>, ApiError> {
    let wrong = || {
        invalid(
            parameter,
            text,
            "it is a JSON object whose values are texts or lists of texts",
        )
    };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_no_object| wrong())?;
    let mut fields = Vec::new();
    for (name, value) in object {
        let values = match value {
            Value::String(one) => vec![one],
            Value::Array(many) => many
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(wrong()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong()),
        };
        if !values.is_empty() {
            fields.push((name, values));
        }
    }
    Ok(fields)
}

fn fields_filter(fields: Vec<(String, Vec<String>)>) -> Filter {
    let each = fields.into_iter().map(|(field, mut values)| {
        let matcher = match values.len() {
            1 => Matcher::Exact(values.remove(0)),
            _ => Matcher::In(Values::List(values)),
        };
        Filter::field(field, matcher)
    });
    each.fold(Filter::All, Filter::and)
}

fn stream_filter(labels: Vec<(String, Vec<String>)>) -> Filter {
    let labels = labels.into_iter().map(|(label, mut values)| LabelFilter {
        label,
        is: match values.len() {
            1 => LabelMatch::Equal(values.remove(0)),
            _ => LabelMatch::In(values),
        },
    });
    Filter::Stream(StreamFilter {
        any_of: vec![labels.collect()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_filters_are_logsql_or_json() {
        let printed = |name: &str, text: &str| {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair(name, text)
                .finish();
            let filters = extra_filters(&Parameters::parse(&[], &query))?;
            Ok::<_, ApiError>(
                filters
                    .iter()
                    .map(Filter::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            )
        };
        let same = [
            ("extra_filters", r#"{"a":"b"}"#, "a:=b"),
            (
                "extra_filters",
                r#"{"a":"b","c d":["e","f g"],"h":[]}"#,
                "a:=b \"c d\":in(e, \"f g\")",
            ),
            ("extra_filters", "a:~x -b:c", "a:~\"x\" !b:c"),
            (
                "extra_stream_filters",
                r#"{"host":"h","app":["x","y"]}"#,
                "{host=\"h\", app in (x, y)}",
            ),
            ("extra_stream_filters", "{host=\"h\"}", "{host=\"h\"}"),
        ];
        for (name, text, expected) in same {
            assert_eq!(printed(name, text).unwrap(), expected, "{text}");
        }
        for text in [r#"{"a":1}"#, r#"{"a":[1]}"#, r#"{"a":"#, "a | limit 1", "("] {
            assert!(printed("extra_filters", text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_end_is_in_as_far_as_it_is_written() {
        assert_eq!(end_of(5_000_000_000), 6_000_000_000);
        assert_eq!(end_of(5_001_000_000), 5_002_000_000);
        assert_eq!(end_of(5_001_000_001), 5_001_000_002);
    }
}
