//! `/select/logsql/tail`: records as they come in, one a line.
//!
//! As VictoriaLogs does it: the question is asked again and again, each time of a span of time that ends a moment ago and
//! reaches back over the span before. What was told before is not told again, and what came late is told late. So every
//! question that VictoriaLogs can tail can be tailed here, pipes and all.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use http::header;
use logmill_lang::ast::Pipe;
use logmill_lang::value::hash::stream_id;
use logmill_lang::value::time::parse_rfc3339;
use logmill_model::TimeRange;
use logmill_query_api::render::TextObject;

use super::query::{keeps_time, shows_stream_id};
use super::rows::{Row, rows};
use super::{Question, Refused};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::ApiError;
use crate::quota::hold;

/// How far back every question reaches over the one before: records that arrive so late are told.
const OVERLAP_NS: i64 = 5_000_000_000;
/// Records of one question; of more, only the latest are told.
const MAX_ROWS: u64 = 10_000;
/// The shortest and the longest time between two questions.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// How soon a tail sees that the server stops.
const STOP_CHECK: Duration = Duration::from_millis(250);

/// Follow records, as VictoriaLogs does.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/tail",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL whose pipes keep every record and its `_time`", example = "error"),
        ("start_offset" = Option<String>, Query, description = "Begin with the records of this long; 5s without it", example = "1h"),
        ("offset" = Option<String>, Query, description = "Tell records so late; 1s without it"),
        ("refresh_interval" = Option<String>, Query, description = "Look for records so often; 1s without it"),
    ),
    responses(
        (status = 200, description = "An object a line, whose values are texts, without an end", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn tail(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (question, place) = Question::enter(&state, authorized, request).await?;
    check_pipes(&question.query.pipes)?;
    let with_id = shows_stream_id(&question.query.pipes);
    let parameters = &question.parameters;
    let second_ns = 1_000_000_000;
    let interval_ns = parameters
        .duration_ns("refresh_interval")?
        .unwrap_or(second_ns);
    let interval = Duration::from_nanos(u64::try_from(interval_ns).unwrap_or(0));
    let start_offset_ns = parameters
        .duration_ns("start_offset")?
        .unwrap_or(5 * second_ns)
        .max(0);
    let offset_ns = parameters
        .duration_ns("offset")?
        .unwrap_or(second_ns)
        .max(0);
    let mut tail = Tail {
        start_ns: state
            .clock
            .now_ns()
            .saturating_sub(offset_ns)
            .saturating_sub(start_offset_ns),
        state,
        question,
        offset_ns,
        interval: interval.clamp(MIN_INTERVAL, MAX_INTERVAL),
        told: Told::default(),
        with_id,
    };
    // The first question is asked at once, so that a wrong one has its status.
    let first = tail.ask().await?;
    let lines = Body::from_stream(lines(tail, first));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        // A proxy that waits for more would hold records back.
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok(hold(place, (headers, lines).into_response()))
}

/// Refuses what cannot be followed: pipes that look at all records, leave some out by their number, or drop their time.
fn check_pipes(pipes: &[Pipe]) -> Result<(), ApiError> {
    match pipes.iter().find(|pipe| !keeps_time(pipe)) {
        Some(pipe) => Err(ApiError::bad_request(
            "invalid_query",
            format!(
                "the query cannot be tailed: `{pipe}` does not give every record with its `_time` as it comes"
            ),
        )),
        None => Ok(()),
    }
}

struct Tail {
    state: AppState,
    question: Question,
    /// Where the next question begins.
    start_ns: i64,
    offset_ns: i64,
    interval: Duration,
    /// Whether records have the id of their stream.
    with_id: bool,
    told: Told,
}

/// What was told of the span that the next question reaches back over: times and hashes of lines, and how often. Records
/// may be equal in everything.
#[derive(Debug, Default)]
struct Told {
    lines: HashMap<(i64, u64), u64>,
    hasher: RandomState,
}

impl Told {
    /// Those of `lines` that were not told yet; what is older than `start_ns` is forgotten then.
    fn untold(&mut self, lines: Vec<(i64, String)>, start_ns: i64) -> String {
        let mut out = String::new();
        let mut found: HashMap<(i64, u64), u64> = HashMap::new();
        for (t_ns, line) in lines {
            let key = (t_ns, self.hasher.hash_one(&line));
            let count = found.entry(key).or_default();
            *count += 1;
            if *count > self.lines.get(&key).copied().unwrap_or(0) {
                out.push_str(&line);
                out.push('\n');
            }
        }
        for (key, count) in found {
            let told = self.lines.entry(key).or_default();
            *told = count.max(*told);
        }
        self.lines.retain(|(t_ns, _), _| *t_ns >= start_ns);
        out
    }
}

impl Tail {
    /// The records that were not told yet, oldest first, a line each.
    async fn ask(&mut self) -> Result<Bytes, ApiError> {
        let end_ns = self.state.clock.now_ns().saturating_sub(self.offset_ns);
        let mut asked = self.question.ask();
        asked.now_ns = end_ns;
        asked.limit = Some(MAX_ROWS);
        asked.range = TimeRange {
            start_ns: self.start_ns.max(self.question.range.start_ns),
            end_ns: end_ns.min(self.question.range.end_ns),
        };
        let rows = rows(&self.state, asked).await?;
        let mut lines: Vec<(i64, String)> = rows
            .iter()
            .filter_map(|row| line(row, self.with_id))
            .collect();
        lines.sort();
        self.start_ns = end_ns.saturating_sub(OVERLAP_NS).max(self.start_ns);
        Ok(Bytes::from(self.told.untold(lines, self.start_ns)))
    }

    /// Waits for the next question; says whether it is to be asked.
    async fn wait(&self) -> bool {
        let until = tokio::time::Instant::now() + self.interval;
        while !self.state.is_stopping() {
            let now = tokio::time::Instant::now();
            if now >= until {
                return true;
            }
            tokio::time::sleep(STOP_CHECK.min(until - now)).await;
        }
        false
    }
}

/// The line of a record, and its time. A record without a time was not asked for.
fn line(row: &Row, with_id: bool) -> Option<(i64, String)> {
    let t_ns = parse_rfc3339(row.get("_time"))?;
    let mut line = Vec::new();
    let mut object = TextObject::begin(&mut line);
    for (name, text) in &row.0 {
        object.field(name, text);
    }
    if with_id && row.get("_stream_id").is_empty() && !row.get("_stream").is_empty() {
        object.field("_stream_id", &stream_id(row.get("_stream")));
    }
    object.end();
    Some((t_ns, String::from_utf8_lossy(&line).into_owned()))
}

/// The answer: what is there, and then what comes, until the client goes or the server stops.
fn lines(tail: Tail, first: Bytes) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold((tail, Some(first)), async |(mut tail, first)| {
        // Something is sent at once, and be it nothing but the head.
        if let Some(first) = first {
            return Some((Ok(first), (tail, None)));
        }
        loop {
            if !tail.wait().await {
                return None;
            }
            match tail.ask().await {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Some((Ok(lines), (tail, None))),
                // As many questions are asked as may: this one is asked again later, over a longer span.
                Err(error) if error.status == http::StatusCode::TOO_MANY_REQUESTS => {}
                Err(error) => {
                    tracing::warn!(
                        code = error.code,
                        message = error.message,
                        "a tail broke off"
                    );
                    return Some((Err(std::io::Error::other(error.message)), (tail, None)));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use logmill_lang::parse;

    use super::*;

    #[test]
    fn a_record_is_told_once_and_its_equals_as_often_as_they_are_there() {
        let mut told = Told::default();
        let lines = |lines: &[(i64, &str)]| {
            lines
                .iter()
                .map(|(t, line)| (*t, (*line).to_owned()))
                .collect()
        };
        assert_eq!(told.untold(lines(&[(1, "a"), (2, "b")]), 1), "a\nb\n");
        assert_eq!(
            told.untold(lines(&[(1, "a"), (2, "b"), (2, "b"), (2, "c")]), 2),
            "b\nc\n"
        );
        assert_eq!(
            told.untold(lines(&[(2, "b"), (2, "b"), (2, "c"), (3, "a")]), 3),
            "a\n"
        );
        assert_eq!(told.lines.len(), 1, "what lies behind is forgotten");
    }

    #[test]
    fn only_what_keeps_every_record_and_its_time_is_followed() {
        let check = |text: &str| check_pipes(&parse(text).unwrap().pipes);
        for text in [
            "a",
            "a | fields _time, b",
            "a | extract '<x> ' | filter x:y",
            "a | fields _*",
        ] {
            assert!(check(text).is_ok(), "{text}");
        }
        for text in [
            "a | limit 5",
            "a | sort by (b)",
            "a | stats count()",
            "a | fields b",
            "a | delete _time",
            "a | rename _time as t",
            "a | uniq by (_time)",
        ] {
            assert_eq!(check(text).unwrap_err().code, "invalid_query", "{text}");
        }
    }
}
