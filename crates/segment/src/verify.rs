//! Whether a segment is what was written: its parts against their checksums and against each other.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use logmill_schema::record_hashes;
use serde::Serialize;

use crate::gather::{Column, Columns};
use crate::index::{ColumnSeed, IndexBuilder, Tokeniser, tokens_of};
use crate::newest::{self, NEWEST_ROWS, Newest};
use crate::order::{self, Position, positions};
use crate::text_chunk::TextColumn;
use crate::values::{ColumnValues, ValueCounts, ValueCountsBuilder};
use crate::{BlockLocation, Cell, Result, Rollup, RowGroupBytes, SegmentFile};

/// One row in so many has its tokens looked for when not all have. A prime, so that no rhythm of the records hides any.
const SAMPLE_STEP: usize = 61;

/// Whose tokens are looked for in the index; all rows are decoded and counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Those of one row in 61.
    #[default]
    Sample,
    /// Those of every row.
    AllRows,
}

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The footer: what is where.
    Footer,
    /// The records.
    Rows,
    /// The token index.
    Index,
    /// The rollup.
    Rollup,
    /// The newest records, where they stand together.
    Newest,
    /// The counts of values.
    Values,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Footer => "footer",
            Self::Rows => "rows",
            Self::Index => "token index",
            Self::Rollup => "rollup",
            Self::Newest => "newest records",
            Self::Values => "counts of values",
        })
    }
}

/// Something in a segment that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub part: Part,
    /// What is wrong there.
    pub detail: String,
}

/// Reads all of a segment: footer, every row group (rows, times, order), index and rollup, and compares what they say
/// of the same rows. Empty when everything is well. Memory: one row group, and the pairs of the index.
pub fn verify(bytes: &Bytes, depth: Depth) -> Vec<Problem> {
    let opened = SegmentFile::open(bytes, bytes.len() as u64);
    let file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(_)) => return vec![problem(Part::Footer, "it is cut off")],
        Err(error) => return vec![problem(Part::Footer, error)],
    };
    let mut found = Found::default();
    let mut problems = Vec::new();
    for row_group in 0..file.row_groups() {
        if let Err(detail) = found.read(&file, bytes, row_group, depth) {
            let detail = format!("row group {row_group}: {detail}");
            problems.push(problem(Part::Rows, detail));
        }
    }
    // What is known of the rows is known only when all of them were read.
    let all_read = problems.is_empty();
    let metadata = file.metadata();
    if all_read {
        let times = found.times.unwrap_or_default();
        let footer_times = (metadata.min_timestamp_ns, metadata.max_timestamp_ns);
        if found.rows != metadata.rows {
            let detail = format!("{} records instead of {}", found.rows, metadata.rows);
            problems.push(problem(Part::Rows, detail));
        }
        if times != footer_times {
            let detail = format!("times {times:?}; the footer says {footer_times:?}");
            problems.push(problem(Part::Footer, detail));
        }
    }
    let pairs = found.index.into_pairs();
    if let Err(detail) = check_index(&file, bytes, &pairs) {
        problems.push(problem(Part::Index, detail));
    }
    if let Err(detail) = check_rollup(&file, bytes, all_read.then_some(&found.rollup)) {
        problems.push(problem(Part::Rollup, detail));
    }
    if all_read && let Err(detail) = check_newest(&file, bytes, &found.newest) {
        problems.push(problem(Part::Newest, detail));
    }
    if all_read && let Err(detail) = check_values(&file, bytes, found.values) {
        problems.push(problem(Part::Values, detail));
    }
    problems
}

fn problem(part: Part, detail: impl ToString) -> Problem {
    let detail = detail.to_string();
    Problem { part, detail }
}

/// What the rows say.
#[derive(Default)]
struct Found {
    rows: u64,
    times: Option<(i64, i64)>,
    index: IndexBuilder,
    rollup: Rollup,
    /// Records that the block of the newest ones should have.
    newest: Vec<RecordBatch>,
    values: ValueCountsBuilder,
    tokeniser: Tokeniser,
}

impl Found {
    /// Takes in a row group, whose rows it must be able to read and find in order.
    fn read(
        &mut self,
        file: &SegmentFile,
        bytes: &Bytes,
        row_group: usize,
        depth: Depth,
    ) -> Result<(), String> {
        let range = file.row_group_range(row_group);
        let bytes = RowGroupBytes {
            offset: range.start,
            bytes: slice(bytes, range)?,
        };
        let batches = file
            .decode_row_group(row_group, &bytes)
            .map_err(|error| error.to_string())?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows != file.rows(row_group) {
            return Err(format!(
                "{rows} records instead of {}",
                file.rows(row_group)
            ));
        }
        let schema = schema(file);
        let columns = Columns::of(&batches, &schema).map_err(|error| error.to_string())?;
        let mut rows = positions(&batches);
        self.count(&columns, &rows, file.times(row_group))?;
        if let Some(location) = &file.metadata().newest {
            let mut newest = rows.clone();
            newest.retain(|at| columns.time(at) > location.after_ns);
            if newest.len() > NEWEST_ROWS {
                return Err("more records than fit are the newest".to_owned());
            }
            let newest = columns.take(&newest::plain(&schema), &newest);
            self.newest.push(newest.map_err(|error| error.to_string())?);
        }
        for field in schema.fields() {
            let values = match columns.get(field.name()) {
                Some(Column::Plain(arrays)) => ColumnValues::of_rows(arrays, &rows),
                column => column.and_then(TextColumn::of).map(|texts| {
                    ColumnValues::of_texts(rows.iter().filter_map(|at| texts.get(at)))
                }),
            };
            self.values.add(field.name(), values);
        }
        self.add_tokens(
            &columns,
            &schema,
            &batches,
            file.granules_before(row_group),
            depth,
        );
        if file.metadata().format_version > 1 {
            order::sort(&columns, &mut rows, &mut self.tokeniser);
        } else {
            rows.sort_by_key(|at| columns.time(at));
        }
        if !rows.is_sorted() {
            return Err("its records are not in order".to_owned());
        }
        Ok(())
    }

    fn count(
        &mut self,
        columns: &Columns<'_>,
        rows: &[Position],
        expected: (i64, i64),
    ) -> Result<(), String> {
        let times = || rows.iter().map(|at| columns.time(at));
        let (Some(oldest), Some(newest)) = (times().min(), times().max()) else {
            return Ok(());
        };
        let known = self.times.unwrap_or((oldest, newest));
        self.times = Some((known.0.min(oldest), known.1.max(newest)));
        self.rows += rows.len() as u64;
        self.rollup.count(columns, rows);
        if oldest < expected.0 || newest > expected.1 {
            return Err(format!(
                "times from {oldest} to {newest}, outside of {expected:?}"
            ));
        }
        Ok(())
    }

    fn add_tokens(
        &mut self,
        columns: &Columns<'_>,
        schema: &SchemaRef,
        batches: &[RecordBatch],
        first_granule: u32,
        depth: Depth,
    ) {
        let step = match depth {
            Depth::Sample => SAMPLE_STEP,
            Depth::AllRows => 1,
        };
        for field in schema.fields() {
            let seed = ColumnSeed::of(field.name());
            let column = columns.get(field.name()).and_then(TextColumn::of);
            for (batch, granule) in (0..batches.len()).zip(first_granule..) {
                self.index.begin();
                for row in (0..batches[batch].num_rows()).step_by(step) {
                    let at = Position {
                        batch: batch as u32,
                        row: row as u32,
                    };
                    let text = column.and_then(|column| column.get(&at));
                    let index = &mut self.index;
                    if let Some(text) = text {
                        self.tokeniser
                            .hashes(text, seed, |hash| index.add(hash, granule));
                    }
                }
            }
        }
    }
}

fn schema(file: &SegmentFile) -> SchemaRef {
    let columns = file.metadata().columns.iter();
    let fields: Vec<_> = columns.map(|(name, kind)| kind.field(name)).collect();
    Arc::new(Schema::new(fields))
}

/// Whether the index can be read and has the pairs that were found in rows.
fn check_index(file: &SegmentFile, bytes: &Bytes, found: &[u64]) -> Result<(), String> {
    let Some(location) = &file.metadata().token_index else {
        return missing_part(file);
    };
    let range = file.index_range().ok_or("its place is not possible")?;
    let all = slice(bytes, range)?;
    let (index, blocks) = file.open_index(&all).map_err(|error| error.to_string())?;
    let (tokens, pairs) = (location.tokens, location.pairs);
    let (there, damaged) = index.all_pairs(blocks);
    if damaged > 0 {
        let all = 1_u32 << index.location().buckets_log2;
        return Err(format!("{damaged} of {all} blocks are damaged"));
    }
    let distinct = tokens_of(&there).count();
    if (distinct as u64, there.len() as u64) != (tokens, pairs) {
        return Err(format!(
            "{distinct} tokens in {} places; the footer says {tokens} in {pairs}",
            there.len()
        ));
    }
    let missing = found
        .iter()
        .filter(|pair| there.binary_search(pair).is_err())
        .count();
    if missing > 0 {
        return Err(format!(
            "{missing} of {} tokens that were looked for are missing",
            found.len()
        ));
    }
    Ok(())
}

/// Whether the rollup can be read and has the counts that were found, if all rows were.
fn check_rollup(file: &SegmentFile, bytes: &Bytes, found: Option<&Rollup>) -> Result<(), String> {
    let metadata = file.metadata();
    let Some(location) = &metadata.rollup else {
        return missing_part(file);
    };
    let block = block(bytes, location)?;
    let rollup = Rollup::read(location, &block).map_err(|error| error.to_string())?;
    let cells = |of: &Rollup| {
        let mut cells: BTreeMap<Cell, u64> = BTreeMap::new();
        for (cell, count) in of.cells() {
            let service = cell.service.filter(|_| rollup.by_service());
            *cells.entry(Cell { service, ..cell }).or_default() += count;
        }
        cells
    };
    match found {
        Some(found) if cells(found) != cells(&rollup) => {
            Err("its counts are not those of the records".to_owned())
        }
        None if rollup.rows() != metadata.rows => Err(format!(
            "{} records instead of {}",
            rollup.rows(),
            metadata.rows
        )),
        _ => Ok(()),
    }
}

/// Whether the block of the newest records, if there is one, can be read and has the records that were found.
fn check_newest(file: &SegmentFile, bytes: &Bytes, found: &[RecordBatch]) -> Result<(), String> {
    let Some(location) = &file.metadata().newest else {
        return Ok(());
    };
    let block = block(bytes, &location.block)?;
    let newest = Newest::read(location, &block).map_err(|error| error.to_string())?;
    let hashes = |batches: &[RecordBatch]| {
        let hashes = batches.iter().map(record_hashes);
        let hashes = hashes.collect::<std::result::Result<Vec<_>, _>>();
        let mut hashes = hashes.map_err(|error| error.to_string())?.concat();
        hashes.sort_unstable();
        Ok::<_, String>(hashes)
    };
    if hashes(std::slice::from_ref(newest.rows()))? != hashes(found)? {
        return Err("its records are not the newest ones".to_owned());
    }
    Ok(())
}

/// Whether the counts of values, if there are any, can be read and are those that were found.
fn check_values(
    file: &SegmentFile,
    bytes: &Bytes,
    found: ValueCountsBuilder,
) -> Result<(), String> {
    let Some(location) = &file.metadata().values else {
        return Ok(());
    };
    let values = ValueCounts::read(location, &block(bytes, location)?);
    let values = values.map_err(|error| error.to_string())?;
    let found = found.values();
    for (column, values) in values.iter() {
        let (ColumnValues::Counts(there), Some(ColumnValues::Counts(found))) =
            (values, found.get(column))
        else {
            continue;
        };
        if there != found {
            return Err(format!("those of {column} are not those of the records"));
        }
    }
    Ok(())
}

fn block(bytes: &Bytes, location: &BlockLocation) -> Result<Bytes, String> {
    slice(bytes, location.range())
}

/// Format 1 had neither index nor rollup.
fn missing_part(file: &SegmentFile) -> Result<(), String> {
    if file.metadata().format_version > 1 {
        return Err("there is none".to_owned());
    }
    Ok(())
}

fn slice(bytes: &Bytes, range: Range<u64>) -> Result<Bytes, String> {
    let inside = range.start <= range.end && range.end <= bytes.len() as u64;
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    inside
        .then(|| bytes.slice(at(range.start)..at(range.end)))
        .ok_or_else(|| format!("bytes {range:?} of a file of {}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, DictionaryArray, StringArray, TimestampNanosecondArray};
    use logmill_schema::ColumnType;

    use super::*;
    use crate::{GRANULE_ROWS, SegmentOptions};

    fn segment(rows: i64, message: impl Fn(i64) -> String) -> Bytes {
        let times =
            TimestampNanosecondArray::from_iter_values((0..rows).map(|n| n * 1_000_000_000));
        let services: DictionaryArray<Int32Type> = (0..rows)
            .map(|n| ["a", "b", "c"].get(n as usize % 3).copied())
            .collect();
        let columns: Vec<(&str, ColumnType, ArrayRef)> = vec![
            (
                "timestamp",
                ColumnType::Timestamp,
                Arc::new(times.with_timezone("UTC")),
            ),
            ("service", ColumnType::String, Arc::new(services)),
            (
                "message",
                ColumnType::String,
                Arc::new(StringArray::from_iter_values((0..rows).map(message))),
            ),
        ];
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, kind, _)| kind.field(name))
            .collect();
        let columns = columns.into_iter().map(|(_, _, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let options = SegmentOptions {
            row_group_rows: GRANULE_ROWS * 2,
            ..SegmentOptions::default()
        };
        let mut out = Vec::new();
        crate::encode(&[batch], &options, &mut out).unwrap();
        Bytes::from(out)
    }

    fn open(bytes: &Bytes) -> SegmentFile {
        SegmentFile::open(bytes, bytes.len() as u64)
            .unwrap()
            .unwrap()
    }

    fn parts(bytes: &Bytes, depth: Depth) -> Vec<Part> {
        verify(bytes, depth)
            .iter()
            .map(|problem| problem.part)
            .collect()
    }

    fn changed(bytes: &Bytes, at: u64) -> Bytes {
        let mut bytes = bytes.to_vec();
        bytes[at as usize] ^= 0x55;
        Bytes::from(bytes)
    }

    #[test]
    fn a_good_segment_has_no_problem() {
        let bytes = segment(40_000, |n| format!("Message {n} ünd more"));
        assert_eq!(open(&bytes).row_groups(), 3);
        for depth in [Depth::Sample, Depth::AllRows] {
            assert_eq!(verify(&bytes, depth), []);
        }
        for version in ["v1", "v2"] {
            let path = format!(
                "{}/testdata/{version}/sample.parquet",
                env!("CARGO_MANIFEST_DIR")
            );
            assert_eq!(
                verify(&std::fs::read(path).unwrap().into(), Depth::AllRows),
                [],
                "{version}"
            );
        }
    }

    #[test]
    fn damage_is_found_where_it_is() {
        let bytes = segment(3_000, |n| format!("message {n}"));
        let metadata = open(&bytes).metadata().clone();
        let (index, rollup) = (metadata.token_index.unwrap(), metadata.rollup.unwrap());
        let sample = |at| parts(&changed(&bytes, at), Depth::Sample);
        assert_eq!(sample(index.offset + 20), [Part::Index]);
        assert_eq!(sample(index.offset + index.blocks_bytes + 2), [Part::Index]);
        assert_eq!(sample(rollup.offset + rollup.bytes - 1), [Part::Rollup]);
        assert_eq!(sample(bytes.len() as u64 - 6), [Part::Footer]);
        assert_eq!(
            parts(&bytes.slice(..bytes.len() - 100), Depth::Sample),
            [Part::Footer]
        );
        let range = open(&bytes).row_group_range(0);
        assert_eq!(sample(range.start + 40)[0], Part::Rows);
    }

    /// The segment's index of other records takes the place of its own; their lengths are the same.
    #[test]
    fn tokens_that_are_missing_are_found() {
        let good = segment(3_000, |n| format!("message {n:04}"));
        let other = segment(3_000, |n| {
            format!("message {:04}", if n == 1 { 9_999 } else { n })
        });
        let place = |bytes: &Bytes| open(bytes).metadata().token_index.clone().unwrap();
        let mut mixed = good.to_vec();
        let range = open(&good).index_range().unwrap();
        let (from, to) = (place(&other), place(&good));
        assert_eq!(
            (from.blocks_bytes, from.tokens, from.pairs),
            (to.blocks_bytes, to.tokens, to.pairs)
        );
        let other = slice(&other, open(&other).index_range().unwrap()).unwrap();
        mixed[range.start as usize..range.end as usize].copy_from_slice(&other);
        let mixed = Bytes::from(mixed);
        assert_eq!(
            parts(&mixed, Depth::Sample),
            [],
            "record 1 is not in the sample"
        );
        let problems = verify(&mixed, Depth::AllRows);
        assert_eq!(
            problems[0].detail, "1 of 3004 tokens that were looked for are missing",
            "{problems:?}"
        );
    }
}
