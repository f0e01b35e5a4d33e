//! logfmt: `level=info msg="two words" attempt=3 ok=true bare`.

use std::borrow::Cow;

use crate::FieldSink;

/// Reads a line of at least `least` pairs and nothing else but bare words that follow a pair.
pub(crate) fn parse<S: FieldSink>(text: &str, least: usize, sink: &mut S) -> Option<()> {
    let pairs = pairs(text)?;
    if pairs.iter().filter(|(_, value)| value.is_some()).count() < least {
        return None;
    }
    let mut seen: Vec<&str> = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        // A key that stands again is kept under a name of its own, so that nothing is lost.
        let times = seen.iter().filter(|other| *other == key).count();
        seen.push(key);
        let name: Cow<'_, str> = if times == 0 {
            Cow::Borrowed(key)
        } else {
            Cow::Owned(format!("{key}_{}", times + 1))
        };
        match value {
            None => sink.attribute_bool(&name, true),
            Some(Value::Quoted(text)) => sink.attribute_str(&name, text),
            Some(Value::Plain(text)) => plain(&name, text, sink),
        }
    }
    Some(())
}

enum Value<'a> {
    Quoted(Cow<'a, str>),
    Plain(&'a str),
}

fn pairs(text: &str) -> Option<Vec<(&str, Option<Value<'_>>)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '$');
        let letter = key.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@' | '$'));
        if !letter || !key.chars().all(good) {
            return None;
        }
        let Some(after) = after.strip_prefix('=') else {
            // A line of prose begins with a bare word.
            if pairs.is_empty() {
                return None;
            }
            pairs.push((key, None));
            rest = after.trim_start();
            continue;
        };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted_value(quoted)?;
                (Value::Quoted(value), after)
            }
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                if value.contains(['"', '=']) && value.contains('"') {
                    return None;
                }
                (Value::Plain(value), after)
            }
        };
        if !after.is_empty() && !after.starts_with(' ') {
            return None;
        }
        pairs.push((key, Some(value)));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// The value up to its closing quote, and what follows.
fn quoted_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut unescaped = String::new();
    let mut from = 0;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let value = if unescaped.is_empty() {
                    Cow::Borrowed(&text[from..at])
                } else {
                    Cow::Owned(unescaped + &text[from..at])
                };
                return Some((value, &text[at + 1..]));
            }
            '\\' => {
                let (escaped_at, escaped) = characters.next()?;
                unescaped.push_str(&text[from..at]);
                match escaped {
                    'n' => unescaped.push('\n'),
                    't' => unescaped.push('\t'),
                    'r' => unescaped.push('\r'),
                    '"' | '\\' | '/' => unescaped.push(escaped),
                    other => unescaped.extend(['\\', other]),
                }
                from = escaped_at + escaped.len_utf8();
            }
            _ => {}
        }
    }
    None
}

fn plain<S: FieldSink>(name: &str, text: &str, sink: &mut S) {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if let (true, Ok(number)) = (numeric, text.parse::<i64>())
        && number.to_string() == text
    {
        sink.attribute_i64(name, number);
    } else if let (true, Ok(number)) = (numeric, text.parse::<f64>())
        && number.is_finite()
        && text.contains('.')
    {
        sink.attribute_f64(name, number);
    } else {
        match text {
            "true" => sink.attribute_bool(name, true),
            "false" => sink.attribute_bool(name, false),
            _ => sink.attribute_str(name, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::text::TextFormat;
    use crate::text::testing::{check, fields};

    #[test]
    fn pairs_have_types() {
        check(
            r#"level=info ts=2026-11-20T10:00:01Z msg="two \"words\"\n" n=3 id=007 f=1.5 ok=true empty= bare n=4"#,
            json!({"level": "info", "ts": "2026-11-20T10:00:01Z", "msg": "two \"words\"\n", "n": 3, "id": "007",
                   "f": 1.5, "ok": true, "empty": "", "bare": true, "n_2": 4}),
        );
        assert_eq!(fields("a=1", TextFormat::Logfmt), Some(json!({"a": 1})));
    }

    #[test]
    fn prose_with_an_equals_sign_is_not_logfmt() {
        for text in [
            "x = 1 and y = 2",
            "the answer=42 is=wrong",
            "a=\"open b=1",
            "=1 b=2",
            "1=2 3=4",
        ] {
            check(text, json!({"message": text}));
        }
    }
}
