//! What a reader sees.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use logmill_catalog::{DeleteId, SegmentRow};
use logmill_model::TimeRange;
use logmill_schema::TableSchema;
use logmill_segment::{BatchCounts, BatchValues};
use parking_lot::RwLock;

use crate::PendingDelete;
use crate::in_use::{Held, InUse};

/// A tenant's records at one moment. Holding it keeps the objects of its segments alive.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The union of all columns.
    pub schema: Arc<TableSchema>,
    /// Records not yet in segments; each batch with the columns it came with.
    pub memtable: Vec<MemtableBatch>,
    /// Segments, newest first (by newest record).
    pub segments: Vec<Arc<SegmentHandle>>,
    /// Where a table has the logs: records of positions of the queue before this are there, those from it on in memory.
    pub flushed: u64,
}

/// A batch of the memtable.
#[derive(Clone, Debug)]
pub struct MemtableBatch {
    rows: RecordBatch,
    said: Arc<Said>,
}

/// What is known of a batch without looking at each record, made when it is asked for first; none when that failed.
#[derive(Debug, Default)]
struct Said {
    counts: OnceLock<Option<BatchCounts>>,
    values: OnceLock<Option<BatchValues>>,
}

impl MemtableBatch {
    pub(crate) fn new(rows: RecordBatch) -> Self {
        Self {
            rows,
            said: Arc::default(),
        }
    }

    /// The records.
    pub const fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The records' times and their counts over time, if they are known.
    pub fn counts(&self) -> Option<&BatchCounts> {
        let make = || known(BatchCounts::of(&self.rows));
        self.said.counts.get_or_init(make).as_ref()
    }

    /// The values of the records' columns, if they are known.
    pub fn values(&self) -> Option<&BatchValues> {
        let make = || known(BatchValues::of(&self.rows));
        self.said.values.get_or_init(make).as_ref()
    }
}

fn known<T>(made: logmill_segment::Result<T>) -> Option<T> {
    let unknown = |error: &_| tracing::warn!(%error, "records in memory are counted one by one");
    made.inspect_err(unknown).ok()
}

impl Snapshot {
    /// Whether what was flushed may have records in a range of time.
    pub fn has_rows(&self, range: TimeRange) -> bool {
        let rows = self.segments.iter().map(|segment| segment.row());
        let mut times = rows.map(|row| (row.min_timestamp_ns, row.max_timestamp_ns));
        times.any(|(min, max)| range.overlaps_inclusive(min, max))
    }
}

/// A segment that lives as long as somebody reads it.
#[derive(Debug)]
pub struct SegmentHandle {
    row: SegmentRow,
    /// What readers leave out.
    deletes: RwLock<Vec<Arc<PendingDelete>>>,
    /// Positions of the retention rules that were applied, or are being.
    rules: RwLock<Vec<usize>>,
    obsolete: AtomicBool,
    /// Nobody takes the object away while there is a handle; `None` only while it is dropped.
    held: Option<Held>,
}

impl SegmentHandle {
    pub(crate) fn new(row: SegmentRow, in_use: &InUse) -> Arc<Self> {
        let held = Some(in_use.hold(&row.path));
        Arc::new(Self {
            row,
            deletes: RwLock::default(),
            rules: RwLock::default(),
            obsolete: AtomicBool::new(false),
            held,
        })
    }

    /// The catalog's row.
    pub fn row(&self) -> &SegmentRow {
        &self.row
    }

    /// Deletes whose records are still in the object: answers must leave them out.
    pub fn deletes(&self) -> Vec<Arc<PendingDelete>> {
        self.deletes.read().clone()
    }

    pub(crate) fn add_delete(&self, delete: Arc<PendingDelete>) {
        let mut deletes = self.deletes.write();
        if !deletes.iter().any(|known| known.id == delete.id) {
            deletes.push(delete);
        }
    }

    /// The catalog says which deletes there are.
    pub(crate) fn set_deletes(&self, deletes: Vec<Arc<PendingDelete>>) {
        *self.deletes.write() = deletes;
    }

    /// A delete found none of its records in the object.
    pub(crate) fn settle_delete(&self, id: &DeleteId) {
        self.deletes.write().retain(|delete| delete.id != *id);
    }

    pub(crate) fn is_under_rule(&self, rule: usize) -> bool {
        self.rules.read().contains(&rule)
    }

    pub(crate) fn put_under_rule(&self, rule: usize) {
        self.rules.write().push(rule);
    }

    /// Takes over the rules that all of these were under: a merge of them has none of their records either.
    pub(crate) fn inherit_rules(&self, inputs: &[Arc<Self>]) {
        let Some(first) = inputs.first() else { return };
        let mut rules = first.rules.read().clone();
        rules.retain(|rule| inputs.iter().all(|input| input.is_under_rule(*rule)));
        *self.rules.write() = rules;
    }

    /// The catalog has forgotten the segment: its object goes with its last reader.
    pub(crate) fn mark_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for SegmentHandle {
    fn drop(&mut self) {
        if let (true, Some(held)) = (self.obsolete.load(Ordering::Acquire), self.held.take()) {
            held.delete();
        }
    }
}
