//! `/query`: the structured filter.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri, header};
use logmill_model::TenantId;
use logmill_query_api::{LogQuery, LogsQlQuery, Order, Page};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::{self, Stats};
use crate::routes::selection::{Asked, Parameters, SelectionParameters, range_beside};

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
    /// LogsQL: a filter, which narrows with all the other parts; or a query with pipes, whose rows are the answer, beside
    /// which only `from`, `to`, `limit` and `timeout_ms` may stand.
    #[schema(example = "error and not timeout | stats by (service) count() hits")]
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
        SelectionParameters,
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
    let body = from_parameters(uri.query())?;
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let response = run(&state, tenant, body, &headers).await?;
    Ok(hold(place, response))
}

/// What the parameters of a GET mean.
fn from_parameters(query: Option<&str>) -> Result<QueryBody, ApiError> {
    let names = ["fields", "order", "limit", "cursor", "timeout_ms"];
    let mut parameters = Parameters::read(query, &names)?;
    let order = parameters.take("order").map(|order| {
        serde_json::from_value(Value::String(order.clone())).map_err(|_unknown| {
            ApiError::bad_request(
                "invalid_body",
                format!("order is asc or desc, not {order:?}"),
            )
        })
    });
    let Asked {
        from,
        to,
        text,
        filters,
        query,
    } = parameters.asked();
    Ok(QueryBody {
        from,
        to,
        text,
        filters,
        fields: parameters.list("fields"),
        order: order.transpose()?,
        limit: parameters.number("limit")?,
        cursor: parameters.take("cursor"),
        timeout_ms: parameters.number("timeout_ms")?,
        query,
    })
}

async fn run(
    state: &AppState,
    tenant: TenantId,
    body: QueryBody,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let now_ns = state.clock.now_ns();
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let lines = accept.is_some_and(|accept| accept.contains("application/x-ndjson"));
    if let Some(query) = pipes(&body)? {
        return run_pipes(state, logsql_query(tenant, query, body, now_ns)?, lines).await;
    }
    let query = log_query(tenant, body, now_ns)?;
    if lines {
        let stream = state.engine.query_stream(query).await?;
        let mut response = answer::ndjson(stream.batches).await?;
        if !stream.warnings.is_empty() {
            let value = answer::header_text(&stream.warnings.join("; "));
            response.headers_mut().insert("x-logmill-warning", value);
        }
        return Ok(response);
    }
    let page = state.engine.query(query).await?;
    let body = render(&page).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The query of a body, if it has pipes.
fn pipes(body: &QueryBody) -> Result<Option<logmill_lang::Query>, ApiError> {
    let Some(text) = &body.query else {
        return Ok(None);
    };
    let query = logmill_lang::parse(text).map_err(logmill_query_api::Error::from)?;
    Ok((!query.pipes.is_empty()).then_some(query))
}

/// A query with pipes. They say what the answer has and in which order, so nothing else of the body may.
fn logsql_query(
    tenant: TenantId,
    query: logmill_lang::Query,
    body: QueryBody,
    now_ns: i64,
) -> Result<LogsQlQuery, ApiError> {
    let said_twice = [
        ("text", body.text.is_some()),
        ("filters", body.filters.is_some()),
        ("fields", body.fields.is_some()),
        ("order", body.order.is_some()),
        ("cursor", body.cursor.is_some()),
    ];
    if let Some((name, _)) = said_twice.into_iter().find(|(_, said)| *said) {
        let message = format!("{name} cannot stand beside a query with pipes; say it in the query");
        return Err(ApiError::bad_request("invalid_query", message));
    }
    let (from, to) = (body.from.as_ref(), body.to.as_ref());
    let range = range_beside(Some(&query.filter), from, to, now_ns)?;
    Ok(LogsQlQuery {
        tenant,
        query,
        range,
        now_ns,
        limit: body.limit.map(limit_of).transpose()?,
        timeout_ms: body.timeout_ms,
    })
}

/// What pipes made of records: all of it, without pages.
async fn run_pipes(
    state: &AppState,
    query: LogsQlQuery,
    lines: bool,
) -> Result<Response, ApiError> {
    let answer = state.engine.logsql(query).await?;
    if lines {
        return answer::ndjson(answer.batches).await;
    }
    let head = "{\"records\":[".to_owned();
    let tail = "\"next_cursor\":null,\"warnings\":[],";
    answer::json(
        head,
        tail,
        |records, row, out| records.write_record(row, out),
        answer.batches,
        answer.stats,
    )
    .await
}

fn limit_of(limit: i64) -> Result<u64, ApiError> {
    u64::try_from(limit).map_err(|_negative| {
        ApiError::bad_request("invalid_limit", format!("limit is at least 1, not {limit}"))
    })
}

/// The query that a body means.
fn log_query(tenant: TenantId, body: QueryBody, now_ns: i64) -> Result<LogQuery, ApiError> {
    let limit = limit_of(body.limit.unwrap_or(DEFAULT_LIMIT))?;
    let asked = Asked {
        from: body.from,
        to: body.to,
        text: body.text,
        filters: body.filters,
        query: body.query,
    };
    Ok(LogQuery {
        selection: asked.selection(tenant, now_ns)?,
        fields: body.fields,
        order: body.order.unwrap_or_default(),
        limit,
        cursor: body.cursor,
        timeout_ms: body.timeout_ms,
    })
}

fn render(page: &Page) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut out = b"{\"records\":".to_vec();
    answer::write_records(&page.batches, &mut out)?;
    out.extend_from_slice(b",\"next_cursor\":");
    serde_json::to_writer(&mut out, &page.next_cursor)?;
    out.extend_from_slice(b",\"warnings\":");
    serde_json::to_writer(&mut out, &page.warnings)?;
    out.extend_from_slice(b",\"stats\":");
    serde_json::to_writer(&mut out, &Stats::from(page.stats))?;
    out.push(b'}');
    Ok(out)
}
