//! The local write-ahead log.

use std::path::{Path, PathBuf};

use crate::{OnDurable, QueueStatus, Result, Sequence};

/// Settings of a [`LocalLog`].
#[derive(Clone, Debug)]
pub struct LocalLogOptions {
    /// A file is closed and a new one begun once it is this long.
    pub file_max_bytes: u64,
    /// Longest payload of one entry.
    pub entry_max_bytes: u64,
    /// Payload bytes that may wait for the writer; `append` waits when there are more.
    pub pending_max_bytes: u64,
}

impl Default for LocalLogOptions {
    fn default() -> Self {
        Self {
            file_max_bytes: 64 << 20,
            entry_max_bytes: 256 << 20,
            pending_max_bytes: 64 << 20,
        }
    }
}

/// A write-ahead log in a directory: one writer thread, group commit, fdatasync before each answer.
#[derive(Debug)]
pub struct LocalLog {
    directory: PathBuf,
}

impl LocalLog {
    /// Opens (or makes) the log in `directory` and hands every entry from `replay_from` on to `replay`, in order.
    pub fn open(
        directory: &Path,
        options: LocalLogOptions,
        replay_from: Sequence,
        replay: &mut dyn FnMut(Sequence, &[u8]) -> Result<(), String>,
    ) -> Result<Self> {
        let _ = (options, replay_from, replay);
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Appends an entry; done when it is on stable storage and `on_durable` has run.
    pub async fn append(&self, payload: Vec<u8>, on_durable: OnDurable) -> Result<Sequence> {
        let _ = (payload, on_durable, &self.directory);
        unimplemented!("helper")
    }

    /// Lets go of every entry before `sequence`: whole files are deleted, never parts.
    pub fn truncate_before(&self, sequence: Sequence) -> Result<()> {
        let _ = sequence;
        unimplemented!("helper")
    }

    /// What the log says of itself.
    pub fn status(&self) -> QueueStatus {
        unimplemented!("helper")
    }

    /// Writes and syncs what was appended, then stops the writer; later appends fail with `Closed`.
    pub fn close(&self) -> Result<()> {
        unimplemented!("helper")
    }
}
