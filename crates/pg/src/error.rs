//! Errors as clients of PostgreSQL know them: a severity, and a code of five characters (SQLSTATE).

use logmill_query_api::Error;
use logmill_server::PublicError;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct PgError {
    /// The connection ends with it.
    pub(crate) fatal: bool,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub(crate) position: Option<usize>,
}

pub(crate) type Result<T> = std::result::Result<T, PgError>;

impl PgError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            fatal: false,
            code,
            message: message.into(),
            hint: None,
            position: None,
        }
    }

    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, message).into_fatal()
    }

    pub(crate) fn into_fatal(self) -> Self {
        Self {
            fatal: true,
            ..self
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The error of a client that does not keep to the protocol.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new("08P01", message)
    }

    /// A failed question; its place is told where it is known.
    pub(crate) fn of_query(error: Error, sql: &str) -> Self {
        let place = match &error {
            Error::Syntax {
                line,
                column,
                message,
            } => Some((position(sql, *line, *column), message.clone())),
            _ => None,
        };
        let public = Self::from(PublicError::from(error));
        match place {
            Some((position, message)) => Self {
                message: format!("syntax error: {message}"),
                position: Some(position),
                ..public
            },
            None => public,
        }
    }

    pub(crate) fn into_message(self) -> PgWireBackendMessage {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), self.message);
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = self.hint;
        info.position = self.position.map(|position| position.to_string());
        PgWireBackendMessage::ErrorResponse(info.into())
    }
}

impl From<PublicError> for PgError {
    fn from(error: PublicError) -> Self {
        Self::new(sqlstate(error.code), error.message)
    }
}

/// The SQLSTATE of an error of ours.
fn sqlstate(code: &str) -> &'static str {
    match code {
        "syntax_error" => "42601",
        "read_only" => "25006",
        "not_supported" => "0A000",
        "query_timeout" => "57014",
        "resource_exhausted" => "53200",
        "too_many_rows" => "54000",
        "too_many_queries" | "quota_exceeded" => "53400",
        "unauthenticated" => "28P01",
        "too_many_failures" => "28000",
        "forbidden" | "tenant_disabled" => "42501",
        "unknown_tenant" | "invalid_tenant" => "3D000",
        "unavailable" | "disk_full" => "58000",
        "corrupt" => "XX001",
        "internal" => "XX000",
        _ => "42000",
    }
}

/// A line and a column, both from 1, as the number of a character.
fn position(sql: &str, line: u64, column: u64) -> usize {
    let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = sql.split_inclusive('\n').take(before);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    lines.map(|line| line.chars().count()).sum::<usize>() + column
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_character_of_the_whole_statement() {
        assert_eq!(position("SELECT x", 1, 8), 8);
        assert_eq!(position("SELECT ä\nFROM", 2, 3), 12);
    }
}
