//! `/query`: the structured filter.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Uri, header};
use logmill_model::time::parse_time_expression;
use logmill_model::{TenantId, TimeRange, time};
use logmill_query_api::render::{Renderer, plain};
use logmill_query_api::{Filter, LogQuery, Order, Page, TextQuery};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::{self, Stats};

/// A query without `from` looks this far back.
const DEFAULT_RANGE_NS: i64 = 3_600 * time::SECOND_NS;

/// Records of a page that names no limit.
const DEFAULT_LIMIT: i64 = 100;

/// What to look for; every part is optional, and all of them hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryBody {
    /// First instant; the last hour without it.
    #[schema(value_type = Option<String>, example = "-15m")]
    from: Option<Value>,
    /// First instant after; now without it.
    #[schema(value_type = Option<String>, example = "now")]
    to: Option<Value>,
    /// Words and "phrases" that `message` has, in any case.
    #[schema(example = "declined \"insufficient funds\"")]
    text: Option<String>,
    /// Conditions on fields: a value, a list, or operators (eq, ne, in, not_in, gt, gte, lt, lte, prefix, contains, regex, exists).
    #[schema(value_type = Option<Object>, example = json!({"level": ["error"], "http.status": {"gte": 500}}))]
    filters: Option<Value>,
    /// Columns of the answer; all that have a value without it.
    fields: Option<Vec<String>>,
    /// Newest or oldest first.
    #[schema(value_type = Option<String>, example = "desc")]
    order: Option<Order>,
    /// Records of a page.
    #[schema(example = 100, minimum = 1)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Longest run, milliseconds; at most the server's own limit.
    timeout_ms: Option<u64>,
    /// LogsQL; not supported yet.
    query: Option<String>,
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "the shape of the answer, for the document; the answer itself is written by hand"
)]
pub(crate) struct QueryAnswer {
    /// Each an object of the fields that have a value.
    #[schema(value_type = Vec<Object>)]
    records: Vec<Value>,
    /// Pass it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// Unknown fields and the like.
    warnings: Vec<String>,
    stats: Stats,
}

/// Find records.
#[utoipa::path(
    post,
    path = "/query",
    tag = "ask",
    params(
        ("X-Tenant-ID" = Option<String>, Header, description = "Whose records; `default` without it"),
        ("Accept" = Option<String>, Header, description = "application/x-ndjson streams one record a line"),
    ),
    request_body = QueryBody,
    responses(
        (status = 200, description = "A page, or with Accept: application/x-ndjson a stream", content(
            (QueryAnswer = "application/json"), (String = "application/x-ndjson"))),
        (status = 400, description = "The query is wrong; the message says where and how", body = ErrorBody),
        (status = 422, description = "The query reached its time or memory limit", body = ErrorBody),
        (status = 429, description = "As many queries run as may", body = ErrorBody),
    )
)]
pub(crate) async fn post_query(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = answer::question::<QueryBody>(&state, &headers, body).await?;
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let response = run(&state, tenant, body, &headers).await?;
    Ok(hold(place, response))
}

/// Find records, asked by parameters.
#[utoipa::path(
    get,
    path = "/query",
    tag = "ask",
    params(
        ("from" = Option<String>, Query, example = "-15m"),
        ("to" = Option<String>, Query, example = "now"),
        ("text" = Option<String>, Query, example = "timeout"),
        ("level" = Option<String>, Query, description = "One or several, with commas or repeated", example = "error,fatal"),
        ("service" = Option<String>, Query, description = "One or several, with commas or repeated"),
        ("filter.FIELD" = Option<String>, Query, description = "Equality with any field; repeated: with one of the values"),
        ("fields" = Option<String>, Query, description = "With commas", example = "timestamp,message"),
        ("order" = Option<String>, Query, example = "desc"),
        ("limit" = Option<u64>, Query, example = 100),
        ("cursor" = Option<String>, Query),
        ("timeout_ms" = Option<u64>, Query),
    ),
    responses(
        (status = 200, description = "A page, or with Accept: application/x-ndjson a stream", body = QueryAnswer),
        (status = 400, description = "The query is wrong; the message says where and how", body = ErrorBody),
    )
)]
pub(crate) async fn get_query(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let body = from_parameters(uri.query().unwrap_or_default())?;
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let response = run(&state, tenant, body, &headers).await?;
    Ok(hold(place, response))
}

const PARAMETERS: &str =
    "from, to, text, level, service, filter.FIELD, fields, order, limit, cursor, timeout_ms";

/// The body that the parameters of a GET mean. A field's values are added up, whichever way they are written; what has
/// one value may stand once.
fn from_parameters(parameters: &str) -> Result<QueryBody, ApiError> {
    let mut body = QueryBody::default();
    let mut filters = Map::new();
    let mut seen = HashSet::new();
    let mut one_of = |field: &str, values: Vec<&str>| {
        let values = values.into_iter().map(Value::from);
        let any = filters
            .entry(field)
            .or_insert_with(|| Value::Array(Vec::new()));
        any.as_array_mut()
            .expect("only lists are put in")
            .extend(values);
    };
    for (name, value) in url::form_urlencoded::parse(parameters.as_bytes()) {
        let list = || {
            value
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
        };
        if let Some(field) = name.strip_prefix("filter.") {
            one_of(field, vec![&value]);
            continue;
        }
        if matches!(&*name, "level" | "service") {
            one_of(&name, list().collect());
            continue;
        }
        if !seen.insert(name.clone()) {
            let message = format!("{name} is there twice");
            return Err(ApiError::bad_request("invalid_parameter", message));
        }
        match &*name {
            "from" => body.from = Some(Value::String(value.into_owned())),
            "to" => body.to = Some(Value::String(value.into_owned())),
            "text" => body.text = Some(value.into_owned()),
            "fields" => body.fields = Some(list().map(str::to_owned).collect()),
            "order" => {
                let order = serde_json::from_value(Value::String(value.to_string()));
                body.order = Some(order.map_err(|_unknown| {
                    ApiError::bad_request(
                        "invalid_body",
                        format!("order is asc or desc, not {value:?}"),
                    )
                })?);
            }
            "limit" => body.limit = Some(number("limit", &value)?),
            "timeout_ms" => body.timeout_ms = Some(number("timeout_ms", &value)?),
            "cursor" => body.cursor = Some(value.into_owned()),
            "query" => body.query = Some(value.into_owned()),
            _ => {
                let message = format!("there is no parameter {name:?}: use {PARAMETERS}");
                return Err(ApiError::bad_request("invalid_parameter", message));
            }
        }
    }
    if !filters.is_empty() {
        body.filters = Some(Value::Object(filters));
    }
    Ok(body)
}

pub(crate) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_not_a_number| {
        ApiError::bad_request(
            "invalid_parameter",
            format!("{name} is a number, not {value:?}"),
        )
    })
}

async fn run(
    state: &AppState,
    tenant: TenantId,
    body: QueryBody,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let query = log_query(tenant, body, state.clock.now_ns())?;
    let accepts = |wanted: &str| {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains(wanted))
    };
    if accepts("application/x-ndjson") {
        let stream = state.engine.query_stream(query).await?;
        let mut response = answer::ndjson(stream.batches).await?;
        if !stream.warnings.is_empty() {
            let value = header_text(&stream.warnings.join("; "));
            response.headers_mut().insert("x-logmill-warning", value);
        }
        return Ok(response);
    }
    let page = state.engine.query(query).await?;
    let body = render(&page).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Longest text of a header, bytes: clients have bounds on a response's head.
const HEADER_TEXT_MAX: usize = 4_096;

/// A text as a header's value: characters that may not stand there as `\u{…}`, and cut where it is too long.
fn header_text(text: &str) -> HeaderValue {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() >= HEADER_TEXT_MAX {
            out.push_str("...");
            break;
        }
        match character {
            ' '..='~' => out.push(character),
            _ => out.extend(character.escape_unicode()),
        }
    }
    HeaderValue::from_str(&out).expect("it is visible ASCII and spaces")
}

/// An instant of a body; `None` when it is not there.
pub(crate) fn instant(
    name: &str,
    value: Option<&Value>,
    now_ns: i64,
) -> Result<Option<i64>, ApiError> {
    let wrong = |problem: String| ApiError::bad_request("invalid_time", problem);
    match value {
        None => Ok(None),
        Some(Value::String(text)) => parse_time_expression(text, now_ns)
            .map(Some)
            .map_err(|error| wrong(format!("{name}: {error}"))),
        Some(Value::Number(number)) => {
            let epoch = number.as_i64().and_then(time::parse_epoch_i64);
            let epoch = epoch.or_else(|| number.as_f64().and_then(time::parse_epoch_f64));
            let problem = || {
                wrong(format!(
                    "{name}: {number} is not an epoch in s, ms, us or ns"
                ))
            };
            epoch.map(Some).ok_or_else(problem)
        }
        Some(other) => Err(wrong(format!("{name}: {other} is not a time"))),
    }
}

/// The query that a body means.
fn log_query(tenant: TenantId, body: QueryBody, now_ns: i64) -> Result<LogQuery, ApiError> {
    if body.query.is_some() {
        let message = "query (LogsQL) is not supported yet: use text and filters, or POST /sql";
        return Err(ApiError::bad_request("not_supported", message));
    }
    // A record that was just received may be a moment ahead of the clock that is read here.
    let end_ns = instant("to", body.to.as_ref(), now_ns)?
        .unwrap_or_else(|| now_ns.saturating_add(time::SECOND_NS));
    let start_ns = instant("from", body.from.as_ref(), now_ns)?
        .unwrap_or_else(|| end_ns.saturating_sub(DEFAULT_RANGE_NS));
    if start_ns > end_ns {
        return Err(ApiError::bad_request("invalid_time", "from is after to"));
    }
    let limit = body.limit.unwrap_or(DEFAULT_LIMIT);
    let limit = u64::try_from(limit).map_err(|_negative| {
        ApiError::bad_request("invalid_limit", format!("limit is at least 1, not {limit}"))
    })?;
    let text = body.text.map(|text| TextQuery::parse(&text)).transpose()?;
    let filters = body
        .filters
        .map(|filters| Filter::parse_all(&filters))
        .transpose()?;
    Ok(LogQuery {
        tenant,
        range: TimeRange { start_ns, end_ns },
        text,
        filters: filters.unwrap_or_default(),
        fields: body.fields,
        order: body.order.unwrap_or_default(),
        limit,
        cursor: body.cursor,
        timeout_ms: body.timeout_ms,
    })
}

fn render(page: &Page) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut out = b"{\"records\":[".to_vec();
    let mut first = true;
    for batch in &page.batches {
        let batch = plain(batch)?;
        let renderer = Renderer::new(&batch)?;
        for row in 0..batch.num_rows() {
            if !first {
                out.push(b',');
            }
            first = false;
            renderer.write_record(row, &mut out);
        }
    }
    out.extend_from_slice(b"],\"next_cursor\":");
    serde_json::to_writer(&mut out, &page.next_cursor)?;
    out.extend_from_slice(b",\"warnings\":");
    serde_json::to_writer(&mut out, &page.warnings)?;
    out.extend_from_slice(b",\"stats\":");
    serde_json::to_writer(&mut out, &Stats::from(page.stats))?;
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_conditions_on_a_field_are_alternatives() {
        let body = from_parameters(
            "level=error,fatal&level=warn&filter.http.status=500&filter.http.status=503&filter.level=info",
        );
        let expected =
            json!({"level": ["error", "fatal", "warn", "info"], "http.status": ["500", "503"]});
        assert_eq!(body.unwrap().filters, Some(expected));
    }

    #[test]
    fn what_has_one_value_may_not_be_repeated() {
        for parameters in ["limit=1&limit=2", "from=-1h&from=-2h", "fields=a&fields=b"] {
            let refused = from_parameters(parameters).unwrap_err();
            assert_eq!(refused.code, "invalid_parameter", "{parameters}");
        }
    }

    #[test]
    fn any_text_fits_a_header() {
        let value = header_text("there is no field \"Größe\"\n");
        assert_eq!(value, r#"there is no field "Gr\u{f6}\u{df}e"\u{a}"#);
        assert!(header_text(&"ö".repeat(100_000)).len() < HEADER_TEXT_MAX + 16);
    }
}
