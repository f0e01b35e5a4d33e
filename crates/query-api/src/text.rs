//! The `text` of a structured query: words and phrases.

use logmill_model::token::written_tokens;

use crate::{Error, Result};

/// Terms, all of which `message` has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextQuery {
    /// In the order written. Each is a list of tokens, as written, that follow one another: one for a word, several for
    /// a phrase, or for a word such as `10.0.0.1` that is several tokens.
    pub terms: Vec<Vec<String>>,
}

impl TextQuery {
    /// Reads words and `"quoted phrases"`; in quotes `\"` and `\\` are escapes.
    pub fn parse(text: &str) -> Result<Self> {
        let mut terms = Vec::new();
        let mut rest = text.char_indices().peekable();
        while let Some((start, character)) = rest.next() {
            if character.is_whitespace() {
                continue;
            }
            let mut term = String::new();
            if character == '"' {
                let mut closed = false;
                while let Some((_, character)) = rest.next() {
                    match character {
                        '"' => {
                            closed = true;
                            break;
                        }
                        '\\' => term.extend(rest.next().map(|(_, escaped)| escaped)),
                        other => term.push(other),
                    }
                }
                if !closed {
                    return Err(syntax(text, start, "this quote is not closed"));
                }
            } else {
                term.push(character);
                while let Some((_, next)) = rest.next_if(|(_, c)| !c.is_whitespace() && *c != '"') {
                    term.push(next);
                }
            }
            let tokens = written_tokens(&term);
            if tokens.is_empty() {
                return Err(syntax(
                    text,
                    start,
                    "this term has neither a letter nor a digit",
                ));
            }
            terms.push(tokens);
        }
        if terms.is_empty() {
            return Err(syntax(text, 0, "there is no word to look for"));
        }
        Ok(Self { terms })
    }
}

fn syntax(text: &str, offset: usize, message: &str) -> Error {
    let before = &text[..offset];
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() as u64 + 1;
    Error::Syntax {
        line,
        column,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phrases_are_told_apart() {
        let terms = |text: &str| TextQuery::parse(text).unwrap().terms;
        assert_eq!(terms("Timeout"), [["Timeout"]]);
        assert_eq!(
            terms(" a  \"b C\" d"),
            [vec!["a"], vec!["b", "C"], vec!["d"]]
        );
        assert_eq!(terms("10.0.0.1"), [["10", "0", "0", "1"]]);
        assert_eq!(terms(r#""say \"hi\"""#), [["say", "hi"]]);
        assert_eq!(terms("a\"b c\""), [vec!["a"], vec!["b", "c"]]);
    }

    #[test]
    fn errors_have_a_position() {
        for (text, at) in [
            ("", (1, 1)),
            ("a \"b", (1, 3)),
            ("é ---", (1, 3)),
            ("a\n \"", (2, 2)),
        ] {
            match TextQuery::parse(text) {
                Err(Error::Syntax { line, column, .. }) => assert_eq!((line, column), at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
