//! Cutting a file into batches between records.

use std::io::{BufRead, ErrorKind};
use std::sync::atomic::Ordering;

use anyhow::Context;
use bytes::Bytes;
use logmill_ingest::TextFormat;
use logmill_ingest::text::split_records;
use tokio::sync::mpsc;

use crate::ingest::FileFormat;
use crate::ingest::source::Source;

/// Records of a file, to be sent as one request.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    /// Number of the body's first line in the file, from 1.
    pub(crate) first_line: u64,
    /// The file, as its source numbered it.
    pub(crate) file: u64,
    /// How far the file was read.
    pub(crate) position: u64,
}

/// Reads the source to its end, and hands on its batches. Ends early when nobody takes them any more.
pub(crate) fn read(
    mut source: Source,
    batch_bytes: usize,
    give: &mpsc::Sender<anyhow::Result<Batch>>,
) {
    let mut carried = Vec::new();
    let mut first_line = 1;
    loop {
        let filled = fill(&mut source.reader, &mut carried, batch_bytes, source.format);
        let ended = match filled {
            Ok(ended) => ended,
            Err(error) => {
                let _ = give.blocking_send(Err(error));
                return;
            }
        };
        let cut = if ended {
            carried.len()
        } else {
            cut(&carried, source.format)
        };
        let rest = carried.split_off(cut);
        let body = Bytes::from(std::mem::replace(&mut carried, rest));
        let lines = memchr::memchr_iter(b'\n', &body).count() as u64;
        let position = source.position.load(Ordering::Relaxed);
        let batch = Batch {
            body,
            first_line,
            file: source.file,
            position,
        };
        first_line += lines;
        let blank = batch.body.trim_ascii().is_empty();
        if !blank && give.blocking_send(Ok(batch)).is_err() {
            return;
        }
        if ended {
            return;
        }
    }
}

/// Reads until there is enough for a batch; true at the end of the file.
fn fill(
    reader: &mut dyn BufRead,
    carried: &mut Vec<u8>,
    batch_bytes: usize,
    format: FileFormat,
) -> anyhow::Result<bool> {
    // A JSON document is one request.
    let wanted = if format == FileFormat::Json {
        usize::MAX
    } else {
        carried.len() + batch_bytes
    };
    loop {
        if carried.len() >= wanted && carried.contains(&b'\n') {
            return Ok(false);
        }
        let available = match reader.fill_buf() {
            Ok([]) => return Ok(true),
            Ok(available) => available,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("reading"),
        };
        let some = available
            .len()
            .min(wanted.saturating_sub(carried.len()).max(1));
        carried.extend_from_slice(&available[..some]);
        reader.consume(some);
    }
}

/// Where to cut: after the last whole line; in text that joins lines, before the last record, for lines that belong to
/// it may follow.
fn cut(bytes: &[u8], format: FileFormat) -> usize {
    let lines = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
    if format != FileFormat::Auto {
        return lines;
    }
    let whole = &bytes[..lines];
    let last = split_records(whole, TextFormat::Auto).last();
    let start = last.map_or(0, |record| {
        record.text.as_ptr().addr() - whole.as_ptr().addr()
    });
    if start == 0 { lines } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_with_whole_lines() {
        assert_eq!(cut(b"a\nb\nc", FileFormat::Ndjson), 4);
        assert_eq!(cut(b"abc", FileFormat::Raw), 0);
    }

    #[test]
    fn a_record_stays_with_its_stack_trace() {
        let text = b"2026-11-20 12:00:00,000 ERROR [main] a.B: one\n2026-11-20 12:00:01,000 ERROR [main] a.B: two\n\
                     java.lang.IllegalStateException: x\n\tat a.B.c(B.java:1)\n";
        let second = text.windows(4).rposition(|some| some == b"2026").unwrap();
        assert_eq!(cut(text, FileFormat::Auto), second);
    }
}
