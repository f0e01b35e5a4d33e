//! The `stats` pipe.

use std::fmt::{Display, Formatter, Result};

use super::{Separated, Text, Texts};
use crate::ast::{Bucket, BucketSize, ByField, FieldPattern, Stats, StatsEntry, StatsFunction};

impl Display for Stats {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("stats ")?;
        if !self.by.is_empty() {
            write!(formatter, "by ({}) ", Separated(&self.by))?;
        }
        write!(formatter, "{}", Separated(&self.functions))
    }
}

impl Display for ByField {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", Text(&self.field))?;
        match &self.bucket {
            Some(bucket) => write!(formatter, ":{bucket}"),
            None => Ok(()),
        }
    }
}

impl Display for Bucket {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", self.size)?;
        match &self.offset {
            Some(offset) => write!(formatter, " offset {offset}"),
            None => Ok(()),
        }
    }
}

impl Display for BucketSize {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Step(step) => write!(formatter, "{step}"),
            Self::Month => formatter.write_str("month"),
            Self::Year => formatter.write_str("year"),
            Self::Ipv4Mask(bits) => write!(formatter, "/{bits}"),
        }
    }
}

impl Display for StatsEntry {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", self.function)?;
        if let Some(condition) = &self.condition {
            write!(formatter, " if ({condition})")?;
        }
        write!(formatter, " as {}", Text(&self.result_field))
    }
}

impl Display for StatsFunction {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}(", self.name())?;
        let limit = match self {
            Self::Avg(fields)
            | Self::Count(fields)
            | Self::CountEmpty(fields)
            | Self::Max(fields)
            | Self::Median(fields)
            | Self::Min(fields)
            | Self::RateSum(fields)
            | Self::RowAny(fields)
            | Self::Sum(fields)
            | Self::SumLen(fields) => {
                write!(formatter, "{}", Separated(fields))?;
                &None
            }
            Self::CountUniq { fields, limit } | Self::CountUniqHash { fields, limit } => {
                write!(formatter, "{}", Texts(fields))?;
                limit
            }
            Self::JsonValues { fields, limit }
            | Self::UniqValues { fields, limit }
            | Self::Values { fields, limit } => {
                write!(formatter, "{}", Separated(fields))?;
                limit
            }
            Self::Histogram(field) => {
                write!(formatter, "{}", Text(field))?;
                &None
            }
            Self::Quantile { phi, fields } => {
                write!(formatter, "{phi}{}", After(fields))?;
                &None
            }
            Self::RowMax { by, fields } | Self::RowMin { by, fields } => {
                write!(formatter, "{}{}", Text(by), After(fields))?;
                &None
            }
            Self::Rate => &None,
        };
        formatter.write_str(")")?;
        match limit {
            Some(limit) => write!(formatter, " limit {limit}"),
            None => Ok(()),
        }
    }
}

/// `, a, b` after another argument; nothing for `*`.
struct After<'a>(&'a [FieldPattern]);

impl Display for After<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            [only] if only.is_all() => Ok(()),
            fields => write!(formatter, ", {}", Separated(fields)),
        }
    }
}
