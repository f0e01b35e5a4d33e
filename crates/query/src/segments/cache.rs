//! Opened segments, as many as fit.

use std::sync::Arc;

use datafusion::common::Result;
use logmill_store::SegmentHandle;

use super::{Objects, OpenSegment};
use crate::lru::Lru;

/// Opened segments by path, bounded by bytes.
#[derive(Debug)]
pub(crate) struct SegmentCache {
    segments: Lru<String, Arc<OpenSegment>>,
}

impl SegmentCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            segments: Lru::new(max_bytes),
        }
    }

    /// The segment if it is in the cache.
    pub(crate) fn get(&self, path: &str) -> Option<Arc<OpenSegment>> {
        self.segments.get(path)
    }

    /// The segment, opened now if it is not in the cache.
    pub(crate) async fn open(
        &self,
        objects: &Objects,
        handle: &SegmentHandle,
    ) -> Result<Arc<OpenSegment>> {
        let row = handle.row();
        if let Some(segment) = self.get(&row.path) {
            return Ok(segment);
        }
        let source = objects.source(&row.path)?;
        let segment = Arc::new(OpenSegment::open(&source, &row.path, row.bytes).await?);
        let bytes = segment.memory_bytes() + 2 * row.path.len();
        self.segments
            .insert(row.path.clone(), segment.clone(), bytes);
        Ok(segment)
    }
}
