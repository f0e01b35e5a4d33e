//! Checking credentials: keys against the catalog, tokens against their issuer's keys.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use logmill_catalog::{ApiKey, KeyId, KeyRow, KeyState, TenantRow};
use logmill_model::{ErrorKind, TenantId};
use parking_lot::Mutex;
use serde_json::json;

use super::cache::Cache;
use super::credential::{Credential, Malformed};
use super::failures::Failures;
use super::jwt::{JwtVerifier, TokenError};
use super::principal::{Caller, Principal, Tenants};
use super::{Auth, AuthOptions};
use crate::error::{ApiError, status_of};
use crate::options::size;

/// What credentials are checked with.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) keys: Cache<KeyId, Arc<KnownKey>>,
    pub(super) tenants: Cache<TenantId, Arc<TenantRow>>,
    failures: Failures,
    jwt: Option<JwtVerifier>,
    /// Keys that were used since that was last written, and when.
    used: Mutex<HashMap<KeyId, i64>>,
}

/// A key, and whom it stands for.
#[derive(Debug)]
pub(super) struct KnownKey {
    row: KeyRow,
    principal: Arc<Principal>,
}

/// Why a request is not let in.
enum Refusal {
    /// It shows nothing.
    Missing,
    /// What it shows is not accepted: why, for the log alone.
    Credential { reason: Reason, detail: String },
    /// Its address failed too often.
    Wait,
    /// It cannot be told now.
    Unavailable(ApiError),
}

/// Reasons by which failures are counted.
#[derive(Clone, Copy)]
enum Reason {
    Malformed,
    UnknownKey,
    WrongSecret,
    Expired,
    Revoked,
    Token,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::WrongSecret => "wrong_secret",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Token => "token",
        }
    }

    fn because(self, detail: impl Into<String>) -> Refusal {
        Refusal::Credential {
            reason: self,
            detail: detail.into(),
        }
    }
}

impl Checks {
    pub(super) async fn open(options: &AuthOptions) -> Result<Self, String> {
        let ttl = Duration::from_millis(options.cache_ttl_ms);
        let grace = Duration::from_millis(options.outage_grace_ms);
        let capacity = size(options.cache_max_entries);
        Ok(Self {
            keys: Cache::new(ttl, grace, capacity),
            tenants: Cache::new(ttl, grace, capacity),
            failures: Failures::new(options),
            jwt: JwtVerifier::open(&options.jwt).await?,
            used: Mutex::default(),
        })
    }

    /// Whom a credential stands for that somebody showed.
    pub(super) async fn principal(
        &self,
        auth: &Auth,
        shown: &Result<Option<Credential>, Malformed>,
        address: Option<IpAddr>,
    ) -> Result<Arc<Principal>, ApiError> {
        let wait = address.and_then(|address| self.failures.wait(address, Instant::now()));
        let refusal = match self.check(auth, shown, wait.is_some()).await {
            Ok(principal) => return Ok(principal),
            Err(refusal) => refusal,
        };
        match (refusal, wait) {
            (Refusal::Missing, _) => Err(unauthenticated()),
            (Refusal::Unavailable(error), _) => Err(error),
            (_, Some(wait)) => Err(too_many_failures(wait)),
            (Refusal::Wait, None) => Err(too_many_failures(Duration::ZERO)),
            (Refusal::Credential { reason, detail }, None) => {
                if let Some(address) = address {
                    self.failures.count(address, Instant::now());
                }
                note(auth, reason, &detail, address);
                Err(unauthenticated())
            }
        }
    }

    /// `waits`: the address failed too often. What can be told without a look into the catalog is told all the same, so
    /// that a client with a good key does not suffer from another behind the same address.
    async fn check(
        &self,
        auth: &Auth,
        shown: &Result<Option<Credential>, Malformed>,
        waits: bool,
    ) -> Result<Arc<Principal>, Refusal> {
        match shown {
            Err(Malformed) => Err(Reason::Malformed.because("neither a key nor a token")),
            Ok(None) => Err(Refusal::Missing),
            Ok(Some(Credential::Key(key))) => self.check_key(auth, key, waits).await,
            Ok(Some(Credential::Token(token))) => self.check_token(token).await,
        }
    }

    async fn check_key(
        &self,
        auth: &Auth,
        key: &ApiKey,
        waits: bool,
    ) -> Result<Arc<Principal>, Refusal> {
        let id = key.id();
        if waits && !self.keys.knows(&id) {
            return Err(Refusal::Wait);
        }
        let load = async {
            let row = auth.access.key(&id).await?;
            Ok(row.map(|row| Arc::new(KnownKey::from(row))))
        };
        let known = self.keys.get(&id, load).await;
        let known = known.map_err(|error| Refusal::Unavailable(error.into()))?;
        let known = known.ok_or_else(|| Reason::UnknownKey.because(id.to_string()))?;
        if !known.row.is_of(key) {
            return Err(Reason::WrongSecret.because(id.to_string()));
        }
        let now_ns = auth.clock.now_ns();
        match known.row.state(now_ns) {
            KeyState::Revoked => Err(Reason::Revoked.because(id.to_string())),
            KeyState::Expired => Err(Reason::Expired.because(id.to_string())),
            KeyState::Valid => {
                self.used.lock().insert(id, now_ns);
                Ok(known.principal.clone())
            }
        }
    }

    async fn check_token(&self, token: &str) -> Result<Arc<Principal>, Refusal> {
        let Some(jwt) = &self.jwt else {
            return Err(Reason::Token.because("tokens are not accepted: see auth.jwt"));
        };
        match jwt.verify(token).await {
            Ok(principal) => Ok(Arc::new(principal)),
            Err(error @ TokenError::NoJwks) => {
                tracing::warn!(%error, "a token cannot be checked");
                let message = "tokens cannot be checked now: send again shortly";
                let status = status_of(ErrorKind::Unavailable);
                Err(Refusal::Unavailable(ApiError::new(
                    status,
                    "unavailable",
                    message,
                )))
            }
            Err(error) => Err(Reason::Token.because(error.to_string())),
        }
    }

    /// The tenant's row, if requests may be for it.
    pub(super) async fn tenant(
        &self,
        auth: &Auth,
        tenant: &TenantId,
        caller: &Caller,
    ) -> Result<Arc<TenantRow>, ApiError> {
        let load = async {
            let row = auth.access.tenant(tenant).await?;
            Ok(row.map(Arc::new))
        };
        let Some(row) = self.tenants.get(tenant, load).await? else {
            // Who may see them all may know which there are.
            let status = if caller.is_of_all_tenants() {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::FORBIDDEN
            };
            let message = format!("there is no tenant {tenant}");
            return Err(ApiError::new(status, "unknown_tenant", message));
        };
        if row.disabled_at_ns.is_some() {
            let message = format!("the tenant {tenant} is disabled");
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "tenant_disabled",
                message,
            ));
        }
        Ok(row)
    }

    pub(super) async fn refresh_tokens_keys(&self) {
        if let Some(jwt) = &self.jwt {
            jwt.refresh_if_due().await;
        }
    }

    pub(super) fn take_used(&self) -> Vec<(KeyId, i64)> {
        std::mem::take(&mut *self.used.lock()).into_iter().collect()
    }
}

impl From<KeyRow> for KnownKey {
    fn from(row: KeyRow) -> Self {
        let principal = Arc::new(Principal {
            actor: format!("key:{}", row.id),
            scopes: row.scopes,
            tenants: Tenants::from(&row.reach),
        });
        Self { row, principal }
    }
}

/// The same whatever is wrong: who tries keys learns nothing from the answer.
fn unauthenticated() -> ApiError {
    let message = "this takes an API key or a token that is good, as Authorization: Bearer …";
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
}

fn too_many_failures(wait: Duration) -> ApiError {
    let message = "too many requests from this address had credentials that are not good: wait before the next";
    let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", message);
    error.retry_after_seconds = Some(wait.as_secs_f64().ceil().max(1.0) as u64);
    error
}

fn note(auth: &Auth, reason: Reason, detail: &str, address: Option<IpAddr>) {
    let reason = reason.as_str();
    metrics::counter!("logmill_auth_failures_total", "reason" => reason).increment(1);
    let from = address.map(|address| address.to_string());
    tracing::warn!(reason, detail, from, "a credential is not accepted");
    let caller = Caller {
        principal: None,
        address,
    };
    auth.audit.later(auth.audit.entry(
        &caller,
        "authenticate",
        None,
        detail,
        json!({"reason": reason}),
        "unauthenticated",
    ));
}
