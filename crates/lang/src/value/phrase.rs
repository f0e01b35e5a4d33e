//! Words, phrases and their prefixes: is one in a text?
//!
//! A phrase is in a text where its characters are, provided that it is not cut out of a longer word: where it begins
//! (ends) with a token character, no token character may stand right before (after) it. A word is a phrase of one word.

use std::cell::RefCell;

use logmill_model::token::{fold, is_token_char};
use memchr::memmem::Finder;

/// A phrase, or a phrase whose last word may go on, to be looked for in many texts.
#[derive(Clone, Debug)]
pub struct Phrase {
    finder: Finder<'static>,
    /// Whether a token character before (after) the phrase makes it part of a longer word.
    bounded: (bool, bool),
    is_prefix: bool,
}

impl Phrase {
    /// The whole phrase. The empty phrase is in the empty text only.
    pub fn new(phrase: &str) -> Self {
        Self::with_kind(phrase, false)
    }

    /// The phrase, and whatever its last word goes on with. The empty prefix is in every text but the empty one.
    pub fn prefix(phrase: &str) -> Self {
        Self::with_kind(phrase, true)
    }

    fn with_kind(phrase: &str, is_prefix: bool) -> Self {
        let ends_in_word = phrase.chars().next_back().is_some_and(is_token_char);
        Self {
            finder: Finder::new(phrase).into_owned(),
            bounded: (
                phrase.chars().next().is_some_and(is_token_char),
                ends_in_word && !is_prefix,
            ),
            is_prefix,
        }
    }

    /// Whether `text` has it.
    pub fn matches(&self, text: &str) -> bool {
        if self.finder.needle().is_empty() {
            text.is_empty() != self.is_prefix
        } else {
            self.find(text).is_some()
        }
    }

    /// Byte offsets of where it first is: start and end. The empty phrase is at the start of every text.
    pub fn find(&self, text: &str) -> Option<(usize, usize)> {
        let length = self.finder.needle().len();
        let mut from = 0;
        loop {
            let start = from + self.finder.find(text.as_bytes().get(from..)?)?;
            let end = start + length;
            let (before, after) = self.bounded;
            let cut_before = before && text[..start].chars().next_back().is_some_and(is_token_char);
            let cut_after = after && text[end..].chars().next().is_some_and(is_token_char);
            if !cut_before && !cut_after {
                return Some((start, end));
            }
            from = start + 1;
        }
    }
}

/// As [`Phrase`], whatever the case of letters is.
#[derive(Clone, Debug)]
pub struct AnyCasePhrase(Phrase);

impl AnyCasePhrase {
    /// The whole phrase.
    pub fn new(phrase: &str) -> Self {
        Self(Phrase::new(&fold(phrase)))
    }

    /// The phrase, and whatever its last word goes on with.
    pub fn prefix(phrase: &str) -> Self {
        Self(Phrase::prefix(&fold(phrase)))
    }

    /// Whether `text` has it.
    pub fn matches(&self, text: &str) -> bool {
        thread_local! {
            static LOWER: RefCell<String> = const { RefCell::new(String::new()) };
        }
        if !text.is_ascii() {
            return self.0.matches(&fold(text));
        }
        LOWER.with_borrow_mut(|lower| {
            lower.clear();
            lower.push_str(text);
            lower.make_ascii_lowercase();
            self.0.matches(lower)
        })
    }
}

/// Phrases one after the other, with anything between them.
#[derive(Clone, Debug)]
pub struct Sequence(Vec<Phrase>);

impl Sequence {
    /// From phrases in the order in which they must come; empty ones are everywhere.
    pub fn new<T: AsRef<str>>(phrases: &[T]) -> Self {
        Self(compile(phrases.iter()))
    }

    /// Whether `text` has them all, in order.
    pub fn matches(&self, mut text: &str) -> bool {
        self.0.iter().all(|phrase| match phrase.find(text) {
            Some((_, end)) => {
                text = &text[end..];
                true
            }
            None => false,
        })
    }
}

/// Several phrases, all of which must be in a text.
#[derive(Clone, Debug)]
pub struct AllPhrases(Vec<Phrase>);

impl AllPhrases {
    /// From the phrases; empty ones are in every text.
    pub fn new<T: AsRef<str>>(phrases: &[T]) -> Self {
        let not_empty = phrases.iter().filter(|phrase| !phrase.as_ref().is_empty());
        Self(compile(not_empty))
    }

    /// Whether `text` has every one of them. No phrases are in every text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().all(|phrase| phrase.matches(text))
    }
}

/// Several phrases, one of which must be in a text.
#[derive(Clone, Debug)]
pub struct AnyPhrase(Vec<Phrase>);

impl AnyPhrase {
    /// From the phrases; an empty one is in the empty text.
    pub fn new<T: AsRef<str>>(phrases: &[T]) -> Self {
        Self(compile(phrases.iter()))
    }

    /// Whether `text` has one of them. Of no phrases, none is in any text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|phrase| phrase.matches(text))
    }
}

fn compile<'a, T: AsRef<str> + 'a>(phrases: impl Iterator<Item = &'a T>) -> Vec<Phrase> {
    phrases.map(|phrase| Phrase::new(phrase.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(matches: impl Fn(&str) -> bool, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(text), "should be in {text:?}");
        }
        for text in no {
            assert!(!matches(text), "should not be in {text:?}");
        }
    }

    #[test]
    fn a_word_is_matched_as_a_whole_and_in_its_case() {
        let word = Phrase::new("error");
        check(
            |text| word.matches(text),
            &[
                "error",
                "an error happened",
                "error: cannot open file",
                "errors, error",
            ],
            &[
                "ERROR",
                "multiple errors occurred",
                "",
                "my_error",
                "errorß",
                "7error",
            ],
        );
        let ip = Phrase::new("1.2.3.45");
        check(
            |text| ip.matches(text),
            &["from 1.2.3.45:80"],
            &["1.2.3.456", "11.2.3.45"],
        );
        let greek = Phrase::new("τιμή");
        check(|text| greek.matches(text), &["η τιμή!"], &["τιμής"]);
    }

    #[test]
    fn a_phrase_is_matched_with_what_stands_between_its_words() {
        let phrase = Phrase::new("ssh: login fail");
        check(
            |text| phrase.matches(text),
            &[
                "ERROR: ssh: login fail for user \"foobar\"",
                "ssh: login fail!",
            ],
            &[
                "ssh login fail",
                "login fail: ssh error",
                "ssh: login failed",
                "SSH: login fail",
            ],
        );
        // Where a phrase does not begin or end with a word, nothing can cut it.
        let quoted = Phrase::new("\"foo\":");
        check(|text| quoted.matches(text), &["a\"foo\":b"], &["\"foo\" :"]);
    }

    #[test]
    fn an_empty_phrase_is_an_absent_value_and_an_empty_prefix_any_value() {
        let (phrase, prefix) = (Phrase::new(""), Phrase::prefix(""));
        check(|text| phrase.matches(text), &[""], &["a"]);
        check(|text| prefix.matches(text), &["a", " "], &[""]);
        let (phrase, prefix) = (AnyCasePhrase::new(""), AnyCasePhrase::prefix(""));
        check(|text| phrase.matches(text), &[""], &["a"]);
        check(|text| prefix.matches(text), &["a"], &[""]);
    }

    #[test]
    fn a_prefix_begins_where_a_word_begins() {
        let prefix = Phrase::prefix("err");
        check(
            |text| prefix.matches(text),
            &["err: foobar", "cannot open file: error occurred"],
            &["Error: foobar", "fooerror"],
        );
        let prefix = Phrase::prefix("unexpected fail");
        check(
            |text| prefix.matches(text),
            &["unexpected fail: IO error", "error:unexpected failure"],
            &["unexpectedly failed", "failed to open file: unexpected EOF"],
        );
    }

    #[test]
    fn case_can_be_left_aside() {
        let word = AnyCasePhrase::new("ErRor");
        check(
            |text| word.matches(text),
            &[
                "unknown error happened",
                "ERROR: cannot read file",
                "Error: unknown arg",
                "An ErRoR occurred – ÉTÉ",
            ],
            &["FooError", "too many Errors"],
        );
        let prefix = AnyCasePhrase::prefix("error");
        check(
            |text| prefix.matches(text),
            &["too many Errors"],
            &["FooError"],
        );
        let umlaut = AnyCasePhrase::new("Größe");
        check(|text| umlaut.matches(text), &["GRÖßE"], &["GROSSE"]);
    }

    #[test]
    fn a_sequence_keeps_its_order() {
        let sequence = Sequence::new(&["error", "open file"]);
        check(
            |text| sequence.matches(text),
            &["some error: cannot open file /foo/bar"],
            &["cannot open file: error", "error: open files"],
        );
        let twice = Sequence::new(&["a", "a", ""]);
        check(|text| twice.matches(text), &["a a", "a.a"], &["a", "aa"]);
    }

    #[test]
    fn all_or_any_of_several_phrases() {
        let all = AllPhrases::new(&["foo", "", "bar baz"]);
        check(
            |text| all.matches(text),
            &["bar baz, foo"],
            &["foo bar", ""],
        );
        let any = AnyPhrase::new(&["foo", "bar baz"]);
        check(
            |text| any.matches(text),
            &["foo", "a bar baz"],
            &["bar", ""],
        );
        let none: [&str; 0] = [];
        assert!(AllPhrases::new(&none).matches("x"));
        assert!(!AnyPhrase::new(&none).matches("x"));
        assert!(AnyPhrase::new(&[""]).matches(""));
    }

    /// The definition, at every place of the text.
    fn naive(text: &str, phrase: &str, is_prefix: bool) -> bool {
        if phrase.is_empty() {
            return text.is_empty() != is_prefix;
        }
        let starts = phrase.starts_with(is_token_char);
        let ends = phrase.ends_with(is_token_char) && !is_prefix;
        text.char_indices().any(|(at, _)| {
            text[at..].strip_prefix(phrase).is_some_and(|rest| {
                let cut_before = starts && text[..at].ends_with(is_token_char);
                let cut_after = ends && rest.starts_with(is_token_char);
                !cut_before && !cut_after
            })
        })
    }

    proptest! {
        #[test]
        fn phrases_are_found_where_the_definition_says(text in "[ab_é .]{0,12}", phrase in "[abé .]{0,3}") {
            prop_assert_eq!(Phrase::new(&phrase).matches(&text), naive(&text, &phrase, false));
            prop_assert_eq!(Phrase::prefix(&phrase).matches(&text), naive(&text, &phrase, true));
            let (upper, lower) = (text.to_uppercase(), phrase.clone());
            prop_assert_eq!(AnyCasePhrase::new(&lower).matches(&upper), naive(&text, &phrase, false));
        }
    }
}
