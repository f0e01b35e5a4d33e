//! What became of the files.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http_client::Answer;
use crate::ingest::batches::Batch;
use crate::units::{show_bytes, show_count};

/// Refused records that are shown.
const SHOWN: usize = 20;

/// Counts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// Lines that were joined to the record before them.
    pub(crate) continuation_lines: u64,
    /// Bytes sent, before compression.
    pub(crate) bytes: u64,
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub(crate) elapsed: Duration,
    files: Vec<FileSummary>,
    /// The first refused records.
    errors: Vec<Refused>,
}

/// Counts of a file.
#[derive(Debug, Serialize)]
struct FileSummary {
    file: String,
    accepted: u64,
    rejected: u64,
    continuation_lines: u64,
}

/// A refused record.
#[derive(Debug, Serialize)]
struct Refused {
    file: String,
    line: u64,
    code: String,
    message: String,
}

/// The server's answer.
#[derive(Deserialize)]
struct IngestAnswer {
    accepted: u64,
    rejected: u64,
    #[serde(default)]
    continuation_lines: u64,
    #[serde(default)]
    errors: Vec<IngestError>,
}

#[derive(Deserialize)]
struct IngestError {
    index: u64,
    code: String,
    message: String,
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

impl Summary {
    pub(crate) fn begin_file(&mut self, path: &Path) {
        self.files.push(FileSummary {
            file: path.display().to_string(),
            accepted: 0,
            rejected: 0,
            continuation_lines: 0,
        });
    }

    /// Takes in the answer to a batch of the current file.
    pub(crate) fn add(&mut self, batch: &Batch, answer: Answer) -> anyhow::Result<()> {
        // 400 with counts means: every record was refused. Any other failure is of the whole request.
        let counts = match serde_json::from_slice::<IngestAnswer>(&answer.body) {
            Ok(counts) if answer.status.is_success() || answer.status.as_u16() == 400 => counts,
            _ => return Err(answer.error()),
        };
        self.accepted += counts.accepted;
        self.rejected += counts.rejected;
        self.continuation_lines += counts.continuation_lines;
        self.bytes += batch.body.len() as u64;
        if let Some(file) = self.files.last_mut() {
            file.accepted += counts.accepted;
            file.rejected += counts.rejected;
            file.continuation_lines += counts.continuation_lines;
            for error in counts.errors {
                if self.errors.len() < SHOWN {
                    self.errors.push(Refused {
                        file: file.file.clone(),
                        line: batch.first_line + line_of(&batch.body, error.index),
                        code: error.code,
                        message: error.message,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether everything was taken.
    pub(crate) fn is_clean(&self) -> bool {
        self.rejected == 0
    }

    /// One line while it goes on.
    pub(crate) fn brief(&self) -> String {
        format!("{} records", show_count(self.accepted))
    }

    /// What a person sees in the end.
    pub(crate) fn for_people(&self) -> String {
        let mut lines = Vec::new();
        if self.files.len() > 1 {
            for file in &self.files {
                lines.push(format!(
                    "{}: {}",
                    file.file,
                    counts(file.accepted, file.continuation_lines, file.rejected)
                ));
            }
        }
        for error in &self.errors {
            lines.push(format!(
                "refused: {}:{}: {} ({})",
                error.file, error.line, error.message, error.code
            ));
        }
        if self.rejected > self.errors.len() as u64 {
            lines.push(format!(
                "… and {} more",
                show_count(self.rejected - self.errors.len() as u64)
            ));
        }
        let total = counts(self.accepted, self.continuation_lines, self.rejected);
        let seconds = self.elapsed.as_secs_f64();
        lines.push(format!(
            "{total}; {} in {seconds:.1} s",
            show_bytes(self.bytes)
        ));
        lines.join("\n")
    }
}

fn counts(accepted: u64, joined: u64, rejected: u64) -> String {
    let mut text = format!("{} records stored", show_count(accepted));
    if joined > 0 {
        text.push_str(&format!(", {} lines joined to them", show_count(joined)));
    }
    text + &format!(", {} refused", show_count(rejected))
}

/// How many lines precede the record of this index, which counts lines that are not blank.
fn line_of(body: &[u8], index: u64) -> u64 {
    let lines = body.split(|byte| *byte == b'\n').zip(0_u64..);
    let mut records = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    records
        .nth(usize::try_from(index).unwrap_or(usize::MAX))
        .map_or(0, |(_, line)| line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_counted_as_lines_and_not_as_records() {
        assert_eq!(line_of(b"a\n\n\nb\nc", 0), 0);
        assert_eq!(line_of(b"a\n\n\nb\nc", 1), 3);
        assert_eq!(line_of(b"a\n\n\nb\nc", 2), 4);
        assert_eq!(line_of(b"a", 9), 0);
    }
}
