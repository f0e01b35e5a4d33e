//! Quoted strings inside texts.

use std::borrow::Cow;

/// A text in double quotes (with the escapes of Go and JSON) or backticks (without any) at the start of `text`:
/// what it says, and how many bytes it takes with its quotes. `None` when there is none, or it has no end.
pub fn unquote_prefix(text: &str) -> Option<(Cow<'_, str>, usize)> {
    match text.as_bytes().first()? {
        b'`' => {
            let end = text[1..].find('`')?;
            Some((Cow::Borrowed(&text[1..=end]), end + 2))
        }
        b'"' => {
            let rest = &text[1..];
            let special = rest.find(['"', '\\', '\n'])?;
            if rest.as_bytes()[special] == b'"' {
                return Some((Cow::Borrowed(&rest[..special]), special + 2));
            }
            let (unescaped, length) = unescape(rest, special)?;
            Some((Cow::Owned(unescaped), length + 1))
        }
        _ => None,
    }
}

/// The text of `rest` up to its closing quote, and how many bytes that takes with the quote. There is nothing special
/// before `plain`.
fn unescape(rest: &str, plain: usize) -> Option<(String, usize)> {
    // Bytes, since `\xff` stands for one; what is no UTF-8 in the end is replaced.
    let mut out = rest.as_bytes()[..plain].to_vec();
    let mut at = plain;
    let bytes = rest.as_bytes();
    loop {
        match *bytes.get(at)? {
            b'"' => return Some((into_text(out), at + 1)),
            b'\n' => return None,
            b'\\' => at = escape(rest, at + 1, &mut out)?,
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// Bytes as text, with replacement characters for what is none.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Appends what the escape at `at`, just after its backslash, stands for, and gives the place after it.
fn escape(text: &str, at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let kind = *text.as_bytes().get(at)?;
    let next = at + 1;
    let single = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'\\' | b'"' | b'\'' | b'/' => kind,
        b'x' => u8::try_from(code(text, next, 2, 16)?).ok()?,
        b'0'..=b'7' => {
            out.push(u8::try_from(code(text, at, 3, 8)?).ok()?);
            return Some(at + 3);
        }
        b'u' => return unicode_escape(text, next, out),
        b'U' => {
            push(char::from_u32(code(text, next, 8, 16)?)?, out);
            return Some(next + 8);
        }
        _ => return None,
    };
    out.push(single);
    Some(if kind == b'x' { next + 2 } else { next })
}

/// `\uXXXX`, or two of them for a character beyond the basic plane, as JSON writes those.
fn unicode_escape(text: &str, at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let first = code(text, at, 4, 16)?;
    if let Some(character) = char::from_u32(first) {
        push(character, out);
        return Some(at + 4);
    }
    let second = match text.get(at + 4..at + 6) {
        Some("\\u") => code(text, at + 6, 4, 16)?,
        _ => return None,
    };
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    push(
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?,
        out,
    );
    Some(at + 10)
}

fn push(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn code(text: &str, at: usize, length: usize, radix: u32) -> Option<u32> {
    let digits = text.get(at..at + length)?;
    let valid = digits.bytes().all(|byte| char::from(byte).is_digit(radix));
    valid.then(|| u32::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_prefixes_are_unquoted() {
        for (text, expected, length) in [
            ("\"a b\" c", "a b", 5),
            ("`a\\n\"b`", "a\\n\"b", 7),
            ("\"\"", "", 2),
            (r#""a\"b\\c\n\t" tail"#, "a\"b\\c\n\t", 13),
            (r#""\x41\102é\U0001F600\/""#, "ABé😀/", 24),
            (r#""\ud83d\ude00""#, "😀", 14),
            (r#""\xc3\xa9""#, "é", 10),
        ] {
            assert_eq!(
                unquote_prefix(text),
                Some((Cow::Borrowed(expected), length)),
                "{text}"
            );
        }
        for text in [
            "",
            "a\"b\"",
            "\"a",
            "`a",
            "\"a\\",
            r#""\q""#,
            r#""\u12""#,
            r#""\ud83d""#,
            "\"a\nb\"",
            r#""\400""#,
        ] {
            assert_eq!(unquote_prefix(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn json_strings_are_read_back(text: String) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unquote_prefix(&quoted), Some((Cow::Borrowed(text.as_str()), quoted.len())));
        }

        #[test]
        fn no_text_is_too_strange(text in "\"[\"\\\\xuU0-9a-fé`\n]{0,12}") {
            if let Some((_, length)) = unquote_prefix(&text) {
                prop_assert!(text.is_char_boundary(length));
            }
        }
    }
}
