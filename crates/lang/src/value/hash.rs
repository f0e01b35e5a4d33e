//! Hashes that queries see.

use std::fmt::Write as _;

/// What the `hash` pipe gives: the lower 53 bits of xxHash64, so that a float keeps them all.
pub fn hash(text: &str) -> u64 {
    xxhash_rust::xxh64::xxh64(text.as_bytes(), 0) & ((1 << 53) - 1)
}

/// Appends the `_stream_id` of a `_stream`: 128 bits of xxHash3 in hexadecimal. A record without a stream has none.
pub fn write_stream_id(stream: &str, out: &mut String) {
    if !stream.is_empty() {
        let id = xxhash_rust::xxh3::xxh3_128(stream.as_bytes());
        write!(out, "{id:032x}").expect("writing to a string cannot fail");
    }
}

/// As [`write_stream_id`], to a text of its own.
pub fn stream_id(stream: &str) -> String {
    let mut out = String::new();
    write_stream_id(stream, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_do_not_change() {
        assert_eq!(hash(""), 1_929_880_503_118_233);
        assert_eq!(hash("5"), 479_885_381_748_973);
        assert_eq!(hash("abc"), 7_930_733_036_767_641);
        assert_eq!(stream_id(""), "");
        assert_eq!(stream_id("{host=\"a\"}").len(), 32);
        assert_ne!(stream_id("{host=\"a\"}"), stream_id("{host=\"b\"}"));
    }
}
