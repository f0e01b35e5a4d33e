//! What the value of a field has to be like. A record without the field has the empty text as its value.

use std::net::Ipv4Addr;

use super::Values;

/// A condition on one value.
#[derive(Clone, Debug, PartialEq)]
pub enum Matcher {
    /// `*`: not empty.
    Any,
    /// `""`: empty, or no such field.
    Empty,
    /// `word`, `"some phrase"`: contains it, and where it begins or ends with a letter, digit or `_`, a word begins or
    /// ends there. Not empty.
    Phrase(String),
    /// `word*`, `"some phr"*`: as a phrase, but its last word may go on. Not empty.
    Prefix(String),
    /// `="text"`, `exact("text")`: is it.
    Exact(String),
    /// `="text"*`, `exact("text"*)`: begins with it.
    ExactPrefix(String),
    /// `i(word)`: as a phrase, in upper or lower case.
    AnyCasePhrase(String),
    /// `i(word*)`: as a prefix, in upper or lower case.
    AnyCasePrefix(String),
    /// `~"…"`, `re("…")`: some part of it matches.
    Regexp(String),
    /// `in(…)`: is one of them.
    In(Values),
    /// `contains_all(…)`: contains all these phrases.
    ContainsAll(Values),
    /// `contains_any(…)`: contains one of these phrases.
    ContainsAny(Values),
    /// `seq(…)`: contains these phrases, one after the other.
    Sequence(Vec<String>),
    /// `>5`, `<="b"`: compares so; see [`Operand`].
    Compare {
        /// How.
        comparison: Comparison,
        /// With what.
        operand: Operand,
    },
    /// `range(1, 5]`: is a number in the range.
    Range(Range),
    /// `ipv4_range(…)`: is an IPv4 address in the range, both ends included. A network is given as its range.
    Ipv4Range {
        /// First address.
        min: Ipv4Addr,
        /// Last address.
        max: Ipv4Addr,
    },
    /// `string_range(a, b)`: `a <= value < b`, byte by byte.
    StringRange {
        /// First text.
        min: String,
        /// First text after the range.
        max: String,
    },
    /// `len_range(a, b)`: has so many characters, both ends included.
    LenRange {
        /// Least.
        min: u64,
        /// Most; `u64::MAX` for `inf`.
        max: u64,
    },
    /// `value_type(uint64)`: is stored as this type.
    ValueType(String),
    /// `eq_field(other)`: equals the value of another field.
    EqField(String),
    /// `le_field(other)`: is at most the value of another field.
    LeField(String),
    /// `lt_field(other)`: is less than the value of another field.
    LtField(String),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// As it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A number in the sense of [`Number`]: only values that are numbers match.
    Number(Number),
    /// Any other text: texts are compared byte by byte.
    Text(String),
}

/// A number as it was written, and its value: `12`, `-1.5`, `1_000`, `10KiB`, `1h30m` (nanoseconds), an RFC 3339 time
/// (nanoseconds since the epoch), an IPv4 address (as 32 bits), `inf`. Never NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// As written.
    pub text: String,
    /// Its value.
    pub value: f64,
}

/// A range of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// Lower end.
    pub min: Bound,
    /// Upper end.
    pub max: Bound,
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The number at it.
    pub number: Number,
    /// Whether the number is in the range.
    pub inclusive: bool,
}
