//! The binary with its segments on a server of S3.

use std::time::{Duration, Instant};

use logmill_test_services::S3Server;
use serde_json::{Value, json};

use crate::harness::{Data, Server, text_of};

const BUCKET: &str = "logs";

/// A folder whose segments are in the bucket.
fn data_on(s3: &S3Server) -> Data {
    Data::new()
        .setting("OBJECTS__URL", format!("s3://{BUCKET}/of/ours"))
        .setting("OBJECTS__ENDPOINT", format!("http://{}", s3.address()))
        .setting("OBJECTS__REGION", "eu-west-1")
        .setting("OBJECTS__PATH_STYLE", "true")
        .setting("OBJECTS__ALLOW_HTTP", "true")
        .setting("STORE__COMPACTION__FAN_IN", "4")
        .setting("STORE__ORPHAN_CHECK_INTERVAL_MS", "50")
        .setting("STORE__ORPHAN_MIN_AGE_MS", "1500")
        .variable("AWS_ACCESS_KEY_ID", "somebody")
        .variable("AWS_SECRET_ACCESS_KEY", "a-secret")
}

fn records(range: std::ops::Range<u32>) -> Vec<Value> {
    let record = |n: u32| {
        json!({
            "timestamp": format!("2026-11-20T00:{:02}:{:02}Z", n / 60 % 60, n % 60),
            "service": if n.is_multiple_of(2) { "api" } else { "web" },
            "message": format!("request {n} took {} ms", n * 7 % 100),
            "trace_id": format!("{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15),
        })
    };
    range.map(record).collect()
}

fn objects(s3: &S3Server) -> usize {
    let listing = s3.ask("GET", &format!("/{BUCKET}?list-type=2"));
    listing.matches("<Key>").count()
}

fn objects_become(s3: &S3Server, count: usize) {
    let begun = Instant::now();
    while objects(s3) != count {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{} objects instead of {count}",
            objects(s3)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn questions_are_answered(server: &Server) {
    assert_eq!(server.count(), 4_000);
    let trace = format!("{:032x}", 1_234_u128 * 0x9e37_79b9_7f4a_7c15);
    let found = server.query(json!({"from": "2026-11-20", "filters": {"trace_id": trace}}));
    assert_eq!(found["records"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["records"][0]["message"], "request 1234 took 38 ms");
    let found = server.query(json!({"from": "2026-11-20", "text": "\"request 3999\"", "limit": 5}));
    assert_eq!(found["records"].as_array().unwrap().len(), 1, "{found}");
    let by_service =
        server.sql("SELECT service, count(*) FROM logs GROUP BY service ORDER BY service");
    assert_eq!(
        by_service,
        [[json!("api"), json!(2_000)], [json!("web"), json!(2_000)]]
    );
}

#[test]
fn segments_on_s3_answer_are_merged_deleted_swept_and_checked() {
    let s3 = S3Server::start(BUCKET);
    let data = data_on(&s3);
    let server = data.serve();
    for part in 0..4 {
        server.ingest(&records(part * 1_000..(part + 1) * 1_000));
        server.flush();
    }
    questions_are_answered(&server);
    server.kill();

    // A new process, with nothing in its cache.
    std::fs::remove_dir_all(data.path().join("cache")).unwrap();
    let server = data.serve();
    questions_are_answered(&server);
    assert_eq!(server.post("/admin/compact", &[], b"").status, 200);
    objects_become(&s3, 1);
    questions_are_answered(&server);

    // What a crash elsewhere left is swept once it is old.
    let orphan = format!("/{BUCKET}/of/ours/tenants/default/segments/2026-11-20/orphan.parquet");
    assert!(s3.ask("PUT", &orphan).starts_with("HTTP/1.1 200"));
    assert_eq!(objects(&s3), 2);
    objects_become(&s3, 1);

    let delete = json!({"from": "2026-11-20", "filters": {"service": "web"}});
    let begun = server.post_json("/admin/delete", &delete);
    assert!(begun.status < 300, "{begun:?}");
    assert_eq!(server.count(), 2_000);
    assert_eq!(server.post("/admin/compact", &[], b"").status, 200);
    objects_become(&s3, 1);
    assert_eq!(server.count(), 2_000);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");

    let checked = data.run(&[
        "doctor",
        "--deep",
        "--json",
        "--data-dir",
        &data.path().display().to_string(),
    ]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(
        checked.status.success(),
        "{report} {}",
        text_of(&checked.stderr)
    );
    assert_eq!(
        (&report["segments"]["segments"], &report["segments"]["rows"]),
        (&json!(1), &json!(2_000))
    );
}
