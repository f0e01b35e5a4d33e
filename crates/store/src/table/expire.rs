//! Retention of the table: whole days of a tenant, oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logmill_catalog::{ExpiredRows, LogTable, RetentionOverride};
use logmill_model::{TenantId, TimeRange};

use super::flush::day_of;
use crate::{Result, RetentionRule, SegmentHandle, Store};

/// What the catalog says of a tenant's day.
#[derive(Default)]
struct TenantDay {
    segments: Vec<Arc<SegmentHandle>>,
    bytes: u64,
    newest_ns: i64,
}

impl Store {
    /// Applies retention now; returns how many of the catalog's rows went.
    pub(crate) async fn expire_rows(&self, table: &Arc<dyn LogTable>) -> Result<u64> {
        self.reconcile_if_wanted().await?;
        let expired = {
            // No flush may add to a day between choosing and removing.
            let _no_flush = self.flush_state.lock().await;
            let overrides = self.retention_overrides().await?;
            let expired = self.expired_days(&overrides);
            if !expired.is_empty() {
                // Whatever comes of it, memory follows the catalog.
                self.reconcile_wanted.store(true, Ordering::Release);
                for rows in &expired {
                    tracing::info!(tenant = %rows.tenant, day = rows.day, "retention deletes a day");
                }
                table.expire(expired.clone()).await?;
            }
            expired
        };
        self.reconcile_if_wanted().await?;
        for rule in &self.options.retention.rules {
            self.apply_rule_to_rows(table, rule).await?;
        }
        self.report();
        let count = expired.iter().map(|rows| rows.segments.len() as u64).sum();
        metrics::counter!("logmill_retention_segments_deleted_total").increment(count);
        Ok(count)
    }

    /// Days whose newest record is too old, and the oldest of what is too much.
    fn expired_days(&self, overrides: &BTreeMap<TenantId, RetentionOverride>) -> Vec<ExpiredRows> {
        let retention = &self.options.retention;
        let mut days: BTreeMap<(i64, TenantId), TenantDay> = BTreeMap::new();
        let mut tenants: BTreeMap<TenantId, u64> = BTreeMap::new();
        let mut all: u64 = 0;
        let state = self.state.read();
        for segment in state.segments() {
            let row = segment.row();
            let day = days
                .entry((day_of(segment), row.tenant.clone()))
                .or_default();
            day.segments.push(segment.clone());
            day.bytes += row.bytes;
            day.newest_ns = day.newest_ns.max(row.max_timestamp_ns);
            *tenants.entry(row.tenant.clone()).or_default() += row.bytes;
            all += row.bytes;
        }
        let too_much = |limit: u64, bytes: u64| limit > 0 && bytes > limit;
        let mut expired = Vec::new();
        for ((day, tenant), rows) in days {
            let own = overrides.get(&tenant).copied().unwrap_or_default();
            let own = self.retention_of(&tenant, own);
            let bytes = tenants.entry(tenant.clone()).or_default();
            let goes = rows.newest_ns < self.oldest_kept_ns(own.max_age_ms)
                || too_much(own.max_bytes, *bytes)
                || too_much(retention.max_bytes, all);
            if goes {
                *bytes -= rows.bytes;
                all -= rows.bytes;
                let segments = rows.segments.iter();
                expired.push(ExpiredRows {
                    day,
                    before: state.flushed(self.log.partition_of(&tenant)),
                    segments: segments.map(|segment| segment.row().id.clone()).collect(),
                    tenant,
                });
            }
        }
        expired
    }

    async fn apply_rule_to_rows(
        &self,
        table: &Arc<dyn LogTable>,
        rule: &RetentionRule,
    ) -> Result<()> {
        let range = TimeRange {
            start_ns: i64::MIN,
            end_ns: self.oldest_kept_ns(rule.max_age_ms),
        };
        let mut tenants: Vec<TenantId> = {
            let state = self.state.read();
            let tenants = state.segments().map(|segment| segment.row().tenant.clone());
            let named = |tenant: &TenantId| {
                let name = rule.tenant.as_deref();
                name.is_none_or(|name| name == tenant.as_str())
            };
            tenants.filter(named).collect()
        };
        tenants.sort_unstable();
        tenants.dedup();
        for tenant in tenants {
            let predicate = serde_json::json!({
                "tenant": tenant.as_str(), "from": range.start_ns, "to": range.end_ns, "filters": rule.filters,
            });
            self.delete_rows(table, &tenant, predicate.to_string(), range, false)
                .await?;
        }
        Ok(())
    }
}
