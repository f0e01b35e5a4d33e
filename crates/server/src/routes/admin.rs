//! `/admin/…`: what operators do by hand.
//!
//! What changes something is in the audit log, whatever became of it.

pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod tenants;

use axum::Json;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use logmill_model::time;
use logmill_query_api::DeletePredicate;
use logmill_store::{DeleteId, DeleteRow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{Admin, Authorized, Operator};
use crate::error::{ApiError, ErrorBody};
use crate::routes::{answer, selection};

/// What the store holds after a flush.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlushAnswer {
    /// Segments of all tenants.
    #[schema(example = 12)]
    segments: u64,
    /// Records in them.
    segment_rows: u64,
    /// Their bytes.
    segment_bytes: u64,
}

/// Write what is in memory into segments now.
#[utoipa::path(
    post,
    path = "/admin/flush",
    tag = "operation",
    responses(
        (status = 200, description = "Everything that was in memory is in segments", body = FlushAnswer),
        (status = 503, description = "Disk or catalog does not work; the records stay in memory and in the log", body = ErrorBody),
    )
)]
pub(crate) async fn flush(
    State(state): State<AppState>,
    Operator { caller }: Operator,
) -> Result<Json<FlushAnswer>, ApiError> {
    let work = async { Ok(state.store.flush().await?) };
    let audit = &state.auth.audit;
    audit
        .act(&caller, "flush", None, "", json!({}), work)
        .await?;
    let status = state.store.status();
    Ok(Json(FlushAnswer {
        segments: status.segments,
        segment_rows: status.segment_rows,
        segment_bytes: status.segment_bytes,
    }))
}

/// The segments of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SegmentsAnswer {
    /// Segments of all tenants that are being merged or are due to be; 0 when no merge is running or due. Only for who
    /// may see all tenants.
    #[schema(example = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    compaction_pending: Option<u64>,
    /// The tenant's, newest first.
    segments: Vec<Segment>,
}

/// A segment.
#[derive(Debug, Serialize, ToSchema)]
struct Segment {
    /// Its object's path.
    path: String,
    #[schema(example = 250_000)]
    rows: u64,
    bytes: u64,
    /// Oldest and newest record, RFC 3339.
    from: String,
    to: String,
    /// 0 for a flush, more for each merge.
    level: u32,
    columns: u64,
    /// Deletes that are still to be carried out in it.
    pending_deletes: u64,
}

/// List the tenant's segments.
#[utoipa::path(
    get,
    path = "/admin/segments",
    tag = "operation",
    params(("X-Tenant-ID" = Option<String>, Header, description = "Whose segments; `default` without it")),
    responses((status = 200, description = "The segments that readers see", body = SegmentsAnswer))
)]
pub(crate) async fn segments(
    State(state): State<AppState>,
    Authorized { tenant, caller, .. }: Authorized<Admin>,
) -> Json<SegmentsAnswer> {
    let snapshot = state.store.snapshot(&tenant);
    let segments = snapshot.segments.iter().map(|segment| {
        let row = segment.row();
        Segment {
            path: row.path.clone(),
            rows: row.rows,
            bytes: row.bytes,
            from: rfc3339(row.min_timestamp_ns),
            to: rfc3339(row.max_timestamp_ns),
            level: row.level,
            columns: row.columns.len() as u64,
            pending_deletes: segment.deletes().len() as u64,
        }
    });
    Json(SegmentsAnswer {
        compaction_pending: caller
            .is_of_all_tenants()
            .then(|| state.store.status().compaction_pending),
        segments: segments.collect(),
    })
}

/// What compaction did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompactAnswer {
    /// Merges that were done.
    #[schema(example = 2)]
    merges: u64,
    /// Segments of all tenants now.
    segments: u64,
    /// Their bytes.
    segment_bytes: u64,
}

/// Merge segments and carry deletes out until nothing is due.
#[utoipa::path(
    post,
    path = "/admin/compact",
    tag = "operation",
    responses(
        (status = 200, description = "Nothing is due any more", body = CompactAnswer),
        (status = 503, description = "Disk, object store or catalog does not work; the segments stay as they are", body = ErrorBody),
    )
)]
pub(crate) async fn compact(
    State(state): State<AppState>,
    Operator { caller }: Operator,
) -> Result<Json<CompactAnswer>, ApiError> {
    let work = async { Ok(state.store.compact().await?) };
    let audit = &state.auth.audit;
    let merges = audit
        .act(&caller, "compact", None, "", json!({}), work)
        .await?;
    let status = state.store.status();
    Ok(Json(CompactAnswer {
        merges,
        segments: status.segments,
        segment_bytes: status.segment_bytes,
    }))
}

/// Which records to delete; all parts hold, and there is at least one of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteBody {
    /// First instant; the beginning of time without it.
    #[schema(value_type = Option<String>, example = "2026-11-01T00:00:00Z")]
    from: Option<Value>,
    /// First instant after; now without it.
    #[schema(value_type = Option<String>, example = "now")]
    to: Option<Value>,
    /// Words and "phrases" that `message` has, in any case.
    text: Option<String>,
    /// Conditions on fields, as `POST /query` takes them.
    #[schema(value_type = Option<Object>, example = json!({"user.email": "someone@example.com"}))]
    filters: Option<Value>,
}

/// A delete, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeleteStatus {
    #[schema(example = "01M8AF76GWA2F18N8BSZMDQHGE")]
    id: String,
    /// `running`: the records are gone from answers; `done`: they are gone from the disk too.
    #[schema(example = "running")]
    status: &'static str,
    tenant: String,
    /// What was asked for; times as nanoseconds.
    #[schema(value_type = Object)]
    predicate: Value,
    requested_at: String,
    finished_at: Option<String>,
    /// Segments that may have such records, and those of them that are still to be rewritten.
    segments: u64,
    segments_left: u64,
    /// Records that are gone from the disk.
    rows_deleted: u64,
}

impl From<DeleteRow> for DeleteStatus {
    fn from(row: DeleteRow) -> Self {
        Self {
            id: row.id.0,
            status: if row.finished_at_ns.is_some() {
                "done"
            } else {
                "running"
            },
            tenant: row.tenant.to_string(),
            predicate: serde_json::from_str(&row.predicate).unwrap_or(Value::Null),
            requested_at: rfc3339(row.requested_at_ns),
            finished_at: row.finished_at_ns.map(rfc3339),
            segments: row.segments,
            segments_left: row.segments_left,
            rows_deleted: row.rows_deleted,
        }
    }
}

/// Delete records for good.
///
/// When it answers, the records are gone from every answer; compaction takes them from the disk. Records that come
/// later are not touched.
#[utoipa::path(
    post,
    path = "/admin/delete",
    tag = "operation",
    params(("X-Tenant-ID" = Option<String>, Header, description = "Whose records; `default` without it")),
    request_body = DeleteBody,
    responses(
        (status = 202, description = "Gone from answers; GET /admin/deletes/{id} tells when they are gone from the disk", body = DeleteStatus),
        (status = 400, description = "The body is not understood, or says nothing of which records", body = ErrorBody),
        (status = 503, description = "Disk or catalog does not work; nothing is deleted", body = ErrorBody),
    )
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Authorized { tenant, caller, .. }: Authorized<Admin>,
    request: Request,
) -> Result<(StatusCode, Json<DeleteStatus>), ApiError> {
    let (parts, body) = request.into_parts();
    let body = answer::question::<DeleteBody>(&state, &parts.headers, body).await?;
    if body.text.is_none() && body.filters.is_none() && (body.from.is_none() || body.to.is_none()) {
        let message = "say which records: text or filters, or both from and to";
        return Err(ApiError::bad_request("invalid_filter", message));
    }
    let now_ns = state.clock.now_ns();
    let predicate = DeletePredicate {
        tenant: tenant.clone(),
        from_ns: selection::instant("from", body.from.as_ref(), now_ns)?.unwrap_or(i64::MIN),
        to_ns: selection::instant("to", body.to.as_ref(), now_ns)?
            .unwrap_or_else(|| now_ns.saturating_add(time::SECOND_NS)),
        text: body.text,
        filters: body.filters,
    };
    let predicate_json = predicate.to_json()?;
    let detail = serde_json::from_str(&predicate_json).unwrap_or(Value::Null);
    let begun = async {
        let range = predicate.range();
        let begun = state.store.begin_delete(&tenant, predicate_json, range);
        Ok(begun.await?)
    };
    let audit = &state.auth.audit;
    let row = audit
        .act(&caller, "delete", Some(&tenant), "", detail, begun)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(row.into())))
}

/// The tenant's deletes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletesAnswer {
    /// Oldest first.
    deletes: Vec<DeleteStatus>,
}

/// List the tenant's deletes.
#[utoipa::path(
    get,
    path = "/admin/deletes",
    tag = "operation",
    params(("X-Tenant-ID" = Option<String>, Header, description = "Whose deletes; `default` without it")),
    responses((status = 200, description = "All that were asked for, retention rules' too", body = DeletesAnswer))
)]
pub(crate) async fn deletes(
    State(state): State<AppState>,
    Authorized { tenant, .. }: Authorized<Admin>,
) -> Result<Json<DeletesAnswer>, ApiError> {
    let rows = state.store.deletes(Some(&tenant)).await?;
    Ok(Json(DeletesAnswer {
        deletes: rows.into_iter().map(DeleteStatus::from).collect(),
    }))
}

/// How far a delete is.
#[utoipa::path(
    get,
    path = "/admin/deletes/{id}",
    tag = "operation",
    params(
        ("id" = String, Path, description = "The delete's id"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Whose delete; `default` without it"),
    ),
    responses(
        (status = 200, description = "The delete", body = DeleteStatus),
        (status = 404, description = "The tenant has no such delete", body = ErrorBody),
    )
)]
pub(crate) async fn delete_status(
    State(state): State<AppState>,
    Authorized { tenant, .. }: Authorized<Admin>,
    Path(id): Path<String>,
) -> Result<Json<DeleteStatus>, ApiError> {
    let id = DeleteId(id);
    let row = state.store.delete(&tenant, &id).await?.ok_or_else(|| {
        let message = format!("there is no delete {:?}", id.0);
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })?;
    Ok(Json(row.into()))
}

pub(crate) fn rfc3339(t_ns: i64) -> String {
    let mut text = Vec::new();
    time::format_rfc3339(t_ns, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
