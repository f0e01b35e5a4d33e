//! Patterns with placeholders: `text<field>text`, of which `extract` takes values and into which `format` puts them.

mod extract;
mod format;

pub use extract::ExtractPattern;
pub use format::FormatPattern;

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A placeholder has no end.
    #[error("missing '>' after '<{0}'")]
    Unclosed(String),
    /// Where the first of two placeholders ends cannot be told.
    #[error("missing text between '<{0}>' and '<{1}>'")]
    Adjacent(String, String),
    /// Nothing would be extracted.
    #[error("no named field such as '<name>' in the pattern")]
    NoField,
    /// A placeholder stands for one field.
    #[error("'<{0}>' is no single field")]
    Wildcard(String),
    /// Nothing of this name is done to a value.
    #[error("unknown option {0:?}; known are {known}", known = Self::known(*.1))]
    UnknownOption(String, &'static [&'static str]),
}

impl PatternError {
    fn known(options: &[&str]) -> String {
        options.join(", ")
    }
}

/// A part of a pattern: text, and the placeholder after it.
struct Part {
    text: String,
    /// Option and name; `None` at the end, and for the anonymous `<_>`.
    field: Option<(String, String)>,
    /// As it stands between `<` and `>`.
    written: String,
}

/// Splits a pattern. HTML entities in its texts stand for their characters, so that `&lt;` is a `<`.
fn parse_parts(pattern: &str) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some((text, after)) = rest.split_once('<') {
        let Some((written, tail)) = after.split_once('>') else {
            return Err(PatternError::Unclosed(after.to_owned()));
        };
        let (option, name) = written.split_once(':').unwrap_or(("", written));
        let (option, name) = (option.trim(), name.trim());
        if name.ends_with('*') && name != "*" {
            return Err(PatternError::Wildcard(written.to_owned()));
        }
        let is_named = !matches!(name, "" | "_" | "*");
        parts.push(Part {
            text: unescape_html(text),
            field: is_named.then(|| (option.to_owned(), name.to_owned())),
            written: written.to_owned(),
        });
        rest = tail;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part {
            text: unescape_html(rest),
            field: None,
            written: String::new(),
        });
    }
    Ok(parts)
}

/// The characters that the five predefined and the numeric entities stand for.
fn unescape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest[1..].split_once(';').map_or("", |(entity, _)| entity);
        let character =
            match entity {
                "lt" => Some('<'),
                "gt" => Some('>'),
                "amp" => Some('&'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => entity.strip_prefix('#').and_then(|number| {
                    match number.strip_prefix(['x', 'X']) {
                        Some(digits) => char::from_u32(u32::from_str_radix(digits, 16).ok()?),
                        None => char::from_u32(number.parse().ok()?),
                    }
                }),
            };
        let length = match character {
            Some(character) => {
                out.push(character);
                entity.len() + 2
            }
            None => {
                out.push('&');
                1
            }
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        let extract = |pattern| ExtractPattern::parse(pattern).unwrap_err();
        assert_eq!(extract("a<b"), PatternError::Unclosed("b".into()));
        assert_eq!(
            extract("<a><b>"),
            PatternError::Adjacent("a".into(), "b".into())
        );
        assert_eq!(extract("a<_>b"), PatternError::NoField);
        assert_eq!(extract(""), PatternError::NoField);
        assert_eq!(extract("<a*>"), PatternError::Wildcard("a*".into()));
        assert_eq!(
            extract("<q:a>").to_string(),
            "unknown option \"q\"; known are plain"
        );
        assert!(
            FormatPattern::parse("<upper:a>")
                .unwrap_err()
                .to_string()
                .contains("uc")
        );
        assert!(FormatPattern::parse("<a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_in_is_extracted(values in prop::array::uniform2("[a-z0-9.]{0,5}")) {
            let pattern = "<a> - <b>;";
            let format = FormatPattern::parse(pattern).unwrap();
            let mut text = String::new();
            format.write(|field| &values[field], &mut text);
            let mut extracted = [const { String::new() }; 2];
            ExtractPattern::parse(pattern).unwrap().extract(&text, |field, value| extracted[field] = value.into_owned());
            prop_assert_eq!(extracted, values);
        }

        #[test]
        fn no_pattern_is_too_strange(pattern in "[<>a_:*&;\"é]{0,12}", text in "[a\"`é]{0,8}") {
            if let Ok(pattern) = ExtractPattern::parse(&pattern) {
                pattern.extract(&text, |field, _| assert!(field < pattern.fields().len()));
            }
            let _ = FormatPattern::parse(&pattern);
        }
    }
}
