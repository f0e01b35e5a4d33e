//! Tenants, keys and the audit log.

use async_trait::async_trait;
use logmill_model::TenantId;

use super::SqlCatalog;
use super::convert::{corrupt, signed, tenant, unsigned};
use crate::sql::{Backend, Fields, database, values};
use crate::{
    Access, AuditEntry, AuditFilter, AuditRow, Error, KeyId, KeyRow, Result, RetentionOverride,
    TenantRow,
};

#[async_trait]
impl<B: Backend> Access for SqlCatalog<B> {
    async fn create_tenant(&self, row: &TenantRow) -> Result<()> {
        let insert = "INSERT INTO tenants (name, created_at_ns, disabled_at_ns, retention_max_age_ms, \
                      retention_max_bytes, quotas) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let quotas = quotas(row)?;
        let values = values![
            row.id.as_str(),
            row.created_at_ns,
            row.disabled_at_ns,
            bound(row, row.retention.max_age_ms)?,
            bound(row, row.retention.max_bytes)?,
            &quotas,
        ];
        if self
            .connections
            .execute("making a tenant", insert, values)
            .await?
            == 0
        {
            return Err(Error::TenantExists(row.id.clone()));
        }
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRow>> {
        let select = "SELECT * FROM tenants WHERE name = $1";
        let values = values![id.as_str()];
        let rows = self
            .connections
            .fetch("reading a tenant", select, values)
            .await?;
        rows.first().map(tenant_row).transpose()
    }

    async fn list_tenants(&self) -> Result<Vec<TenantRow>> {
        let select = "SELECT * FROM tenants ORDER BY name";
        let rows = self
            .connections
            .fetch("reading the tenants", select, &[])
            .await?;
        rows.iter().map(tenant_row).collect()
    }

    async fn update_tenant(&self, row: &TenantRow) -> Result<()> {
        let update = "UPDATE tenants SET disabled_at_ns = $1, retention_max_age_ms = $2, retention_max_bytes = $3, \
                      quotas = $4 WHERE name = $5";
        let quotas = quotas(row)?;
        let values = values![
            row.disabled_at_ns,
            bound(row, row.retention.max_age_ms)?,
            bound(row, row.retention.max_bytes)?,
            &quotas,
            row.id.as_str(),
        ];
        if self
            .connections
            .execute("changing a tenant", update, values)
            .await?
            == 0
        {
            return Err(Error::UnknownTenant(row.id.clone()));
        }
        Ok(())
    }

    async fn insert_key(&self, key: &KeyRow) -> Result<()> {
        let insert = "INSERT INTO api_keys (id, hash, tenant, name, scopes, created_at_ns, expires_at_ns, \
                      last_used_at_ns, revoked_at_ns) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let (reach, scopes) = (key.reach.to_string(), key.scopes.to_string());
        let values = values![
            &key.id.0,
            &key.hash[..],
            &reach,
            &key.name,
            &scopes,
            key.created_at_ns,
            key.expires_at_ns,
            key.last_used_at_ns,
            key.revoked_at_ns,
        ];
        self.connections
            .execute("keeping a key", insert, values)
            .await?;
        Ok(())
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        let select = "SELECT * FROM api_keys WHERE id = $1";
        let values = values![&id.0];
        let rows = self
            .connections
            .fetch("reading a key", select, values)
            .await?;
        rows.first().map(key_row).transpose()
    }

    async fn list_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<KeyRow>> {
        let select =
            "SELECT * FROM api_keys WHERE $1 IS NULL OR tenant = $1 ORDER BY created_at_ns, id";
        let values = values![tenant.map(TenantId::as_str)];
        let rows = self
            .connections
            .fetch("reading the keys", select, values)
            .await?;
        rows.iter().map(key_row).collect()
    }

    async fn revoke_key(&self, id: &KeyId, now_ns: i64) -> Result<bool> {
        let update =
            "UPDATE api_keys SET revoked_at_ns = coalesce(revoked_at_ns, $1) WHERE id = $2";
        let values = values![now_ns, &id.0];
        Ok(self
            .connections
            .execute("revoking a key", update, values)
            .await?
            > 0)
    }

    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()> {
        let operation = "remembering the use of keys";
        // A later use may be there already.
        let update = "UPDATE api_keys SET last_used_at_ns = $1 \
                      WHERE id = $2 AND (last_used_at_ns IS NULL OR last_used_at_ns < $1)";
        // In one order, so that two processes do not wait for each other's rows.
        let mut used: Vec<_> = used.iter().collect();
        used.sort();
        let mut transaction = self.connections.begin().await?;
        for (id, at_ns) in used {
            transaction
                .execute(operation, update, values![*at_ns, &id.0])
                .await?;
        }
        transaction.commit(operation).await
    }

    async fn append_audit(&self, entries: &[AuditEntry]) -> Result<()> {
        let operation = "writing the audit log";
        let insert = "INSERT INTO audit (at_ns, actor, tenant, action, target, detail, remote_address, request_id, \
                      outcome) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let mut transaction = self.connections.begin().await?;
        for entry in entries {
            let detail = entry.detail.to_string();
            let values = values![
                entry.at_ns,
                &entry.actor,
                entry.tenant.as_ref().map(TenantId::as_str),
                &entry.action,
                &entry.target,
                &detail,
                entry.remote_address.as_deref(),
                entry.request_id.as_deref(),
                &entry.outcome,
            ];
            transaction.execute(operation, insert, values).await?;
        }
        transaction.commit(operation).await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        let select = "SELECT * FROM audit WHERE ($1 IS NULL OR tenant = $1) AND ($2 IS NULL OR actor = $2) \
                      AND ($3 IS NULL OR action = $3) AND at_ns >= $4 AND at_ns < $5 AND id < $6 \
                      ORDER BY id DESC LIMIT $7";
        let values = values![
            filter.tenant.as_ref().map(TenantId::as_str),
            filter.actor.as_deref(),
            filter.action.as_deref(),
            filter.from_ns,
            filter.to_ns,
            filter.before_id.unwrap_or(i64::MAX),
            i64::from(filter.limit),
        ];
        let rows = self
            .connections
            .fetch("reading the audit log", select, values)
            .await?;
        rows.iter().map(audit_row).collect()
    }

    async fn trim_audit(&self, before_ns: i64, keep_rows: u64) -> Result<u64> {
        let keep = i64::try_from(keep_rows).unwrap_or(i64::MAX);
        let delete = "DELETE FROM audit WHERE at_ns < $1 \
                      OR id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET $2)";
        let values = values![before_ns, keep];
        self.connections
            .execute("trimming the audit log", delete, values)
            .await
    }
}

fn bound(row: &TenantRow, value: Option<u64>) -> Result<Option<i64>> {
    value
        .map(|value| signed("tenants", row.id.as_str(), value))
        .transpose()
}

fn quotas(row: &TenantRow) -> Result<String> {
    serde_json::to_string(&row.quotas)
        .map_err(|error| corrupt("tenants", row.id.as_str(), &error.to_string()))
}

fn tenant_row(row: &impl Fields) -> Result<TenantRow> {
    let column = database("reading a tenant");
    let name = row.text("name").map_err(&column)?;
    let quotas = row.text("quotas").map_err(&column)?;
    let bound = |column_name: &str| -> Result<Option<u64>> {
        let value = row.optional_integer(column_name).map_err(&column)?;
        value
            .map(|value| unsigned("tenants", &name, value))
            .transpose()
    };
    Ok(TenantRow {
        id: tenant("tenants", &name, &name)?,
        created_at_ns: row.integer("created_at_ns").map_err(&column)?,
        disabled_at_ns: row.optional_integer("disabled_at_ns").map_err(&column)?,
        retention: RetentionOverride {
            max_age_ms: bound("retention_max_age_ms")?,
            max_bytes: bound("retention_max_bytes")?,
        },
        quotas: serde_json::from_str(&quotas)
            .map_err(|error| corrupt("tenants", &name, &format!("quotas: {error}")))?,
    })
}

fn key_row(row: &impl Fields) -> Result<KeyRow> {
    let column = database("reading a key");
    let id = row.text("id").map_err(&column)?;
    let hash = row.bytes("hash").map_err(&column)?;
    let reach = row.text("tenant").map_err(&column)?;
    let scopes = row.text("scopes").map_err(&column)?;
    let wrong = |detail: String| corrupt("api_keys", &id, &detail);
    Ok(KeyRow {
        hash: hash
            .try_into()
            .map_err(|_wrong_length| wrong("hash".to_owned()))?,
        reach: reach
            .parse()
            .map_err(|error| wrong(format!("tenant: {error}")))?,
        name: row.text("name").map_err(&column)?,
        scopes: scopes
            .parse()
            .map_err(|error| wrong(format!("scopes: {error}")))?,
        created_at_ns: row.integer("created_at_ns").map_err(&column)?,
        expires_at_ns: row.optional_integer("expires_at_ns").map_err(&column)?,
        last_used_at_ns: row.optional_integer("last_used_at_ns").map_err(&column)?,
        revoked_at_ns: row.optional_integer("revoked_at_ns").map_err(&column)?,
        id: KeyId(id),
    })
}

fn audit_row(row: &impl Fields) -> Result<AuditRow> {
    let column = database("reading the audit log");
    let id = row.integer("id").map_err(&column)?;
    let about = row.optional_text("tenant").map_err(&column)?;
    let detail = row.text("detail").map_err(&column)?;
    Ok(AuditRow {
        id,
        entry: AuditEntry {
            at_ns: row.integer("at_ns").map_err(&column)?,
            actor: row.text("actor").map_err(&column)?,
            tenant: about
                .map(|name| tenant("audit", &id.to_string(), &name))
                .transpose()?,
            action: row.text("action").map_err(&column)?,
            target: row.text("target").map_err(&column)?,
            detail: serde_json::from_str(&detail)
                .map_err(|error| corrupt("audit", &id.to_string(), &format!("detail: {error}")))?,
            remote_address: row.optional_text("remote_address").map_err(&column)?,
            request_id: row.optional_text("request_id").map_err(&column)?,
            outcome: row.text("outcome").map_err(&column)?,
        },
    })
}
