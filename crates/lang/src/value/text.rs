//! What pipes do to a text: collapsing numbers, dropping colors, taking out its words, replacing parts.

use std::borrow::Cow;

use logmill_model::token::is_token_char;
use memchr::memmem;
use regex::Regex;

/// Appends a text with `<N>` in the place of its decimal and hexadecimal numbers.
///
/// A number is a run of hexadecimal digits that is not part of a word, but may have a unit or letter that goes with
/// times and numbers at its ends (`v1`, `0x1f2e`, `12ms`, `T10`). With letters in it, it has to have an even number of
/// digits, four at least, so that `be`, `added` or `face2` stay what they are.
pub fn collapse_numbers(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let (mut written, mut at) = (0, 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_hexdigit() {
            at += 1;
            continue;
        }
        let length = bytes[at..]
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit());
        let end = length.map_or(bytes.len(), |length| at + length);
        if begins_number(&text[..at]) && ends_number(&text[end..]) && is_number(&bytes[at..end]) {
            out.push_str(&text[written..at]);
            out.push_str("<N>");
            written = end;
        }
        at = end;
    }
    out.push_str(&text[written..]);
}

fn begins_number(before: &str) -> bool {
    before.chars().next_back().is_none_or(|last| {
        !is_token_char(last) || matches!(last, 'T' | 'X' | 'x' | 'v' | 's' | 'h' | 'm')
    })
}

fn ends_number(after: &str) -> bool {
    after.chars().next().is_none_or(|first| {
        !is_token_char(first)
            || matches!(first, 'T' | 'Z' | 's' | 'm' | 'h' | 'μ' | 'µ' | 'u' | 'n')
    })
}

fn is_number(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit) || (digits.len() >= 4 && digits.len().is_multiple_of(2))
}

/// What collapsed numbers often are: the pattern, what it is called, and what may follow and belongs to it.
const NUMBER_PATTERNS: [(&str, &str, &[&str]); 7] = [
    ("<N>-<N>-<N>-<N>-<N>", "<UUID>", &[]),
    ("<N>.<N>.<N>.<N>", "<IP4>", &[]),
    ("<N>:<N>:<N>", "<TIME>", &[".<N>", ",<N>"]),
    ("<N>-<N>-<N>", "<DATE>", &[]),
    ("<N>/<N>/<N>", "<DATE>", &[]),
    (
        "<DATE>T<TIME>",
        "<DATETIME>",
        &["Z", "-<N>:<N>", "+<N>:<N>"],
    ),
    (
        "<DATE> <TIME>",
        "<DATETIME>",
        &["Z", "-<N>:<N>", "+<N>:<N>"],
    ),
];

/// A text with collapsed numbers, with names for UUIDs, addresses, times and dates.
pub fn prettify_numbers(text: &str) -> Cow<'_, str> {
    let mut pretty = Cow::Borrowed(text);
    for (pattern, name, tails) in NUMBER_PATTERNS {
        if pretty.contains(pattern) {
            pretty = Cow::Owned(name_numbers(&pretty, pattern, name, tails));
        }
    }
    pretty
}

fn name_numbers(text: &str, pattern: &str, name: &str, tails: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(pattern) {
        out.push_str(before);
        out.push_str(name);
        let tail = tails.iter().find_map(|tail| after.strip_prefix(tail));
        rest = tail.unwrap_or(after);
    }
    out.push_str(rest);
    out
}

/// A text without ANSI control sequences (ECMA-48: `ESC [`, parameters, intermediates, a final byte).
pub fn decolorize(text: &str) -> Cow<'_, str> {
    const INTRODUCER: &str = "\x1b[";
    if memmem::find(text.as_bytes(), INTRODUCER.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(INTRODUCER);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let part = part.trim_start_matches(|c| ('\x30'..='\x3f').contains(&c));
        let part = part.trim_start_matches(|c| ('\x20'..='\x2f').contains(&c));
        out.push_str(
            part.strip_prefix(|c| ('\x30'..='\x7e').contains(&c))
                .unwrap_or(part),
        );
    }
    Cow::Owned(out)
}

/// A text with `new` in the place of `old`, `limit` times at most. Nothing is replaced when `old` is empty.
pub fn replace<'a>(text: &'a str, old: &str, new: &str, limit: Option<u64>) -> Cow<'a, str> {
    if old.is_empty() || limit == Some(0) || memmem::find(text.as_bytes(), old.as_bytes()).is_none()
    {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replacen(old, new, saturating_usize(limit)))
}

/// A text with `replacement` in the place of what matches, `limit` times at most; `$1`, `${1}` and `${name}` in it
/// stand for groups.
pub fn replace_regexp<'a>(
    text: &'a str,
    regexp: &Regex,
    replacement: &str,
    limit: Option<u64>,
) -> Cow<'a, str> {
    match limit {
        Some(0) => Cow::Borrowed(text),
        None => regexp.replace_all(text, replacement),
        Some(_) => regexp.replacen(text, saturating_usize(limit), replacement),
    }
}

fn saturating_usize(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collapse(text: &str) -> String {
        let mut out = String::new();
        collapse_numbers(text, &mut out);
        out
    }

    #[test]
    fn numbers_are_collapsed() {
        for (text, expected) in [
            (
                "2024-10-20T12:34:56Z request duration 1.34s",
                "<N>-<N>-<N>T<N>:<N>:<N>Z request duration <N>.<N>s",
            ),
            ("", ""),
            ("foo be added face", "foo be added <N>"),
            ("12345", "<N>"),
            (
                "user_123 a1b2c3 abc123 0x1f2e 0X12 v1.2",
                "user_123 <N> <N> 0x<N> 0X<N> v<N>.<N>",
            ),
            (
                "id=2edfed59-3e98-4073-bbb2-28d321ca71a7;",
                "id=<N>-<N>-<N>-<N>-<N>;",
            ),
            ("12ms 5µs 7μs 8ns 9x", "<N>ms <N>µs <N>μs <N>ns 9x"),
            ("é123 ⅓123", "é123 ⅓123"),
            ("–123…", "–<N>…"),
        ] {
            assert_eq!(collapse(text), expected, "{text}");
        }
    }

    #[test]
    fn collapsed_numbers_get_names() {
        for (text, expected) in [
            (
                "2edfed59-3e98-4073-bbb2-28d321ca71a7 - [2024/12/08 15:21:02] 10.71.20.32 GET /foo 200",
                "<UUID> - [<DATETIME>] <IP4> GET /foo <N>",
            ),
            ("2024-10-20T12:34:56.789Z x", "<DATETIME> x"),
            ("2024-10-20 12:34:56,789+02:00", "<DATETIME>"),
            ("at 12:34:56.5 on 2024/10/20", "at <TIME> on <DATE>"),
            ("plain", "plain"),
        ] {
            assert_eq!(prettify_numbers(&collapse(text)), expected, "{text}");
        }
    }

    #[test]
    fn colors_are_dropped() {
        for (text, expected) in [
            ("\x1b[31mred\x1b[0m text", "red text"),
            ("\x1b[1;38;5;208mbold\x1b[mx", "boldx"),
            ("a\x1b[?25lb\x1b[2 qc", "abc"),
            ("plain [31m", "plain [31m"),
            ("cut \x1b[31", "cut "),
        ] {
            assert_eq!(decolorize(text), expected, "{text:?}");
        }
    }

    #[test]
    fn parts_are_replaced() {
        assert_eq!(replace("aaa", "a", "bc", None), "bcbcbc");
        assert_eq!(replace("aaa", "a", "b", Some(2)), "bba");
        assert_eq!(replace("aaa", "a", "b", Some(0)), "aaa");
        assert_eq!(replace("aaa", "", "b", None), "aaa");
        let regexp = Regex::new("host-(.+?)-foo").unwrap();
        let all = |limit| replace_regexp("host-a-foo host-b-foo", &regexp, "<${1}>", limit);
        assert_eq!(all(None), "<a> <b>");
        assert_eq!(all(Some(1)), "<a> host-b-foo");
        assert_eq!(all(Some(0)), "host-a-foo host-b-foo");
    }

    proptest! {
        #[test]
        fn texts_without_numbers_stay(text in "[g-z é.]{0,20}") {
            prop_assert_eq!(collapse(&text), text);
        }

        #[test]
        fn collapsing_twice_is_collapsing_once(text in "[0-9a-fxT:.é -]{0,20}") {
            let collapsed = collapse(&text);
            prop_assert_eq!(&collapse(&collapsed), &collapsed);
            let _ = prettify_numbers(&collapsed);
        }

        #[test]
        fn only_control_sequences_are_dropped(text in "[\x1b\\[0-9;m é]{0,20}") {
            let kept = decolorize(&text);
            prop_assert_eq!(kept.matches('é').count(), text.matches('é').count());
        }
    }
}
