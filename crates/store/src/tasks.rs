//! What runs beside the requests until the store is gone.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::compaction::run_compactor;
use crate::fleet::Fleet;
use crate::in_use::Held;
use crate::objects::Objects;
use crate::sweep::run_sweeper;
use crate::{Result, Store};

/// How often the flusher looks whether a flush is due by age.
const FLUSH_TICK: Duration = Duration::from_millis(100);
/// Pauses between tries of a flush that fails: doubled from the first to the last.
pub(crate) const FLUSH_RETRY: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(30));

impl Store {
    pub(crate) fn start_flusher(self: &Arc<Self>) {
        let wanted = self.flush_wanted.clone();
        tokio::spawn(run_flusher(Arc::downgrade(self), wanted));
    }

    pub(crate) fn start_compactor(self: &Arc<Self>) {
        let wanted = self.compaction_wanted.clone();
        tokio::spawn(run_compactor(Arc::downgrade(self), wanted));
    }

    /// Retention and orphans, where no other process sees to them.
    pub(crate) fn start_janitor(self: &Arc<Self>) {
        tokio::spawn(run_janitor(Arc::downgrade(self)));
        if self.options.orphan_check_interval_ms > 0 {
            let interval = Duration::from_millis(self.options.orphan_check_interval_ms);
            tokio::spawn(run_sweeper(Arc::downgrade(self), interval));
        }
    }

    /// A batch came: has its partition enough for a flush by now?
    pub(crate) fn flush_if_large(&self, partition: u32) {
        let (active_bytes, _) = self.state.read().active(partition);
        if active_bytes >= self.options.flush_bytes {
            self.flush_wanted.notify_one();
        }
    }

    /// Memory is short: everything is flushed.
    pub(crate) fn press(&self) {
        self.pressed.store(true, Ordering::Release);
        self.flush_wanted.notify_one();
    }

    /// Flushes the partitions whose time has come: by size, by pressure, by age.
    async fn flush_what_is_due(&self) -> Result<()> {
        let pressed = self.pressed.swap(false, Ordering::AcqRel);
        let requested = self.log.fleet().map(|fleet| fleet.take_flush_requests());
        let is_requested = |partition| requested.as_ref().is_some_and(|r| r.contains(&partition));
        let crowding = self.log.fleet().map(|fleet| self.crowding(fleet));
        let is_crowding = |partition| crowding.as_ref().is_some_and(|c| c.contains(&partition));
        let interval = Duration::from_millis(self.options.flush_interval_ms);
        self.flush_some(|partition| {
            let (bytes, since) = self.state.read().active(partition);
            let old = since.is_some_and(|since| since.elapsed() >= interval);
            pressed
                || old
                || is_requested(partition)
                || is_crowding(partition)
                || bytes >= self.options.flush_bytes
        })
        .await
    }
}

impl Store {
    /// The partitions, largest first, without which the others that this process leads take no more than its part of the
    /// memory that every follower of all partitions has: whoever only answers cannot flush, and must not run full.
    fn crowding(&self, fleet: &Fleet) -> BTreeSet<u32> {
        let mut sizes: Vec<(u64, u32)> = {
            let state = self.state.read();
            let led = fleet.led().into_keys();
            led.map(|partition| (state.active(partition).0, partition))
                .collect()
        };
        let partitions = u64::from(fleet.queue.partitions().max(1));
        let part = self.options.memtable_max_bytes / 2 * sizes.len() as u64 / partitions;
        let mut left: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
        let mut crowding = BTreeSet::new();
        if left <= part {
            return crowding;
        }
        sizes.sort_unstable();
        while let (true, Some((bytes, partition))) = (left > part / 2, sizes.pop()) {
            left -= bytes;
            crowding.insert(partition);
        }
        crowding
    }
}

/// Flushes when it is due, until the store is gone.
async fn run_flusher(store: Weak<Store>, wanted: Arc<Notify>) {
    let mut retry: Option<Duration> = None;
    loop {
        match retry {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                let _ = tokio::time::timeout(FLUSH_TICK, wanted.notified()).await;
            }
        }
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        retry = match store.flush_what_is_due().await {
            Ok(()) => None,
            Err(error) => {
                let pause = retry.map_or(FLUSH_RETRY.0, |pause| (pause * 2).min(FLUSH_RETRY.1));
                tracing::error!(%error, retry_in = ?pause, "a flush failed; its records stay in memory and in the log");
                Some(pause)
            }
        };
    }
}

/// Applies retention from time to time, until the store is gone.
async fn run_janitor(store: Weak<Store>) {
    loop {
        let interval = match store.upgrade() {
            Some(store) => store.options.retention.check_interval_ms.max(10),
            None => return,
        };
        tokio::time::sleep(Duration::from_millis(interval)).await;
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = store.apply_retention().await {
            tracing::warn!(%error, "retention failed; it is tried again");
        }
        if let Err(error) = store.expire_answers().await {
            tracing::warn!(%error, "forgetting idempotency keys failed; it is tried again");
        }
        if let Err(error) = store.expire_deletes().await {
            tracing::warn!(%error, "forgetting finished deletes failed; it is tried again");
        }
    }
}

/// Deletes the objects that nobody reads any more.
pub(crate) async fn run_deleter(objects: Objects, mut deletions: UnboundedReceiver<Held>) {
    while let Some(held) = deletions.recv().await {
        if let Err(error) = objects.delete(held.path()).await {
            tracing::warn!(%error, "an object stays until a sweep finds it to be an orphan");
        }
    }
}
