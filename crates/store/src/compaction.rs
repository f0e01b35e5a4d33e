//! Merging segments.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Store;

/// How segments are merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionOptions {
    /// Writers get 429 while more segments than this wait for compaction.
    pub debt_max_segments: u64,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            debt_max_segments: 500,
        }
    }
}

pub(crate) async fn run_compactor(store: Weak<Store>, wanted: Arc<Notify>) {
    let _ = (store, wanted);
}
