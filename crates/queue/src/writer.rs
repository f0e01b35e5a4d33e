//! The thread that writes: group commit.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use parking_lot::Mutex;

use crate::files::{AppendFile, Files};
use crate::format::{FRAME_HEADER, FrameHeader, body_crc};
use crate::local::{Append, Command, Shared, body_parts};
use crate::opening::create;
use crate::{Error, Result, Sequence};

/// Payload bytes of one frame, about: a bound on what a recovery reads at once.
const GROUP_MAX_BYTES: usize = 16 << 20;

/// An active file shorter than this is not given up for being obsolete: the next flush would only make another.
const ROTATE_MIN_BYTES: u64 = 1 << 20;

/// The writer's state.
pub(crate) struct Writer {
    files: Arc<dyn Files>,
    directory: PathBuf,
    file_max_bytes: u64,
    active: Box<dyn AppendFile>,
    active_bytes: u64,
    next_sequence: u64,
    shared: Arc<Mutex<Shared>>,
    poisoned: Option<String>,
}

/// How a frame failed.
enum Failure {
    /// Nothing was written; later ones may succeed.
    Refused(Refusal),
    /// What is on disk is unknown.
    Poison(String),
}

/// Why nothing was written, for each entry that waited: an error of the system cannot be cloned, its words can.
struct Refusal {
    disk_full: bool,
    reason: String,
}

impl Refusal {
    fn new(source: &io::Error, reason: String) -> Self {
        let disk_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        Self { disk_full, reason }
    }

    fn error(&self) -> Error {
        let reason = self.reason.clone();
        if self.disk_full {
            Error::DiskFull(reason)
        } else {
            Error::WriteFailed(reason)
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Io { source, .. } => Self::new(&source, reason),
            _ => Self {
                disk_full: false,
                reason,
            },
        }
    }
}

impl Writer {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        directory: PathBuf,
        file_max_bytes: u64,
        active: Box<dyn AppendFile>,
        shared: Arc<Mutex<Shared>>,
    ) -> Self {
        let (next_sequence, active_bytes) = {
            let shared = shared.lock();
            report(&shared);
            (
                shared.next_sequence,
                shared.files.last().map_or(0, |file| file.bytes),
            )
        };
        Self {
            files,
            directory,
            file_max_bytes,
            active,
            active_bytes,
            next_sequence,
            shared,
            poisoned: None,
        }
    }

    /// Serves until told to close, or until the log's owner is gone.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        let mut group = Vec::new();
        while let Ok(first) = commands.recv() {
            let mut next = Some(first);
            let mut closing = false;
            let mut bytes = 0;
            // What arrived while the last frame was synced goes into one frame.
            while let Some(command) = next.take() {
                match command {
                    Command::Append(append) => {
                        bytes += append.payload.len();
                        group.push(append);
                        if bytes >= GROUP_MAX_BYTES {
                            break;
                        }
                    }
                    Command::Rotate(sequence, done) => {
                        self.commit(&mut group);
                        self.rotate_if_obsolete(sequence);
                        let _ = done.send(());
                    }
                    Command::Close => {
                        closing = true;
                        break;
                    }
                }
                next = commands.try_recv().ok();
            }
            self.commit(&mut group);
            if closing {
                break;
            }
        }
    }

    /// Makes a group durable, then answers: all or none of it.
    fn commit(&mut self, group: &mut Vec<Append>) {
        if group.is_empty() {
            return;
        }
        let first = self.next_sequence;
        let outcome = match &self.poisoned {
            Some(reason) => Err(Failure::Poison(reason.clone())),
            None => self.write(group),
        };
        match outcome {
            Ok(()) => {
                self.next_sequence = first + group.len() as u64;
                self.shared.lock().next_sequence = self.next_sequence;
                for (sequence, append) in (first..).zip(group.drain(..)) {
                    (append.on_durable)(Sequence(sequence));
                    let _ = append.answer.send(Ok(Sequence(sequence)));
                }
            }
            Err(failure) => self.refuse(group, failure),
        }
        let shared = self.shared.lock();
        report(&shared);
    }

    fn refuse(&mut self, group: &mut Vec<Append>, failure: Failure) {
        let error: Box<dyn Fn() -> Error> = match failure {
            Failure::Refused(refusal) => {
                self.shared.lock().failure = Some(refusal.error().to_string());
                Box::new(move || refusal.error())
            }
            Failure::Poison(reason) => {
                if self.poisoned.is_none() {
                    tracing::error!(reason, "the write-ahead log is poisoned");
                    metrics::counter!("logmill_wal_sync_failures_total").increment(1);
                }
                self.poisoned = Some(reason.clone());
                self.shared.lock().failure = Some(Error::Poisoned(reason.clone()).to_string());
                Box::new(move || Error::Poisoned(reason.clone()))
            }
        };
        for append in group.drain(..) {
            let _ = append.answer.send(Err(error()));
        }
    }

    fn write(&mut self, group: &[Append]) -> Result<(), Failure> {
        if self.active_bytes >= self.file_max_bytes {
            self.rotate()
                .map_err(|error| Failure::Refused(error.into()))?;
        }
        let begun = Instant::now();
        let prefixes: Vec<[u8; 4]> = group
            .iter()
            .map(|append| {
                let length = u32::try_from(append.payload.len());
                length.expect("append checks the length").to_le_bytes()
            })
            .collect();
        let mut parts = body_parts(
            &prefixes,
            group.iter().map(|append| append.payload.as_slice()),
        );
        let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
        let header = FrameHeader {
            entries: u32::try_from(group.len()).expect("a group is bounded by its bytes"),
            first_sequence: self.next_sequence,
            body_bytes: u32::try_from(body_bytes).expect("a group is bounded by its bytes"),
            body_crc: body_crc(parts.iter().map(|part| &**part)),
        }
        .encode();
        parts.insert(0, io::IoSlice::new(&header));
        if let Err(error) = self.active.append(&mut parts) {
            return Err(self.undo(&error));
        }
        let written = Instant::now();
        // After a failed fsync the kernel may have dropped the pages and forgotten the error ("fsyncgate"), so
        // nothing may be tried again on this file.
        self.active
            .sync()
            .map_err(|error| Failure::Poison(format!("fdatasync: {error}")))?;
        metrics::histogram!("logmill_wal_sync_seconds").record(written.elapsed().as_secs_f64());
        metrics::histogram!("logmill_wal_append_seconds").record(begun.elapsed().as_secs_f64());
        #[allow(
            clippy::cast_precision_loss,
            reason = "a group has far fewer than 2^53 entries"
        )]
        metrics::histogram!("logmill_wal_group_entries").record(group.len() as f64);
        metrics::counter!("logmill_wal_bytes_total").increment(body_bytes as u64);
        self.active_bytes += (FRAME_HEADER + body_bytes) as u64;
        let mut shared = self.shared.lock();
        shared.failure = None;
        if let Some(file) = shared.files.last_mut() {
            file.bytes = self.active_bytes;
        }
        Ok(())
    }

    /// A write failed, on a full disk for instance: takes back what was written of it.
    fn undo(&mut self, error: &io::Error) -> Failure {
        match self.active.truncate(self.active_bytes) {
            Ok(()) => Failure::Refused(Refusal::new(error, error.to_string())),
            Err(second) => Failure::Poison(format!("write: {error}; then truncate: {second}")),
        }
    }

    fn rotate(&mut self) -> Result<()> {
        let (active, file) = create(
            self.files.as_ref(),
            &self.directory,
            self.next_sequence,
            false,
        )?;
        self.active = active;
        self.active_bytes = file.bytes;
        self.shared.lock().files.push(file);
        Ok(())
    }

    fn rotate_if_obsolete(&mut self, sequence: Sequence) {
        if self.poisoned.is_none()
            && self.next_sequence <= sequence.0
            && self.active_bytes >= ROTATE_MIN_BYTES
            && let Err(error) = self.rotate()
        {
            tracing::warn!(%error, "cannot begin a new file of the write-ahead log yet");
        }
    }
}

/// Publishes the log's size.
#[allow(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; below 2^53 it is exact"
)]
pub(crate) fn report(shared: &Shared) {
    metrics::gauge!("logmill_wal_files").set(shared.files.len() as f64);
    metrics::gauge!("logmill_wal_disk_bytes").set(shared.bytes() as f64);
}
