//! Quotas that many processes count together.
//!
//! A process answers from what it knows: the level that Redis told last, and what it has charged since. What it charged it tells
//! in the background, ten times a second at most, and is told the level in return; only after a second without that
//! does a request wait for Redis. So requests in a row ask nobody, and the rate holds all the same: whatever was let in
//! is charged, and a bucket in debt stays closed.
//!
//! Where Redis is away, each process counts for itself, as if it were alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use logmill_model::TenantId;
use logmill_queue::{BucketBounds, RedisQueue};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use ulid::Ulid;

use super::local::{BURST_SECONDS, DEBT_MAX_SECONDS};
use super::{Bucket, LocalQuotas, Place, QuotaCounters, RateQuota};

/// Pause between two reports of a tenant.
const REPORT_PAUSE: Duration = Duration::from_millis(100);
/// For how long a level is believed that nobody confirmed.
const BELIEVED: Duration = Duration::from_secs(1);
const BOUNDS: BucketBounds = BucketBounds {
    burst_seconds: BURST_SECONDS,
    debt_seconds: DEBT_MAX_SECONDS,
};

/// Counters that processes share, in the queue's Redis.
#[derive(Debug)]
pub struct SharedQuotas {
    inner: Arc<Inner>,
    /// Places of queries where Redis is away.
    alone: LocalQuotas,
    /// Longer than any query runs: then the place of a process that died is free.
    place_longest: Duration,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<RedisQueue>,
    /// There are as many as tenants with quotas.
    tenants: Mutex<HashMap<TenantId, Known>>,
}

/// What a process knows of a tenant.
#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<RateQuota, Level>,
    /// When Redis was asked last.
    asked_at: Option<Instant>,
    /// A report is on its way that will tell what is charged now.
    report_is_due: bool,
}

/// A bucket, in seconds of its rate.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// What is left, as Redis told it or as this process reckons; below zero it is a debt.
    left: f64,
    at: Instant,
    /// What was charged and not reported yet.
    unreported: f64,
    /// What is being reported.
    in_flight: f64,
}

impl Level {
    fn full(now: Instant) -> Self {
        Self {
            left: BURST_SECONDS,
            at: now,
            unreported: 0.0,
            in_flight: 0.0,
        }
    }

    /// What is left without what Redis was not told.
    fn told(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + since).min(BURST_SECONDS)
    }

    fn now(&self, now: Instant) -> f64 {
        let left = self.told(now) - self.unreported - self.in_flight;
        left.max(-DEBT_MAX_SECONDS)
    }

    /// Takes what is to be reported.
    fn begin_report(&mut self) -> f64 {
        let reported = std::mem::take(&mut self.unreported);
        self.in_flight += reported;
        reported
    }

    /// A report came back with what is left, or did not. What became of one without an answer is unknown: it is not told twice,
    /// for a Redis that stood still would charge it twice.
    fn end_report(&mut self, reported: f64, left: Option<f64>, now: Instant) {
        self.in_flight = (self.in_flight - reported).max(0.0);
        self.left = left.unwrap_or_else(|| self.told(now) - reported);
        self.at = now;
    }
}

impl Known {
    /// For how long nobody asked Redis.
    fn silence(&self, now: Instant) -> Duration {
        let asked_at = self.asked_at;
        asked_at.map_or(Duration::MAX, |asked| now.saturating_duration_since(asked))
    }

    /// After how long to report what was charged; `None` where somebody will do so anyway.
    fn report_in(&mut self, now: Instant) -> Option<Duration> {
        let is_due = std::mem::replace(&mut self.report_is_due, true);
        (!is_due).then(|| REPORT_PAUSE.saturating_sub(self.silence(now)))
    }
}

impl SharedQuotas {
    /// Counters in the queue's Redis. `query_longest`: no query runs longer.
    pub fn new(queue: Arc<RedisQueue>, query_longest: Duration) -> Self {
        let inner = Inner {
            queue,
            tenants: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            alone: LocalQuotas::default(),
            place_longest: query_longest * 2,
        }
    }
}

impl Inner {
    /// Tells Redis what was charged of a tenant's buckets, and learns what is left in them.
    async fn report(&self, tenant: &TenantId) {
        let taken: Vec<(RateQuota, f64)> = {
            let mut tenants = self.tenants.lock();
            let buckets = tenants.get_mut(tenant).into_iter();
            let buckets = buckets.flat_map(|known| &mut known.buckets);
            buckets
                .map(|(quota, level)| (*quota, level.begin_report()))
                .collect()
        };
        let charges: Vec<(&str, f64)> = taken
            .iter()
            .map(|(quota, seconds)| (quota.as_str(), *seconds))
            .collect();
        let charging = self.queue.charge_buckets(tenant.as_str(), &charges, BOUNDS);
        let left = charging.await.inspect_err(|error| {
            count_failure();
            tracing::debug!(%error, %tenant, "quotas are counted alone");
        });
        let left = left.unwrap_or_default();
        let now = Instant::now();
        let mut tenants = self.tenants.lock();
        let Some(known) = tenants.get_mut(tenant) else {
            return;
        };
        for (position, (quota, reported)) in taken.into_iter().enumerate() {
            if let Some(level) = known.buckets.get_mut(&quota) {
                level.end_report(reported, left.get(position).copied(), now);
            }
        }
    }
}

fn count_failure() {
    metrics::counter!("logmill_quota_failures_total").increment(1);
}

#[async_trait]
impl QuotaCounters for SharedQuotas {
    async fn wait(&self, bucket: &Bucket) -> Duration {
        if bucket.per_second == 0 {
            return Duration::from_secs_f64(DEBT_MAX_SECONDS);
        }
        let asks = {
            let now = Instant::now();
            let mut tenants = self.inner.tenants.lock();
            let known = tenants.entry(bucket.tenant.clone()).or_default();
            let is_new = !known.buckets.contains_key(&bucket.quota);
            known
                .buckets
                .entry(bucket.quota)
                .or_insert_with(|| Level::full(now));
            let asks = is_new || known.silence(now) >= BELIEVED;
            if asks {
                known.asked_at = Some(now);
            }
            asks
        };
        if asks {
            self.inner.report(&bucket.tenant).await;
        }
        let tenants = self.inner.tenants.lock();
        let level = tenants
            .get(&bucket.tenant)
            .and_then(|known| known.buckets.get(&bucket.quota));
        let left = level.map_or(BURST_SECONDS, |level| level.now(Instant::now()));
        Duration::from_secs_f64((-left).max(0.0))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of a second are far below 2^53"
    )]
    async fn charge(&self, bucket: &Bucket, amount: u64) {
        let seconds = amount as f64 / bucket.per_second.max(1) as f64;
        let delay = {
            let now = Instant::now();
            let mut tenants = self.inner.tenants.lock();
            let known = tenants.entry(bucket.tenant.clone()).or_default();
            let level = known
                .buckets
                .entry(bucket.quota)
                .or_insert_with(|| Level::full(now));
            // What cannot be told for long is not owed for ever.
            level.unreported = (level.unreported + seconds).min(BURST_SECONDS + DEBT_MAX_SECONDS);
            known.report_in(now)
        };
        if let Some(delay) = delay {
            let (inner, tenant) = (self.inner.clone(), bucket.tenant.clone());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Some(known) = inner.tenants.lock().get_mut(&tenant) {
                    known.report_is_due = false;
                    known.asked_at = Some(Instant::now());
                }
                inner.report(&tenant).await;
            });
        }
    }

    async fn enter(&self, tenant: &TenantId, limit: u64) -> Option<Place> {
        let name = Ulid::generate().to_string();
        let queue = &self.inner.queue;
        let taken = queue.take_place(tenant.as_str(), &name, limit, self.place_longest);
        match taken.await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                count_failure();
                tracing::debug!(%error, %tenant, "queries are counted alone");
                return self.alone.enter(tenant, limit).await;
            }
        }
        let (queue, tenant, runtime) = (queue.clone(), tenant.clone(), Handle::current());
        Some(Place::new(move || {
            runtime.spawn(async move {
                if let Err(error) = queue.leave_place(tenant.as_str(), &name).await {
                    tracing::debug!(%error, %tenant, "a place stays taken until it expires");
                }
            });
        }))
    }
}
