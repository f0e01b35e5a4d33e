//! Delete by query: records are gone from answers at once, and from the disk when compaction has rewritten their
//! segments.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use logmill_catalog::{DeleteId, DeleteRow};
use logmill_model::{TenantId, TimeRange};
use ulid::Ulid;

use crate::{Result, SegmentHandle, Store};

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
    /// For each row of `batch` whether the predicate holds; null is no. The error is a sentence for the log.
    fn matches(&self, predicate: &str, batch: &RecordBatch) -> Result<BooleanArray, String>;
}

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
        // Then they are all in segments, and records that come later are not.
        self.flush().await?;
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
        let now_ns = self.clock.now_ns();
        let row = DeleteRow {
            id: DeleteId(Ulid::generate().to_string()),
            tenant: tenant.clone(),
            predicate,
            requested_at_ns: now_ns,
            finished_at_ns: touched.is_empty().then_some(now_ns),
            segments: touched.len() as u64,
            segments_left: touched.len() as u64,
            rows_deleted: 0,
        };
        let ids: Vec<_> = touched
            .iter()
            .map(|segment| segment.row().id.clone())
            .collect();
        self.catalog.begin_delete(row.clone(), &ids).await?;
        let pending = Arc::new(PendingDelete {
            id: row.id.clone(),
            predicate: row.predicate.as_str().into(),
        });
        {
            // Readers see all of it or nothing.
            let _state = self.state.write();
            for segment in &touched {
                segment.add_delete(pending.clone());
            }
        }
        metrics::counter!("logmill_deletes_total").increment(1);
        tracing::info!(id = row.id.0, %tenant, segments = row.segments, "deleting by query");
        self.compaction_wanted.notify_one();
        Ok(row)
    }

    /// All deletes, or those of one tenant, oldest first.
    pub async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>> {
        let mut rows = self.catalog.deletes().await?;
        rows.retain(|row| tenant.is_none_or(|tenant| row.tenant == *tenant));
        Ok(rows)
    }
}
