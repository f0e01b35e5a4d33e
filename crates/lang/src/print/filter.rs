//! Filters.

use std::fmt::{Display, Formatter, Result};

use super::{Quoted, Text, Texts};
use crate::ast::{
    DayRange, Filter, LabelFilter, LabelMatch, Matcher, Operand, Range, StreamFilter, TimeFilter,
    TimeSpan, Values, WeekRange, Weekday,
};

impl Display for Filter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::All => formatter.write_str("*"),
            Self::And(filters) => joined(formatter, filters, " ", |filter| {
                matches!(filter, Self::And(_) | Self::Or(_))
            }),
            Self::Or(filters) => joined(formatter, filters, " or ", |filter| {
                matches!(filter, Self::Or(_))
            }),
            Self::Not(filter) => match filter.as_ref() {
                Self::And(_) | Self::Or(_) => write!(formatter, "!({filter})"),
                _ => write!(formatter, "!{filter}"),
            },
            Self::Time(time) => write!(formatter, "_time:{time}"),
            Self::DayRange(range) => write!(formatter, "_time:{range}"),
            Self::WeekRange(range) => write!(formatter, "_time:{range}"),
            Self::Stream(stream) => write!(formatter, "{stream}"),
            Self::StreamId(values) => write!(formatter, "_stream_id:in({values})"),
            Self::Field { field, matcher } => {
                if field != "_msg" || !stands_alone(matcher) {
                    write!(formatter, "{}:", Text(field))?;
                }
                write!(formatter, "{matcher}")
            }
        }
    }
}

fn joined(
    formatter: &mut Formatter<'_>,
    filters: &[Filter],
    between: &str,
    in_parentheses: fn(&Filter) -> bool,
) -> Result {
    for (index, filter) in filters.iter().enumerate() {
        if index > 0 {
            formatter.write_str(between)?;
        }
        if in_parentheses(filter) {
            write!(formatter, "({filter})")?;
        } else {
            write!(formatter, "{filter}")?;
        }
    }
    Ok(())
}

/// Whether it is clear without the name of a field that it is asked of `_msg`.
fn stands_alone(matcher: &Matcher) -> bool {
    !matches!(
        matcher,
        Matcher::Any
            | Matcher::Compare { .. }
            | Matcher::Exact(_)
            | Matcher::ExactPrefix(_)
            | Matcher::Regexp(_)
    )
}

impl Display for Matcher {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Empty => formatter.write_str("\"\""),
            Self::Phrase(text) => write!(formatter, "{}", Text(text)),
            Self::Prefix(text) => write!(formatter, "{}*", Text(text)),
            Self::Exact(text) => write!(formatter, "={}", Text(text)),
            Self::ExactPrefix(text) => write!(formatter, "={}*", Text(text)),
            Self::AnyCasePhrase(text) => write!(formatter, "i({})", Text(text)),
            Self::AnyCasePrefix(text) => write!(formatter, "i({}*)", Text(text)),
            Self::Regexp(text) => write!(formatter, "~{}", Quoted(text)),
            Self::In(values) => write!(formatter, "in({values})"),
            Self::ContainsAll(values) => write!(formatter, "contains_all({values})"),
            Self::ContainsAny(values) => write!(formatter, "contains_any({values})"),
            Self::Sequence(phrases) => write!(formatter, "seq({})", Texts(phrases)),
            Self::Compare {
                comparison,
                operand,
            } => write!(formatter, "{}{operand}", comparison.symbol()),
            Self::Range(range) => write!(formatter, "{range}"),
            Self::Ipv4Range { min, max } => write!(formatter, "ipv4_range({min}, {max})"),
            Self::StringRange { min, max } => {
                write!(formatter, "string_range({}, {})", Text(min), Text(max))
            }
            Self::LenRange { min, max: u64::MAX } => write!(formatter, "len_range({min}, inf)"),
            Self::LenRange { min, max } => write!(formatter, "len_range({min}, {max})"),
            Self::ValueType(name) => write!(formatter, "value_type({})", Text(name)),
            Self::EqField(name) => write!(formatter, "eq_field({})", Text(name)),
            Self::LeField(name) => write!(formatter, "le_field({})", Text(name)),
            Self::LtField(name) => write!(formatter, "lt_field({})", Text(name)),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "{}", Quoted(text)),
        }
    }
}

impl Display for Range {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (open, close) = brackets(self.min.inclusive, self.max.inclusive);
        write!(
            formatter,
            "range{open}{}, {}{close}",
            self.min.number, self.max.number
        )
    }
}

impl Display for Values {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::List(values) => write!(formatter, "{}", Texts(values)),
            Self::Query(query) => write!(formatter, "{query}"),
        }
    }
}

impl Display for StreamFilter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("{")?;
        for (index, labels) in self.any_of.iter().enumerate() {
            if index > 0 {
                formatter.write_str(" or ")?;
            }
            write!(formatter, "{}", super::Separated(labels))?;
        }
        formatter.write_str("}")
    }
}

impl Display for LabelFilter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}{}", Text(&self.label), self.is)
    }
}

impl Display for LabelMatch {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Equal(value) => write!(formatter, "={}", Quoted(value)),
            Self::NotEqual(value) => write!(formatter, "!={}", Quoted(value)),
            Self::Regexp(value) => write!(formatter, "=~{}", Quoted(value)),
            Self::NotRegexp(value) => write!(formatter, "!~{}", Quoted(value)),
            Self::In(values) => write!(formatter, " in ({})", Texts(values)),
            Self::NotIn(values) => write!(formatter, " not_in ({})", Texts(values)),
        }
    }
}

impl Display for TimeFilter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", self.span)?;
        match (&self.span, &self.offset) {
            (_, None) => Ok(()),
            (TimeSpan::UntilNow, Some(offset)) => write!(formatter, "offset {offset}"),
            (_, Some(offset)) => write!(formatter, " offset {offset}"),
        }
    }
}

impl Display for TimeSpan {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let equal = |inclusive: &bool| if *inclusive { "=" } else { "" };
        match self {
            Self::UntilNow => Ok(()),
            Self::Last(age) => write!(formatter, "{age}"),
            Self::OlderThan { age, inclusive } => write!(formatter, ">{}{age}", equal(inclusive)),
            Self::YoungerThan { age, inclusive } => write!(formatter, "<{}{age}", equal(inclusive)),
            Self::At(time) => write!(formatter, "{time}"),
            Self::After { time, inclusive } => write!(formatter, ">{}{time}", equal(inclusive)),
            Self::Before { time, inclusive } => write!(formatter, "<{}{time}", equal(inclusive)),
            Self::Between {
                start,
                start_inclusive,
                end,
                end_inclusive,
            } => {
                let (open, close) = brackets(*start_inclusive, *end_inclusive);
                write!(formatter, "{open}{start}, {end}{close}")
            }
        }
    }
}

impl Display for DayRange {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (open, close) = brackets(self.start_inclusive, self.end_inclusive);
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (start, end) = (clock(self.start_minute), clock(self.end_minute));
        write!(formatter, "day_range{open}{start}, {end}{close}")?;
        match &self.offset {
            Some(offset) => write!(formatter, " offset {offset}"),
            None => Ok(()),
        }
    }
}

impl Display for WeekRange {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (open, close) = brackets(self.start_inclusive, self.end_inclusive);
        write!(
            formatter,
            "week_range{open}{}, {}{close}",
            self.start, self.end
        )?;
        match &self.offset {
            Some(offset) => write!(formatter, " offset {offset}"),
            None => Ok(()),
        }
    }
}

impl Display for Weekday {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Sunday => "Sun",
            Self::Monday => "Mon",
            Self::Tuesday => "Tue",
            Self::Wednesday => "Wed",
            Self::Thursday => "Thu",
            Self::Friday => "Fri",
            Self::Saturday => "Sat",
        })
    }
}

fn brackets(start_inclusive: bool, end_inclusive: bool) -> (char, char) {
    (
        if start_inclusive { '[' } else { '(' },
        if end_inclusive { ']' } else { ')' },
    )
}
