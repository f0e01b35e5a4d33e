//! The text of statements, as far as it is looked at here: where one ends and the next begins, and those that are about the
//! session and not about records.

/// What a session does by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `BEGIN`, `START TRANSACTION`.
    Begin(&'static str),
    /// `COMMIT`, `ROLLBACK`, …; nothing was changed, so there is nothing to do.
    End(&'static str),
    /// `SET name = value`; without a value, the default.
    Set(String, Option<String>),
    /// `RESET ALL`, `DISCARD ALL`.
    ResetAll(&'static str),
    /// `SHOW name`.
    Show(String),
    /// `DEALLOCATE name`; without a name, all.
    Deallocate(Option<String>),
    /// What has no effect here, such as `SAVEPOINT`.
    Nothing(&'static str),
}

/// The statements of a text, in order, without those that are empty.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = length(rest);
        let (statement, after) = rest.split_at(end);
        rest = after.strip_prefix(';').unwrap_or(after);
        if !without_comments(statement).is_empty() {
            statements.push(statement.trim());
        }
    }
    statements
}

/// Bytes up to the first semicolon that is no part of a text, a name or a comment.
fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b';' => return at,
            b'\'' => {
                let escapes = at > 0 && matches!(bytes[at - 1], b'e' | b'E');
                quoted(&bytes[at..], b'\'', escapes)
            }
            b'"' => quoted(&bytes[at..], b'"', false),
            b'$' => dollar_quoted(&text[at..]),
            b'-' | b'/' => comment(&text[at..]).max(1),
            _ => 1,
        };
    }
    text.len()
}

/// Bytes of a text in quotes; a doubled quote is part of it.
fn quoted(bytes: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if *byte == b'\\' && escapes {
            at += 1;
        } else if *byte == quote {
            return at;
        }
    }
    bytes.len()
}

/// Bytes of `$tag$ … $tag$`; 1 where it is none.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else {
        return 1;
    };
    let tag = &text[..end + 2];
    let name = &tag[1..=end];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return 1;
    }
    match text[tag.len()..].find(tag) {
        Some(length) => 2 * tag.len() + length,
        None => text.len(),
    }
}

/// Bytes of the comment that a text begins with; 0 where it begins with none.
fn comment(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').map_or(text.len(), |end| end + 1);
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let (bytes, mut depth, mut at) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The text after the blanks and comments that it begins with.
fn without_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        match comment(text) {
            0 => return text.trim_end(),
            length => text = &text[length..],
        }
    }
}

/// The word that a statement begins with, in capitals.
pub(crate) fn first_word(statement: &str) -> String {
    let text = without_comments(statement);
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    text[..end].to_ascii_uppercase()
}

/// The command that a statement is; none where it is for the engine.
pub(crate) fn command(statement: &str) -> Option<Command> {
    let text = without_comments(statement);
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next()?;
    let second = words.next();
    let second = second.as_deref();
    Some(match (first.as_str(), second) {
        ("BEGIN", _) => Command::Begin("BEGIN"),
        ("START", Some("TRANSACTION")) => Command::Begin("START TRANSACTION"),
        ("COMMIT" | "END", _) => Command::End("COMMIT"),
        ("ROLLBACK", Some("TO")) => Command::Nothing("ROLLBACK"),
        ("ROLLBACK" | "ABORT", _) => Command::End("ROLLBACK"),
        ("SAVEPOINT", _) => Command::Nothing("SAVEPOINT"),
        ("RELEASE", _) => Command::Nothing("RELEASE"),
        ("UNLISTEN", _) => Command::Nothing("UNLISTEN"),
        ("CLOSE", Some("ALL")) => Command::Nothing("CLOSE CURSOR ALL"),
        ("DISCARD", _) => Command::ResetAll("DISCARD ALL"),
        ("RESET", Some("ALL")) => Command::ResetAll("RESET"),
        ("RESET", Some(name)) => Command::Set(name.to_lowercase(), None),
        ("SET", Some("TRANSACTION")) => Command::Nothing("SET"),
        ("SET", _) => set(text)?,
        ("SHOW", Some("TABLES" | "COLUMNS" | "DATABASES" | "SCHEMAS" | "FUNCTIONS")) => {
            return None;
        }
        ("SHOW", Some(_)) => Command::Show(name(&text["SHOW".len()..])),
        ("DEALLOCATE", _) => {
            let named = text.split_whitespace().next_back()?.trim_matches('"');
            let all = named.eq_ignore_ascii_case("ALL");
            Command::Deallocate((!all).then(|| named.to_owned()))
        }
        _ => return None,
    })
}

/// `SET [SESSION | LOCAL] name { = | TO } value`; none where it is no such thing.
fn set(text: &str) -> Option<Command> {
    let mut rest = text.get("SET".len()..)?.trim_start();
    for scope in ["SESSION ", "LOCAL "] {
        if rest
            .get(..scope.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(scope))
        {
            rest = rest[scope.len()..].trim_start();
        }
    }
    let upper = rest.to_ascii_uppercase();
    if upper.starts_with("CHARACTERISTICS") {
        return Some(Command::Nothing("SET"));
    }
    let (setting, value) = if upper.starts_with("TIME ZONE") {
        rest.split_at("TIME ZONE".len())
    } else {
        let end = rest.find(|c: char| c.is_whitespace() || c == '=')?;
        let (setting, value) = rest.split_at(end);
        let value = value.trim_start();
        let word = value
            .get(..2)
            .is_some_and(|word| word.eq_ignore_ascii_case("TO"));
        let value = if word {
            &value[2..]
        } else {
            value.strip_prefix('=')?
        };
        (setting, value)
    };
    let value = value.trim();
    let value = match value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
    {
        Some(quoted) => Some(quoted.replace("''", "'")),
        None if value.eq_ignore_ascii_case("DEFAULT") => None,
        None => Some(value.trim_matches('"').to_owned()),
    };
    Some(Command::Set(name(setting), value))
}

/// The name of a setting: `TIME ZONE` and `TRANSACTION ISOLATION LEVEL` are written in words.
fn name(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        other => other.trim_matches('"').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_end() {
        let cases: [(&str, &[&str]); 9] = [
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]),
            (" ;; -- nothing\n;", &[]),
            ("SELECT ';''' ; x", &["SELECT ';'''", "x"]),
            ("SELECT E'\\';' ; x", &["SELECT E'\\';'", "x"]),
            ("SELECT \";\" -- a;b\n, 2", &["SELECT \";\" -- a;b\n, 2"]),
            (
                "SELECT /* ; /* ; */ ; */ 1",
                &["SELECT /* ; /* ; */ ; */ 1"],
            ),
            (
                "SELECT $$;$$, $x$;$$;$x$; y",
                &["SELECT $$;$$, $x$;$$;$x$", "y"],
            ),
            ("SELECT $1; SELECT $2", &["SELECT $1", "SELECT $2"]),
            ("SELECT 'open; x", &["SELECT 'open; x"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn commands_of_a_session_are_known() {
        let set = |name: &str, value: &str| Some(Command::Set(name.into(), Some(value.into())));
        let cases = [
            ("begin read only", Some(Command::Begin("BEGIN"))),
            ("/* driver */ COMMIT", Some(Command::End("COMMIT"))),
            (
                "SET client_encoding TO 'UTF8'",
                set("client_encoding", "UTF8"),
            ),
            ("set Extra_Float_Digits=3", set("extra_float_digits", "3")),
            (
                "SET SESSION statement_timeout = '5s'",
                set("statement_timeout", "5s"),
            ),
            ("SET TIME ZONE 'UTC'", set("timezone", "UTC")),
            ("SET x TO DEFAULT", Some(Command::Set("x".into(), None))),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                Some(Command::Nothing("SET")),
            ),
            ("RESET ALL", Some(Command::ResetAll("RESET"))),
            (
                "SHOW transaction isolation level",
                Some(Command::Show("transaction_isolation".into())),
            ),
            ("SHOW TABLES", None),
            ("DEALLOCATE ALL", Some(Command::Deallocate(None))),
            (
                "DEALLOCATE \"s1\"",
                Some(Command::Deallocate(Some("s1".into()))),
            ),
            ("SELECT 1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(command(text), expected, "{text}");
        }
    }
}
