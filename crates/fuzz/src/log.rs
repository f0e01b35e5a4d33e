//! The write-ahead log: any bytes as its files.

use std::path::Path;

use crc32c::crc32c;
use logmill_queue::{Error, LocalLog, LocalLogOptions, Sequence, inspect, repair};

use crate::Input;

/// Length of the header of a file, and of one of a frame; the last four bytes of either are its checksum.
const HEADER: usize = 32;

/// Files of a log: whether it opens is what the doctor says, and a repaired one opens with all that was intact.
///
/// Input: sealed, u16 length of the first file, the files. Each is named after the sequence in its header.
pub fn wal(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut input = Input::new(bytes);
    let sealed = input.sealed();
    let length = input.number::<2>() as usize;
    for file in [input.take(length), input.rest()] {
        let mut file = file.to_vec();
        if sealed {
            seal(&mut file);
        }
        let sequence = file
            .get(16..24)
            .map_or(0, |bytes| Input::new(bytes).number::<8>());
        let path = folder.path().join(format!("{sequence:020}.wal"));
        std::fs::write(path, file).expect("there is room for a small file");
    }
    check(folder.path());
}

fn check(folder: &Path) {
    let report = inspect(folder).expect("any bytes can be looked at");
    let overlap = report
        .files
        .windows(2)
        .any(|pair| pair[1].first_sequence < pair[0].first_sequence + pair[0].entries);
    let intact: u64 = report.files.iter().map(|file| file.entries).sum();
    let first = report.files.first().map_or(0, |file| file.first_sequence);
    match open(folder, first) {
        Ok(entries) => {
            assert!(!report.is_corrupt(), "the doctor sees damage: {report:?}");
            assert_eq!(entries, intact, "{report:?}");
        }
        Err(Error::Corrupt { .. }) => {
            assert!(report.is_corrupt(), "the doctor sees no damage: {report:?}");
            let after = report.files.iter().filter_map(|file| file.damage.as_ref());
            let kept: u64 = after.map(|damage| damage.entries_after).sum();
            repair(folder).expect("any log can be repaired");
            let first = inspect(folder).expect("any bytes can be looked at").files;
            let first = first.first().map_or(0, |file| file.first_sequence);
            let entries = open(folder, first).expect("a repaired log opens");
            // Files of the same entries, which no log has, cannot all stay.
            assert!(overlap || entries == intact + kept, "{entries}: {report:?}");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Opens the log; answers how many entries were replayed.
fn open(folder: &Path, first: u64) -> Result<u64, Error> {
    let mut entries = 0;
    let mut count = |_: Sequence, _: &[u8]| {
        entries += 1;
        Ok(())
    };
    let log = LocalLog::open(
        folder,
        LocalLogOptions::default(),
        Sequence(first),
        &mut count,
    )?;
    log.close();
    Ok(entries)
}

/// Makes the checksums of a file's header and of every frame right, for as long as one follows the other.
fn seal(file: &mut [u8]) {
    let Some((header, mut frames)) = file.split_first_chunk_mut::<HEADER>() else {
        return;
    };
    seal_header(header);
    while let Some((header, rest)) = frames.split_first_chunk_mut::<HEADER>() {
        let length = Input::new(&header[16..20]).number::<4>() as usize;
        let (body, rest) = rest.split_at_mut(length.min(rest.len()));
        let check = crc32c(body);
        header[20..24].copy_from_slice(&check.to_le_bytes());
        seal_header(header);
        frames = rest;
    }
}

fn seal_header(header: &mut [u8; HEADER]) {
    let check = crc32c(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
}
