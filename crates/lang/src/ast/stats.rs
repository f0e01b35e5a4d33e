//! The `stats` pipe.

use super::{FieldPattern, Filter, Number};

/// `stats by (…) …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// What groups the records; empty for one group of all.
    pub by: Vec<ByField>,
    /// What is computed of every group; at least one, no two with the same `result_field`.
    pub functions: Vec<StatsEntry>,
}

/// A field that groups records.
#[derive(Clone, Debug, PartialEq)]
pub struct ByField {
    /// Its name.
    pub field: String,
    /// Whether it is the value itself that groups, or the bucket it falls in.
    pub bucket: Option<Bucket>,
}

/// `:1h offset 30m` after the name of a field that groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// How wide a bucket is.
    pub size: BucketSize,
    /// By how much buckets are moved (a number in the sense of [`Number`]; times in nanoseconds).
    pub offset: Option<Number>,
}

/// How wide a bucket is.
#[derive(Clone, Debug, PartialEq)]
pub enum BucketSize {
    /// A number, a size in bytes, a duration in nanoseconds, or one of `nanosecond`, `microsecond`, `millisecond`,
    /// `second`, `minute`, `hour`, `day`, `week`. Greater than 0 and finite.
    Step(Number),
    /// `month`: of the calendar.
    Month,
    /// `year`: of the calendar.
    Year,
    /// `/24`: IPv4 addresses by so many of their first bits, `0..=32`.
    Ipv4Mask(u8),
}

/// `count() if (…) as result_field`.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsEntry {
    /// What is computed.
    pub function: StatsFunction,
    /// Of which records of the group.
    pub condition: Option<Filter>,
    /// Where it goes; the printed function (and condition) where no name was written.
    pub result_field: String,
}

/// A function over the records of a group. Where patterns of fields are taken, none written means all (`*`).
#[derive(Clone, Debug, PartialEq)]
pub enum StatsFunction {
    /// Average of the numbers in the fields.
    Avg(Vec<FieldPattern>),
    /// How many records have a value in one of the fields; with `*`, how many records.
    Count(Vec<FieldPattern>),
    /// How many records have no value in any of the fields.
    CountEmpty(Vec<FieldPattern>),
    /// How many different combinations of values the fields have; records in which all are empty do not count.
    CountUniq {
        /// At least one.
        fields: Vec<String>,
        /// Count no further than this.
        limit: Option<u64>,
    },
    /// As `CountUniq`, told apart by hashes.
    CountUniqHash {
        /// At least one.
        fields: Vec<String>,
        /// Count no further than this.
        limit: Option<u64>,
    },
    /// How many numbers of the field fall in each bucket, as VictoriaMetrics' histogram.
    Histogram(String),
    /// The records as a JSON array.
    JsonValues {
        /// Which fields of them.
        fields: Vec<FieldPattern>,
        /// How many at most.
        limit: Option<u64>,
    },
    /// Greatest value.
    Max(Vec<FieldPattern>),
    /// Middle value.
    Median(Vec<FieldPattern>),
    /// Least value.
    Min(Vec<FieldPattern>),
    /// A percentile.
    Quantile {
        /// Which, `0..=1`.
        phi: Number,
        /// Of what.
        fields: Vec<FieldPattern>,
    },
    /// Records per second of the range of time that is asked.
    Rate,
    /// Sum per second of the range of time that is asked.
    RateSum(Vec<FieldPattern>),
    /// Some record, as a JSON object of these fields.
    RowAny(Vec<FieldPattern>),
    /// The record with the greatest value of `by`, as a JSON object of `fields`.
    RowMax {
        /// What is compared.
        by: String,
        /// What is told.
        fields: Vec<FieldPattern>,
    },
    /// The record with the least value of `by`, as a JSON object of `fields`.
    RowMin {
        /// What is compared.
        by: String,
        /// What is told.
        fields: Vec<FieldPattern>,
    },
    /// Sum of the numbers.
    Sum(Vec<FieldPattern>),
    /// Sum of the lengths in bytes.
    SumLen(Vec<FieldPattern>),
    /// The different values that are not empty, sorted, as a JSON array.
    UniqValues {
        /// Of which fields.
        fields: Vec<FieldPattern>,
        /// How many at most.
        limit: Option<u64>,
    },
    /// All values, as a JSON array.
    Values {
        /// Of which fields.
        fields: Vec<FieldPattern>,
        /// How many at most.
        limit: Option<u64>,
    },
}

impl StatsFunction {
    /// The names of all of them.
    pub const NAMES: [&'static str; 20] = [
        "avg",
        "count",
        "count_empty",
        "count_uniq",
        "count_uniq_hash",
        "histogram",
        "json_values",
        "max",
        "median",
        "min",
        "quantile",
        "rate",
        "rate_sum",
        "row_any",
        "row_max",
        "row_min",
        "sum",
        "sum_len",
        "uniq_values",
        "values",
    ];

    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Avg(_) => "avg",
            Self::Count(_) => "count",
            Self::CountEmpty(_) => "count_empty",
            Self::CountUniq { .. } => "count_uniq",
            Self::CountUniqHash { .. } => "count_uniq_hash",
            Self::Histogram(_) => "histogram",
            Self::JsonValues { .. } => "json_values",
            Self::Max(_) => "max",
            Self::Median(_) => "median",
            Self::Min(_) => "min",
            Self::Quantile { .. } => "quantile",
            Self::Rate => "rate",
            Self::RateSum(_) => "rate_sum",
            Self::RowAny(_) => "row_any",
            Self::RowMax { .. } => "row_max",
            Self::RowMin { .. } => "row_min",
            Self::Sum(_) => "sum",
            Self::SumLen(_) => "sum_len",
            Self::UniqValues { .. } => "uniq_values",
            Self::Values { .. } => "values",
        }
    }
}
