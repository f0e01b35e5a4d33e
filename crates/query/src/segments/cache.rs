//! Opened segments, as many as fit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result;
use logmill_store::SegmentHandle;

use super::{OpenSegment, Source};

/// Opened segments by path; the least recently used go first when there are more bytes than the bound.
#[derive(Debug)]
pub(crate) struct SegmentCache {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// The entries' paths in the order of their last use.
    order: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    segment: Arc<OpenSegment>,
    bytes: usize,
    last_use: u64,
}

impl SegmentCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic leaves is a cache that is a little off, and no wrong answer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment if it is in the cache.
    pub(crate) fn get(&self, path: &str) -> Option<Arc<OpenSegment>> {
        let state = &mut *self.state();
        state.uses += 1;
        let entry = state.entries.get_mut(path)?;
        if let Some(path) = state.order.remove(&entry.last_use) {
            state.order.insert(state.uses, path);
        }
        entry.last_use = state.uses;
        Some(entry.segment.clone())
    }

    /// The segment, opened now if it is not in the cache.
    pub(crate) async fn open(
        &self,
        source: &Source,
        handle: &SegmentHandle,
    ) -> Result<Arc<OpenSegment>> {
        let row = handle.row();
        if let Some(segment) = self.get(&row.path) {
            return Ok(segment);
        }
        let segment = Arc::new(OpenSegment::open(source, &row.path, row.bytes).await?);
        self.insert(&row.path, &segment);
        Ok(segment)
    }

    fn insert(&self, path: &str, segment: &Arc<OpenSegment>) {
        let bytes = segment.memory_bytes() + 2 * path.len();
        if bytes > self.max_bytes {
            return;
        }
        let state = &mut *self.state();
        state.uses += 1;
        let entry = Entry {
            segment: segment.clone(),
            bytes,
            last_use: state.uses,
        };
        state.order.insert(entry.last_use, path.to_owned());
        state.bytes += bytes;
        if let Some(before) = state.entries.insert(path.to_owned(), entry) {
            state.order.remove(&before.last_use);
            state.bytes -= before.bytes;
        }
        while state.bytes > self.max_bytes
            && let Some((_, oldest)) = state.order.pop_first()
        {
            if let Some(entry) = state.entries.remove(&oldest) {
                state.bytes -= entry.bytes;
            }
        }
    }
}
