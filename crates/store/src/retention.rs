//! Deleting whole segments, oldest first: by age, and by the bytes of a tenant or of all. Rules take single streams out of
//! old segments; that is a delete by query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use logmill_catalog::{Access, DeleteId, DeleteRow, RetentionOverride, SegmentId};
use logmill_model::TenantId;
use ulid::Ulid;

use crate::{PendingDelete, Result, RetentionRule, SegmentHandle, Store, TenantRetention};

const MILLISECOND_NS: i64 = 1_000_000;

impl Store {
    /// Applies retention now; returns how many segments were deleted. Their objects go with their last readers.
    pub async fn apply_retention(&self) -> Result<u64> {
        if let Some(table) = &self.table {
            return self.expire_rows(table).await;
        }
        self.reconcile_if_wanted().await?;
        // No flush may add segments between choosing and removing.
        let one_at_a_time = self.flush_state.lock().await;
        let overrides = self.retention_overrides().await?;
        let gone = self.expired_segments(&overrides);
        if !gone.is_empty() {
            self.remove_expired(&gone).await?;
        }
        for (position, rule) in self.options.retention.rules.iter().enumerate() {
            self.apply_rule(position, rule).await?;
        }
        drop(one_at_a_time);
        let count = gone.len() as u64;
        drop(gone);
        self.report();
        Ok(count)
    }

    async fn remove_expired(&self, gone: &[Arc<SegmentHandle>]) -> Result<()> {
        let ids: Vec<SegmentId> = gone
            .iter()
            .map(|segment| segment.row().id.clone())
            .collect();
        let removed = self
            .catalog
            .remove_segments(&ids, self.clock.now_ns(), self.log.fleet().is_some())
            .await;
        if let Err(error) = removed {
            // It may have happened all the same.
            self.reconcile_wanted.store(true, Ordering::Release);
            return Err(error.into());
        }
        for segment in gone {
            if self.log.fleet().is_none() {
                segment.mark_obsolete();
            }
            let row = segment.row();
            tracing::info!(
                path = row.path,
                rows = row.rows,
                bytes = row.bytes,
                "retention deletes a segment"
            );
        }
        self.state.write().remove_segments(gone);
        let count = gone.len() as u64;
        metrics::counter!("logmill_retention_segments_deleted_total").increment(count);
        Ok(())
    }

    /// Segments that are too old, and the oldest of what is too much.
    fn expired_segments(
        &self,
        overrides: &BTreeMap<TenantId, RetentionOverride>,
    ) -> Vec<Arc<SegmentHandle>> {
        let retention = &self.options.retention;
        let mut segments: Vec<_> = self.state.read().segments().cloned().collect();
        segments.sort_by_key(|segment| segment.row().max_timestamp_ns);
        let mut tenants: BTreeMap<TenantId, u64> = BTreeMap::new();
        for segment in &segments {
            *tenants.entry(segment.row().tenant.clone()).or_default() += segment.row().bytes;
        }
        let mut all: u64 = tenants.values().sum();
        let too_much = |limit: u64, bytes: u64| limit > 0 && bytes > limit;
        segments.retain(|segment| {
            let row = segment.row();
            let own = overrides.get(&row.tenant).copied().unwrap_or_default();
            let own = self.retention_of(&row.tenant, own);
            let bytes = tenants.entry(row.tenant.clone()).or_default();
            let expired = row.max_timestamp_ns < self.oldest_kept_ns(own.max_age_ms)
                || too_much(own.max_bytes, *bytes)
                || too_much(retention.max_bytes, all);
            if expired {
                *bytes -= row.bytes;
                all -= row.bytes;
            }
            expired
        });
        segments
    }

    /// From now on tenants' own retention is asked for before any is applied; once, at the start.
    pub fn set_access(&self, access: Arc<dyn Access>) {
        // A second one would be the same catalog's.
        let _ = self.access.set(access);
    }

    /// What the catalog says of tenants' retention. Where it does not answer nothing may be deleted: a tenant may keep its
    /// records for longer than the settings say.
    pub(crate) async fn retention_overrides(
        &self,
    ) -> Result<BTreeMap<TenantId, RetentionOverride>> {
        let Some(access) = self.access.get() else {
            return Ok(BTreeMap::new());
        };
        let tenants = access.list_tenants().await?;
        Ok(tenants
            .into_iter()
            .map(|row| (row.id, row.retention))
            .collect())
    }

    /// A tenant's bounds: its own, else as the settings say of it, else as they say of all.
    pub(crate) fn retention_of(
        &self,
        tenant: &TenantId,
        own: RetentionOverride,
    ) -> TenantRetention {
        let retention = &self.options.retention;
        let settings = retention.tenants.get(tenant.as_str());
        let settings = settings.cloned().unwrap_or(TenantRetention {
            max_age_ms: retention.max_age_ms,
            max_bytes: 0,
        });
        TenantRetention {
            max_age_ms: own.max_age_ms.unwrap_or(settings.max_age_ms),
            max_bytes: own.max_bytes.unwrap_or(settings.max_bytes),
        }
    }

    /// Older records than this are past an age; 0 means none is.
    pub(crate) fn oldest_kept_ns(&self, max_age_ms: u64) -> i64 {
        match i64::try_from(max_age_ms) {
            Ok(age_ms) if age_ms > 0 => self
                .clock
                .now_ns()
                .saturating_sub(age_ms.saturating_mul(MILLISECOND_NS)),
            _ => i64::MIN,
        }
    }

    /// Begins to delete a rule's records from the segments that have become too old for it.
    async fn apply_rule(&self, position: usize, rule: &RetentionRule) -> Result<()> {
        let oldest_ns = self.oldest_kept_ns(rule.max_age_ms);
        let mut by_tenant: BTreeMap<TenantId, Vec<Arc<SegmentHandle>>> = BTreeMap::new();
        for segment in self.state.read().segments() {
            let row = segment.row();
            let tenant = rule.tenant.as_deref();
            if row.max_timestamp_ns < oldest_ns
                && tenant.is_none_or(|tenant| tenant == row.tenant.as_str())
                && !segment.is_under_rule(position)
            {
                let segments = by_tenant.entry(row.tenant.clone()).or_default();
                segments.push(segment.clone());
            }
        }
        for (tenant, segments) in by_tenant {
            let predicate = serde_json::json!({
                "tenant": tenant.as_str(), "from": i64::MIN, "to": oldest_ns, "filters": rule.filters,
            });
            self.attach_delete(&tenant, predicate.to_string(), &segments)
                .await?;
            segments
                .iter()
                .for_each(|segment| segment.put_under_rule(position));
        }
        Ok(())
    }

    /// Keeps a delete of these segments and lets readers know of it. The caller holds the flush's lock.
    pub(crate) async fn attach_delete(
        &self,
        tenant: &TenantId,
        predicate: String,
        segments: &[Arc<SegmentHandle>],
    ) -> Result<DeleteRow> {
        let now_ns = self.clock.now_ns();
        let row = DeleteRow {
            id: DeleteId(Ulid::generate().to_string()),
            tenant: tenant.clone(),
            predicate,
            requested_at_ns: now_ns,
            finished_at_ns: segments.is_empty().then_some(now_ns),
            segments: segments.len() as u64,
            segments_left: segments.len() as u64,
            rows_deleted: 0,
        };
        let ids: Vec<_> = segments
            .iter()
            .map(|segment| segment.row().id.clone())
            .collect();
        let kept = self.catalog.begin_delete(row.clone(), &ids).await;
        if let Err(error) = kept {
            self.reconcile_wanted.store(true, Ordering::Release);
            return Err(error.into());
        }
        let pending = Arc::new(PendingDelete {
            id: row.id.clone(),
            predicate: row.predicate.as_str().into(),
        });
        {
            // Readers see all of it or nothing.
            let _state = self.state.write();
            for segment in segments {
                segment.add_delete(pending.clone());
            }
        }
        metrics::counter!("logmill_deletes_total").increment(1);
        tracing::info!(id = row.id.0, %tenant, segments = row.segments, "deleting by query");
        self.compaction_wanted.notify_one();
        Ok(row)
    }

    /// Forgets answers that are past their time to live.
    pub(crate) async fn expire_answers(&self) -> Result<()> {
        let before_ns = self.answers_since_ns();
        self.registry.expire(before_ns);
        self.catalog.expire_idempotency(before_ns).await?;
        Ok(())
    }

    /// Answers to requests received before this are forgotten.
    pub(crate) fn answers_since_ns(&self) -> i64 {
        let ttl_ms = i64::try_from(self.options.idempotency_ttl_ms).unwrap_or(i64::MAX);
        self.clock
            .now_ns()
            .saturating_sub(ttl_ms.saturating_mul(MILLISECOND_NS))
    }
}
