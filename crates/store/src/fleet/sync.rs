//! Memory follows the catalog.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use logmill_catalog::{Changes, PendingDeletes, SegmentId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::Fleet;
use crate::{PendingDelete, Result, SegmentHandle, Store};

impl Store {
    /// Takes over what changed in the catalog. Segments, and the records in memory that are in them now, change places
    /// under one lock.
    pub(crate) async fn sync(&self, fleet: &Fleet) -> Result<()> {
        let mut version = fleet.version.lock().await;
        let begun = Instant::now();
        let changes = self.catalog.changes(*version).await?;
        if changes.version != *version || changes.complete {
            *version = changes.version;
            self.take_over(changes);
        }
        *fleet.synced_at.lock() = begun;
        Ok(())
    }

    fn take_over(&self, changes: Changes) {
        let known: FxHashMap<SegmentId, Arc<SegmentHandle>> = {
            let state = self.state.read();
            let all = state.segments();
            all.map(|s| (s.row().id.clone(), s.clone())).collect()
        };
        let gone: Vec<Arc<SegmentHandle>> = if changes.complete {
            let there: FxHashSet<_> = changes.segments_added.iter().map(|row| &row.id).collect();
            let gone = known.iter().filter(|(id, _)| !there.contains(id));
            gone.map(|(_, segment)| segment.clone()).collect()
        } else {
            let gone = changes.segments_removed.iter();
            gone.filter_map(|id| known.get(id).cloned()).collect()
        };
        let new = changes.segments_added.into_iter();
        let new: Vec<Arc<SegmentHandle>> = new
            .filter(|row| !known.contains_key(&row.id))
            .map(|row| SegmentHandle::new(row, &self.in_use))
            .collect();
        if let Some(pending) = changes.pending_deletes {
            attach(pending, known.values().chain(&new));
        }
        let mut leaving = Vec::new();
        {
            let mut state = self.state.write();
            state.replace_segments(&gone, new);
            for (name, watermark) in &changes.watermarks {
                if let Ok(partition) = name.parse() {
                    leaving.push(state.let_go(partition, *watermark));
                }
            }
        }
        drop(leaving);
        self.plan_compaction();
        self.report();
    }
}

/// Tells every segment which deletes its readers have to apply.
fn attach<'a>(pending: PendingDeletes, segments: impl Iterator<Item = &'a Arc<SegmentHandle>>) {
    let deletes = pending.deletes.into_iter().map(|row| {
        let delete = PendingDelete {
            id: row.id.clone(),
            predicate: row.predicate.into(),
        };
        (row.id, Arc::new(delete))
    });
    let deletes: FxHashMap<_, _> = deletes.collect();
    let mut of_segment: FxHashMap<SegmentId, Vec<Arc<PendingDelete>>> = FxHashMap::default();
    for (segment, delete) in pending.segments {
        if let Some(delete) = deletes.get(&delete) {
            of_segment.entry(segment).or_default().push(delete.clone());
        }
    }
    for segment in segments {
        let deletes = of_segment.remove(&segment.row().id);
        segment.set_deletes(deletes.unwrap_or_default());
    }
}

/// Follows the catalog until the store is gone.
pub(super) async fn run_catalog_follower(store: Weak<Store>, fleet: Arc<Fleet>) {
    let interval = Duration::from_millis(fleet.options.sync_interval_ms.max(10));
    loop {
        tokio::time::sleep(interval).await;
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        let outcome = store.sync(&fleet).await;
        let failure = outcome.as_ref().err().map(ToString::to_string);
        if let Some(failure) = &failure
            && fleet.failures.lock().syncing.is_none()
        {
            tracing::warn!(
                error = failure,
                "following the catalog failed; it is tried again"
            );
        }
        let age = fleet.synced_at.lock().elapsed();
        metrics::gauge!("logmill_catalog_age_seconds").set(age.as_secs_f64());
        fleet.failures.lock().syncing = failure;
    }
}
