//! Who may do what: credentials, and for which tenants they are good.
//!
//! A route says what it takes by the type of an argument ([`Authorized`], [`Operator`]), and everything but a few open
//! routes is behind [`require_credential`]: what forgets to ask is closed, not open. A credential that is not accepted is
//! answered alike whatever is wrong with it; the log and the audit log say what.

mod audit;
mod cache;
mod checks;
mod credential;
mod extract;
mod failures;
mod jwt;
mod login;
mod options;
mod principal;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use logmill_catalog::{Access, Scope, TenantRow};
use logmill_model::{Clock, TenantId};

use crate::error::ApiError;
use crate::quota::{QuotaCounters, Quotas};

pub use self::login::{Entry, Login, PublicError};
pub use self::options::{AuthMode, AuthOptions, JwtOptions, Secret};

pub(crate) use self::audit::Audit;
use self::checks::Checks;
use self::credential::Credential;
pub(crate) use self::extract::{
    Admin, Administrator, Authorized, Ingest, MetricsReader, Operator, Query, RemoteAddress,
};
pub(crate) use self::principal::{Caller, forbidden};

/// Access to the server: tenants and keys, the audit log, and the checks of credentials where they are asked for.
#[derive(Debug)]
pub struct Auth {
    pub(crate) access: Arc<dyn Access>,
    pub(crate) audit: Audit,
    pub(crate) options: AuthOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quotas: Quotas,
    /// None where nobody is asked.
    checks: Option<Checks>,
}

/// How often lazily written things are written.
const TICK: Duration = Duration::from_secs(1);
/// How often the audit log is cut to its bounds.
const TRIM_INTERVAL: Duration = Duration::from_secs(600);

impl Auth {
    /// Reads what tokens are checked with. `counters` are those of the tenants' quotas. The error says which setting is
    /// wrong.
    pub async fn open(
        options: AuthOptions,
        access: Arc<dyn Access>,
        counters: Arc<dyn QuotaCounters>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, String> {
        options.check()?;
        let checks = match options.mode {
            AuthMode::None => None,
            AuthMode::Required => Some(Checks::open(&options).await?),
        };
        Ok(Arc::new(Self {
            audit: Audit::new(access.clone(), clock.clone()),
            access,
            options,
            clock,
            quotas: Quotas::new(counters),
            checks,
        }))
    }

    /// Whether credentials are asked for.
    pub(crate) fn is_required(&self) -> bool {
        self.checks.is_some()
    }

    /// Who sent the request; it is looked at once.
    pub(crate) async fn caller(&self, parts: &mut Parts) -> Result<Caller, ApiError> {
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(caller.clone());
        }
        let address = RemoteAddress::of(parts);
        let principal = match &self.checks {
            Some(checks) => {
                let shown = Credential::of(&parts.headers);
                Some(checks.principal(self, &shown, address).await?)
            }
            None => None,
        };
        let caller = Caller { principal, address };
        if self.is_required() {
            parts.extensions.insert(caller.clone());
        }
        Ok(caller)
    }

    /// The tenant of a caller who may do what the scope says, and its row: the credential's, or which of its tenants is
    /// asked for. There is no row where nobody is asked for credentials.
    async fn tenant_of(
        &self,
        caller: &Caller,
        scope: Scope,
        asked: Option<TenantId>,
    ) -> Result<(TenantId, Option<Arc<TenantRow>>), ApiError> {
        let (Some(principal), Some(checks)) = (&caller.principal, &self.checks) else {
            return Ok((asked.unwrap_or_else(TenantId::default_tenant), None));
        };
        principal.require(scope)?;
        let tenant = principal.choose(asked)?;
        let row = checks.tenant(self, &tenant, caller).await?;
        Ok((tenant, Some(row)))
    }

    /// A tenant or key was changed here: the change holds at once.
    pub(crate) fn forget_tenant(&self, tenant: &TenantId) {
        if let Some(checks) = &self.checks {
            checks.tenants.forget(tenant);
        }
    }

    /// See [`Auth::forget_tenant`].
    pub(crate) fn forget_key(&self, key: &logmill_catalog::KeyId) {
        if let Some(checks) = &self.checks {
            checks.keys.forget(key);
        }
    }

    /// Writes what is written lazily, reads a JWKS again, and cuts the audit log, for ever.
    pub(crate) async fn keep_up(&self) {
        let mut trimmed: Option<Instant> = None;
        let last_used_interval = Duration::from_millis(self.options.last_used_interval_ms);
        let mut touched = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            self.audit.write_waiting().await;
            if touched.elapsed() >= last_used_interval {
                touched = Instant::now();
                self.write_last_used().await;
            }
            if trimmed.is_none_or(|trimmed| trimmed.elapsed() >= TRIM_INTERVAL) {
                trimmed = Some(Instant::now());
                self.audit.trim(&self.options).await;
            }
            if let Some(checks) = &self.checks {
                checks.refresh_tokens_keys().await;
            }
        }
    }

    /// Writes what waits, before the process ends.
    pub(crate) async fn finish(&self) {
        self.audit.write_waiting().await;
        self.write_last_used().await;
    }

    async fn write_last_used(&self) {
        let Some(checks) = &self.checks else { return };
        let used = checks.take_used();
        if used.is_empty() {
            return;
        }
        if let Err(error) = self.access.touch_keys(&used).await {
            tracing::warn!(%error, "the last use of keys cannot be written; it is with their next use");
        }
    }
}

/// Lets only requests with an accepted credential through.
pub(crate) async fn require_credential(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    auth.caller(&mut parts).await?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}
