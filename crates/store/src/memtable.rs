//! What the store holds in memory, per tenant: batches not yet in segments, and the segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow_array::{Array, RecordBatch};
use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;
use logmill_schema::{ColumnType, TableSchema};
use logmill_telemetry::TraceContext;
use rustc_hash::FxHashMap;

use crate::taps::{Follower, Position, Taps};
use crate::{Error, MemtableBatch, Result, SegmentHandle, Snapshot, StoreStatus};

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
    /// Its position in its partition of the queue.
    pub(crate) sequence: u64,
    pub(crate) batch: MemtableBatch,
    pub(crate) idempotency: Option<IdempotencyRow>,
    /// The trace of the append.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) _reservation: Reservation,
}

/// A tenant's records.
#[derive(Debug, Default)]
struct Tenant {
    /// The partition that its batches come by.
    partition: u32,
    /// Arrived since the last flush began.
    active: Vec<Arc<MemoryBatch>>,
    /// Being flushed.
    frozen: Vec<Arc<MemoryBatch>>,
    /// The position behind the last batch that was here and is in segments now.
    gone: u64,
    segments: Vec<Arc<SegmentHandle>>,
    schema: Arc<TableSchema>,
}

/// How much of a partition of the queue is in memory.
#[derive(Debug, Default)]
struct Partition {
    /// Entries before this are in memory or in segments.
    applied: u64,
    /// Some entries before this came into segments without having been in memory here.
    unseen: u64,
    active_bytes: u64,
    oldest_active: Option<Instant>,
}

/// Everything that readers see.
#[derive(Debug, Default)]
pub(crate) struct State {
    tenants: FxHashMap<TenantId, Tenant>,
    partitions: FxHashMap<u32, Partition>,
    /// Entries of each partition before this are flushed, by the catalog.
    flushed: FxHashMap<u32, u64>,
    taps: Taps,
}

/// A tenant from a position of its partition on.
#[derive(Debug)]
pub struct Following {
    /// What a reader sees.
    pub snapshot: Snapshot,
    /// What becomes visible after it, and before that what became visible since the position that was asked for.
    pub follower: Follower,
    /// Whether all of that is told; otherwise some of it may be in segments, where nobody can tell it from the rest.
    pub is_whole: bool,
}

/// What a flush takes: all batches of a partition up to a position of it.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) partition: u32,
    pub(crate) watermark: u64,
    pub(crate) tenants: Vec<(TenantId, Vec<Arc<MemoryBatch>>)>,
}

impl Frozen {
    /// The traces of the appends that it came by.
    pub(crate) fn traces(&self) -> impl Iterator<Item = &TraceContext> {
        let batches = self.tenants.iter().flat_map(|(_, batches)| batches);
        batches.filter_map(|batch| batch.trace.as_ref())
    }
}

/// Batches that nobody sees any more. Giving back so much memory takes long, and readers and the log must not wait for
/// it: so they are dropped where no lock is held.
pub(crate) type Leaving = Vec<Arc<MemoryBatch>>;

impl State {
    /// Makes a batch visible; the batches of a partition come in the order of the queue. One that was there, or is in
    /// segments, changes nothing.
    pub(crate) fn apply(&mut self, partition: u32, tenant: &TenantId, batch: MemoryBatch) {
        let position = self.partitions.entry(partition).or_default();
        if batch.sequence < position.applied {
            return;
        }
        position.applied = batch.sequence + 1;
        position.active_bytes += batch._reservation.bytes;
        position.oldest_active.get_or_insert_with(Instant::now);
        self.taps.tell(tenant, batch.sequence, batch.batch.rows());
        let tenant = self.tenants.entry(tenant.clone()).or_default();
        tenant.partition = partition;
        extend(&mut tenant.schema, batch.batch.rows().schema_ref());
        tenant.active.push(Arc::new(batch));
    }

    /// Entries of the partition before this are in segments.
    pub(crate) fn start_at(&mut self, partition: u32, watermark: u64) {
        let position = self.partitions.entry(partition).or_default();
        position.applied = position.applied.max(watermark);
    }

    /// The catalog says that entries of the partition before this are flushed.
    pub(crate) fn flushed_to(&mut self, partition: u32, watermark: u64) {
        let flushed = self.flushed.entry(partition).or_default();
        *flushed = (*flushed).max(watermark);
        let position = self.partitions.entry(partition).or_default();
        if position.applied < watermark {
            // What this process has not seen yet comes into sight in segments.
            position.unseen = watermark;
            self.taps.interrupt(partition);
        }
        self.start_at(partition, watermark);
    }

    /// What a reader of the tenant, whose records come by `partition`, sees, and what becomes visible from now on, or
    /// became since it was `told` of others.
    pub(crate) fn follow(
        &mut self,
        tenant: &TenantId,
        partition: u32,
        told: Option<Position>,
    ) -> Following {
        let snapshot = self.snapshot(tenant, partition);
        let now = Position {
            sequence: self.applied(partition),
            rows: 0,
        };
        let told = told.unwrap_or(now);
        let own = self.tenants.get(tenant);
        let batches = own.into_iter();
        let batches = batches.flat_map(|tenant| tenant.frozen.iter().chain(&tenant.active));
        let meanwhile = batches
            .filter(|batch| batch.sequence >= told.sequence)
            .map(|batch| (batch.sequence, batch.batch.rows().clone()))
            .collect();
        let unseen = self.partitions.get(&partition).map(|own| own.unseen);
        let gone = own.map(|tenant| tenant.gone);
        Following {
            snapshot,
            follower: self.taps.follow(tenant, partition, told, meanwhile),
            is_whole: gone.max(unseen).unwrap_or(0) <= told.sequence,
        }
    }

    /// How far the partition is flushed.
    pub(crate) fn flushed(&self, partition: u32) -> u64 {
        self.flushed.get(&partition).copied().unwrap_or(0)
    }

    /// The position from which on entries of the partition are wanted.
    pub(crate) fn applied(&self, partition: u32) -> u64 {
        let position = self.partitions.get(&partition);
        position.map_or(0, |position| position.applied)
    }

    /// Bytes that arrived since the partition's last flush began, and since when.
    pub(crate) fn active(&self, partition: u32) -> (u64, Option<Instant>) {
        let position = self.partitions.get(&partition);
        position.map_or((0, None), |position| {
            (position.active_bytes, position.oldest_active)
        })
    }

    /// Takes what is active of a partition for a flush; `None` when there is nothing.
    pub(crate) fn freeze(&mut self, partition: u32) -> Option<Frozen> {
        let position = self.partitions.get_mut(&partition)?;
        position.oldest_active = None;
        position.active_bytes = 0;
        let watermark = position.applied;
        let mut tenants = Vec::new();
        for (id, tenant) in &mut self.tenants {
            if tenant.partition == partition && !tenant.active.is_empty() {
                debug_assert!(tenant.frozen.is_empty(), "one flush at a time");
                tenant.frozen = std::mem::take(&mut tenant.active);
                tenants.push((id.clone(), tenant.frozen.clone()));
            }
        }
        (!tenants.is_empty()).then_some(Frozen {
            partition,
            watermark,
            tenants,
        })
    }

    /// Entries of a partition before `watermark` are in segments: their batches go.
    #[must_use]
    pub(crate) fn let_go(&mut self, partition: u32, watermark: u64) -> Leaving {
        self.flushed_to(partition, watermark);
        let mut leaving = Vec::new();
        for tenant in self.tenants_of(partition) {
            for batches in [&mut tenant.frozen, &mut tenant.active] {
                let before = batches.partition_point(|batch| batch.sequence < watermark);
                if let Some(last) = batches[..before].last() {
                    tenant.gone = last.sequence + 1;
                }
                leaving.extend(batches.drain(..before));
            }
        }
        self.count_active(partition);
        leaving
    }

    /// Forgets everything of a partition that another process works on.
    #[must_use]
    pub(crate) fn forget(&mut self, partition: u32) -> Leaving {
        let mut leaving = Vec::new();
        for tenant in self.tenants_of(partition) {
            leaving.append(&mut tenant.frozen);
            leaving.append(&mut tenant.active);
        }
        self.taps.interrupt(partition);
        self.partitions.remove(&partition);
        leaving
    }

    /// What a flush took, and will not bring to an end, waits for another.
    pub(crate) fn thaw(&mut self, partition: u32) {
        for tenant in self.tenants_of(partition) {
            let mut batches = std::mem::take(&mut tenant.frozen);
            batches.append(&mut tenant.active);
            tenant.active = batches;
        }
        self.count_active(partition);
    }

    fn tenants_of(&mut self, partition: u32) -> impl Iterator<Item = &mut Tenant> {
        let tenants = self.tenants.values_mut();
        tenants.filter(move |tenant| tenant.partition == partition)
    }

    fn count_active(&mut self, partition: u32) {
        let active = self.tenants_of(partition).flat_map(|tenant| &tenant.active);
        let bytes: u64 = active.map(|batch| batch._reservation.bytes).sum();
        if let Some(position) = self.partitions.get_mut(&partition) {
            position.active_bytes = bytes;
            if bytes == 0 {
                position.oldest_active = None;
            } else {
                position.oldest_active.get_or_insert_with(Instant::now);
            }
        }
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
                let frozen = tenant.frozen.iter().map(|batch| batch.batch.rows());
                for batch in tenant
                    .active
                    .iter()
                    .map(|batch| batch.batch.rows())
                    .chain(frozen)
                {
                    extend(&mut schema, batch.schema_ref());
                }
                tenant.schema = schema;
            }
        }
    }

    /// What a reader of the tenant, whose records come by `partition`, sees.
    pub(crate) fn snapshot(&self, tenant: &TenantId, partition: u32) -> Snapshot {
        let Some(tenant) = self.tenants.get(tenant) else {
            return Snapshot::default();
        };
        let frozen = tenant.frozen.iter().map(|batch| &batch.batch);
        let active = tenant.active.iter().map(|batch| &batch.batch);
        Snapshot {
            schema: tenant.schema.clone(),
            memtable: frozen.chain(active).cloned().collect(),
            segments: tenant.segments.clone(),
            flushed: self.flushed(partition),
        }
    }

    pub(crate) fn status(&self) -> StoreStatus {
        let mut status = StoreStatus::default();
        for tenant in self.tenants.values() {
            let frozen = tenant.frozen.iter().map(|batch| batch.batch.rows());
            let active = tenant.active.iter().map(|batch| batch.batch.rows());
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
