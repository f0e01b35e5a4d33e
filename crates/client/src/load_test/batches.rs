//! Batches to send: cut from a file, or generated once and sent again and again.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use logmill_model::{Clock, SystemClock};

use crate::load_test::{LoadEncoding, LoadFormat};
use crate::sample::{Sample, SampleOptions};

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) file: Option<PathBuf>,
    pub(crate) repeat: u64,
    pub(crate) seed: u64,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_records: Option<u64>,
    /// All records to send; without it there is no end.
    pub(crate) records: Option<u64>,
    pub(crate) format: LoadFormat,
    pub(crate) encoding: LoadEncoding,
}

/// A request's body.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    pub(crate) records: u64,
    /// Before compression.
    pub(crate) bytes: u64,
}

/// Makes batches.
pub(crate) struct BatchSource {
    content: Content,
    records_left: u64,
    kind: Kind,
}

enum Kind {
    /// Read as it is sent; what follows the last cut is carried.
    File {
        file: File,
        carried: Vec<u8>,
        rounds_left: u64,
    },
    /// Made before the clock starts: making records must not take the server's processors.
    Made {
        batches: Vec<Vec<Vec<u8>>>,
        next: usize,
    },
}

/// Generated batches; after the last one the first is sent again.
const MADE_BATCHES: usize = 32;

impl BatchSource {
    pub(crate) fn open(content: Content) -> anyhow::Result<Self> {
        let kind = match &content.file {
            Some(path) => {
                let file =
                    File::open(path).with_context(|| format!("opening {}", path.display()))?;
                Kind::File {
                    file,
                    carried: Vec::new(),
                    rounds_left: content.repeat.saturating_sub(1),
                }
            }
            None => Kind::Made {
                batches: make(&content),
                next: 0,
            },
        };
        Ok(Self {
            records_left: content.records.unwrap_or(u64::MAX),
            content,
            kind,
        })
    }

    /// The next batch; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        if self.records_left == 0 {
            return Ok(None);
        }
        let left = self.records_left;
        let lines = match &mut self.kind {
            Kind::Made { batches, next } => {
                let lines = &batches[*next % batches.len()];
                *next += 1;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(lines.len());
                lines[..most].concat()
            }
            Kind::File {
                file,
                carried,
                rounds_left,
            } => match next_lines(file, carried, rounds_left, &self.content, left)? {
                Some(lines) => lines,
                None => return Ok(None),
            },
        };
        let records = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count() as u64;
        self.records_left -= records.min(self.records_left);
        let bytes = lines.len() as u64;
        let body = compress(arrange(lines, self.content.format), self.content.encoding)?;
        Ok(Some(Batch {
            body: Bytes::from(body),
            records,
            bytes,
        }))
    }
}

fn make(content: &Content) -> Vec<Vec<Vec<u8>>> {
    let end_ns = SystemClock.now_ns();
    let options = SampleOptions {
        records: u64::MAX,
        seed: content.seed,
        start_ns: end_ns - 3_600_000_000_000,
        end_ns,
    };
    // With so many records the clock hardly moves from one to the next: a burst of the present.
    let mut sample = Sample::new(options);
    let mut batches = Vec::new();
    let mut records = 0;
    while batches.len() < MADE_BATCHES && records < content.records.unwrap_or(u64::MAX) {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let full = |lines: usize, bytes: usize| match content.batch_records {
            Some(records) => lines as u64 >= records.max(1),
            None => bytes >= content.batch_bytes,
        };
        while !full(lines.len(), bytes) {
            let Some(mut line) = sample.next() else { break };
            line.push('\n');
            bytes += line.len();
            lines.push(line.into_bytes());
        }
        records += lines.len() as u64;
        batches.push(lines);
    }
    batches
}

/// Whole lines of the file, as many as make a batch.
fn next_lines(
    file: &mut File,
    carried: &mut Vec<u8>,
    rounds_left: &mut u64,
    content: &Content,
    records_left: u64,
) -> anyhow::Result<Option<Vec<u8>>> {
    let most = content.batch_records.unwrap_or(u64::MAX).min(records_left);
    let wanted = content.batch_bytes;
    loop {
        let bytes_enough = content.batch_records.is_none() && carried.len() >= wanted;
        if let Some(cut) = cut(
            carried,
            if bytes_enough { wanted } else { usize::MAX },
            most,
        ) && (bytes_enough || cut.records == most)
        {
            let rest = carried.split_off(cut.end);
            return Ok(Some(std::mem::replace(carried, rest)));
        }
        let before = carried.len();
        let read = file
            .take((wanted as u64).max(1 << 20))
            .read_to_end(carried)
            .context("reading")?;
        if read > 0 {
            continue;
        }
        if *rounds_left > 0 {
            *rounds_left -= 1;
            std::io::Seek::rewind(file).context("reading from the beginning")?;
            if before > 0 && carried.last() != Some(&b'\n') {
                carried.push(b'\n');
            }
            continue;
        }
        return Ok((!carried.is_empty()).then(|| std::mem::take(carried)));
    }
}

struct Cut {
    end: usize,
    records: u64,
}

/// The last end of a line within `wanted` bytes (or the first one beyond), and within `most` lines.
fn cut(bytes: &[u8], wanted: usize, most: u64) -> Option<Cut> {
    if most == u64::MAX {
        let within = &bytes[..wanted.min(bytes.len())];
        let end = memchr::memrchr(b'\n', within).or_else(|| memchr::memchr(b'\n', bytes))?;
        return Some(Cut {
            end: end + 1,
            records: 0,
        });
    }
    let mut found = None;
    for (records, end) in (1..=most).zip(memchr::memchr_iter(b'\n', bytes)) {
        if end + 1 > wanted && found.is_some() {
            break;
        }
        found = Some(Cut {
            end: end + 1,
            records,
        });
    }
    found
}

/// Lines as the format has them.
fn arrange(lines: Vec<u8>, format: LoadFormat) -> Vec<u8> {
    if format != LoadFormat::Json {
        return lines;
    }
    let mut array = Vec::with_capacity(lines.len() + 2);
    array.push(b'[');
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    array
}

fn compress(body: Vec<u8>, encoding: LoadEncoding) -> anyhow::Result<Vec<u8>> {
    match encoding {
        LoadEncoding::Identity => Ok(body),
        LoadEncoding::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            Ok(encoder.finish()?)
        }
        LoadEncoding::Zstd => Ok(zstd::encode_all(&body[..], 1)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(file: Option<PathBuf>) -> Content {
        Content {
            file,
            repeat: 1,
            seed: 1,
            batch_bytes: 100,
            batch_records: None,
            records: None,
            format: LoadFormat::Ndjson,
            encoding: LoadEncoding::Identity,
        }
    }

    fn all(content: Content) -> Vec<Batch> {
        let mut source = BatchSource::open(content).unwrap();
        std::iter::from_fn(|| source.next().unwrap()).collect()
    }

    #[test]
    fn a_file_is_sent_whole_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let text: String = (0..100).map(|n| format!("{{\"line\":{n}}}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let batches = all(content(Some(path.clone())));
        let joined: Vec<u8> = batches
            .iter()
            .flat_map(|batch| batch.body.to_vec())
            .collect();
        assert_eq!(joined, text.as_bytes());
        assert_eq!(batches.iter().map(|batch| batch.records).sum::<u64>(), 100);
        assert!(
            batches
                .iter()
                .all(|batch| batch.body.len() <= 100 && batch.body.ends_with(b"\n"))
        );
        let twice = Content {
            repeat: 2,
            ..content(Some(path.clone()))
        };
        assert_eq!(
            all(twice).iter().map(|batch| batch.records).sum::<u64>(),
            200
        );
        let some = Content {
            records: Some(33),
            batch_records: Some(10),
            ..content(Some(path))
        };
        assert_eq!(
            all(some)
                .iter()
                .map(|batch| batch.records)
                .collect::<Vec<_>>(),
            [10, 10, 10, 3]
        );
    }

    #[test]
    fn generated_batches_have_the_records_that_were_asked_for() {
        let asked = Content {
            records: Some(777),
            batch_bytes: 20_000,
            format: LoadFormat::Json,
            ..content(None)
        };
        let batches = all(asked);
        let parsed = |batch: &Batch| {
            serde_json::from_slice::<Vec<serde_json::Value>>(&batch.body)
                .unwrap()
                .len() as u64
        };
        assert_eq!(batches.iter().map(parsed).sum::<u64>(), 777);
        assert!(batches.iter().all(|batch| parsed(batch) == batch.records));
    }
}
