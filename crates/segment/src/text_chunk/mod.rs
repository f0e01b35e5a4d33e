//! Text columns to column chunks, straight from where the rows are: texts are copied once, into the page; a
//! dictionary's values are looked at once, and not once for each row.
//!
//! Most of a segment is text, and the general writer of the Parquet library copies it twice and compares every value
//! for statistics. Everything but text goes through that writer.

pub(crate) mod packing;
mod pages;

use std::cell::Cell;
use std::io::Write;

use logmill_model::field;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::gather::{Column, Dictionary, Texts};
use crate::index::{ColumnSeed, IndexBuilder, Tokeniser};
use crate::values::ColumnValues;
use crate::{Error, GRANULE_ROWS, Position, Result, encoding};
use pages::{ChunkBytes, DataPage, PageCompressor, Pages};

/// Key of a row without a value.
const NONE: u32 = u32::MAX;

/// Bytes of a dictionary at most: reading one row of its column reads all of it.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Longest text that statistics say.
const STATISTICS_BYTES: usize = 64;

/// Bytes of a page's lengths at most. They stand before the texts, whose place must be known first.
const LENGTHS_BYTES_MAX: usize = 32 + GRANULE_ROWS * 5;

/// Buffers that are longer than this are given back.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Columns whose values hardly repeat. A dictionary of them is as long as the column, and reading one row of it would
/// read the whole dictionary.
const WITHOUT_DICTIONARY: [&str; 3] = [field::MESSAGE, field::TRACE_ID, field::SPAN_ID];

/// Where tokens go.
pub(crate) struct Tokens<'a> {
    pub(crate) index: &'a mut IndexBuilder,
    pub(crate) tokeniser: &'a mut Tokeniser,
    /// Of the column.
    pub(crate) seed: ColumnSeed,
    /// The number of the row group's first granule.
    pub(crate) first_granule: u32,
}

thread_local! {
    /// The writer of the thread's last segment, for the next one: fresh memory is slow.
    static KEPT: Cell<Option<TextWriter>> = const { Cell::new(None) };
}

/// Writes text columns; keeps its buffers from one to the next.
pub(crate) struct TextWriter {
    zstd_level: i32,
    compressor: PageCompressor,
    chunk: Vec<u8>,
    /// A page's values before compression.
    values: Vec<u8>,
    lengths: Vec<u8>,
    levels: Vec<u8>,
    /// Lengths or keys of a page's values.
    numbers: Vec<u32>,
    valid: Vec<u32>,
    /// Key of every row.
    keys: Vec<u32>,
}

/// A text column's values, each row's by its place.
#[derive(Clone, Copy)]
pub(crate) enum TextColumn<'a> {
    Texts(&'a Texts),
    Dictionary(&'a Dictionary),
}

impl<'a> TextColumn<'a> {
    /// The column, if it is text.
    pub(crate) fn of(column: &'a Column) -> Option<Self> {
        match column {
            Column::Texts(texts) => Some(Self::Texts(texts)),
            Column::Dictionary(dictionary) => Some(Self::Dictionary(dictionary)),
            Column::Plain(_) => None,
        }
    }

    /// A row's text.
    #[inline]
    pub(crate) fn get(self, at: &Position) -> Option<&'a str> {
        match self {
            Self::Texts(texts) => texts.get(at),
            Self::Dictionary(dictionary) => {
                let key = dictionary.key(at)?;
                dictionary.values().get(key as usize).map(String::as_str)
            }
        }
    }
}

impl TextWriter {
    /// The thread's kept writer, or a new one.
    pub(crate) fn of_thread(zstd_level: i32) -> Result<Self> {
        match KEPT.take() {
            Some(kept) if kept.zstd_level == zstd_level => Ok(kept),
            _ => Self::new(zstd_level),
        }
    }

    /// Keeps the writer for the thread's next segment.
    pub(crate) fn keep(self) {
        if self.chunk.capacity() <= KEPT_BYTES_MAX && self.values.capacity() <= KEPT_BYTES_MAX {
            KEPT.set(Some(self));
        }
    }

    fn new(zstd_level: i32) -> Result<Self> {
        let compressor = PageCompressor::new(zstd_level).map_err(|source| Error::Parquet {
            operation: "choosing a level of zstd",
            source,
        })?;
        Ok(Self {
            zstd_level,
            compressor,
            chunk: Vec::new(),
            values: Vec::new(),
            lengths: Vec::new(),
            levels: Vec::new(),
            numbers: Vec::new(),
            valid: Vec::new(),
            keys: Vec::new(),
        })
    }

    /// Appends a column's chunk to a row group, and its tokens to the index; answers its values.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        column: TextColumn<'_>,
        rows: &[Position],
        name: &str,
        described: ColumnDescPtr,
        tokens: Tokens<'_>,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<ColumnValues> {
        let encoding = |source| Error::Parquet {
            operation: "encoding a text column",
            source,
        };
        let values = match column {
            TextColumn::Dictionary(dictionary) => Some(self.keys_of(dictionary, rows)),
            TextColumn::Texts(texts) if !WITHOUT_DICTIONARY.contains(&name) => {
                self.intern(texts, rows)
            }
            TextColumn::Texts(_) => None,
        };
        let counted = match &values {
            Some(values) => ColumnValues::of_keys(values, &self.keys),
            None => ColumnValues::of_texts(rows.iter().filter_map(|at| column.get(at))),
        };
        let close = match values.filter(|values| pays(values, rows.len())) {
            Some(values) => self.write_with_dictionary(&values, described, tokens),
            None => self.write_plain(column, rows, described, tokens),
        };
        let close = close.map_err(encoding)?;
        row_group
            .append_column(&ChunkBytes(&self.chunk), close)
            .map_err(encoding)?;
        Ok(counted)
    }

    /// Fills `keys`; the values that rows have, in ascending order.
    fn keys_of<'a>(&mut self, dictionary: &'a Dictionary, rows: &[Position]) -> Vec<&'a str> {
        self.keys.clear();
        let key = |at: &Position| dictionary.key(at).unwrap_or(NONE);
        self.keys.extend(rows.iter().map(key));
        let mut places = vec![NONE; dictionary.values().len()];
        for key in &self.keys {
            if let Some(place) = places.get_mut(*key as usize) {
                *place = 0;
            }
        }
        let mut used = Vec::new();
        for (place, value) in places.iter_mut().zip(dictionary.values()) {
            if *place == 0 {
                *place = used.len() as u32;
                used.push(value.as_str());
            }
        }
        self.renumber(&places);
        used
    }

    fn renumber(&mut self, places: &[u32]) {
        for key in &mut self.keys {
            *key = places.get(*key as usize).copied().unwrap_or(NONE);
        }
    }

    /// Fills `keys`; the values in ascending order. `None` when there are too many.
    fn intern<'a>(&mut self, texts: &'a Texts, rows: &[Position]) -> Option<Vec<&'a str>> {
        if !values_repeat(texts, rows) {
            return None;
        }
        let mut numbers: FxHashMap<&str, u32> = FxHashMap::default();
        let mut last = ("", NONE);
        let mut bytes = 0;
        self.keys.clear();
        for rows in rows.chunks(FETCHED_ROWS) {
            fetch(rows, |at| texts.get(at));
            for at in rows {
                let Some(text) = texts.get(at) else {
                    self.keys.push(NONE);
                    continue;
                };
                if last.1 == NONE || text != last.0 {
                    let next = numbers.len() as u32;
                    let key = *numbers.entry(text).or_insert_with(|| {
                        bytes += text.len() + size_of::<u32>();
                        next
                    });
                    last = (text, key);
                }
                self.keys.push(last.1);
            }
            if bytes > DICTIONARY_BYTES_MAX {
                return None;
            }
        }
        let mut values: Vec<(&str, u32)> = numbers.into_iter().collect();
        values.sort_unstable();
        let mut places = vec![NONE; values.len()];
        for (place, (_, key)) in values.iter().enumerate() {
            places[*key as usize] = place as u32;
        }
        self.renumber(&places);
        Some(values.into_iter().map(|(value, _)| value).collect())
    }

    /// Values in a dictionary, `keys` in the pages.
    fn write_with_dictionary(
        &mut self,
        values: &[&str],
        described: ColumnDescPtr,
        tokens: Tokens<'_>,
    ) -> Result<ColumnCloseResult, ParquetError> {
        let mut pages = Pages::new(&mut self.chunk, &mut self.compressor);
        self.values.clear();
        for value in values {
            self.values
                .extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.values.extend_from_slice(value.as_bytes());
        }
        if !values.is_empty() {
            pages.dictionary(&self.values, values.len())?;
        }
        // Each value's tokens, and the granule that had it last.
        let mut hashes = Vec::new();
        let mut ends = Vec::with_capacity(values.len());
        for value in values {
            tokens
                .tokeniser
                .hashes(value, tokens.seed, |hash| hashes.push(hash));
            ends.push(hashes.len());
        }
        let mut seen = vec![NONE; values.len()];
        let width = u32::BITS - (values.len().saturating_sub(1) as u32).leading_zeros();
        let mut all_nulls = 0;
        for (granule, keys) in (tokens.first_granule..).zip(self.keys.chunks(GRANULE_ROWS)) {
            self.numbers.clear();
            self.valid.clear();
            tokens.index.begin();
            let mut text_bytes = 0;
            for key in keys {
                self.valid.push(u32::from(*key != NONE));
                let Some(value) = values.get(*key as usize) else {
                    continue;
                };
                self.numbers.push(*key);
                text_bytes += value.len();
                let at = *key as usize;
                if seen[at] != granule {
                    seen[at] = granule;
                    let start = if at == 0 { 0 } else { ends[at - 1] };
                    for hash in &hashes[start..ends[at]] {
                        tokens.index.add(*hash, granule);
                    }
                }
            }
            self.levels.clear();
            packing::hybrid(&self.valid, 1, &mut self.levels);
            self.values.clear();
            self.values.push(width as u8);
            packing::hybrid(&self.numbers, width, &mut self.values);
            let nulls = keys.len() - self.numbers.len();
            all_nulls += nulls;
            pages.data(&DataPage {
                rows: keys.len(),
                nulls,
                levels: &self.levels,
                values: &self.values,
                encoding: Encoding::RLE_DICTIONARY,
                text_bytes,
            })?;
        }
        let bound = |value: Option<&&str>| {
            let short = value.filter(|value| value.len() <= STATISTICS_BYTES)?;
            Some(ByteArray::from(short.as_bytes().to_vec()))
        };
        let statistics = statistics(bound(values.first()), bound(values.last()), all_nulls);
        pages.close(described, statistics)
    }

    /// All lengths of a page, then all its bytes: what is left to compress is text alone.
    fn write_plain(
        &mut self,
        column: TextColumn<'_>,
        rows: &[Position],
        described: ColumnDescPtr,
        tokens: Tokens<'_>,
    ) -> Result<ColumnCloseResult, ParquetError> {
        let mut pages = Pages::new(&mut self.chunk, &mut self.compressor);
        let mut all_nulls = 0;
        for (granule, rows) in (tokens.first_granule..).zip(rows.chunks(GRANULE_ROWS)) {
            self.values.clear();
            self.values.resize(LENGTHS_BYTES_MAX, 0);
            self.numbers.clear();
            self.valid.clear();
            tokens.index.begin();
            for rows in rows.chunks(FETCHED_ROWS) {
                fetch(rows, |at| column.get(at));
                for at in rows {
                    let text = column.get(at);
                    self.valid.push(u32::from(text.is_some()));
                    if let Some(text) = text {
                        self.numbers.push(text.len() as u32);
                        self.values.extend_from_slice(text.as_bytes());
                        tokens.tokeniser.hashes(text, tokens.seed, |hash| {
                            tokens.index.add(hash, granule);
                        });
                    }
                }
            }
            self.levels.clear();
            packing::hybrid(&self.valid, 1, &mut self.levels);
            self.lengths.clear();
            packing::deltas(&self.numbers, &mut self.lengths);
            let start = LENGTHS_BYTES_MAX - self.lengths.len();
            self.values[start..LENGTHS_BYTES_MAX].copy_from_slice(&self.lengths);
            let nulls = rows.len() - self.numbers.len();
            all_nulls += nulls;
            pages.data(&DataPage {
                rows: rows.len(),
                nulls,
                levels: &self.levels,
                values: &self.values[start..],
                encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
                text_bytes: self.values.len() - LENGTHS_BYTES_MAX,
            })?;
        }
        pages.close(described, statistics(None, None, all_nulls))
    }
}

/// Rows whose texts are brought into the processor's cache together.
const FETCHED_ROWS: usize = 32;

/// Touches texts, which lie scattered in memory, so that the processor waits for all of them at once and not for one after
/// the other.
#[inline]
fn fetch<'a>(rows: &[Position], text: impl Fn(&Position) -> Option<&'a str>) {
    let mut touched = 0;
    for text in rows.iter().filter_map(text) {
        if let [first, .., last] = text.as_bytes() {
            touched ^= first ^ last;
        }
    }
    std::hint::black_box(touched);
}

fn statistics(least: Option<ByteArray>, greatest: Option<ByteArray>, nulls: usize) -> Statistics {
    let (least, greatest) = least.zip(greatest).unzip();
    Statistics::ByteArray(ValueStatistics::new(
        least,
        greatest,
        None,
        Some(nulls as u64),
        false,
    ))
}

/// Whether a dictionary of these values is short enough, and shorter than the column.
fn pays(values: &[&str], rows: usize) -> bool {
    let bytes: usize = values
        .iter()
        .map(|value| value.len() + size_of::<u32>())
        .sum();
    bytes <= DICTIONARY_BYTES_MAX && values.len() * 2 <= rows.max(2)
}

/// Whether the values of a sample repeat.
fn values_repeat(texts: &Texts, rows: &[Position]) -> bool {
    let mut there = 0_usize;
    let mut distinct: FxHashSet<&str> = FxHashSet::default();
    for text in encoding::sample(rows).filter_map(|at| texts.get(at)) {
        there += 1;
        distinct.insert(text);
    }
    encoding::repeat(distinct.len(), there)
}
