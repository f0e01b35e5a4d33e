//! Columns of row groups, page by page: for queries, which read few pages, often, and of what repeats only the places in
//! the dictionary. Reads what this crate writes; checks and merges read with the Parquet library.

mod header;
mod page;
mod unpack;

use std::ops::Range;

use arrow_array::{Array, ArrayRef};
use arrow_schema::TimeUnit;
use logmill_model::field;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};

pub use page::Page;
use page::{Fault, Values};

use crate::{Error, GRANULE_ROWS, Result, SegmentFile};

/// A column of a row group. Its pages are granules: page 0 is the row group's first.
#[derive(Clone, Copy, Debug)]
pub struct ColumnChunk<'a> {
    chunk: &'a ColumnChunkMetaData,
    index: Option<&'a ColumnIndexMetaData>,
    offsets: &'a OffsetIndexMetaData,
    values: Values,
    /// Of the row group.
    rows: usize,
}

impl SegmentFile {
    /// A column of a row group; none when no record of the segment has it.
    pub fn column(&self, row_group: usize, name: &str) -> Result<Option<ColumnChunk<'_>>> {
        let place = self.column_place(name);
        place.map(|at| self.column_at(row_group, at)).transpose()
    }

    /// The place of a column in every row group; none when no record of the segment has it.
    pub fn column_place(&self, name: &str) -> Option<usize> {
        let columns = self.parquet().file_metadata().schema_descr().columns();
        columns
            .iter()
            .position(|column| column.path().parts() == [name])
    }

    /// The column at a place of a row group.
    pub fn column_at(&self, row_group: usize, at: usize) -> Result<ColumnChunk<'_>> {
        let parquet: &ParquetMetaData = self.parquet();
        let chunks = parquet.row_group(row_group).columns();
        let name = chunks
            .get(at)
            .and_then(|chunk| chunk.column_path().parts().first());
        let name = name.map_or("", String::as_str);
        let offsets = parquet
            .offset_index()
            .and_then(|index| index.get(row_group)?.get(at));
        let (Some(chunk), Some(offsets)) = (chunks.get(at), offsets) else {
            return Err(fault(name, "where its pages are is not known"));
        };
        if !matches!(chunk.compression(), Compression::ZSTD(_)) {
            return Err(fault(name, "its pages are not compressed by zstd"));
        }
        let values = match chunk.column_type() {
            Type::BYTE_ARRAY => Values::Text,
            Type::INT64 if name == field::TIMESTAMP => match self.time_unit() {
                TimeUnit::Microsecond => Values::Time(1_000),
                _ => Values::Time(1),
            },
            Type::INT64 => Values::Integer,
            Type::DOUBLE => Values::Float,
            Type::BOOLEAN => Values::Boolean,
            other => return Err(fault(name, &format!("its values are of type {other}"))),
        };
        Ok(ColumnChunk {
            chunk,
            index: parquet
                .column_index()
                .and_then(|index| index.get(row_group)?.get(at)),
            offsets,
            values,
            rows: self.rows(row_group),
        })
    }
}

fn fault(column: &str, what: &str) -> Error {
    Error::NotASegment(format!("column {column}: {what}"))
}

impl ColumnChunk<'_> {
    /// Where the dictionary is in the file, if there is one.
    pub fn dictionary_range(&self) -> Option<Range<u64>> {
        self.chunk.dictionary_page_offset()?;
        let (start, _) = self.chunk.byte_range();
        let end = self.offsets.page_locations().first()?.offset;
        Some(start..u64::try_from(end).ok()?)
    }

    /// Where a page is in the file.
    pub fn page_range(&self, page: usize) -> Result<Range<u64>> {
        let place = self.place(page).and_then(|place| {
            let start = u64::try_from(place.offset).ok()?;
            let length = u64::try_from(place.compressed_page_size).ok()?;
            Some(start..start.checked_add(length)?)
        });
        place.ok_or_else(|| self.fault(Some(page), "it does not begin with a granule".to_owned()))
    }

    fn place(&self, page: usize) -> Option<&PageLocation> {
        let place = self.offsets.page_locations().get(page)?;
        let first_row = usize::try_from(place.first_row_index).ok()?;
        (first_row == page.checked_mul(GRANULE_ROWS)?).then_some(place)
    }

    /// Rows of a page.
    fn rows(&self, page: usize) -> usize {
        let before = page.saturating_mul(GRANULE_ROWS);
        GRANULE_ROWS.min(self.rows.saturating_sub(before))
    }

    /// Whether a page is known to have no value.
    pub fn is_null(&self, page: usize) -> bool {
        let statistics = self.chunk.statistics();
        let nulls = statistics.and_then(|statistics| statistics.null_count_opt());
        if nulls == Some(self.rows as u64) {
            return true;
        }
        if self.place(page).is_none() {
            return false;
        }
        let index = self.index;
        if let Some(index) = index.filter(|index| !matches!(index, ColumnIndexMetaData::NONE)) {
            return index.is_null_page(page);
        }
        // Text has no statistics of pages, but their length; empty texts have none either.
        let least = statistics.and_then(|statistics| statistics.min_bytes_opt());
        let bytes = self.offsets.unencoded_byte_array_data_bytes();
        let bytes = bytes.and_then(|bytes| bytes.get(page));
        bytes == Some(&0) && least.is_some_and(|least| !least.is_empty())
    }

    /// The dictionary's values, from its bytes. Texts are views, times nanoseconds.
    pub fn dictionary(&self, bytes: &[u8]) -> Result<ArrayRef> {
        let values = self.values.dictionary(bytes);
        values.map_err(|what| self.fault(None, what))
    }

    /// The values of a page, from its bytes; of types as [`ColumnChunk::dictionary`]'s.
    pub fn page(&self, page: usize, bytes: &[u8]) -> Result<Page> {
        let nullable = self.chunk.column_descr().max_def_level() > 0;
        let values = self.values.page(bytes, self.rows(page), nullable);
        values.map_err(|what| self.fault(Some(page), what))
    }

    /// A page's values, those of keys from the dictionary.
    pub fn array(&self, page: &Page, dictionary: Option<&ArrayRef>) -> Result<ArrayRef> {
        match page {
            Page::Values(values) => Ok(values.clone()),
            Page::Nulls(rows) => Ok(page::no_values(self.values, *rows)),
            Page::Keys(keys) => {
                let length = dictionary.map_or(0, |dictionary| dictionary.len());
                let largest = keys.values().iter().max();
                let fits = largest.is_none_or(|largest| (*largest as usize) < length);
                let Some(dictionary) = dictionary.filter(|_| fits) else {
                    return Err(self.fault(None, format!("it has {length} values, too few")));
                };
                let taken = arrow_select::take::take(dictionary, keys, None);
                taken.map_err(|source| Error::Arrow {
                    operation: "decoding",
                    source,
                })
            }
        }
    }

    fn fault(&self, page: Option<usize>, what: Fault) -> Error {
        let page = match page {
            Some(page) => format!("page {page}"),
            None => "dictionary".to_owned(),
        };
        let name = self.chunk.column_path().string();
        fault(&name, &format!("{page}: {what}"))
    }
}
