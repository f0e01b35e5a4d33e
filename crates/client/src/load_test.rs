//! `logmill load-test`: drives a server and measures it.
//!
//! Closed loop: every connection sends its next batch when the last is answered. Open loop (`--rate`): batches have their
//! times, and latency is measured from the time a batch should have been sent, so that a slow server cannot hide behind
//! a client that waits for it (coordinated omission).

mod batches;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use http::{HeaderValue, header};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Mutex, mpsc};

use crate::http_client::{HttpClient, Outgoing, ServerArguments, is_retryable};
use crate::load_test::batches::{Batch, BatchSource, Content};
use crate::load_test::report::{Report, ServerReport, Settings};
use crate::output::{note, write_out};
use crate::server_process::ServerProcess;
use crate::units::{parse_bytes, parse_duration, show_bytes, show_count};

/// Drive a server with load and measure it.
#[derive(Debug, Args)]
pub struct LoadTestArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections that send at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Bytes of a batch, about.
    #[arg(long, default_value = "1MB", value_parser = parse_bytes)]
    batch_bytes: u64,
    /// Records of a batch, instead of its bytes.
    #[arg(long, conflicts_with = "batch_bytes")]
    batch_records: Option<u64>,
    /// How records are written.
    #[arg(long, value_enum, default_value_t)]
    format: LoadFormat,
    /// How bodies are compressed.
    #[arg(long, value_enum, default_value_t)]
    encoding: LoadEncoding,
    /// How long to send [default: 30s, or the whole file].
    #[arg(long, value_parser = parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,
    /// How many records to send.
    #[arg(long)]
    count: Option<u64>,
    /// Open loop: send at this rate, `20MB` a second or `50000r` (records) a second.
    #[arg(long, value_parser = parse_rate)]
    rate: Option<Rate>,
    /// NDJSON or text lines to send instead of generated records.
    #[arg(long)]
    file: Option<PathBuf>,
    /// How often to send the file.
    #[arg(long, default_value_t = 1, requires = "file")]
    repeat: u64,
    /// Seed of generated records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Flush at the end, so that the server's processor time includes making segments.
    #[arg(long)]
    flush: bool,
    /// Write the report as JSON to this file.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// A JSON array.
    Json,
    /// Lines of text.
    Text,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoadEncoding {
    /// Not.
    #[default]
    Identity,
    /// gzip, fastest level.
    Gzip,
    /// zstd, level 1.
    Zstd,
}

/// A rate of open-loop load.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    BytesPerSecond(f64),
    RecordsPerSecond(f64),
}

#[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn parse_rate(text: &str) -> Result<Rate, String> {
    let text = text.trim().trim_end_matches("/s");
    match text.strip_suffix('r') {
        Some(records) => parse_bytes(records).map(|value| Rate::RecordsPerSecond(value as f64)),
        None => parse_bytes(text).map(|value| Rate::BytesPerSecond(value as f64)),
    }
    .and_then(|rate| match rate {
        Rate::BytesPerSecond(value) | Rate::RecordsPerSecond(value) if value <= 0.0 => {
            Err("a rate is more than nothing".to_owned())
        }
        rate => Ok(rate),
    })
}

/// Longest latency that is told apart, microseconds.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Tries of a batch that the server refuses for being busy.
const TRIES: u32 = 100;

/// What a connection measured.
struct Measured {
    latency_us: Histogram<u64>,
    records: u64,
    bytes: u64,
    wire_bytes: u64,
    batches: u64,
    retries: u64,
    rejected: u64,
    statuses: BTreeMap<u16, u64>,
    failure: Option<String>,
}

impl Measured {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency_us: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
            records: 0,
            bytes: 0,
            wire_bytes: 0,
            batches: 0,
            retries: 0,
            rejected: 0,
            statuses: BTreeMap::new(),
            failure: None,
        })
    }

    fn merge(&mut self, other: Self) -> anyhow::Result<()> {
        self.latency_us.add(&other.latency_us)?;
        self.records += other.records;
        self.bytes += other.bytes;
        self.wire_bytes += other.wire_bytes;
        self.batches += other.batches;
        self.retries += other.retries;
        self.rejected += other.rejected;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failure = self.failure.take().or(other.failure);
        Ok(())
    }
}

/// A batch and the time at which it should be sent.
struct Due {
    batch: Batch,
    at: Option<Instant>,
}

impl LoadTestArguments {
    /// Runs the load; 1 when a batch could not be delivered.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        client.call(&Outgoing::get("/health")).await?.success()?;
        let process = ServerProcess::of(client.url());
        let source = BatchSource::open(self.content()?)?;
        let cpu_before = self.server_cpu(&client, process).await;
        let progress = progress();
        let begun = Instant::now();
        let measured = self.drive(&client, source, &progress, begun).await?;
        let elapsed = begun.elapsed();
        if self.flush {
            let flush = Outgoing::post("/admin/flush", "application/json", "");
            client.call(&flush).await?.success().context("flushing")?;
        }
        progress.finish_and_clear();
        let cpu_after = self.server_cpu(&client, process).await;
        let server = ServerReport {
            cpu_seconds: cpu_before
                .zip(cpu_after)
                .map(|(before, after)| after - before),
            peak_rss_bytes: process.and_then(ServerProcess::peak_rss_bytes),
            process_id: process.map(|process| process.id),
            flushed: self.flush,
        };
        let failure = measured.failure.clone();
        let report = Report::new(&measured, elapsed, server, self.settings());
        if let Some(path) = &self.report {
            let text = serde_json::to_vec_pretty(&report)?;
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        write_out(report.table().as_bytes())?;
        if let Some(failure) = failure {
            note(&format!("load-test: {failure}"));
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn content(&self) -> anyhow::Result<Content> {
        if self.file.is_none() && self.format == LoadFormat::Text {
            bail!("--format text sends the lines of a --file");
        }
        Ok(Content {
            file: self.file.clone(),
            repeat: self.repeat,
            seed: self.seed,
            batch_bytes: usize::try_from(self.batch_bytes)
                .unwrap_or(usize::MAX)
                .max(1),
            batch_records: self.batch_records,
            records: self.count,
            format: self.format,
            encoding: self.encoding,
        })
    }

    /// How long batches are made for; a file without a duration or a count is sent to its end.
    fn time_limit(&self) -> Option<Duration> {
        match (self.duration, self.count, &self.file) {
            (Some(duration), _, _) => Some(duration),
            (None, None, None) => Some(Duration::from_secs(30)),
            _ => None,
        }
    }

    async fn drive(
        &self,
        client: &HttpClient,
        source: BatchSource,
        progress: &ProgressBar,
        begun: Instant,
    ) -> anyhow::Result<Measured> {
        let (give, take) = mpsc::channel(usize::from(self.connections));
        let take = Arc::new(Mutex::new(take));
        let (rate, limit) = (self.rate, self.time_limit());
        let producer = std::thread::spawn(move || produce(source, rate, limit, begun, &give));
        let connections: Vec<_> = (0..self.connections)
            .map(|_| {
                let connection = Connection {
                    client: client.clone(),
                    format: self.format,
                    encoding: self.encoding,
                    progress: progress.clone(),
                };
                tokio::spawn(connection.run(take.clone()))
            })
            .collect();
        drop(take);
        let mut measured = Measured::new()?;
        for connection in connections {
            measured.merge(connection.await??)?;
        }
        producer
            .join()
            .map_err(|_panic| anyhow::anyhow!("making batches panicked"))??;
        Ok(measured)
    }

    /// Processor time of the server so far: of its process if it is local, else as it says itself.
    async fn server_cpu(&self, client: &HttpClient, process: Option<ServerProcess>) -> Option<f64> {
        if let Some(seconds) = process.and_then(ServerProcess::cpu_seconds) {
            return Some(seconds);
        }
        let answer = client.call(&Outgoing::get("/metrics")).await.ok()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("process_cpu_seconds_total "))?;
        line.trim().parse().ok()
    }

    fn settings(&self) -> Settings {
        Settings {
            url: self.server.url.to_string(),
            connections: self.connections,
            batch_bytes: self.batch_bytes,
            format: format!("{:?}", self.format).to_lowercase(),
            encoding: format!("{:?}", self.encoding).to_lowercase(),
            loop_kind: if self.rate.is_some() {
                "open"
            } else {
                "closed"
            },
        }
    }
}

fn progress() -> ProgressBar {
    let progress = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {elapsed}  {bytes} sent  {bytes_per_sec}  {msg}")
    {
        progress.set_style(style);
    }
    progress
}

/// Makes batches until there are no more, the time is over, or nobody takes them.
fn produce(
    mut source: BatchSource,
    rate: Option<Rate>,
    limit: Option<Duration>,
    begun: Instant,
    give: &mpsc::Sender<Due>,
) -> anyhow::Result<()> {
    let mut due = begun;
    while let Some(batch) = source.next()? {
        let at = rate.map(|_| due);
        if let Some(rate) = rate {
            due += interval(rate, &batch);
        }
        let over = limit.is_some_and(|limit| {
            begun.elapsed() >= limit || at.is_some_and(|at| at - begun >= limit)
        });
        if over || give.blocking_send(Due { batch, at }).is_err() {
            break;
        }
    }
    Ok(())
}

/// Time from one batch to the next.
#[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn interval(rate: Rate, batch: &Batch) -> Duration {
    Duration::from_secs_f64(match rate {
        Rate::BytesPerSecond(rate) => batch.bytes as f64 / rate,
        Rate::RecordsPerSecond(rate) => batch.records as f64 / rate,
    })
}

/// One connection's work.
struct Connection {
    client: HttpClient,
    format: LoadFormat,
    encoding: LoadEncoding,
    progress: ProgressBar,
}

impl Connection {
    async fn run(self, batches: Arc<Mutex<mpsc::Receiver<Due>>>) -> anyhow::Result<Measured> {
        let mut measured = Measured::new()?;
        while measured.failure.is_none() {
            let next = batches.lock().await.recv().await;
            let Some(due) = next else { break };
            if let Some(at) = due.at {
                tokio::time::sleep_until(at.into()).await;
            }
            let from = due.at.unwrap_or_else(Instant::now);
            self.send(&due.batch, from, &mut measured).await;
        }
        Ok(measured)
    }

    /// Delivers a batch, again and again while the server is busy.
    async fn send(&self, batch: &Batch, from: Instant, measured: &mut Measured) {
        let outgoing = self.request(batch);
        for _ in 0..TRIES {
            let answer = match self.client.call(&outgoing).await {
                Ok(answer) => answer,
                Err(error) => {
                    measured.failure = Some(format!("{error:#}"));
                    return;
                }
            };
            *measured.statuses.entry(answer.status.as_u16()).or_default() += 1;
            if answer.status.is_success() {
                let micros = u64::try_from(from.elapsed().as_micros()).unwrap_or(u64::MAX);
                measured.latency_us.saturating_record(micros.max(1));
                measured.records += batch.records;
                measured.bytes += batch.bytes;
                measured.wire_bytes += batch.body.len() as u64;
                measured.batches += 1;
                measured.rejected += rejected(&answer.body);
                self.progress.inc(batch.bytes);
                let (records, p99) = (
                    measured.records,
                    measured.latency_us.value_at_quantile(0.99),
                );
                self.progress.set_message(format!(
                    "{} records a connection, p99 {} ms",
                    show_count(records),
                    p99 / 1_000
                ));
                return;
            }
            if !is_retryable(answer.status) {
                measured.failure = Some(answer.error().to_string());
                return;
            }
            measured.retries += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let size = show_bytes(batch.bytes);
        measured.failure = Some(format!(
            "a batch of {size} was refused {TRIES} times for being too much"
        ));
    }

    fn request(&self, batch: &Batch) -> Outgoing {
        let (path, content_type) = match self.format {
            LoadFormat::Ndjson => ("/ingest", "application/x-ndjson"),
            LoadFormat::Json => ("/ingest", "application/json"),
            LoadFormat::Text => ("/ingest?format=auto", "text/plain"),
        };
        let mut outgoing = Outgoing::post(path, content_type, batch.body.clone());
        let encoding = match self.encoding {
            LoadEncoding::Identity => return outgoing,
            LoadEncoding::Gzip => "gzip",
            LoadEncoding::Zstd => "zstd",
        };
        outgoing
            .headers
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        outgoing
    }
}

/// Records that the server refused; most answers say 0, which is seen without parsing.
fn rejected(body: &[u8]) -> u64 {
    if memchr::memmem::find(body, b"\"rejected\":0,").is_some() {
        return 0;
    }
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    answer["rejected"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_bytes_or_records() {
        assert_eq!(parse_rate("20MB"), Ok(Rate::BytesPerSecond(20e6)));
        assert_eq!(parse_rate("20MB/s"), Ok(Rate::BytesPerSecond(20e6)));
        assert_eq!(parse_rate("50000r"), Ok(Rate::RecordsPerSecond(5e4)));
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("fast").is_err());
    }
}
