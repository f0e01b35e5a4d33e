//! `logmill ingest`: files and standard input to a server.

mod batches;
mod source;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::ingest::batches::Batch;
use crate::ingest::source::Source;
use crate::ingest::summary::Summary;
use crate::output::{note, write_out};
use crate::units::{parse_bytes, parse_duration};

/// Send log files, or standard input, to a server.
///
/// Files may be plain, gzip or zstd. Batches are cut between records, sent over several connections, and tried again
/// when the server is busy or away; a batch that was stored but whose answer got lost is not stored twice.
#[derive(Debug, Args)]
pub struct IngestArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Service of records that name none.
    #[arg(long)]
    service: Option<String>,
    /// How the files are read; auto looks at each file's first line.
    #[arg(long, value_enum, default_value_t)]
    format: FileFormat,
    /// An attribute for records that lack it; may be given several times.
    #[arg(long = "field", value_name = "NAME=VALUE")]
    fields: Vec<String>,
    /// Bytes of a batch, about.
    #[arg(long, default_value = "1MiB", value_parser = parse_bytes)]
    batch_bytes: u64,
    /// Batches under way at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// How long a batch is tried while the server is busy or away.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    retry_for: Duration,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
    /// Files to send; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// How files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// NDJSON if the first line is an object, else text whose lines are read by the first format that fits.
    #[default]
    Auto,
    /// Each line is a message.
    Raw,
    /// RFC 5424 or RFC 3164.
    Syslog,
    /// key=value.
    Logfmt,
    /// Access logs.
    Clf,
    /// One JSON object a line.
    Ndjson,
    /// One JSON document: an object or an array.
    Json,
}

impl FileFormat {
    /// The request's path and content type.
    fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::Auto => ("/ingest?format=auto", "text/plain"),
            Self::Raw => ("/ingest?format=raw", "text/plain"),
            Self::Syslog => ("/ingest?format=syslog", "text/plain"),
            Self::Logfmt => ("/ingest?format=logfmt", "text/plain"),
            Self::Clf => ("/ingest?format=clf", "text/plain"),
            Self::Ndjson => ("/ingest?", "application/x-ndjson"),
            Self::Json => ("/ingest?", "application/json"),
        }
    }
}

/// What all batches of a run share.
struct Sender {
    client: HttpClient,
    parameters: String,
    patience: Duration,
    run: u64,
    progress: ProgressBar,
}

impl IngestArguments {
    /// Sends all files; 1 when anything was refused or could not be sent.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let begun = Instant::now();
        let sender = Arc::new(Sender {
            client: HttpClient::new(&self.server)?,
            parameters: self.parameters()?,
            patience: self.retry_for,
            run: rand::random(),
            progress: self.progress(),
        });
        let mut summary = Summary::default();
        for file in &self.files {
            let source = Source::open(file, self.format)?;
            summary.begin_file(file);
            if let Err(error) = self.send_file(&sender, source, &mut summary).await {
                sender.progress.abandon();
                return Err(error.context(format!("sending {}", file.display())));
            }
        }
        sender.progress.finish_and_clear();
        summary.elapsed = begun.elapsed();
        if self.json {
            let mut text = serde_json::to_vec(&summary)?;
            text.push(b'\n');
            write_out(&text)?;
        } else {
            note(&summary.for_people());
        }
        Ok(if summary.is_clean() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Attributes as query parameters.
    fn parameters(&self) -> anyhow::Result<String> {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        if let Some(service) = &self.service {
            parameters.append_pair("service", service);
        }
        for field in &self.fields {
            let pair = field.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) =
                pair.with_context(|| format!("--field {field:?}: write name=value"))?;
            parameters.append_pair(name, value);
        }
        Ok(parameters.finish())
    }

    fn progress(&self) -> ProgressBar {
        let lengths = self
            .files
            .iter()
            .map(|file| std::fs::metadata(file).map(|m| m.len()));
        let total: Result<u64, _> = lengths.sum();
        let (bar, template) = match total {
            Ok(total) => (
                ProgressBar::new(total),
                "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
            ),
            Err(_) => (
                ProgressBar::new_spinner(),
                "{spinner} {bytes}  {bytes_per_sec}  {msg}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }

    /// Reads a file on a thread of its own and sends its batches side by side.
    async fn send_file(
        &self,
        sender: &Arc<Sender>,
        source: Source,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let connections = usize::from(self.connections);
        let (give, mut take) = mpsc::channel::<anyhow::Result<Batch>>(connections);
        let batch_bytes = usize::try_from(self.batch_bytes)
            .unwrap_or(usize::MAX)
            .max(1);
        let (path, content_type) = source.format.request();
        let reader = tokio::task::spawn_blocking(move || batches::read(source, batch_bytes, &give));
        let mut under_way = FuturesUnordered::new();
        let mut open = true;
        while open || !under_way.is_empty() {
            tokio::select! {
                batch = take.recv(), if open && under_way.len() < connections => match batch {
                    Some(batch) => {
                        let (sender, batch) = (sender.clone(), batch?);
                        under_way.push(async move {
                            let answer = sender.send(path, content_type, &batch).await;
                            (batch, answer)
                        });
                    }
                    None => open = false,
                },
                Some((batch, answer)) = under_way.next() => {
                    summary.add(&batch, answer?)?;
                    sender.progress.set_position(batch.position);
                    sender.progress.set_message(summary.brief());
                }
            }
        }
        reader.await.context("reading the file")
    }
}

impl Sender {
    async fn send(
        &self,
        path: &str,
        content_type: &'static str,
        batch: &Batch,
    ) -> anyhow::Result<crate::http_client::Answer> {
        let path = format!("{path}&{}", self.parameters);
        let mut outgoing = Outgoing::post(
            path.trim_end_matches(['&', '?']),
            content_type,
            batch.body.clone(),
        );
        // The run's random number keeps two runs over the same file apart: only retries are recognised.
        let content = xxhash_rust::xxh3::xxh3_64(&batch.body);
        let key = format!(
            "{:016x}-{}-{}-{content:016x}",
            self.run, batch.file, batch.first_line
        );
        outgoing
            .headers
            .insert("idempotency-key", HeaderValue::try_from(key)?);
        let waiting = |reason: &str| self.progress.set_message(format!("waiting: {reason}"));
        self.client
            .call_patiently(&outgoing, self.patience, &waiting)
            .await
    }
}
