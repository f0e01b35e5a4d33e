//! `/admin/…`: what operators do by hand.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::AppState;
use crate::error::{ApiError, ErrorBody};

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
pub(crate) async fn flush(State(state): State<AppState>) -> Result<Json<FlushAnswer>, ApiError> {
    state.store.flush().await?;
    let status = state.store.status();
    Ok(Json(FlushAnswer {
        segments: status.segments,
        segment_rows: status.segment_rows,
        segment_bytes: status.segment_bytes,
    }))
}
