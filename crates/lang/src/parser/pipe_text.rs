//! Pipes that take texts apart and make new ones.

use super::{Parser, Result};
use crate::ast::{
    CollapseNums, Extract, ExtractRegexp, FieldPattern, Format, Pipe, Replace, ReplaceRegexp,
    Unpack, UnpackSyslog, UnpackWords,
};

/// What may follow the name of the field in `unpack_…`, so that it is no name of a field itself.
const UNPACK_OPTIONS: [&str; 5] = [
    "fields",
    "offset",
    "result_prefix",
    "keep_original_fields",
    "skip_empty_results",
];

impl Parser<'_> {
    /// The pipe `name`, after its name, which is token `at`.
    pub(super) fn text_pipe(&mut self, name: &str, at: usize) -> Result<Pipe> {
        Ok(match name {
            "collapse_nums" => Pipe::CollapseNums(CollapseNums {
                condition: self.condition()?,
                field: self.field_after("at")?,
                prettify: self.accept("prettify"),
            }),
            "extract" => Pipe::Extract(Extract {
                condition: self.condition()?,
                pattern: self.extract_pattern()?,
                from: self.field_after("from")?,
                policy: self.policy(),
            }),
            "extract_regexp" => Pipe::ExtractRegexp(ExtractRegexp {
                condition: self.condition()?,
                regexp: self.regexp_with_names()?,
                from: self.field_after("from")?,
                policy: self.policy(),
            }),
            "format" => Pipe::Format(Format {
                condition: self.condition()?,
                pattern: self.value("a format")?,
                result_field: self.field_after("as")?,
                policy: self.policy(),
            }),
            "replace" => Pipe::Replace(self.replace()?),
            "replace_regexp" => Pipe::ReplaceRegexp(self.replace_regexp()?),
            "unpack_json" => Pipe::UnpackJson(self.unpack()?),
            "unpack_logfmt" => Pipe::UnpackLogfmt(self.unpack()?),
            "unpack_syslog" => Pipe::UnpackSyslog(self.unpack_syslog()?),
            "unpack_words" => Pipe::UnpackWords(self.unpack_words()?),
            _ => return Err(self.error_at(at, format!("there is no pipe `{name}`"))),
        })
    }

    /// A pattern with a field at least.
    fn extract_pattern(&mut self) -> Result<String> {
        let at = self.at;
        let pattern = self.value("a pattern")?;
        if !pattern.contains('<') {
            return Err(self
                .error_at(at, "the pattern names no field")
                .with_hint("fields stand in angle brackets, as in \"ip=<ip> \""));
        }
        Ok(pattern)
    }

    /// A regular expression with a named group at least.
    fn regexp_with_names(&mut self) -> Result<String> {
        let at = self.at;
        let text = self.value("a regular expression")?;
        let regexp = self.check_regexp(at, &text)?;
        if regexp.capture_names().flatten().next().is_none() {
            return Err(self
                .error_at(at, "the regular expression has no named group")
                .with_hint("groups are named as in \"ip=(?P<ip>[0-9.]+)\""));
        }
        Ok(text)
    }

    fn replace(&mut self) -> Result<Replace> {
        let condition = self.condition()?;
        let (_, old, new) = self.replacement("the text that is replaced")?;
        Ok(Replace {
            condition,
            old,
            new,
            field: self.field_after("at")?,
            limit: self.limit()?.filter(|limit| *limit > 0),
        })
    }

    fn replace_regexp(&mut self) -> Result<ReplaceRegexp> {
        let condition = self.condition()?;
        let (at, regexp, replacement) = self.replacement("the regular expression")?;
        self.check_regexp(at, &regexp)?;
        Ok(ReplaceRegexp {
            condition,
            regexp,
            replacement,
            field: self.field_after("at")?,
            limit: self.limit()?.filter(|limit| *limit > 0),
        })
    }

    /// `("old", "new")`, and which token begins `old`.
    fn replacement(&mut self, what: &str) -> Result<(usize, String, String)> {
        self.expect("(", "here, as in replace (\"old\", \"new\")")?;
        let at = self.at;
        let old = self.value(what)?;
        self.expect(",", &format!("after {what}"))?;
        let new = self.value("the replacement")?;
        self.expect(")", "after the replacement")?;
        Ok((at, old, new))
    }

    /// `from field`, `field`, or nothing for `_msg`.
    fn unpacked_field(&mut self) -> Result<String> {
        if self.at_pipe_end() || self.is_any(&UNPACK_OPTIONS) {
            return Ok("_msg".to_owned());
        }
        self.accept("from");
        self.field_name()
    }

    fn result_prefix(&mut self) -> Result<String> {
        if self.accept("result_prefix") {
            self.value("a prefix")
        } else {
            Ok(String::new())
        }
    }

    fn unpack(&mut self) -> Result<Unpack> {
        let condition = self.condition()?;
        let from = self.unpacked_field()?;
        let fields = if self.accept("fields") {
            self.field_patterns()?
        } else {
            vec![FieldPattern::all()]
        };
        Ok(Unpack {
            condition,
            from,
            fields,
            result_prefix: self.result_prefix()?,
            policy: self.policy(),
        })
    }

    fn unpack_syslog(&mut self) -> Result<UnpackSyslog> {
        let condition = self.condition()?;
        let from = self.unpacked_field()?;
        let offset = if self.accept("offset") {
            Some(self.duration("the offset")?)
        } else {
            None
        };
        Ok(UnpackSyslog {
            condition,
            from,
            offset,
            result_prefix: self.result_prefix()?,
            keep_original_fields: self.accept("keep_original_fields"),
        })
    }

    fn unpack_words(&mut self) -> Result<UnpackWords> {
        let from = if self.at_pipe_end() || self.is_any(&["as", "drop_duplicates"]) {
            "_msg".to_owned()
        } else {
            self.accept("from");
            self.field_name()?
        };
        let named = self.accept("as");
        let result_field = if named || !(self.at_pipe_end() || self.is("drop_duplicates")) {
            self.field_name()?
        } else {
            from.clone()
        };
        Ok(UnpackWords {
            from,
            result_field,
            drop_duplicates: self.accept("drop_duplicates"),
        })
    }
}
