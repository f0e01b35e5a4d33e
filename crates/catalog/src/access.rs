//! Who may do what: tenants, API keys, and the log of what was done with them.
//!
//! Invariant: a key's secret is nowhere but in the hands of who was given it; the catalog has its hash.

mod key;
mod scope;

use async_trait::async_trait;
use logmill_model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use key::{ApiKey, KeyId, KeyState};
pub use scope::{Reach, ReachError, Scope, ScopeError, Scopes};

use crate::{Error, Result};

/// A tenant: requests with credentials are for one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Its name.
    pub id: TenantId,
    /// When it was made.
    pub created_at_ns: i64,
    /// When it was disabled, if it is: its requests are refused, its records stay.
    pub disabled_at_ns: Option<i64>,
    /// Takes the place of the server's retention settings.
    pub retention: RetentionOverride,
    /// Its bounds.
    pub quotas: TenantQuotas,
}

impl TenantRow {
    /// A tenant as it is when it is new: enabled, without bounds of its own.
    pub fn new(id: TenantId, created_at_ns: i64) -> Self {
        Self {
            id,
            created_at_ns,
            disabled_at_ns: None,
            retention: RetentionOverride::default(),
            quotas: TenantQuotas::default(),
        }
    }
}

/// A tenant's own retention; what is absent is as the server's settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionOverride {
    /// Segments whose newest record is older are deleted, milliseconds; 0 keeps them for ever.
    pub max_age_ms: Option<u64>,
    /// The oldest segments are deleted while all of the tenant's are longer; 0 means no bound.
    pub max_bytes: Option<u64>,
}

/// A tenant's bounds; what is absent has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantQuotas {
    /// Bytes of ingest bodies, as they arrive, a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_bytes_per_second: Option<u64>,
    /// Accepted records a second.
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

/// An API key as the catalog keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The part of the key that names it.
    pub id: KeyId,
    /// [`ApiKey::hash`].
    pub hash: [u8; 32],
    /// For which tenants it is good.
    pub reach: Reach,
    /// What its owner calls it.
    pub name: String,
    /// For what it is good.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at_ns: i64,
    /// From when on it is refused.
    pub expires_at_ns: Option<i64>,
    /// When it was last seen to be used, give or take a minute.
    pub last_used_at_ns: Option<i64>,
    /// When it was revoked.
    pub revoked_at_ns: Option<i64>,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For which tenants; one that is named must exist.
    pub reach: Reach,
    /// What its owner calls it: 1 to [`NAME_MAX_BYTES`] bytes, no control characters.
    pub name: String,
    /// For what; at least one.
    pub scopes: Scopes,
    /// From when on it is refused.
    pub expires_at_ns: Option<i64>,
}

/// The longest name of a key.
pub const NAME_MAX_BYTES: usize = 128;

/// Something that was done, or tried.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// When.
    pub at_ns: i64,
    /// By whom: `key:<id>`, `jwt:<subject>`, `command line`, `anonymous`.
    pub actor: String,
    /// Whose data or settings it was about, if one tenant's.
    pub tenant: Option<TenantId>,
    /// What, such as `key.create`.
    pub action: String,
    /// To what, such as a key's id.
    pub target: String,
    /// The particulars.
    pub detail: Value,
    /// From where.
    pub remote_address: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// `ok`, or the code of the error.
    pub outcome: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// Its position: later ones have larger ids.
    pub id: i64,
    /// What happened.
    pub entry: AuditEntry,
}

/// Which entries of the audit log; all parts hold.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// About this tenant.
    pub tenant: Option<TenantId>,
    /// By this actor.
    pub actor: Option<String>,
    /// This action.
    pub action: Option<String>,
    /// Not before this.
    pub from_ns: i64,
    /// Before this.
    pub to_ns: i64,
    /// With smaller ids than this: the next page.
    pub before_id: Option<i64>,
    /// So many at most.
    pub limit: u32,
}

impl Default for AuditFilter {
    fn default() -> Self {
        Self {
            tenant: None,
            actor: None,
            action: None,
            from_ns: i64::MIN,
            to_ns: i64::MAX,
            before_id: None,
            limit: 100,
        }
    }
}

/// Tenants, keys and the audit log. Every implementation passes the same contract suite.
#[async_trait]
pub trait Access: Send + Sync + std::fmt::Debug {
    /// Keeps a tenant; [`Error::TenantExists`] where there is one of its name.
    async fn create_tenant(&self, tenant: &TenantRow) -> Result<()>;

    /// The tenant of this name.
    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRow>>;

    /// All tenants, ordered by name.
    async fn list_tenants(&self) -> Result<Vec<TenantRow>>;

    /// Puts the row in the place of the one of its name; [`Error::UnknownTenant`] where there is none.
    async fn update_tenant(&self, tenant: &TenantRow) -> Result<()>;

    /// Keeps a key.
    async fn insert_key(&self, key: &KeyRow) -> Result<()>;

    /// The key of this id, whatever its state.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>>;

    /// All keys, or those that are good for one tenant alone, oldest first.
    async fn list_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<KeyRow>>;

    /// Revokes a key; the first time counts. False where there is no such key.
    async fn revoke_key(&self, id: &KeyId, now_ns: i64) -> Result<bool>;

    /// Remembers when keys were used; a later time that is there already stays.
    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()>;

    /// Adds to the audit log, all or nothing.
    async fn append_audit(&self, entries: &[AuditEntry]) -> Result<()>;

    /// Entries of the audit log, newest first.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>>;

    /// Forgets entries older than `before_ns`, and the oldest of more than `keep_rows`; returns how many.
    async fn trim_audit(&self, before_ns: i64, keep_rows: u64) -> Result<u64>;
}

/// Makes a key and keeps it. The key is returned this once; nobody can read it again.
pub async fn issue_key(access: &dyn Access, new: NewKey, now_ns: i64) -> Result<(ApiKey, KeyRow)> {
    let name = &new.name;
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return Err(Error::InvalidKey(format!(
            "a key's name has 1 to {NAME_MAX_BYTES} bytes and no control characters"
        )));
    }
    if new.scopes.is_empty() {
        return Err(Error::InvalidKey(format!(
            "a key has at least one scope of {}",
            Scopes::all()
        )));
    }
    if new.expires_at_ns.is_some_and(|expires| expires <= now_ns) {
        return Err(Error::InvalidKey("a key expires in the future".to_owned()));
    }
    if let Reach::Tenant(tenant) = &new.reach
        && access.tenant(tenant).await?.is_none()
    {
        return Err(Error::UnknownTenant(tenant.clone()));
    }
    let key = ApiKey::generate();
    let row = KeyRow {
        id: key.id(),
        hash: key.hash(),
        reach: new.reach,
        name: new.name,
        scopes: new.scopes,
        created_at_ns: now_ns,
        expires_at_ns: new.expires_at_ns,
        last_used_at_ns: None,
        revoked_at_ns: None,
    };
    access.insert_key(&row).await?;
    Ok((key, row))
}
