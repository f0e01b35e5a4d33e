//! Running a server: health, metrics, documentation, shutdown, limits on memory.

use serde_json::json;

use crate::harness::{Data, ndjson, terminate};

#[test]
fn health_and_readiness_name_the_components() {
    let data = Data::new();
    let server = data.serve();
    assert_eq!(server.get("/health").status, 200);
    let ready = server.get("/health/ready").json();
    let text = ready.to_string();
    for component in ["wal", "memtable", "catalog", "object_store"] {
        assert!(text.contains(component), "{text}");
    }
}

#[test]
fn metrics_count_what_happened() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[json!({"message": "a"}), json!({"message": "b"})]);
    server.ingest_ndjson(b"[", &[]);
    server.flush();
    server.query(json!({}));
    let text = server.get("/metrics").text();
    let expected = [
        "logmill_http_requests_total",
        "logmill_ingest_records_total",
        "logmill_ingest_bytes_total",
        "logmill_wal_sync_seconds",
        "logmill_flush_seconds",
        "logmill_memtable_bytes",
        "logmill_segments",
        "logmill_query_seconds",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ];
    for name in expected {
        assert!(
            text.contains(&format!("# TYPE {name} ")),
            "{name} is missing:\n{text}"
        );
        assert!(
            text.contains(&format!("# HELP {name} ")),
            "{name} has no help:\n{text}"
        );
    }
    assert!(
        text.contains("logmill_ingest_records_total{outcome=\"accepted\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("logmill_ingest_records_total{outcome=\"rejected\"} 1"),
        "{text}"
    );
    assert_eq!(server.metric("logmill_segments"), 1.0);
}

#[test]
fn the_documentation_is_served() {
    let data = Data::new();
    let server = data.serve();
    let document = server.get("/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/ingest",
        "/query",
        "/sql",
        "/health",
        "/health/ready",
        "/metrics",
        "/admin/flush",
    ] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    let mut page = server.get("/docs");
    if page.status / 100 == 3 {
        page = server.get("/docs/");
    }
    assert!(page.text().contains("swagger"), "{}", page.text());
}

#[test]
fn request_ids_are_returned() {
    let data = Data::new();
    let server = data.serve();
    let answer = server.post(
        "/query",
        &[
            ("x-request-id", "mine-1"),
            ("content-type", "application/json"),
        ],
        b"{",
    );
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.json()["error"]["request_id"], "mine-1");
    assert!(server.get("/health").header("x-request-id").is_some());
    server.get("/nowhere").error(404, "not_found");
    server.get("/ingest").error(405, "method_not_allowed");
}

#[test]
fn a_stop_flushes_and_leaves_with_zero() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[json!({"message": "kept"})]);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let server = data.serve();
    assert_eq!(server.metric("logmill_segments"), 1.0);
    assert_eq!(server.count(), 1);
}

#[test]
fn a_stop_finishes_the_requests_under_way() {
    use std::io::{Read, Write};
    let data = Data::new();
    let server = data.serve();
    let body = ndjson(&[json!({"message": "slow"})]);
    let mut connection =
        std::net::TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    write!(
        connection,
        "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut begun = [0; 25];
    connection.read_exact(&mut begun).unwrap();
    assert!(
        begun.starts_with(b"HTTP/1.1 100"),
        "the request is under way"
    );
    terminate(server.process_id());
    while !server.log().contains("signal received") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    connection.write_all(&body).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    assert_eq!(data.serve().count(), 1);
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let data = Data::new();
    let _server = data.serve();
    let log = data
        .try_serve()
        .err()
        .expect("a second server must not start");
    assert!(log.contains("in use by another logmill process"), "{log}");
}

#[test]
fn a_full_memtable_refuses_with_retry_after_and_loses_nothing() {
    let data = Data::new()
        .setting("STORE__MEMTABLE_MAX_BYTES", 300_000)
        .setting("STORE__FLUSH_BYTES", 100_000);
    let server = data.serve();
    let records: Vec<_> = (0..300)
        .map(|n| json!({"n": n, "message": "x".repeat(500)}))
        .collect();
    let body = ndjson(&records);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..60 {
        let answer = server.ingest_ndjson(&body, &[]);
        match answer.status {
            200 => accepted += 300,
            429 => {
                answer.error(429, "overloaded");
                assert!(
                    answer
                        .header("retry-after")
                        .unwrap()
                        .parse::<u64>()
                        .unwrap()
                        >= 1
                );
                refused += 1;
                server.flush();
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(server.count(), accepted, "after {refused} refusals");
    let large = ndjson(
        &(0..3_000)
            .map(|n| json!({"n": n, "message": "x".repeat(500)}))
            .collect::<Vec<_>>(),
    );
    let answer = server.ingest_ndjson(&large, &[]);
    assert!(
        [413, 429].contains(&answer.status),
        "more than the memtable ever holds: {answer:?}"
    );
    assert_eq!(server.count(), accepted);
}

#[test]
fn retention_deletes_the_oldest() {
    let data = Data::new()
        .setting("STORE__RETENTION__MAX_AGE_MS", 3_600_000)
        .setting("STORE__RETENTION__CHECK_INTERVAL_MS", 100);
    let server = data.serve();
    server.ingest(&[json!({"timestamp": "2020-01-01T00:00:00Z", "message": "old"})]);
    server.flush();
    server.ingest(&[json!({"message": "new"})]);
    server.flush();
    for _ in 0..500 {
        if server.count() == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let page = server.query(json!({"from": 0}));
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    assert_eq!(page["records"][0]["message"], "new");
}

#[test]
fn beyond_loopback_takes_an_explicit_yes() {
    let data = Data::new();
    let output = data.run(&["serve", "--listen", "0.0.0.0:0", "--data-dir", "d"]);
    assert_eq!(output.status.code(), Some(1));
    let error = crate::harness::text_of(&output.stderr);
    assert!(error.contains("--insecure-no-auth"), "{error}");
    let output = data.run(&["serve", "--config", "none.toml"]);
    assert!(crate::harness::text_of(&output.stderr).contains("none.toml"));
}
