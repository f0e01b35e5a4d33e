//! Delete by query: records are gone from answers at once, and from the disk when compaction has rewritten their
//! segments.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use logmill_catalog::{DeleteId, DeleteRow, RowCondition};
use logmill_model::{ErrorKind, TenantId, TimeRange};
use logmill_schema::ColumnType;

use crate::{Error, Result, SegmentHandle, Store};

/// Times that a delete is begun anew because a segment it is about was merged meanwhile.
const DELETE_TRIES: u32 = 20;

/// A delete that is still to be applied to some segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDelete {
    /// Its name.
    pub id: DeleteId,
    /// The question whose records go, as JSON; the [`DeleteMatcher`] knows what it means.
    pub predicate: Arc<str>,
}

/// What tells which records a delete is about: the query engine.
pub trait DeleteMatcher: Send + Sync + std::fmt::Debug {
    /// Prepares a delete's predicate for batches of a segment that has these columns. The error is a sentence for the log.
    fn prepare(
        &self,
        predicate: &str,
        columns: &[(String, ColumnType)],
    ) -> Result<DeleteFilter, String>;

    /// What every row has to have that a delete is about, as far as the table can tell.
    fn narrow(&self, _predicate: &str) -> Result<RowCondition, String> {
        Ok(RowCondition::All(Vec::new()))
    }
}

/// For each row of a batch whether it is to be deleted; null is no. The error is a sentence for the log.
pub type DeleteFilter = Box<dyn Fn(&RecordBatch) -> Result<BooleanArray, String> + Send>;

impl Store {
    /// Says how deletes are understood; until then, segments with deletes are not compacted.
    pub fn set_delete_matcher(&self, matcher: Arc<dyn DeleteMatcher>) {
        // The first one stays.
        let _ = self.delete_matcher.set(matcher);
    }

    /// Deletes the tenant's records that were acknowledged so far, are in `range`, and of which `predicate` holds. When
    /// it returns, no new answer has them.
    pub async fn begin_delete(
        &self,
        tenant: &TenantId,
        predicate: String,
        range: TimeRange,
    ) -> Result<DeleteRow> {
        // Then the records are all in segments, and those that come later are not in these.
        match self.log.fleet() {
            Some(fleet) => {
                let partition = fleet.partition_of(tenant);
                self.flush_elsewhere(fleet, &[partition]).await?;
            }
            None => {
                self.reconcile_if_wanted().await?;
                self.flush().await?;
            }
        }
        if let Some(table) = &self.table {
            return self
                .delete_rows(table, tenant, predicate, range, true)
                .await;
        }
        for _ in 0..DELETE_TRIES {
            let _no_other_change = self.flush_state.lock().await;
            let touched: Vec<Arc<SegmentHandle>> = {
                let state = self.state.read();
                let touched = state.segments().filter(|segment| {
                    let row = segment.row();
                    row.tenant == *tenant
                        && range.overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
                });
                touched.cloned().collect()
            };
            match (
                self.attach_delete(tenant, predicate.clone(), &touched)
                    .await,
                self.log.fleet(),
            ) {
                (Err(Error::Catalog(error)), Some(fleet))
                    if error.kind() == ErrorKind::Conflict =>
                {
                    // A worker merged one of them meanwhile.
                    self.sync(fleet).await?;
                }
                (outcome, _) => return outcome,
            }
        }
        Err(Error::Internal(format!(
            "the segments to delete from were others {DELETE_TRIES} times in a row"
        )))
    }

    /// All deletes, or those of one tenant, oldest first.
    pub async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>> {
        Ok(self.catalog.deletes(tenant).await?)
    }

    /// The tenant's delete of this id; none where it is unknown or another tenant's.
    pub async fn delete(&self, tenant: &TenantId, id: &DeleteId) -> Result<Option<DeleteRow>> {
        Ok(self.catalog.delete(tenant, id).await?)
    }

    /// Forgets deletes that were finished longer ago than they are kept.
    pub(crate) async fn expire_deletes(&self) -> Result<()> {
        let ttl_ms = i64::try_from(self.options.finished_deletes_ttl_ms).unwrap_or(i64::MAX);
        let ttl_ns = ttl_ms.saturating_mul(1_000_000);
        let before_ns = self.clock.now_ns().saturating_sub(ttl_ns);
        self.catalog.expire_deletes(before_ns).await?;
        Ok(())
    }
}
