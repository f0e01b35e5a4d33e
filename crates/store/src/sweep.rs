//! Objects that nobody knows any more: a flush or a merge failed after it had written them, or deleting them failed.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logmill_catalog::OBSOLETE_OBJECTS_MAX;
use rustc_hash::FxHashSet;

use crate::object_storage::finished;
use crate::{Result, Store};

const MILLISECOND_NS: i64 = 1_000_000;

impl Store {
    /// Deletes objects that the catalog does not know, nobody writes or reads, and that are older than
    /// [`orphan_min_age_ms`](crate::StoreOptions::orphan_min_age_ms); returns how many there were.
    pub async fn sweep_orphans(&self) -> Result<u64> {
        let mut min_age_ms = self.options.orphan_min_age_ms;
        let mut obsolete = FxHashSet::default();
        if let Some(fleet) = self.log.fleet() {
            // What other processes write is not known here, so it must be older than any write takes; and what they read
            // has its own time to go.
            min_age_ms = min_age_ms.max(fleet.options.obsolete_objects_ttl_ms);
            let paths = self.catalog.obsolete_objects(Duration::ZERO).await?;
            if paths.len() >= OBSOLETE_OBJECTS_MAX {
                tracing::info!("no sweep: too many obsolete objects are still to be deleted");
                return Ok(0);
            }
            obsolete.extend(paths);
        }
        let min_age_ms = i64::try_from(min_age_ms).unwrap_or(i64::MAX);
        let listed = self.objects.list().await?;
        let oldest_kept_ns = self
            .clock
            .now_ns()
            .saturating_sub(min_age_ms.saturating_mul(MILLISECOND_NS));
        // The order matters: who holds an object lets go of it only when the catalog knows it, or nobody will. So what
        // is not held now and not in the catalog afterwards is an orphan.
        let old = listed.into_iter().filter(|object| {
            object.modified_ns < oldest_kept_ns && !self.in_use.contains(finished(&object.path))
        });
        let old: Vec<_> = old.collect();
        if old.is_empty() {
            return Ok(0);
        }
        let known = self.catalog.segments().await?;
        let known = known.iter().map(|row| row.path.as_str());
        let known: FxHashSet<&str> = known.chain(obsolete.iter().map(String::as_str)).collect();
        let mut removed = 0;
        for object in old
            .iter()
            .filter(|object| !known.contains(object.path.as_str()))
        {
            tracing::info!(
                object.path,
                "deleting an object that the catalog does not know"
            );
            self.objects.delete(&object.path).await?;
            removed += 1;
            metrics::counter!("logmill_orphans_deleted_total").increment(1);
        }
        Ok(removed)
    }
}

/// Sweeps from time to time, until the store is gone.
pub(crate) async fn run_sweeper(store: Weak<Store>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = store.sweep_orphans().await {
            tracing::warn!(%error, "looking for orphans failed; it is tried again");
        }
    }
}
