//! Access by other protocols than HTTP: a credential is shown once, at the start of a long conversation, and checked again
//! with every question, so that a key that is revoked is refused as soon as over HTTP.

use std::net::IpAddr;

use logmill_catalog::Scope;
use logmill_model::TenantId;

use super::credential::{Credential, Malformed};
use super::{Auth, Caller};
use crate::error::ApiError;
use crate::quota::Place;

/// Whoever logged in.
#[derive(Debug)]
pub struct Login {
    shown: Result<Option<Credential>, Malformed>,
    address: IpAddr,
    tenant: Option<TenantId>,
}

/// What a question may do: whose records it sees, and its place among the queries of that tenant.
#[derive(Debug)]
pub struct Entry {
    /// Whose records.
    pub tenant: TenantId,
    /// Held until the answer is sent; none where the tenant has no such quota.
    pub place: Option<Place>,
}

/// An error as its receiver may see it; what is the server's own business is in its log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PublicError {
    /// Stable, for programs: as in the errors of HTTP.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl From<ApiError> for PublicError {
    fn from(error: ApiError) -> Self {
        Self {
            code: error.code,
            message: error.message,
        }
    }
}

impl From<logmill_query_api::Error> for PublicError {
    fn from(error: logmill_query_api::Error) -> Self {
        ApiError::from(error).into()
    }
}

impl Login {
    /// `password` is an API key or a token. `tenant`: the one that is asked for, if any is.
    pub fn new(password: &str, address: IpAddr, tenant: Option<TenantId>) -> Self {
        Self {
            shown: Credential::of_password(password),
            address,
            tenant,
        }
    }
}

impl Auth {
    /// Whether credentials are asked for.
    pub fn asks(&self) -> bool {
        self.is_required()
    }

    /// The tenant whose records `login` may read now.
    pub async fn admit(&self, login: &Login) -> Result<TenantId, PublicError> {
        Ok(self.authorize(login).await?.0)
    }

    /// The same for a question, with a place among the tenant's queries.
    pub async fn enter(&self, login: &Login) -> Result<Entry, PublicError> {
        let (tenant, row) = self.authorize(login).await?;
        let place = self.quotas.enter_query(row.as_deref()).await?;
        Ok(Entry { tenant, place })
    }

    async fn authorize(
        &self,
        login: &Login,
    ) -> Result<(TenantId, Option<std::sync::Arc<logmill_catalog::TenantRow>>), ApiError> {
        let asked = login.tenant.clone();
        let address = Some(login.address);
        let principal = match &self.checks {
            Some(checks) => Some(checks.principal(self, &login.shown, address).await?),
            None => None,
        };
        self.tenant_of(&Caller { principal, address }, Scope::Query, asked)
            .await
    }
}
