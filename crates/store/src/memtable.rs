//! What the store holds in memory, per tenant: batches not yet in segments, and the segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow_array::{Array, RecordBatch};
use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;
use logmill_schema::{ColumnType, TableSchema};
use rustc_hash::FxHashMap;

use crate::{Error, Result, SegmentHandle, Snapshot, StoreStatus};

/// The budget of all batches in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: u64,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            limit,
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    /// Takes a part, or says that there is not enough left.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation> {
        let limit = self.limit;
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        match self
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, fits)
        {
            Ok(_) => Ok(Reservation {
                budget: self.clone(),
                bytes,
            }),
            Err(used) => Err(Error::MemtableFull { used, limit }),
        }
    }

    /// Takes a part even beyond the limit: what the log replays is there already.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes of a batch, each buffer counted as far as it is used.
pub(crate) fn memory_size(batch: &RecordBatch) -> u64 {
    let column = |column: &Arc<dyn Array>| {
        column
            .to_data()
            .get_slice_memory_size()
            .unwrap_or_else(|_| column.get_buffer_memory_size())
    };
    batch
        .columns()
        .iter()
        .map(|array| column(array) as u64)
        .sum()
}

/// A batch in memory.
#[derive(Debug)]
pub(crate) struct MemoryBatch {
    pub(crate) batch: RecordBatch,
    pub(crate) idempotency: Option<IdempotencyRow>,
    pub(crate) _reservation: Reservation,
}

/// A tenant's records.
#[derive(Debug, Default)]
struct Tenant {
    /// Arrived since the last flush began.
    active: Vec<MemoryBatch>,
    /// Being flushed.
    frozen: Vec<Arc<MemoryBatch>>,
    segments: Vec<Arc<SegmentHandle>>,
    schema: Arc<TableSchema>,
}

/// Everything that readers see.
#[derive(Debug, Default)]
pub(crate) struct State {
    tenants: FxHashMap<TenantId, Tenant>,
    /// Queue entries before this are in memory or in segments.
    applied: u64,
    active_bytes: u64,
    oldest_active: Option<Instant>,
}

/// What a flush takes: all batches of all tenants up to a position of the queue.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) watermark: u64,
    pub(crate) tenants: Vec<(TenantId, Vec<Arc<MemoryBatch>>)>,
}

impl State {
    /// Makes a batch visible; batches come in the order of the queue.
    pub(crate) fn apply(&mut self, sequence: u64, tenant: &TenantId, batch: MemoryBatch) {
        debug_assert!(sequence >= self.applied, "the queue delivers in order");
        self.applied = sequence + 1;
        self.active_bytes += batch._reservation.bytes;
        self.oldest_active.get_or_insert_with(Instant::now);
        let tenant = self.tenants.entry(tenant.clone()).or_default();
        extend(&mut tenant.schema, batch.batch.schema_ref());
        tenant.active.push(batch);
    }

    /// Where the queue is, when nothing was replayed.
    pub(crate) fn start_at(&mut self, watermark: u64) {
        self.applied = self.applied.max(watermark);
    }

    /// Bytes that arrived since the last flush began, and since when.
    pub(crate) fn active(&self) -> (u64, Option<Instant>) {
        (self.active_bytes, self.oldest_active)
    }

    /// Takes what is active for a flush; `None` when there is nothing.
    pub(crate) fn freeze(&mut self) -> Option<Frozen> {
        self.oldest_active = None;
        self.active_bytes = 0;
        let mut tenants = Vec::new();
        for (id, tenant) in &mut self.tenants {
            debug_assert!(tenant.frozen.is_empty(), "one flush at a time");
            if !tenant.active.is_empty() {
                tenant.frozen = tenant.active.drain(..).map(Arc::new).collect();
                tenants.push((id.clone(), tenant.frozen.clone()));
            }
        }
        (!tenants.is_empty()).then_some(Frozen {
            watermark: self.applied,
            tenants,
        })
    }

    /// Frozen batches and the segments made of them change places. Returns the batches: giving back so much memory takes
    /// long, and readers and the log must not wait for it.
    #[must_use]
    pub(crate) fn replace_frozen(
        &mut self,
        segments: Vec<Arc<SegmentHandle>>,
    ) -> Vec<Vec<Arc<MemoryBatch>>> {
        let tenants = self.tenants.values_mut();
        let frozen = tenants.map(|tenant| std::mem::take(&mut tenant.frozen));
        let frozen = frozen.collect();
        self.add_segments(segments);
        frozen
    }

    pub(crate) fn add_segments(&mut self, segments: Vec<Arc<SegmentHandle>>) {
        for segment in segments {
            let tenant = self
                .tenants
                .entry(segment.row().tenant.clone())
                .or_default();
            extend_columns(&mut tenant.schema, &segment);
            let newest = segment.row().max_timestamp_ns;
            let at = tenant
                .segments
                .partition_point(|s| s.row().max_timestamp_ns > newest);
            tenant.segments.insert(at, segment);
        }
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<SegmentHandle>> {
        self.tenants.values().flat_map(|tenant| &tenant.segments)
    }

    /// Segments take the place of others; no reader sees both or neither.
    pub(crate) fn replace_segments(
        &mut self,
        gone: &[Arc<SegmentHandle>],
        new: Vec<Arc<SegmentHandle>>,
    ) {
        self.add_segments(new);
        self.remove_segments(gone);
    }

    /// Takes segments away, and columns that only they had.
    pub(crate) fn remove_segments(&mut self, gone: &[Arc<SegmentHandle>]) {
        for tenant in self.tenants.values_mut() {
            let before = tenant.segments.len();
            tenant
                .segments
                .retain(|segment| !gone.iter().any(|other| Arc::ptr_eq(other, segment)));
            if tenant.segments.len() < before {
                let mut schema = Arc::new(TableSchema::new());
                for segment in &tenant.segments {
                    extend_columns(&mut schema, segment);
                }
                let frozen = tenant.frozen.iter().map(|batch| &batch.batch);
                for batch in tenant.active.iter().map(|batch| &batch.batch).chain(frozen) {
                    extend(&mut schema, batch.schema_ref());
                }
                tenant.schema = schema;
            }
        }
    }

    pub(crate) fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        let Some(tenant) = self.tenants.get(tenant) else {
            return Snapshot::default();
        };
        let frozen = tenant.frozen.iter().map(|batch| &batch.batch);
        let active = tenant.active.iter().map(|batch| &batch.batch);
        Snapshot {
            schema: tenant.schema.clone(),
            memtable: frozen.chain(active).cloned().collect(),
            segments: tenant.segments.clone(),
        }
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let mut status = StoreStatus::default();
        for tenant in self.tenants.values() {
            let frozen = tenant.frozen.iter().map(|batch| &batch.batch);
            let active = tenant.active.iter().map(|batch| &batch.batch);
            status.memtable_rows += frozen
                .chain(active)
                .map(|b| b.num_rows() as u64)
                .sum::<u64>();
            status.segments += tenant.segments.len() as u64;
            for segment in &tenant.segments {
                status.segment_rows += segment.row().rows;
                status.segment_bytes += segment.row().bytes;
            }
        }
        status
    }
}

/// Takes a batch's columns in; the schema is only copied when it changes.
fn extend(table: &mut Arc<TableSchema>, schema: &arrow_schema::Schema) {
    for arrow_field in schema.fields() {
        let kind = ColumnType::of(arrow_field).unwrap_or(ColumnType::String);
        extend_with(table, arrow_field.name(), kind);
    }
}

fn extend_columns(table: &mut Arc<TableSchema>, segment: &SegmentHandle) {
    for column in &segment.row().columns {
        extend_with(table, &column.name, column.column_type);
    }
}

fn extend_with(table: &mut Arc<TableSchema>, name: &str, kind: ColumnType) {
    let known = table.column(name);
    let joined = known.map(|known| known.join(kind));
    if known.is_none() || joined != known && !logmill_model::field::CANONICAL.contains(&name) {
        Arc::make_mut(table).add(name, kind);
    }
}
