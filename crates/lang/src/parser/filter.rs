//! Filters: what is combined, and conditions on fields.

use super::hint::{did_you_mean, nearest};
use super::{ARGUMENT_STOPS, Kind, NAME_STOPS, Parser, Result, VALUE_STOPS, WORD_STOPS, number};
use crate::ast::{Comparison, Filter, Matcher, Operand, StatsFunction, Values};
use crate::value;

/// The names of functions in filters.
pub(crate) const FILTER_FUNCTIONS: [&str; 15] = [
    "contains_all",
    "contains_any",
    "eq_field",
    "exact",
    "i",
    "in",
    "ipv4_range",
    "le_field",
    "len_range",
    "lt_field",
    "range",
    "re",
    "seq",
    "string_range",
    "value_type",
];

const COMPARISONS: [&str; 7] = ["=", "!=", ">", "<", "~", "!~", "=~"];

impl Parser<'_> {
    /// A filter, from its first word on.
    pub(super) fn filter(&mut self) -> Result<Filter> {
        if self.at_pipe_end() {
            let error = self.error(format!("a filter is missing, {} is there", self.found()));
            return Err(error.with_hint("`*` matches every record"));
        }
        self.refuse_pipe_name()?;
        self.any_of(None)
    }

    /// `* | limit 5` is often written without its beginning. A word to search for that is the name of a pipe is
    /// therefore put in quotes.
    fn refuse_pipe_name(&self) -> Result<()> {
        let names = super::PIPES
            .iter()
            .chain(&StatsFunction::NAMES)
            .chain(&["by"]);
        let Some(name) = names.copied().find(|name| self.is(name)) else {
            return Ok(());
        };
        if self.is_at(self.at + 1, ":") {
            return Ok(());
        }
        Err(self
            .error(format!(
                "a filter cannot begin with `{name}`, the name of a pipe or a function of `stats`"
            ))
            .with_hint(format!(
                "write `* | {name} …` for the pipe, or put the word in quotes to search for it"
            )))
    }

    fn any_of(&mut self, field: Option<&str>) -> Result<Filter> {
        let mut filters = Vec::new();
        loop {
            match self.all_of(field)? {
                Filter::Or(inner) => filters.extend(inner),
                filter => filters.push(filter),
            }
            if !self.accept("or") {
                return Ok(one_or(filters, Filter::Or));
            }
        }
    }

    fn all_of(&mut self, field: Option<&str>) -> Result<Filter> {
        let mut filters = Vec::new();
        loop {
            match self.negatable(field)? {
                Filter::And(inner) => filters.extend(inner),
                filter => filters.push(filter),
            }
            if self.at_pipe_end() || self.is("or") {
                return Ok(one_or(filters, Filter::And));
            }
            self.accept("and");
        }
    }

    /// A filter without `and` and `or` around it.
    fn negatable(&mut self, field: Option<&str>) -> Result<Filter> {
        self.nested(|parser| {
            if !parser.is_any(&["not", "!", "-"]) {
                return parser.single(field);
            }
            parser.advance();
            Ok(negated(parser.negatable(field)?))
        })
    }

    fn single(&mut self, field: Option<&str>) -> Result<Filter> {
        if self.at_pipe_end() {
            let error = self.error(format!("a filter is missing, {} is there", self.found()));
            return Err(match field {
                Some(_) => error.with_hint("`field:*` matches any value, `field:\"\"` none"),
                None => error,
            });
        }
        if field.is_none() && self.is_any(&["and", "or"]) {
            return Err(self
                .error(format!("a filter is missing in front of {}", self.found()))
                .with_hint("put the word in quotes to search for it"));
        }
        if self.is("{") {
            return self.stream_of(field);
        }
        if self.accept(":") {
            return self.nested(|parser| parser.negatable(field));
        }
        if self.accept("*") {
            return match field {
                None if self.is(":") => Err(self
                    .error("a filter needs the name of a field")
                    .with_hint("leave `*:` out to search in `_msg`")),
                None => Ok(Filter::All),
                Some(field) => Ok(Filter::field(field, Matcher::Any)),
            };
        }
        if self.is("(") {
            return self.parenthesized(field);
        }
        if self.is_any(&COMPARISONS) {
            return self.comparison(field.unwrap_or("_msg"));
        }
        if let Some(function) = self.function_ahead() {
            return self.function(function, field.unwrap_or("_msg"));
        }
        self.phrase(field)
    }

    fn parenthesized(&mut self, field: Option<&str>) -> Result<Filter> {
        let joined = self.at > 0 && !self.token().spaced;
        let before = self.at.saturating_sub(1);
        let allowed = [
            ":", "(", "!", "-", "|", "not", "and", "or", "filter", "where",
        ];
        if joined && !allowed.iter().any(|symbol| self.is_at(before, symbol)) {
            let word = self.raw_at(before);
            let error = self.error_at(before, format!("there is no function `{word}` in filters"));
            return Err(match nearest(word, FILTER_FUNCTIONS) {
                Some(function) => error.with_hint(format!("did you mean `{function}`?")),
                None => error.with_hint("put a space in front of the `(` to search for the word and what is in parentheses"),
            });
        }
        let open = self.at;
        self.advance();
        let filter = self.any_of(field)?;
        if self.accept(")") {
            return Ok(filter);
        }
        let place = self.error_at(open, "").placed(self.text);
        Err(self.error(format!(
            "`)` is missing for the `(` at line {}, column {}",
            place.line, place.column
        )))
    }

    /// The function that is called here, as `name(`; `range` also as `range[`.
    fn function_ahead(&self) -> Option<&'static str> {
        let name = self.keyword(&FILTER_FUNCTIONS)?;
        let called =
            self.is_at(self.at + 1, "(") || (name == "range" && self.is_at(self.at + 1, "["));
        called.then_some(name)
    }

    /// `=…`, `>…`, `~…` and the like.
    fn comparison(&mut self, field: &str) -> Result<Filter> {
        let at = self.at;
        let symbol = self.raw();
        self.advance();
        let matcher = match symbol {
            "=" | "!=" => self.exact()?,
            "~" | "!~" => self.regexp()?,
            ">" | "<" => self.less_or_greater(symbol == "<")?,
            _ => {
                return Err(self
                    .error_at(at, "`=~` is an operator of streams, `{label=~\"…\"}`")
                    .with_hint("write `field:~\"…\"` for a regular expression"));
            }
        };
        let filter = Filter::field(field, matcher);
        Ok(if symbol.starts_with('!') {
            negated(filter)
        } else {
            filter
        })
    }

    fn exact(&mut self) -> Result<Matcher> {
        if self.is("*") && !self.token().spaced {
            self.advance();
            return Ok(Matcher::ExactPrefix(String::new()));
        }
        let text = self.text_until(ARGUMENT_STOPS, "a value")?;
        Ok(if self.is("*") && !self.token().spaced {
            self.advance();
            Matcher::ExactPrefix(text)
        } else {
            Matcher::Exact(text)
        })
    }

    fn regexp(&mut self) -> Result<Matcher> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, "a regular expression")?;
        self.check_regexp(at, &text)?;
        Ok(Matcher::Regexp(text))
    }

    /// Whether `text`, which token `at` begins, is a regular expression.
    pub(super) fn check_regexp(&self, at: usize, text: &str) -> Result<regex::Regex> {
        value::regexp::compile(text)
            .map_err(|reason| self.error_at(at, format!("this is no regular expression: {reason}")))
    }

    fn less_or_greater(&mut self, less: bool) -> Result<Matcher> {
        let or_equal = !self.token().spaced && self.accept("=");
        let text = self.text_until(VALUE_STOPS, "a value to compare with")?;
        let comparison = match (less, or_equal) {
            (true, false) => Comparison::Less,
            (true, true) => Comparison::LessOrEqual,
            (false, false) => Comparison::Greater,
            (false, true) => Comparison::GreaterOrEqual,
        };
        let operand = match number(&text) {
            Some(number) => Operand::Number(number),
            None => Operand::Text(text),
        };
        Ok(Matcher::Compare {
            comparison,
            operand,
        })
    }

    /// A word or phrase to search for, or the name of the field and what follows it.
    fn phrase(&mut self, field: Option<&str>) -> Result<Filter> {
        let first = self.at;
        let stops = if field.is_some() {
            WORD_STOPS
        } else {
            NAME_STOPS
        };
        let text = self.text_until(stops, "a word to search for")?;
        if field.is_none() && self.is(":") {
            self.advance();
            return self.with_field(&text);
        }
        let name = field.unwrap_or("_msg");
        if self.is("*") && !self.token().spaced {
            self.advance();
            if field.is_none() && self.is(":") {
                return Err(self
                    .error("a filter needs the name of one field, not of all with a prefix")
                    .with_hint("put the name in quotes if it ends with a star"));
            }
            return Ok(Filter::field(name, phrase_prefix(text)));
        }
        if field.is_none() && self.at == first + 1 && self.token_at(first).kind == Kind::Word {
            self.refuse_spaced_comparison(&text)?;
        }
        Ok(Filter::field(name, phrase(text)))
    }

    /// `level = error` would mean: the word `level`, and a message that is `error`. Nobody means that.
    fn refuse_spaced_comparison(&self, word: &str) -> Result<()> {
        let operator = self.raw();
        let spaced = self.token().spaced && !self.is_quoted() && COMPARISONS.contains(&operator);
        let equals = operator == "=" && self.is_at(self.at + 1, "=");
        let value = self.at + if self.is_at(self.at + 1, "=") { 2 } else { 1 };
        if !spaced || !(self.token_at(value).spaced || equals) {
            return Ok(());
        }
        let operator = match operator {
            "=~" => "~",
            operator => operator,
        };
        Err(self
            .error(format!(
                "{} needs the name of a field with a colon in front of it",
                self.found()
            ))
            .with_hint(format!("did you mean `{word}:{operator}…`?")))
    }

    fn with_field(&mut self, field: &str) -> Result<Filter> {
        match field {
            "_time" => self.time(),
            "_stream_id" => self.stream_id(),
            _ => self.nested(|parser| parser.negatable(Some(field))),
        }
    }

    /// `_stream_id:x`, `_stream_id:in(…)`; else as any field.
    fn stream_id(&mut self) -> Result<Filter> {
        if self.is("in") && self.is_at(self.at + 1, "(") {
            self.advance();
            return Ok(self.values("in")?.map_or(Filter::All, Filter::StreamId));
        }
        if self.token().kind == Kind::Word && !self.is("not") && self.function_ahead().is_none() {
            let id = self.text_until(WORD_STOPS, "the id of a stream")?;
            if self.is("*") && !self.token().spaced {
                return Err(self.error("the id of a stream is wanted whole"));
            }
            return Ok(Filter::StreamId(Values::List(vec![id])));
        }
        self.nested(|parser| parser.negatable(Some("_stream_id")))
    }

    /// The arguments of a function, with its name for messages: `(a, "b", …)`, at the `(`.
    pub(super) fn arguments(&mut self, function: &str) -> Result<Vec<String>> {
        self.expect("(", &format!("after `{function}`"))?;
        let mut arguments = Vec::new();
        while !self.accept(")") {
            arguments
                .push(self.text_until(ARGUMENT_STOPS, &format!("an argument of `{function}`"))?);
            if !self.accept(",") && !self.is(")") {
                return Err(self.error(format!(
                    "`,` or `)` is missing in `{function}(…)`, {} is there",
                    self.found()
                )));
            }
        }
        Ok(arguments)
    }

    /// An error about a name that is none of `names`.
    pub(super) fn unknown<const N: usize>(
        &self,
        at: usize,
        what: &str,
        name: &str,
        names: [&str; N],
    ) -> crate::SyntaxError {
        did_you_mean(
            self.error_at(at, format!("there is no {what} `{name}`")),
            name,
            names,
        )
    }
}

/// The empty phrase means the empty value.
fn phrase(text: String) -> Matcher {
    if text.is_empty() {
        Matcher::Empty
    } else {
        Matcher::Phrase(text)
    }
}

fn phrase_prefix(text: String) -> Matcher {
    if text.is_empty() {
        Matcher::Any
    } else {
        Matcher::Prefix(text)
    }
}

fn negated(filter: Filter) -> Filter {
    match filter {
        Filter::Not(inner) => *inner,
        filter => Filter::Not(Box::new(filter)),
    }
}

fn one_or(mut filters: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.len() {
        1 => filters.remove(0),
        _ => many(filters),
    }
}
