//! A file to send: opened, decompressed, its format looked at.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

use crate::ingest::FileFormat;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is read.
pub(crate) struct Source {
    pub(crate) reader: Box<dyn BufRead + Send>,
    pub(crate) format: FileFormat,
    /// Bytes taken from the file itself, before decompression.
    pub(crate) position: Arc<AtomicU64>,
    /// Tells files of a run apart in idempotency keys.
    pub(crate) file: u64,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path, format: FileFormat) -> anyhow::Result<Self> {
        let inner: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?)
        };
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner,
            position: position.clone(),
        };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, counted);
        let magic = raw
            .fill_buf()
            .with_context(|| format!("reading {}", path.display()))?;
        let mut reader: Box<dyn BufRead + Send> = if magic.starts_with(GZIP) {
            let decoder = flate2::bufread::MultiGzDecoder::new(raw);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else if magic.starts_with(ZSTD) {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(raw)
        };
        let format = match format {
            FileFormat::Auto => {
                let beginning = reader
                    .fill_buf()
                    .with_context(|| format!("reading {}", path.display()))?;
                detect(beginning)
            }
            chosen => chosen,
        };
        let file = xxhash_rust::xxh3::xxh3_64(path.as_os_str().as_encoded_bytes());
        Ok(Self {
            reader,
            format,
            position,
            file,
        })
    }
}

/// NDJSON if the first line is a whole object, a JSON document if it is the beginning of one, else text.
fn detect(beginning: &[u8]) -> FileFormat {
    let text = beginning
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(beginning)
        .trim_ascii_start();
    let line = text
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    match text.first() {
        Some(b'{') if whole => FileFormat::Ndjson,
        // A line longer than the buffer cannot be checked.
        Some(b'{') if line.len() == text.len() && line.len() > BUFFER_BYTES / 2 => {
            FileFormat::Ndjson
        }
        Some(b'{') if line == b"{" => FileFormat::Json,
        Some(b'[') if whole || matches!(line, b"[" | b"[{") || line.starts_with(b"[{\"") => {
            FileFormat::Json
        }
        _ => FileFormat::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_format() {
        let cases = [
            ("{\"a\":1}\n{\"a\":2}\n", FileFormat::Ndjson),
            ("\u{feff}{\"a\":1}", FileFormat::Ndjson),
            ("{\n  \"a\": 1\n}\n", FileFormat::Json),
            ("[\n {\"a\":1}]", FileFormat::Json),
            ("[{\"a\":1},{\"a\":2}]", FileFormat::Json),
            ("[Sun Dec 04 04:47:44 2005] [notice] x\n", FileFormat::Auto),
            ("[10.30 16:49:06] chrome.exe\n", FileFormat::Auto),
            ("{broken\n", FileFormat::Auto),
            ("", FileFormat::Auto),
        ];
        for (text, format) in cases {
            assert_eq!(detect(text.as_bytes()), format, "{text:?}");
        }
    }
}
