//! A simulated file system that loses what was not synced, and what the log must hold against it.

use std::collections::BTreeMap;
use std::io::{self, Cursor, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{AppendFile, Files, Lock};
use crate::recovery::{file_path, log_files};
use crate::{Error, LocalLog, LocalLogOptions, Sequence};

#[derive(Clone, Debug, Default)]
struct SimulatedFile {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    name_is_durable: bool,
}

/// What happens at the operation whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The machine stops: this and every later operation fails.
    Crash,
    /// This write writes half, then fails for want of space; others work.
    DiskFull,
    /// This write writes half, then fails as a broken disk does; others work.
    WriteFailed,
    /// This sync fails; others work.
    Sync,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, SimulatedFile>,
    operations: usize,
    fault: Option<(usize, Fault)>,
}

#[derive(Clone, Debug, Default)]
struct SimulatedFiles(Arc<Mutex<State>>);

/// How much of the un-synced bytes a crash leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Nothing,
    Half,
    Everything,
    /// The length, but zeros instead of the first half: pages were written out of order.
    LaterPages,
}

impl State {
    fn turn(&mut self, possible: &[Fault]) -> io::Result<()> {
        self.operations += 1;
        match self.fault {
            Some((at, Fault::Crash)) if self.operations > at => Err(io::Error::other("crashed")),
            Some((at, fault)) if self.operations == at + 1 && possible.contains(&fault) => {
                Err(match fault {
                    Fault::DiskFull => io::ErrorKind::StorageFull.into(),
                    _ => io::Error::other("failed"),
                })
            }
            _ => Ok(()),
        }
    }
}

impl SimulatedFiles {
    fn with_fault(at: usize, fault: Fault) -> Self {
        let files = Self::default();
        files.0.lock().fault = Some((at, fault));
        files
    }

    /// The disk after the machine comes back.
    fn after_crash(&self, leaves: Leaves) -> Self {
        let state = self.0.lock();
        let mut files = BTreeMap::new();
        for (path, file) in &state.files {
            if !file.name_is_durable && matches!(leaves, Leaves::Nothing) {
                continue;
            }
            let mut bytes = file.durable.clone();
            let unsynced = file.bytes.get(bytes.len()..).unwrap_or_default();
            match leaves {
                Leaves::Nothing => {}
                Leaves::Half => bytes.extend_from_slice(&unsynced[..unsynced.len() / 2]),
                Leaves::Everything => bytes.extend_from_slice(unsynced),
                Leaves::LaterPages => {
                    bytes.resize(bytes.len() + unsynced.len() / 2, 0);
                    bytes.extend_from_slice(&unsynced[unsynced.len() / 2..]);
                }
            }
            let durable = bytes.clone();
            files.insert(
                path.clone(),
                SimulatedFile {
                    bytes,
                    durable,
                    name_is_durable: true,
                },
            );
        }
        Self(Arc::new(Mutex::new(State {
            files,
            operations: 0,
            fault: None,
        })))
    }

    fn operations(&self) -> usize {
        self.0.lock().operations
    }
}

impl Files for SimulatedFiles {
    fn lock(&self, _directory: &Path) -> io::Result<Lock> {
        Ok(Box::new(()))
    }

    fn list(&self, _directory: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(state.files.keys().map(name).collect())
    }

    fn read(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        let state = self.0.lock();
        let bytes = state
            .files
            .get(path)
            .ok_or(io::ErrorKind::NotFound)?
            .bytes
            .clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.0.lock();
        state.turn(&[Fault::DiskFull, Fault::WriteFailed])?;
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state
            .files
            .insert(path.to_owned(), SimulatedFile::default());
        Ok(Box::new(SimulatedAppend {
            files: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn open(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        let mut file = SimulatedAppend {
            files: self.clone(),
            path: path.to_owned(),
        };
        file.truncate(length)?;
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.turn(&[Fault::Crash])?;
        state
            .files
            .remove(path)
            .map(|_| ())
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.turn(&[Fault::Sync])?;
        for file in state.files.values_mut() {
            file.name_is_durable = true;
        }
        Ok(())
    }
}

struct SimulatedAppend {
    files: SimulatedFiles,
    path: PathBuf,
}

impl AppendFile for SimulatedAppend {
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.files.0.lock();
        let turn = state.turn(&[Fault::DiskFull, Fault::WriteFailed]);
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let written = if turn.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        if let Some(file) = state.files.get_mut(&self.path) {
            file.bytes.extend_from_slice(&bytes[..written]);
        }
        turn
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.files.0.lock();
        state.turn(&[Fault::Sync])?;
        let file = state
            .files
            .get_mut(&self.path)
            .ok_or(io::ErrorKind::NotFound)?;
        file.durable = file.bytes.clone();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.files.0.lock();
        state.turn(&[Fault::Crash])?;
        let file = state
            .files
            .get_mut(&self.path)
            .ok_or(io::ErrorKind::NotFound)?;
        file.bytes.truncate(usize::try_from(length).unwrap());
        Ok(())
    }
}

const DIRECTORY: &str = "/wal";

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + usize::try_from(number * 37 % 90).unwrap(), 0xab);
    payload
}

fn options() -> LocalLogOptions {
    LocalLogOptions {
        file_max_bytes: 400,
        ..LocalLogOptions::default()
    }
}

/// Sequences and payloads.
type Replayed = Vec<(u64, Vec<u8>)>;

fn open(files: &SimulatedFiles, from: u64) -> crate::Result<(LocalLog, Replayed)> {
    let mut replayed = Vec::new();
    let files = Arc::new(files.clone());
    let log = LocalLog::open_in(
        files,
        Path::new(DIRECTORY),
        options(),
        Sequence(from),
        &mut |sequence, bytes| {
            replayed.push((sequence.0, bytes.to_vec()));
            Ok(())
        },
    )?;
    Ok((log, replayed))
}

/// What a run of appends came to.
#[derive(Debug, Default)]
struct Run {
    sent: u64,
    acknowledged: Vec<u64>,
    refused: Vec<Error>,
    truncated_before: u64,
}

const ENTRIES: u64 = 24;

/// Appends entries in waves, letting go of the first ones half-way.
fn run(files: &SimulatedFiles) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut run = Run::default();
    let Ok((log, _)) = open(files, 0) else {
        return run;
    };
    runtime.block_on(async {
        while run.sent < ENTRIES {
            let wave: Vec<u64> = (run.sent..(run.sent + 1 + run.sent % 3).min(ENTRIES)).collect();
            run.sent += wave.len() as u64;
            let visible = Arc::new(Mutex::new(Vec::new()));
            let mut answers = Vec::new();
            for number in wave {
                let seen = visible.clone();
                let on_durable = Box::new(move |sequence: Sequence| seen.lock().push(sequence.0));
                answers.push(log.append(payload(number), on_durable));
            }
            for answer in futures_join(answers).await {
                match answer {
                    Ok(sequence) => {
                        assert!(
                            visible.lock().contains(&sequence.0),
                            "visible before answered"
                        );
                        run.acknowledged.push(sequence.0);
                    }
                    Err(error) => run.refused.push(error),
                }
            }
            if run.sent == ENTRIES / 2 && run.acknowledged.len() as u64 == run.sent {
                run.truncated_before = 5;
                let _ = log.truncate_before(Sequence(5));
            }
        }
    });
    run
}

/// Drives futures side by side, in order.
async fn futures_join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pinned.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[test]
fn a_crash_at_any_operation_loses_and_invents_nothing() {
    let calm = SimulatedFiles::default();
    assert_eq!(run(&calm).acknowledged.len() as u64, ENTRIES);
    let operations = calm.operations();
    assert!(operations > 40, "{operations}");
    for cut in 0..=operations {
        let files = SimulatedFiles::with_fault(cut, Fault::Crash);
        let run = run(&files);
        for leaves in [
            Leaves::Nothing,
            Leaves::Half,
            Leaves::Everything,
            Leaves::LaterPages,
        ] {
            let after = files.after_crash(leaves);
            let told = format!("cut {cut}, {leaves:?}, {run:?}");
            let (log, replayed) = open(&after, run.truncated_before)
                .unwrap_or_else(|error| panic!("{told}: {error}"));
            let numbers: Vec<u64> = replayed.iter().map(|(sequence, _)| *sequence).collect();
            let end = log.status().next_sequence.0;
            assert_eq!(
                numbers,
                (run.truncated_before..end).collect::<Vec<_>>(),
                "{told}"
            );
            assert!(
                run.acknowledged.iter().all(|sequence| *sequence < end),
                "{told}"
            );
            assert!(end <= run.sent, "{told}");
            assert!(
                replayed
                    .iter()
                    .all(|(sequence, bytes)| *bytes == payload(*sequence)),
                "{told}"
            );
        }
    }
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let calm = SimulatedFiles::default();
    run(&calm);
    let mut poisoned = 0;
    for cut in 0..calm.operations() {
        let files = SimulatedFiles::with_fault(cut, Fault::Sync);
        let run = run(&files);
        if run.acknowledged.len() as u64 == ENTRIES || run.sent == 0 {
            continue;
        }
        let expected: Vec<u64> = (0..run.acknowledged.len() as u64).collect();
        assert_eq!(run.acknowledged, expected, "cut {cut}");
        // A new file that cannot be synced is only not begun.
        let named = |error: &Error| matches!(error, Error::Poisoned(_) | Error::WriteFailed(_));
        assert!(
            run.refused.iter().all(named),
            "cut {cut}: {:?}",
            run.refused
        );
        poisoned += 1;
        for leaves in [Leaves::Nothing, Leaves::Everything] {
            let (log, _) = open(&files.after_crash(leaves), run.truncated_before).unwrap();
            assert!(
                log.status().next_sequence.0 >= run.acknowledged.len() as u64,
                "cut {cut}"
            );
        }
    }
    assert!(poisoned >= 5, "{poisoned}");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    a_failed_write_refuses_and_recovers(Fault::DiskFull, |error| {
        matches!(error, Error::DiskFull(_))
    });
}

#[test]
fn a_write_that_fails_otherwise_is_no_full_disk() {
    a_failed_write_refuses_and_recovers(Fault::WriteFailed, |error| {
        matches!(error, Error::WriteFailed(_))
    });
}

fn a_failed_write_refuses_and_recovers(fault: Fault, is_named: fn(&Error) -> bool) {
    let calm = SimulatedFiles::default();
    run(&calm);
    let mut refused = 0;
    for cut in 1..calm.operations() {
        let files = SimulatedFiles::with_fault(cut, fault);
        let run = run(&files);
        if run.acknowledged.len() as u64 == ENTRIES || run.sent == 0 {
            continue;
        }
        refused += 1;
        assert!(
            run.refused.iter().all(is_named),
            "cut {cut}: {:?}",
            run.refused
        );
        // Later entries were taken again, and sequences have no hole.
        let expected: Vec<u64> = (0..run.acknowledged.len() as u64).collect();
        assert_eq!(run.acknowledged, expected, "cut {cut}");
        let (log, replayed) =
            open(&files.after_crash(Leaves::Nothing), run.truncated_before).unwrap();
        assert_eq!(
            log.status().next_sequence.0,
            expected.len() as u64,
            "cut {cut}"
        );
        assert_eq!(
            replayed.len() as u64,
            expected.len() as u64 - run.truncated_before,
            "cut {cut}"
        );
        assert_eq!(log.status().failure, None);
    }
    assert!(refused >= 5, "{refused}");
}

#[test]
fn every_flipped_bit_is_a_prefix_or_an_error() {
    let files = SimulatedFiles::default();
    run(&files);
    let found = log_files(&files, Path::new(DIRECTORY)).unwrap();
    assert!(found.len() >= 3);
    for (position, file) in found.iter().enumerate() {
        let length = files.0.lock().files[&file.path].bytes.len();
        for offset in 0..length {
            let damaged = files.after_crash(Leaves::Everything);
            damaged.0.lock().files.get_mut(&file.path).unwrap().bytes[offset] ^= 1 << (offset % 8);
            match open(&damaged, 5) {
                Ok((log, replayed)) => {
                    assert_eq!(position, found.len() - 1, "only the tail may be cut");
                    assert!(replayed.iter().all(|(n, bytes)| *bytes == payload(*n)));
                    assert_eq!(log.status().next_sequence.0, 5 + replayed.len() as u64);
                }
                Err(Error::Corrupt { path, detail, .. }) => {
                    assert!(path == file.path || !detail.is_empty(), "{detail}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_missing_file_is_noticed() {
    let files = SimulatedFiles::default();
    run(&files);
    let found = log_files(&files, Path::new(DIRECTORY)).unwrap();
    for file in &found[..found.len() - 1] {
        let without = files.after_crash(Leaves::Everything);
        without.0.lock().files.remove(&file.path);
        assert!(
            matches!(open(&without, 5), Err(Error::Corrupt { .. })),
            "{:?}",
            file.path
        );
    }
}

#[test]
fn sequences_that_are_in_segments_are_never_given_out_again() {
    let files = SimulatedFiles::default();
    let (log, replayed) = open(&files, 1_000).unwrap();
    assert!(replayed.is_empty());
    assert_eq!(log.status().next_sequence, Sequence(1_000));
    drop(log);
    assert!(
        files
            .0
            .lock()
            .files
            .contains_key(&file_path(Path::new(DIRECTORY), 1_000))
    );
    let (log, _) = open(&files, 2_000).unwrap();
    assert_eq!(log.status().next_sequence, Sequence(2_000));
    drop(log);
    let (log, _) = open(&files, 2_000).unwrap();
    assert_eq!(log.status().next_sequence, Sequence(2_000));
}
