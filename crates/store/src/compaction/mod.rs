//! Compaction: small segments of a tenant and day become large ones, and deletes are carried out.
//!
//! Row groups that are large enough are taken over byte by byte, with their part of the token index; only small ones are
//! decoded and written anew. So a record is encoded once for its flush and at most a few times more, however often its
//! segment is merged. Readers keep the segments they began with; the catalog decides which are visible.

mod merge;
mod options;
mod plan;
mod upload;

pub use options::CompactionOptions;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use logmill_catalog::{Replacement, SegmentRow};
use logmill_model::ErrorKind;
use tokio::sync::Notify;
use ulid::Ulid;

use crate::flush::segment_row;
use crate::objects::segment_path;
use crate::{Result, SegmentHandle, Store, recovery, table};
use merge::{Merge, Merged};
use plan::{Job, Plan};

/// How often the compactor looks for work that nobody told it of.
const TICK: Duration = Duration::from_secs(1);
/// Pauses between tries after a failure: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

impl Store {
    /// Merges what is due, one merge after the other; returns how many there were.
    pub async fn compact(self: &Arc<Self>) -> Result<u64> {
        let mut done = 0;
        while !self.closed.load(Ordering::Acquire) && self.compact_once().await? {
            done += 1;
        }
        Ok(done)
    }

    /// Segments that wait to be merged or rewritten.
    pub(crate) fn plan_compaction(&self) -> Plan {
        let mut segments: Vec<_> = self.state.read().segments().cloned().collect();
        if let Some(fleet) = self.log.fleet() {
            let led = fleet.led();
            segments.retain(|s| led.contains_key(&fleet.partition_of(&s.row().tenant)));
        }
        let options = &self.options.compaction;
        let can_delete = self.delete_matcher.get().is_some();
        let plan = Plan::of(&segments, options, can_delete, self.clock.now_ns());
        let due = plan.job.as_ref().map_or(0, |job| job.inputs.len() as u64);
        self.compaction_debt.store(plan.debt, Ordering::Relaxed);
        self.compaction_pending
            .store(plan.debt.max(due), Ordering::Relaxed);
        plan
    }

    /// Does the most urgent merge; says whether there was one.
    async fn compact_once(self: &Arc<Self>) -> Result<bool> {
        let _one_at_a_time = self.compaction_lock.lock().await;
        self.reconcile_if_wanted().await?;
        let Some(job) = self.plan_compaction().job else {
            return Ok(false);
        };
        if self.table.is_some() {
            return self.merge_rows(&job).await;
        }
        let begun = Instant::now();
        let id = Ulid::generate().to_string();
        let path = segment_path(&job.tenant, job.min_timestamp_ns(), &id);
        let _held = self.in_use.hold(&path);
        let merge = Merge {
            objects: self.objects.clone(),
            runtime: tokio::runtime::Handle::current(),
            inputs: job.inputs.clone(),
            path: path.clone(),
            matcher: self.delete_matcher.get().cloned(),
            segment_options: self.options.segment_options(),
            memory_bytes: self.options.compaction.memory_bytes,
            store: Arc::downgrade(self),
        };
        let merged = self.compactor.run(move || merge.run()).await;
        let merged = merged.inspect_err(|_| {
            metrics::counter!("logmill_compaction_failures_total").increment(1);
        })?;
        let row = merged.summary.clone().map(|summary| {
            let (level, now_ns) = (job.level(), self.clock.now_ns());
            segment_row(&job.tenant, id, path.clone(), summary, level, now_ns)
        });
        let committed = self.commit_merge(&job, row, merged).await;
        self.plan_compaction();
        self.report();
        if !committed? {
            // Retention took an input away meanwhile: the merge was in vain.
            metrics::counter!("logmill_compactions_in_vain_total").increment(1);
            self.objects.delete(&path).await?;
        }
        metrics::histogram!("logmill_compaction_seconds").record(begun.elapsed().as_secs_f64());
        Ok(true)
    }

    /// Rows of a table stay where they are: only what the catalog says of them is merged.
    async fn merge_rows(&self, job: &Job) -> Result<bool> {
        let merged = table::merged_row(&job.inputs, job.level(), self.clock.now_ns());
        let committed = self.commit_merge(job, merged, Merged::default()).await;
        self.plan_compaction();
        self.report();
        committed.map(|_| true)
    }

    /// Puts the merged segment in the place of its inputs; `false` when one of them is gone.
    async fn commit_merge(
        &self,
        job: &Job,
        row: Option<SegmentRow>,
        merged: Merged,
    ) -> Result<bool> {
        let _no_other_change = self.flush_state.lock().await;
        {
            let state = self.state.read();
            let there = |input| state.segments().any(|segment| Arc::ptr_eq(segment, input));
            if !job.inputs.iter().all(there) {
                return Ok(false);
            }
        }
        let fence = match self.log.fleet() {
            Some(fleet) => match fleet.fence(&job.tenant) {
                Some(fence) => Some(fence),
                None => return Ok(false),
            },
            None => None,
        };
        let replaces = row.is_some() || merged.emptied;
        let removed: &[Arc<SegmentHandle>] = if replaces { &job.inputs } else { &[] };
        let replacement = Replacement {
            removed: removed.iter().map(|input| input.row().id.clone()).collect(),
            added: row.iter().cloned().collect(),
            settled: merged.settled.clone(),
            deleted_rows: merged.deleted_rows.clone(),
            now_ns: self.clock.now_ns(),
            keep_objects: fence.is_some() && self.table.is_none(),
            fence,
        };
        let replaced = self.catalog.replace_segments(replacement).await;
        if let Some(fleet) = self.log.fleet() {
            return match replaced {
                Ok(()) => self.sync(fleet).await.map(|()| true),
                // Retention, or another worker that has the partition now, was faster.
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
                Err(error) => Err(error.into()),
            };
        }
        if let Err(error) = replaced {
            // It may have happened all the same.
            self.reconcile_wanted.store(true, Ordering::Release);
            return Err(error.into());
        }
        if !replaces {
            for input in &job.inputs {
                merged
                    .settled
                    .iter()
                    .for_each(|(_, id)| input.settle_delete(id));
            }
            return Ok(true);
        }
        let added = row.map(|row| {
            let handle = SegmentHandle::new(row, &self.in_use);
            // A delete that came while the merge ran is still to be applied.
            handle.inherit_rules(&job.inputs);
            for input in &job.inputs {
                for delete in input.deletes() {
                    let pair = (input.row().id.clone(), delete.id.clone());
                    let known = handle.deletes().iter().any(|other| other.id == delete.id);
                    if !merged.settled.contains(&pair) && !known {
                        handle.add_delete(delete);
                    }
                }
            }
            handle
        });
        let rows: u64 = added.iter().map(|handle| handle.row().rows).sum();
        metrics::counter!("logmill_compaction_rows_total").increment(rows);
        let deleted: u64 = merged.deleted_rows.iter().map(|(_, rows)| rows).sum();
        metrics::counter!("logmill_deleted_rows_total").increment(deleted);
        tracing::debug!(
            inputs = job.inputs.len(),
            rows,
            copied = merged.rows_copied,
            deleted,
            "compacted"
        );
        for input in &job.inputs {
            input.mark_obsolete();
        }
        let added = added.into_iter().collect();
        self.state.write().replace_segments(&job.inputs, added);
        Ok(true)
    }

    /// After a transaction whose outcome is not known, memory follows the catalog.
    pub(crate) async fn reconcile_if_wanted(&self) -> Result<()> {
        if let Some(fleet) = self.log.fleet() {
            return self.sync(fleet).await;
        }
        if !self.reconcile_wanted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _no_other_change = self.flush_state.lock().await;
        let rows = self.catalog.segments().await?;
        // The flush's lock keeps the segments as they are.
        let mut all: Vec<_> = self.state.read().segments().cloned().collect();
        let is_known = |row: &&SegmentRow| all.iter().any(|s| s.row().id == row.id);
        let new: Vec<_> = rows
            .iter()
            .filter(|row| !is_known(row))
            .map(|row| SegmentHandle::new(row.clone(), &self.in_use))
            .collect();
        let is_gone = |s: &&Arc<SegmentHandle>| !rows.iter().any(|row| s.row().id == row.id);
        let gone: Vec<_> = all.iter().filter(is_gone).cloned().collect();
        all.extend(new.iter().cloned());
        recovery::attach_deletes(self.catalog.as_ref(), &all).await?;
        gone.iter().for_each(|segment| segment.mark_obsolete());
        self.state.write().replace_segments(&gone, new);
        self.reconcile_wanted.store(false, Ordering::Release);
        Ok(())
    }
}

/// Merges when there is something to merge, until the store is gone.
pub(crate) async fn run_compactor(store: Weak<Store>, wanted: Arc<Notify>) {
    let mut retry: Option<Duration> = None;
    loop {
        let _ = tokio::time::timeout(retry.unwrap_or(TICK), wanted.notified()).await;
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        if !store.options.compaction.enabled {
            store.plan_compaction();
            continue;
        }
        let outcome = store.compact().await;
        *store.compaction_failure.lock() = outcome.as_ref().err().map(ToString::to_string);
        retry = match outcome {
            Ok(_) => None,
            Err(error) => {
                let pause = retry.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1));
                tracing::error!(%error, retry_in = ?pause, "a compaction failed; its segments stay as they are");
                Some(pause)
            }
        };
        if let Some(pause) = retry {
            tokio::time::sleep(pause).await;
        }
    }
}
