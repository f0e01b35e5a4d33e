//! logfmt: `name=value other="quoted value"`.

use std::borrow::Cow;

use super::json::write_string;
use super::quoted::unquote_prefix;

/// The fields of a line, in order. Names without a value have the empty one; after a quoted value that no blank
/// follows, the rest of the line is left out.
pub fn parse(line: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (name, tail) = match rest.find(['=', ' ']) {
            Some(at) if rest.as_bytes()[at] == b'=' => (&rest[..at], &rest[at + 1..]),
            Some(at) => {
                push(&rest[..at], Cow::Borrowed(""), &mut fields);
                rest = &rest[at + 1..];
                continue;
            }
            None => (rest, ""),
        };
        if let Some((value, length)) = unquote_prefix(tail) {
            push(name, value, &mut fields);
            match tail[length..].strip_prefix(' ') {
                Some(after) => rest = after,
                None => break,
            }
        } else {
            let (value, after) = tail.split_once(' ').unwrap_or((tail, ""));
            push(name, Cow::Borrowed(value), &mut fields);
            rest = after;
        }
    }
    fields
}

fn push<'a>(name: &'a str, value: Cow<'a, str>, fields: &mut Vec<(&'a str, Cow<'a, str>)>) {
    let name = name.trim();
    if !name.is_empty() || !value.is_empty() {
        fields.push((name, value));
    }
}

/// Appends the fields that have a value, as a line that [`parse`] reads back.
pub fn write<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut String) {
    let mut separator = "";
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        out.push_str(separator);
        out.push_str(name);
        out.push('=');
        let needs_quotes =
            |character: char| character <= ' ' || matches!(character, '"' | '`' | '\\');
        if value.contains(needs_quotes) {
            write_string(value, out);
        } else {
            out.push_str(value);
        }
        separator = " ";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(line: &str) -> Vec<(&str, String)> {
        let owned = |(name, value): (_, Cow<'_, str>)| (name, value.into_owned());
        parse(line).into_iter().map(owned).collect()
    }

    fn pairs<'a>(expected: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
        expected
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn lines_are_taken_apart() {
        for (line, expected) in [
            ("a=1 b=two", &[("a", "1"), ("b", "two")][..]),
            (
                r#"msg="hello \"you\"" x=y=z"#,
                &[("msg", "hello \"you\""), ("x", "y=z")],
            ),
            (
                "flag  a= b=`raw \\n`",
                &[("flag", ""), ("a", ""), ("b", "raw \\n")],
            ),
            (r#"a="x"y b=2"#, &[("a", "x")]),
            (r#"a="open b=2"#, &[("a", "\"open"), ("b", "2")]),
            ("=v", &[("", "v")]),
            ("", &[]),
            ("a=", &[("a", "")]),
        ] {
            assert_eq!(fields(line), pairs(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn written_lines_are_read_back(values in prop::collection::vec("\\PC{1,8}|[ \"`\\\\=\n]{1,4}", 0..5)) {
            let names = ["a", "b.c", "d_e", "f", "g"];
            let written: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
            let mut line = String::new();
            write(written.iter().copied(), &mut line);
            prop_assert_eq!(fields(&line), pairs(&written));
        }

        #[test]
        fn no_line_is_too_strange(line in "[a= \"`\\\\é]{0,16}") {
            let _ = parse(&line);
        }
    }
}
