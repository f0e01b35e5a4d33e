//! The newest records of a segment, all columns side by side: a log page shows them first, and among the rows, which are
//! ordered by service and message shape, they lie in as many granules as there are services.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use serde::{Deserialize, Serialize};

use crate::embedded::{self, BlockLocation, SEGMENT_ROWS_MIN};
use crate::gather::Columns;
use crate::order::timestamps;
use crate::read::guarded;
use crate::{Error, Position, Result};

/// Records of the block at most.
pub const NEWEST_ROWS: usize = 1_024;

/// Bytes of text of the block at most, before compression.
const TEXT_BYTES: usize = 1 << 20;

/// Where the block is: an entry of the footer's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestLocation {
    /// The block has every record of the segment that is newer than this, and no other.
    pub after_ns: i64,
    /// Where it is in the file.
    #[serde(flatten)]
    pub block: BlockLocation,
}

/// The newest records of a segment: those that are newer than some time.
#[derive(Clone, Debug)]
pub struct Newest {
    rows: RecordBatch,
    after_ns: i64,
}

impl Newest {
    /// Reads what a segment has at this place.
    pub fn read(location: &NewestLocation, bytes: &[u8]) -> Result<Self> {
        let plain = embedded::read(&location.block, bytes).map_err(Error::Newest)?;
        Self::parse(&plain, location.after_ns)
    }

    fn parse(plain: &[u8], after_ns: i64) -> Result<Self> {
        let read = guarded(|| -> Result<Option<RecordBatch>, ArrowError> {
            StreamReader::try_new(plain, None)?.next().transpose()
        })?;
        let rows = read.map_err(|error| Error::Newest(error.to_string()))?;
        let rows = rows.ok_or_else(|| Error::Newest("it is empty".to_owned()))?;
        if timestamps(&rows)?.iter().any(|time| *time <= after_ns) {
            return Err(Error::Newest("a record is too old".to_owned()));
        }
        Ok(Self { rows, after_ns })
    }

    /// The records, newest first: `timestamp` in nanoseconds, all text without dictionaries.
    pub const fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Every record of the segment that is newer than this is there, and no other.
    pub const fn after_ns(&self) -> i64 {
        self.after_ns
    }
}

/// Finds the newest records while a segment is written.
#[derive(Debug)]
pub(crate) struct NewestBuilder {
    newest: Newest,
    /// False once rows were taken over of which the newest are not known.
    known: bool,
}

impl NewestBuilder {
    /// For a segment of these columns.
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        Self {
            newest: Newest {
                rows: RecordBatch::new_empty(plain(schema)),
                after_ns: i64::MIN,
            },
            known: true,
        }
    }

    /// Takes rows in. It is fastest when the newest come last.
    pub(crate) fn add(&mut self, columns: &Columns<'_>, rows: &[Position]) -> Result<()> {
        let rows = rows.iter().rev().map(|at| (columns.time(at), *at));
        let (rows, after_ns) = newest(rows, |at| columns.text_bytes(at), self.newest.after_ns);
        let rows = columns.take(self.newest.rows.schema_ref(), &rows)?;
        self.merge(Some(&Newest { rows, after_ns }))
    }

    /// Takes in the newest of rows that are taken over; they may be unknown.
    pub(crate) fn merge(&mut self, other: Option<&Newest>) -> Result<()> {
        let Some(other) = other else {
            self.known = false;
            return Ok(());
        };
        let both = [self.newest.rows.clone(), other.rows.clone()];
        let both = logmill_schema::concat(&both, self.newest.rows.schema_ref())?;
        let rows = timestamps(&both)?.iter().copied().zip(0..);
        let after_ns = self.newest.after_ns.max(other.after_ns);
        let (rows, after_ns) = newest(rows, |row| text_bytes(&both, *row), after_ns);
        let rows = take_record_batch(&both, &UInt32Array::from(rows)).map_err(gathering)?;
        self.newest = Newest { rows, after_ns };
        Ok(())
    }

    /// Writes the block of a segment of so many rows to `out`, which begins at `offset` of the file.
    pub(crate) fn write(
        &self,
        segment_rows: u64,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<NewestLocation>> {
        let Newest { rows, after_ns } = &self.newest;
        if !self.known || segment_rows < SEGMENT_ROWS_MIN || rows.num_rows() == 0 {
            return Ok(None);
        }
        let mut stream = Vec::new();
        StreamWriter::try_new(&mut stream, rows.schema_ref())
            .and_then(|mut writer| writer.write(rows).and_then(|()| writer.finish()))
            .map_err(gathering)?;
        let block = embedded::write(&stream, offset, out).map_err(Error::Newest)?;
        Ok(Some(NewestLocation {
            after_ns: *after_ns,
            block,
        }))
    }
}

/// A schema with text where it had dictionaries.
pub(crate) fn plain(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, _) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8))
        }
        _ => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn gathering(source: ArrowError) -> Error {
    Error::Arrow {
        operation: "gathering the newest rows",
        source,
    }
}

/// The newest of some rows, newest first, and the time that they are newer than: that of the newest one left out.
fn newest<T: Copy + Ord>(
    rows: impl Iterator<Item = (i64, T)>,
    text_bytes: impl Fn(&T) -> usize,
    mut after_ns: i64,
) -> (Vec<T>, i64) {
    let mut best = BinaryHeap::with_capacity(NEWEST_ROWS + 2);
    for (time, row) in rows {
        if time <= after_ns {
            continue;
        }
        best.push(Reverse((time, row)));
        // One more than fit is known, for its time.
        if best.len() > NEWEST_ROWS + 1
            && let Some(Reverse((oldest, _))) = best.pop()
        {
            after_ns = oldest;
        }
    }
    if best.len() > NEWEST_ROWS
        && let Some(Reverse((oldest, _))) = best.pop()
    {
        after_ns = oldest;
    }
    let mut best = best.into_sorted_vec();
    let mut bytes = 0;
    for Reverse((time, row)) in &best {
        bytes += text_bytes(row);
        if bytes > TEXT_BYTES {
            after_ns = after_ns.max(*time);
            break;
        }
    }
    best.retain(|Reverse((time, _))| *time > after_ns);
    let rows = best.into_iter().map(|Reverse((_, row))| row).collect();
    (rows, after_ns)
}

fn text_bytes(batch: &RecordBatch, row: u32) -> usize {
    let texts = batch.columns().iter();
    let texts = texts.filter_map(|column| column.as_string_opt::<i32>());
    texts.map(|text| text.value(row as usize).len()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_newer_than_the_time_is_there_and_nothing_else(times in prop::collection::vec(0_i64..2_000, 0..3_000), after in -1_i64..100) {
            let (rows, after_ns) = newest(times.iter().copied().zip(0_u32..), |_| 1, after);
            let mut expected: Vec<u32> = (0..).zip(&times).filter(|(_, time)| **time > after_ns).map(|(row, _)| row).collect();
            expected.sort_by_key(|row| Reverse((times[*row as usize], *row)));
            prop_assert_eq!(&rows, &expected);
            prop_assert!(after_ns >= after && rows.len() <= NEWEST_ROWS);
            // It is no fewer than have to be: with those of the next time they would be too many.
            let all = times.iter().filter(|time| **time > after).count();
            let next = times.iter().filter(|time| **time >= after_ns && **time > after).count();
            prop_assert!(rows.len() == all || next > NEWEST_ROWS);
        }
    }

    #[test]
    fn long_texts_are_fewer() {
        let (rows, after_ns) = newest((0_i64..100).zip(0_u32..), |_| TEXT_BYTES / 10, i64::MIN);
        assert_eq!((rows.len(), rows[0], after_ns), (10, 99, 89));
        let (rows, after_ns) = newest((0_i64..100).zip(0_u32..), |_| TEXT_BYTES + 1, i64::MIN);
        assert_eq!((rows.len(), after_ns), (0, 99));
    }

    #[test]
    fn damage_is_an_error() {
        let location = NewestLocation {
            after_ns: 0,
            block: BlockLocation {
                offset: 0,
                bytes: 3,
                checksum: 7,
            },
        };
        let error = Newest::read(&location, b"abc").unwrap_err().to_string();
        assert_eq!(error, "segment: the newest records: the checksum is wrong");
        assert!(Newest::parse(b"abc", 0).is_err());
    }
}
