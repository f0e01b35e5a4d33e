//! Ranges: of numbers, texts, lengths, addresses; and the kinds of values.

use super::ipv4::parse_ipv4;
use super::number::{parse_decimal, parse_i64, parse_u64, parse_value};
use super::time::parse_rfc3339;
use crate::ast::{Comparison, Range};

/// Numbers between two bounds, as `range(…)` and the comparisons with numbers have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberRange {
    lower: (f64, bool),
    upper: (f64, bool),
}

impl NumberRange {
    /// From what is written in `range(…)`.
    pub fn new(range: &Range) -> Self {
        Self {
            lower: (range.min.number.value, range.min.inclusive),
            upper: (range.max.number.value, range.max.inclusive),
        }
    }

    /// The numbers that compare so with `value`.
    pub fn comparing(comparison: Comparison, value: f64) -> Self {
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let (lower, upper) = match comparison {
            Comparison::Less => ((all.0, true), (value, false)),
            Comparison::LessOrEqual => ((all.0, true), (value, true)),
            Comparison::Greater => ((value, false), (all.1, true)),
            Comparison::GreaterOrEqual => ((value, true), (all.1, true)),
        };
        Self { lower, upper }
    }

    /// Whether a number is in the range. NaN is in none.
    pub fn contains(&self, value: f64) -> bool {
        let above = |(bound, inclusive)| value > bound || (inclusive && value == bound);
        let below = |(bound, inclusive)| value < bound || (inclusive && value == bound);
        above(self.lower) && below(self.upper)
    }

    /// Whether a value is a number, a time or an address in the range.
    pub fn matches(&self, value: &str) -> bool {
        parse_value(value).is_some_and(|value| self.contains(value))
    }
}

/// Whether a text compares so with another, byte by byte: what comparisons with anything but numbers mean.
pub fn compares(comparison: Comparison, text: &str, with: &str) -> bool {
    match comparison {
        Comparison::Less => text < with,
        Comparison::LessOrEqual => text <= with,
        Comparison::Greater => text > with,
        Comparison::GreaterOrEqual => text >= with,
    }
}

/// Whether a text is in `lower <= text < upper`, compared byte by byte: what `string_range` means.
pub fn in_text_range(text: &str, lower: &str, upper: &str) -> bool {
    lower <= text && text < upper
}

/// Whether a text has `min..=max` characters.
pub fn in_length_range(text: &str, min: u64, max: u64) -> bool {
    // Characters are at most bytes, and at least a quarter of them.
    let bytes = text.len() as u64;
    if bytes < min || bytes.div_ceil(4) > max {
        return false;
    }
    let characters = text.chars().count() as u64;
    (min..=max).contains(&characters)
}

/// Whether a text is an IPv4 address in `min..=max`.
pub fn in_ipv4_range(text: &str, min: u32, max: u32) -> bool {
    parse_ipv4(text).is_some_and(|address| (min..=max).contains(&address))
}

/// The kinds that `value_type` tells apart. Each says what a single value can be stored as, so that the smaller kinds
/// are contained in the larger: every `uint8` is a `uint64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Anything that is none of the others, and not empty.
    String,
    /// An integer of 0 up to this.
    Unsigned(u64),
    /// An integer of 64 bits.
    Int64,
    /// A decimal number.
    Float64,
    /// An IPv4 address.
    Ipv4,
    /// A time with a date and a zone.
    Iso8601,
}

impl ValueType {
    /// The names that [`Self::parse`] knows.
    pub const NAMES: [&str; 9] = [
        "string", "uint8", "uint16", "uint32", "uint64", "int64", "float64", "ipv4", "iso8601",
    ];

    /// By its name. `const` and `dict`, which are about how VictoriaLogs stores a block, are no kinds of values.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "uint8" => Self::Unsigned(u8::MAX.into()),
            "uint16" => Self::Unsigned(u16::MAX.into()),
            "uint32" => Self::Unsigned(u32::MAX.into()),
            "uint64" => Self::Unsigned(u64::MAX),
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "ipv4" => Self::Ipv4,
            "iso8601" => Self::Iso8601,
            _ => return None,
        })
    }

    /// Whether a value is of this kind. The empty value is of none.
    pub fn matches(self, value: &str) -> bool {
        match self {
            Self::String => {
                !value.is_empty()
                    && !Self::Float64.matches(value)
                    && !Self::Ipv4.matches(value)
                    && !Self::Iso8601.matches(value)
            }
            Self::Unsigned(max) => parse_u64(value).is_some_and(|value| value <= max),
            Self::Int64 => parse_i64(value).is_some(),
            Self::Float64 => parse_decimal(value).is_some(),
            Self::Ipv4 => parse_ipv4(value).is_some(),
            Self::Iso8601 => parse_rfc3339(value).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{Bound, Number};

    #[test]
    fn ranges_have_open_and_closed_ends() {
        let bound = |value: f64, inclusive| Bound {
            number: Number {
                text: value.to_string(),
                value,
            },
            inclusive,
        };
        let range = |inclusive| {
            NumberRange::new(&Range {
                min: bound(1.0, inclusive),
                max: bound(10.0, inclusive),
            })
        };
        let (open, closed) = (range(false), range(true));
        for (value, in_open, in_closed) in [
            ("1", false, true),
            ("10", false, true),
            ("4.2", true, true),
            ("5ns", true, true),
            ("0.9", false, false),
            ("11", false, false),
            ("the request took 4.2 seconds", false, false),
            ("", false, false),
        ] {
            assert_eq!(open.matches(value), in_open, "{value}");
            assert_eq!(closed.matches(value), in_closed, "{value}");
        }
        let above = NumberRange::comparing(Comparison::Greater, 4.2);
        assert!(above.matches("1h") && above.matches("inf") && !above.matches("4.2"));
        let below = NumberRange::comparing(Comparison::LessOrEqual, 4.2);
        assert!(below.matches("-inf") && below.matches("4.2") && !below.matches("4.3"));
        assert!(
            compares(Comparison::Less, "Joe", "John") && compares(Comparison::Less, "", "John")
        );
        assert!(
            !compares(Comparison::Greater, "John", "John")
                && compares(Comparison::GreaterOrEqual, "John", "John")
        );
    }

    #[test]
    fn texts_lengths_and_addresses_are_in_ranges() {
        assert!(in_text_range("Alice", "A", "C") && in_text_range("Bob", "A", "C"));
        assert!(!in_text_range("Carol", "A", "C") && !in_text_range("alice", "A", "C"));
        for (text, expected) in [
            ("foobar", true),
            ("foo bar", true),
            ("foo", false),
            ("foo bar baz abc", false),
            ("éééééé", true),
            ("字字字字", false),
        ] {
            assert_eq!(in_length_range(text, 5, 10), expected, "{text}");
        }
        assert!(in_length_range("foobar", 5, u64::MAX));
        assert!(in_ipv4_range("127.0.0.1", 0x7f00_0000, 0x7fff_ffff));
        assert!(!in_ipv4_range("128.0.0.1", 0x7f00_0000, 0x7fff_ffff));
        assert!(!in_ipv4_range("request from 127.0.0.1: done", 0, u32::MAX));
    }

    #[test]
    fn kinds_of_values_are_told_apart() {
        let kinds = |value| {
            ValueType::NAMES
                .into_iter()
                .filter(|name| ValueType::parse(name).unwrap().matches(value))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            kinds("7"),
            ["uint8", "uint16", "uint32", "uint64", "int64", "float64"]
        );
        assert_eq!(kinds("70000"), ["uint32", "uint64", "int64", "float64"]);
        assert_eq!(kinds("18446744073709551615"), ["uint64", "float64"]);
        assert_eq!(kinds("-7"), ["int64", "float64"]);
        assert_eq!(kinds("1.5"), ["float64"]);
        assert_eq!(kinds("1.2.3.4"), ["ipv4"]);
        assert_eq!(kinds("2024-05-15T12:00:00.000Z"), ["iso8601"]);
        assert_eq!(kinds("5ms"), ["string"]);
        assert!(kinds("").is_empty());
        assert_eq!(ValueType::parse("dict"), None);
    }
}
