//! Prometheus metrics: every family is described and present from the start.

use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::serve::Error;

/// Renders the metrics of the process.
#[derive(Clone)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    process: Arc<Collector>,
}

impl MetricsHandle {
    /// Folds the samples that came since the last time into their buckets; without it they would pile up.
    pub(crate) fn upkeep(&self) {
        self.prometheus.run_upkeep();
    }

    /// All metrics as Prometheus text.
    pub(crate) fn render(&self) -> String {
        self.process.collect();
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }
}

const SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];
const ENTRIES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 128.0, 512.0];

const COUNTERS: [(&str, &str); 16] = [
    (
        "logmill_http_requests_total",
        "Requests by method, route and status.",
    ),
    (
        "logmill_ingest_records_total",
        "Records by outcome: accepted, rejected, duplicate (of a retried request).",
    ),
    (
        "logmill_ingest_bytes_total",
        "Bytes of ingest bodies: wire as they arrived, decoded once decompressed.",
    ),
    (
        "logmill_rejected_records_total",
        "Refused records by code; of each request the first ones that are named.",
    ),
    (
        "logmill_wal_bytes_total",
        "Bytes written to the write-ahead log.",
    ),
    (
        "logmill_wal_sync_failures_total",
        "Failed syncs; the log is poisoned after the first.",
    ),
    ("logmill_flush_rows_total", "Records flushed into segments."),
    (
        "logmill_flush_failures_total",
        "Flushes that failed; they are tried again.",
    ),
    (
        "logmill_compaction_rows_total",
        "Records in merged segments.",
    ),
    (
        "logmill_compaction_failures_total",
        "Merges that failed; they are tried again.",
    ),
    (
        "logmill_compactions_in_vain_total",
        "Merges whose inputs were gone when they were done.",
    ),
    (
        "logmill_orphans_deleted_total",
        "Objects that the catalog did not know and that were deleted.",
    ),
    (
        "logmill_retention_segments_deleted_total",
        "Segments that retention deleted.",
    ),
    (
        "logmill_idempotent_replays_total",
        "Requests that were answered from the memory of an earlier one.",
    ),
    (
        "logmill_query_failures_total",
        "Queries that failed, by code.",
    ),
    ("logmill_panics_total", "Requests that ended in a panic."),
];
const GAUGES: [(&str, &str); 12] = [
    (
        "logmill_inflight_bytes",
        "Bytes that the request bodies under way hold.",
    ),
    (
        "logmill_memtable_bytes",
        "Bytes of records not yet in segments.",
    ),
    ("logmill_memtable_rows", "Records not yet in segments."),
    ("logmill_segments", "Segments."),
    ("logmill_segment_rows", "Records in segments."),
    ("logmill_segment_bytes", "Bytes of segments."),
    (
        "logmill_compaction_debt_segments",
        "Segments more than there would be if compaction had caught up.",
    ),
    (
        "logmill_compaction_pending_segments",
        "Segments that are being merged or are due to be; 0 when no merge is running or due.",
    ),
    ("logmill_wal_files", "Files of the write-ahead log."),
    (
        "logmill_wal_disk_bytes",
        "Bytes of the write-ahead log on disk.",
    ),
    (
        "logmill_idempotency_keys",
        "Idempotency keys that are remembered.",
    ),
    ("logmill_queries_running", "Queries that run now."),
];
const HISTOGRAMS: [(&str, &str); 7] = [
    (
        "logmill_http_request_seconds",
        "Time from a request's head to its response's head, by route.",
    ),
    (
        "logmill_wal_append_seconds",
        "Time to write and sync a group of entries.",
    ),
    ("logmill_wal_sync_seconds", "Time of fdatasync alone."),
    ("logmill_wal_group_entries", "Entries that shared one sync."),
    ("logmill_flush_seconds", "Time of a flush."),
    ("logmill_compaction_seconds", "Time of a merge."),
    ("logmill_query_seconds", "Time of a query, by kind."),
];

/// Installs the process's recorder; once a process.
pub fn install_metrics() -> Result<MetricsHandle, Error> {
    let prometheus = PrometheusBuilder::new()
        .set_buckets(&SECONDS)
        .and_then(|builder| {
            let entries = Matcher::Full("logmill_wal_group_entries".to_owned());
            builder.set_buckets_for_metric(entries, &ENTRIES)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Error::Metrics(error.to_string()))?;
    for (name, help) in COUNTERS {
        metrics::describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(name, help);
        metrics::gauge!(name).set(0.0);
    }
    for (name, help) in HISTOGRAMS {
        metrics::describe_histogram!(name, help);
    }
    for outcome in ["accepted", "rejected", "duplicate"] {
        metrics::counter!("logmill_ingest_records_total", "outcome" => outcome).absolute(0);
    }
    for kind in ["wire", "decoded"] {
        metrics::counter!("logmill_ingest_bytes_total", "kind" => kind).absolute(0);
    }
    for (name, _) in &COUNTERS[4..14] {
        metrics::counter!(*name).absolute(0);
    }
    let process = Collector::default();
    process.describe();
    Ok(MetricsHandle {
        prometheus,
        process: Arc::new(process),
    })
}
