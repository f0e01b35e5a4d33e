//! What a query took, from the metrics of its plan.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use logmill_query_api::QueryStats;
use logmill_segment::GRANULE_ROWS;

use crate::session::Session;

/// Sums over the plans of a query.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bytes_scanned: u64,
    rows_pruned: u64,
}

impl Tally {
    /// Adds a plan that has run.
    pub(crate) fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(metrics) = plan.metrics() {
            for metric in metrics.iter() {
                let value = metric.value();
                match (value.name(), value) {
                    ("bytes_scanned", _) => self.bytes_scanned += value.as_usize() as u64,
                    (
                        "page_index_rows_pruned",
                        MetricValue::PruningMetrics {
                            pruning_metrics, ..
                        },
                    ) => {
                        self.rows_pruned += pruning_metrics.pruned() as u64;
                    }
                    _ => {}
                }
            }
        }
        for child in plan.children() {
            self.add(child);
        }
    }

    /// The statistics of a query that answered `rows_matched` rows.
    pub(crate) fn finish(
        &self,
        session: &Session,
        begun: Instant,
        rows_matched: u64,
    ) -> QueryStats {
        let rows = session.counts.rows.load(Ordering::Relaxed);
        let granules = session.counts.granules.load(Ordering::Relaxed);
        let granules_pruned = self.rows_pruned / GRANULE_ROWS as u64;
        QueryStats {
            elapsed_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            rows_matched,
            rows_scanned: rows.saturating_sub(self.rows_pruned),
            bytes_scanned: self.bytes_scanned,
            granules_read: granules.saturating_sub(granules_pruned),
            granules_total: session.granules_total,
        }
    }
}
