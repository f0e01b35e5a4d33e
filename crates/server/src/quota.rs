//! Quotas of tenants.
//!
//! Rates are token buckets that may go into debt: a request is let in while the bucket is not empty, and charged with
//! what it turned out to be. So no request is too large for a bucket, and none is refused half-way.

#[cfg(test)]
mod contract;
mod hold;
mod local;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::StatusCode;
use logmill_catalog::{TenantQuotas, TenantRow};
use logmill_model::TenantId;
use logmill_store::Store;
use parking_lot::Mutex;

pub use self::local::LocalQuotas;
pub use self::shared::SharedQuotas;
use crate::error::ApiError;

pub(crate) use self::hold::hold;

/// What is counted by rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateQuota {
    /// Bytes of ingest bodies, as they arrive.
    IngestBytes,
    /// Records that were accepted.
    IngestRecords,
}

/// A tenant's bucket of something.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub quota: RateQuota,
    /// How much of it flows in a second.
    pub per_second: u64,
}

/// Where the counters are: in this process, or where several processes share them. What cannot reach its counters lets
/// requests go on: a quota is no reason to lose logs.
#[async_trait]
pub trait QuotaCounters: Send + Sync + std::fmt::Debug {
    /// How long until the bucket is out of debt; zero where it is not in debt.
    async fn wait(&self, bucket: &Bucket) -> Duration;

    /// Takes from the bucket, also more than there is.
    async fn charge(&self, bucket: &Bucket, amount: u64);

    /// A place among the queries of a tenant that run at once; none where `limit` of them are taken.
    async fn enter(&self, tenant: &TenantId, limit: u64) -> Option<Place>;
}

/// A place among the queries of a tenant; given back when it is dropped.
pub struct Place(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Place {
    /// `leave` is called when the query is over.
    pub fn new(leave: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(leave)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Place")
    }
}

/// Seconds after which one may try again where nobody can know better: a query ends, retention deletes something.
const RETRY_QUERY_SECONDS: u64 = 1;
const RETRY_STORED_SECONDS: u64 = 60;
/// How long a tenant's sum of bytes is believed; adding up all of its segments for every request would be dear.
const STORED_TTL: Duration = Duration::from_secs(1);

/// Holds tenants to their quotas.
#[derive(Debug)]
pub(crate) struct Quotas {
    counters: Arc<dyn QuotaCounters>,
    stored: Mutex<HashMap<TenantId, (Instant, u64)>>,
}

impl Quotas {
    pub(crate) fn new(counters: Arc<dyn QuotaCounters>) -> Self {
        Self {
            counters,
            stored: Mutex::default(),
        }
    }

    /// Whether the tenant may send more now. Without a row there is no quota.
    pub(crate) async fn admit_ingest(
        &self,
        row: Option<&TenantRow>,
        store: &Store,
    ) -> Result<(), ApiError> {
        let Some(row) = row else { return Ok(()) };
        for bucket in buckets(row) {
            let wait = self.counters.wait(&bucket).await;
            if !wait.is_zero() {
                let name = bucket.quota.as_str();
                let seconds = wait.as_secs_f64().ceil();
                return Err(exceeded(name, bucket.per_second, seconds as u64));
            }
        }
        if let Some(limit) = row.quotas.stored_bytes
            && self.stored_bytes(&row.id, store) >= limit
        {
            return Err(exceeded("stored_bytes", limit, RETRY_STORED_SECONDS));
        }
        Ok(())
    }

    /// Counts what a request brought.
    pub(crate) async fn charge_ingest(
        &self,
        row: Option<&TenantRow>,
        quota: RateQuota,
        amount: u64,
    ) {
        let Some(row) = row else { return };
        for bucket in buckets(row) {
            if bucket.quota == quota {
                self.counters.charge(&bucket, amount).await;
            }
        }
    }

    /// A place for a query; none is needed where the tenant has no such quota.
    pub(crate) async fn enter_query(
        &self,
        row: Option<&TenantRow>,
    ) -> Result<Option<Place>, ApiError> {
        let limit = row.and_then(|row| Some((row, row.quotas.concurrent_queries?)));
        let Some((row, limit)) = limit else {
            return Ok(None);
        };
        match self.counters.enter(&row.id, limit).await {
            Some(place) => Ok(Some(place)),
            None => Err(exceeded("concurrent_queries", limit, RETRY_QUERY_SECONDS)),
        }
    }

    fn stored_bytes(&self, tenant: &TenantId, store: &Store) -> u64 {
        let now = Instant::now();
        if let Some((at, bytes)) = self.stored.lock().get(tenant)
            && now.saturating_duration_since(*at) < STORED_TTL
        {
            return *bytes;
        }
        let segments = store.snapshot(tenant).segments;
        let bytes = segments.iter().map(|segment| segment.row().bytes).sum();
        // Only tenants of the catalog come here, so there are no more entries than those.
        self.stored.lock().insert(tenant.clone(), (now, bytes));
        bytes
    }
}

impl RateQuota {
    /// As the tenant's settings call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IngestBytes => "ingest_bytes_per_second",
            Self::IngestRecords => "ingest_records_per_second",
        }
    }
}

fn buckets(row: &TenantRow) -> impl Iterator<Item = Bucket> {
    let TenantQuotas {
        ingest_bytes_per_second,
        ingest_records_per_second,
        ..
    } = row.quotas;
    let bucket = |quota, per_second: Option<u64>| {
        per_second.map(|per_second| Bucket {
            tenant: row.id.clone(),
            quota,
            per_second,
        })
    };
    [
        bucket(RateQuota::IngestBytes, ingest_bytes_per_second),
        bucket(RateQuota::IngestRecords, ingest_records_per_second),
    ]
    .into_iter()
    .flatten()
}

fn exceeded(quota: &'static str, limit: u64, retry_after_seconds: u64) -> ApiError {
    metrics::counter!("logmill_quota_refusals_total", "quota" => quota).increment(1);
    let message = format!("the tenant's quota {quota} ({limit}) is used up");
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut error = ApiError::new(status, "quota_exceeded", message);
    error.retry_after_seconds = Some(retry_after_seconds.max(1));
    error.quota = Some(quota);
    error
}
