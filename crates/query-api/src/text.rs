//! The `text` of a structured query: words and phrases.

/// Terms, all of which `message` has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextQuery {
    /// In the order written.
    pub terms: Vec<TextTerm>,
}

/// One word or phrase, matched token by token in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextTerm {
    /// A word as a token of its own.
    Word(String),
    /// These tokens, one right after the other.
    Phrase(String),
}
