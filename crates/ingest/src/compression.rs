//! Bodies that arrive compressed.

use std::io::{BufReader, ErrorKind, Read};

use crate::{Error, Result};

/// The value of a `Content-Encoding` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Snappy, block or framed (told apart by the frame's magic).
    Snappy,
    /// RFC 1950 (zlib), or raw RFC 1951 as some clients send it.
    Deflate,
}

impl ContentEncoding {
    /// The encoding a `Content-Encoding` header names; one at a time.
    pub fn parse(header: &str) -> Result<Self> {
        let name = header.trim().to_ascii_lowercase();
        Ok(match name.as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            "snappy" | "x-snappy-framed" => Self::Snappy,
            "deflate" => Self::Deflate,
            _ => {
                return Err(Error::UnsupportedEncoding(
                    header.chars().take(60).collect(),
                ));
            }
        })
    }

    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Deflate => "deflate",
        }
    }
}

/// Beginning of a framed snappy stream.
const SNAPPY_FRAME: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Largest window of a zstd frame, as a power of two: what a decoder must support (RFC 8878, 3.1.1.1.2), so that a
/// frame cannot ask for more memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Decompresses `body` into `out` (cleared first); never more than `max_bytes`.
pub fn decompress(
    encoding: ContentEncoding,
    body: &[u8],
    out: &mut Vec<u8>,
    max_bytes: usize,
) -> Result<()> {
    out.clear();
    let refused = |detail: String| Error::Decompress {
        encoding: encoding.as_str(),
        detail,
    };
    if body.is_empty() {
        return Ok(());
    }
    match encoding {
        ContentEncoding::Identity => {
            if body.len() > max_bytes {
                return Err(Error::TooLarge {
                    limit: max_bytes as u64,
                });
            }
            out.extend_from_slice(body);
            Ok(())
        }
        ContentEncoding::Gzip => read_bounded(
            flate2::bufread::MultiGzDecoder::new(body),
            out,
            max_bytes,
            refused,
        ),
        ContentEncoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)
                .map_err(|error| refused(error.to_string()))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|error| refused(error.to_string()))?;
            read_bounded(decoder, out, max_bytes, refused)
        }
        ContentEncoding::Snappy if body.starts_with(SNAPPY_FRAME) => {
            let decoder = snap::read::FrameDecoder::new(BufReader::new(body));
            read_bounded(decoder, out, max_bytes, refused)
        }
        ContentEncoding::Snappy => {
            let length = snap::raw::decompress_len(body).map_err(|e| refused(e.to_string()))?;
            if length > max_bytes {
                return Err(Error::TooLarge {
                    limit: max_bytes as u64,
                });
            }
            out.resize(length, 0);
            let written = snap::raw::Decoder::new().decompress(body, out);
            let written = written.map_err(|error| refused(error.to_string()))?;
            out.truncate(written);
            Ok(())
        }
        ContentEncoding::Deflate if is_zlib(body) => read_bounded(
            flate2::bufread::ZlibDecoder::new(body),
            out,
            max_bytes,
            refused,
        ),
        ContentEncoding::Deflate => read_bounded(
            flate2::bufread::DeflateDecoder::new(body),
            out,
            max_bytes,
            refused,
        ),
    }
}

/// Whether a body has the two-byte header of RFC 1950.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..]
        if first & 0x0f == 8 && first >> 4 <= 7 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

fn read_bounded(
    reader: impl Read,
    out: &mut Vec<u8>,
    max_bytes: usize,
    refused: impl Fn(String) -> Error,
) -> Result<()> {
    let bound = max_bytes as u64 + 1;
    match reader.take(bound).read_to_end(out) {
        Ok(_) if out.len() > max_bytes => Err(Error::TooLarge {
            limit: max_bytes as u64,
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(refused(format!(
            "it ends too early, after {} bytes of content",
            out.len()
        ))),
        Err(error) => Err(refused(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(text: &[u8]) -> Vec<(ContentEncoding, Vec<u8>)> {
        let level = flate2::Compression::default();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        gzip.write_all(text).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(text).unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), level);
        raw.write_all(text).unwrap();
        let mut framed = snap::write::FrameEncoder::new(Vec::new());
        framed.write_all(text).unwrap();
        vec![
            (ContentEncoding::Identity, text.to_vec()),
            (ContentEncoding::Gzip, gzip.finish().unwrap()),
            (ContentEncoding::Zstd, zstd::encode_all(text, 1).unwrap()),
            (
                ContentEncoding::Snappy,
                snap::raw::Encoder::new().compress_vec(text).unwrap(),
            ),
            (ContentEncoding::Snappy, framed.into_inner().unwrap()),
            (ContentEncoding::Deflate, zlib.finish().unwrap()),
            (ContentEncoding::Deflate, raw.finish().unwrap()),
        ]
    }

    #[test]
    fn every_encoding_is_read_up_to_the_bound() {
        let text = b"all work and no play ".repeat(1_000);
        let mut out = Vec::new();
        for (encoding, body) in packed(&text) {
            decompress(encoding, &body, &mut out, text.len()).unwrap();
            assert_eq!(out, text, "{encoding:?}");
            let error = decompress(encoding, &body, &mut out, text.len() - 1).unwrap_err();
            assert_eq!(
                error,
                Error::TooLarge {
                    limit: text.len() as u64 - 1
                },
                "{encoding:?}"
            );
            assert!(out.len() <= text.len());
        }
    }

    #[test]
    fn gzip_members_are_read_one_after_the_other() {
        let gzip = |text: &[u8]| packed(text).remove(1).1;
        let mut out = Vec::new();
        let body = [gzip(b"one"), gzip(b"two")].concat();
        decompress(ContentEncoding::Gzip, &body, &mut out, 100).unwrap();
        assert_eq!(out, b"onetwo");
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = zstd::encode_all(&vec![0; 100 << 20][..], 1).unwrap();
        let mut out = Vec::new();
        let error = decompress(ContentEncoding::Zstd, &bomb, &mut out, 1 << 20).unwrap_err();
        assert_eq!(error.code(), "body_too_large");
        assert!(out.capacity() <= 8 << 20, "{}", out.capacity());
    }

    #[test]
    fn damaged_and_truncated_bodies_are_errors() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut out = Vec::new();
        for (encoding, body) in packed(&text).into_iter().skip(1) {
            let cut = &body[..body.len() - 7];
            let error = decompress(encoding, cut, &mut out, 1 << 20);
            assert_eq!(
                error.unwrap_err().code(),
                "invalid_compression",
                "{encoding:?}"
            );
            let noise = b"\x07this is nothing of the sort";
            assert!(
                decompress(encoding, noise, &mut out, 1 << 20).is_err(),
                "{encoding:?}"
            );
        }
        assert!(ContentEncoding::parse("br").is_err());
        assert!(ContentEncoding::parse("gzip, gzip").is_err());
        assert_eq!(ContentEncoding::parse(" GZIP "), Ok(ContentEncoding::Gzip));
    }
}
