//! Reading a log back: what is intact, what is torn, what is damaged.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::files::Files;
use crate::format::{
    FILE_HEADER, FRAME_HEADER, FRAME_MAGIC, FileHeader, FrameHeader, body_crc, entries,
};
use crate::{Error, Result};

/// Extension of the log's files.
const EXTENSION: &str = ".wal";

/// A file of the log, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) first_sequence: u64,
    pub(crate) bytes: u64,
}

/// The path of the file whose first entry is `first_sequence`.
pub(crate) fn file_path(directory: &Path, first_sequence: u64) -> PathBuf {
    directory.join(format!("{first_sequence:020}{EXTENSION}"))
}

/// The log's files in order. Other names are left alone.
pub(crate) fn log_files(files: &dyn Files, directory: &Path) -> Result<Vec<LogFile>> {
    let names = files
        .list(directory)
        .map_err(|source| io_error("listing", directory, source))?;
    let mut found: Vec<LogFile> = names
        .iter()
        .filter_map(|name| {
            let digits = name.strip_suffix(EXTENSION)?;
            let first_sequence = digits.parse().ok()?;
            let path = directory.join(name);
            (digits.len() == 20).then_some(LogFile {
                path,
                first_sequence,
                bytes: 0,
            })
        })
        .collect();
    found.sort_by_key(|file| file.first_sequence);
    Ok(found)
}

pub(crate) fn io_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Takes the intact entries of a file: sequence and payload.
pub(crate) type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<(), String> + 'a;

/// What reading a file came to.
#[derive(Debug)]
pub(crate) struct FileScan {
    /// `None` when the header itself is damaged.
    pub(crate) header: Option<FileHeader>,
    /// The sequence after the last intact frame before any damage.
    pub(crate) end_sequence: u64,
    /// Offset up to which everything is intact.
    pub(crate) intact_bytes: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Intact frames before any damage.
    pub(crate) frames: u64,
    /// Intact entries before any damage.
    pub(crate) entries: u64,
    pub(crate) damage: Option<Damage>,
}

/// Where a file stops being what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) detail: String,
    /// Intact frames that follow: then it is no torn tail.
    pub(crate) intact_after: Vec<IntactFrame>,
}

/// An intact frame behind damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IntactFrame {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
}

/// Reads a file, handing each intact entry before any damage to `visit` (sequence, payload).
///
/// Memory: one frame, and, only when there is damage, the rest of the file.
pub(crate) fn scan_file(
    files: &dyn Files,
    file: &LogFile,
    buffer: &mut Vec<u8>,
    visit: &mut Visit<'_>,
) -> Result<FileScan> {
    let path = &file.path;
    let (reader, bytes) = files
        .read(path)
        .map_err(|source| io_error("opening", path, source))?;
    let mut reader = io::BufReader::with_capacity(1 << 16, reader);
    let mut scan = FileScan {
        header: None,
        end_sequence: file.first_sequence,
        intact_bytes: 0,
        bytes,
        frames: 0,
        entries: 0,
        damage: None,
    };
    let mut header = [0; FILE_HEADER];
    let problem = match read_full(&mut reader, &mut header) {
        Err(source) => return Err(io_error("reading", path, source)),
        Ok(length) if length < FILE_HEADER => Some("the file header is cut off".to_owned()),
        Ok(_) => match FileHeader::decode(&header) {
            Ok(found) if found.first_sequence == file.first_sequence => {
                scan.header = Some(found);
                scan.intact_bytes = FILE_HEADER as u64;
                None
            }
            Ok(found) => Some(format!(
                "the header says {}, the name another",
                found.first_sequence
            )),
            Err(detail) => Some(detail),
        },
    };
    let problem = match problem {
        Some(detail) => Some(detail),
        None => frames(&mut reader, file, &mut scan, buffer, visit)?,
    };
    if let Some(detail) = problem {
        let offset = scan.intact_bytes;
        let intact_after = frames_after(files, path, offset, scan.end_sequence)?;
        scan.damage = Some(Damage {
            offset,
            detail,
            intact_after,
        });
    }
    Ok(scan)
}

/// Reads frames until the end or damage, which it returns.
fn frames(
    reader: &mut impl Read,
    file: &LogFile,
    scan: &mut FileScan,
    buffer: &mut Vec<u8>,
    visit: &mut Visit<'_>,
) -> Result<Option<String>> {
    let path = &file.path;
    loop {
        let mut header = [0; FRAME_HEADER];
        let length =
            read_full(reader, &mut header).map_err(|source| io_error("reading", path, source))?;
        if length == 0 {
            return Ok(None);
        }
        if length < FRAME_HEADER {
            return Ok(Some("the frame header is cut off".to_owned()));
        }
        let header = match FrameHeader::decode(&header) {
            Ok(header) => header,
            Err(detail) => return Ok(Some(detail)),
        };
        if header.first_sequence != scan.end_sequence {
            let (found, wanted) = (header.first_sequence, scan.end_sequence);
            return Ok(Some(format!(
                "the frame begins at entry {found} instead of {wanted}"
            )));
        }
        let body_bytes = u64::from(header.body_bytes);
        if scan.intact_bytes + FRAME_HEADER as u64 + body_bytes > scan.bytes {
            return Ok(Some("the frame is cut off".to_owned()));
        }
        buffer.resize(header.body_bytes as usize, 0);
        let read = read_full(reader, buffer).map_err(|source| io_error("reading", path, source))?;
        if read < buffer.len() || body_crc([&buffer[..]]) != header.body_crc {
            return Ok(Some("the checksum of the frame is wrong".to_owned()));
        }
        let payloads = match entries(&header, buffer) {
            Ok(payloads) => payloads,
            Err(detail) => return Ok(Some(detail)),
        };
        for (sequence, payload) in (header.first_sequence..).zip(payloads) {
            visit(sequence, payload).map_err(|detail| Error::Replay {
                path: path.clone(),
                sequence,
                detail,
            })?;
        }
        scan.end_sequence = header.end_sequence();
        scan.intact_bytes += FRAME_HEADER as u64 + body_bytes;
        scan.frames += 1;
        scan.entries += u64::from(header.entries);
    }
}

/// The intact frames at or after `offset` whose entries come after `end_sequence`.
fn frames_after(
    files: &dyn Files,
    path: &Path,
    offset: u64,
    end_sequence: u64,
) -> Result<Vec<IntactFrame>> {
    let (mut reader, _) = files
        .read(path)
        .map_err(|source| io_error("opening", path, source))?;
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .map_err(|source| io_error("reading", path, source))?;
    let mut found = Vec::new();
    let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut next_sequence = end_sequence;
    while let Some(rest) = bytes.get(at..) {
        let Some(skip) = rest
            .windows(FRAME_MAGIC.len())
            .position(|some| some == FRAME_MAGIC)
        else {
            break;
        };
        at += skip;
        match intact_frame(&bytes[at..]) {
            Some(header) if header.entries > 0 && header.first_sequence >= next_sequence => {
                found.push(IntactFrame {
                    offset: at as u64,
                    header,
                });
                next_sequence = header.end_sequence();
                at += FRAME_HEADER + header.body_bytes as usize;
            }
            _ => at += 1,
        }
    }
    Ok(found)
}

/// The header of the frame that `bytes` begin with, if all of it is intact.
pub(crate) fn intact_frame(bytes: &[u8]) -> Option<FrameHeader> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER>()?;
    let header = FrameHeader::decode(header).ok()?;
    let body = rest.get(..header.body_bytes as usize)?;
    (body_crc([body]) == header.body_crc && entries(&header, body).is_ok()).then_some(header)
}

/// Fills the buffer as far as the reader goes; returns how far.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
