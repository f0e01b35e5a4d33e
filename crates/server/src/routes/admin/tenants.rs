//! `/admin/tenants`: who may have records here, for how long, and how many.

use axum::Json;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use logmill_catalog::{Access, RetentionOverride, TenantQuotas, TenantRow};
use logmill_model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::rfc3339;
use crate::AppState;
use crate::auth::Operator;
use crate::error::{ApiError, ErrorBody};
use crate::routes::answer;

/// What can be changed of a tenant; what is absent is without a bound of its own.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSettings {
    /// Its requests are refused; its records stay.
    pub disabled: bool,
    /// How long its records are kept, instead of what the server's settings say.
    pub retention: Retention,
    /// Its bounds.
    pub quotas: Quotas,
}

/// A tenant's own retention.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Segments whose newest record is older are deleted; 0 keeps them for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 2_592_000_000_u64)]
    pub max_age_ms: Option<u64>,
    /// The oldest segments are deleted while all of the tenant's are longer; 0 means no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// A tenant's bounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Bytes of ingest bodies, as they arrive, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 10_000_000)]
    pub ingest_bytes_per_second: Option<u64>,
    /// Records a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_records_per_second: Option<u64>,
    /// Bytes of segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// Columns; further attributes share the overflow column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<u64>,
    /// Queries that run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_queries: Option<u64>,
}

/// A tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantStatus {
    /// Its name.
    #[schema(example = "acme")]
    pub name: String,
    /// When it was made.
    pub created_at: String,
    /// When it was disabled.
    pub disabled_at: Option<String>,
    /// How long its records are kept, instead of what the server's settings say.
    pub retention: Retention,
    /// Its bounds.
    pub quotas: Quotas,
}

impl TenantSettings {
    /// What they are now.
    pub fn of(row: &TenantRow) -> Self {
        let RetentionOverride {
            max_age_ms,
            max_bytes,
        } = row.retention;
        let quotas = row.quotas;
        Self {
            disabled: row.disabled_at_ns.is_some(),
            retention: Retention {
                max_age_ms,
                max_bytes,
            },
            quotas: Quotas {
                ingest_bytes_per_second: quotas.ingest_bytes_per_second,
                ingest_records_per_second: quotas.ingest_records_per_second,
                stored_bytes: quotas.stored_bytes,
                columns: quotas.columns,
                concurrent_queries: quotas.concurrent_queries,
            },
        }
    }

    /// Changes the row to them.
    pub fn apply(self, row: &mut TenantRow, now_ns: i64) {
        row.disabled_at_ns = self.disabled.then(|| row.disabled_at_ns.unwrap_or(now_ns));
        row.retention = RetentionOverride {
            max_age_ms: self.retention.max_age_ms,
            max_bytes: self.retention.max_bytes,
        };
        let quotas = self.quotas;
        row.quotas = TenantQuotas {
            ingest_bytes_per_second: quotas.ingest_bytes_per_second,
            ingest_records_per_second: quotas.ingest_records_per_second,
            stored_bytes: quotas.stored_bytes,
            columns: quotas.columns,
            concurrent_queries: quotas.concurrent_queries,
        };
    }

    /// They, changed as a JSON Merge Patch (RFC 7396) says: null takes a bound away. The error says what is wrong with it.
    pub fn patched(self, patch: &Value) -> Result<Self, String> {
        let mut settings = serde_json::to_value(self).map_err(|error| error.to_string())?;
        merge(&mut settings, patch);
        let objects = [&settings, &settings["retention"], &settings["quotas"]];
        if !objects.iter().all(|part| part.is_object()) {
            return Err("settings, retention and quotas are objects".to_owned());
        }
        serde_json::from_value(settings).map_err(|error| error.to_string())
    }
}

impl From<&TenantRow> for TenantStatus {
    fn from(row: &TenantRow) -> Self {
        let settings = TenantSettings::of(row);
        Self {
            name: row.id.to_string(),
            created_at: rfc3339(row.created_at_ns),
            disabled_at: row.disabled_at_ns.map(rfc3339),
            retention: settings.retention,
            quotas: settings.quotas,
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// All tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantsAnswer {
    /// By name.
    tenants: Vec<TenantStatus>,
}

/// List the tenants.
#[utoipa::path(
    get,
    path = "/admin/tenants",
    tag = "access",
    responses((status = 200, description = "All there are", body = TenantsAnswer))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    _: Operator,
) -> Result<Json<TenantsAnswer>, ApiError> {
    let rows = state.auth.access.list_tenants().await?;
    Ok(Json(TenantsAnswer {
        tenants: rows.iter().map(TenantStatus::from).collect(),
    }))
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateTenantBody {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`.
    #[schema(example = "acme")]
    name: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    quotas: Quotas,
}

/// Make a tenant.
#[utoipa::path(
    post,
    path = "/admin/tenants",
    tag = "access",
    request_body = CreateTenantBody,
    responses(
        (status = 201, description = "It is there", body = TenantStatus),
        (status = 400, description = "The body is not understood", body = ErrorBody),
        (status = 409, description = "There is one of this name", body = ErrorBody),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    Operator { caller }: Operator,
    request: Request,
) -> Result<(StatusCode, Json<TenantStatus>), ApiError> {
    let (parts, body) = request.into_parts();
    let body = answer::question::<CreateTenantBody>(&state, &parts.headers, body).await?;
    let id = parse_tenant(&body.name)?;
    let now_ns = state.clock.now_ns();
    let mut row = TenantRow::new(id.clone(), now_ns);
    let settings = TenantSettings {
        disabled: body.disabled,
        retention: body.retention,
        quotas: body.quotas,
    };
    settings.apply(&mut row, now_ns);
    let detail = json!(settings);
    let work = async { Ok(state.auth.access.create_tenant(&row).await?) };
    let audit = &state.auth.audit;
    audit
        .act(
            &caller,
            "tenant.create",
            Some(&id),
            id.as_str(),
            detail,
            work,
        )
        .await?;
    state.auth.forget_tenant(&id);
    Ok((StatusCode::CREATED, Json(TenantStatus::from(&row))))
}

/// Show a tenant.
#[utoipa::path(
    get,
    path = "/admin/tenants/{name}",
    tag = "access",
    params(("name" = String, Path, description = "The tenant")),
    responses(
        (status = 200, description = "The tenant", body = TenantStatus),
        (status = 404, description = "There is none of this name", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    _: Operator,
    Path(name): Path<String>,
) -> Result<Json<TenantStatus>, ApiError> {
    let row = find(state.auth.access.as_ref(), &name).await?;
    Ok(Json(TenantStatus::from(&row)))
}

/// Change a tenant.
///
/// The body is a JSON Merge Patch of its settings: what is not named stays, null takes a bound away.
#[utoipa::path(
    patch,
    path = "/admin/tenants/{name}",
    tag = "access",
    params(("name" = String, Path, description = "The tenant")),
    request_body = TenantSettings,
    responses(
        (status = 200, description = "The tenant as it is now", body = TenantStatus),
        (status = 400, description = "The body is not understood", body = ErrorBody),
        (status = 404, description = "There is none of this name", body = ErrorBody),
    )
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    Operator { caller }: Operator,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<TenantStatus>, ApiError> {
    let (parts, body) = request.into_parts();
    let patch = answer::question::<Value>(&state, &parts.headers, body).await?;
    let mut row = find(state.auth.access.as_ref(), &name).await?;
    let settings = TenantSettings::of(&row)
        .patched(&patch)
        .map_err(|error| ApiError::bad_request("invalid_body", error))?;
    settings.apply(&mut row, state.clock.now_ns());
    let work = async { Ok(state.auth.access.update_tenant(&row).await?) };
    let audit = &state.auth.audit;
    audit
        .act(
            &caller,
            "tenant.change",
            Some(&row.id),
            row.id.as_str(),
            patch,
            work,
        )
        .await?;
    state.auth.forget_tenant(&row.id);
    Ok(Json(TenantStatus::from(&row)))
}

async fn find(access: &dyn Access, name: &str) -> Result<TenantRow, ApiError> {
    let id = parse_tenant(name)?;
    let found = access.tenant(&id).await?;
    found.ok_or_else(|| logmill_catalog::Error::UnknownTenant(id).into())
}

pub(super) fn parse_tenant(name: &str) -> Result<TenantId, ApiError> {
    name.parse()
        .map_err(|error| ApiError::bad_request("invalid_tenant", format!("{name:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names() {
        let settings = TenantSettings {
            quotas: Quotas {
                columns: Some(7),
                stored_bytes: Some(9),
                ..Quotas::default()
            },
            ..TenantSettings::default()
        };
        let patch = json!({"quotas": {"columns": null, "concurrent_queries": 2}, "retention": {"max_age_ms": 0}});
        let changed = settings.patched(&patch).unwrap();
        let expected = json!({
            "disabled": false, "retention": {"max_age_ms": 0},
            "quotas": {"stored_bytes": 9, "concurrent_queries": 2},
        });
        assert_eq!(json!(changed), expected);
        for wrong in [
            json!({"quota": {}}),
            json!({"quotas": {"colums": 1}}),
            json!({"quotas": {"columns": -1}}),
            json!({"disabled": "yes"}),
            json!([]),
            json!({"quotas": []}),
            json!({"quotas": 7}),
            json!({"retention": null}),
        ] {
            assert!(settings.patched(&wrong).is_err(), "{wrong}");
        }
    }
}
