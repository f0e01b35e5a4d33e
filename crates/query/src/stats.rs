//! What a query took.

use std::sync::atomic::Ordering;
use std::time::Instant;

use logmill_query_api::QueryStats;

use crate::session::Session;

/// The statistics of a query that answered `rows_matched` rows so far.
pub(crate) fn stats(session: &Session, begun: Instant, rows_matched: u64) -> QueryStats {
    let counts = session.table.counts();
    QueryStats {
        elapsed_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        rows_matched,
        rows_scanned: counts.rows.load(Ordering::Relaxed),
        bytes_scanned: counts.bytes.load(Ordering::Relaxed),
        granules_read: counts.granules.load(Ordering::Relaxed),
        granules_total: session.table.granules_total(),
    }
}
