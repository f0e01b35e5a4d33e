//! Patterns: what log messages that differ in numbers, addresses and identifiers alone have in common.
//!
//! [`mask`] replaces what varies by placeholders, of which some are those of LogsQL's `collapse_nums`: `<N>` (a number,
//! decimal or hexadecimal), `<UUID>`, `<IP4>`, `<IP6>`, `<DATE>`, `<TIME>`, `<DATETIME>`, `<W>` (a word). What a word with a
//! digit is, the order of a segment's rows goes by as well, only more coarsely: there all of them are alike.
//! [`merge`] puts patterns together that differ in one word, where many do (the idea of Drain: He et al., "Drain: An Online
//! Log Parsing Approach with Fixed Depth Tree", 2017).

use std::collections::HashMap;
use std::hash::BuildHasher;

use crate::token::is_token_char;

/// Bytes of a message that its pattern is made of.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Ends a pattern whose message goes on.
const ELLIPSIS: &str = "…";
/// Longest quoted text that is taken for an identifier, bytes.
const QUOTED_MAX: usize = 64;
/// Shortest hexadecimal number that is told from a word with a number behind it.
const HEX_MIN: usize = 4;
/// Longest unit behind a number, such as `ms` or `MiB`.
const UNIT_MAX: usize = 3;

/// Appends the pattern of a message.
pub fn mask(message: &str, out: &mut String) {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let (text, rest) = message.split_at(end);
    let mut at = 0;
    let mut in_token = false;
    while let Some(character) = text[at..].chars().next() {
        let here = &text[at..];
        // Behind a number and a point, another number goes on.
        let masked = if in_token || out.ends_with("<N>.") {
            None
        } else {
            composite(here.as_bytes())
        };
        if let Some((length, placeholder)) = masked {
            out.push_str(placeholder);
            at += length;
            in_token = true;
        } else if is_token_char(character) && !in_token {
            let length = here
                .find(|character| !is_token_char(character))
                .unwrap_or(here.len());
            mask_token(&here[..length], out);
            at += length;
            in_token = true;
        } else if let Some(length) = quoted(here).filter(|_| !in_token) {
            let quote = &here[..1];
            out.extend([quote, "<W>", quote]);
            at += length;
        } else {
            out.push(character);
            at += character.len_utf8();
            in_token = is_token_char(character);
        }
    }
    collapse_decimals(out);
    if !rest.is_empty() {
        out.push_str(ELLIPSIS);
    }
}

/// A word, part by part: `_` separates what may vary from what does not.
fn mask_token(token: &str, out: &mut String) {
    if !token.bytes().any(|byte| byte.is_ascii_digit()) {
        out.push_str(token);
        return;
    }
    for (index, part) in token.split('_').enumerate() {
        if index > 0 {
            out.push('_');
        }
        mask_part(part, out);
    }
}

fn mask_part(part: &str, out: &mut String) {
    let is_digit = |character: char| character.is_ascii_digit();
    if !part.contains(is_digit) {
        out.push_str(part);
        return;
    }
    let hex = part.strip_prefix("0x").unwrap_or(part);
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (hex.len() < part.len() || hex.len() >= HEX_MIN) {
        out.push_str("<N>");
        return;
    }
    let after_letters = part.trim_start_matches(|character| !is_digit(character));
    let letters = &part[..part.len() - after_letters.len()];
    let unit = after_letters.trim_start_matches(is_digit);
    if unit.is_empty() {
        // `node7`, `7`
        out.extend([letters, "<N>"]);
    } else if letters.is_empty() && unit.len() <= UNIT_MAX && !unit.contains(is_digit) {
        // `15ms`
        out.extend(["<N>", unit]);
    } else {
        out.push_str("<W>");
    }
}

/// The length of the quoted text without spaces that begins here, quotes included; none of a key of JSON.
fn quoted(text: &str) -> Option<usize> {
    let quote = text
        .bytes()
        .next()
        .filter(|byte| matches!(byte, b'"' | b'\''))?;
    let inside = text.as_bytes().get(1..)?;
    let length = inside
        .iter()
        .take(QUOTED_MAX + 1)
        .position(|byte| *byte == quote || byte.is_ascii_whitespace())?;
    let closed = inside.get(length) == Some(&quote);
    let next = text[length + 2..].chars().next().filter(|_| closed);
    let ends = next.is_none_or(|next| next != ':' && !is_token_char(next));
    (closed && length > 0 && ends).then_some(length + 2)
}

/// What varies as a whole and begins here: its length and its placeholder.
fn composite(text: &[u8]) -> Option<(usize, &'static str)> {
    let first = *text.first()?;
    if first == b':' {
        return ip6(text).map(|length| (length, "<IP6>"));
    }
    if !first.is_ascii_hexdigit() {
        return None;
    }
    if let Some(length) = uuid(text) {
        return Some((length, "<UUID>"));
    }
    if let Some(length) = first.is_ascii_digit().then(|| ip4(text)).flatten() {
        return Some((length, "<IP4>"));
    }
    if let Some(date) = first.is_ascii_digit().then(|| date(text)).flatten() {
        let separated = matches!(text.get(date), Some(b'T' | b' ' | b':'));
        let time = separated.then(|| time(&text[date + 1..])).flatten();
        if let Some(time) = time {
            return Some((date + 1 + time, "<DATETIME>"));
        }
        return ends_here(text, date).then_some((date, "<DATE>"));
    }
    if let Some(length) = first.is_ascii_digit().then(|| time(text)).flatten() {
        return Some((length, "<TIME>"));
    }
    ip6(text).map(|length| (length, "<IP6>"))
}

/// Whether no token goes on at `at`.
fn ends_here(text: &[u8], at: usize) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    !text.get(at).is_some_and(goes_on)
}

fn run(text: &[u8], at: usize, is_one: impl Fn(&u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take_while(|byte| is_one(byte)).count()
}

fn uuid(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            if text.get(at) != Some(&b'-') {
                return None;
            }
            at += 1;
        }
        if run(text, at, u8::is_ascii_hexdigit) != length {
            return None;
        }
        at += length;
    }
    ends_here(text, at).then_some(at)
}

/// Groups of so many digits with a separator between them.
fn groups(
    text: &[u8],
    separator: u8,
    lengths: &[std::ops::RangeInclusive<usize>],
) -> Option<usize> {
    let mut at = 0;
    for (index, length) in lengths.iter().enumerate() {
        if index > 0 {
            if text.get(at) != Some(&separator) {
                return None;
            }
            at += 1;
        }
        let digits = run(text, at, u8::is_ascii_digit);
        if !length.contains(&digits) {
            return None;
        }
        at += digits;
    }
    Some(at)
}

fn ip4(text: &[u8]) -> Option<usize> {
    const GROUP: std::ops::RangeInclusive<usize> = 1..=3;
    let at = groups(text, b'.', &[GROUP, GROUP, GROUP, GROUP])?;
    // A version of five numbers is none.
    let goes_on = text.get(at) == Some(&b'.') && !ends_here(text, at + 1);
    (ends_here(text, at) && !goes_on).then_some(at)
}

/// Hexadecimal groups between colons: eight of them, or fewer and a gap.
fn ip6(text: &[u8]) -> Option<usize> {
    let length = run(text, 0, |byte| byte.is_ascii_hexdigit() || *byte == b':');
    let address = text[..length].strip_suffix(b":").unwrap_or(&text[..length]);
    let groups = || address.split(|byte| *byte == b':');
    let colons = groups().count().saturating_sub(1);
    let gap = address.windows(2).any(|pair| pair == b"::");
    let short = groups().all(|group| group.len() <= 4);
    // `a::b` is a name in a program.
    let digit = address.iter().any(u8::is_ascii_digit);
    let is_one = (2..=7).contains(&colons) && short && digit && (gap || colons == 7);
    (is_one && ends_here(text, address.len())).then_some(address.len())
}

fn date(text: &[u8]) -> Option<usize> {
    let big_first: [_; 3] = [4..=4, 1..=2, 1..=2];
    let small_first: [_; 3] = [1..=2, 1..=2, 4..=4];
    [b'-', b'/', b'.'].into_iter().find_map(|separator| {
        groups(text, separator, &big_first).or_else(|| groups(text, separator, &small_first))
    })
}

/// With a fraction of seconds and a zone, where they are there.
fn time(text: &[u8]) -> Option<usize> {
    let mut at = groups(text, b':', &[1..=2, 2..=2, 2..=2])?;
    if matches!(text.get(at), Some(b'.' | b',')) {
        let digits = run(text, at + 1, u8::is_ascii_digit);
        if digits > 0 {
            at += 1 + digits;
        }
    }
    let zone = match text.get(at) {
        Some(b'Z') => 1,
        Some(b'+' | b'-') => {
            let digits = run(text, at + 1, |byte| byte.is_ascii_digit() || *byte == b':');
            if matches!(digits, 2 | 4 | 5) {
                1 + digits
            } else {
                0
            }
        }
        _ => 0,
    };
    at += zone;
    ends_here(text, at).then_some(at)
}

/// `<N>.<N>` is one number.
fn collapse_decimals(pattern: &mut String) {
    const TWO: &str = "<N>.<N>";
    while let Some(at) = pattern.find(TWO) {
        pattern.replace_range(at..at + TWO.len(), "<N>");
    }
}

/// Fewest patterns that are merged because they differ in one word alone.
const MERGED_MIN: usize = 4;
/// Shortest pattern, in words, that is merged with others.
const MERGED_WORDS_MIN: usize = 3;
/// Rounds of merging: as many words of a pattern may become `<W>`.
const ROUNDS: usize = 3;

/// Puts patterns together that differ in one word (by spaces): the answer says for each pattern which one takes its place.
/// Patterns that stay as they are, are not in the answer.
pub fn merge<'a>(patterns: impl IntoIterator<Item = &'a str>) -> HashMap<String, String> {
    let mut merged: HashMap<String, String> = HashMap::new();
    let mut current: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
    current.sort_unstable();
    current.dedup();
    for _ in 0..ROUNDS {
        let changes = merge_once(&current);
        if changes.is_empty() {
            break;
        }
        for target in merged.values_mut() {
            if let Some(next) = changes.get(target.as_str()) {
                target.clone_from(next);
            }
        }
        for pattern in &mut current {
            if let Some(next) = changes.get(pattern.as_str()) {
                merged
                    .entry(pattern.clone())
                    .or_insert_with(|| next.clone());
                pattern.clone_from(next);
            }
        }
        current.sort_unstable();
        current.dedup();
    }
    merged
}

/// What one word less makes of patterns.
fn merge_once(patterns: &[String]) -> HashMap<String, String> {
    let hasher = std::hash::RandomState::new();
    let words_of = |pattern: &'_ str| pattern.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // Patterns by what they are without a word: how many there are of each.
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    let hash = |words: &[String], without: usize| {
        hasher.hash_one((
            words.len(),
            without,
            &words[..without],
            &words[without + 1..],
        ))
    };
    for pattern in patterns {
        let words = words_of(pattern);
        if words.len() >= MERGED_WORDS_MIN {
            for without in 0..words.len() {
                *sizes.entry(hash(&words, without)).or_default() += 1;
            }
        }
    }
    let mut changes = HashMap::new();
    for pattern in patterns {
        let mut words = words_of(pattern);
        if words.len() < MERGED_WORDS_MIN {
            continue;
        }
        // The word that most patterns differ in; of several, the first.
        let size = |without: usize| sizes.get(&hash(&words, without)).copied().unwrap_or(0);
        let best = (0..words.len()).rev().max_by_key(|without| size(*without));
        let Some(best) = best.filter(|best| size(*best) >= MERGED_MIN) else {
            continue;
        };
        "<W>".clone_into(&mut words[best]);
        let target = words.join(" ");
        if target != *pattern {
            changes.insert(pattern.clone(), target);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(message: &str) -> String {
        let mut out = String::new();
        mask(message, &mut out);
        out
    }

    #[test]
    fn what_varies_becomes_a_placeholder() {
        for (message, pattern) in [
            (
                "Received block blk_-1608999687919862906 of size 91178",
                "Received block blk_-<N> of size <N>",
            ),
            (
                "took 15ms (1.5 s) on node7",
                "took <N>ms (<N> s) on node<N>",
            ),
            ("GET /cart/42?page=3 200", "GET /cart/<N>?page=<N> <N>"),
            (
                "from 192.0.2.17:4711 to 10.0.0.1",
                "from <IP4>:<N> to <IP4>",
            ),
            (
                "2edfed59-3e98-4073-bbb2-28d321ca71a7 - [2024/12/08 15:21:02] ok",
                "<UUID> - [<DATETIME>] ok",
            ),
            (
                "at 2026-11-20T10:00:00.123456Z and 2026-11-20 and 10:00:01,5",
                "at <DATETIME> and <DATE> and <TIME>",
            ),
            ("2026-11-20T10:00:00+01:00|x", "<DATETIME>|x"),
            (
                "fe80::1ff:fe23:4567:890a up, ::1 too, 2001:db8:0:0:0:0:0:1",
                "<IP6> up, <IP6> too, <IP6>",
            ),
            ("std::sync::Arc at a::b", "std::sync::Arc at a::b"),
            ("commit 9fceb02 by 0xdeadbeef", "commit <N> by <N>"),
            (
                "user \"alice\" of 'team-7' isn't \"two words\"",
                "user \"<W>\" of '<W>' isn't \"two words\"",
            ),
            ("{\"id\":\"a-b\",\"n\":7}", "{\"id\":\"<W>\",\"n\":<N>}"),
            ("session k3jd9fjq4 ended", "session <W> ended"),
            ("version 1.2.3.4.5", "version <N>"),
            ("Größe 字7 ß", "Größe 字<N> ß"),
            ("no digits at all", "no digits at all"),
            ("", ""),
        ] {
            assert_eq!(masked(message), pattern, "{message}");
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let pattern = masked(&"word ß ".repeat(1_000));
        assert!(pattern.len() <= MESSAGE_BYTES_MAX + ELLIPSIS.len() && pattern.ends_with('…'));
    }

    #[test]
    fn patterns_that_differ_in_a_word_are_one() {
        let names = ["ada", "ben", "cleo", "dora", "emil"];
        let mut patterns: Vec<String> = names
            .iter()
            .map(|name| format!("login of {name} from <IP4>"))
            .collect();
        patterns.push("logout of ada from <IP4>".to_owned());
        patterns.push("login failed".to_owned());
        let merged = merge(patterns.iter().map(String::as_str));
        for name in names {
            let target = merged.get(&format!("login of {name} from <IP4>"));
            assert_eq!(target.map(String::as_str), Some("login of <W> from <IP4>"));
        }
        assert_eq!(merged.len(), names.len(), "{merged:?}");
    }

    #[test]
    fn two_words_may_vary() {
        let pairs = (0..6).flat_map(|a| (0..6).map(move |b| (a, b)));
        let letter = |n: u8| char::from(b'a' + n);
        let patterns: Vec<String> = pairs
            .map(|(a, b)| format!("move {} to {} now", letter(a), letter(b)))
            .collect();
        let merged = merge(patterns.iter().map(String::as_str));
        for pattern in &patterns {
            assert_eq!(merged[pattern], "move <W> to <W> now");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_pattern_without_digits(text in "(\\PC|[0-9a-f.:/ _\"'-]){0,60}") {
            let pattern = masked(&text);
            let plain = pattern.replace("<IP4>", "").replace("<IP6>", "");
            let has_digits = plain.bytes().any(|byte| byte.is_ascii_digit());
            prop_assert!(!has_digits, "{} of {}", pattern, text);
        }

        #[test]
        fn numbers_make_no_difference(numbers in proptest::collection::vec(any::<u32>(), 3)) {
            let message = |n: &[u32]| format!("job {} took {} ms, {}% done", n[0], n[1], n[2]);
            prop_assert_eq!(masked(&message(&numbers)), masked(&message(&[1, 2, 3])));
        }
    }
}
