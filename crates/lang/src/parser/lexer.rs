//! From text to tokens.

use logmill_model::token::is_token_char;

/// A piece of the query.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends, in bytes.
    pub(super) end: usize,
    /// Whether white space or a comment is in front of it. Pieces without any between them often make one word:
    /// `/foo/bar-baz`.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Letters, digits, `_` and dots.
    Word,
    /// A text in quotes, without them.
    Quoted(String),
    /// Any other character, `=~`, `!~` or `!=`. A quote without its partner is one too.
    Symbol,
    /// The end of the query.
    End,
}

/// The pieces of a text; an end is the last one. The error is a text in quotes that cannot be read: where, and why.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut lexer = Lexer {
        text,
        at: 0,
        unpaired: String::new(),
    };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let ended = token.kind == Kind::End;
        tokens.push(token);
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Quotes that were found to have no partner. They are not looked for again, as that would take quadratic time.
    unpaired: String,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn next(&mut self) -> Result<Token, (usize, String)> {
        let spaced = self.skip_space();
        let start = self.at;
        let kind = self.kind()?;
        Ok(Token {
            kind,
            start,
            end: self.at,
            spaced,
        })
    }

    /// Skips white space and comments; whether there were any.
    fn skip_space(&mut self) -> bool {
        let start = self.at;
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let mut skipped = rest.len() - trimmed.len();
            if trimmed.starts_with('#') {
                skipped += trimmed.find('\n').unwrap_or(trimmed.len());
            }
            if skipped == 0 {
                return self.at > start;
            }
            self.at += skipped;
        }
    }

    fn kind(&mut self) -> Result<Kind, (usize, String)> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Kind::End);
        };
        let word = rest
            .find(|character: char| !is_token_char(character) && character != '.')
            .unwrap_or(rest.len());
        if word > 0 {
            self.at += word;
            return Ok(Kind::Word);
        }
        if matches!(first, '"' | '\'' | '`')
            && !self.unpaired.contains(first)
            && let Some(text) = self.quoted(first)?
        {
            return Ok(Kind::Quoted(text));
        }
        let rest = self.rest();
        let long = ["=~", "!~", "!="]
            .iter()
            .any(|symbol| rest.starts_with(symbol));
        self.at += if long { 2 } else { first.len_utf8() };
        Ok(Kind::Symbol)
    }

    /// The text in quotes at the front, without them; `None` when they do not end.
    fn quoted(&mut self, quote: char) -> Result<Option<String>, (usize, String)> {
        let start = self.at;
        let body = self.text.get(start + 1..).unwrap_or("");
        let Some(length) = closing_quote(body, quote) else {
            self.unpaired.push(quote);
            return Ok(None);
        };
        let inner = body.get(..length).unwrap_or("");
        self.at = start + length + 2;
        if quote == '`' {
            return Ok(Some(inner.to_owned()));
        }
        unescape(inner)
            .map(Some)
            .map_err(|(offset, message)| (start + 1 + offset, message))
    }
}

/// Where the quote is that ends `body`.
fn closing_quote(body: &str, quote: char) -> Option<usize> {
    let mut characters = body.char_indices();
    while let Some((offset, character)) = characters.next() {
        if character == quote {
            return Some(offset);
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    None
}

/// Text with escapes as in Go: `\a \b \f \n \r \t \v \\ \" \' \x41 \101 \u0041 \U00000041`.
fn unescape(text: &str) -> Result<String, (usize, String)> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        let offset = text.len() - rest.len() + backslash;
        bytes.extend_from_slice(rest.as_bytes().get(..backslash).unwrap_or(b""));
        let escape = rest.get(backslash + 1..).unwrap_or("");
        let length = unescape_one(escape, &mut bytes)
            .ok_or_else(|| (offset, "this is no escape that can be read".to_owned()))?;
        rest = escape.get(length..).unwrap_or("");
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|error| {
        let message = format!(
            "this text is not UTF-8 from its byte {} on",
            error.utf8_error().valid_up_to()
        );
        (0, message)
    })
}

/// Writes what the escape at the front (after its backslash) means; how long it is.
fn unescape_one(escape: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let first = *escape.as_bytes().first()?;
    let simple = match first {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' | b'\'' => first,
        b'x' => {
            bytes.push(u8::try_from(digits(escape.get(1..3)?, 16)?).ok()?);
            return Some(3);
        }
        b'0'..=b'7' => {
            bytes.push(u8::try_from(digits(escape.get(..3)?, 8)?).ok()?);
            return Some(3);
        }
        b'u' | b'U' => {
            let length = if first == b'u' { 5 } else { 9 };
            let character = char::from_u32(digits(escape.get(1..length)?, 16)?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(length);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(1)
}

fn digits(text: &str, radix: u32) -> Option<u32> {
    let plain = text.chars().all(|character| character.is_digit(radix));
    plain
        .then(|| u32::from_str_radix(text, radix).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let pieces: Vec<String> = tokens(text)
            .unwrap()
            .into_iter()
            .filter(|token| token.kind != Kind::End)
            .map(|token| match token.kind {
                Kind::Quoted(inner) => format!("<{inner}>"),
                _ => text[token.start..token.end].to_owned(),
            })
            .collect();
        assert_eq!(pieces, expected, "{text}");
    }

    #[test]
    fn words_symbols_and_quoted_texts_are_told_apart() {
        check("a.b:x*", &["a.b", ":", "x", "*"]);
        check("τιμή|_x", &["τιμή", "|", "_x"]);
        check(
            "a!=b=~c!~d!e",
            &["a", "!=", "b", "=~", "c", "!~", "d", "!", "e"],
        );
        check(r#""a b"'c"d'`e\n`"#, &["<a b>", "<c\"d>", "<e\\n>"]);
        check("a # b\n c", &["a", "c"]);
        check("a#", &["a"]);
        check("", &[]);
    }

    #[test]
    fn escapes_are_those_of_go() {
        check(
            r#""\a\b\f\n\r\t\v\\\"\'""#,
            &["<\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"'>"],
        );
        check(r#""\x41\102\u0043\U00000044é""#, &["<ABCDé>"]);
        check(r#""\xd0\xb6""#, &["<ж>"]);
        for text in [
            r#""\q""#,
            r#""\x4""#,
            r#""\ud800""#,
            r#""\xff""#,
            r#""\800""#,
            "'\\é'",
        ] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_quote_without_a_partner_is_a_symbol() {
        check("it's", &["it", "'", "s"]);
        check("\"a", &["\"", "a"]);
        check(r#""a\"#, &["\"", "a", "\\"]);
    }

    #[test]
    fn many_quotes_without_partners_are_read_in_linear_time() {
        let text = "\"\\".repeat(100_000) + "\\";
        assert!(tokens(&text).is_ok());
    }
}
