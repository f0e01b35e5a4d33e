//! Deleting whole segments, oldest first: by age, and by the bytes of all.

use std::sync::Arc;

use logmill_catalog::SegmentId;

use crate::{Result, SegmentHandle, Store};

const MILLISECOND_NS: i64 = 1_000_000;

impl Store {
    /// Applies retention now; returns how many segments were deleted. Their objects go with their last readers.
    pub async fn apply_retention(&self) -> Result<u64> {
        // No flush may add segments between choosing and removing.
        let _one_at_a_time = self.flush_state.lock().await;
        let gone = self.expired_segments();
        if gone.is_empty() {
            return Ok(0);
        }
        let ids: Vec<SegmentId> = gone
            .iter()
            .map(|segment| segment.row().id.clone())
            .collect();
        self.catalog
            .remove_segments(&ids, self.clock.now_ns())
            .await?;
        for segment in &gone {
            segment.mark_obsolete();
            let row = segment.row();
            tracing::info!(
                path = row.path,
                rows = row.rows,
                bytes = row.bytes,
                "retention deletes a segment"
            );
        }
        self.state.write().remove_segments(&gone);
        let count = gone.len() as u64;
        metrics::counter!("logmill_retention_segments_deleted_total").increment(count);
        drop(gone);
        self.report();
        Ok(count)
    }

    /// Segments that are too old, and the oldest of what is too much.
    fn expired_segments(&self) -> Vec<Arc<SegmentHandle>> {
        let retention = &self.options.retention;
        let mut segments: Vec<_> = self.state.read().segments().cloned().collect();
        segments.sort_by_key(|segment| segment.row().max_timestamp_ns);
        let oldest_ns = match i64::try_from(retention.max_age_ms) {
            Ok(age_ms) if age_ms > 0 => self
                .clock
                .now_ns()
                .saturating_sub(age_ms.saturating_mul(MILLISECOND_NS)),
            _ => i64::MIN,
        };
        let mut bytes: u64 = segments.iter().map(|segment| segment.row().bytes).sum();
        let too_much = |bytes: u64| retention.max_bytes > 0 && bytes > retention.max_bytes;
        segments
            .into_iter()
            .take_while(|segment| {
                let expired = segment.row().max_timestamp_ns < oldest_ns || too_much(bytes);
                bytes -= segment.row().bytes;
                expired
            })
            .collect()
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
