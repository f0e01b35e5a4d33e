//! DataFusion's errors in the words of the query API.

use datafusion::common::{DataFusionError, SchemaError};
use logmill_model::ErrorKind;
use logmill_query_api::Error;

/// More of something than a query may have, other than memory.
#[derive(Debug)]
pub(crate) struct TooMuch(pub(crate) String);

impl std::fmt::Display for TooMuch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TooMuch {}

impl From<TooMuch> for DataFusionError {
    fn from(too_much: TooMuch) -> Self {
        Self::External(Box::new(too_much))
    }
}

/// What only a fault of ours can bring about.
pub(crate) fn internal(problem: &str) -> DataFusionError {
    DataFusionError::Internal(problem.to_owned())
}

/// Translates an error of planning or running a query.
pub(crate) fn translate(error: &DataFusionError, memory_limit: u64) -> Error {
    let root = error.find_root();
    if let Some(error) = regex_error(&root.to_string()) {
        return error;
    }
    match root {
        DataFusionError::SQL(parser, _) => syntax(&parser.to_string()),
        DataFusionError::ResourcesExhausted(message) => Error::ResourceExhausted(format!(
            "the query needs more memory than its limit of {memory_limit} bytes (query.memory_max_bytes): {}",
            first_line(message)
        )),
        DataFusionError::External(error) if error.is::<TooMuch>() => {
            Error::ResourceExhausted(error.to_string())
        }
        DataFusionError::SchemaError(schema, _) => schema_error(schema, root),
        DataFusionError::Plan(message) if message.contains("recursion limit") => Error::Syntax {
            line: 1,
            column: 1,
            message: "the statement is nested too deeply".to_owned(),
        },
        DataFusionError::Plan(message) => plan_error(message),
        DataFusionError::NotImplemented(message) => Error::Unsupported(first_line(message)),
        DataFusionError::Execution(message) => Error::Invalid {
            code: "invalid_query",
            message: first_line(message),
        },
        DataFusionError::ArrowError(error, _) => Error::Invalid {
            code: "invalid_query",
            message: first_line(&error.to_string()),
        },
        DataFusionError::External(error) if error.is::<logmill_store::Error>() => {
            let error = error.downcast_ref::<logmill_store::Error>();
            Error::Engine {
                kind: error.map_or(ErrorKind::Internal, logmill_store::Error::kind),
                message: format!("reading the table: {root}"),
            }
        }
        DataFusionError::ObjectStore(error) => Error::Engine {
            kind: ErrorKind::Unavailable,
            message: format!("reading a segment: {error}"),
        },
        DataFusionError::ParquetError(error) => Error::Engine {
            kind: ErrorKind::Corrupt,
            message: format!("reading a segment: {error}"),
        },
        other => Error::Engine {
            kind: ErrorKind::Internal,
            message: other.to_string(),
        },
    }
}

/// What is wrong with a regular expression. The engine says it as a fault of its own, in several ways, with the words of
/// `regex`: that the expression is too large, or a drawing of where it is none.
fn regex_error(text: &str) -> Option<Error> {
    let too_big = ["CompiledTooBig(", "Compiled regex exceeds size limit of "];
    let too_big = too_big.iter().find_map(|mark| text.split_once(mark));
    if let Some((_, rest)) = too_big {
        let limit: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Some(Error::ResourceExhausted(format!(
            "a regular expression needs more than {limit} bytes once it is compiled"
        )));
    }
    let (_, drawing) = text.split_once("regex parse error:\n")?;
    let mut lines = drawing.lines();
    let (pattern, mark) = (lines.next()?, lines.next()?);
    let what = lines.find_map(|line| line.strip_prefix("error: "))?;
    // Both lines are indented by the same four characters; those of an expression of several lines have numbers.
    let place = match (pattern.strip_prefix("    "), mark.find('^')) {
        (Some(pattern), Some(at)) if at >= 4 => {
            format!(", at character {} of {pattern}", at - 3)
        }
        _ => String::new(),
    };
    Some(Error::Invalid {
        code: "invalid_query",
        message: format!("this is no regular expression: {what}{place}"),
    })
}

/// A parser's message has the position in its text: `… at Line: 2, Column: 17`.
fn syntax(message: &str) -> Error {
    let number = |name: &str| {
        let (_, rest) = message.rsplit_once(name)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let position = (number("Line: "), number("Column: "));
    let text = message.split(" at Line: ").next().unwrap_or(message);
    let text = text.trim_start_matches("sql parser error: ");
    if text.contains("recursion limit") {
        let message = "the statement is nested too deeply".to_owned();
        return Error::Syntax {
            line: 1,
            column: 1,
            message,
        };
    }
    Error::Syntax {
        line: position.0.unwrap_or(1),
        column: position.1.unwrap_or(1),
        message: first_line(text),
    }
}

fn schema_error(error: &SchemaError, root: &DataFusionError) -> Error {
    let message = match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let name = &field.name;
            let mut names: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
            names.sort_by_key(|other| distance(name, other));
            let near: Vec<String> = names.iter().take(3).map(|name| quoted(name)).collect();
            format!(
                "there is no column {}; did you mean {}?",
                quoted(name),
                near.join(", ")
            )
        }
        _ => strip_prefixes(&root.to_string()),
    };
    Error::Invalid {
        code: "invalid_query",
        message,
    }
}

fn plan_error(message: &str) -> Error {
    if message.starts_with("table '") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        let name = name.trim_start_matches("logmill.public.");
        let message = format!("there is no table {name:?}: the only table is logs");
        return Error::Invalid {
            code: "invalid_query",
            message,
        };
    }
    for not_allowed in [
        "DDL not supported",
        "DML not supported",
        "Statement not supported",
    ] {
        if message.starts_with(not_allowed) {
            return Error::Forbidden(
                "only questions are answered here: SELECT, EXPLAIN, SHOW COLUMNS".to_owned(),
            );
        }
    }
    Error::Invalid {
        code: "invalid_query",
        message: first_line(message),
    }
}

/// A name as SQL needs it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

/// Edits between two names (Levenshtein), to suggest the nearest.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let edited = (diagonal + usize::from(a != *b))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], edited);
        }
    }
    row[other.len()]
}

fn strip_prefixes(message: &str) -> String {
    let message = message.trim_start_matches("Schema error: ");
    first_line(message.trim_start_matches("Error during planning: "))
}

fn first_line(message: &str) -> String {
    message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_taken_from_the_parsers_text() {
        let error = syntax(
            "sql parser error: Expected: an expression, found: WHERE at Line: 2, Column: 17",
        );
        match error {
            Error::Syntax {
                line,
                column,
                message,
            } => {
                assert_eq!((line, column), (2, 17));
                assert_eq!(message, "Expected: an expression, found: WHERE");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_nearest_name_is_nearest() {
        assert_eq!(distance("servce", "service"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
