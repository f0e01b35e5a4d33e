//! From text to a syntax tree: a recursive-descent parser over tokens.
//!
//! Every recursion goes through [`Parser::nested`] and loops that make trees deeper count what they do, so no text is
//! too strange: trees are at most a few times [`MAX_DEPTH`] deep, and everything that walks them may recurse.

mod filter;
mod function;
mod hint;
mod lexer;
mod math;
mod pipe;
mod pipe_order;
mod pipe_sets;
mod pipe_text;
mod stats;
mod stream;
mod time;

use crate::ast::{FieldPattern, Filter, Number, Options, Query};
use crate::error::SyntaxError;
use crate::value;
use lexer::{Kind, Token};

pub(crate) use filter::FILTER_FUNCTIONS;
pub use pipe::PIPES;

/// The longest query, in bytes.
pub const MAX_LENGTH: usize = 256 * 1024;
/// How deep parentheses, negations, subqueries and functions may be nested.
pub const MAX_DEPTH: usize = 64;

type Result<T> = std::result::Result<T, SyntaxError>;

/// The tree of a query.
///
/// # Errors
///
/// When it is none: what is wrong with it, and where.
pub fn parse(text: &str) -> Result<Query> {
    whole(text, Parser::query)
}

/// The tree of a filter: a query without pipes and options.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_filter(text: &str) -> Result<Filter> {
    whole(text, |parser| {
        let filter = parser.filter()?;
        if parser.is("|") {
            return Err(parser.error("a filter is wanted here, without pipes"));
        }
        Ok(filter)
    })
}

/// What `parse` makes of all of a text.
fn whole<'a, T>(text: &'a str, parse: impl FnOnce(&mut Parser<'a>) -> Result<T>) -> Result<T> {
    let tree = Parser::new(text).and_then(|mut parser| {
        let tree = parse(&mut parser)?;
        parser.expect_end()?;
        Ok(tree)
    });
    tree.map_err(|error| error.placed(text))
}

/// Symbols that end a piece of text: a search word, …
const WORD_STOPS: &[&str] = &["*", ",", "(", ")", "[", "]", "|"];
/// … the name of a field, …
const NAME_STOPS: &[&str] = &["*", ",", "(", ")", "[", "]", "|", ":"];
/// … a value after an operator or a keyword, …
const VALUE_STOPS: &[&str] = &[",", "(", ")", "[", "]", "|"];
/// … an argument of a function, …
const ARGUMENT_STOPS: &[&str] = &["*", ",", "(", ")", "|"];
/// … and a name or value in `options(…)`.
const OPTION_STOPS: &[&str] = &["=", ":", ",", "(", ")", "[", "]", "|"];

struct Parser<'a> {
    text: &'a str,
    /// The last one is an end.
    tokens: Vec<Token>,
    /// The token that is looked at.
    at: usize,
    depth: usize,
    /// How many lists may yet be read a second time, as queries.
    retries: usize,
}

/// See [`Parser::retries`].
const MAX_RETRIES: usize = 100;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            let message = format!(
                "a query has at most {MAX_LENGTH} bytes, this one has {}",
                text.len()
            );
            return Err(SyntaxError::unplaced(MAX_LENGTH, message));
        }
        let tokens = lexer::tokens(text).map_err(|(offset, message)| {
            SyntaxError::unplaced(offset, message)
                .with_hint("write `\\\\` for a backslash, or put the text in backticks, in which nothing is escaped")
        })?;
        Ok(Self {
            text,
            tokens,
            at: 0,
            depth: 0,
            retries: MAX_RETRIES,
        })
    }

    // --- tokens ---

    fn token(&self) -> &Token {
        self.token_at(self.at)
    }

    fn token_at(&self, index: usize) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[index.min(last)]
    }

    fn raw_at(&self, index: usize) -> &'a str {
        let token = self.token_at(index);
        self.text.get(token.start..token.end).unwrap_or("")
    }

    /// The token as it was written.
    fn raw(&self) -> &'a str {
        self.raw_at(self.at)
    }

    fn is_end(&self) -> bool {
        self.token().kind == Kind::End
    }

    fn is_quoted(&self) -> bool {
        matches!(self.token().kind, Kind::Quoted(_))
    }

    fn is_at(&self, index: usize, keyword: &str) -> bool {
        !matches!(self.token_at(index).kind, Kind::Quoted(_))
            && self.raw_at(index).eq_ignore_ascii_case(keyword)
    }

    /// Whether the token is this symbol or keyword (in upper or lower case, and not in quotes).
    fn is(&self, keyword: &str) -> bool {
        self.is_at(self.at, keyword)
    }

    fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// The one of `keywords` that the token is.
    fn keyword(&self, keywords: &[&'static str]) -> Option<&'static str> {
        keywords.iter().copied().find(|keyword| self.is(keyword))
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Takes the token if it is `keyword`.
    fn accept(&mut self, keyword: &str) -> bool {
        let is = self.is(keyword);
        if is {
            self.advance();
        }
        is
    }

    /// Takes `symbol`, or says where it is missing.
    fn expect(&mut self, symbol: &str, place: &str) -> Result<()> {
        if self.accept(symbol) {
            return Ok(());
        }
        let found = self.found();
        Err(self.error(format!("`{symbol}` is missing {place}, {found} is there")))
    }

    fn expect_end(&self) -> Result<()> {
        if self.is_end() {
            return Ok(());
        }
        let error = self.error(format!("{} has no place here", self.found()));
        Err(match self.raw() {
            ")" => error.with_hint("there is no `(` for this `)`"),
            _ => error,
        })
    }

    /// Whether a step of the pipeline ends here.
    fn at_pipe_end(&self) -> bool {
        self.is_end() || self.is_any(&["|", ")"])
    }

    // --- errors ---

    /// What is there, for messages.
    fn found(&self) -> String {
        match self.token().kind {
            Kind::End => "the end of the query".to_owned(),
            _ => format!("`{}`", self.raw().chars().take(40).collect::<String>()),
        }
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        self.error_at(self.at, message)
    }

    fn error_at(&self, index: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError::unplaced(self.token_at(index).start, message)
    }

    /// `parse`, one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("a query is nested at most {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    // --- pieces of text ---

    /// A piece of text: a text in quotes, or tokens with no space between them until one of `stops`.
    fn text_until(&mut self, stops: &[&str], what: &str) -> Result<String> {
        if self.is_end() || self.is_any(stops) {
            return Err(self.error(format!("{what} is missing, {} is there", self.found())));
        }
        if self.is_any(&["\"", "'", "`"]) {
            return Err(self.error("this quote has no partner").with_hint(format!(
                "end the text with {}, or put it in other quotes",
                self.raw()
            )));
        }
        let first = self.at;
        self.advance();
        self.skip_joined(stops);
        if self.at == first + 1
            && let Kind::Quoted(inner) = &self.token_at(first).kind
        {
            return Ok(inner.clone());
        }
        Ok(self.written(first))
    }

    /// Skips the tokens that are joined to the one before, until one of `stops`.
    fn skip_joined(&mut self, stops: &[&str]) {
        while !self.is_end() && !self.token().spaced && !self.is_any(stops) {
            self.advance();
        }
    }

    /// The text from token `first` up to this one, as it was written.
    fn written(&self, first: usize) -> String {
        let (start, end) = (self.token_at(first).start, self.token_at(self.at - 1).end);
        self.text.get(start..end).unwrap_or("").to_owned()
    }

    /// The name of a field.
    fn field_name(&mut self) -> Result<String> {
        let name = self.text_until(NAME_STOPS, "the name of a field")?;
        if self.is("*") && !self.token().spaced {
            return Err(
                self.error("the name of one field is wanted here, not of all with a prefix")
            );
        }
        Ok(name)
    }

    /// `name`, `prefix*` or `*`.
    fn field_pattern(&mut self) -> Result<FieldPattern> {
        if self.accept("*") {
            return Ok(FieldPattern::all());
        }
        let name = self.text_until(NAME_STOPS, "the name of a field")?;
        if self.is("*") && !self.token().spaced {
            self.advance();
            return Ok(FieldPattern::Prefix(name));
        }
        Ok(FieldPattern::Name(name))
    }

    /// Items with commas between them, one at least.
    fn comma_separated<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Items in parentheses, with commas between them; there may be none, and a comma after the last.
    fn in_parentheses<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect("(", "here")?;
        let mut items = Vec::new();
        while !self.accept(")") {
            items.push(item(self)?);
            if !self.accept(",") && !self.is(")") {
                return Err(self.error(format!(
                    "`,` or `)` is missing here, {} is there",
                    self.found()
                )));
            }
        }
        Ok(items)
    }

    /// A number in the sense of [`Number`].
    fn number(&mut self, what: &str) -> Result<Number> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, what)?;
        number(&text).ok_or_else(|| {
            self.error_at(at, format!("`{text}` is no number"))
                .with_hint("numbers are written as 12, -1.5, 1_000, 10KiB, 1h30m, inf, an RFC 3339 time or an IPv4 address")
        })
    }

    /// A number that counts something.
    fn count(&mut self, what: &str) -> Result<u64> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, what)?;
        value::number::parse_length(&text)
            .ok_or_else(|| self.error_at(at, format!("{what} is wanted here, `{text}` is none")))
    }

    /// As [`Self::count`], and not 0.
    fn positive(&mut self, what: &str) -> Result<u64> {
        let at = self.at;
        match self.count(what)? {
            0 => Err(self.error_at(at, format!("{what} has to be greater than 0"))),
            count => Ok(count),
        }
    }

    // --- queries ---

    fn query(&mut self) -> Result<Query> {
        let options = self.options()?;
        let filter = self.filter()?;
        let pipes = if self.accept("|") {
            self.pipes()?
        } else {
            Vec::new()
        };
        Ok(Query {
            options,
            filter,
            pipes,
        })
    }

    /// `(query)`.
    fn query_in_parentheses(&mut self) -> Result<Query> {
        self.nested(|parser| {
            parser.expect("(", "in front of the query")?;
            let query = parser.query()?;
            parser.expect(")", "after the query")?;
            Ok(query)
        })
    }

    fn options(&mut self) -> Result<Options> {
        const NAMES: [&str; 2] = ["concurrency", "ignore_global_time_filter"];
        let mut options = Options::default();
        if !(self.is("options") && self.is_at(self.at + 1, "(")) {
            return Ok(options);
        }
        self.advance();
        self.in_parentheses(|parser| {
            let at = parser.at;
            let name = parser.text_until(OPTION_STOPS, "the name of an option")?;
            parser.expect("=", &format!("after the option `{name}`"))?;
            let value_at = parser.at;
            let value = parser.text_until(OPTION_STOPS, "the value of the option")?;
            match name.as_str() {
                "concurrency" => {
                    let threads = value::number::parse_u64(&value).ok_or_else(|| {
                        parser.error_at(
                            value_at,
                            format!("a number of threads is wanted here, `{value}` is none"),
                        )
                    })?;
                    options.concurrency = Some(threads);
                }
                "ignore_global_time_filter" => {
                    let ignore = boolean(&value).ok_or_else(|| {
                        parser.error_at(
                            value_at,
                            format!("`true` or `false` is wanted here, not `{value}`"),
                        )
                    })?;
                    options.ignore_global_time_filter = Some(ignore);
                }
                _ => {
                    let error = parser.error_at(at, format!("there is no option `{name}`"));
                    return Err(hint::did_you_mean(error, &name, NAMES));
                }
            }
            Ok(())
        })?;
        Ok(options)
    }
}

/// As Go's `ParseBool` has it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    let value = value::number::parse_value(text)?;
    Some(Number {
        text: text.to_owned(),
        value,
    })
}
