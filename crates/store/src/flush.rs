//! From memory into segments: freeze, encode, put, commit, swap, let go of the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use bytes::Bytes;
use logmill_catalog::{FlushCommit, SegmentColumn, SegmentId, SegmentRow};
use logmill_model::time::DAY_NS;
use logmill_model::{ErrorKind, TenantId};
use logmill_queue::Sequence;
use logmill_segment::{GRANULE_ROWS, Position, SegmentSummary, encode_rows, positions};
use tracing::Instrument;
use ulid::Ulid;

use crate::fleet::Fleet;
use crate::in_use::Held;
use crate::log::Log;
use crate::memtable::{Frozen, MemoryBatch};
use crate::objects::segment_path;
use crate::{Error, Result, SegmentHandle, Store};

/// What is known between flushes; its lock lets one flush run at a time, and nothing change the segments meanwhile.
#[derive(Debug, Default)]
pub(crate) struct FlushState {
    /// The partitions that this process flushes.
    pub(crate) partitions: BTreeMap<u32, FlushedPartition>,
}

/// A partition that this process flushes.
#[derive(Debug)]
pub(crate) struct FlushedPartition {
    /// The catalog's watermark.
    pub(crate) watermark: u64,
    /// What an earlier flush took and could not bring to an end.
    pub(crate) unfinished: Option<Frozen>,
    /// Of the partition's lease, where partitions are leased.
    pub(crate) epoch: Option<u64>,
}

impl FlushedPartition {
    pub(crate) const fn at(watermark: u64) -> Self {
        Self {
            watermark,
            unfinished: None,
            epoch: None,
        }
    }
}

impl Store {
    /// Flushes what was acknowledged so far; done when it is in segments.
    pub async fn flush(&self) -> Result<()> {
        match self.log.fleet() {
            Some(fleet) => {
                let all: Vec<u32> = (0..fleet.queue.partitions()).collect();
                self.flush_elsewhere(fleet, &all).await
            }
            None => self.flush_here().await,
        }
    }

    /// Flushes what this process holds of the partitions that are its own.
    pub(crate) async fn flush_here(&self) -> Result<()> {
        self.flush_some(|_| true).await
    }

    /// Flushes the partitions that are due; the first failure does not keep the others from it.
    pub(crate) async fn flush_some(&self, due: impl Fn(u32) -> bool) -> Result<()> {
        let mut state = self.flush_state.lock().await;
        if let Some(fleet) = self.log.fleet() {
            self.take_over_leases(&mut state, fleet);
        }
        let mut outcome = Ok(());
        for (partition, flushed) in &mut state.partitions {
            if due(*partition) || flushed.unfinished.is_some() {
                outcome = outcome.and(self.flush_partition(*partition, flushed).await);
            }
        }
        *self.flush_failure.lock() = outcome.as_ref().err().map(ToString::to_string);
        self.report();
        outcome
    }

    /// What is flushed here follows the leases.
    fn take_over_leases(&self, state: &mut FlushState, fleet: &Fleet) {
        let led = fleet.led();
        state.partitions.retain(|partition, flushed| {
            let stays = led.get(partition).map(|led| led.epoch) == flushed.epoch;
            if !stays {
                self.state.write().thaw(*partition);
            }
            stays
        });
        for (partition, led) in led {
            state
                .partitions
                .entry(partition)
                .or_insert(FlushedPartition {
                    epoch: Some(led.epoch),
                    ..FlushedPartition::at(led.watermark)
                });
        }
    }

    async fn flush_partition(&self, partition: u32, flushed: &mut FlushedPartition) -> Result<()> {
        if let Some(frozen) = flushed.unfinished.take() {
            self.flush_frozen(flushed, frozen).await?;
        }
        let frozen = {
            let mut state = self.state.write();
            let nothing = Frozen {
                partition,
                watermark: state.applied(partition),
                tenants: Vec::new(),
            };
            state.freeze(partition).unwrap_or(nothing)
        };
        // Entries without records, such as dead letters, are done as well.
        if frozen.tenants.is_empty() && frozen.watermark <= flushed.watermark {
            return Ok(());
        }
        self.flush_frozen(flushed, frozen).await
    }

    /// Brings a frozen memtable into segments; on failure it stays frozen, for another try.
    async fn flush_frozen(&self, flushed: &mut FlushedPartition, frozen: Frozen) -> Result<()> {
        let begun = Instant::now();
        let span = tracing::debug_span!("flush", partition = frozen.partition, frozen.watermark);
        logmill_telemetry::link(&span, frozen.traces());
        let outcome = self
            .write_and_commit(flushed, &frozen)
            .instrument(span.clone())
            .await
            .inspect_err(|error| logmill_telemetry::failed(&span, error));
        drop(span);
        let handles = match outcome {
            Ok(handles) => handles,
            Err(Error::Catalog(error)) if error.kind() == ErrorKind::Conflict => {
                // The next flush puts what it took back in its place.
                if let (Some(fleet), Some(epoch)) = (self.log.fleet(), flushed.epoch) {
                    self.lose(fleet, frozen.partition, epoch);
                }
                return Err(error.into());
            }
            Err(error) => {
                metrics::counter!("logmill_flush_failures_total").increment(1);
                flushed.unfinished = Some(frozen);
                return Err(error);
            }
        };
        let rows: u64 = handles.iter().map(|handle| handle.row().rows).sum();
        let (segments, watermark) = (handles.len(), frozen.watermark);
        let partition = frozen.partition;
        let leaving = {
            let mut state = self.state.write();
            state.add_segments(handles);
            state.let_go(partition, watermark)
        };
        flushed.watermark = watermark;
        let gone = move || {
            drop((frozen, leaving));
            Ok(())
        };
        self.flusher.run(gone).await?;
        metrics::histogram!("logmill_flush_seconds").record(begun.elapsed().as_secs_f64());
        metrics::counter!("logmill_flush_rows_total").increment(rows);
        tracing::debug!(rows, segments, watermark, elapsed = ?begun.elapsed(), "flushed");
        self.plan_compaction();
        self.compaction_wanted.notify_one();
        match &self.log {
            Log::Local(_) => {
                let before = Sequence(watermark);
                if let Err(error) = self.log.queue().truncate_before(partition, before).await {
                    tracing::warn!(%error, "old log files stay until the next flush");
                }
            }
            Log::Fleet(fleet) => fleet.trim_later(partition, watermark),
        }
        Ok(())
    }

    /// Puts the segments and commits them with the watermark.
    async fn write_and_commit(
        &self,
        flushed: &FlushedPartition,
        frozen: &Frozen,
    ) -> Result<Vec<Arc<SegmentHandle>>> {
        let mut rows_of_catalog = Vec::new();
        // Until there are handles.
        let mut held = Vec::new();
        let mut new_rows = None;
        if let Some(table) = &self.table {
            let (about, rows) = self.rows_of(frozen).await?;
            rows_of_catalog = about;
            new_rows = Some((table, rows));
        } else {
            for (tenant, batches) in &frozen.tenants {
                let plain: Arc<[RecordBatch]> = batches
                    .iter()
                    .map(|batch| batch.batch.rows().clone())
                    .collect();
                let cut = {
                    let plain = plain.clone();
                    move || cut_by_day(&plain)
                };
                for rows in self.flusher.run(cut).await? {
                    let (row, written) = self.write_segment(tenant, plain.clone(), rows).await?;
                    rows_of_catalog.push(row);
                    held.push(written);
                }
            }
        }
        let batches = frozen.tenants.iter().flat_map(|(_, batches)| batches);
        let keys = batches.filter_map(|batch: &Arc<MemoryBatch>| batch.idempotency.clone());
        let commit = FlushCommit {
            partition: self.log.partition_name(frozen.partition),
            expected_watermark: flushed.watermark,
            epoch: flushed.epoch,
            new_watermark: frozen.watermark,
            segments: rows_of_catalog.clone(),
            idempotency: keys.collect(),
        };
        let committing = tracing::debug_span!("commit", segments = commit.segments.len());
        let committing = async {
            match new_rows {
                Some((table, rows)) => table.commit_flush(commit, rows).await,
                None => self.catalog.commit_flush(commit).await,
            }
        }
        .instrument(committing);
        match committing.await {
            Ok(()) => {}
            // An earlier try did commit, although it reported a failure: its segments are the ones.
            Err(logmill_catalog::Error::WatermarkMoved { found, .. })
                if found == frozen.watermark =>
            {
                match self.log.fleet() {
                    Some(fleet) => {
                        self.sync(fleet).await?;
                        rows_of_catalog.clear();
                    }
                    None => rows_of_catalog = self.unknown_segments().await?,
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(rows_of_catalog
            .into_iter()
            .map(|row| SegmentHandle::new(row, &self.in_use))
            .collect())
    }

    /// Segments of the catalog that readers do not see yet.
    async fn unknown_segments(&self) -> Result<Vec<SegmentRow>> {
        let mut rows = self.catalog.segments().await?;
        let state = self.state.read();
        rows.retain(|row| !state.segments().any(|known| known.row().id == row.id));
        Ok(rows)
    }

    async fn write_segment(
        &self,
        tenant: &TenantId,
        batches: Arc<[RecordBatch]>,
        rows: Vec<Position>,
    ) -> Result<(SegmentRow, Held)> {
        let options = self.options.segment_options();
        let encoding = tracing::debug_span!("encode", %tenant, rows = rows.len());
        let encode = move || {
            // A record takes some 30 bytes; a vector that grows is memory touched twice.
            let mut bytes = Vec::with_capacity(rows.len() * 32);
            let summary = encode_rows(&batches, rows, &options, &mut bytes)?;
            Ok((summary, Bytes::from(bytes)))
        };
        let (summary, bytes) = self.flusher.run(encode).instrument(encoding).await?;
        let id = Ulid::generate().to_string();
        let path = segment_path(tenant, summary.min_timestamp_ns, &id);
        let held = self.in_use.hold(&path);
        let putting = tracing::debug_span!("put", path, bytes = bytes.len());
        self.objects.put(&path, bytes).instrument(putting).await?;
        let row = segment_row(tenant, id, path, summary, 0, self.clock.now_ns());
        Ok((row, held))
    }
}

/// The catalog's row of a segment that was written.
pub(crate) fn segment_row(
    tenant: &TenantId,
    id: String,
    path: String,
    summary: SegmentSummary,
    level: u32,
    now_ns: i64,
) -> SegmentRow {
    let columns = summary.columns.into_iter();
    SegmentRow {
        id: SegmentId(id),
        tenant: tenant.clone(),
        path,
        rows: summary.rows,
        bytes: summary.bytes,
        min_timestamp_ns: summary.min_timestamp_ns,
        max_timestamp_ns: summary.max_timestamp_ns,
        columns: columns
            .map(|(name, column_type)| SegmentColumn { name, column_type })
            .collect(),
        checksum: summary.checksum,
        level,
        created_at_ns: now_ns,
    }
}

/// The rows of each UTC day; days with fewer rows than a granule share a segment with the next.
fn cut_by_day(batches: &[RecordBatch]) -> Result<Vec<Vec<Position>>> {
    let mut days: BTreeMap<i64, Vec<Position>> = BTreeMap::new();
    let times = batches
        .iter()
        .map(logmill_segment::timestamps)
        .collect::<Result<Vec<_>, _>>()?;
    let day_of = |time: i64| time.div_euclid(DAY_NS);
    let mut last: Option<(i64, Vec<Position>)> = None;
    for position in positions(batches) {
        let day = day_of(times[position.batch as usize][position.row as usize]);
        match &mut last {
            Some((known, rows)) if *known == day => rows.push(position),
            _ => {
                if let Some((known, rows)) = last.take() {
                    days.insert(known, rows);
                }
                let mut rows = days.remove(&day).unwrap_or_default();
                rows.push(position);
                last = Some((day, rows));
            }
        }
    }
    days.extend(last);
    let mut chunks = Vec::new();
    let mut chunk: Vec<Position> = Vec::new();
    for rows in days.into_values() {
        chunk.extend(rows);
        if chunk.len() >= GRANULE_ROWS {
            chunks.push(std::mem::take(&mut chunk));
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::TimestampNanosecondArray;
    use arrow_schema::Schema;
    use logmill_schema::ColumnType;

    use super::*;

    fn batch(times: Vec<i64>) -> RecordBatch {
        let array = TimestampNanosecondArray::from(times).with_timezone("UTC");
        let schema = Schema::new(vec![ColumnType::Timestamp.field("timestamp")]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).unwrap()
    }

    fn lengths(batches: &[RecordBatch]) -> Vec<usize> {
        cut_by_day(batches).unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn full_days_are_apart_and_sparse_days_together() {
        let day = |day: i64, rows: i64| batch((0..rows).map(|n| day * DAY_NS + n).collect());
        assert_eq!(
            lengths(&[day(3, 9_000), day(1, 9_000), day(2, 9_000)]),
            [9_000; 3]
        );
        assert_eq!(
            lengths(&(0..50).map(|n| day(n, 3)).collect::<Vec<_>>()),
            [150]
        );
        assert_eq!(lengths(&[day(1, 5), day(2, 9_000), day(3, 5)]), [9_005, 5]);
        let midnight = batch(vec![DAY_NS - 1, DAY_NS]);
        assert_eq!(lengths(&[day(0, 9_000), midnight]), [9_001, 1]);
    }
}
