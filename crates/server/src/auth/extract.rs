//! What a route takes, as the types of its arguments.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use logmill_catalog::{Scope, TenantRow};
use logmill_model::TenantId;

use super::{Auth, Caller, forbidden};
use crate::AppState;
use crate::error::ApiError;

/// A scope as a type.
pub(crate) trait RequiredScope: Send {
    const SCOPE: Scope;
}

/// Records in.
pub(crate) struct Ingest;
/// Records out.
pub(crate) struct Query;
/// Administration of a tenant.
pub(crate) struct Admin;

impl RequiredScope for Ingest {
    const SCOPE: Scope = Scope::Ingest;
}

impl RequiredScope for Query {
    const SCOPE: Scope = Scope::Query;
}

impl RequiredScope for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// A request that may do what the scope `S` says, for one tenant: the credential's, or which of its tenants
/// `X-Tenant-ID` says.
pub(crate) struct Authorized<S> {
    pub(crate) tenant: TenantId,
    pub(crate) caller: Caller,
    /// The tenant as the catalog has it; none where nobody is asked for credentials.
    pub(crate) row: Option<Arc<TenantRow>>,
    scope: PhantomData<S>,
}

impl<S: RequiredScope> FromRequestParts<AppState> for Authorized<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let auth = &state.auth;
        let caller = auth.caller(parts).await?;
        let mut asked = asked_tenant(&parts.headers)?;
        if asked.is_none() && is_of_victorialogs(parts.uri.path()) {
            asked = account_tenant(&parts.headers)?;
        }
        let (tenant, row) = auth.tenant_of(&caller, S::SCOPE, asked).await?;
        logmill_telemetry::record_tenant(tenant.as_str());
        Ok(Self {
            tenant,
            caller,
            row,
            scope: PhantomData,
        })
    }
}

/// A request that may administer one tenant, or all of them: `tenant` is none where the credential is for all and the
/// request asks for none.
pub(crate) struct Administrator {
    pub(crate) caller: Caller,
    pub(crate) tenant: Option<TenantId>,
}

impl FromRequestParts<AppState> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = state.auth.caller(parts).await?;
        if caller.is_of_all_tenants() {
            Operator::from_request_parts(parts, state).await?;
            let tenant = asked_tenant(&parts.headers)?;
            return Ok(Self { caller, tenant });
        }
        let authorized = Authorized::<Admin>::from_request_parts(parts, state).await?;
        Ok(Self {
            caller,
            tenant: Some(authorized.tenant),
        })
    }
}

/// A request that may do what concerns all tenants: scope admin, for all of them.
pub(crate) struct Operator {
    pub(crate) caller: Caller,
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = state.auth.caller(parts).await?;
        if let Some(principal) = &caller.principal {
            principal.require(Scope::Admin)?;
            if !caller.is_of_all_tenants() {
                return Err(forbidden(
                    "this concerns all tenants: it takes a credential for all of them",
                ));
            }
        }
        Ok(Self { caller })
    }
}

/// Who may read metrics: an operator, or anybody where a setting says so.
pub(crate) struct MetricsReader;

impl FromRequestParts<AppState> for MetricsReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Auth { options, .. } = &*state.auth;
        if !options.open_metrics {
            Operator::from_request_parts(parts, state).await?;
        }
        Ok(Self)
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteAddress(pub(crate) IpAddr);

impl RemoteAddress {
    pub(crate) fn of(parts: &Parts) -> Option<IpAddr> {
        parts.extensions.get::<Self>().map(|address| address.0)
    }
}

const TENANT_HEADER: &str = "x-tenant-id";

/// The tenant that a request asks for.
fn asked_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let Some(value) = headers.get(TENANT_HEADER) else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(value.as_bytes());
    let tenant = name.parse();
    tenant.map(Some).map_err(|error| {
        ApiError::bad_request("invalid_tenant", format!("X-Tenant-ID {name:?}: {error}"))
    })
}

/// Whether a path is of VictoriaLogs' API, whose clients name tenants by two numbers.
fn is_of_victorialogs(path: &str) -> bool {
    path.starts_with("/select/") || path.starts_with("/insert/")
}

/// The tenant that the headers `AccountID` and `ProjectID` ask for: `12-34`. `0` and `0`, which clients send when
/// nobody chose, ask for none.
fn account_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, ApiError> {
    let number = |name: &str| {
        let Some(value) = headers.get(name) else {
            return Ok(0);
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        text.trim().parse::<u32>().map_err(|_no_number| {
            let message =
                format!("{name} {text:?} is no number of a tenant: it is 0 to 4294967295");
            ApiError::bad_request("invalid_tenant", message)
        })
    };
    match (number("accountid")?, number("projectid")?) {
        (0, 0) => Ok(None),
        (account, project) => Ok(format!("{account}-{project}").parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_are_a_tenant() {
        let asked = |account: Option<&'static str>, project: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("AccountID", account), ("ProjectID", project)] {
                if let Some(value) = value {
                    let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                    headers.insert(name, http::HeaderValue::from_static(value));
                }
            }
            account_tenant(&headers).map(|tenant| tenant.map(|tenant| tenant.to_string()))
        };
        assert_eq!(asked(None, None).unwrap(), None);
        assert_eq!(asked(Some("0"), Some("0")).unwrap(), None);
        assert_eq!(
            asked(Some("12"), Some("34")).unwrap(),
            Some("12-34".to_owned())
        );
        assert_eq!(asked(None, Some("7")).unwrap(), Some("0-7".to_owned()));
        for wrong in ["-1", "x", "4294967296", ""] {
            assert_eq!(
                asked(Some(wrong), None).unwrap_err().code,
                "invalid_tenant",
                "{wrong}"
            );
        }
    }
}
