//! Texts to the hashes of their tokens, eight bytes at a time.
//!
//! What a token is, `logmill_model::token` defines; a property test holds this against it.

use logmill_model::token::{fold, tokens};
use xxhash_rust::xxh3::xxh3_64;

/// Bits of a hash. With 2^26 values, an index of a million tokens sends one look-up of sixty for a token that is not
/// there to a granule in vain; more bits would cost their length for every token.
pub(super) const HASH_BITS: u32 = 26;

/// Every byte's high bit.
const HIGH: u64 = 0x8080_8080_8080_8080;
/// The bit that tells `a` from `A`. Of the bytes of ASCII tokens, no other two differ in it alone.
const CASE: u64 = 0x2020_2020_2020_2020;
/// An odd constant without structure (the golden ratio), to separate the halves of a hash.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The seed of a column's tokens: the same word in two columns is two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSeed(u64);

impl ColumnSeed {
    /// The seed of the column of this name.
    pub fn of(column: &str) -> Self {
        Self(xxh3_64(column.as_bytes()))
    }
}

/// The hash of one token as it is written, in any case; never 0.
pub fn token_hash(seed: ColumnSeed, token: &str) -> u32 {
    let folded = fold(token);
    hash(folded.as_bytes(), 0, folded.len(), seed)
}

/// Calls `found` with the hash of every token of each text, in order.
pub fn token_hashes<'a>(
    seed: ColumnSeed,
    texts: impl IntoIterator<Item = &'a str>,
    mut found: impl FnMut(u32),
) {
    let mut tokeniser = Tokeniser::default();
    for text in texts {
        tokeniser.hashes(text, seed, &mut found);
    }
}

/// Finds the tokens of texts; keeps its buffer.
#[derive(Debug, Default)]
pub(crate) struct Tokeniser {
    /// Bit n of the text's bitmap: byte n belongs to a token.
    words: Vec<u64>,
}

impl Tokeniser {
    /// Calls `found` with the hash of every token of `text`, in order.
    #[inline]
    pub(crate) fn hashes(&mut self, text: &str, seed: ColumnSeed, mut found: impl FnMut(u32)) {
        let bytes = text.as_bytes();
        if self.map(bytes) {
            self.runs(bytes.len(), |start, end| {
                found(hash(bytes, start, end, seed));
                true
            });
        } else {
            for (_, token) in tokens(text) {
                found(token_hash(seed, token));
            }
        }
    }

    /// A number that is the same for texts whose first `most` tokens are the same, tokens with a digit being all alike.
    #[inline]
    pub(crate) fn shape(&mut self, text: &str, most: usize) -> u64 {
        let bytes = text.as_bytes();
        let head = &bytes[..bytes.len().min(SHAPE_BYTES)];
        // Bytes that are no ASCII are separators here: a shape need not be exact.
        self.map(head);
        let mut shape = SPREAD;
        let mut count = 0;
        self.runs(head.len(), |start, end| {
            let letters_only = head[start..end].iter().all(|byte| !byte.is_ascii_digit());
            let token = if letters_only {
                u64::from(hash(head, start, end, ColumnSeed(0)))
            } else {
                1
            };
            shape = folded_multiply(shape ^ token, SPREAD);
            count += 1;
            count < most
        });
        shape
    }

    /// Fills the bitmap; says whether the text is ASCII alone.
    #[inline]
    fn map(&mut self, bytes: &[u8]) -> bool {
        self.words.clear();
        let (eights, rest) = bytes.as_chunks::<8>();
        let (mut word, mut shift, mut high) = (0, 0, 0);
        let mut add = |eight: u64, words: &mut Vec<u64>| {
            high |= eight;
            word |= token_bits(eight) << shift;
            shift += 8;
            if shift == 64 {
                words.push(word);
                (word, shift) = (0, 0);
            }
        };
        for eight in eights {
            add(u64::from_le_bytes(*eight), &mut self.words);
        }
        if !rest.is_empty() {
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            add(u64::from_le_bytes(eight), &mut self.words);
        }
        if shift > 0 {
            self.words.push(word);
        }
        high & HIGH == 0
    }

    /// Calls `found` with the bounds of every run of ones of the bitmap, until it answers no.
    #[inline]
    fn runs(&self, length: usize, mut found: impl FnMut(usize, usize) -> bool) {
        let mut open = None;
        for (position, word) in self.words.iter().enumerate() {
            let (base, mut word) = (position * 64, *word);
            if let Some(start) = open {
                let ones = word.trailing_ones() as usize;
                if ones == 64 {
                    continue;
                }
                if !found(start, base + ones) {
                    return;
                }
                open = None;
                word &= u64::MAX << ones;
            }
            while word != 0 {
                let start = word.trailing_zeros() as usize;
                let ones = (word >> start).trailing_ones() as usize;
                if start + ones == 64 {
                    open = Some(base + start);
                    break;
                }
                if !found(base + start, base + start + ones) {
                    return;
                }
                word &= u64::MAX << (start + ones);
            }
        }
        if let Some(start) = open {
            found(start, length);
        }
    }
}

/// Bytes of a text that its shape depends on.
const SHAPE_BYTES: usize = 128;

/// Bit n: byte n of the eight is an ASCII letter, a digit or `_`.
#[inline]
fn token_bits(eight: u64) -> u64 {
    let every = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let low = eight & !HIGH;
    // The high bit of a sum is set where the byte is at least the bound; no sum carries over.
    let at_least = |value: u64, bound: u8| value + every(0x80 - bound);
    let folded = low | CASE;
    let letters = at_least(folded, b'a') & !at_least(folded, b'z' + 1);
    let digits = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let underscores = !((low ^ every(b'_')) + every(0x7f));
    let found = (letters | digits | underscores) & !eight & HIGH;
    // Gathers the eight high bits into one byte.
    (found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The hash of `text[start..end]`, which is ASCII in any case, or folded; never 0.
#[inline]
fn hash(text: &[u8], start: usize, end: usize, seed: ColumnSeed) -> u32 {
    let token = &text[start..end];
    let (first, last) = match token.len() {
        0..=8 => (eight_or_fewer(text, start, token.len()), 0),
        9..=16 => (eight(token, 0), eight(token, token.len() - 8)),
        _ => {
            let mut state = 0;
            let (eights, _) = token.as_chunks::<8>();
            for bytes in eights {
                state = folded_multiply(state ^ (u64::from_le_bytes(*bytes) | CASE), SPREAD);
            }
            (state, eight(token, token.len() - 8))
        }
    };
    let wide = folded_multiply(first ^ seed.0, last ^ SPREAD ^ token.len() as u64);
    ((wide >> (u64::BITS - HASH_BITS)) as u32).max(1)
}

#[inline]
fn folded_multiply(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// Eight bytes, folded.
#[inline]
fn eight(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_le_bytes(*bytes) | CASE,
        None => 0,
    }
}

/// Up to eight bytes, folded, the missing ones 0.
#[inline]
fn eight_or_fewer(text: &[u8], at: usize, length: usize) -> u64 {
    let mask = match length {
        0 => 0,
        length => u64::MAX >> (64 - 8 * length),
    };
    let eight = match text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => {
            let mut padded = [0; 8];
            for (to, from) in padded.iter_mut().zip(&text[at..]) {
                *to = *from;
            }
            u64::from_le_bytes(padded)
        }
    };
    (eight | CASE) & mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        Tokeniser::default().hashes(text, ColumnSeed::of("message"), |hash| found.push(hash));
        found
    }

    fn expected(text: &str) -> Vec<u32> {
        let seed = ColumnSeed::of("message");
        let hash = |token: &str| token_hash(seed, token);
        tokens(text).map(|(_, token)| hash(token)).collect()
    }

    #[test]
    fn every_byte_is_classified_as_the_definition_does() {
        for byte in 0..128_u8 {
            let bits = token_bits(u64::from_le_bytes([byte; 8]));
            let wanted = logmill_model::token::is_token_char(char::from(byte));
            assert_eq!(bits, if wanted { 0xff } else { 0 }, "{byte:#x}");
        }
    }

    #[test]
    fn shapes_ignore_numbers_and_tell_words_apart() {
        let mut tokeniser = Tokeniser::default();
        let mut shape = |text: &str| tokeniser.shape(text, 8);
        assert_eq!(
            shape("took 15 ms for blk_77 and more"),
            shape("took 7001 ms for blk_a9 and more")
        );
        assert_ne!(shape("took 15 ms"), shape("gave 15 ms"));
        assert_eq!(shape(""), shape("--- "));
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_the_definition(text in "([a-zA-Z0-9_]{0,20}[ .:/=ßÉ字\u{130}Σ-]?){0,12}") {
            prop_assert_eq!(hashes(&text), expected(&text));
        }

        #[test]
        fn tokens_of_ascii_are_those_of_the_definition(text in "([a-zA-Z0-9_]{0,70}[ -~]?){0,6}") {
            prop_assert_eq!(hashes(&text), expected(&text));
            prop_assert_eq!(hashes(&text.to_ascii_uppercase()), expected(&text));
        }

        #[test]
        fn different_tokens_have_different_hashes(one in "[a-z0-9_]{1,40}", other in "[a-z0-9_]{1,40}") {
            // Among some hundred pairs there is hardly a collision by chance, and the cases are the same in every run.
            prop_assert_eq!(one == other, hashes(&one) == hashes(&other));
        }
    }
}
