//! Looking at a log that is not open, and setting what is damaged aside.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files::{Files, SystemFiles};
use crate::format::{FRAME_HEADER, FileHeader};
use crate::local::take_directory;
use crate::recovery::{FileScan, IntactFrame, LogFile, file_path, io_error, log_files, scan_file};
use crate::{Error, Result};

/// What is in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its files in order.
    pub files: Vec<FileReport>,
}

/// What is in a file of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Sequence of its first entry.
    pub first_sequence: u64,
    /// Intact frames before any damage.
    pub frames: u64,
    /// Intact entries before any damage.
    pub entries: u64,
    /// Whether entries are missing before it, as an earlier repair declared.
    pub after_gap: bool,
    /// Where and how it is damaged.
    pub damage: Option<DamageReport>,
}

/// Damage in a file of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamageReport {
    /// Where it begins.
    pub offset: u64,
    /// What is wrong there.
    pub detail: String,
    /// True when it is the torn tail that a crash leaves, which opening the log cuts off: nothing of it was
    /// acknowledged.
    pub torn_tail: bool,
    /// Intact entries behind the damage, which a repair keeps.
    pub entries_after: u64,
    /// Entries that are lost in the damage, as far as the sequences of what follows tell.
    pub entries_lost: Option<u64>,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// Copies of the damaged files as they were.
    pub set_aside: Vec<PathBuf>,
    /// Intact entries that were kept from behind damage.
    pub entries_kept: u64,
}

impl Report {
    /// Whether opening the log would fail.
    pub fn is_corrupt(&self) -> bool {
        self.files
            .iter()
            .any(|file| file.damage.as_ref().is_some_and(|damage| !damage.torn_tail))
            || !self.is_contiguous()
    }

    /// Whether no file is missing between the others.
    pub fn is_contiguous(&self) -> bool {
        self.files.windows(2).all(|pair| {
            let end = pair[0].first_sequence + pair[0].entries;
            pair[0].damage.is_some()
                || pair[1].first_sequence == end
                || pair[1].after_gap && pair[1].first_sequence > end
        })
    }
}

/// Reads a log that no process has open, and changes nothing.
pub fn inspect(directory: &Path) -> Result<Report> {
    inspect_in(&SystemFiles, directory)
}

/// Makes a damaged log open again. Each damaged file is copied to `<name>.damaged-<n>` first and the copy is kept.
/// What is intact in it stays; the entries that are lost become a declared gap.
pub fn repair(directory: &Path) -> Result<RepairReport> {
    repair_in(&SystemFiles, directory)
}

fn inspect_in(files: &dyn Files, directory: &Path) -> Result<Report> {
    let names = files.list(directory);
    if names
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Ok(Report::default());
    }
    let _lock = take_directory(files, directory)?;
    let found = log_files(files, directory)?;
    let scans = scan_all(files, &found)?;
    let last = found.len().saturating_sub(1);
    let reports = found
        .iter()
        .zip(&scans)
        .enumerate()
        .map(|(position, (file, scan))| {
            let next = found.get(position + 1).map(|next| next.first_sequence);
            file_report(file, scan, position == last, next)
        });
    Ok(Report {
        files: reports.collect(),
    })
}

fn scan_all(files: &dyn Files, found: &[LogFile]) -> Result<Vec<FileScan>> {
    let mut buffer = Vec::new();
    (0..found.len())
        .map(|position| scan(files, found, position, &mut buffer))
        .collect()
}

/// Reads a file of those that were found.
fn scan(
    files: &dyn Files,
    found: &[LogFile],
    position: usize,
    buffer: &mut Vec<u8>,
) -> Result<FileScan> {
    let mut scan = scan_file(files, &found[position], buffer, &mut |_, _| Ok(()))?;
    if let (Some(damage), Some(next)) = (&mut scan.damage, found.get(position + 1)) {
        // What claims the places of the next file's entries is no frame of this log.
        let before = |frame: &IntactFrame| frame.header.end_sequence() <= next.first_sequence;
        damage.intact_after.retain(before);
    }
    Ok(scan)
}

fn file_report(file: &LogFile, scan: &FileScan, last: bool, next: Option<u64>) -> FileReport {
    let damage = scan.damage.as_ref().map(|damage| {
        let after = &damage.intact_after;
        let entries_after = after
            .iter()
            .map(|frame| u64::from(frame.header.entries))
            .sum();
        let end = after
            .last()
            .map(|frame| frame.header.end_sequence())
            .or(next);
        let lost = end.map(|end| {
            end.saturating_sub(scan.end_sequence)
                .saturating_sub(entries_after)
        });
        DamageReport {
            offset: damage.offset,
            detail: damage.detail.clone(),
            torn_tail: last && after.is_empty(),
            entries_after,
            entries_lost: next.or(end).map_or(lost, |end| {
                Some(
                    end.saturating_sub(scan.end_sequence)
                        .saturating_sub(entries_after),
                )
            }),
        }
    });
    FileReport {
        path: file.path.clone(),
        bytes: scan.bytes,
        first_sequence: file.first_sequence,
        frames: scan.frames,
        entries: scan.entries,
        after_gap: scan.header.is_some_and(|header| header.after_gap),
        damage,
    }
}

fn repair_in(files: &dyn Files, directory: &Path) -> Result<RepairReport> {
    let _lock = take_directory(files, directory)?;
    let found = log_files(files, directory)?;
    let mut report = RepairReport::default();
    let mut buffer = Vec::new();
    let mut end: Option<u64> = None;
    for (position, file) in found.iter().enumerate() {
        let scan = scan(files, &found, position, &mut buffer)?;
        // Entries that an earlier file has already cannot be told from it: the earlier ones stay.
        let overlaps = end.is_some_and(|end| file.first_sequence < end);
        let contiguous = end.is_none_or(|end| {
            file.first_sequence == end
                || scan.header.is_some_and(|header| header.after_gap) && file.first_sequence > end
        });
        let taken = end.unwrap_or(0);
        end = Some(scan.end_sequence.max(taken));
        if scan.damage.is_none() && contiguous {
            continue;
        }
        let bytes = whole(files, &file.path)?;
        report
            .set_aside
            .push(set_aside(files, directory, &file.path, &bytes)?);
        files
            .remove(&file.path)
            .map_err(|source| io_error("deleting", &file.path, source))?;
        // The intact beginning keeps its place; each run of frames behind damage becomes a file after a gap.
        if scan.frames > 0 && !overlaps {
            let intact = usize::try_from(scan.intact_bytes).unwrap_or(bytes.len());
            let frames = &bytes[crate::format::FILE_HEADER..intact];
            let after_gap = scan.header.is_some_and(|header| header.after_gap) || !contiguous;
            write_file(files, directory, file.first_sequence, after_gap, frames)?;
        }
        let after = scan.damage.iter().flat_map(|damage| &damage.intact_after);
        for frame in after.filter(|frame| frame.header.first_sequence >= taken) {
            let start = usize::try_from(frame.offset).unwrap_or(bytes.len());
            let stop = start + FRAME_HEADER + frame.header.body_bytes as usize;
            write_file(
                files,
                directory,
                frame.header.first_sequence,
                true,
                &bytes[start..stop],
            )?;
            report.entries_kept += u64::from(frame.header.entries);
            end = Some(frame.header.end_sequence());
        }
    }
    files
        .sync_directory(directory)
        .map_err(|source| io_error("syncing", directory, source))?;
    declare_gaps(files, directory)?;
    Ok(report)
}

/// After files were taken away, those that follow begin after a gap and have to say so.
fn declare_gaps(files: &dyn Files, directory: &Path) -> Result<()> {
    let mut buffer = Vec::new();
    let mut end: Option<u64> = None;
    for file in &log_files(files, directory)? {
        let scan = scan_file(files, file, &mut buffer, &mut |_, _| Ok(()))?;
        let after_gap = scan.header.is_some_and(|header| header.after_gap);
        if end.is_some_and(|end| end != file.first_sequence) && !after_gap {
            let bytes = whole(files, &file.path)?;
            files
                .remove(&file.path)
                .map_err(|source| io_error("deleting", &file.path, source))?;
            let frames = &bytes[crate::format::FILE_HEADER..];
            write_file(files, directory, file.first_sequence, true, frames)?;
        }
        end = Some(scan.end_sequence);
    }
    Ok(())
}

fn whole(files: &dyn Files, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut reader, _) = files
        .read(path)
        .map_err(|source| io_error("opening", path, source))?;
    std::io::Read::read_to_end(&mut reader, &mut bytes)
        .map_err(|source| io_error("reading", path, source))?;
    Ok(bytes)
}

fn set_aside(files: &dyn Files, directory: &Path, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    for number in 1_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        let copy = PathBuf::from(name);
        match files.create(&copy) {
            Ok(mut file) => {
                let written = file
                    .append(&mut [std::io::IoSlice::new(bytes)])
                    .and_then(|()| file.sync())
                    .and_then(|()| files.sync_directory(directory));
                written.map_err(|source| io_error("copying to", &copy, source))?;
                return Ok(copy);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error("making", &copy, source)),
        }
    }
    Err(Error::DiskFull(
        "no free name for the damaged file".to_owned(),
    ))
}

fn write_file(
    files: &dyn Files,
    directory: &Path,
    first_sequence: u64,
    after_gap: bool,
    frames: &[u8],
) -> Result<()> {
    let path = file_path(directory, first_sequence);
    let header = FileHeader {
        first_sequence,
        after_gap,
    }
    .encode();
    let written = files.create(&path).and_then(|mut file| {
        file.append(&mut [
            std::io::IoSlice::new(&header),
            std::io::IoSlice::new(frames),
        ])?;
        file.sync()
    });
    written.map_err(|source| io_error("writing", &path, source))
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::format::{FrameHeader, body_crc};
    use crate::{LocalLog, LocalLogOptions, Sequence};

    /// A frame of empty entries.
    fn frame(first_sequence: u64, entries: u32) -> Vec<u8> {
        let body = vec![0; entries as usize * 4];
        let header = FrameHeader {
            entries,
            first_sequence,
            body_bytes: body.len() as u32,
            body_crc: body_crc([&body[..]]),
        };
        [&header.encode()[..], &body].concat()
    }

    fn write(directory: &Path, first_sequence: u64, parts: &[&[u8]]) {
        let header = FileHeader {
            first_sequence,
            after_gap: false,
        };
        let bytes = [&header.encode()[..], &parts.concat()].concat();
        let path = file_path(directory, first_sequence);
        let mut file = SystemFiles.create(&path).unwrap();
        file.append(&mut [IoSlice::new(&bytes)]).unwrap();
    }

    /// Repairs the log; answers which entries it has then.
    fn repaired(directory: &Path) -> Vec<u64> {
        assert!(inspect(directory).unwrap().is_corrupt());
        repair(directory).unwrap();
        assert!(!inspect(directory).unwrap().is_corrupt());
        let mut found = Vec::new();
        let options = LocalLogOptions::default();
        LocalLog::open(directory, options, Sequence(0), &mut |sequence, _| {
            found.push(sequence.0);
            Ok(())
        })
        .unwrap()
        .close();
        found
    }

    #[test]
    fn frames_behind_damage_that_claim_the_next_files_entries_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (good, claims) = (frame(3, 1), frame(100, 2));
        write(
            folder.path(),
            0,
            &[&frame(0, 2), b"damage", &good, &frame(4, 0), &claims],
        );
        write(folder.path(), 5, &[&frame(5, 2)]);
        assert_eq!(repaired(folder.path()), [0, 1, 3, 5, 6]);
    }

    #[test]
    fn files_of_the_same_entries_are_repaired_to_the_first() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0, &[&frame(0, 6)]);
        write(folder.path(), 4, &[&frame(4, 1), &frame(5, 1)]);
        write(folder.path(), 6, &[&frame(6, 1)]);
        assert_eq!(repaired(folder.path()), [0, 1, 2, 3, 4, 5, 6]);
    }
}
