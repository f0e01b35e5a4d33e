//! One merge: row groups are taken over or written anew, on a thread of its own.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::{SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use logmill_catalog::{DeleteId, SegmentId};
use logmill_schema::TableSchema;
use logmill_segment::{
    BlockLocation, Blocks, Newest, Rollup, RowGroupBytes, SegmentFile, SegmentOptions,
    SegmentSummary, SegmentWriter, ValueCounts,
};
use tokio::runtime::Handle;

use super::upload::Upload;
use crate::memtable::memory_size;
use crate::objects::Objects;
use crate::{DeleteFilter, DeleteMatcher, Error, PendingDelete, Result, SegmentHandle, Store};

/// Row groups of fewer rows (on average over a segment) are written anew together.
const ROW_GROUP_ROWS_MIN: usize = 1 << 16;
/// Rows of a row group that is written anew.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// A merge to do.
pub(super) struct Merge {
    pub(super) objects: Objects,
    pub(super) runtime: Handle,
    /// By their oldest record.
    pub(super) inputs: Vec<Arc<SegmentHandle>>,
    pub(super) path: String,
    pub(super) matcher: Option<Arc<dyn DeleteMatcher>>,
    pub(super) segment_options: SegmentOptions,
    pub(super) memory_bytes: u64,
    /// A merge ends early when the store is closed.
    pub(super) store: Weak<Store>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The new segment; `None` when there is none to make.
    pub(super) summary: Option<SegmentSummary>,
    /// Deletes took every row of the inputs.
    pub(super) emptied: bool,
    /// Deletes that were applied.
    pub(super) settled: Vec<(SegmentId, DeleteId)>,
    pub(super) deleted_rows: Vec<(DeleteId, u64)>,
    /// Rows that were taken over without decoding.
    pub(super) rows_copied: u64,
}

/// An input, its footer read.
struct Source {
    handle: Arc<SegmentHandle>,
    file: SegmentFile,
    deletes: Vec<(DeleteId, DeleteFilter)>,
}

impl Source {
    /// Whether its row groups are worth keeping as they are.
    fn is_settled(&self) -> bool {
        let rows = usize::try_from(self.handle.row().rows).unwrap_or(usize::MAX);
        self.deletes.is_empty() && rows / self.file.row_groups().max(1) >= ROW_GROUP_ROWS_MIN
    }
}

impl Merge {
    pub(super) fn run(self) -> Result<Merged> {
        let sources = self.inputs.iter().map(|input| self.open(input));
        let sources: Vec<Source> = sources.collect::<Result<_>>()?;
        let mut merged = Merged::default();
        for source in &sources {
            let segment = &source.handle.row().id;
            let applied = source
                .deletes
                .iter()
                .map(|(id, _)| (segment.clone(), id.clone()));
            merged.settled.extend(applied);
        }
        let mut output = Output::new(&self, &sources);
        for source in &sources {
            if source.is_settled() && output.copy(source, &mut merged)? {
                continue;
            }
            for row_group in 0..source.file.row_groups() {
                self.check_open()?;
                let bytes = self.row_group(source, row_group)?;
                for batch in source.file.decode_row_group(row_group, &bytes)? {
                    let kept = Self::apply_deletes(source, batch, &mut merged)?;
                    output.add(kept)?;
                }
            }
        }
        let only_deletes = sources.len() == 1;
        if only_deletes && merged.deleted_rows.iter().all(|(_, rows)| *rows == 0) {
            // Nothing of the deletes was in it: the segment stays.
            merged.deleted_rows.clear();
            return Ok(merged);
        }
        merged.summary = output.finish()?;
        merged.emptied = merged.summary.is_none();
        Ok(merged)
    }

    fn check_open(&self) -> Result<()> {
        match self.store.upgrade() {
            Some(store) if !store.closed.load(Ordering::Acquire) => Ok(()),
            _ => Err(Error::Closed),
        }
    }

    fn open(&self, handle: &Arc<SegmentHandle>) -> Result<Source> {
        let row = handle.row();
        let file = self
            .runtime
            .block_on(self.objects.open_segment(&row.path, row.bytes))?;
        let pending = handle.deletes();
        let deletes = pending.iter().map(|delete| self.prepare(delete, &file));
        Ok(Source {
            deletes: deletes.collect::<Result<_>>()?,
            handle: handle.clone(),
            file,
        })
    }

    fn prepare(
        &self,
        delete: &PendingDelete,
        file: &SegmentFile,
    ) -> Result<(DeleteId, DeleteFilter)> {
        let Some(matcher) = &self.matcher else {
            return Err(Error::Internal(
                "there is nothing that understands deletes".to_owned(),
            ));
        };
        let filter = matcher
            .prepare(&delete.predicate, &file.metadata().columns)
            .map_err(|problem| not_applied(&delete.id, &problem))?;
        Ok((delete.id.clone(), filter))
    }

    fn read(&self, source: &Source, range: Range<u64>) -> Result<Bytes> {
        let path = &source.handle.row().path;
        self.runtime.block_on(self.objects.get_range(path, range))
    }

    fn row_group(&self, source: &Source, row_group: usize) -> Result<RowGroupBytes> {
        let range = source.file.row_group_range(row_group);
        Ok(RowGroupBytes {
            offset: range.start,
            bytes: self.read(source, range)?,
        })
    }

    /// The rows that no delete is about.
    fn apply_deletes(
        source: &Source,
        batch: RecordBatch,
        merged: &mut Merged,
    ) -> Result<RecordBatch> {
        let mut batch = batch;
        for (id, filter) in &source.deletes {
            let matches = filter(&batch).map_err(|problem| not_applied(id, &problem))?;
            let keep: BooleanArray = (0..matches.len())
                .map(|row| Some(matches.is_null(row) || !matches.value(row)))
                .collect();
            let kept = filter_record_batch(&batch, &keep).map_err(|error| {
                Error::Internal(format!("taking rows out of a segment: {error}"))
            })?;
            let gone = (batch.num_rows() - kept.num_rows()) as u64;
            match merged
                .deleted_rows
                .iter_mut()
                .find(|(other, _)| other == id)
            {
                Some((_, rows)) => *rows += gone,
                None => merged.deleted_rows.push((id.clone(), gone)),
            }
            batch = kept;
        }
        Ok(batch)
    }
}

fn not_applied(id: &DeleteId, problem: &str) -> Error {
    Error::Internal(format!("delete {}: {problem}", id.0))
}

/// The segment under construction. It is begun with its first rows: encodings are chosen from them.
struct Output<'a> {
    merge: &'a Merge,
    schema: SchemaRef,
    unit: TimeUnit,
    writer: Option<SegmentWriter<Upload>>,
    /// Rows that wait for more to make a row group.
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: u64,
}

impl<'a> Output<'a> {
    fn new(merge: &'a Merge, sources: &[Source]) -> Self {
        let mut table = TableSchema::new();
        let mut there = Vec::new();
        for (name, kind) in sources
            .iter()
            .flat_map(|source| &source.file.metadata().columns)
        {
            table.add(name, *kind);
            there.push(name.as_str());
        }
        let columns = table.columns().filter(|(name, _)| there.contains(name));
        let fields: Vec<_> = columns.map(|(name, kind)| kind.field(name)).collect();
        let whole = |source: &Source| source.file.time_unit() == TimeUnit::Microsecond;
        let unit = if sources.iter().all(whole) {
            TimeUnit::Microsecond
        } else {
            TimeUnit::Nanosecond
        };
        Self {
            merge,
            schema: Arc::new(arrow_schema::Schema::new(fields)),
            unit,
            writer: None,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
        }
    }

    fn writer(&mut self, sample: &[RecordBatch]) -> Result<&mut SegmentWriter<Upload>> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => {
                let merge = self.merge;
                let upload = Upload::new(
                    merge.objects.clone(),
                    merge.path.clone(),
                    merge.runtime.clone(),
                );
                let (schema, options) = (self.schema.clone(), &merge.segment_options);
                let writer = SegmentWriter::new(upload, schema, self.unit, sample, options)?;
                Ok(none.insert(writer))
            }
        }
    }

    /// Takes a segment over as it is; `false` when that is not possible.
    fn copy(&mut self, source: &Source, merged: &mut Merged) -> Result<bool> {
        let merge = self.merge;
        let writer = self.writer(&[])?;
        if !writer.can_copy(&source.file) {
            return Ok(false);
        }
        let metadata = source.file.metadata();
        let (Some(index), Some(location)) = (source.file.index_range(), &metadata.rollup) else {
            return Ok(false);
        };
        let index = merge.read(source, index)?;
        let block = |block: &BlockLocation| merge.read(source, block.range());
        let rollup = Rollup::read(location, &block(location)?);
        let newest = match &metadata.newest {
            Some(location) => Some(Newest::read(location, &block(&location.block)?)),
            None => None,
        };
        let values = match &metadata.values {
            Some(location) => Some(ValueCounts::read(location, &block(location)?)),
            None => None,
        };
        let parts = source.file.check_index(&index).and(rollup);
        let parts = parts.and_then(|rollup| Ok((rollup, newest.transpose()?, values.transpose()?)));
        let (rollup, newest, values) = match parts {
            Ok(parts) => parts,
            Err(error) => {
                // They can be made anew from the rows, so the merge mends the segment instead of failing for ever.
                let path = &source.handle.row().path;
                tracing::warn!(%error, path, "a segment is damaged beside its rows; it is written anew");
                metrics::counter!("logmill_segments_mended_total").increment(1);
                return Ok(false);
            }
        };
        let mut failure = None;
        let blocks = Blocks {
            index: &index,
            rollup: &rollup,
            newest: newest.as_ref(),
            values: values.as_ref(),
        };
        let copied = writer.copy(&source.file, &blocks, |row_group| {
            let read = merge
                .check_open()
                .and_then(|()| merge.row_group(source, row_group));
            read.map_err(|error| {
                let message = error.to_string();
                failure = Some(error);
                logmill_segment::Error::NotASegment(message)
            })
        });
        match (copied, failure) {
            (_, Some(failure)) => Err(failure),
            (Err(error), None) => Err(error.into()),
            (Ok(()), None) => {
                merged.rows_copied += source.handle.row().rows;
                Ok(true)
            }
        }
    }

    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.pending_rows += batch.num_rows();
        self.pending_bytes += memory_size(&batch);
        self.pending.push(batch);
        if self.pending_rows >= ROW_GROUP_ROWS || self.pending_bytes >= self.merge.memory_bytes {
            self.write_pending()?;
        }
        Ok(())
    }

    fn write_pending(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.pending);
        (self.pending_rows, self.pending_bytes) = (0, 0);
        Ok(self.writer(&batches)?.write(&batches)?)
    }

    fn finish(mut self) -> Result<Option<SegmentSummary>> {
        if !self.pending.is_empty() {
            self.write_pending()?;
        }
        let Some(writer) = self.writer else {
            return Ok(None);
        };
        if writer.rows() == 0 {
            return Ok(None);
        }
        let (summary, upload) = writer.finish()?;
        upload.finish()?;
        Ok(Some(summary))
    }
}
