//! Quotas that one process counts for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use logmill_model::TenantId;
use parking_lot::Mutex;

use super::{Bucket, Place, QuotaCounters, RateQuota};

/// A bucket holds as much as flows in this time.
pub(super) const BURST_SECONDS: f64 = 2.0;
/// No bucket is deeper in debt: the longest wait.
pub(super) const DEBT_MAX_SECONDS: f64 = 60.0;

/// Counters of one process. There are as many as tenants with quotas.
#[derive(Debug, Default)]
pub struct LocalQuotas {
    levels: Mutex<HashMap<(TenantId, RateQuota), Level>>,
    running: Arc<Mutex<HashMap<TenantId, u64>>>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// What is left, in seconds of the rate; below zero it is a debt. In seconds, so that a changed rate needs no thought.
    seconds: f64,
    at: Instant,
}

impl Level {
    fn now(self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.seconds + since).min(BURST_SECONDS)
    }
}

impl LocalQuotas {
    fn wait_at(&self, bucket: &Bucket, now: Instant) -> Duration {
        let levels = self.levels.lock();
        let left = levels
            .get(&(bucket.tenant.clone(), bucket.quota))
            .map_or(BURST_SECONDS, |level| level.now(now));
        if bucket.per_second == 0 {
            return Duration::from_secs_f64(DEBT_MAX_SECONDS);
        }
        Duration::from_secs_f64((-left).max(0.0))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of a second are far below 2^53"
    )]
    fn charge_at(&self, bucket: &Bucket, amount: u64, now: Instant) {
        let seconds = amount as f64 / bucket.per_second.max(1) as f64;
        let mut levels = self.levels.lock();
        let level = levels
            .entry((bucket.tenant.clone(), bucket.quota))
            .or_insert(Level {
                seconds: BURST_SECONDS,
                at: now,
            });
        level.seconds = (level.now(now) - seconds).max(-DEBT_MAX_SECONDS);
        level.at = now;
    }
}

#[async_trait]
impl QuotaCounters for LocalQuotas {
    async fn wait(&self, bucket: &Bucket) -> Duration {
        self.wait_at(bucket, Instant::now())
    }

    async fn charge(&self, bucket: &Bucket, amount: u64) {
        self.charge_at(bucket, amount, Instant::now());
    }

    async fn enter(&self, tenant: &TenantId, limit: u64) -> Option<Place> {
        let mut running = self.running.lock();
        let count = running.entry(tenant.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        let (all, tenant) = (self.running.clone(), tenant.clone());
        Some(Place::new(move || {
            let mut running = all.lock();
            if let Some(count) = running.get_mut(&tenant) {
                *count -= 1;
                if *count == 0 {
                    running.remove(&tenant);
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(tenant: &str, per_second: u64) -> Bucket {
        Bucket {
            tenant: tenant.parse().unwrap(),
            quota: RateQuota::IngestBytes,
            per_second,
        }
    }

    #[test]
    fn a_bucket_lets_a_burst_in_and_then_its_rate() {
        let quotas = LocalQuotas::default();
        let (bucket, now) = (bucket("acme", 100), Instant::now());
        let wait = |after_ms: u64| quotas.wait_at(&bucket, now + Duration::from_millis(after_ms));
        assert_eq!(wait(0), Duration::ZERO);
        quotas.charge_at(&bucket, 200, now);
        assert_eq!(wait(0), Duration::ZERO, "empty, but not in debt");
        // One request may be larger than the bucket; its price is waited for afterwards.
        quotas.charge_at(&bucket, 500, now);
        assert_eq!(wait(0), Duration::from_secs(5));
        assert_eq!(wait(4_000), Duration::from_secs(1));
        assert_eq!(wait(5_000), Duration::ZERO);
        let other = super::tests::bucket("beta", 100);
        assert_eq!(quotas.wait_at(&other, now), Duration::ZERO);
        quotas.charge_at(&bucket, u64::MAX, now);
        assert_eq!(wait(0), Duration::from_secs(60));
    }

    #[test]
    fn a_long_pause_is_no_larger_burst() {
        let quotas = LocalQuotas::default();
        let (bucket, now) = (bucket("acme", 100), Instant::now());
        quotas.charge_at(&bucket, 1, now);
        let later = now + Duration::from_secs(3_600);
        quotas.charge_at(&bucket, 300, later);
        assert_eq!(quotas.wait_at(&bucket, later), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_in() {
        let wait = LocalQuotas::default().wait_at(&bucket("acme", 0), Instant::now());
        assert!(wait > Duration::ZERO);
    }

    #[tokio::test]
    async fn places_are_given_back() {
        let quotas = LocalQuotas::default();
        let tenant: TenantId = "acme".parse().unwrap();
        let one = quotas.enter(&tenant, 2).await.unwrap();
        let _other = quotas.enter(&tenant, 2).await.unwrap();
        assert!(quotas.enter(&tenant, 2).await.is_none());
        drop(one);
        let one = quotas.enter(&tenant, 2).await;
        assert!(one.is_some());
        drop((one, _other));
        assert!(quotas.running.lock().is_empty());
    }
}
