//! `/select/logsql/query`: records, or what pipes made of them, one a line.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use logmill_lang::ast::{FieldPattern, Pipe, Sort, SortField};
use logmill_lang::value::hash::write_stream_id;
use logmill_query_api::render::{Renderer, TextObject, plain};

use super::{Question, Refused};
use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::quota::hold;
use crate::routes::answer;

/// Answer LogsQL, as VictoriaLogs does.
#[utoipa::path(
    method(get, post),
    path = "/select/logsql/query",
    tag = "victorialogs",
    params(
        ("query" = String, Query, description = "LogsQL", example = "error | stats by (service) count()"),
        ("start" = Option<String>, Query, example = "1h"),
        ("end" = Option<String>, Query, example = "now"),
        ("time" = Option<String>, Query, description = "What times relative to now count from"),
        ("limit" = Option<u64>, Query, description = "So many of the latest records", example = 100),
        ("timeout" = Option<String>, Query, example = "10s"),
        ("extra_filters" = Option<String>, Query, description = "LogsQL or a JSON object; may be repeated"),
        ("extra_stream_filters" = Option<String>, Query, description = "LogsQL or a JSON object; may be repeated"),
        ("AccountID" = Option<u32>, Header),
        ("ProjectID" = Option<u32>, Header),
    ),
    responses(
        (status = 200, description = "An object a line, whose values are texts", body = String, content_type = "application/stream+json"),
        (status = 400, description = "The query is wrong; the message says where and how", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn query(
    State(state): State<AppState>,
    authorized: Authorized<Query>,
    request: Request,
) -> Result<Response, Refused> {
    let (mut question, place) = Question::enter(&state, authorized, request).await?;
    let limit = question.parameters.count("limit")?;
    if let Some(limit) = limit {
        latest(&mut question.query.pipes, limit);
    }
    let mut asked = question.ask();
    asked.limit = limit;
    let with_id = shows_stream_id(&asked.query.pipes);
    let batches = state.engine.logsql(asked).await?.batches;
    let parts =
        batches.map(move |batch| lines(&batch?, with_id).map_err(|error| answer::internal(&error)));
    let response = answer::stream("application/stream+json", parts).await?;
    Ok(hold(place, response))
}

/// Rows as lines.
fn lines(batch: &RecordBatch, with_id: bool) -> Result<Bytes, ArrowError> {
    let batch = plain(batch)?;
    let renderer = Renderer::new(&batch)?;
    let mut out = Vec::new();
    let (mut id, mut has_id) = (String::new(), false);
    for row in 0..batch.num_rows() {
        id.clear();
        let mut object = TextObject::begin(&mut out);
        renderer.for_each_text(row, &mut |name, text| {
            match name {
                "_stream" if with_id && !text.is_empty() => write_stream_id(text, &mut id),
                "_stream_id" => has_id = true,
                _ => {}
            }
            object.field(name, text);
        });
        if !has_id {
            object.field("_stream_id", &id);
        }
        if object.end() {
            out.push(b'\n');
        }
    }
    Ok(Bytes::from(out))
}

/// Whether `_stream_id`, which the engine computes only where it is named, is part of an answer: clients find the
/// neighbours of a record by it.
pub(super) fn shows_stream_id(pipes: &[Pipe]) -> bool {
    let named =
        |patterns: &[FieldPattern]| patterns.iter().any(|pattern| pattern.matches("_stream_id"));
    pipes.iter().all(|pipe| match pipe {
        Pipe::Fields(fields) => named(fields),
        Pipe::Delete(fields) => !named(fields),
        Pipe::Rename(_) => false,
        pipe => {
            keeps_time(pipe) || matches!(pipe, Pipe::Sort(_) | Pipe::Limit(_) | Pipe::Offset(_))
        }
    })
}

/// A limit means the latest records, also where pipes change their fields. It stands in front of pipes that keep every
/// record, so that no more than these are looked at; without pipes, the engine does so by itself.
fn latest(pipes: &mut Vec<Pipe>, limit: u64) {
    if pipes.is_empty() || !pipes.iter().all(keeps_time) {
        return;
    }
    let dropping = |pipe: &Pipe| {
        matches!(
            pipe,
            Pipe::Filter(_) | Pipe::Unroll(_) | Pipe::DropEmptyFields
        )
    };
    let at = if pipes.iter().any(dropping) {
        pipes.len()
    } else {
        0
    };
    let sort = Sort {
        by: vec![SortField {
            field: "_time".to_owned(),
            descending: true,
        }],
        descending: false,
        offset: None,
        limit: Some(limit),
        partition_by: Vec::new(),
        rank_field: None,
    };
    pipes.insert(at, Pipe::Sort(sort));
}

/// Whether what a pipe gives are still records with their times, in any order.
pub(super) fn keeps_time(pipe: &Pipe) -> bool {
    let names_time =
        |patterns: &[FieldPattern]| patterns.iter().any(|pattern| pattern.matches("_time"));
    match pipe {
        Pipe::Fields(fields) => names_time(fields),
        Pipe::Delete(fields) => !names_time(fields),
        Pipe::Rename(renamings) => !renamings
            .iter()
            .any(|renaming| renaming.from.matches("_time")),
        Pipe::CollapseNums(_)
        | Pipe::Copy(_)
        | Pipe::Decolorize(_)
        | Pipe::DropEmptyFields
        | Pipe::Extract(_)
        | Pipe::ExtractRegexp(_)
        | Pipe::Filter(_)
        | Pipe::Format(_)
        | Pipe::Hash(_)
        | Pipe::JsonArrayLen(_)
        | Pipe::Len(_)
        | Pipe::Math(_)
        | Pipe::PackJson(_)
        | Pipe::PackLogfmt(_)
        | Pipe::Replace(_)
        | Pipe::ReplaceRegexp(_)
        | Pipe::UnpackJson(_)
        | Pipe::UnpackLogfmt(_)
        | Pipe::UnpackSyslog(_)
        | Pipe::UnpackWords(_)
        | Pipe::Unroll(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use logmill_lang::parse;

    #[test]
    fn a_limit_means_the_latest_records() {
        let sorted = "sort by (_time desc) limit 5";
        for (text, expected) in [
            ("a", "a".to_owned()),
            (
                "a | fields _time, b",
                format!("a | {sorted} | fields _time, b"),
            ),
            ("a | filter b", format!("a | filter b | {sorted}")),
            ("a | fields b", "a | fields b".to_owned()),
            ("a | limit 3", "a | limit 3".to_owned()),
            ("a | rename _time as t", "a | rename _time as t".to_owned()),
        ] {
            let mut query = parse(text).unwrap();
            super::latest(&mut query.pipes, 5);
            assert_eq!(query.to_string(), expected);
        }
    }
}
