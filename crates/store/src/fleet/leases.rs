//! Who works on which partition: leases in the catalog, each with a fencing token.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use logmill_catalog::{Catalog, Member};
use logmill_queue::{Queue, Sequence};

use super::{Fleet, Led, partition_name};
use crate::{Result, Store};

/// Times that a lease is extended while it lasts.
const EXTENSIONS: u32 = 4;

pub(super) fn lease_name(partition: u32) -> String {
    format!("partition/{}", partition_name(partition))
}

/// Takes, extends and gives away leases until the store is gone.
pub(super) async fn run_leases(store: Weak<Store>, fleet: Arc<Fleet>) {
    let interval = fleet.lease_ttl() / EXTENSIONS;
    loop {
        {
            let Some(store) = store.upgrade() else { return };
            if store.closed.load(Ordering::Acquire) {
                return;
            }
            let outcome = store.tend_leases(&fleet).await;
            let failure = outcome.as_ref().err().map(ToString::to_string);
            if let Some(failure) = &failure
                && fleet.failures.lock().leases.is_none()
            {
                tracing::warn!(
                    error = failure,
                    "tending the leases failed; it is tried again"
                );
            }
            fleet.failures.lock().leases = failure;
            store.trim(&fleet).await;
        }
        tokio::time::sleep(interval).await;
    }
}

impl Fleet {
    fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.options.lease_ttl_ms.max(100))
    }

    /// Says that this process is there.
    pub(super) async fn heartbeat(&self, catalog: &dyn Catalog) -> Result<Vec<Member>> {
        let (role, ttl) = (self.role.as_str(), self.lease_ttl());
        let members = catalog.heartbeat(&self.member, role, &self.description, ttl);
        Ok(members.await?)
    }

    /// This process works on a partition from now on.
    fn gain(&self, partition: u32, led: Led) {
        tracing::info!(
            partition,
            epoch = led.epoch,
            watermark = led.watermark,
            "took a partition over"
        );
        self.led.write().insert(partition, led);
        self.followed_changed.notify_one();
    }
}

impl Store {
    /// Extends what this process has; takes and gives until every worker has its share.
    async fn tend_leases(self: &Arc<Self>, fleet: &Arc<Fleet>) -> Result<()> {
        let members = fleet.heartbeat(self.catalog.as_ref()).await?;
        if !fleet.role.flushes() {
            return Ok(());
        }
        let (member, ttl) = (&fleet.member, fleet.lease_ttl());
        for (partition, led) in fleet.led() {
            let lease = self
                .catalog
                .lease(&lease_name(partition), member, ttl)
                .await?;
            if lease.is_none_or(|lease| lease.epoch != led.epoch) {
                self.lose(fleet, partition, led.epoch);
            }
        }
        let partitions = fleet.queue.partitions();
        let workers = members
            .iter()
            .filter(|m| m.role == "worker" || m.role == "all");
        let workers = u32::try_from(workers.count().max(1)).unwrap_or(u32::MAX);
        let share = partitions.div_ceil(workers) as usize;
        let mine = fleet.led();
        let too_many = mine.len().saturating_sub(share);
        for partition in mine.keys().rev().take(too_many) {
            self.give_away(fleet, *partition);
        }
        if mine.len() < share {
            let rows = self.catalog.leases("partition/").await?;
            let is_free = |partition: &u32| {
                let name = lease_name(*partition);
                let row = rows.iter().find(|row| row.name == name);
                row.is_none_or(|row| row.holder.is_none() || row.expires_in.is_zero())
            };
            let free: Vec<u32> = (0..partitions).filter(is_free).collect();
            for partition in free.into_iter().take(share - mine.len()) {
                self.take(fleet, partition).await?;
            }
        }
        metrics::gauge!("logmill_partitions_led").set(fleet.led.read().len() as f64);
        Ok(())
    }

    async fn take(self: &Arc<Self>, fleet: &Arc<Fleet>, partition: u32) -> Result<()> {
        let name = lease_name(partition);
        let Some(lease) = self
            .catalog
            .lease(&name, &fleet.member, fleet.lease_ttl())
            .await?
        else {
            return Ok(());
        };
        // Nobody else moves the watermark now. What is in segments must have left memory, or it would be flushed again.
        self.sync(fleet).await?;
        let watermark = self.catalog.watermark(&partition_name(partition)).await?;
        self.state.write().start_at(partition, watermark);
        let stale = fleet
            .queue
            .advance_to(partition, Sequence(watermark))
            .await?;
        if let Some(entries) = stale.filter(|entries| *entries > 0) {
            tracing::error!(
                partition,
                entries,
                "Redis lost entries and its clock is behind: what it holds is older than what is in segments"
            );
        }
        let epoch = lease.epoch;
        fleet.gain(partition, Led { epoch, watermark });
        // The holder before may have died before it did.
        fleet.trim_later(partition, watermark);
        Ok(())
    }

    /// Another process has the partition now. What this one has of it in memory stays only where it answers questions.
    pub(crate) fn lose(&self, fleet: &Fleet, partition: u32, epoch: u64) {
        let lost = {
            let mut led = fleet.led.write();
            let is_this = led.get(&partition).is_some_and(|led| led.epoch == epoch);
            is_this.then(|| led.remove(&partition)).is_some()
        };
        if !lost {
            return;
        }
        tracing::warn!(partition, epoch, "lost a partition to another process");
        metrics::counter!("logmill_partitions_lost_total").increment(1);
        if !fleet.role.answers() {
            let leaving = self.state.write().forget(partition);
            drop(leaving);
        }
        fleet.followed_changed.notify_one();
    }

    /// Flushes a partition and gives its lease back, beside everything else.
    fn give_away(self: &Arc<Self>, fleet: &Arc<Fleet>, partition: u32) {
        if !fleet.leaving.lock().insert(partition) {
            return;
        }
        let (store, fleet) = (self.clone(), fleet.clone());
        tokio::spawn(async move {
            let flushed = store.flush_some(|other| other == partition).await;
            if let (Ok(()), Some(led)) = (flushed, fleet.led().get(&partition)) {
                store.lose(&fleet, partition, led.epoch);
                let name = lease_name(partition);
                let released = store.catalog.release(&name, &fleet.member, led.epoch).await;
                if let Err(error) = released {
                    tracing::warn!(%error, partition, "a lease stays until it expires");
                }
            }
            fleet.leaving.lock().remove(&partition);
        });
    }

    /// Lets go of entries that every follower has seen in segments.
    async fn trim(&self, fleet: &Fleet) {
        let now = Instant::now();
        loop {
            let trim = {
                let mut trims = fleet.trims.lock();
                match trims.front() {
                    Some(trim) if trim.after <= now => trims.pop_front(),
                    _ => None,
                }
            };
            let Some(trim) = trim else { return };
            let before = Sequence(trim.watermark);
            if let Err(error) = fleet.queue.truncate_before(trim.partition, before).await {
                // The next flush of the partition lets go of these as well.
                tracing::warn!(%error, partition = trim.partition, "entries stay in the queue until the next flush");
            }
        }
    }
}
