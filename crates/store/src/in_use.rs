//! Objects that no sweep may take for orphans although the catalog does not know them: those being written, and those
//! that somebody still reads.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Paths in use, each with how many hold it.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    holders: Arc<Mutex<FxHashMap<String, usize>>>,
    /// Takes the paths of objects that nobody reads any more. There are never more in it than there were segments.
    deletions: UnboundedSender<Held>,
}

/// A path that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    path: String,
    in_use: InUse,
}

impl InUse {
    /// No path, and where objects to be deleted come out.
    pub(crate) fn new() -> (Self, UnboundedReceiver<Held>) {
        let (deletions, receive) = unbounded_channel();
        let in_use = Self {
            holders: Arc::default(),
            deletions,
        };
        (in_use, receive)
    }

    /// Holds a path.
    pub(crate) fn hold(&self, path: &str) -> Held {
        *self.holders.lock().entry(path.to_owned()).or_default() += 1;
        Held {
            path: path.to_owned(),
            in_use: self.clone(),
        }
    }

    /// Whether somebody holds the path.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.holders.lock().contains_key(path)
    }
}

impl Held {
    /// Which path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Has the object deleted; it is in use until that is done.
    pub(crate) fn delete(self) {
        let deletions = self.in_use.deletions.clone();
        // When the store is gone, its next start finds the object to be an orphan.
        let _ = deletions.send(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.in_use.holders.lock();
        if let Some(count) = holders.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                holders.remove(&self.path);
            }
        }
    }
}
