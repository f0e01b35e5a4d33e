//! The data directory: where its parts are, and the lock that keeps two processes apart.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// A data directory that this process has for itself until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, making it when there is none.
    pub(crate) fn create(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root)
            .with_context(|| format!("making the data directory {}", root.display()))?;
        Self::open(root)
    }

    /// Takes a directory that exists.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        if !root.is_dir() {
            bail!("there is no data directory {}", root.display());
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "the data directory {} is in use by another logmill process",
                root.display()
            );
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// The write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    /// The catalog's SQLite file.
    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// The name of this folder where its logs are in a table of Postgres.
    pub(crate) fn table_mark(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// Blocks of segments that are on S3.
    pub(crate) fn object_cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Root of the local object store.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        let first = DataDir::create(&root).unwrap();
        let error = DataDir::create(&root).unwrap_err().to_string();
        assert!(
            error.contains("in use by another logmill process"),
            "{error}"
        );
        drop(first);
        DataDir::create(&root).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = DataDir::open(Path::new("/nonexistent/data"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/data"), "{error}");
    }
}
