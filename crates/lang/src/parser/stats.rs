//! The `stats` pipe.

use super::pipe::all_if_none;
use super::{Parser, Result, VALUE_STOPS};
use crate::ast::{
    Bucket, BucketSize, ByField, FieldPattern, Number, Stats, StatsEntry, StatsFunction,
};
use crate::value;

/// Steps of time that have names, in nanoseconds.
const NAMED_STEPS: [(&str, f64); 8] = [
    ("nanosecond", 1.0),
    ("microsecond", 1e3),
    ("millisecond", 1e6),
    ("second", 1e9),
    ("minute", 60e9),
    ("hour", 3_600e9),
    ("day", 86_400e9),
    ("week", 604_800e9),
];

impl Parser<'_> {
    /// Whether `stats` without its name begins here: `count(…`, `by (…`, `(a) count(…`.
    pub(super) fn stats_ahead(&self) -> bool {
        if self.is("by") {
            return self.is_at(self.at + 1, "(");
        }
        let function = if self.is("(") {
            let mut after = self.at;
            while !self.is_at(after, ")") && after < self.tokens.len() {
                after += 1;
            }
            after + 1
        } else {
            self.at
        };
        let named = StatsFunction::NAMES
            .iter()
            .any(|name| self.is_at(function, name));
        named && self.is_at(function + 1, "(")
    }

    /// What follows `stats`.
    pub(super) fn stats(&mut self) -> Result<Stats> {
        let by = if self.accept("by") || self.is("(") {
            self.in_parentheses(Self::by_field)?
        } else {
            Vec::new()
        };
        let mut functions: Vec<StatsEntry> = Vec::new();
        loop {
            let at = self.at;
            let entry = self.stats_entry()?;
            let name = &entry.result_field;
            let taken = by.iter().any(|field| &field.field == name)
                || functions.iter().any(|other| &other.result_field == name);
            if taken {
                return Err(self
                    .error_at(at, format!("there is another field `{name}` in the answer"))
                    .with_hint("name it with `as other_name`"));
            }
            functions.push(entry);
            if !self.accept(",") {
                return Ok(Stats { by, functions });
            }
        }
    }

    /// `field`, `field:1h offset 30m`.
    fn by_field(&mut self) -> Result<ByField> {
        let field = self.field_name()?;
        let bucket = if self.accept(":") {
            let size = self.bucket_size()?;
            let offset = if self.accept("offset") {
                Some(self.number("the offset of the buckets")?)
            } else {
                None
            };
            Some(Bucket { size, offset })
        } else {
            None
        };
        Ok(ByField { field, bucket })
    }

    fn bucket_size(&mut self) -> Result<BucketSize> {
        const HINT: &str = "steps are written as 100, 10KB, 5m, day, month, year or /24";
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, "the width of the buckets")?;
        let size = match text.as_str() {
            "month" => Some(BucketSize::Month),
            "year" => Some(BucketSize::Year),
            _ => match text.strip_prefix('/') {
                Some(bits) => bits
                    .parse()
                    .ok()
                    .filter(|bits| *bits <= 32)
                    .map(BucketSize::Ipv4Mask),
                None => step(&text).map(BucketSize::Step),
            },
        };
        size.ok_or_else(|| {
            self.error_at(at, format!("`{text}` is no width of buckets"))
                .with_hint(HINT)
        })
    }

    /// `count() if (…) as name`.
    fn stats_entry(&mut self) -> Result<StatsEntry> {
        let function = self.stats_function()?;
        let condition = self.condition()?;
        let named = self.accept("as");
        let result_field = if !named && (self.at_pipe_end() || self.is(",")) {
            match &condition {
                Some(condition) => format!("{function} if ({condition})"),
                None => function.to_string(),
            }
        } else {
            self.field_name()?
        };
        Ok(StatsEntry {
            function,
            condition,
            result_field,
        })
    }

    fn stats_function(&mut self) -> Result<StatsFunction> {
        let at = self.at;
        let Some(name) = self.keyword(&StatsFunction::NAMES) else {
            let word = self.raw().to_owned();
            if self.is_end() || !self.is_at(at + 1, "(") {
                let names = StatsFunction::NAMES.join(", ");
                return Err(self
                    .error(format!(
                        "a function of `stats` is missing, {} is there",
                        self.found()
                    ))
                    .with_hint(format!("there are: {names}")));
            }
            return Err(self.unknown(at, "function of `stats`", &word, StatsFunction::NAMES));
        };
        self.advance();
        if !self.is("(") {
            return Err(self.error(format!(
                "`(` is missing after `{name}`, {} is there",
                self.found()
            )));
        }
        match name {
            "quantile" => self.quantile(),
            "rate" | "histogram" | "count_uniq" | "count_uniq_hash" => self.function_of_names(name),
            "row_max" | "row_min" => self.row_function(name),
            _ => {
                let fields = self.field_patterns()?;
                self.function_of_patterns(name, fields)
            }
        }
    }

    fn function_of_patterns(
        &mut self,
        name: &str,
        fields: Vec<FieldPattern>,
    ) -> Result<StatsFunction> {
        Ok(match name {
            "avg" => StatsFunction::Avg(fields),
            "count" => StatsFunction::Count(fields),
            "count_empty" => StatsFunction::CountEmpty(fields),
            "max" => StatsFunction::Max(fields),
            "median" => StatsFunction::Median(fields),
            "min" => StatsFunction::Min(fields),
            "rate_sum" => StatsFunction::RateSum(fields),
            "row_any" => StatsFunction::RowAny(fields),
            "sum" => StatsFunction::Sum(fields),
            "sum_len" => StatsFunction::SumLen(fields),
            _ => {
                let limit = self.limit()?.filter(|limit| *limit > 0);
                match name {
                    "json_values" => StatsFunction::JsonValues { fields, limit },
                    "uniq_values" => StatsFunction::UniqValues { fields, limit },
                    _ => StatsFunction::Values { fields, limit },
                }
            }
        })
    }

    fn function_of_names(&mut self, name: &str) -> Result<StatsFunction> {
        let at = self.at;
        let mut fields = self.in_parentheses(Self::field_name)?;
        match (name, fields.len()) {
            ("rate", 0) => Ok(StatsFunction::Rate),
            ("rate", _) => Err(self
                .error_at(at, "`rate` takes no field")
                .with_hint("`rate_sum(field)` is the rate of a sum")),
            ("histogram", 1) => Ok(StatsFunction::Histogram(fields.remove(0))),
            ("histogram", _) => Err(self.error_at(at, "`histogram` takes one field")),
            (_, 0) => {
                Err(self.error_at(at, format!("the name of a field is missing in `{name}(…)`")))
            }
            _ => {
                let limit = self.limit()?.filter(|limit| *limit > 0);
                Ok(match name {
                    "count_uniq" => StatsFunction::CountUniq { fields, limit },
                    _ => StatsFunction::CountUniqHash { fields, limit },
                })
            }
        }
    }

    /// `row_max(by, fields…)`, `row_min(by, fields…)`.
    fn row_function(&mut self, name: &str) -> Result<StatsFunction> {
        let at = self.at;
        let mut patterns = self.in_parentheses(Self::field_pattern)?;
        let by = match patterns.first() {
            Some(FieldPattern::Name(by)) => by.clone(),
            _ => {
                return Err(self.error_at(at, format!("`{name}` takes the name of a field first")));
            }
        };
        patterns.remove(0);
        let fields = all_if_none(patterns);
        Ok(match name {
            "row_max" => StatsFunction::RowMax { by, fields },
            _ => StatsFunction::RowMin { by, fields },
        })
    }

    /// `quantile(0.9, fields…)`.
    fn quantile(&mut self) -> Result<StatsFunction> {
        let at = self.at + 1;
        self.expect("(", "after `quantile`")?;
        let phi = self.number("a number between 0 and 1")?;
        if !(0.0..=1.0).contains(&phi.value) {
            return Err(self.error_at(
                at,
                format!(
                    "`quantile` takes a number between 0 and 1, not {}",
                    phi.text
                ),
            ));
        }
        let mut fields = Vec::new();
        while !self.accept(")") {
            self.expect(",", "in `quantile(…)`")?;
            if !self.is(")") {
                fields.push(self.field_pattern()?);
            }
        }
        Ok(StatsFunction::Quantile {
            phi,
            fields: all_if_none(fields),
        })
    }
}

fn step(text: &str) -> Option<Number> {
    let named = NAMED_STEPS.iter().find(|(name, _)| *name == text);
    let step = match named {
        Some((_, value)) => Number {
            text: text.to_owned(),
            value: *value,
        },
        // A time or an address is a number elsewhere, and no width.
        None => Number {
            text: text.to_owned(),
            value: value::number::parse_number(text)?,
        },
    };
    Some(step).filter(|step| step.value > 0.0 && step.value.is_finite())
}
