//! `POST /sql`: read-only SQL.

use std::sync::Arc;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures::StreamExt;
use http::HeaderMap;
use logmill_query_api::render::write_csv;
use logmill_query_api::{BatchStream, SqlAnswer, SqlQuery, StatsHandle};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{Authorized, Query};
use crate::error::{ApiError, ErrorBody};
use crate::quota::hold;
use crate::routes::answer::{self, Stats, internal};

/// A question in SQL.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlBody {
    /// One statement over the table `logs`.
    #[schema(example = "SELECT service, count(*) AS n FROM logs GROUP BY service ORDER BY n DESC")]
    query: String,
    #[serde(default)]
    format: SqlFormat,
    /// Longest run, milliseconds; at most the server's own limit.
    timeout_ms: Option<u64>,
}

/// How the answer looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SqlFormat {
    /// Columns, rows and statistics.
    #[default]
    Json,
    /// A row a line, as an object of what is not null.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// The answer as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "the shape of the answer, for the document; the answer itself is streamed"
)]
pub(crate) struct SqlJson {
    columns: Vec<SqlColumn>,
    #[schema(value_type = Vec<Vec<Object>>)]
    rows: Vec<Vec<Value>>,
    stats: Stats,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
struct SqlColumn {
    #[schema(example = "n")]
    name: String,
    /// Arrow's name of the type.
    #[serde(rename = "type")]
    #[schema(example = "Int64")]
    data_type: String,
}

/// Ask in SQL.
#[utoipa::path(
    post,
    path = "/sql",
    tag = "ask",
    params(("X-Tenant-ID" = Option<String>, Header, description = "Whose records; `default` without it")),
    request_body = SqlBody,
    responses(
        (status = 200, description = "The answer, streamed", content(
            (SqlJson = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream"))),
        (status = 400, description = "The statement is wrong, or does more than ask", body = ErrorBody),
        (status = 422, description = "The query reached its time, memory or row limit", body = ErrorBody),
        (status = 429, description = "As many queries run as may", body = ErrorBody),
    )
)]
pub(crate) async fn sql(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Query>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let SqlBody {
        query,
        format,
        timeout_ms,
    } = answer::question(&state, &headers, body).await?;
    let place = state.auth.quotas.enter_query(row.as_deref()).await?;
    let SqlAnswer {
        schema,
        batches,
        stats,
    } = state
        .engine
        .sql(SqlQuery {
            tenant,
            sql: query,
            timeout_ms,
        })
        .await?;
    let response = match format {
        SqlFormat::Json => json(&schema, batches, stats).await,
        SqlFormat::Ndjson => answer::ndjson(batches).await,
        SqlFormat::Csv => csv(&schema, batches).await,
        SqlFormat::Arrow => arrow(&schema, batches).await,
    };
    Ok(hold(place, response?))
}

async fn json(
    schema: &SchemaRef,
    batches: BatchStream,
    stats: StatsHandle,
) -> Result<Response, ApiError> {
    let columns = schema.fields().iter().map(|field| SqlColumn {
        name: field.name().clone(),
        data_type: field.data_type().to_string(),
    });
    let columns = serde_json::to_string(&columns.collect::<Vec<_>>())
        .map_err(|error| ApiError::internal(&error))?;
    let head = format!("{{\"columns\":{columns},\"rows\":[");
    answer::json(
        head,
        "",
        |rows, row, out| rows.write_row(row, out),
        batches,
        stats,
    )
    .await
}

async fn csv(schema: &SchemaRef, batches: BatchStream) -> Result<Response, ApiError> {
    let mut head = Vec::new();
    let empty = arrow_array::RecordBatch::new_empty(schema.clone());
    write_csv(&empty, true, &mut head).map_err(|error| ApiError::internal(&error))?;
    let mut head = Some(head);
    // As with JSON, the head goes out with the first rows, or alone when there are none.
    let end = futures::stream::once(async { Ok(None) });
    let parts = batches
        .map(|batch| batch.map(Some))
        .chain(end)
        .map(move |batch| {
            let batch = batch?;
            let mut out = head.take().unwrap_or_default();
            if let Some(batch) = batch {
                write_csv(&batch, false, &mut out).map_err(|error| internal(&error))?;
            }
            Ok(Bytes::from(out))
        });
    answer::stream("text/csv; charset=utf-8", Box::pin(parts)).await
}

async fn arrow(schema: &SchemaRef, batches: BatchStream) -> Result<Response, ApiError> {
    let out = Shared::default();
    let writer = StreamWriter::try_new(out.clone(), schema);
    let mut writer = Some(writer.map_err(|error| ApiError::internal(&error))?);
    let end = futures::stream::once(async { Ok(None) });
    let parts = batches
        .map(|batch| batch.map(Some))
        .chain(end)
        .map(move |batch| {
            let written = match (batch?, &mut writer) {
                (Some(batch), Some(writer)) => writer.write(&batch),
                (None, writer) => writer.take().map_or(Ok(()), |mut writer| writer.finish()),
                (Some(_), None) => Ok(()),
            };
            written.map_err(|error| internal(&error))?;
            Ok(out.take())
        });
    answer::stream("application/vnd.apache.arrow.stream", Box::pin(parts)).await
}

/// Bytes that a writer appends and a stream takes away.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Bytes {
        Bytes::from(std::mem::take(&mut *self.0.lock()))
    }
}

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
