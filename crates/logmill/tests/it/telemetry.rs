//! Traces and metrics of the processes themselves, received by a collector that speaks OTLP.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as MetricData;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;

use crate::collector::{Collector, ReceivedSpan, attribute};
use crate::fleet::Shared;
use crate::harness::{Data, Server, ndjson};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const QUERY_TRACE: &str = "1bf7651916cd43dd8448eb211c80319c";

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn traced(data: Data, collector: &Collector) -> Data {
    data.variable("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret")
        .variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
}

fn promptly(data: Data) -> Data {
    data.variable("OTEL_BSP_SCHEDULE_DELAY", 50)
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 100)
}

fn ingest(server: &Server, trace: &str) {
    let records: Vec<_> = (0..3)
        .map(|n| json!({"message": format!("record {n}")}))
        .collect();
    let parent = format!("00-{trace}-{CALLER}-01");
    let headers = [("traceparent", &parent[..]), ("x-tenant-id", "acme")];
    let answer = server.ingest_ndjson(&ndjson(&records), &headers);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The one span of a trace that has this name.
fn one<'a>(spans: &'a [ReceivedSpan], trace: &str, name: &str) -> &'a ReceivedSpan {
    let mut found = spans
        .iter()
        .filter(|span| span.trace() == trace && span.span.name == name);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "two of {name}: {spans:#?}");
    first
}

fn text(value: &str) -> Option<Attribute> {
    Some(Attribute::StringValue(value.to_owned()))
}

/// The flush that is linked to a trace.
fn flush_of<'a>(spans: &'a [ReceivedSpan], trace: &str) -> Option<&'a ReceivedSpan> {
    spans.iter().find(|span| {
        let links = &span.span.links;
        span.span.name == "flush" && links.iter().any(|link| hex(&link.trace_id) == trace)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_ingested(spans: &[ReceivedSpan]) {
    let request = one(spans, TRACE, "POST /ingest");
    assert_eq!(request.parent(), CALLER);
    assert_eq!(request.span.kind(), SpanKind::Server);
    let attributes = &request.span.attributes;
    assert_eq!(attribute(attributes, "http.route"), text("/ingest"));
    assert_eq!(attribute(attributes, "logmill.tenant"), text("acme"));
    let status = attribute(attributes, "http.response.status_code");
    assert_eq!(status, Some(Attribute::IntValue(200)));
    assert_eq!(one(spans, TRACE, "decode").parent(), request.id());
    let append = one(spans, TRACE, "append");
    assert_eq!(append.parent(), request.id());
    assert_eq!(append.span.kind(), SpanKind::Producer);
    let flush = flush_of(spans, TRACE).expect("a flush linked to the request's trace");
    assert_ne!(flush.trace(), TRACE);
    let trace = flush.trace();
    for name in ["encode", "put", "commit"] {
        assert_eq!(one(spans, &trace, name).parent(), flush.id(), "{name}");
    }
}

#[test]
fn a_trace_goes_from_an_api_process_through_a_worker_into_a_segment() {
    let (shared, collector) = (Shared::new(), Collector::start());
    let start = |role| promptly(traced(shared.data(role), &collector));
    let folders = ["api", "worker", "query"].map(start);
    let [api, worker, query] = [0, 1, 2].map(|n| folders[n].serve());
    ingest(&api, TRACE);
    let spans = until("the trace comes in", || {
        let spans = collector.spans();
        let is_there = |name: &str| {
            spans
                .iter()
                .any(|s| s.trace() == TRACE && s.span.name == name)
        };
        let flush = flush_of(&spans, TRACE);
        let whole = flush.is_some() && is_there("POST /ingest") && is_there("apply");
        whole.then_some(spans)
    });
    assert_ingested(&spans);
    let append = one(&spans, TRACE, "append");
    let apply = one(&spans, TRACE, "apply");
    assert_eq!(apply.parent(), append.id());
    assert_eq!(apply.span.kind(), SpanKind::Consumer);
    let flush = flush_of(&spans, TRACE).unwrap();
    for (span, role) in [(append, "api"), (apply, "worker"), (flush, "worker")] {
        let resource = &span.resource;
        assert_eq!(attribute(resource, "logmill.role"), text(role));
        assert_eq!(attribute(resource, "service.name"), text("logmill"));
        assert_eq!(attribute(resource, "deployment.environment"), text("test"));
    }

    let parent = format!("00-{QUERY_TRACE}-{CALLER}-01");
    let headers = [
        ("content-type", "application/json"),
        ("traceparent", &parent[..]),
        ("x-tenant-id", "acme"),
    ];
    let sql = json!({"query": "SELECT count(*) FROM logs"}).to_string();
    let answer = query.post("/sql", &headers, sql.as_bytes());
    assert_eq!(answer.json()["rows"], json!([[3]]));
    let spans = until("the question's trace comes in", || {
        let spans = collector.spans();
        let mut own = spans.iter().filter(|span| span.trace() == QUERY_TRACE);
        own.any(|span| span.span.name == "POST /sql")
            .then_some(spans)
    });
    let request = one(&spans, QUERY_TRACE, "POST /sql");
    for name in ["plan", "execute"] {
        assert_eq!(one(&spans, QUERY_TRACE, name).parent(), request.id());
    }
    assert_eq!(attribute(&request.resource, "logmill.role"), text("query"));
    assert!(
        !spans.iter().any(|span| span.span.name.contains("/health")),
        "probes leave no traces"
    );

    let accepted = until("the metric comes in", || {
        let metrics = collector.metrics("logmill_ingest_records_total");
        let points = metrics
            .into_iter()
            .filter_map(|(resource, metric)| match metric.data? {
                MetricData::Sum(sum) => Some((resource, sum.data_points)),
                _ => None,
            });
        points
            .filter(|(resource, _)| attribute(resource, "logmill.role") == text("api"))
            .flat_map(|(_, points)| points)
            .filter(|point| attribute(&point.attributes, "outcome") == text("accepted"))
            .find(|point| point.value == Some(Number::AsInt(3)))
    });
    assert!(accepted.start_time_unix_nano < accepted.time_unix_nano);
    let keys = collector.header("api-key");
    assert!(keys.iter().all(|key| key == "a secret") && !keys.is_empty());
    for server in [api, worker, query] {
        let (status, log) = server.stop();
        assert!(status.success(), "{log}");
    }
}

#[test]
fn what_was_not_sent_yet_is_sent_before_the_process_ends() {
    let collector = Collector::start();
    let data = traced(Data::new(), &collector)
        .variable("OTEL_BSP_SCHEDULE_DELAY", 3_600_000)
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 3_600_000)
        .variable("OTEL_SERVICE_NAME", "our-logs");
    let server = data.serve();
    ingest(&server, TRACE);
    let failed = server.post(
        "/sql",
        &[("traceparent", &format!("00-{QUERY_TRACE}-{CALLER}-00"))],
        b"{}",
    );
    assert_eq!(failed.status, 400, "{failed:?}");
    assert!(collector.spans().is_empty());
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(
        log.lines().any(|line| line.contains("stopped")),
        "the log is as ever: {log}"
    );
    let spans = collector.spans();
    assert_ingested(&spans);
    let request = one(&spans, TRACE, "POST /ingest");
    let name = attribute(&request.resource, "service.name");
    assert_eq!(name, text("our-logs"));
    assert_eq!(
        request.span.status.clone().unwrap_or_default().code(),
        StatusCode::Unset
    );
    assert!(
        spans.iter().all(|span| span.trace() != QUERY_TRACE),
        "a caller that does not record its trace is followed"
    );
    let metrics = collector.metrics("logmill_http_request_seconds");
    let histogram = metrics
        .into_iter()
        .find_map(|(_, metric)| match metric.data? {
            MetricData::Histogram(histogram) => Some(histogram),
            _ => None,
        });
    let points = histogram.unwrap().data_points;
    let ingests = points
        .iter()
        .find(|point| attribute(&point.attributes, "route") == text("/ingest"));
    let ingests = ingests.unwrap();
    assert_eq!(ingests.count, 1);
    assert_eq!(ingests.bucket_counts.iter().sum::<u64>(), 1);
    assert_eq!(
        ingests.bucket_counts.len(),
        ingests.explicit_bounds.len() + 1
    );
}

#[test]
fn nothing_is_sent_where_the_environment_says_so() {
    let collector = Collector::start();
    let data = traced(Data::new(), &collector).variable("OTEL_SDK_DISABLED", "true");
    let server = data.serve();
    ingest(&server, TRACE);
    server.stop();
    assert_eq!(collector.requests(), 0);
}

#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap();
    // It takes connections and never answers.
    let data = Data::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", 200)
        .variable("OTEL_METRIC_EXPORT_INTERVAL", 50)
        .variable("OTEL_BSP_SCHEDULE_DELAY", 50);
    let server = data.serve();
    let begun = Instant::now();
    until("the failure is in the log", || {
        ingest(&server, TRACE);
        server
            .log()
            .contains("metrics could not be sent")
            .then_some(())
    });
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_protocol_that_is_not_spoken_is_refused_at_the_start() {
    let data = Data::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let output = data.run(&["serve", "--listen", "127.0.0.1:0"]);
    let error = crate::harness::text_of(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("http/protobuf"), "{error}");
}
