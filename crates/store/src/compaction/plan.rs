//! What to merge next.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_model::TenantId;
use logmill_model::time::DAY_NS;

use crate::{CompactionOptions, SegmentHandle};

/// Segments up to this length are of the lowest tier.
const TIER_BYTES: u64 = 64 << 10;
const MILLISECOND_NS: i64 = 1_000_000;

/// One merge.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) tenant: TenantId,
    /// By their oldest record.
    pub(crate) inputs: Vec<Arc<SegmentHandle>>,
}

impl Job {
    fn of(mut inputs: Vec<Arc<SegmentHandle>>) -> Option<Self> {
        inputs.sort_by_key(|segment| segment.row().min_timestamp_ns);
        let tenant = inputs.first()?.row().tenant.clone();
        Some(Self { tenant, inputs })
    }

    pub(crate) fn min_timestamp_ns(&self) -> i64 {
        let oldest = self.inputs.first();
        oldest.map_or(0, |segment| segment.row().min_timestamp_ns)
    }

    /// One more than its inputs; a segment that is only rewritten keeps its level.
    pub(crate) fn level(&self) -> u32 {
        let levels = self.inputs.iter().map(|segment| segment.row().level);
        levels.max().unwrap_or(0) + u32::from(self.inputs.len() > 1)
    }
}

/// The most urgent merge, and how much waits.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) job: Option<Job>,
    /// Segments more than there would be if compaction had caught up.
    pub(crate) debt: u64,
}

impl Plan {
    /// Deletes come first, then the tier with most segments.
    pub(crate) fn of(
        segments: &[Arc<SegmentHandle>],
        options: &CompactionOptions,
        can_delete: bool,
        now_ns: i64,
    ) -> Self {
        let fan_in = usize::try_from(options.fan_in.max(2)).unwrap_or(usize::MAX);
        let mut days: BTreeMap<(&TenantId, i64), Vec<&Arc<SegmentHandle>>> = BTreeMap::new();
        for segment in segments {
            let row = segment.row();
            let day = row.min_timestamp_ns.div_euclid(DAY_NS);
            days.entry((&row.tenant, day)).or_default().push(segment);
        }
        let mut debt = 0;
        let mut widest: Option<Vec<&Arc<SegmentHandle>>> = None;
        let mut quiet = None;
        for day in days.into_values() {
            let mut tiers: BTreeMap<u32, Vec<&Arc<SegmentHandle>>> = BTreeMap::new();
            for segment in &day {
                if segment.row().bytes < options.segment_max_bytes {
                    tiers
                        .entry(tier(segment, options))
                        .or_default()
                        .push(segment);
                }
            }
            for tier in tiers.into_values() {
                debt += tier.len().saturating_sub(fan_in - 1) as u64;
                if tier.len() >= fan_in && widest.as_ref().is_none_or(|w| tier.len() > w.len()) {
                    widest = Some(tier);
                }
            }
            quiet = quiet.or_else(|| of_quiet_day(&day, options, now_ns));
        }
        let with_deletes = segments
            .iter()
            .find(|segment| can_delete && !segment.deletes().is_empty());
        let inputs = match (with_deletes, widest) {
            (Some(segment), _) => Some(vec![segment.clone()]),
            (None, Some(tier)) => Some(oldest(tier, fan_in, options)),
            (None, None) => quiet,
        };
        Self {
            job: inputs.and_then(Job::of),
            debt,
        }
    }
}

/// Segments of one tier are within a factor of `fan_in`.
fn tier(segment: &SegmentHandle, options: &CompactionOptions) -> u32 {
    let base = options.fan_in.max(2);
    (segment.row().bytes / TIER_BYTES).max(1).ilog(base)
}

/// The oldest of a tier, at least two, as many as fit into one segment.
fn oldest(
    mut tier: Vec<&Arc<SegmentHandle>>,
    fan_in: usize,
    options: &CompactionOptions,
) -> Vec<Arc<SegmentHandle>> {
    tier.sort_by_key(|segment| segment.row().min_timestamp_ns);
    let mut bytes = 0;
    tier.into_iter()
        .take(fan_in)
        .enumerate()
        .take_while(|(position, segment)| {
            bytes += segment.row().bytes;
            *position < 2 || bytes <= options.segment_max_bytes
        })
        .map(|(_, segment)| segment.clone())
        .collect()
}

/// The small segments of a day that nothing is written to any more: each at most `fan_in` times as long as all smaller
/// ones together, so that a late record does not have a gigabyte copied.
fn of_quiet_day(
    day: &[&Arc<SegmentHandle>],
    options: &CompactionOptions,
    now_ns: i64,
) -> Option<Vec<Arc<SegmentHandle>>> {
    let newest = day.iter().map(|s| s.row().created_at_ns).max()?;
    let pause_ms = i64::try_from(options.quiet_after_ms).unwrap_or(i64::MAX);
    if now_ns.saturating_sub(newest) < pause_ms.saturating_mul(MILLISECOND_NS) {
        return None;
    }
    let mut by_size = day.to_vec();
    by_size.sort_by_key(|segment| segment.row().bytes);
    let mut bytes: u64 = 0;
    let mut inputs = Vec::new();
    for segment in by_size {
        let more = segment.row().bytes;
        let too_long = bytes + more > options.segment_max_bytes;
        if too_long || (!inputs.is_empty() && more > bytes.saturating_mul(options.fan_in)) {
            break;
        }
        bytes += more;
        inputs.push(segment.clone());
    }
    (inputs.len() > 1).then_some(inputs)
}

#[cfg(test)]
mod tests {
    use logmill_catalog::{DeleteId, SegmentId, SegmentRow};

    use super::*;
    use crate::PendingDelete;

    fn segment(tenant: &str, day: i64, bytes: u64) -> Arc<SegmentHandle> {
        let row = SegmentRow {
            id: SegmentId(format!("{tenant}{day}{bytes}")),
            tenant: tenant.parse().unwrap(),
            path: String::new(),
            rows: 1,
            bytes,
            min_timestamp_ns: day * DAY_NS + bytes.cast_signed(),
            max_timestamp_ns: day * DAY_NS + bytes.cast_signed(),
            columns: Vec::new(),
            checksum: 0,
            level: 0,
            created_at_ns: 0,
        };
        SegmentHandle::new(row, &crate::in_use::InUse::new().0)
    }

    fn plan(segments: &[Arc<SegmentHandle>], now_ns: i64) -> (Vec<u64>, u64) {
        let plan = Plan::of(segments, &CompactionOptions::default(), true, now_ns);
        let inputs = plan.job.map(|job| job.inputs).unwrap_or_default();
        (inputs.iter().map(|s| s.row().bytes).collect(), plan.debt)
    }

    #[test]
    fn eight_of_a_size_of_one_day_and_tenant_are_merged() {
        let mut segments: Vec<_> = (0..7).map(|n| segment("a", 1, 10_000 + n)).collect();
        segments.push(segment("a", 2, 10_000));
        segments.push(segment("b", 1, 10_000));
        segments.push(segment("a", 1, 100_000_000));
        assert_eq!(plan(&segments, 0), (vec![], 0));
        segments.extend([segment("a", 1, 9_999), segment("a", 1, 20_000)]);
        let oldest = (9_999..10_007)
            .filter(|n| *n != 20_000)
            .collect::<Vec<u64>>();
        assert_eq!(plan(&segments, 0), (oldest, 2));
    }

    #[test]
    fn a_quiet_day_is_merged_without_copying_a_giant_for_a_dwarf() {
        let segments = [
            segment("a", 1, 1_000),
            segment("a", 1, 7_000),
            segment("a", 1, 500_000),
        ];
        assert_eq!(plan(&segments, 599_999_000_000).0, Vec::<u64>::new());
        assert_eq!(plan(&segments, 600_000_000_000).0, [1_000, 7_000]);
        assert_eq!(plan(&segments[1..], i64::MAX).0, Vec::<u64>::new());
    }

    #[test]
    fn deletes_come_first_and_large_segments_are_left_alone() {
        let large: Vec<_> = (0..9).map(|n| segment("a", 1, (1 << 30) + n)).collect();
        assert_eq!(plan(&large, i64::MAX), (vec![], 0));
        large[3].add_delete(Arc::new(PendingDelete {
            id: DeleteId("d".to_owned()),
            predicate: "{}".into(),
        }));
        assert_eq!(plan(&large, 0), (vec![(1 << 30) + 3], 0));
    }

    #[test]
    fn a_merge_is_no_longer_than_a_segment_may_be() {
        let segments: Vec<_> = (0..8).map(|n| segment("a", 1, (300 << 20) + n)).collect();
        assert_eq!(plan(&segments, 0).0.len(), 3);
    }
}
