//! Delete by query: gone from answers at once, from the disk after compaction, and nothing else is gone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::duckdb;
use crate::harness::{Data, Server, ndjson};

const OTHER: (&str, &str) = ("x-tenant-id", "other");

/// Records of three users in turn, all of one day.
fn orders(numbers: std::ops::Range<u64>) -> Vec<Value> {
    let order = |n: u64| {
        json!({
            "timestamp": format!("2026-11-20T10:{:02}:{:02}Z", n / 60, n % 60),
            "message": format!("Order {n} was paid"),
            "user": format!("u{}", n % 3),
        })
    };
    numbers.map(order).collect()
}

/// The answers agree that there are so many records, and so many of `u1`.
#[track_caller]
fn assert_counts(server: &Server, all: usize, of_u1: usize) {
    let count = |tail: &str| server.sql(&format!("SELECT count(*) FROM logs {tail}"))[0][0].clone();
    assert_eq!(count(""), all);
    assert_eq!(count("WHERE \"user\" = 'u1'"), of_u1);
    assert_eq!(count("WHERE has_token(message, 'order')"), all);
    let users = server.sql("SELECT \"user\", count(*) FROM logs GROUP BY 1 ORDER BY 1");
    let u1 = users.iter().find(|row| row[0] == "u1");
    assert_eq!(u1.map_or(json!(0), |row| row[1].clone()), of_u1);
    let records = |question: Value| server.query(question)["records"].as_array().unwrap().len();
    assert_eq!(records(json!({"from": 0, "limit": 1000})), all);
    let filtered = json!({"from": 0, "filters": {"user": "u1"}, "limit": 1000});
    assert_eq!(records(filtered), of_u1);
}

/// Records of `u1` in the tenant's Parquet files.
fn on_disk(data: &Data) -> String {
    let files = data
        .path()
        .join("objects/tenants/default/segments/*/*.parquet");
    let table = format!("read_parquet('{}', union_by_name = true)", files.display());
    duckdb::ask(&format!(
        "SELECT count(*) FROM {table} WHERE \"user\" = 'u1'"
    ))
}

#[test]
fn deleted_records_are_gone_at_once_and_after_compaction_from_the_disk() {
    let data = Data::new().setting("STORE__COMPACTION__ENABLED", false);
    let server = data.serve();
    let stranger = server.ingest_ndjson(&ndjson(&orders(0..30)), &[OTHER]);
    assert_eq!(stranger.status, 200);
    server.ingest(&orders(0..120));
    server.flush();
    server.ingest(&orders(120..240));
    server.flush();
    // These are still in memory.
    server.ingest(&orders(240..300));
    assert_counts(&server, 300, 100);

    let question = json!({"text": "order", "filters": {"user": "u1"}});
    let begun = server.post_json("/admin/delete", &question);
    assert_eq!(begun.status, 202, "{begun:?}");
    let begun = begun.json();
    assert_eq!(begun["status"], "running");
    assert_eq!(
        (&begun["segments"], &begun["segments_left"]),
        (&json!(3), &json!(3))
    );
    assert_counts(&server, 200, 0);
    // What comes later and matches stays.
    server.ingest(&orders(300..330));
    assert_counts(&server, 230, 10);
    assert_eq!(on_disk(&data), "[(100,)]");
    server.kill();

    let server = data.serve();
    let status = format!("/admin/deletes/{}", begun["id"].as_str().unwrap());
    assert_eq!(server.get(&status).json(), begun);
    assert_counts(&server, 230, 10);
    assert_eq!(server.post("/admin/compact", &[], b"").status, 200);
    let done = server.get(&status).json();
    assert_eq!(done["status"], "done");
    assert!(done["finished_at"].is_string(), "{done}");
    assert_eq!(
        (&done["segments_left"], &done["rows_deleted"]),
        (&json!(0), &json!(100))
    );
    assert_counts(&server, 230, 10);
    // The objects that were replaced go a moment later.
    let deadline = Instant::now() + Duration::from_secs(30);
    while on_disk(&data) != "[(0,)]" {
        assert!(Instant::now() < deadline, "{} are on disk", on_disk(&data));
        std::thread::sleep(Duration::from_millis(100));
    }
    server.flush();
    assert_eq!(on_disk(&data), "[(10,)]");
    server.kill();

    let server = data.serve();
    assert_eq!(server.get(&status).json(), done);
    assert_counts(&server, 230, 10);
    let theirs = json!({"query": "SELECT count(*) FROM logs"}).to_string();
    let headers = [OTHER, ("content-type", "application/json")];
    let theirs = server.post("/sql", &headers, theirs.as_bytes());
    assert_eq!(theirs.json()["rows"], json!([[30]]));

    // Nobody else learns of it.
    server.get_with(&status, &[OTHER]).error(404, "not_found");
    let list = |headers: &[(&str, &str)]| server.get_with("/admin/deletes", headers).json();
    assert_eq!(list(&[OTHER]), json!({"deletes": []}));
    assert_eq!(list(&[]), json!({"deletes": [done]}));
}

#[test]
fn what_a_delete_is_about_must_be_understood() {
    let server = Data::new().serve();
    server.ingest(&orders(0..3));
    for (question, code) in [
        (json!({}), "invalid_filter"),
        (json!({"from": "2026-01-01T00:00:00Z"}), "invalid_filter"),
        (json!({"filters": {"user": {"above": 1}}}), "invalid_filter"),
        (json!({"text": "\"order"}), "syntax_error"),
        (
            json!({"text": "order", "from": "tomorrow-ish"}),
            "invalid_time",
        ),
        (json!({"text": "order", "where": "x"}), "invalid_body"),
    ] {
        let answer = server.post_json("/admin/delete", &question);
        assert!(!answer.error(400, code).is_empty(), "{question}");
    }
    server
        .get("/admin/deletes/01M8AF76GWA2F18N8BSZMDQHGE")
        .error(404, "not_found");
    assert_eq!(server.get("/admin/deletes").json(), json!({"deletes": []}));
    assert_eq!(server.count(), 3);
}

#[test]
fn finished_deletes_are_forgotten_after_their_time() {
    let data = Data::new()
        .setting("STORE__FINISHED_DELETES_TTL_MS", 1)
        .setting("STORE__RETENTION__CHECK_INTERVAL_MS", 50);
    let server = data.serve();
    server.ingest(&orders(0..3));
    let answer = server.post_json("/admin/delete", &json!({"filters": {"user": "u1"}}));
    assert_eq!(answer.status, 202, "{answer:?}");
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.get("/admin/deletes").json() != json!({"deletes": []}) {
        assert!(Instant::now() < deadline, "it is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.count(), 2);
}
