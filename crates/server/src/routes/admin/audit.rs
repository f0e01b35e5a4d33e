//! `/admin/audit`: who did what.

use axum::Json;
use axum::extract::State;
use http::Uri;
use logmill_catalog::{AuditFilter, AuditRow};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::rfc3339;
use crate::AppState;
use crate::auth::Administrator;
use crate::error::{ApiError, ErrorBody};
use crate::routes::selection;

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
struct AuditStatus {
    /// Later entries have larger ones.
    #[schema(example = 4_711)]
    id: i64,
    at: String,
    /// `key:<id>`, `jwt:<subject>`, `command line` or `anonymous`.
    #[schema(example = "key:4bT9kQz0aXw2")]
    actor: String,
    /// Whose data or settings it was about, if one tenant's.
    tenant: Option<String>,
    #[schema(example = "key.revoke")]
    action: String,
    /// To what.
    target: String,
    #[schema(value_type = Object)]
    detail: Value,
    remote_address: Option<String>,
    request_id: Option<String>,
    /// `ok`, the code of the error, or `broken_off` where the client went away before it was done.
    #[schema(example = "ok")]
    outcome: String,
}

impl From<AuditRow> for AuditStatus {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, entry } = row;
        Self {
            id,
            at: rfc3339(entry.at_ns),
            actor: entry.actor,
            tenant: entry.tenant.map(|tenant| tenant.to_string()),
            action: entry.action,
            target: entry.target,
            detail: entry.detail,
            remote_address: entry.remote_address,
            request_id: entry.request_id,
            outcome: entry.outcome,
        }
    }
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditAnswer {
    /// Newest first.
    entries: Vec<AuditStatus>,
    /// Pass it as `before` for the next page; null on the last one.
    next_before: Option<i64>,
}

const LIMIT_MAX: u32 = 1_000;
const PARAMETERS: &str = "actor, action, from, to, before, limit";

/// Read the audit log.
#[utoipa::path(
    get,
    path = "/admin/audit",
    tag = "access",
    params(
        ("X-Tenant-ID" = Option<String>, Header, description = "About whom; without it all that the credential may see"),
        ("actor" = Option<String>, Query, example = "key:4bT9kQz0aXw2"),
        ("action" = Option<String>, Query, example = "key.revoke"),
        ("from" = Option<String>, Query, example = "-24h"),
        ("to" = Option<String>, Query, example = "now"),
        ("before" = Option<i64>, Query, description = "`next_before` of the page before"),
        ("limit" = Option<u32>, Query, description = "100 without it, at most 1000", example = 100),
    ),
    responses(
        (status = 200, description = "A page", body = AuditAnswer),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
    )
)]
pub(crate) async fn audit(
    State(state): State<AppState>,
    Administrator { tenant, .. }: Administrator,
    uri: Uri,
) -> Result<Json<AuditAnswer>, ApiError> {
    let filter = filter(uri.query().unwrap_or_default(), state.clock.now_ns())?;
    let filter = AuditFilter { tenant, ..filter };
    let rows = state.auth.access.audit(&filter).await?;
    let full = rows.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    Ok(Json(AuditAnswer {
        next_before: rows.last().filter(|_| full).map(|row| row.id),
        entries: rows.into_iter().map(AuditStatus::from).collect(),
    }))
}

fn filter(parameters: &str, now_ns: i64) -> Result<AuditFilter, ApiError> {
    let mut filter = AuditFilter::default();
    let wrong = |message: String| ApiError::bad_request("invalid_parameter", message);
    for (name, value) in url::form_urlencoded::parse(parameters.as_bytes()) {
        let instant = || {
            let value = Value::String(value.to_string());
            selection::instant(&name, Some(&value), now_ns)
        };
        match &*name {
            "actor" => filter.actor = Some(value.into_owned()),
            "action" => filter.action = Some(value.into_owned()),
            "from" => filter.from_ns = instant()?.unwrap_or(i64::MIN),
            "to" => filter.to_ns = instant()?.unwrap_or(i64::MAX),
            "before" => filter.before_id = Some(selection::number("before", &value)?),
            "limit" => {
                filter.limit = selection::number("limit", &value)?;
                if !(1..=LIMIT_MAX).contains(&filter.limit) {
                    return Err(wrong(format!("limit is 1 to {LIMIT_MAX}")));
                }
            }
            _ => {
                return Err(wrong(format!(
                    "there is no parameter {name:?}: use {PARAMETERS}"
                )));
            }
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_understood_or_refused() {
        let now_ns = 10_000_000_000;
        let found = filter("actor=key%3Ax&from=now-1s&limit=5&before=9", now_ns).unwrap();
        assert_eq!(found.actor.as_deref(), Some("key:x"));
        assert_eq!((found.from_ns, found.to_ns), (9_000_000_000, i64::MAX));
        assert_eq!((found.limit, found.before_id), (5, Some(9)));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=x",
            "from=yesterday",
            "who=me",
        ] {
            assert!(filter(wrong, now_ns).is_err(), "{wrong}");
        }
    }
}
