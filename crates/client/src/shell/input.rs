//! A line while it is typed: completion, and whether it is complete.

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};
use std::borrow::Cow;
use std::sync::PoisonError;

use logmill_lang::PIPES;

use super::FieldNames;

/// What questions are asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    LogsQl,
    Sql,
}

impl Language {
    pub(crate) const fn prompt(self) -> &'static str {
        match self {
            Self::LogsQl => "logsql> ",
            Self::Sql => "sql> ",
        }
    }
}

const COMMANDS: &[&str] = &[
    "\\sql", "\\logsql", "\\tail", "\\fields", "\\since", "\\help", "\\q",
];

/// Names of LogsQL's statistics and filters.
const FUNCTIONS: &[&str] = &[
    "avg",
    "contains_all",
    "contains_any",
    "count",
    "count_empty",
    "count_uniq",
    "count_uniq_hash",
    "eq_field",
    "equals_common_case",
    "exact",
    "histogram",
    "i",
    "in",
    "ipv4_range",
    "json_values",
    "le_field",
    "len_range",
    "lt_field",
    "max",
    "median",
    "min",
    "quantile",
    "range",
    "rate",
    "rate_sum",
    "re",
    "row_any",
    "row_max",
    "row_min",
    "string_range",
    "sum",
    "sum_len",
    "uniq_values",
    "value_type",
];

const SQL_WORDS: &[&str] = &[
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXPLAIN",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERVAL",
    "IS",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OR",
    "ORDER",
    "SELECT",
    "THEN",
    "WHEN",
    "WHERE",
    "WITH",
    "approx_percentile_cont",
    "avg",
    "count",
    "date_bin",
    "has_phrase",
    "has_token",
    "json_get",
    "json_get_float",
    "json_get_int",
    "json_get_text",
    "logs",
    "matches",
    "max",
    "min",
    "sum",
];

/// What helps while a line is typed.
pub(crate) struct Input {
    language: Language,
    fields: FieldNames,
    color: bool,
}

impl Input {
    pub(crate) fn new(language: Language, fields: FieldNames, color: bool) -> Self {
        Self {
            language,
            fields,
            color,
        }
    }

    /// What the word may become that ends where the text ends, and where it begins.
    fn candidates(&self, text: &str) -> (usize, Vec<String>) {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '\\' | '-');
        let begin = text
            .char_indices()
            .rev()
            .take_while(|(_, c)| is_word(*c))
            .last();
        let begin = begin.map_or(text.len(), |(at, _)| at);
        let word = &text[begin..];
        if word.is_empty() {
            return (begin, Vec::new());
        }
        if word.starts_with('\\') {
            let fits = COMMANDS
                .iter()
                .filter(|command| begin == 0 && command.starts_with(word));
            return (begin, fits.map(|command| (*command).to_owned()).collect());
        }
        let fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fits: Vec<String> = fields
            .iter()
            .filter(|name| name.starts_with(word))
            .cloned()
            .collect();
        let words: &[&str] = match self.language {
            Language::Sql => SQL_WORDS,
            Language::LogsQl if text[..begin].trim_end().ends_with('|') => &PIPES,
            Language::LogsQl => FUNCTIONS,
        };
        let lower = word.to_lowercase();
        let known = words
            .iter()
            .filter(|known| known.to_lowercase().starts_with(&lower));
        fits.extend(known.map(|known| (*known).to_owned()));
        (begin, fits)
    }
}

impl Helper for Input {}

impl Hinter for Input {
    type Hint = String;
}

impl Highlighter for Input {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.color {
            Cow::Owned(format!("\u{1b}[1;36m{prompt}\u{1b}[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_char(&self, _line: &str, _position: usize, _kind: CmdKind) -> bool {
        false
    }
}

impl Completer for Input {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> Result<(usize, Vec<Pair>)> {
        let (begin, fits) = self.candidates(&line[..position]);
        let pairs = fits.into_iter().map(|name| Pair {
            display: name.clone(),
            replacement: name,
        });
        Ok((begin, pairs.collect()))
    }
}

impl Validator for Input {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(if is_complete(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether a line is a whole question: no pipe or backslash at its end, no quote or bracket that is open.
fn is_complete(text: &str) -> bool {
    let trimmed = text.trim_end();
    if trimmed.ends_with('|') || (trimmed.len() > 1 && trimmed.ends_with('\\')) {
        return false;
    }
    let mut open = 0_i32;
    let mut quote = None;
    let mut characters = trimmed.chars();
    while let Some(character) = characters.next() {
        match quote {
            Some(_) if character == '\\' => drop(characters.next()),
            Some(mark) if character == mark => quote = None,
            Some(_) => {}
            None => match character {
                '"' | '\'' | '`' => quote = Some(character),
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' => open -= 1,
                _ => {}
            },
        }
    }
    quote.is_none() && open <= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(language: Language, text: &str) -> Vec<String> {
        let fields = FieldNames::default();
        fields
            .lock()
            .unwrap()
            .extend(["host".to_owned(), "http.status".to_owned()]);
        Input::new(language, fields, false).candidates(text).1
    }

    #[test]
    fn names_of_fields_pipes_and_functions_are_completed() {
        assert_eq!(
            fits(Language::LogsQl, "error h"),
            ["host", "http.status", "histogram"]
        );
        assert_eq!(fits(Language::LogsQl, "error http.s"), ["http.status"]);
        assert_eq!(fits(Language::LogsQl, "error | sta"), ["stats"]);
        assert_eq!(fits(Language::Sql, "sel"), ["SELECT"]);
        assert_eq!(fits(Language::Sql, "SELECT json_get_i"), ["json_get_int"]);
        assert_eq!(fits(Language::LogsQl, "\\t"), ["\\tail"]);
        assert_eq!(fits(Language::LogsQl, "error \\t"), Vec::<String>::new());
        assert_eq!(fits(Language::LogsQl, ""), Vec::<String>::new());
    }

    #[test]
    fn a_question_goes_on_until_it_is_whole() {
        for text in ["error |", "error \\", "\"open", "stats by (host", "it's"] {
            assert!(!is_complete(text), "{text}");
        }
        for text in [
            "",
            "error",
            "\"a ( b\"",
            "x:(a or b) | stats count()",
            "\\",
            "a)",
            "'\\''",
        ] {
            assert!(is_complete(text), "{text}");
        }
    }
}
