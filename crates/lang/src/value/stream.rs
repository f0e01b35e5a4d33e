//! `_stream`, the set of labels that tells streams apart: `{host="a",service="b"}`; and conditions on it.

use std::borrow::Cow;

use regex::Regex;

use super::regexp::{self, RegexpError};
use crate::ast::{LabelMatch, StreamFilter};

/// The labels of a stream, in order. What is no label ends the list.
pub fn labels(stream: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let mut rest = stream.strip_prefix('{').unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let end = closing_quote(after)?;
        rest = after[end + 1..].strip_prefix(',').unwrap_or_default();
        Some((name, unescaped(&after[..end])))
    })
}

/// Where the first quote without a backslash before it is.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Values have backslashes before quotes and backslashes, and no other escapes.
fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The value of a label; the empty text when the stream does not have it.
pub fn label<'a>(stream: &'a str, name: &str) -> Cow<'a, str> {
    labels(stream)
        .find(|(label, _)| *label == name)
        .map_or(Cow::Borrowed(""), |(_, value)| value)
}

/// A stream filter, ready to be applied to many streams.
#[derive(Clone, Debug)]
pub struct StreamMatcher {
    any_of: Vec<Vec<(String, Condition)>>,
}

#[derive(Clone, Debug)]
struct Condition {
    is: Test,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Test {
    OneOf(Vec<String>),
    Regexp(Regex),
}

impl StreamMatcher {
    /// From the filter of a query.
    ///
    /// # Errors
    ///
    /// When an expression in it is none.
    pub fn new(filter: &StreamFilter) -> Result<Self, RegexpError> {
        let any_of = filter.any_of.iter().map(|all_of| {
            let conditions = all_of
                .iter()
                .map(|filter| Ok((filter.label.clone(), Condition::new(&filter.is)?)));
            conditions.collect()
        });
        Ok(Self {
            any_of: any_of.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a stream is meant.
    pub fn matches(&self, stream: &str) -> bool {
        self.any_of.iter().any(|all_of| {
            all_of
                .iter()
                .all(|(name, condition)| condition.holds(&label(stream, name)))
        })
    }
}

impl Condition {
    fn new(is: &LabelMatch) -> Result<Self, RegexpError> {
        let (is, negated) = match is {
            LabelMatch::Equal(value) => (Test::OneOf(vec![value.clone()]), false),
            LabelMatch::NotEqual(value) => (Test::OneOf(vec![value.clone()]), true),
            LabelMatch::In(values) => (Test::OneOf(values.clone()), false),
            LabelMatch::NotIn(values) => (Test::OneOf(values.clone()), true),
            LabelMatch::Regexp(regexp) => (Test::Regexp(regexp::compile_anchored(regexp)?), false),
            LabelMatch::NotRegexp(regexp) => {
                (Test::Regexp(regexp::compile_anchored(regexp)?), true)
            }
        };
        Ok(Self { is, negated })
    }

    fn holds(&self, value: &str) -> bool {
        let is = match &self.is {
            Test::OneOf(values) => values.iter().any(|wanted| wanted == value),
            Test::Regexp(regexp) => regexp.is_match(value),
        };
        is != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::LabelFilter;

    const STREAM: &str = "{host=\"a,b=\\\"c\\\"\n\\\\\",service=\"api\"}";

    #[test]
    fn labels_are_taken_from_streams() {
        let all: Vec<_> = labels(STREAM).collect();
        assert_eq!(
            all,
            [("host", "a,b=\"c\"\n\\".into()), ("service", "api".into())]
        );
        assert_eq!(label(STREAM, "service"), "api");
        assert_eq!(label(STREAM, "other"), "");
        for stream in ["", "{}", "{", "{a", "{a=", "{a=b}"] {
            assert_eq!(labels(stream).count(), 0, "{stream}");
        }
    }

    #[test]
    fn streams_match_conditions_on_labels() {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        for (label, is, expected) in [
            ("service", LabelMatch::Equal("api".into()), true),
            ("service", LabelMatch::Equal("ap".into()), false),
            ("service", LabelMatch::NotEqual("web".into()), true),
            ("service", LabelMatch::Regexp("a.i|x".into()), true),
            ("service", LabelMatch::Regexp("a".into()), false),
            ("service", LabelMatch::Regexp("x|ap".into()), false),
            ("service", LabelMatch::NotRegexp("a.*".into()), false),
            ("service", LabelMatch::In(list(&["web", "api"])), true),
            ("service", LabelMatch::NotIn(list(&["web", "api"])), false),
            ("other", LabelMatch::Equal(String::new()), true),
            ("other", LabelMatch::NotEqual("x".into()), true),
        ] {
            let label = label.to_owned();
            let filter = StreamFilter {
                any_of: vec![vec![LabelFilter { label, is }]],
            };
            let matcher = StreamMatcher::new(&filter).unwrap();
            assert_eq!(matcher.matches(STREAM), expected, "{filter:?}");
        }
        let everything = StreamFilter {
            any_of: vec![vec![]],
        };
        assert!(StreamMatcher::new(&everything).unwrap().matches(STREAM));
        let wrong = LabelFilter {
            label: "a".into(),
            is: LabelMatch::Regexp("(".into()),
        };
        assert!(
            StreamMatcher::new(&StreamFilter {
                any_of: vec![vec![wrong]]
            })
            .is_err()
        );
    }
}
