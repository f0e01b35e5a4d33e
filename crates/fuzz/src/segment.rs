//! Whole segments.

use std::ops::Range;

use bytes::Bytes;
use logmill_segment::{
    BlockLocation, Blocks, ColumnSeed, Newest, Rollup, RowGroupBytes, SegmentFile, SegmentMetadata,
    SegmentOptions, SegmentWriter, TokenIndex, ValueCounts, decode, token_hash,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Input, index, rollup};

/// A segment as a reader, a merge and the doctor read it: footer, rows, index, rollup.
///
/// Input: sealed (checksums of index and rollup), the file.
pub fn segment(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let sealed = input.sealed();
    let file_bytes = Bytes::copy_from_slice(input.rest());
    let _ = SegmentMetadata::read(&file_bytes);
    let Ok(Ok(file)) = SegmentFile::open(&file_bytes, file_bytes.len() as u64) else {
        return;
    };
    let _ = decode(&file_bytes);
    let mut rows = Vec::new();
    for row_group in 0..file.row_groups() {
        let Some(bytes) = row_group_bytes(&file, &file_bytes, row_group) else {
            continue;
        };
        columns(&file, &file_bytes, row_group);
        rows.extend(
            file.decode_row_group(row_group, &bytes)
                .into_iter()
                .flatten(),
        );
    }
    let block = file
        .metadata()
        .rollup
        .as_ref()
        .and_then(|location| slice(&file_bytes, location.range()));
    if let Some(block) = &block {
        rollup::check(block);
    }
    let newest = newest(&file, &file_bytes, sealed);
    let values = values(&file, &file_bytes, sealed);
    let Some(blocks) = token_index(&file, &file_bytes, sealed) else {
        return;
    };
    let rollup = block.unwrap_or_default();
    merge(
        &file,
        &file_bytes,
        &blocks,
        &rollup,
        newest.as_ref(),
        values.as_ref(),
    );
}

/// Reads columns page by page, as queries do.
fn columns(file: &SegmentFile, bytes: &Bytes, row_group: usize) {
    for (name, _) in &file.metadata().columns {
        let Ok(Some(column)) = file.column(row_group, name) else {
            continue;
        };
        let dictionary = column.dictionary_range();
        let dictionary = dictionary.and_then(|range| slice(bytes, range));
        let dictionary = dictionary.and_then(|bytes| column.dictionary(&bytes).ok());
        for page in 0..file.granules(row_group) as usize {
            column.is_null(page);
            let range = column.page_range(page).ok();
            let Some(bytes) = range.and_then(|range| slice(bytes, range)) else {
                break;
            };
            if let Ok(page) = column.page(page, &bytes) {
                let _ = column.array(&page, dictionary.as_ref());
            }
        }
    }
}

/// The counts of values.
fn values(file: &SegmentFile, bytes: &Bytes, sealed: bool) -> Option<ValueCounts> {
    let mut location = file.metadata().values.clone()?;
    let block = slice(bytes, location.range())?;
    if sealed {
        location.checksum = xxh3_64(&block);
    }
    ValueCounts::read(&location, &block).ok()
}

/// The newest records, where they stand together.
fn newest(file: &SegmentFile, bytes: &Bytes, sealed: bool) -> Option<Newest> {
    let mut location = file.metadata().newest.clone()?;
    let block = slice(bytes, location.block.range())?;
    if sealed {
        location.block.checksum = xxh3_64(&block);
    }
    Newest::read(&location, &block).ok()
}

/// Looks words up; answers blocks and directory.
fn token_index(file: &SegmentFile, bytes: &Bytes, sealed: bool) -> Option<Vec<u8>> {
    let location = file.metadata().token_index.clone()?;
    let mut all = slice(bytes, file.index_range()?)?.to_vec();
    let (blocks, directory) = all.split_at_mut_checked(location.blocks_bytes as usize)?;
    if sealed {
        index::seal_directory(directory);
    }
    let opened = TokenIndex::open(location, directory).ok()?;
    if sealed {
        index::seal_blocks(&opened, blocks);
    }
    for word in ["message", "number", "5", "absent"] {
        index::look_up(&opened, blocks, token_hash(ColumnSeed::of("message"), word));
    }
    Some(all)
}

/// Takes the segment over into another, as a merge does.
fn merge(
    file: &SegmentFile,
    bytes: &Bytes,
    index: &[u8],
    rollup: &Bytes,
    newest: Option<&Newest>,
    values: Option<&ValueCounts>,
) {
    let location = BlockLocation {
        offset: 0,
        bytes: rollup.len() as u64,
        checksum: xxh3_64(rollup),
    };
    let fields: Vec<_> = file
        .metadata()
        .columns
        .iter()
        .map(|(name, kind)| kind.field(name))
        .collect();
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields));
    let options = SegmentOptions::default();
    let writer = SegmentWriter::new(Vec::new(), schema, file.time_unit(), &[], &options);
    let (Ok(mut writer), Ok(rollup)) = (writer, Rollup::read(&location, rollup)) else {
        return;
    };
    if !writer.can_copy(file) {
        return;
    }
    let mut row_group = |row_group| {
        row_group_bytes(file, bytes, row_group)
            .ok_or_else(|| logmill_segment::Error::NotASegment("a row group is cut off".to_owned()))
    };
    let blocks = Blocks {
        index,
        rollup: &rollup,
        newest,
        values,
    };
    let copied = writer.copy(file, &blocks, &mut row_group);
    if copied.is_ok() {
        let _ = writer.finish();
    }
}

fn row_group_bytes(file: &SegmentFile, bytes: &Bytes, row_group: usize) -> Option<RowGroupBytes> {
    let range = file.row_group_range(row_group);
    Some(RowGroupBytes {
        offset: range.start,
        bytes: slice(bytes, range)?,
    })
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Option<Bytes> {
    let (start, end) = (
        usize::try_from(range.start).ok()?,
        usize::try_from(range.end).ok()?,
    );
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}
