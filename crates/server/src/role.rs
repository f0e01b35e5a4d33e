//! What a process of this role does not do is another's to answer.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use logmill_store::Role;

use crate::AppState;
use crate::error::ApiError;

/// Refuses requests that are for processes of another role.
pub(crate) async fn layer(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let role = state.store.role();
    match roles_for(request.uri().path()) {
        Some((does, roles)) if !does(role) => {
            let path = request.uri().path();
            let message = format!(
                "this process has the role {}: {path} is answered by processes of the roles {roles}",
                role.as_str()
            );
            Err(ApiError::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong_role",
                message,
            ))
        }
        _ => Ok(next.run(request).await),
    }
}

type Does = fn(Role) -> bool;

/// Which roles answer a path, where not all do.
fn roles_for(path: &str) -> Option<(Does, &'static str)> {
    let first = path.trim_start_matches('/').split('/').next();
    match first {
        Some("ingest" | "insert") => Some((Role::ingests, "api and all")),
        Some(
            "query" | "sql" | "histogram" | "facets" | "fields" | "context" | "patterns" | "tail"
            | "select",
        ) => Some((Role::answers, "query and all")),
        _ if path == "/admin/compact" => Some((Role::flushes, "worker and all")),
        _ => None,
    }
}
