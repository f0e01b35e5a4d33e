//! Who asks, and what they may.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use logmill_catalog::{Reach, Scope, Scopes};
use logmill_model::TenantId;

use crate::error::ApiError;

/// Whom a credential stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// As the audit log names it: `key:<id>`, `jwt:<subject>`.
    pub(crate) actor: String,
    pub(crate) scopes: Scopes,
    pub(crate) tenants: Tenants,
}

/// The tenants a credential is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tenants {
    All,
    /// At least one.
    These(Vec<TenantId>),
}

impl From<&Reach> for Tenants {
    fn from(reach: &Reach) -> Self {
        match reach {
            Reach::All => Self::All,
            Reach::Tenant(tenant) => Self::These(vec![tenant.clone()]),
        }
    }
}

/// Who sent a request, and from where. Without authentication it is anybody, who may do everything.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Option<Arc<Principal>>,
    pub(crate) address: Option<IpAddr>,
}

impl Caller {
    /// As the audit log names it.
    pub(crate) fn actor(&self) -> &str {
        self.principal
            .as_ref()
            .map_or("anonymous", |principal| &principal.actor)
    }

    /// Whether it may do what concerns all tenants.
    pub(crate) fn is_of_all_tenants(&self) -> bool {
        self.principal
            .as_ref()
            .is_none_or(|principal| principal.tenants == Tenants::All)
    }

    /// Whether the tenant is one of its own.
    pub(crate) fn may_see(&self, tenant: &TenantId) -> bool {
        match self.principal.as_deref() {
            Some(Principal {
                tenants: Tenants::These(own),
                ..
            }) => own.contains(tenant),
            _ => true,
        }
    }
}

impl Principal {
    pub(crate) fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.scopes.contains(scope) {
            return Ok(());
        }
        Err(forbidden(format!(
            "this takes a credential with the scope {}",
            scope.as_str()
        )))
    }

    /// The tenant of a request that asked for `asked`, or for none.
    pub(crate) fn choose(&self, asked: Option<TenantId>) -> Result<TenantId, ApiError> {
        let default = TenantId::default_tenant();
        match (&self.tenants, asked) {
            (Tenants::All, asked) => Ok(asked.unwrap_or(default)),
            (Tenants::These(own), Some(asked)) if own.contains(&asked) => Ok(asked),
            (Tenants::These(_), Some(_)) => Err(forbidden("the credential is not for this tenant")),
            (Tenants::These(own), None) => match own.as_slice() {
                [only] => Ok(only.clone()),
                own if own.contains(&default) => Ok(default),
                _ => Err(ApiError::bad_request(
                    "invalid_tenant",
                    "the credential is for several tenants: say which (X-Tenant-ID; the database over the PostgreSQL protocol)",
                )),
            },
        }
    }
}

pub(crate) fn forbidden(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn chosen(own: &[&str], asked: Option<&str>) -> Result<String, &'static str> {
        let tenants = match own {
            ["*"] => Tenants::All,
            own => Tenants::These(own.iter().map(|name| tenant(name)).collect()),
        };
        let principal = Principal {
            actor: "key:x".to_owned(),
            scopes: Scopes::all(),
            tenants,
        };
        let chosen = principal.choose(asked.map(tenant));
        chosen
            .map(|tenant| tenant.to_string())
            .map_err(|error| error.code)
    }

    #[test]
    fn a_header_is_obeyed_where_the_credential_allows_it() {
        let ok = |name: &str| Ok(name.to_owned());
        assert_eq!(chosen(&["*"], None), ok("default"));
        assert_eq!(chosen(&["*"], Some("acme")), ok("acme"));
        assert_eq!(chosen(&["acme"], None), ok("acme"));
        assert_eq!(chosen(&["acme"], Some("acme")), ok("acme"));
        assert_eq!(chosen(&["acme"], Some("default")), Err("forbidden"));
        assert_eq!(chosen(&["acme", "beta"], Some("beta")), ok("beta"));
        assert_eq!(chosen(&["acme", "beta"], None), Err("invalid_tenant"));
        assert_eq!(chosen(&["acme", "default"], None), ok("default"));
    }
}
