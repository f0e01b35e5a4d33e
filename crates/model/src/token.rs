//! Tokens: what a "word" is, for text search and for the token index alike.
//!
//! A token is a maximal run of letters, digits and `_` (Unicode `char::is_alphanumeric`), compared in lower case.

use std::borrow::Cow;

use memchr::memmem::Finder;

/// Whether a character belongs to a token.
pub fn is_token_char(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// `text` in lower case, borrowed when it is already.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        }
    } else {
        Cow::Owned(text.to_lowercase())
    }
}

/// The tokens of a text, in order, as they are written.
pub fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, position: 0 }
}

/// Iterator over the tokens of a text.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Iterator for Tokens<'a> {
    /// Byte offset and token.
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.position + find(self.text.get(self.position..)?, true)?;
        let rest = &self.text[start..];
        let length = find(rest, false).unwrap_or(rest.len());
        self.position = start + length;
        Some((start, &rest[..length]))
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offset of the first character that does (or does not) belong to a token.
fn find(text: &str, wanted: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let ascii = bytes
        .iter()
        .position(|byte| !byte.is_ascii() || is_token_byte(*byte) == wanted)?;
    if bytes[ascii].is_ascii() {
        return Some(ascii);
    }
    text[ascii..]
        .char_indices()
        .find(|(_, character)| is_token_char(*character) == wanted)
        .map(|(offset, _)| ascii + offset)
}

/// The tokens of a search term, as written: folding and finding tokens once more would cut some, for a letter may be
/// several characters in lower case, and not all of them belong to tokens.
pub fn written_tokens(text: &str) -> Vec<String> {
    tokens(text).map(|(_, token)| token.to_owned()).collect()
}

/// The tokens of a search term, folded: what a [`Phrase`] is made of.
pub fn folded_tokens(text: &str) -> Vec<String> {
    tokens(text)
        .map(|(_, token)| fold(token).into_owned())
        .collect()
}

/// Whether two tokens are the same but for case; `folded` is in lower case.
fn equals_folded(token: &str, folded: &str) -> bool {
    if token.is_ascii() {
        token.len() == folded.len() && token.eq_ignore_ascii_case(folded)
    } else {
        token.to_lowercase() == folded
    }
}

/// Tokens one right after the other, to be looked for in many texts.
#[derive(Clone, Debug)]
pub struct Phrase {
    /// In lower case.
    tokens: Vec<String>,
    /// Finds the longest token if that is ASCII, and its place among them.
    longest: Option<(usize, Finder<'static>)>,
    /// A text in lower case.
    lower: Vec<u8>,
}

impl Phrase {
    /// From tokens in lower case, as [`folded_tokens`] finds them. No tokens are in every text.
    pub fn new(tokens: Vec<String>) -> Self {
        let longest = tokens.iter().enumerate();
        let longest = longest.max_by_key(|(_, token)| token.len());
        let longest = longest.filter(|(_, token)| token.is_ascii());
        Self {
            longest: longest.map(|(place, token)| (place, Finder::new(token).into_owned())),
            lower: Vec::new(),
            tokens,
        }
    }

    /// Whether `text` has the phrase.
    pub fn is_in(&mut self, text: &str) -> bool {
        // Folding changes the length of other texts.
        let Some((_, longest)) = self.longest.as_ref().filter(|_| text.is_ascii()) else {
            return contains_phrase(text, &self.tokens);
        };
        self.lower.clear();
        self.lower.extend_from_slice(text.as_bytes());
        self.lower.make_ascii_lowercase();
        // Where a token is whole, no other place of its bytes overlaps with it.
        let mut found = longest.find_iter(&self.lower);
        found.any(|start| self.is_at(&self.lower, start))
    }

    /// A token, ASCII in lower case, that every ASCII text with the phrase has, in some case; none if there is none.
    pub fn literal(&self) -> Option<&str> {
        let (place, _) = self.longest.as_ref()?;
        self.tokens.get(*place).map(String::as_str)
    }

    /// Whether an ASCII text in lower case, which has [`Phrase::literal`] at byte `start`, has the phrase there.
    pub fn is_at(&self, lower: &[u8], start: usize) -> bool {
        let Some((place, longest)) = &self.longest else {
            return false;
        };
        let (before, after) = (&self.tokens[..*place], &self.tokens[*place + 1..]);
        let (left, right) = (&lower[..start], &lower[start + longest.needle().len()..]);
        ends(left) && begins(right) && follow(right, after) && precede(left, before)
    }
}

/// Whether a token may begin after this ASCII text.
fn ends(left: &[u8]) -> bool {
    left.last().is_none_or(|byte| !is_token_byte(*byte))
}

/// Whether a token may end before this ASCII text.
fn begins(right: &[u8]) -> bool {
    right.first().is_none_or(|byte| !is_token_byte(*byte))
}

/// Whether these are the next tokens of an ASCII text.
fn follow(mut text: &[u8], tokens: &[String]) -> bool {
    tokens.iter().all(|token| {
        let start = text.iter().position(|byte| is_token_byte(*byte));
        let rest = start.and_then(|start| text[start..].strip_prefix(token.as_bytes()));
        text = rest.unwrap_or_default();
        rest.is_some_and(begins)
    })
}

/// Whether these are the last tokens of an ASCII text.
fn precede(mut text: &[u8], tokens: &[String]) -> bool {
    tokens.iter().rev().all(|token| {
        let end = text.iter().rposition(|byte| is_token_byte(*byte));
        let rest = end.and_then(|end| text[..=end].strip_suffix(token.as_bytes()));
        text = rest.unwrap_or_default();
        rest.is_some_and(ends)
    })
}

/// Whether `text` has these tokens (in lower case) one right after the other.
fn contains_phrase(text: &str, folded: &[String]) -> bool {
    let Some((first, rest)) = folded.split_first() else {
        return true;
    };
    let mut at = tokens(text);
    while let Some((_, token)) = at.next() {
        if equals_folded(token, first) {
            let mut following = at.clone();
            let next_is = |wanted: &String| {
                following
                    .next()
                    .is_some_and(|(_, token)| equals_folded(token, wanted))
            };
            if rest.iter().all(next_is) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(text: &str) -> Vec<String> {
        text.split(|character| !is_token_char(character))
            .filter(|token| !token.is_empty())
            .map(str::to_lowercase)
            .collect()
    }

    fn has(text: &str, phrase: &str) -> bool {
        Phrase::new(folded_tokens(phrase)).is_in(text)
    }

    #[test]
    fn words_and_phrases_match_in_any_case() {
        let text = "GET /api/v1/Users: connection_refused by 10.0.0.1";
        for text in [text.to_owned(), format!("{text} – Straße ÉTÉ")] {
            for wanted in [
                "get",
                "users",
                "CONNECTION_refused",
                "0",
                "API v1/users",
                "10.0.0.1",
                "",
            ] {
                assert!(has(&text, wanted), "{wanted} in {text}");
            }
            for wanted in ["user", "connection", "ge", "api users"] {
                assert!(!has(&text, wanted), "{wanted} in {text}");
            }
            for wanted in ["straße", "été", "STRAßE Été"] {
                assert_eq!(
                    has(&text, wanted),
                    text.contains("ÉTÉ"),
                    "{wanted} in {text}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_the_definition(text in "[a-bA-B_ ./ßÉ字\u{130}-]{0,40}") {
            let found: Vec<_> = tokens(&text).map(|(_, token)| token.to_lowercase()).collect();
            prop_assert_eq!(&found, &naive(&text));
            for (offset, token) in tokens(&text) {
                prop_assert_eq!(&text[offset..offset + token.len()], token);
            }
        }

        #[test]
        fn phrases_are_found_where_they_are(text in "[abBé\u{212a} ]{0,20}|[abB ]{0,20}", phrase in "[abAk ]{0,7}") {
            let (words, wanted) = (naive(&text), naive(&phrase));
            let expected = wanted.is_empty() || words.windows(wanted.len()).any(|some| some == wanted);
            prop_assert_eq!(has(&text, &phrase), expected);
        }
    }
}
