//! Regular expressions in the syntax of RE2, which LogsQL documents, for the `regex` crate, which matches them in
//! linear time too.
//!
//! The syntaxes are nearly the same. What is not is rewritten: `\Q…\E`, braces that count nothing (`{"a":1}`), and in
//! classes `[` and the doubled signs that are operators here (`&&`, `--`, `~~`).

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

/// How large an expression may be once compiled, in bytes.
const MAX_COMPILED_BYTES: usize = 4 << 20;

/// Why an expression is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RegexpError(String);

/// Compiles an expression that may match anywhere in a text.
///
/// # Errors
///
/// When it is none, or it is too large.
pub fn compile(expression: &str) -> Result<Regex, RegexpError> {
    RegexBuilder::new(&translate(expression))
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| RegexpError(explain(&error)))
}

/// Compiles an expression that has to match a whole text.
///
/// # Errors
///
/// As [`compile`].
pub fn compile_anchored(expression: &str) -> Result<Regex, RegexpError> {
    // Alone first, lest an unbalanced parenthesis is balanced by what is put around it.
    compile(expression)?;
    compile(&format!("^(?s:{})$", translate(expression)))
}

/// The last line of what the library says; those before it draw the expression.
fn explain(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression needs more than {limit} bytes")
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

/// An expression of RE2 as one of the `regex` crate.
pub fn translate(expression: &str) -> Cow<'_, str> {
    if !expression.contains(['{', '[', '\\']) {
        return Cow::Borrowed(expression);
    }
    let mut out = String::with_capacity(expression.len() + 8);
    let mut rest = expression;
    while let Some(at) = rest.find(['{', '[', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = match rest.as_bytes()[0] {
            b'{' => brace(rest, &mut out),
            b'[' => class(rest, &mut out),
            _ => escape(rest, &mut out),
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A `{` counts when `n`, `n,` or `n,m` and `}` follow it; otherwise it is a character.
fn brace<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let count = rest[1..].split_once('}').map_or("", |(count, _)| count);
    let (least, most) = count.split_once(',').unwrap_or((count, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if least.is_empty() || !is_number(least) || !is_number(most) {
        out.push('\\');
    }
    out.push('{');
    &rest[1..]
}

fn escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    if let Some(quoted) = rest.strip_prefix("\\Q") {
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        return after;
    }
    // `\p{Greek}` and `\x{1F600}` keep their braces.
    let braced = rest[1..].starts_with(['p', 'P', 'x']) && rest[2..].starts_with('{');
    let length = match rest.find('}') {
        Some(end) if braced => end + 1,
        _ => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
    };
    out.push_str(&rest[..length]);
    &rest[length..]
}

/// A class `[…]`, in which `[` is a character unless it begins `[:alpha:]`.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let head = if rest.starts_with("[^") { "[^" } else { "[" };
    out.push_str(head);
    let mut rest = &rest[head.len()..];
    // First in a class, `]` and `-` are characters.
    if let Some(after) = rest.strip_prefix([']', '-']) {
        out.push('\\');
        out.push_str(&rest[..1]);
        rest = after;
    }
    while let Some(first) = rest.chars().next() {
        let length = first.len_utf8();
        match first {
            ']' => {
                out.push(']');
                return &rest[1..];
            }
            '\\' => {
                rest = escape(rest, out);
                continue;
            }
            '[' => {
                if let Some(end) = rest.find(":]").filter(|_| rest.starts_with("[:")) {
                    out.push_str(&rest[..end + 2]);
                    rest = &rest[end + 2..];
                    continue;
                }
                out.push_str("\\[");
            }
            '&' | '~' => {
                out.push('\\');
                out.push(first);
            }
            // The first of two is that of a range, the second its end.
            '-' if rest.starts_with("--") => {
                out.push_str("-\\-");
                rest = &rest[2..];
                continue;
            }
            other => out.push(other),
        }
        rest = &rest[length..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expressions_of_re2_mean_the_same() {
        for (expression, yes, no) in [
            ("err|warn", "2 warnings", "it is warmer"),
            ("(?i)ampl", "EXAMPLE", "exam"),
            (r"foo\.bar", "foo.bar", "fooxbar"),
            (r#"{"a":(1|2)}"#, r#"x{"a":2}"#, "a"),
            ("a{2}b{1,}c{0,1}", "aab", "ab"),
            ("x{,2}", "x{,2}", "xx"),
            (r"\Qa.b[\E+", "a.b[[", "axb["),
            (r"\Qa.b", "a.b", "axb"),
            ("[[]", "[", "x"),
            ("[]x]", "]", "["),
            ("[^]x]", "a", "]"),
            ("[a&&b]", "&", "c"),
            ("[[:digit:]-]", "-", "a"),
            ("[+--]", ",", "a"),
            ("[--0]", ".", ","),
            (r"[\]\\]", "\\", "a"),
            (r"\pL\p{Greek}\x{e9}", "aπé", "aaé"),
            ("(?P<ip>([0-9]+.){3}[0-9]+)", "1.2.3.4", "1.2.3"),
        ] {
            let regex = compile(expression).unwrap();
            assert!(regex.is_match(yes), "{expression} {yes}");
            assert!(!regex.is_match(no), "{expression} {no}");
        }
    }

    #[test]
    fn anchored_expressions_match_whole_texts() {
        let regex = compile_anchored("a|b.c").unwrap();
        assert!(regex.is_match("a") && regex.is_match("b\nc"));
        assert!(!regex.is_match("ab") && !regex.is_match("xb.c"));
        assert!(compile_anchored("a)(b").is_err());
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (expression, expected) in [
            ("(", "unclosed group"),
            ("[a", "unclosed character class"),
            ("*", "repetition operator missing expression"),
            (
                "(a{1000}){1000}",
                "the regular expression needs more than 4194304 bytes",
            ),
        ] {
            assert_eq!(compile(expression).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_expression_is_too_strange(expression in "[\\[\\]{}()\\\\a^:&~Qxp0-9,é-]{0,12}") {
            let _ = compile(&expression);
        }

        #[test]
        fn quoted_texts_match_themselves(text in "[\\[\\]{}()a^:&~.+*?|$-]{1,8}") {
            let regex = compile_anchored(&format!("\\Q{text}\\E")).unwrap();
            prop_assert!(regex.is_match(&text));
        }
    }
}
