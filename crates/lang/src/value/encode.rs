//! Encodings that `format` knows: hexadecimal, base64, percent. Bytes that are no UTF-8 once decoded are replaced.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::quoted::into_text;

/// Appends the bytes of a text in hexadecimal, upper case.
pub fn hex_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        write!(out, "{byte:02X}").expect("writing to a string cannot fail");
    }
}

/// Appends what pairs of hexadecimal digits stand for; other pairs stay as they are.
pub fn hex_decode(text: &str, out: &mut String) {
    let mut decoded = Vec::with_capacity(text.len() / 2);
    for pair in text.as_bytes().chunks(2) {
        match pair {
            [high, low] => match hex_pair(*high, *low) {
                Some(byte) => decoded.push(byte),
                None => decoded.extend_from_slice(pair),
            },
            single => decoded.extend_from_slice(single),
        }
    }
    out.push_str(&into_text(decoded));
}

/// Appends a text in base64, with padding.
pub fn base64_encode(text: &str, out: &mut String) {
    STANDARD.encode_string(text, out);
}

/// Appends what base64 stands for; a text that is none stays as it is.
pub fn base64_decode(text: &str, out: &mut String) {
    match STANDARD.decode(text) {
        Ok(decoded) => out.push_str(&into_text(decoded)),
        Err(_) => out.push_str(text),
    }
}

/// Appends a text as a value in the query of an URL: letters, digits, `-`, `.` and `_` stay, a blank becomes `+`.
pub fn url_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
}

/// Appends what a value in the query of an URL stands for; a `%` without two digits stays.
pub fn url_decode(text: &str, out: &mut String) {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => match hex_pair(*high, *low) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = after;
                }
                None => decoded.push(b'%'),
            },
            (byte, _) => decoded.push(*byte),
        }
    }
    out.push_str(&into_text(decoded));
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(function: fn(&str, &mut String), text: &str) -> String {
        let mut out = String::new();
        function(text, &mut out);
        out
    }

    #[test]
    fn texts_are_encoded_and_decoded() {
        for (function, text, expected) in [
            (hex_encode as fn(&str, &mut String), "aé", "61C3A9"),
            (hex_decode, "61c3A9zz6", "aézz6"),
            (base64_encode, "secret", "c2VjcmV0"),
            (base64_decode, "c2VjcmV0", "secret"),
            (base64_decode, "not base64", "not base64"),
            (url_encode, "a b&é_", "a+b%26%C3%A9_"),
            (url_decode, "a+b%26%c3%A9%zz%", "a b&é%zz%"),
        ] {
            assert_eq!(apply(function, text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: String) {
            prop_assert_eq!(&apply(hex_decode, &apply(hex_encode, &text)), &text);
            prop_assert_eq!(&apply(base64_decode, &apply(base64_encode, &text)), &text);
            prop_assert_eq!(&apply(url_decode, &apply(url_encode, &text)), &text);
        }
    }
}
