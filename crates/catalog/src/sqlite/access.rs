//! Tenants, keys and the audit log in SQLite.

use async_trait::async_trait;
use logmill_model::TenantId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteCatalog, corrupt, database, signed, tenant, unsigned};
use crate::{
    Access, AuditEntry, AuditFilter, AuditRow, Error, KeyId, KeyRow, Result, RetentionOverride,
    TenantRow,
};

#[async_trait]
impl Access for SqliteCatalog {
    async fn create_tenant(&self, row: &TenantRow) -> Result<()> {
        let insert = "INSERT INTO tenants (name, created_at_ns, disabled_at_ns, retention_max_age_ms, \
                      retention_max_bytes, quotas) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let done = sqlx::query(insert)
            .bind(row.id.as_str())
            .bind(row.created_at_ns)
            .bind(row.disabled_at_ns)
            .bind(bound(row, row.retention.max_age_ms)?)
            .bind(bound(row, row.retention.max_bytes)?)
            .bind(quotas(row)?)
            .execute(&self.pool)
            .await
            .map_err(database("making a tenant"))?;
        if done.rows_affected() == 0 {
            return Err(Error::TenantExists(row.id.clone()));
        }
        Ok(())
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRow>> {
        let row = sqlx::query("SELECT * FROM tenants WHERE name = ?")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(database("reading a tenant"))?;
        row.as_ref().map(tenant_row).transpose()
    }

    async fn list_tenants(&self) -> Result<Vec<TenantRow>> {
        let rows = sqlx::query("SELECT * FROM tenants ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(database("reading the tenants"))?;
        rows.iter().map(tenant_row).collect()
    }

    async fn update_tenant(&self, row: &TenantRow) -> Result<()> {
        let update = "UPDATE tenants SET disabled_at_ns = ?, retention_max_age_ms = ?, retention_max_bytes = ?, \
                      quotas = ? WHERE name = ?";
        let done = sqlx::query(update)
            .bind(row.disabled_at_ns)
            .bind(bound(row, row.retention.max_age_ms)?)
            .bind(bound(row, row.retention.max_bytes)?)
            .bind(quotas(row)?)
            .bind(row.id.as_str())
            .execute(&self.pool)
            .await
            .map_err(database("changing a tenant"))?;
        if done.rows_affected() == 0 {
            return Err(Error::UnknownTenant(row.id.clone()));
        }
        Ok(())
    }

    async fn insert_key(&self, key: &KeyRow) -> Result<()> {
        let insert = "INSERT INTO api_keys (id, hash, tenant, name, scopes, created_at_ns, expires_at_ns, \
                      last_used_at_ns, revoked_at_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(&key.id.0)
            .bind(&key.hash[..])
            .bind(key.reach.to_string())
            .bind(&key.name)
            .bind(key.scopes.to_string())
            .bind(key.created_at_ns)
            .bind(key.expires_at_ns)
            .bind(key.last_used_at_ns)
            .bind(key.revoked_at_ns)
            .execute(&self.pool)
            .await
            .map_err(database("keeping a key"))?;
        Ok(())
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRow>> {
        let row = sqlx::query("SELECT * FROM api_keys WHERE id = ?")
            .bind(&id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(database("reading a key"))?;
        row.as_ref().map(key_row).transpose()
    }

    async fn list_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<KeyRow>> {
        let select =
            "SELECT * FROM api_keys WHERE ?1 IS NULL OR tenant = ?1 ORDER BY created_at_ns, id";
        let rows = sqlx::query(select)
            .bind(tenant.map(TenantId::as_str))
            .fetch_all(&self.pool)
            .await
            .map_err(database("reading the keys"))?;
        rows.iter().map(key_row).collect()
    }

    async fn revoke_key(&self, id: &KeyId, now_ns: i64) -> Result<bool> {
        let update = "UPDATE api_keys SET revoked_at_ns = coalesce(revoked_at_ns, ?) WHERE id = ?";
        let done = sqlx::query(update)
            .bind(now_ns)
            .bind(&id.0)
            .execute(&self.pool)
            .await
            .map_err(database("revoking a key"))?;
        Ok(done.rows_affected() > 0)
    }

    async fn touch_keys(&self, used: &[(KeyId, i64)]) -> Result<()> {
        let operation = "remembering the use of keys";
        let update = "UPDATE api_keys SET last_used_at_ns = max(coalesce(last_used_at_ns, ?1), ?1) WHERE id = ?2";
        let mut transaction = self.begin().await?;
        for (id, at_ns) in used {
            sqlx::query(update)
                .bind(at_ns)
                .bind(&id.0)
                .execute(&mut *transaction)
                .await
                .map_err(database(operation))?;
        }
        transaction.commit().await.map_err(database(operation))
    }

    async fn append_audit(&self, entries: &[AuditEntry]) -> Result<()> {
        let operation = "writing the audit log";
        let insert = "INSERT INTO audit (at_ns, actor, tenant, action, target, detail, remote_address, request_id, \
                      outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let mut transaction = self.begin().await?;
        for entry in entries {
            sqlx::query(insert)
                .bind(entry.at_ns)
                .bind(&entry.actor)
                .bind(entry.tenant.as_ref().map(TenantId::as_str))
                .bind(&entry.action)
                .bind(&entry.target)
                .bind(entry.detail.to_string())
                .bind(&entry.remote_address)
                .bind(&entry.request_id)
                .bind(&entry.outcome)
                .execute(&mut *transaction)
                .await
                .map_err(database(operation))?;
        }
        transaction.commit().await.map_err(database(operation))
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        let select = "SELECT * FROM audit WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR actor = ?2) \
                      AND (?3 IS NULL OR action = ?3) AND at_ns >= ?4 AND at_ns < ?5 AND id < ?6 \
                      ORDER BY id DESC LIMIT ?7";
        let rows = sqlx::query(select)
            .bind(filter.tenant.as_ref().map(TenantId::as_str))
            .bind(&filter.actor)
            .bind(&filter.action)
            .bind(filter.from_ns)
            .bind(filter.to_ns)
            .bind(filter.before_id.unwrap_or(i64::MAX))
            .bind(i64::from(filter.limit))
            .fetch_all(&self.pool)
            .await
            .map_err(database("reading the audit log"))?;
        rows.iter().map(audit_row).collect()
    }

    async fn trim_audit(&self, before_ns: i64, keep_rows: u64) -> Result<u64> {
        let keep = i64::try_from(keep_rows).unwrap_or(i64::MAX);
        let delete = "DELETE FROM audit WHERE at_ns < ?1 \
                      OR id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        let done = sqlx::query(delete)
            .bind(before_ns)
            .bind(keep)
            .execute(&self.pool)
            .await
            .map_err(database("trimming the audit log"))?;
        Ok(done.rows_affected())
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

fn tenant_row(row: &SqliteRow) -> Result<TenantRow> {
    let column = database("reading a tenant");
    let name: String = row.try_get("name").map_err(&column)?;
    let quotas: String = row.try_get("quotas").map_err(&column)?;
    let bound = |column_name: &str| -> Result<Option<u64>> {
        let value: Option<i64> = row.try_get(column_name).map_err(&column)?;
        value
            .map(|value| unsigned("tenants", &name, value))
            .transpose()
    };
    Ok(TenantRow {
        id: tenant("tenants", &name, &name)?,
        created_at_ns: row.try_get("created_at_ns").map_err(&column)?,
        disabled_at_ns: row.try_get("disabled_at_ns").map_err(&column)?,
        retention: RetentionOverride {
            max_age_ms: bound("retention_max_age_ms")?,
            max_bytes: bound("retention_max_bytes")?,
        },
        quotas: serde_json::from_str(&quotas)
            .map_err(|error| corrupt("tenants", &name, &format!("quotas: {error}")))?,
    })
}

fn key_row(row: &SqliteRow) -> Result<KeyRow> {
    let column = database("reading a key");
    let id: String = row.try_get("id").map_err(&column)?;
    let hash: Vec<u8> = row.try_get("hash").map_err(&column)?;
    let reach: String = row.try_get("tenant").map_err(&column)?;
    let scopes: String = row.try_get("scopes").map_err(&column)?;
    let wrong = |detail: String| corrupt("api_keys", &id, &detail);
    Ok(KeyRow {
        hash: hash
            .try_into()
            .map_err(|_wrong_length| wrong("hash".to_owned()))?,
        reach: reach
            .parse()
            .map_err(|error| wrong(format!("tenant: {error}")))?,
        name: row.try_get("name").map_err(&column)?,
        scopes: scopes
            .parse()
            .map_err(|error| wrong(format!("scopes: {error}")))?,
        created_at_ns: row.try_get("created_at_ns").map_err(&column)?,
        expires_at_ns: row.try_get("expires_at_ns").map_err(&column)?,
        last_used_at_ns: row.try_get("last_used_at_ns").map_err(&column)?,
        revoked_at_ns: row.try_get("revoked_at_ns").map_err(&column)?,
        id: KeyId(id),
    })
}

fn audit_row(row: &SqliteRow) -> Result<AuditRow> {
    let column = database("reading the audit log");
    let id: i64 = row.try_get("id").map_err(&column)?;
    let about: Option<String> = row.try_get("tenant").map_err(&column)?;
    let detail: String = row.try_get("detail").map_err(&column)?;
    Ok(AuditRow {
        id,
        entry: AuditEntry {
            at_ns: row.try_get("at_ns").map_err(&column)?,
            actor: row.try_get("actor").map_err(&column)?,
            tenant: about
                .map(|name| tenant("audit", &id.to_string(), &name))
                .transpose()?,
            action: row.try_get("action").map_err(&column)?,
            target: row.try_get("target").map_err(&column)?,
            detail: serde_json::from_str(&detail)
                .map_err(|error| corrupt("audit", &id.to_string(), &format!("detail: {error}")))?,
            remote_address: row.try_get("remote_address").map_err(&column)?,
            request_id: row.try_get("request_id").map_err(&column)?,
            outcome: row.try_get("outcome").map_err(&column)?,
        },
    })
}
