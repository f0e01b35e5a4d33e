//! Pipes: which one it is, and those that take few words.

use super::hint::{did_you_mean, nearest};
use super::{Kind, Parser, Result, VALUE_STOPS};
use crate::ast::{FieldPattern, Filter, OneField, Pipe, ResultPolicy, StatsFunction};

/// The names of pipes, with their short forms.
pub const PIPES: [&str; 52] = [
    "block_stats",
    "blocks_count",
    "collapse_nums",
    "copy",
    "cp",
    "decolorize",
    "del",
    "delete",
    "drop",
    "drop_empty_fields",
    "eval",
    "extract",
    "extract_regexp",
    "facets",
    "field_names",
    "field_values",
    "fields",
    "filter",
    "first",
    "format",
    "hash",
    "head",
    "join",
    "json_array_len",
    "keep",
    "last",
    "len",
    "limit",
    "math",
    "mv",
    "offset",
    "order",
    "pack_json",
    "pack_logfmt",
    "rename",
    "replace",
    "replace_regexp",
    "rm",
    "sample",
    "skip",
    "sort",
    "stats",
    "stream_context",
    "top",
    "union",
    "uniq",
    "unpack_json",
    "unpack_logfmt",
    "unpack_syslog",
    "unpack_words",
    "unroll",
    "where",
];

impl Parser<'_> {
    /// Pipes with `|` between them, one at least.
    pub(super) fn pipes(&mut self) -> Result<Vec<Pipe>> {
        let mut pipes = Vec::new();
        loop {
            let name = self.raw();
            pipes.push(self.pipe()?);
            if self.accept("|") {
                continue;
            }
            if self.at_pipe_end() {
                return Ok(pipes);
            }
            return Err(self
                .error(format!(
                    "{} has no place in the pipe `{name}`",
                    self.found()
                ))
                .with_hint("the next pipe begins with `|`"));
        }
    }

    fn pipe(&mut self) -> Result<Pipe> {
        if self.at_pipe_end() {
            return Err(self.error(format!("a pipe is missing, {} is there", self.found())));
        }
        let Some(name) = self.keyword(&PIPES) else {
            return self.unnamed_pipe();
        };
        let at = self.at;
        self.advance();
        Ok(match name {
            "block_stats" => Pipe::BlockStats,
            "blocks_count" => Pipe::BlocksCount,
            "drop_empty_fields" => Pipe::DropEmptyFields,
            "field_names" => Pipe::FieldNames,
            "decolorize" => Pipe::Decolorize(self.field_or_message()?),
            "delete" | "del" | "rm" | "drop" => {
                Pipe::Delete(self.comma_separated(Self::field_pattern)?)
            }
            "fields" | "keep" => Pipe::Fields(self.comma_separated(Self::field_pattern)?),
            "filter" | "where" => Pipe::Filter(self.filter()?),
            "hash" => Pipe::Hash(self.one_field()?),
            "json_array_len" => Pipe::JsonArrayLen(self.one_field()?),
            "len" => Pipe::Len(self.one_field()?),
            "limit" | "head" if self.at_pipe_end() => Pipe::Limit(10),
            "limit" | "head" => Pipe::Limit(self.count("a number of records")?),
            "offset" | "skip" => Pipe::Offset(self.count("a number of records")?),
            "sample" => Pipe::Sample(self.positive("a number of records")?),
            "math" | "eval" => Pipe::Math(self.comma_separated(Self::math_entry)?),
            "stats" => Pipe::Stats(self.stats()?),
            "first" | "last" | "sort" | "order" | "top" | "uniq" | "facets" | "field_values"
            | "stream_context" => self.ordering_pipe(name)?,
            "copy" | "cp" | "rename" | "mv" | "join" | "union" | "unroll" | "pack_json"
            | "pack_logfmt" => self.set_pipe(name)?,
            _ => self.text_pipe(name, at)?,
        })
    }

    /// `stats` and `filter` without their names.
    fn unnamed_pipe(&mut self) -> Result<Pipe> {
        if self.stats_ahead() {
            return Ok(Pipe::Stats(self.stats()?));
        }
        let at = self.at;
        let word = self.raw();
        let alone = self.token().kind == Kind::Word && !self.is_at(at + 1, ":");
        let near = if alone {
            nearest(word, PIPES.into_iter().chain(StatsFunction::NAMES))
        } else {
            None
        };
        // A slip of one letter would be searched for as a word and silently find nothing.
        let slip = near
            .filter(|name| word.len() > 3 && strsim::osa_distance(&word.to_lowercase(), name) == 1);
        let filter = if slip.is_some() {
            None
        } else {
            Some(self.filter())
        };
        match (filter, near) {
            (Some(Ok(filter)), _) => Ok(Pipe::Filter(filter)),
            (_, Some(name)) => Err(self
                .error_at(at, format!("there is no pipe `{word}`"))
                .with_hint(format!(
                    "did you mean `{name}`? To search for the word, write `filter {word}`"
                ))),
            (Some(Err(error)), None) if alone && error.offset > self.token_at(at).start => {
                Err(if self.is_at(at + 1, "(") {
                    did_you_mean(
                        self.error_at(at, format!("there is no pipe `{word}`")),
                        word,
                        PIPES,
                    )
                } else {
                    error
                })
            }
            (Some(Err(error)), None) => Err(error),
            (None, None) => unreachable!("without a filter there is a name that is near"),
        }
    }

    // --- parts that several pipes have ---

    /// `if (…)`, if it is there.
    pub(super) fn condition(&mut self) -> Result<Option<Filter>> {
        if !(self.is("if") && self.is_at(self.at + 1, "(")) {
            return Ok(None);
        }
        self.advance();
        self.advance();
        if self.accept(")") {
            return Ok(Some(Filter::All));
        }
        let filter = self.nested(Self::filter)?;
        self.expect(")", "after the condition")?;
        Ok(Some(filter))
    }

    /// The name of a field after `keyword`, which may be missing with it.
    pub(super) fn field_after(&mut self, keyword: &str) -> Result<String> {
        if self.accept(keyword) {
            self.field_name()
        } else {
            Ok("_msg".to_owned())
        }
    }

    /// The name of a field, or nothing for `_msg`.
    fn field_or_message(&mut self) -> Result<String> {
        if self.at_pipe_end() {
            Ok("_msg".to_owned())
        } else {
            self.field_name()
        }
    }

    /// `field` or `(field)`.
    pub(super) fn field_maybe_in_parentheses(&mut self) -> Result<String> {
        let parenthesis = self.accept("(");
        let field = self.field_name()?;
        if parenthesis {
            self.expect(")", "after the name of the field")?;
        }
        Ok(field)
    }

    /// `(field) as result`.
    fn one_field(&mut self) -> Result<OneField> {
        let field = self.field_maybe_in_parentheses()?;
        let named = self.accept("as");
        let result_field = if named {
            self.field_name()?
        } else {
            self.field_or_message()?
        };
        Ok(OneField {
            field,
            result_field,
        })
    }

    /// `(a, b)` or `a, b`: names of fields, one at least.
    pub(super) fn field_names(&mut self) -> Result<Vec<String>> {
        let at = self.at;
        let names = if self.is("(") {
            self.in_parentheses(Self::field_name)?
        } else {
            self.comma_separated(Self::field_name)?
        };
        if names.is_empty() {
            return Err(self.error_at(at, "the name of a field is missing"));
        }
        Ok(names)
    }

    /// `(a, b*)`: patterns; none means all.
    pub(super) fn field_patterns(&mut self) -> Result<Vec<FieldPattern>> {
        let patterns = self.in_parentheses(Self::field_pattern)?;
        Ok(all_if_none(patterns))
    }

    /// `keep_original_fields` or `skip_empty_results`.
    pub(super) fn policy(&mut self) -> ResultPolicy {
        if self.accept("keep_original_fields") {
            ResultPolicy::KeepOriginalFields
        } else if self.accept("skip_empty_results") {
            ResultPolicy::SkipEmptyResults
        } else {
            ResultPolicy::Overwrite
        }
    }

    /// `limit N`, if it is there.
    pub(super) fn limit(&mut self) -> Result<Option<u64>> {
        if self.accept("limit") {
            self.count("a limit").map(Some)
        } else {
            Ok(None)
        }
    }

    /// A text, in quotes or as one piece.
    pub(super) fn value(&mut self, what: &str) -> Result<String> {
        self.text_until(VALUE_STOPS, what)
    }
}

/// No patterns mean all fields, and so does `*` beside others.
pub(super) fn all_if_none(patterns: Vec<FieldPattern>) -> Vec<FieldPattern> {
    if patterns.is_empty() || patterns.iter().any(FieldPattern::is_all) {
        vec![FieldPattern::all()]
    } else {
        patterns
    }
}
