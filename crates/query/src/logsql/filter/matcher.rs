//! Conditions on one value.

use std::collections::HashSet;

use datafusion::common::{DataFusionError, Result};
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::{Matcher, Operand};
use logmill_lang::value;
use logmill_lang::value::phrase::{AllPhrases, AnyCasePhrase, AnyPhrase, Phrase, Sequence};
use logmill_lang::value::range::{NumberRange, ValueType, compares};
use xxhash_rust::xxh3::xxh3_128;

use super::super::functions;
use super::super::invalid;
use super::super::scope::{Kind, Scope, Value};
use super::{list, typed};
use crate::functions::literal;

/// Phrases of a list that are looked up in the token index one by one; a longer list is not looked up.
const LOOKED_UP_MAX: usize = 32;

/// A test of texts, and under which name plans show it.
struct Test {
    name: &'static str,
    spec: String,
    /// What is in every text that it is true of, and whether in any case.
    literal: Option<(String, bool)>,
    is: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Test {
    fn new(
        name: &'static str,
        spec: impl Into<String>,
        is: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            spec: spec.into(),
            literal: None,
            is: Box::new(is),
        }
    }

    fn with_literal(self, literal: &str) -> Self {
        let literal = (!literal.is_empty()).then(|| (literal.to_owned(), false));
        Self { literal, ..self }
    }

    fn with_literal_in_any_case(self, literal: &str) -> Self {
        // Folding changes the length of other texts.
        let can = !literal.is_empty() && literal.is_ascii();
        let literal = can.then(|| (literal.to_ascii_lowercase(), true));
        Self { literal, ..self }
    }

    fn of(self, value: Expr) -> Expr {
        // Pruning takes a function by its name for one that is false of what is not there; it knows none of this name.
        let name = if (self.is)("") { "holds" } else { self.name };
        let spec = format_spec(name, self.name, &self.spec);
        match self.literal {
            Some(literal) => functions::search(name, &spec, value, literal, self.is),
            None => functions::predicate(name, &spec, value, self.is),
        }
    }
}

fn format_spec(name: &str, own: &str, spec: &str) -> String {
    if name == own {
        spec.to_owned()
    } else {
        format!("{own}:{spec}")
    }
}

/// What holds of the records in which a field's value is as the matcher wants it.
pub(super) fn condition(scope: &Scope, field: &str, matcher: &Matcher) -> Result<Expr> {
    let value = scope.get(field);
    if let Some(relation) = of_two(scope, value.clone(), matcher) {
        return Ok(relation);
    }
    let Some(value) = value else {
        // No record has the field.
        return Ok(lit(match matcher {
            Matcher::Any => false,
            Matcher::Empty => true,
            _ => (test(matcher)?.is)(""),
        }));
    };
    match matcher {
        Matcher::Any => return Ok(value.is_present()),
        Matcher::Empty => return Ok(functions::is_not_true(value.is_present())),
        _ => {}
    }
    if let Some(condition) = typed::condition(&value, matcher)? {
        return Ok(condition);
    }
    if value.kind == Kind::Text
        && let Some(condition) = of_text(&value, matcher)?
    {
        return Ok(condition);
    }
    Ok(test(matcher)?.of(value.expr))
}

/// Conditions on texts that the engine has something better for than a test of every value.
fn of_text(value: &Value, matcher: &Matcher) -> Result<Option<Expr>> {
    let expr = || value.expr.clone();
    let each = |phrases: &[String], join: fn(Expr, Expr) -> Expr| {
        let phrases = phrases.iter().map(|text| phrase(text).of(expr()));
        phrases.reduce(join)
    };
    Ok(match matcher {
        Matcher::Exact(text) if !text.is_empty() => Some(expr().eq(lit(text.as_str()))),
        Matcher::ExactPrefix(prefix) if !prefix.is_empty() => {
            Some(starts_with(expr(), lit(prefix.as_str())))
        }
        Matcher::In(values) => {
            let values = list(values)?;
            let present = values.iter().filter(|text| !text.is_empty());
            let present: Vec<Expr> = present.map(|text| lit(text.as_str())).collect();
            let is_empty = values.iter().any(String::is_empty);
            let is_empty = is_empty.then(|| functions::is_not_true(value.is_present()));
            let is_one = match present.as_slice() {
                [] => None,
                [only] => Some(expr().eq(only.clone())),
                _ => Some(expr().in_list(present, false)),
            };
            let both = is_one.into_iter().chain(is_empty);
            Some(both.reduce(Expr::or).unwrap_or_else(|| lit(false)))
        }
        Matcher::ContainsAll(values) if is_looked_up(list(values)?) => {
            each(list(values)?, Expr::and)
        }
        Matcher::ContainsAny(values) if is_looked_up(list(values)?) => {
            each(list(values)?, Expr::or)
        }
        _ => None,
    })
}

/// Whether the phrases are few, and all of them say something.
fn is_looked_up(phrases: &[String]) -> bool {
    phrases.len() <= LOOKED_UP_MAX && phrases.iter().all(|phrase| !phrase.is_empty())
}

/// Conditions on two fields of a record.
fn of_two(scope: &Scope, value: Option<Value>, matcher: &Matcher) -> Option<Expr> {
    type Holds = fn(&str, &str) -> bool;
    let (name, other, holds): (_, _, Holds) = match matcher {
        Matcher::EqField(other) => ("eq_field", other, |left, right| left == right),
        Matcher::LeField(other) => ("le_field", other, |left, right| {
            value::order::compare(left, right).is_le()
        }),
        Matcher::LtField(other) => ("lt_field", other, |left, right| {
            value::order::compare(left, right).is_lt()
        }),
        _ => return None,
    };
    let absent = || lit("");
    let left = value.map_or_else(absent, |value| value.expr);
    let right = scope.get(other).map_or_else(absent, |value| value.expr);
    let is = move |values: &[&str]| match values {
        [left, right] => holds(left, right),
        _ => false,
    };
    Some(functions::predicate_of(name, "", vec![left, right], is))
}

fn phrase(text: &str) -> Test {
    let matcher = Phrase::new(text);
    Test::new("phrase", text, move |text| matcher.matches(text)).with_literal(text)
}

fn regexp(pattern: &str) -> Result<Test> {
    let regexp = value::regexp::compile(pattern).map_err(invalid)?;
    let literal = literal::of_regex(regexp.as_str());
    let literal = literal.and_then(|literal| String::from_utf8(literal).ok());
    let test = Test::new("regexp", pattern, move |text| regexp.is_match(text));
    Ok(test.with_literal(&literal.unwrap_or_default()))
}

/// What tells lists apart in a plan: they may be long.
fn listed(values: &[String]) -> String {
    let joined = values.join("\u{1}");
    format!(
        "{} values {:032x}",
        values.len(),
        xxh3_128(joined.as_bytes())
    )
}

/// The test of what a text says: words, phrases, all of it.
fn test_of_text(matcher: &Matcher) -> Option<Test> {
    Some(match matcher {
        Matcher::Any => Test::new("any", "", |text| !text.is_empty()),
        Matcher::Empty => Test::new("empty", "", str::is_empty),
        Matcher::Phrase(text) => phrase(text),
        Matcher::Prefix(prefix) => {
            let matcher = Phrase::prefix(prefix);
            Test::new("phrase_prefix", prefix, move |text| matcher.matches(text))
                .with_literal(prefix)
        }
        Matcher::Exact(wanted) => {
            let own = wanted.clone();
            Test::new("exact", wanted, move |text| text == own)
        }
        Matcher::ExactPrefix(prefix) => {
            let own = prefix.clone();
            Test::new("exact_prefix", prefix, move |text| text.starts_with(&own))
        }
        Matcher::AnyCasePhrase(text) => {
            let matcher = AnyCasePhrase::new(text);
            Test::new("phrase_any_case", text, move |text| matcher.matches(text))
                .with_literal_in_any_case(text)
        }
        Matcher::AnyCasePrefix(prefix) => {
            let matcher = AnyCasePhrase::prefix(prefix);
            let is = move |text: &str| matcher.matches(text);
            Test::new("phrase_prefix_any_case", prefix, is).with_literal_in_any_case(prefix)
        }
        _ => return None,
    })
}

/// The test that a matcher is.
fn test(matcher: &Matcher) -> Result<Test> {
    if let Some(test) = test_of_text(matcher) {
        return Ok(test);
    }
    let debug = || format!("{matcher:?}");
    Ok(match matcher {
        Matcher::Regexp(pattern) => regexp(pattern)?,
        Matcher::In(values) => {
            let spec = listed(list(values)?);
            let values: HashSet<String> = list(values)?.iter().cloned().collect();
            Test::new("in", spec, move |text| values.contains(text))
        }
        Matcher::ContainsAll(values) => {
            let phrases = AllPhrases::new(list(values)?);
            Test::new("contains_all", listed(list(values)?), move |text| {
                phrases.matches(text)
            })
        }
        Matcher::ContainsAny(values) => {
            let phrases = AnyPhrase::new(list(values)?);
            Test::new("contains_any", listed(list(values)?), move |text| {
                phrases.matches(text)
            })
        }
        Matcher::Sequence(phrases) => {
            let sequence = Sequence::new(phrases);
            // No word has this character, so that the words of all phrases are words of the whole.
            let spec = phrases.join("\u{1}");
            Test::new("sequence", spec, move |text| sequence.matches(text))
        }
        Matcher::Compare {
            comparison,
            operand,
        } => {
            let comparison = *comparison;
            match operand {
                Operand::Number(number) => {
                    let range = NumberRange::comparing(comparison, number.value);
                    Test::new("compare", debug(), move |text| range.matches(text))
                }
                Operand::Text(bound) => {
                    let bound = bound.clone();
                    let is = move |text: &str| compares(comparison, text, &bound);
                    Test::new("compare", debug(), is)
                }
            }
        }
        Matcher::Range(range) => {
            let range = NumberRange::new(range);
            Test::new("range", debug(), move |text| range.matches(text))
        }
        Matcher::Ipv4Range { min, max } => {
            let (min, max) = (min.to_bits(), max.to_bits());
            let is = move |text: &str| value::range::in_ipv4_range(text, min, max);
            Test::new("ipv4_range", debug(), is)
        }
        Matcher::StringRange { min, max } => {
            let (min, max) = (min.clone(), max.clone());
            let is = move |text: &str| value::range::in_text_range(text, &min, &max);
            Test::new("string_range", debug(), is)
        }
        Matcher::LenRange { min, max } => {
            let (min, max) = (*min, *max);
            let is = move |text: &str| value::range::in_length_range(text, min, max);
            Test::new("len_range", debug(), is)
        }
        Matcher::ValueType(name) => {
            let wanted = ValueType::parse(name).ok_or_else(|| {
                DataFusionError::NotImplemented(format!("not supported: value_type({name})"))
            })?;
            Test::new("value_type", name, move |text| wanted.matches(text))
        }
        _ => {
            let problem = "a condition on two fields is no test of one";
            return Err(DataFusionError::Internal(problem.to_owned()));
        }
    })
}
