//! [`Catalog`] in SQL; the statements are in the modules below, by subject.
//!
//! A transaction that changes what readers see begins with [`changes::begin`]: it takes the next version, and with it the lock
//! on the one row of `catalog_state`, so that such transactions happen one after the other in both databases.

mod access;
pub(crate) mod changes;
mod convert;
mod deletes;
mod fleet;
mod idempotency;
pub(crate) mod segments;

use std::time::Duration;

use async_trait::async_trait;
use logmill_model::TenantId;

use crate::sql::{Backend, Connections, Fields, database, values};
use crate::{
    Catalog, Changes, DeleteId, DeleteRow, FlushCommit, IdempotencyRow, JobRun, Lease, LeaseRow,
    Member, Replacement, Result, SegmentId, SegmentRow,
};

/// A [`Catalog`] in a SQL database.
#[derive(Debug)]
pub struct SqlCatalog<B: Backend> {
    connections: Connections<B>,
}

impl<B: Backend> SqlCatalog<B> {
    pub(crate) fn new(connections: Connections<B>) -> Self {
        Self { connections }
    }

    pub(crate) fn connections(&self) -> &Connections<B> {
        &self.connections
    }
}

#[async_trait]
impl<B: Backend> Catalog for SqlCatalog<B> {
    async fn watermark(&self, partition: &str) -> Result<u64> {
        segments::watermark(&self.connections, partition).await
    }

    async fn watermarks(&self) -> Result<Vec<(String, u64)>> {
        segments::watermarks(&self.connections).await
    }

    async fn segments(&self) -> Result<Vec<SegmentRow>> {
        segments::all(&self.connections).await
    }

    async fn commit_flush(&self, commit: FlushCommit) -> Result<()> {
        let mut transaction = self.connections.begin().await?;
        segments::commit_flush(&mut transaction, &commit).await?;
        transaction.commit("committing a flush").await
    }

    async fn remove_segments(
        &self,
        ids: &[SegmentId],
        now_ns: i64,
        keep_objects: bool,
    ) -> Result<u64> {
        let mut transaction = self.connections.begin().await?;
        let version = changes::begin(&mut transaction).await?;
        let mut removed = 0;
        for id in ids {
            removed += segments::remove(&mut transaction, version, id, keep_objects).await?;
        }
        deletes::finish(&mut transaction, now_ns).await?;
        changes::prune(&mut transaction).await?;
        transaction.commit("removing segments").await?;
        Ok(removed)
    }

    async fn replace_segments(&self, replacement: Replacement) -> Result<()> {
        let mut transaction = self.connections.begin().await?;
        segments::replace(&mut transaction, &replacement).await?;
        transaction.commit("replacing segments").await
    }

    async fn version(&self) -> Result<u64> {
        changes::version(&self.connections).await
    }

    async fn changes(&self, since: u64) -> Result<Changes> {
        changes::since(&self.connections, since).await
    }

    async fn obsolete_objects(&self, older_than: Duration) -> Result<Vec<String>> {
        segments::obsolete_objects(&self.connections, older_than).await
    }

    async fn forget_objects(&self, paths: &[String]) -> Result<()> {
        segments::forget_objects(&self.connections, paths).await
    }

    async fn begin_delete(&self, delete: DeleteRow, segments: &[SegmentId]) -> Result<()> {
        let mut transaction = self.connections.begin().await?;
        deletes::begin(&mut transaction, &delete, segments).await?;
        transaction.commit("keeping a delete").await
    }

    async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>> {
        deletes::all(&self.connections, tenant).await
    }

    async fn delete(&self, tenant: &TenantId, id: &DeleteId) -> Result<Option<DeleteRow>> {
        deletes::one(&self.connections, tenant, id).await
    }

    async fn expire_deletes(&self, before_ns: i64) -> Result<u64> {
        deletes::expire(&self.connections, before_ns).await
    }

    async fn pending_deletes(&self) -> Result<Vec<(SegmentId, DeleteId)>> {
        deletes::pending(&self.connections).await
    }

    async fn idempotency_since(&self, since_ns: i64) -> Result<Vec<IdempotencyRow>> {
        idempotency::since(&self.connections, since_ns).await
    }

    async fn expire_idempotency(&self, before_ns: i64) -> Result<u64> {
        idempotency::expire(&self.connections, before_ns).await
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
        fleet::lease(&self.connections, name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &str, epoch: u64) -> Result<bool> {
        fleet::release(&self.connections, name, holder, epoch).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRow>> {
        fleet::leases(&self.connections, prefix).await
    }

    async fn heartbeat(
        &self,
        member_id: &str,
        role: &str,
        description: &str,
        ttl: Duration,
    ) -> Result<Vec<Member>> {
        fleet::heartbeat(&self.connections, member_id, role, description, ttl).await
    }

    async fn leave(&self, member_id: &str) -> Result<()> {
        fleet::leave(&self.connections, member_id).await
    }

    async fn record_job(&self, run: JobRun) -> Result<()> {
        fleet::record_job(&self.connections, &run).await
    }

    async fn job_runs(&self) -> Result<Vec<JobRun>> {
        fleet::job_runs(&self.connections).await
    }

    async fn setting(&self, name: &str, initial: &[u8]) -> Result<Vec<u8>> {
        let operation = "reading a setting";
        let mut transaction = self.connections.begin().await?;
        let insert = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        transaction
            .execute(operation, insert, values![name, initial])
            .await?;
        let select = "SELECT value FROM settings WHERE name = $1";
        let rows = transaction.fetch(operation, select, values![name]).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound);
        let value = row
            .and_then(|row| row.bytes("value"))
            .map_err(database(operation))?;
        transaction.commit(operation).await?;
        Ok(value)
    }

    async fn tenants(&self) -> Result<Vec<TenantId>> {
        segments::tenants(&self.connections).await
    }

    async fn ping(&self) -> Result<()> {
        self.connections
            .execute("pinging", "SELECT 1", &[])
            .await
            .map(|_rows| ())
    }
}
