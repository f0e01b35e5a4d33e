//! What a log page draws: counts over time, the commonest values, fields, a record's neighbours, patterns of messages.
//!
//! Values are texts here, as they are in a record's JSON but for the quotes; `None` is the absence of the field.

use arrow_array::RecordBatch;
use logmill_model::TimeRange;

use crate::{QueryStats, Selection};

/// How counts over time are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Buckets of this length, nanoseconds.
    Every(i64),
    /// Buckets of a round length, at most so many of them.
    AtMost(u64),
}

/// Counts over time.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramQuery {
    /// Of which records.
    pub selection: Selection,
    /// By the values of this field, beside the time.
    pub by: Option<String>,
    /// The buckets.
    pub interval: Interval,
    /// The commonest values have series of their own, at most so many; what is left has one together.
    pub limit: u64,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// Counts over time. Buckets are aligned to the epoch; the first one may begin before the range does.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Length of a bucket, nanoseconds.
    pub interval_ns: i64,
    /// The range that was asked for.
    pub range: TimeRange,
    /// First instants of the buckets, nanoseconds, without gaps.
    pub buckets: Vec<i64>,
    /// The commonest value first. Without a field there is one series.
    pub series: Vec<Series>,
    /// Counts of the values that have no series, a number for each bucket.
    pub other: Option<Vec<u64>>,
    /// Records in all.
    pub total: u64,
    /// For people: an unknown field.
    pub warnings: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// Counts of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The value; `None`: records without the field.
    pub value: Option<String>,
    /// A number for each bucket.
    pub counts: Vec<u64>,
}

/// The commonest values of several fields.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetsQuery {
    /// Of which records.
    pub selection: Selection,
    /// The fields; `None`: those that usually have few values.
    pub fields: Option<Vec<String>>,
    /// Values of a field.
    pub limit: u64,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// The commonest values of several fields.
#[derive(Clone, Debug)]
pub struct Facets {
    /// In the order that was asked for.
    pub facets: Vec<Facet>,
    /// Fields that are not told, and why.
    pub left_out: Vec<LeftOut>,
    /// Records in all.
    pub total: u64,
    /// What it took.
    pub stats: QueryStats,
}

/// The values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The field's name.
    pub field: String,
    /// The commonest first; of equally common ones, the first by the alphabet.
    pub values: Vec<ValueCount>,
    /// Different values.
    pub distinct: u64,
    /// Records that have the field.
    pub records: u64,
}

/// How often a value is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCount {
    /// The value.
    pub value: String,
    /// Records with it.
    pub count: u64,
}

/// A field whose values are not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The field's name.
    pub field: String,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why the values of a field are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOutReason {
    /// No record of the selection has it.
    NoValues,
    /// More different values than [`ViewLimits::facet_max_values`](crate::ViewLimits::facet_max_values).
    TooManyValues,
    /// A value longer than [`ViewLimits::facet_value_max_bytes`](crate::ViewLimits::facet_value_max_bytes).
    ValuesTooLong,
    /// It was not asked for, and more fields were counted than
    /// [`ViewLimits::facet_max_fields`](crate::ViewLimits::facet_max_fields) already.
    NotCounted,
}

/// The fields that records have.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldsQuery {
    /// Of which records.
    pub selection: Selection,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// The fields that records have.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Canonical fields in their order, then attributes by name; only those that a record has.
    pub fields: Vec<FieldCount>,
    /// Records in all.
    pub total: u64,
    /// For people: that there are more fields than are told.
    pub warnings: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCount {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: FieldKind,
    /// Records that have it.
    pub count: u64,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Instants.
    Timestamp,
    /// `true` and `false`.
    Boolean,
    /// 64-bit integers.
    Integer,
    /// 64-bit floats.
    Float,
    /// Text; also where types met.
    Text,
}

impl FieldKind {
    /// Its name, for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Text => "text",
        }
    }
}

/// The values of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldValuesQuery {
    /// Of which records.
    pub selection: Selection,
    /// The field.
    pub field: String,
    /// Only values that begin with this, case and all.
    pub prefix: Option<String>,
    /// Values of the answer.
    pub limit: u64,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// The values of one field.
#[derive(Clone, Debug)]
pub struct FieldValues {
    /// The commonest first; of equally common ones, the first by the alphabet.
    pub values: Vec<ValueCount>,
    /// Whether there are more.
    pub more: bool,
    /// For people: an unknown field.
    pub warnings: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// A record's neighbours in its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextQuery {
    /// Which record: the first one of `timestamp_ns` that matches. `range` bounds the neighbours.
    pub selection: Selection,
    /// The record's time, nanoseconds.
    pub timestamp_ns: i64,
    /// Records before it, at most.
    pub before: u64,
    /// Records after it, at most.
    pub after: u64,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// A record and its neighbours; records of one time stand in the order of their content.
#[derive(Clone, Debug)]
pub struct Context {
    /// The records before it, the oldest first.
    pub before: Vec<RecordBatch>,
    /// The record; `None` when there is no such record.
    pub record: Option<RecordBatch>,
    /// The records after it, the oldest first.
    pub after: Vec<RecordBatch>,
    /// Records that match as well and have the same time.
    pub same: u64,
    /// What it took.
    pub stats: QueryStats,
}

/// The patterns of messages.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternsQuery {
    /// Of which records.
    pub selection: Selection,
    /// Patterns of the answer.
    pub limit: u64,
    /// Messages of each pattern that are shown.
    pub examples: u64,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// The patterns of messages.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// The commonest first.
    pub patterns: Vec<Pattern>,
    /// Records whose pattern is not told.
    pub other: u64,
    /// Records that have a message.
    pub total: u64,
    /// What it took.
    pub stats: QueryStats,
}

/// Messages that differ in numbers, addresses and the like alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The message, with a placeholder for what differs.
    pub pattern: String,
    /// Records.
    pub count: u64,
    /// Time of the oldest and the newest, nanoseconds.
    pub first_ns: i64,
    /// See `first_ns`.
    pub last_ns: i64,
    /// Their levels, the commonest first.
    pub levels: Vec<ValueCount>,
    /// Their services, the commonest first.
    pub services: Vec<ValueCount>,
    /// Some of the messages.
    pub examples: Vec<String>,
}
