//! Opening a log: replay, truncation of a torn tail, refusal of a corrupt middle.

use std::path::Path;

use crate::files::{AppendFile, Files};
use crate::format::{FILE_HEADER, FileHeader};
use crate::recovery::{Damage, FileScan, LogFile, file_path, io_error, log_files, scan_file};
use crate::{Error, Replay, Result, Sequence};

/// A log that can be written to.
pub(crate) struct Opened {
    pub(crate) active: Box<dyn AppendFile>,
    pub(crate) log_files: Vec<LogFile>,
    pub(crate) next_sequence: u64,
}

pub(crate) fn open(
    files: &dyn Files,
    directory: &Path,
    replay_from: Sequence,
    replay: &mut Replay<'_>,
) -> Result<Opened> {
    let mut found = log_files(files, directory)?;
    check_start(&found, replay_from)?;
    let mut buffer = Vec::new();
    let mut next_sequence = None;
    let last = found.len().saturating_sub(1);
    let mut torn = None;
    for (position, file) in found.iter_mut().enumerate() {
        // The files are wholly before `replay_from` are read all the same: what is in them may be needed to tell
        // a torn tail from a corrupt middle, and they are few.
        let scan = scan_file(files, file, &mut buffer, &mut |sequence, payload| {
            if sequence < replay_from.0 {
                Ok(())
            } else {
                replay(Sequence(sequence), payload)
            }
        })?;
        check_continuity(file, &scan, next_sequence)?;
        if let Some(damage) = &scan.damage
            && (position < last || !damage.intact_after.is_empty())
        {
            return Err(corrupt(file, damage));
        }
        file.bytes = scan.intact_bytes;
        next_sequence = Some(scan.end_sequence);
        if scan.damage.is_some() {
            torn = Some(scan);
        }
    }
    if let Some(scan) = &torn {
        cut_off(files, directory, &mut found, scan)?;
    }
    activate(
        files,
        directory,
        found,
        next_sequence.unwrap_or(0),
        replay_from,
    )
}

/// Whether entries from `replay_from` on may be missing at the front.
fn check_start(found: &[LogFile], replay_from: Sequence) -> Result<()> {
    match found.first() {
        Some(first) if first.first_sequence > replay_from.0 => Err(Error::Corrupt {
            path: first.path.clone(),
            offset: 0,
            detail: format!(
                "the log begins at entry {}, but entries from {} on are not in segments yet: a file is missing",
                first.first_sequence, replay_from.0
            ),
        }),
        _ => Ok(()),
    }
}

fn check_continuity(file: &LogFile, scan: &FileScan, expected: Option<u64>) -> Result<()> {
    let after_gap = scan.header.is_some_and(|header| header.after_gap);
    match expected {
        Some(expected)
            if file.first_sequence != expected
                && !(after_gap && file.first_sequence > expected) =>
        {
            Err(Error::Corrupt {
                path: file.path.clone(),
                offset: 0,
                detail: format!(
                    "it begins at entry {} instead of {expected}: a file is missing or damaged",
                    file.first_sequence
                ),
            })
        }
        _ => Ok(()),
    }
}

fn corrupt(file: &LogFile, damage: &Damage) -> Error {
    Error::Corrupt {
        path: file.path.clone(),
        offset: damage.offset,
        detail: damage.detail.clone(),
    }
}

/// Cuts a torn tail off the last file; a file whose header is torn goes altogether.
fn cut_off(
    files: &dyn Files,
    directory: &Path,
    found: &mut Vec<LogFile>,
    scan: &FileScan,
) -> Result<()> {
    let Some(file) = found.last() else {
        return Ok(());
    };
    tracing::warn!(
        path = %file.path.display(),
        offset = scan.intact_bytes,
        bytes = scan.bytes - scan.intact_bytes,
        "cutting off the torn tail of the write-ahead log: it was never acknowledged"
    );
    if scan.header.is_none() {
        files
            .remove(&file.path)
            .map_err(|source| io_error("deleting", &file.path, source))?;
        let synced = files.sync_directory(directory);
        synced.map_err(|source| io_error("syncing", directory, source))?;
        found.pop();
    }
    Ok(())
}

/// The file to append to: the last one, or a new one.
fn activate(
    files: &dyn Files,
    directory: &Path,
    mut found: Vec<LogFile>,
    next_sequence: u64,
    replay_from: Sequence,
) -> Result<Opened> {
    // A log that ends before what is already in segments (its files were lost) must not give out those sequences
    // again: they would be taken for consumed.
    if next_sequence >= replay_from.0
        && let Some(last) = found.last()
    {
        let mut active = files
            .open(&last.path, last.bytes)
            .map_err(|source| io_error("opening", &last.path, source))?;
        active
            .sync()
            .map_err(|source| io_error("syncing", &last.path, source))?;
        return Ok(Opened {
            active,
            log_files: found,
            next_sequence,
        });
    }
    let next_sequence = next_sequence.max(replay_from.0);
    let after_gap = !found.is_empty();
    let (active, file) = create(files, directory, next_sequence, after_gap)?;
    found.push(file);
    Ok(Opened {
        active,
        log_files: found,
        next_sequence,
    })
}

/// A new file of the log, durable with its name.
pub(crate) fn create(
    files: &dyn Files,
    directory: &Path,
    first_sequence: u64,
    after_gap: bool,
) -> Result<(Box<dyn AppendFile>, LogFile)> {
    let path = file_path(directory, first_sequence);
    let header = FileHeader {
        first_sequence,
        after_gap,
    }
    .encode();
    let written = files.create(&path).and_then(|mut file| {
        file.append(&mut [std::io::IoSlice::new(&header)])?;
        file.sync()?;
        files.sync_directory(directory)?;
        Ok(file)
    });
    match written {
        Ok(file) => Ok((
            file,
            LogFile {
                path,
                first_sequence,
                bytes: FILE_HEADER as u64,
            },
        )),
        Err(source) => {
            // What is half made must not stand in the way of the next try.
            let _ = files.remove(&path);
            Err(io_error("making", &path, source))
        }
    }
}
