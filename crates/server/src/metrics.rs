//! Prometheus metrics: every family is described and present from the start.

use std::sync::Arc;

use logmill_ingest::RecordErrorCode;
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
    pub fn render(&self) -> String {
        self.process.collect();
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }
}

const SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];
const ENTRIES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 128.0, 512.0];

const COUNTERS: [(&str, &str); 35] = [
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
    (
        "logmill_tail_records_total",
        "Records that were told to tails.",
    ),
    (
        "logmill_tail_missed_records_total",
        "Records that tails were told to have missed, because their readers are slow.",
    ),
    ("logmill_panics_total", "Requests that ended in a panic."),
    (
        "logmill_compaction_rows_total",
        "Records of segments that merges made.",
    ),
    (
        "logmill_compaction_failures_total",
        "Merges that failed; they are tried again.",
    ),
    ("logmill_deletes_total", "Deletes that were asked for."),
    (
        "logmill_deleted_rows_total",
        "Records that deletes took out of segments.",
    ),
    (
        "logmill_token_index_failures_total",
        "Token indexes that could not be read; the segment was scanned.",
    ),
    (
        "logmill_object_requests_total",
        "Requests to a remote object store by operation and outcome.",
    ),
    (
        "logmill_object_cache_hits_total",
        "Blocks that the cache of a remote object store had.",
    ),
    (
        "logmill_object_cache_misses_total",
        "Blocks that it did not have.",
    ),
    (
        "logmill_object_cache_failures_total",
        "Failures of that cache by operation; the object store answers instead.",
    ),
    (
        "logmill_http_write_timeouts_total",
        "Connections given up because their client took nothing of an answer.",
    ),
    (
        "logmill_auth_failures_total",
        "Credentials that were not accepted, by reason.",
    ),
    (
        "logmill_quota_refusals_total",
        "Requests that were refused because of a tenant's quota, by quota.",
    ),
    (
        "logmill_quota_failures_total",
        "Times that counters of quotas could not be reached in Redis; the process counted alone.",
    ),
    (
        "logmill_audit_lost_total",
        "Entries of the audit log that could not be written.",
    ),
    (
        "logmill_queue_appended_entries_total",
        "Entries appended to the queue in Redis.",
    ),
    (
        "logmill_queue_appended_bytes_total",
        "Payload bytes appended to the queue in Redis.",
    ),
    (
        "logmill_dead_letters_total",
        "Entries that were set aside because they cannot be stored.",
    ),
    (
        "logmill_retries_total",
        "Calls of another server that were tried again, by component and class of error.",
    ),
    (
        "logmill_retries_exhausted_total",
        "Calls of another server that were given up after retries, by component and class of error.",
    ),
];
/// Counters with labels; their series are made one by one.
const LABELLED: [&str; 11] = [
    "logmill_http_requests_total",
    "logmill_ingest_records_total",
    "logmill_ingest_bytes_total",
    "logmill_rejected_records_total",
    "logmill_query_failures_total",
    "logmill_object_requests_total",
    "logmill_object_cache_failures_total",
    "logmill_auth_failures_total",
    "logmill_quota_refusals_total",
    "logmill_retries_total",
    "logmill_retries_exhausted_total",
];
const GAUGES: [(&str, &str); 21] = [
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
    (
        "logmill_queries_waiting",
        "Queries that wait for one of these to end.",
    ),
    ("logmill_tails", "Tails that are open."),
    (
        "logmill_pg_connections",
        "Connections by PostgreSQL's protocol that logged in.",
    ),
    (
        "logmill_object_cache_bytes",
        "Bytes of the cache of a remote object store.",
    ),
    (
        "logmill_queue_entries",
        "Entries in the queue in Redis, all partitions.",
    ),
    (
        "logmill_queue_bytes",
        "Redis's memory that these entries take, estimated.",
    ),
    ("logmill_dead_letters", "Entries that are set aside."),
    (
        "logmill_redis_memory_bytes",
        "Memory that the queue's Redis uses.",
    ),
    (
        "logmill_redis_memory_max_bytes",
        "Its maxmemory; 0: no limit.",
    ),
];
const HISTOGRAMS: [(&str, &str); 8] = [
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
    (
        "logmill_query_seconds",
        "Time of a query from when it began to run, by kind.",
    ),
    (
        "logmill_query_wait_seconds",
        "Time that a query waited before, or in vain.",
    ),
];

/// Makes the series of a route's requests. An increase is only seen from a value that was there before, so those that
/// are alerted on begin at 0.
pub(crate) fn begin_route(method: &'static str, route: &str) {
    for status in ["200", "500", "503"] {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_owned()),
        ];
        metrics::counter!("logmill_http_requests_total", &labels).absolute(0);
    }
}

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
    for code in RecordErrorCode::ALL {
        metrics::counter!("logmill_rejected_records_total", "code" => code.as_str()).absolute(0);
    }
    for code in logmill_query_api::Error::CODES {
        metrics::counter!("logmill_query_failures_total", "code" => code).absolute(0);
    }
    for (name, _) in COUNTERS {
        if !LABELLED.contains(&name) {
            metrics::counter!(name).absolute(0);
        }
    }
    let process = Collector::default();
    process.describe();
    Ok(MetricsHandle {
        prometheus,
        process: Arc::new(process),
    })
}
