//! Coming back: the catalog's segments, the log's entries, and objects that nobody knows.

use std::path::Path;
use std::sync::Arc;

use logmill_catalog::Catalog;
use logmill_queue::{LocalLog, LocalLogOptions, Sequence};
use parking_lot::RwLock;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::idempotency::Registry;
use crate::in_use::InUse;
use crate::memtable::{Budget, MemoryBatch, State, memory_size};
use crate::objects::{Listed, Objects};
use crate::{
    Error, LOCAL, LOCAL_PARTITION, MemtableBatch, PendingDelete, Result, SegmentHandle,
    StoreOptions, payload,
};

/// What was there.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) watermark: u64,
}

/// Reads the catalog: segments, watermark, answers younger than their time to live.
pub(crate) async fn read_catalog(
    catalog: &dyn Catalog,
    registry: &Registry,
    in_use: &InUse,
    answers_since_ns: i64,
) -> Result<Recovered> {
    let watermark = catalog.watermark(LOCAL_PARTITION).await?;
    let rows = catalog.segments().await?;
    for row in catalog.idempotency_since(answers_since_ns).await? {
        registry.restore(row);
    }
    let mut state = State::default();
    state.flushed_to(LOCAL, watermark);
    let segments: Vec<_> = rows
        .into_iter()
        .map(|row| SegmentHandle::new(row, in_use))
        .collect();
    attach_deletes(catalog, &segments).await?;
    state.add_segments(segments);
    Ok(Recovered { state, watermark })
}

/// Tells segments of the deletes that are still to be applied to them.
pub(crate) async fn attach_deletes(
    catalog: &dyn Catalog,
    segments: &[Arc<SegmentHandle>],
) -> Result<()> {
    let deletes = catalog.deletes(None).await?.into_iter().map(|row| {
        let pending = PendingDelete {
            id: row.id.clone(),
            predicate: row.predicate.into(),
        };
        (row.id, Arc::new(pending))
    });
    let deletes: FxHashMap<_, _> = deletes.collect();
    let by_id: FxHashMap<_, _> = segments.iter().map(|s| (&s.row().id, s)).collect();
    for (segment, delete) in catalog.pending_deletes().await? {
        if let (Some(segment), Some(delete)) = (by_id.get(&segment), deletes.get(&delete))
            && !segment.deletes().iter().any(|known| known.id == delete.id)
        {
            segment.add_delete(delete.clone());
        }
    }
    Ok(())
}

/// Deletes objects that the catalog does not know: a flush died between its puts and its commit, or retention
/// between its commit and its deletes. Nothing else writes while the store is opened.
pub(crate) async fn remove_orphans(objects: &Objects, state: &State) -> Result<u64> {
    let known: FxHashSet<&str> = state.segments().map(|s| s.row().path.as_str()).collect();
    let mut removed = 0;
    for Listed { path, .. } in objects.list().await? {
        if !known.contains(path.as_str()) {
            tracing::info!(path, "deleting an object that the catalog does not know");
            objects.delete(&path).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Opens the log and replays it into the state. Blocks for as long as that takes.
pub(crate) fn open_log(
    directory: &Path,
    options: &StoreOptions,
    watermark: u64,
    state: &Arc<RwLock<State>>,
    budget: &Arc<Budget>,
    registry: &Registry,
) -> Result<LocalLog> {
    let log_options = LocalLogOptions {
        file_max_bytes: options.wal_file_max_bytes,
        pending_max_bytes: options.memtable_max_bytes,
        ..LocalLogOptions::default()
    };
    let mut entries = 0_u64;
    let log = LocalLog::open(
        directory,
        log_options,
        Sequence(watermark),
        &mut |sequence, bytes| {
            let payload = payload::decode(bytes).map_err(|error: Error| error.to_string())?;
            if let Some(row) = &payload.idempotency {
                registry.restore(row.clone());
            }
            let reservation = budget.take(memory_size(&payload.batch));
            let batch = MemoryBatch {
                sequence: sequence.0,
                batch: MemtableBatch::new(payload.batch),
                idempotency: payload.idempotency,
                trace: None,
                _reservation: reservation,
            };
            state.write().apply(LOCAL, &payload.tenant, batch);
            entries += 1;
            Ok(())
        },
    )?;
    tracing::info!(entries, watermark, "replayed the write-ahead log");
    Ok(log)
}
