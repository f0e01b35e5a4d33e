//! The key-value metadata that makes a Parquet file a segment.

use bytes::Bytes;
use logmill_schema::ColumnType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{FileMetaData, KeyValue};
use serde::{Deserialize, Serialize};

use crate::embedded::BlockLocation;
use crate::index::IndexLocation;
use crate::newest::NewestLocation;
use crate::read::guarded;
use crate::{Error, Result};

const FORMAT_VERSION_KEY: &str = "logmill.format_version";
const MIN_TIMESTAMP_KEY: &str = "logmill.min_timestamp_ns";
const MAX_TIMESTAMP_KEY: &str = "logmill.max_timestamp_ns";
const COLUMNS_KEY: &str = "logmill.columns";
const TOKEN_INDEX_KEY: &str = "logmill.token_index";
const ROLLUP_KEY: &str = "logmill.rollup";
const NEWEST_KEY: &str = "logmill.newest";
const VALUES_KEY: &str = "logmill.values";

/// What a segment says of itself in its Parquet footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMetadata {
    /// Version of the format.
    pub format_version: u32,
    /// Number of records.
    pub rows: u64,
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Columns and their types, in the file's order.
    pub columns: Vec<(String, ColumnType)>,
    /// Where the token index is; format 1 has none.
    pub token_index: Option<IndexLocation>,
    /// Where the rollup is; format 1 has none.
    pub rollup: Option<BlockLocation>,
    /// Where the newest records stand together; short and old segments have no such place.
    pub newest: Option<NewestLocation>,
    /// Where the values of columns are counted; short and old segments do not say.
    pub values: Option<BlockLocation>,
}

/// A column, as the metadata's JSON has it.
#[derive(Serialize, Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    column_type: ColumnType,
}

impl SegmentMetadata {
    /// Reads the metadata of a whole segment's bytes.
    pub fn read(bytes: &Bytes) -> Result<Self> {
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(bytes.clone()))?;
        let builder = builder.map_err(|source| Error::Parquet {
            operation: "reading the footer",
            source,
        })?;
        Self::of(builder.metadata().file_metadata())
    }

    /// The metadata in a Parquet footer.
    pub fn of(footer: &FileMetaData) -> Result<Self> {
        let value = |key: &str| {
            let found = footer
                .key_value_metadata()
                .into_iter()
                .flatten()
                .find(|kv| kv.key == key);
            found
                .and_then(|kv| kv.value.as_deref())
                .ok_or_else(|| Error::NotASegment(format!("the footer has no {key}")))
        };
        let not_a_number = |key: &str| Error::NotASegment(format!("{key} is not a number"));
        let number = |key: &str| {
            value(key)?
                .parse::<i64>()
                .map_err(|_not_i64| not_a_number(key))
        };
        let version = value(FORMAT_VERSION_KEY)?
            .parse()
            .map_err(|_not_u32| not_a_number(FORMAT_VERSION_KEY))?;
        if version > crate::FORMAT_VERSION {
            return Err(Error::TooNew {
                found: version,
                known: crate::FORMAT_VERSION,
            });
        }
        let columns: Vec<Column> = serde_json::from_str(value(COLUMNS_KEY)?)
            .map_err(|error| Error::NotASegment(format!("{COLUMNS_KEY}: {error}")))?;
        Ok(Self {
            format_version: version,
            rows: u64::try_from(footer.num_rows())
                .map_err(|_negative| Error::NotASegment("a negative number of rows".to_owned()))?,
            min_timestamp_ns: number(MIN_TIMESTAMP_KEY)?,
            max_timestamp_ns: number(MAX_TIMESTAMP_KEY)?,
            columns: columns
                .into_iter()
                .map(|column| (column.name, column.column_type))
                .collect(),
            token_index: location(footer, TOKEN_INDEX_KEY)?,
            rollup: location(footer, ROLLUP_KEY)?,
            newest: location(footer, NEWEST_KEY)?,
            values: location(footer, VALUES_KEY)?,
        })
    }

    /// Where the blocks are that it names beside the token index.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockLocation> {
        let newest = self.newest.iter().map(|newest| &newest.block);
        self.rollup.iter().chain(newest).chain(&self.values)
    }

    /// The metadata as the footer has it.
    pub(crate) fn to_key_values(&self) -> Vec<KeyValue> {
        let columns: Vec<Column> = self
            .columns
            .iter()
            .map(|(name, column_type)| Column {
                name: name.clone(),
                column_type: *column_type,
            })
            .collect();
        let columns = serde_json::to_string(&columns).expect("names and types are JSON");
        let index = place(TOKEN_INDEX_KEY, self.token_index.as_ref());
        let rollup = place(ROLLUP_KEY, self.rollup.as_ref());
        let newest = place(NEWEST_KEY, self.newest.as_ref());
        let values = place(VALUES_KEY, self.values.as_ref());
        let always = [
            KeyValue::new(
                FORMAT_VERSION_KEY.to_owned(),
                self.format_version.to_string(),
            ),
            KeyValue::new(
                MIN_TIMESTAMP_KEY.to_owned(),
                self.min_timestamp_ns.to_string(),
            ),
            KeyValue::new(
                MAX_TIMESTAMP_KEY.to_owned(),
                self.max_timestamp_ns.to_string(),
            ),
            KeyValue::new(COLUMNS_KEY.to_owned(), columns),
        ];
        let blocks = [index, rollup, newest, values].into_iter().flatten();
        always.into_iter().chain(blocks).collect()
    }
}

/// The place of an embedded block as the footer names it.
fn place(key: &str, location: Option<&impl Serialize>) -> Option<KeyValue> {
    let text = serde_json::to_string(location?).expect("numbers are JSON");
    Some(KeyValue::new(key.to_owned(), text))
}

/// The place of an embedded block, if the footer names it.
fn location<T: for<'de> Deserialize<'de>>(footer: &FileMetaData, key: &str) -> Result<Option<T>> {
    let found = footer
        .key_value_metadata()
        .into_iter()
        .flatten()
        .find(|kv| kv.key == key)
        .and_then(|kv| kv.value.as_deref());
    found
        .map(|text| {
            serde_json::from_str(text)
                .map_err(|error| Error::NotASegment(format!("{key}: {error}")))
        })
        .transpose()
}
