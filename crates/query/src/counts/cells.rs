//! A segment's rollup as batches: what is counted, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::{Int64Builder, StringViewBuilder, TimestampNanosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Result;
use logmill_model::field;
use logmill_segment::Rollup;

use super::rule::Grain;

/// The number of records that a row stands for.
pub(super) const COUNT: &str = "__count";

/// One minute and one hour, in nanoseconds.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;
pub(super) const HOUR_NS: i64 = 60 * MINUTE_NS;

/// `timestamp` (the cell's first instant), `level`, `service`, and how many records.
pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new(field::TIMESTAMP, time, false),
            Field::new(field::LEVEL, DataType::Utf8View, true),
            Field::new(field::SERVICE, DataType::Utf8View, true),
            Field::new(COUNT, DataType::Int64, false),
        ]))
    });
    SCHEMA.clone()
}

/// The cells of one segment.
#[derive(Debug)]
pub(crate) struct Cells {
    /// By minute, level and service, in the order of time.
    pub(super) minutes: RecordBatch,
    /// The same by longer times: fewer rows for those who need no more.
    fives: RecordBatch,
    hours: RecordBatch,
    /// Whether services are told apart.
    pub(super) by_service: bool,
}

impl Cells {
    pub(crate) fn of(rollup: &Rollup) -> Result<Self> {
        Ok(Self {
            minutes: counted(rollup, Grain::Minute)?,
            fives: counted(rollup, Grain::FiveMinutes)?,
            hours: counted(rollup, Grain::Hour)?,
            by_service: rollup.by_service(),
        })
    }
}

/// The counts of a rollup by a length of time.
pub(super) fn counted(rollup: &Rollup, grain: Grain) -> Result<RecordBatch> {
    let mut cells = BTreeMap::new();
    for (cell, count) in rollup.cells() {
        let start_ns = cell.minute.saturating_mul(MINUTE_NS);
        let start_ns = start_ns.div_euclid(grain.ns()).saturating_mul(grain.ns());
        let key = (start_ns, (cell.level, cell.service));
        *cells.entry(key).or_insert(0) += count;
    }
    batch(&cells)
}

impl Cells {
    /// The cells of a length.
    pub(super) const fn of_grain(&self, grain: Grain) -> &RecordBatch {
        match grain {
            Grain::Minute => &self.minutes,
            Grain::FiveMinutes => &self.fives,
            Grain::Hour => &self.hours,
        }
    }
}

/// Start of a cell, and its level and service.
type Key = (i64, (Option<String>, Option<String>));

fn batch(cells: &BTreeMap<Key, u64>) -> Result<RecordBatch> {
    let mut times = TimestampNanosecondBuilder::with_capacity(cells.len());
    let mut levels = StringViewBuilder::with_capacity(cells.len()).with_deduplicate_strings();
    let mut services = StringViewBuilder::with_capacity(cells.len()).with_deduplicate_strings();
    let mut counts = Int64Builder::with_capacity(cells.len());
    for ((start_ns, (level, service)), count) in cells {
        times.append_value(*start_ns);
        levels.append_option(level.as_deref());
        services.append_option(service.as_deref());
        counts.append_value(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.finish().with_timezone("UTC")),
        Arc::new(levels.finish()),
        Arc::new(services.finish()),
        Arc::new(counts.finish()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
