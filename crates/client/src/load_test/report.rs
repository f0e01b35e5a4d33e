//! What a load test found.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load_test::Measured;
use crate::units::{show_bytes, show_count};

/// The report of a load test.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    settings: Settings,
    records: u64,
    rejected: u64,
    batches: u64,
    /// Before compression.
    bytes: u64,
    wire_bytes: u64,
    elapsed_seconds: f64,
    megabytes_per_second: f64,
    records_per_second: f64,
    latency_ms: Latency,
    statuses: BTreeMap<u16, u64>,
    retries: u64,
    server: ServerReport,
    megabytes_per_cpu_second: Option<f64>,
}

/// How the load was made.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) connections: u16,
    pub(crate) batch_bytes: u64,
    pub(crate) format: String,
    pub(crate) encoding: String,
    #[serde(rename = "loop")]
    pub(crate) loop_kind: &'static str,
}

/// What the server used.
#[derive(Debug, Serialize)]
pub(crate) struct ServerReport {
    /// User and system time.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) peak_rss_bytes: Option<u64>,
    pub(crate) process_id: Option<u32>,
    /// Whether the time includes a flush at the end.
    pub(crate) flushed: bool,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[allow(clippy::cast_precision_loss, reason = "shown with a few digits")]
impl Latency {
    fn of(latency_us: &Histogram<u64>) -> Self {
        let quantile = |q| latency_us.value_at_quantile(q) as f64 / 1_000.0;
        Self {
            mean: latency_us.mean() / 1_000.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: latency_us.max() as f64 / 1_000.0,
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown with a few digits"
)]
impl Report {
    pub(crate) fn new(
        measured: &Measured,
        elapsed: Duration,
        server: ServerReport,
        settings: Settings,
    ) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let megabytes = measured.bytes as f64 / 1e6;
        Self {
            settings,
            records: measured.records,
            rejected: measured.rejected,
            batches: measured.batches,
            bytes: measured.bytes,
            wire_bytes: measured.wire_bytes,
            elapsed_seconds: seconds,
            megabytes_per_second: megabytes / seconds,
            records_per_second: measured.records as f64 / seconds,
            latency_ms: Latency::of(&measured.latency_us),
            statuses: measured.statuses.clone(),
            retries: measured.retries,
            megabytes_per_cpu_second: server
                .cpu_seconds
                .filter(|seconds| *seconds > 0.0)
                .map(|seconds| megabytes / seconds),
            server,
        }
    }

    /// The report for people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut row = |name: &str, value: String| {
            table.add_row([name, &value]);
        };
        row("records", show_count(self.records));
        row("bytes", show_bytes(self.bytes));
        row("elapsed", format!("{:.2} s", self.elapsed_seconds));
        row(
            "throughput",
            format!("{:.1} MB/s", self.megabytes_per_second),
        );
        row(
            "records a second",
            show_count(self.records_per_second.round() as u64),
        );
        let latency = &self.latency_ms;
        row("latency p50", format!("{:.2} ms", latency.p50));
        row("latency p90", format!("{:.2} ms", latency.p90));
        row("latency p99", format!("{:.2} ms", latency.p99));
        row("latency p99.9", format!("{:.2} ms", latency.p999));
        row("latency max", format!("{:.2} ms", latency.max));
        if let Some(seconds) = self.server.cpu_seconds {
            let flush = if self.server.flushed {
                ", flush included"
            } else {
                ""
            };
            row("server processor time", format!("{seconds:.2} s{flush}"));
        }
        if let Some(rate) = self.megabytes_per_cpu_second {
            row("MB per cpu-second", format!("{rate:.1}"));
        }
        if let Some(bytes) = self.server.peak_rss_bytes {
            row("server peak memory", show_bytes(bytes));
        }
        row("refused records", show_count(self.rejected));
        row("retries", show_count(self.retries));
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n")
    }
}
