//! The local write-ahead log.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::files::{Files, Lock, SystemFiles};
use crate::recovery::{LogFile, io_error};
use crate::writer::Writer;
use crate::{
    Appended, Entry, Error, OnDurable, Queue, QueueStatus, Replay, Result, Sequence, opening,
};

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

/// An entry on its way to the writer.
pub(crate) struct Append {
    pub(crate) payload: Vec<u8>,
    pub(crate) on_durable: OnDurable,
    pub(crate) answer: oneshot::Sender<Result<Sequence>>,
    /// Held until the entry is written.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What the writer's thread is told.
pub(crate) enum Command {
    Append(Append),
    /// Begin a new file if all entries are before the sequence, so that the old one can go.
    Rotate(Sequence, Sender<()>),
    Close,
}

/// What the writer and the log's owner share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) failure: Option<String>,
    pub(crate) next_sequence: u64,
    /// In order; the last one is written to.
    pub(crate) files: Vec<LogFile>,
}

impl Shared {
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A write-ahead log in a directory: one writer thread, group commit, fdatasync before each answer.
#[derive(Debug)]
pub struct LocalLog(Arc<Log>);

/// The log, shared with the threads that block for it.
#[derive(Debug)]
struct Log {
    directory: PathBuf,
    options: LocalLogOptions,
    files: Arc<dyn Files>,
    shared: Arc<Mutex<Shared>>,
    pending: Arc<Semaphore>,
    writer: Mutex<Option<(Sender<Command>, JoinHandle<()>)>>,
    /// Lets one caller delete files at a time.
    truncating: Mutex<()>,
    _lock: Lock,
}

impl LocalLog {
    /// Opens (or makes) the log in `directory` and hands every entry from `replay_from` on to `replay`, in order.
    ///
    /// A torn tail is cut off. Damage that intact entries follow is [`Error::Corrupt`], and nothing is changed.
    pub fn open(
        directory: &Path,
        options: LocalLogOptions,
        replay_from: Sequence,
        replay: &mut Replay<'_>,
    ) -> Result<Self> {
        Self::open_in(
            Arc::new(SystemFiles),
            directory,
            options,
            replay_from,
            replay,
        )
    }

    pub(crate) fn open_in(
        files: Arc<dyn Files>,
        directory: &Path,
        options: LocalLogOptions,
        replay_from: Sequence,
        replay: &mut Replay<'_>,
    ) -> Result<Self> {
        let lock = take_directory(files.as_ref(), directory)?;
        let opened = opening::open(files.as_ref(), directory, replay_from, replay)?;
        let shared = Arc::new(Mutex::new(Shared {
            failure: None,
            next_sequence: opened.next_sequence,
            files: opened.log_files,
        }));
        let writer = Writer::new(
            files.clone(),
            directory.to_owned(),
            options.file_max_bytes,
            opened.active,
            shared.clone(),
        );
        let (send, receive): (Sender<Command>, Receiver<Command>) = channel();
        let thread = std::thread::Builder::new()
            .name("logmill-wal".to_owned())
            .spawn(move || writer.run(&receive))
            .map_err(|source| io_error("starting the writer of", directory, source))?;
        let permits = usize::try_from(options.pending_max_bytes).unwrap_or(usize::MAX);
        Ok(Self(Arc::new(Log {
            directory: directory.to_owned(),
            pending: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            options,
            files,
            shared,
            writer: Mutex::new(Some((send, thread))),
            truncating: Mutex::new(()),
            _lock: lock,
        })))
    }

    /// Appends an entry; done when it is on stable storage and `on_durable` has run.
    ///
    /// Once the entry is with the writer, dropping the future changes nothing: the entry is written, and
    /// `on_durable` runs.
    pub async fn append(&self, payload: Vec<u8>, on_durable: OnDurable) -> Result<Sequence> {
        self.0.append(payload, on_durable).await
    }

    /// Lets go of every entry before `sequence`: whole files are deleted, never parts. Blocks for the file system.
    pub fn truncate_before(&self, sequence: Sequence) -> Result<()> {
        self.0.truncate_before(sequence)
    }

    /// What the log says of itself.
    pub fn status(&self) -> QueueStatus {
        self.0.status()
    }

    /// Where the log is.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Writes and syncs what was appended, then stops the writer; later appends fail with `Closed`. Blocks until then.
    pub fn close(&self) {
        self.0.close();
    }
}

#[async_trait]
impl Queue for LocalLog {
    fn remembers_requests(&self) -> bool {
        false
    }

    async fn append(&self, entry: Entry, on_durable: OnDurable) -> Result<Appended> {
        only_partition(entry.partition)?;
        if entry.request.is_some() {
            return Err(Error::Unsupported(
                "the write-ahead log does not remember requests",
            ));
        }
        let sequence = self.0.append(entry.payload, on_durable).await?;
        Ok(Appended::New(sequence))
    }

    async fn truncate_before(&self, partition: u32, sequence: Sequence) -> Result<()> {
        only_partition(partition)?;
        let log = self.0.clone();
        let truncated = tokio::task::spawn_blocking(move || log.truncate_before(sequence));
        truncated.await.unwrap_or(Err(Error::Closed))
    }

    fn status(&self) -> QueueStatus {
        self.0.status()
    }

    async fn close(&self) {
        let log = self.0.clone();
        // The join fails only when closing panics, which is said where it happens.
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }
}

fn only_partition(partition: u32) -> Result<()> {
    match partition {
        0 => Ok(()),
        partition => Err(Error::NoPartition {
            partition,
            partitions: 1,
        }),
    }
}

impl Log {
    async fn append(&self, payload: Vec<u8>, on_durable: OnDurable) -> Result<Sequence> {
        let bytes = payload.len() as u64;
        let limit = self.options.entry_max_bytes.min(u64::from(u32::MAX) / 2);
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        let weight = bytes.clamp(1, self.options.pending_max_bytes);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let permit = self.pending.clone().acquire_many_owned(weight).await;
        let permit = permit.map_err(|_closed| Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        let append = Append {
            payload,
            on_durable,
            answer,
            _permit: permit,
        };
        self.send(Command::Append(append))?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    fn send(&self, command: Command) -> Result<()> {
        match &*self.writer.lock() {
            Some((writer, _)) => writer.send(command).map_err(|_gone| Error::Closed),
            None => Err(Error::Closed),
        }
    }

    fn truncate_before(&self, sequence: Sequence) -> Result<()> {
        let _truncating = self.truncating.lock();
        let (done, rotated) = channel();
        if self.send(Command::Rotate(sequence, done)).is_ok() {
            let _ = rotated.recv();
        }
        loop {
            let oldest = {
                let shared = self.shared.lock();
                match &*shared.files {
                    [oldest, next, ..] if next.first_sequence <= sequence.0 => oldest.clone(),
                    _ => break,
                }
            };
            let removed = self.files.remove(&oldest.path);
            removed.map_err(|source| io_error("deleting", &oldest.path, source))?;
            let mut shared = self.shared.lock();
            shared
                .files
                .retain(|file| file.first_sequence != oldest.first_sequence);
        }
        let shared = self.shared.lock();
        crate::writer::report(&shared);
        Ok(())
    }

    fn status(&self) -> QueueStatus {
        let shared = self.shared.lock();
        QueueStatus {
            failure: shared.failure.clone(),
            next_sequence: Sequence(shared.next_sequence),
            bytes: shared.bytes(),
            files: shared.files.len() as u64,
            redis: None,
        }
    }

    fn close(&self) {
        self.pending.close();
        let writer = self.writer.lock().take();
        if let Some((writer, thread)) = writer {
            let _ = writer.send(Command::Close);
            if thread.join().is_err() {
                tracing::error!("the writer of the write-ahead log panicked");
            }
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Takes the directory for this process.
pub(crate) fn take_directory(files: &dyn Files, directory: &Path) -> Result<Lock> {
    files.lock(directory).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked {
            path: directory.join("lock"),
        },
        _ => io_error("locking", directory, source),
    })
}

/// The parts of a frame's body: for each payload its length, and itself.
pub(crate) fn body_parts<'a>(
    prefixes: &'a [[u8; 4]],
    payloads: impl Iterator<Item = &'a [u8]>,
) -> Vec<IoSlice<'a>> {
    let mut parts = Vec::with_capacity(prefixes.len() * 2 + 1);
    for (prefix, payload) in prefixes.iter().zip(payloads) {
        parts.push(IoSlice::new(prefix));
        parts.push(IoSlice::new(payload));
    }
    parts
}
