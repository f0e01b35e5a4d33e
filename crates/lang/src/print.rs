//! From a syntax tree back to text: canonical LogsQL.

mod filter;
mod math;
mod pipe;
mod stats;

use std::fmt::{Display, Formatter, Result};

use logmill_model::token::is_token_char;

use crate::ast::{Duration, FieldPattern, Number, Query, StatsFunction, TimePoint};
use crate::parser::{FILTER_FUNCTIONS, PIPES};

/// Words that mean something where a word to search for, a value or the name of a field may stand. They are printed
/// in quotes everywhere, as that is always right.
const KEYWORDS: [&str; 37] = [
    "after",
    "and",
    "as",
    "asc",
    "at",
    "before",
    "by",
    "day_range",
    "default",
    "desc",
    "drop_duplicates",
    "from",
    "hits",
    "if",
    "inner",
    "keep_const_fields",
    "keep_original_fields",
    "max_value_len",
    "max_values_per_field",
    "not",
    "not_in",
    "now",
    "on",
    "options",
    "or",
    "partition",
    "prefix",
    "prettify",
    "rand",
    "rank",
    "result_prefix",
    "skip_empty_results",
    "time_window",
    "week_range",
    "with",
    "xor",
    "round",
];

/// Functions of `math` that are no keywords otherwise.
const MATH_NAMES: [&str; 5] = ["abs", "ceil", "exp", "floor", "ln"];

/// A text as a word where that is possible, else in quotes.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        if is_plain(self.0) {
            formatter.write_str(self.0)
        } else {
            write!(formatter, "{}", Quoted(self.0))
        }
    }
}

fn is_plain(text: &str) -> bool {
    let reserved = || {
        let word = text.to_lowercase();
        PIPES
            .iter()
            .chain(&FILTER_FUNCTIONS)
            .chain(&StatsFunction::NAMES)
            .chain(&KEYWORDS)
            .chain(&MATH_NAMES)
            .any(|name| *name == word)
    };
    !text.is_empty()
        && text
            .chars()
            .all(|character| is_token_char(character) || character == '.')
        && !reserved()
}

/// A text in double quotes.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        use std::fmt::Write as _;
        formatter.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => formatter.write_str("\\\"")?,
                '\\' => formatter.write_str("\\\\")?,
                '\n' => formatter.write_str("\\n")?,
                '\r' => formatter.write_str("\\r")?,
                '\t' => formatter.write_str("\\t")?,
                character if character.is_control() => {
                    write!(formatter, "\\u{:04x}", u32::from(character))?;
                }
                character => formatter.write_char(character)?,
            }
        }
        formatter.write_char('"')
    }
}

/// A number or time as it was written. These texts have none of the characters that would end them, unless they came
/// out of quotes.
struct Written<'a>(&'a str);

impl Display for Written<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let plain = |character: char| {
            is_token_char(character) || matches!(character, '.' | '-' | '+' | ':' | '/')
        };
        if !self.0.is_empty() && self.0.chars().all(plain) {
            formatter.write_str(self.0)
        } else {
            write!(formatter, "{}", Quoted(self.0))
        }
    }
}

impl Display for Number {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", Written(&self.text))
    }
}

impl Display for Duration {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", Written(&self.text))
    }
}

impl Display for TimePoint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", Written(&self.text))
    }
}

impl Display for FieldPattern {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Name(name) => write!(formatter, "{}", Text(name)),
            Self::Prefix(prefix) if prefix.is_empty() => formatter.write_str("*"),
            Self::Prefix(prefix) => write!(formatter, "{}*", Text(prefix)),
        }
    }
}

/// Items with `, ` between them.
struct Separated<'a, T>(&'a [T]);

impl<T: Display> Display for Separated<'_, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            write!(formatter, "{item}")?;
        }
        Ok(())
    }
}

/// Names or values with `, ` between them.
struct Texts<'a>(&'a [String]);

impl Display for Texts<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (index, text) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            write!(formatter, "{}", Text(text))?;
        }
        Ok(())
    }
}

impl Display for Query {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut options = Vec::new();
        if let Some(threads) = self.options.concurrency {
            options.push(format!("concurrency={threads}"));
        }
        if let Some(ignore) = self.options.ignore_global_time_filter {
            options.push(format!("ignore_global_time_filter={ignore}"));
        }
        if !options.is_empty() {
            write!(formatter, "options({}) ", options.join(", "))?;
        }
        write!(formatter, "{}", self.filter)?;
        for pipe in &self.pipes {
            write!(formatter, " | {pipe}")?;
        }
        Ok(())
    }
}
