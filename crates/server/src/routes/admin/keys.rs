//! `/admin/keys`: API keys.

use axum::Json;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use logmill_catalog::{KeyId, KeyRow, NewKey, Reach, Scope, ScopeError, Scopes, issue_key};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::rfc3339;
use crate::AppState;
use crate::auth::{Administrator, forbidden};
use crate::error::{ApiError, ErrorBody};
use crate::routes::{answer, selection};

/// A key, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeyStatus {
    /// What the key is called in the audit log; its part between `lmk_` and the secret.
    #[schema(example = "4bT9kQz0aXw2")]
    pub id: String,
    /// What its owner calls it.
    #[schema(example = "collector of rack 7")]
    pub name: String,
    /// The tenant it is good for, or `*` for all.
    #[schema(example = "acme")]
    pub tenant: String,
    /// `ingest`, `query`, `admin`.
    pub scopes: Vec<&'static str>,
    /// When it was made.
    pub created_at: String,
    /// From when on it is refused.
    pub expires_at: Option<String>,
    /// When it was last used, give or take a minute.
    pub last_used_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
}

impl From<&KeyRow> for KeyStatus {
    fn from(row: &KeyRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            tenant: row.reach.to_string(),
            scopes: row.scopes.iter().map(Scope::as_str).collect(),
            created_at: rfc3339(row.created_at_ns),
            expires_at: row.expires_at_ns.map(rfc3339),
            last_used_at: row.last_used_at_ns.map(rfc3339),
            revoked_at: row.revoked_at_ns.map(rfc3339),
        }
    }
}

/// Keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeysAnswer {
    /// Oldest first; revoked and expired ones too.
    keys: Vec<KeyStatus>,
}

/// List keys.
#[utoipa::path(
    get,
    path = "/admin/keys",
    tag = "access",
    params(("X-Tenant-ID" = Option<String>, Header, description = "Whose; without it all that the credential may see")),
    responses((status = 200, description = "The keys, without their secrets", body = KeysAnswer))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Administrator { tenant, .. }: Administrator,
) -> Result<Json<KeysAnswer>, ApiError> {
    let rows = state.auth.access.list_keys(tenant.as_ref()).await?;
    Ok(Json(KeysAnswer {
        keys: rows.iter().map(KeyStatus::from).collect(),
    }))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKeyBody {
    /// What its owner calls it.
    #[schema(example = "collector of rack 7")]
    name: String,
    /// The tenant it is good for, or `*` for all; that of the request without it.
    #[schema(example = "acme")]
    tenant: Option<String>,
    /// `ingest`, `query`, `admin`; none contains another.
    #[schema(example = json!(["ingest"]))]
    scopes: Vec<String>,
    /// From when on it is refused; never without it.
    #[schema(value_type = Option<String>, example = "2027-11-01T00:00:00Z")]
    expires_at: Option<Value>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// The key itself. It is shown this once; only its hash is kept.
    #[schema(example = "lmk_4bT9kQz0aXw2_…")]
    key: String,
    #[serde(flatten)]
    status: KeyStatus,
}

/// Make a key.
#[utoipa::path(
    post,
    path = "/admin/keys",
    tag = "access",
    params(("X-Tenant-ID" = Option<String>, Header, description = "For whom, where the body does not say")),
    request_body = CreateKeyBody,
    responses(
        (status = 201, description = "The key, shown this once", body = CreatedKey),
        (status = 400, description = "The body is not understood", body = ErrorBody),
        (status = 404, description = "There is no such tenant", body = ErrorBody),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    Administrator { caller, tenant }: Administrator,
    request: Request,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    let (parts, body) = request.into_parts();
    let body = answer::question::<CreateKeyBody>(&state, &parts.headers, body).await?;
    let wrong = |problem: String| ApiError::bad_request("invalid_key", problem);
    let reach = match (&body.tenant, tenant) {
        (Some(name), _) => name
            .parse()
            .map_err(|error| ApiError::bad_request("invalid_tenant", format!("{error}")))?,
        (None, Some(tenant)) => Reach::Tenant(tenant),
        (None, None) => {
            return Err(wrong(
                "say for which tenant the key is, or * for all".to_owned(),
            ));
        }
    };
    let own = match &reach {
        Reach::All => caller.is_of_all_tenants(),
        Reach::Tenant(tenant) => caller.may_see(tenant),
    };
    if !own {
        return Err(forbidden("the credential is not for this tenant"));
    }
    let scopes: Result<Scopes, ScopeError> = body
        .scopes
        .iter()
        .map(|name| name.parse::<Scope>())
        .collect();
    let now_ns = state.clock.now_ns();
    let new = NewKey {
        name: body.name,
        scopes: scopes.map_err(|error| wrong(error.to_string()))?,
        expires_at_ns: selection::instant("expires_at", body.expires_at.as_ref(), now_ns)?,
        reach: reach.clone(),
    };
    let detail = json!({
        "name": new.name, "tenant": reach.to_string(), "scopes": new.scopes.to_string(),
        "expires_at": new.expires_at_ns.map(rfc3339),
    });
    let about = match &reach {
        Reach::All => None,
        Reach::Tenant(tenant) => Some(tenant),
    };
    let access = state.auth.access.clone();
    let work = async { Ok(issue_key(access.as_ref(), new, now_ns).await?) };
    let audit = &state.auth.audit;
    let (key, row) = audit
        .act_on_new(&caller, "key.create", about, detail, work, |(_, row)| {
            row.id.to_string()
        })
        .await?;
    let created = CreatedKey {
        key: key.reveal().to_owned(),
        status: KeyStatus::from(&row),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Show a key.
#[utoipa::path(
    get,
    path = "/admin/keys/{id}",
    tag = "access",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 200, description = "The key, without its secret", body = KeyStatus),
        (status = 404, description = "There is no such key, or it is not the tenant's", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    administrator: Administrator,
    Path(id): Path<String>,
) -> Result<Json<KeyStatus>, ApiError> {
    let row = find(&state, &administrator, id).await?;
    Ok(Json(KeyStatus::from(&row)))
}

/// Revoke a key.
///
/// It is refused at once by this process, and within five seconds by all others. It cannot be taken back.
#[utoipa::path(
    delete,
    path = "/admin/keys/{id}",
    tag = "access",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 200, description = "The key, revoked", body = KeyStatus),
        (status = 404, description = "There is no such key, or it is not the tenant's", body = ErrorBody),
    )
)]
pub(crate) async fn revoke(
    State(state): State<AppState>,
    administrator: Administrator,
    Path(id): Path<String>,
) -> Result<Json<KeyStatus>, ApiError> {
    let row = find(&state, &administrator, id).await?;
    let access = state.auth.access.clone();
    let work = async { Ok(access.revoke_key(&row.id, state.clock.now_ns()).await?) };
    let about = match &row.reach {
        Reach::All => None,
        Reach::Tenant(tenant) => Some(tenant),
    };
    let audit = &state.auth.audit;
    let caller = &administrator.caller;
    audit
        .act(
            caller,
            "key.revoke",
            about,
            &row.id.0,
            json!({"name": row.name}),
            work,
        )
        .await?;
    state.auth.forget_key(&row.id);
    let row = find(&state, &administrator, row.id.0).await?;
    Ok(Json(KeyStatus::from(&row)))
}

/// The key, if the request may see it; another tenant's is as if it were not there.
async fn find(
    state: &AppState,
    administrator: &Administrator,
    id: String,
) -> Result<KeyRow, ApiError> {
    let id = KeyId(id);
    let found = state.auth.access.key(&id).await?;
    let visible = |row: &KeyRow| match (&administrator.tenant, &row.reach) {
        (None, _) => true,
        (Some(tenant), Reach::Tenant(of)) => tenant == of,
        (Some(_), Reach::All) => false,
    };
    found.filter(visible).ok_or_else(|| {
        let message = format!("there is no key {:?}", id.0);
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })
}
