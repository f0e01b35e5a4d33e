//! The store's components and their lives.

use std::path::Path;
use std::sync::Arc;

use logmill_catalog::Catalog;
use logmill_model::{Clock, TenantId};
use object_store::ObjectStore;

use crate::{
    AppendRequest, Appended, ColumnAdmission, IdempotencyKey, IdempotencyOutcome, Result, Snapshot,
    StoreOptions,
};

/// State of one component, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentHealth {
    /// `wal`, `memtable`, `catalog`, `object_store`.
    pub name: &'static str,
    /// Why it does not work, if it does not.
    pub failure: Option<String>,
}

/// Counts of what the store holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes of records not yet in segments.
    pub memtable_bytes: u64,
    /// Records not yet in segments.
    pub memtable_rows: u64,
    /// Segments.
    pub segments: u64,
    /// Records in segments.
    pub segment_rows: u64,
    /// Bytes of segments.
    pub segment_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
}

/// The embedded storage engine of one process.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the store: reads the catalog, replays the log of `wal_directory` into the memtable, removes orphaned
    /// objects, starts the flush and retention tasks on the current tokio runtime.
    pub async fn open(
        options: StoreOptions,
        wal_directory: &Path,
        catalog: Arc<dyn Catalog>,
        objects: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let _ = (options, wal_directory, catalog, objects, clock);
        unimplemented!("helper")
    }

    /// The columns of a tenant, for the decoder.
    pub fn columns(&self, tenant: &TenantId) -> Result<ColumnAdmission> {
        let _ = tenant;
        unimplemented!("helper")
    }

    /// What is known of an idempotency key; waits while another request with the key is under way.
    pub async fn begin_idempotent(
        &self,
        tenant: &TenantId,
        key: IdempotencyKey,
    ) -> Result<IdempotencyOutcome> {
        let _ = (tenant, key);
        unimplemented!("helper")
    }

    /// Makes a batch durable and visible. On error nothing was stored, or (only when the log itself failed) it is
    /// unknown whether it was.
    pub async fn append(&self, request: AppendRequest) -> Result<Appended> {
        let _ = request;
        unimplemented!("helper")
    }

    /// What a reader of the tenant sees now; empty for an unknown tenant.
    pub fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        let _ = tenant;
        unimplemented!("helper")
    }

    /// The object store that the segments' paths are in.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        unimplemented!("helper")
    }

    /// Flushes what the memtable holds now; done when it is in segments.
    pub async fn flush(&self) -> Result<()> {
        unimplemented!("helper")
    }

    /// Applies retention now; returns how many segments were deleted.
    pub async fn apply_retention(&self) -> Result<u64> {
        unimplemented!("helper")
    }

    /// Each component's state.
    pub async fn health(&self) -> Vec<ComponentHealth> {
        unimplemented!("helper")
    }

    /// Counts.
    pub fn status(&self) -> StoreStatus {
        unimplemented!("helper")
    }

    /// Refuses appends, flushes, closes the log. What a failing flush leaves is still in the log.
    pub async fn shutdown(&self) -> Result<()> {
        unimplemented!("helper")
    }
}
