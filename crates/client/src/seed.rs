//! `logmill seed`: sample data, through the real ingest path or into a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use logmill_model::time::parse_time_expression;
use logmill_model::{Clock, SystemClock};

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{note, write_out};
use crate::sample::{Sample, SampleOptions};
use crate::units::{parse_duration, show_count};

/// Make sample data of a made-up online shop and send it to a server.
///
/// The same seed, end, span and number of records give the same bytes.
#[derive(Debug, Args)]
pub struct SeedArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// How many records.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Seed of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The records' span of time.
    #[arg(long, default_value = "24h", value_parser = parse_duration)]
    span: Duration,
    /// The end of that span: RFC 3339, an epoch, or relative to now.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    end: String,
    /// Write NDJSON to a file (`-`: standard output) instead of sending it.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Bytes of a request, about.
const BATCH_BYTES: usize = 1_000_000;
/// How long a batch is tried while the server is busy or away.
const PATIENCE: Duration = Duration::from_secs(60);

impl SeedArguments {
    /// Makes the sample and sends or writes it.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let end_ns = parse_time_expression(&self.end, SystemClock.now_ns()).context("--end")?;
        let span_ns = i64::try_from(self.span.as_nanos()).context("--span is too long")?;
        let start_ns = end_ns.checked_sub(span_ns).context("--span is too long")?;
        let options = SampleOptions {
            records: self.records,
            seed: self.seed,
            start_ns,
            end_ns,
        };
        let sample = Sample::new(options);
        match &self.out {
            Some(path) => write(sample, path)?,
            None => self.send(sample).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn send(&self, sample: Sample) -> anyhow::Result<()> {
        let client = HttpClient::new(&self.server)?;
        let progress = ProgressBar::new(self.records);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} records  {per_sec}") {
            progress.set_style(style);
        }
        let mut body = Vec::new();
        let mut records = 0;
        let mut sample = sample.peekable();
        while let Some(line) = sample.next() {
            body.extend_from_slice(line.as_bytes());
            body.push(b'\n');
            records += 1;
            if body.len() >= BATCH_BYTES || sample.peek().is_none() {
                let request =
                    Outgoing::post("/ingest", "application/x-ndjson", std::mem::take(&mut body));
                let answer = client
                    .call_patiently(&request, PATIENCE, &|_reason| {})
                    .await?;
                answer.success()?;
                progress.set_position(records);
            }
        }
        progress.finish_and_clear();
        note(&format!(
            "{} sample records stored at {}",
            show_count(records),
            client.url()
        ));
        Ok(())
    }
}

fn write(sample: Sample, path: &std::path::Path) -> anyhow::Result<()> {
    if path == std::path::Path::new("-") {
        let mut chunk = Vec::new();
        for line in sample {
            chunk.extend_from_slice(line.as_bytes());
            chunk.push(b'\n');
            if chunk.len() >= BATCH_BYTES && !write_out(&std::mem::take(&mut chunk))? {
                return Ok(());
            }
        }
        write_out(&chunk)?;
        return Ok(());
    }
    let file = std::fs::File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for line in sample {
        writeln!(file, "{line}").with_context(|| format!("writing {}", path.display()))?;
    }
    file.flush()
        .with_context(|| format!("writing {}", path.display()))
}
