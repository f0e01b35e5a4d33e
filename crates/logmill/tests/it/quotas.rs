//! Quotas of tenants: refused with which one and when to come back, and nobody else suffers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::{bearer, guarded, key, on_catalog};
use crate::harness::{Data, Response, Server, ndjson};

struct Tenant {
    bearer: String,
}

impl Tenant {
    fn new(data: &Data, name: &str, quotas: &[&str]) -> Self {
        on_catalog(data, &[&["tenant", "create", name], quotas].concat());
        let key = key(data, &["--tenant", name, "--scope", "ingest,query,admin"]);
        Self {
            bearer: bearer(&key),
        }
    }

    fn send(&self, server: &Server, records: usize) -> Response {
        let record = json!({"message": "x".repeat(200)});
        let body = ndjson(&vec![record; records]);
        server.ingest_ndjson(&body, &[("authorization", &self.bearer)])
    }

    fn sql(&self, server: &Server, query: &str) -> Response {
        let headers = [
            ("authorization", &*self.bearer),
            ("content-type", "application/json"),
        ];
        let body = json!({ "query": query }).to_string();
        server.post("/sql", &headers, body.as_bytes())
    }
}

/// Asserts that a quota refuses the request, and returns when to come back.
fn refused(answer: &Response, quota: &str) -> u64 {
    let message = answer.error(429, "quota_exceeded");
    assert!(message.contains(quota), "{message}");
    assert_eq!(answer.json()["error"]["quota"], quota);
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn rates_hold_for_their_tenant_and_nobody_else() {
    let data = guarded();
    let bytes = Tenant::new(&data, "bytes", &["--ingest-bytes-per-second", "10KB"]);
    let records = Tenant::new(&data, "records", &["--ingest-records-per-second", "50"]);
    let free = Tenant::new(&data, "free", &[]);
    let server = data.serve();
    // About 22 KB: more than flows in two seconds.
    assert_eq!(bytes.send(&server, 100).status, 200);
    let wait = refused(&bytes.send(&server, 1), "ingest_bytes_per_second");
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(records.send(&server, 200).status, 200);
    let wait = refused(&records.send(&server, 1), "ingest_records_per_second");
    assert!((1..=2).contains(&wait), "{wait}");
    for _ in 0..5 {
        assert_eq!(free.send(&server, 100).status, 200);
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(bytes.send(&server, 1).status, 200);
    assert_eq!(records.send(&server, 1).status, 200);
    // What was refused is not there.
    let count = records.sql(&server, "SELECT count(*) FROM logs").json();
    assert_eq!(count["rows"], json!([[201]]));
}

#[test]
fn stored_bytes_and_columns_are_bounded() {
    let data = guarded();
    let full = Tenant::new(&data, "full", &["--stored-bytes", "1KB"]);
    let narrow = Tenant::new(&data, "narrow", &["--columns", "2"]);
    let operator = bearer(&key(&data, &["--admin"]));
    let server = data.serve();
    assert_eq!(full.send(&server, 1_000).status, 200);
    let flush = || server.post("/admin/flush", &[("authorization", &operator)], b"");
    assert_eq!(flush().status, 200);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(refused(&full.send(&server, 1), "stored_bytes"), 60);
    let found = full.sql(&server, "SELECT count(*) FROM logs").json();
    assert_eq!(found["rows"], json!([[1_000]]), "readers go on");

    // Columns past the bound share one, and nothing is refused or lost.
    let record = json!({"message": "m", "a": 1, "b": 2, "c": 3, "d": 4});
    let headers = [("authorization", &*narrow.bearer)];
    let answer = server.ingest_ndjson(&ndjson(&[record]), &headers);
    assert_eq!(answer.json()["accepted"], 1, "{answer:?}");
    assert_eq!(flush().status, 200);
    let segments = server.get_with("/admin/segments", &headers).json();
    let columns = segments["segments"][0]["columns"].as_u64().unwrap();
    let headers = [headers[0], ("content-type", "application/json")];
    let query = json!({"from": 0, "filters": {"d": 4}}).to_string();
    let found = server.post("/query", &headers, query.as_bytes()).json();
    assert_eq!(found["records"][0]["d"], 4, "{found}");
    let wide = Tenant::new(&data, "wide", &[]);
    let headers = [("authorization", &*wide.bearer)];
    let record = json!({"message": "m", "a": 1, "b": 2, "c": 3, "d": 4});
    server.ingest_ndjson(&ndjson(&[record]), &headers);
    assert_eq!(flush().status, 200);
    let segments = server.get_with("/admin/segments", &headers).json();
    let without_quota = segments["segments"][0]["columns"].as_u64().unwrap();
    // Two of four have no column, and the overflow has one.
    assert_eq!(columns, without_quota - 1, "{segments}");
}

#[test]
fn a_query_has_its_place_until_its_answer_is_sent() {
    let data = guarded();
    let tenant = Tenant::new(&data, "acme", &["--concurrent-queries", "1"]);
    let server = data.serve();
    for _ in 0..10 {
        assert_eq!(tenant.send(&server, 10_000).status, 200);
    }
    // An answer of many megabytes whose client takes the first bytes only.
    let body = json!({"query": "SELECT message FROM logs", "format": "ndjson"}).to_string();
    let address = server.url.trim_start_matches("http://");
    let mut slow = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /sql HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        tenant.bearer,
        body.len()
    );
    slow.write_all(request.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 100]).unwrap();
    let answer = tenant.sql(&server, "SELECT 1");
    assert_eq!(refused(&answer, "concurrent_queries"), 1);
    drop(slow);
    let begun = Instant::now();
    loop {
        let answer = tenant.sql(&server, "SELECT 1");
        if answer.status == 200 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..5 {
        let answer: Value = tenant.sql(&server, "SELECT 1").json();
        assert!(answer["rows"].is_array(), "{answer}");
    }
}

#[test]
fn a_tenants_retention_takes_the_place_of_the_settings() {
    let data = guarded().setting("STORE__RETENTION__CHECK_INTERVAL_MS", 200);
    let brief = Tenant::new(&data, "brief", &["--max-age", "1h"]);
    let long = Tenant::new(&data, "long", &[]);
    let operator = bearer(&key(&data, &["--admin"]));
    let server = data.serve();
    let old = ndjson(&[json!({"timestamp": "2026-01-01T00:00:00Z", "message": "old"})]);
    for tenant in [&brief, &long] {
        let answer = server.ingest_ndjson(&old, &[("authorization", &tenant.bearer)]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let flush = server.post("/admin/flush", &[("authorization", &operator)], b"");
    assert_eq!(flush.status, 200);
    let count =
        |tenant: &Tenant| tenant.sql(&server, "SELECT count(*) FROM logs").json()["rows"].clone();
    let begun = Instant::now();
    while count(&brief) != json!([[0]]) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{}",
            count(&brief)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(count(&long), json!([[1]]));
}
