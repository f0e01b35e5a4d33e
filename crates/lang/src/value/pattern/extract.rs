//! `extract`: takes values out of a text.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::{Part, PatternError, parse_parts};
use crate::value::quoted::unquote_prefix;

/// What `extract` looks for.
#[derive(Clone, Debug)]
pub struct ExtractPattern {
    /// Where matching begins: after this text.
    start: Finder<'static>,
    steps: Vec<Step>,
    fields: Vec<String>,
}

/// A placeholder, and the text that ends it.
#[derive(Clone, Debug)]
struct Step {
    /// Place in the fields; `None` for the anonymous.
    field: Option<usize>,
    /// Whether a quoted string is taken as it stands.
    is_plain: bool,
    /// `None` for all that is left.
    end: Option<Finder<'static>>,
}

impl ExtractPattern {
    /// What may stand before a name.
    const OPTIONS: &'static [&'static str] = &["plain"];

    /// From `text1<field1>text2…`.
    ///
    /// # Errors
    ///
    /// See [`PatternError`].
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let parts = parse_parts(pattern)?;
        for pair in parts.windows(2) {
            if pair[1].text.is_empty() {
                let [first, second] = [&pair[0], &pair[1]].map(|part| part.written.clone());
                return Err(PatternError::Adjacent(first, second));
            }
        }
        let finder = |part: &Part| Finder::new(&part.text).into_owned();
        let mut fields = Vec::new();
        let mut steps = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let is_tail = part.written.is_empty() && index > 0 && index + 1 == parts.len();
            if is_tail {
                continue;
            }
            let option = part.field.as_ref().map_or("", |(option, _)| option);
            if !option.is_empty() && !Self::OPTIONS.contains(&option) {
                return Err(PatternError::UnknownOption(
                    option.to_owned(),
                    Self::OPTIONS,
                ));
            }
            let field = part.field.as_ref().map(|(_, name)| {
                fields.push(name.clone());
                fields.len() - 1
            });
            steps.push(Step {
                field,
                is_plain: option == "plain",
                end: parts.get(index + 1).map(finder),
            });
        }
        if fields.is_empty() {
            return Err(PatternError::NoField);
        }
        let start = finder(&parts[0]);
        Ok(Self {
            start,
            steps,
            fields,
        })
    }

    /// Names of the fields, in the order of the pattern.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Tells the place in [`Self::fields`] and the value of every field that is found; the others have no value.
    pub fn extract<'a>(&self, text: &'a str, mut found: impl FnMut(usize, Cow<'a, str>)) {
        let Some(at) = self.start.find(text.as_bytes()) else {
            return;
        };
        let mut rest = &text[at + self.start.needle().len()..];
        for step in &self.steps {
            let quoted = if step.is_plain {
                None
            } else {
                unquote_prefix(rest)
            };
            let (value, length) = match (&quoted, &step.end) {
                (Some((value, length)), _) => (value.clone(), *length),
                (None, None) => (Cow::Borrowed(rest), rest.len()),
                (None, Some(end)) => match end.find(rest.as_bytes()) {
                    Some(length) => (Cow::Borrowed(&rest[..length]), length),
                    None => return,
                },
            };
            if let Some(field) = step.field {
                found(field, value);
            }
            // After a quoted string comes the text at once.
            let end = step.end.as_ref().map_or(&b""[..], Finder::needle);
            if !rest.as_bytes()[length..].starts_with(end) {
                return;
            }
            rest = &rest[length + end.len()..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(pattern: &str, text: &str) -> Vec<String> {
        let pattern = ExtractPattern::parse(pattern).unwrap();
        let mut values = vec![String::new(); pattern.fields().len()];
        pattern.extract(text, |field, value| values[field] = value.into_owned());
        pattern
            .fields()
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn values_are_extracted() {
        let line = r#"1.2.3.4 GET /foo/bar?baz 404 "Mozilla  foo bar baz" some tail here"#;
        for (pattern, text, expected) in [
            (
                r#"<ip> <_> <path> <_> "<user_agent>""#,
                line,
                &[
                    "ip=1.2.3.4",
                    "path=/foo/bar?baz",
                    "user_agent=Mozilla  foo bar baz",
                ][..],
            ),
            (
                "<ip> <_> <path> <_> <user_agent>",
                line,
                &[
                    "ip=1.2.3.4",
                    "path=/foo/bar?baz",
                    "user_agent=Mozilla  foo bar baz",
                ],
            ),
            (
                "ip=<ip> ",
                "error ip=1.2.3.4 from user_id=42",
                &["ip=1.2.3.4"],
            ),
            ("ip=<ip> ", "error ip=1.2.3.4", &["ip="]),
            ("ip=<ip> ", "nothing", &["ip="]),
            ("<left> &lt; <right>", "a < b", &["left=a", "right=b"]),
            (
                r#""message":<msg>"#,
                r#"{"message":"say \"hi\"\n","x":1}"#,
                &["msg=say \"hi\"\n"],
            ),
            ("a: <plain:list>", r#"a: ["x","y"]"#, &[r#"list=["x","y"]"#]),
            ("<plain:q> ", r#""a b" c"#, &["q=\"a"]),
            ("<a>,<b>;<c>", "1,2", &["a=1", "b=", "c="]),
            ("<a> <b>!", "\"x y\"z w!", &["a=x y", "b="]),
            ("<whole>", "all of it", &["whole=all of it"]),
            ("x<a>y<a>z", "x1y2z", &["a=1", "a=2"]),
        ] {
            assert_eq!(extract(pattern, text), expected, "{pattern}");
        }
    }
}
