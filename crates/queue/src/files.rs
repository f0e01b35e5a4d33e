//! The file system as the log needs it, behind a seam so that tests can crash it.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Keeps the directory for this process until it is dropped.
pub(crate) type Lock = Box<dyn Any + Send + Sync>;

/// The operations the log makes. Paths are those of the log's directory and its files.
pub(crate) trait Files: Send + Sync + std::fmt::Debug {
    /// Makes the directory, and takes it for this process; `WouldBlock` when another has it.
    fn lock(&self, directory: &Path) -> io::Result<Lock>;
    /// Names of the files in the directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// The whole file for reading, and its length.
    fn read(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)>;
    /// A new, empty file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// An existing file, to append at `length` (what is behind it is cut off).
    fn open(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in the directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file that grows at its end.
pub(crate) trait AppendFile: Send {
    /// Writes all of the parts, one after the other.
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Makes what was written durable, length included.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file off at `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemFiles;

impl Files for SystemFiles {
    fn lock(&self, directory: &Path) -> io::Result<Lock> {
        fs::create_dir_all(directory)?;
        let path = directory.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(
            OpenOptions::new().write(true).create_new(true).open(path)?,
        ))
    }

    fn open(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        AppendFile::truncate(&mut file, length)?;
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl AppendFile for File {
    fn append(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // The kernel takes at most 1,024 parts at a time.
        const PARTS_MAX: usize = 1_024;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let some = parts.len().min(PARTS_MAX);
            match self.write_vectored(&parts[..some]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length))?;
        Ok(())
    }
}
