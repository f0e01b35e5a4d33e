//! What is wrong with a query, and where.

use std::fmt;

/// A query that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where it goes wrong, in bytes from the beginning of the query.
    pub offset: usize,
    /// The same place: its line, from 1.
    pub line: usize,
    /// The same place: its character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What might help.
    pub hint: Option<String>,
}

impl SyntaxError {
    /// `message` at `offset`, whose line and column are not known yet: finding them takes a walk over the text, which
    /// is not made for errors that nobody gets to see.
    pub(crate) fn unplaced(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            line: 0,
            column: 0,
            message: message.into(),
            hint: None,
        }
    }

    /// With line and column of its offset in `text`.
    pub(crate) fn placed(mut self, text: &str) -> Self {
        self.offset = text.floor_char_boundary(self.offset);
        let before = text.get(..self.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.line = before.matches('\n').count() + 1;
        self.column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        self
    }

    /// With a hint.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} at line {}, column {}",
            self.message, self.line, self.column
        )?;
        match &self.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SyntaxError {}
