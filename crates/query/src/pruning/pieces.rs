//! Patterns as sequences of what is known of a text, and the tokens that every matching text certainly has.

use logmill_model::token::is_token_char;

/// A part of a matching text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This character, in any case whose lower case is the same.
    Char(char),
    /// `s`, `S` or `ſ`: without case they match each other, but `ſ` in lower case stays what it is.
    AnyS,
    /// Here is an end of the text, or a character that belongs to no token.
    Boundary,
    /// Any text, or none.
    Unknown,
}

/// Texts of a token with `AnyS` are as many as two to the power of these; a token with more is left out.
const ANY_S_MAX: usize = 3;

/// The pieces of a literal text.
pub(super) fn literal(text: &str) -> impl Iterator<Item = Piece> + '_ {
    text.chars().map(Piece::Char)
}

/// The pieces of a literal text that matches in any case.
pub(super) fn literal_in_any_case(text: &str) -> impl Iterator<Item = Piece> + '_ {
    text.chars().map(|character| match character {
        's' | 'S' => Piece::AnyS,
        ascii if ascii.is_ascii() => Piece::Char(ascii),
        // Which characters match it, and what their lower case is, depends on too much.
        _ => Piece::Unknown,
    })
}

/// The tokens of every text in which these pieces follow one another, each as the list of its possible texts. A token
/// counts only if both of its ends are certain.
pub(super) fn certain_tokens(pieces: &[Piece]) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut token: Vec<Piece> = Vec::new();
    // What is before the first piece is not known.
    let mut open = true;
    for piece in pieces.iter().chain([&Piece::Unknown]) {
        let belongs = match piece {
            Piece::Char(character) => is_token_char(*character),
            Piece::AnyS => true,
            Piece::Boundary | Piece::Unknown => false,
        };
        if belongs {
            token.push(*piece);
            continue;
        }
        let unknown = *piece == Piece::Unknown;
        if !open && !unknown && !token.is_empty() {
            found.extend(texts(&token).filter(|texts| !found.contains(texts)));
        }
        token.clear();
        open = unknown;
    }
    found
}

fn texts(token: &[Piece]) -> Option<Vec<String>> {
    if token.iter().filter(|piece| **piece == Piece::AnyS).count() > ANY_S_MAX {
        return None;
    }
    let mut texts = vec![String::new()];
    for piece in token {
        match piece {
            Piece::Char(character) => texts.iter_mut().for_each(|text| text.push(*character)),
            _ => {
                let with = |texts: &[String], s: char| -> Vec<String> {
                    texts.iter().map(|text| format!("{text}{s}")).collect()
                };
                texts = [with(&texts, 's'), with(&texts, 'ſ')].concat();
            }
        }
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(pieces: impl Iterator<Item = Piece>) -> Vec<Vec<String>> {
        certain_tokens(&pieces.collect::<Vec<_>>())
    }

    #[test]
    fn only_tokens_with_two_certain_ends_count() {
        assert_eq!(tokens(literal("cut whole cut")), [["whole"]]);
        assert_eq!(tokens(literal("one")), Vec::<Vec<String>>::new());
        let bounded = [Piece::Boundary].into_iter();
        assert_eq!(tokens(bounded.clone().chain(literal("é a"))), [["é"]]);
        let both = bounded.clone().chain(literal("é a")).chain(bounded);
        assert_eq!(tokens(both), [["é"], ["a"]]);
    }

    #[test]
    fn without_case_an_s_may_be_long() {
        let found = tokens(literal_in_any_case("-sK-ß-sssss-"));
        assert_eq!(found, [["sK", "ſK"]]);
    }
}
