//! Whose request it is.

use axum::extract::FromRequestParts;
use http::request::Parts;
use logmill_model::TenantId;

use crate::error::ApiError;

const HEADER: &str = "x-tenant-id";

/// The tenant of a request: the header `X-Tenant-ID`, or the default one.
#[derive(Clone, Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl Tenant {
    fn of(tenant: TenantId) -> Self {
        logmill_telemetry::record_tenant(tenant.as_str());
        Self(tenant)
    }
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(HEADER) else {
            return Ok(Self::of(TenantId::default_tenant()));
        };
        let name = String::from_utf8_lossy(value.as_bytes());
        let tenant = name.parse();
        tenant.map(Self::of).map_err(|error| {
            ApiError::bad_request("invalid_tenant", format!("X-Tenant-ID {name:?}: {error}"))
        })
    }
}
