//! `POST /ingest`: formats, encodings, partial success, idempotency.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{Data, ndjson};

fn all(server: &crate::harness::Server) -> Vec<Value> {
    let page = server.query(json!({"from": 0, "order": "asc", "limit": 10_000}));
    page["records"].as_array().unwrap().clone()
}

#[test]
fn an_acknowledged_record_is_found_at_once_and_after_a_restart() {
    let data = Data::new();
    let server = data.serve();
    let record = json!({
        "@timestamp": "2026-11-20T10:00:00.123456789+02:00", "severity": "WARNING", "msg": "disk almost full",
        "service": "storage", "hostname": "n1", "free": {"bytes": 12, "share": 0.5}, "tags": ["a", 1], "ok": true,
    });
    server.ingest(std::slice::from_ref(&record));
    let expected = json!({
        "timestamp": "2026-11-20T08:00:00.123456789Z", "level": "warn", "message": "disk almost full",
        "service": "storage", "host": "n1", "_stream": r#"{host="n1",service="storage"}"#,
        "free.bytes": 12, "free.share": 0.5, "tags": r#"["a",1]"#, "ok": true,
    });
    assert_eq!(all(&server), std::slice::from_ref(&expected));
    server.kill();
    let server = data.serve();
    assert_eq!(all(&server), std::slice::from_ref(&expected));
    server.flush();
    assert_eq!(all(&server), std::slice::from_ref(&expected));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert_eq!(all(&data.serve()), [expected]);
}

#[test]
fn objects_arrays_and_lines_are_the_same_records() {
    let data = Data::new();
    let server = data.serve();
    let record = json!({"timestamp": 1_763_000_000, "message": "one", "n": 1});
    for body in [
        record.to_string(),
        format!("[{record},{record}]"),
        "[]".to_owned(),
    ] {
        let answer = server.post(
            "/ingest",
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        if body == "[]" {
            answer.error(400, "empty_body");
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let answer = server.ingest_ndjson(format!("{record}\r\n\n{record}").as_bytes(), &[]);
    assert_eq!(answer.json()["accepted"], 2);
    let records = all(&server);
    assert_eq!(records.len(), 5);
    assert!(
        records.iter().all(|found| found == &records[0]),
        "{records:?}"
    );
}

#[test]
fn compressed_bodies_are_read() {
    let data = Data::new();
    let server = data.serve();
    let body = ndjson(&[json!({"message": "compressed"})]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&body).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    raw.write_all(&body).unwrap();
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(&body).unwrap();
    let bodies = [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(&body[..], 1).unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
        (
            "snappy",
            snap::raw::Encoder::new().compress_vec(&body).unwrap(),
        ),
        ("snappy", framed.into_inner().unwrap()),
    ];
    for (encoding, body) in &bodies {
        let answer = server.ingest_ndjson(body, &[("content-encoding", encoding)]);
        assert_eq!(answer.status, 200, "{encoding}: {answer:?}");
    }
    assert_eq!(server.count(), bodies.len() as u64);
}

#[test]
fn every_refused_record_is_named_and_the_others_are_in() {
    let data = Data::new();
    let server = data.serve();
    let body = b"{\"message\":\"good\"}\n{\"message\":\n\n[1]\n{\"a\":1,\"a\":2}\n{\"time\":\"the day before\"}\n\
                 {\"m\":\"\xff\"}\n{\"message\":\"also good\"}\n";
    let answer = server.ingest_ndjson(body, &[]);
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(5))
    );
    let named: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["index"].as_u64().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (1, "malformed_json"),
        (2, "not_an_object"),
        (3, "duplicate_key"),
        (4, "invalid_timestamp"),
        (5, "invalid_utf8"),
    ];
    assert_eq!(named, expected);
    assert_eq!(server.count(), 2);
    assert_eq!(server.metric("logmill_rejected_records_total"), 5.0);
}

#[test]
fn a_retried_request_answers_as_the_first_and_stores_nothing_twice() {
    let data = Data::new();
    let server = data.serve();
    let body = b"{\"message\":\"once\"}\n{\"message\":\n";
    let key = [("idempotency-key", "batch-1")];
    let first = server.ingest_ndjson(body, &key);
    assert_eq!(
        (first.status, first.header("idempotent-replay")),
        (200, None)
    );
    let again = server.ingest_ndjson(body, &key);
    assert_eq!(
        (again.status, again.header("idempotent-replay")),
        (200, Some("true"))
    );
    assert_eq!(first.body, again.body);
    server
        .ingest_ndjson(b"{\"message\":\"other\"}", &key)
        .error(422, "idempotency_key_reused");

    server.kill();
    let server = data.serve();
    assert_eq!(
        server.ingest_ndjson(body, &key).body,
        first.body,
        "out of the log"
    );
    server.flush();
    server.kill();
    let server = data.serve();
    assert_eq!(
        server.ingest_ndjson(body, &key).body,
        first.body,
        "out of the catalog"
    );
    assert_eq!(server.count(), 1);
    let elsewhere = server.ingest_ndjson(body, &[key[0], ("x-tenant-id", "another")]);
    assert_eq!(
        elsewhere.header("idempotent-replay"),
        None,
        "keys are a tenant's own"
    );
}

#[test]
fn text_lines_become_records() {
    let data = Data::new();
    let server = data.serve();
    let lines = "<34>1 2026-11-20T10:00:00.5Z web1 nginx 77 ID47 [x@1 ip=\"192.0.2.1\"] upstream timed out\n\
                 level=error ts=2026-11-20T10:00:01Z msg=\"no such user\" user_id=42\n\
                 192.0.2.7 - ann [20/Nov/2026:10:00:02 +0000] \"GET /cart HTTP/1.1\" 502 13 \"-\" \"curl/8\"\n\
                 2026-11-20 10:00:03,004 ERROR [main] com.example.Shop: cannot pay\n\
                 java.lang.IllegalStateException: no card\n\
                 \tat com.example.Shop.pay(Shop.java:7)\n\
                 Caused by: java.io.IOException: closed\n\
                 \t... 3 more\n\
                 and something that no format fits\n";
    let answer = server.ingest_text("format=auto&environment=test", lines);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["accepted"], 5, "{answer:?}");
    assert_eq!(answer.json()["continuation_lines"], 4, "{answer:?}");
    let records = all(&server);
    assert!(
        records.iter().all(|record| record["environment"] == "test"),
        "{records:?}"
    );
    let with = |field: &str, value: &str| {
        let found = records.iter().find(|record| record[field] == value);
        found
            .unwrap_or_else(|| panic!("no record has {field}={value}: {records:#?}"))
            .clone()
    };
    let syslog = with("service", "nginx");
    assert_eq!(syslog["timestamp"], "2026-11-20T10:00:00.500Z");
    assert_eq!(
        (&syslog["host"], &syslog["level"]),
        (&json!("web1"), &json!("fatal"))
    );
    let logfmt = with("message", "no such user");
    assert_eq!(
        (&logfmt["level"], &logfmt["user_id"]),
        (&json!("error"), &json!(42))
    );
    let access = with("path", "/cart");
    assert_eq!(
        (&access["status"], &access["level"]),
        (&json!(502), &json!("error"))
    );
    assert_eq!(access["timestamp"], "2026-11-20T10:00:02Z");
    let java = records
        .iter()
        .find(|record| record["timestamp"] == "2026-11-20T10:00:03.004Z")
        .unwrap();
    assert!(
        java["message"]
            .as_str()
            .unwrap()
            .contains("Caused by: java.io.IOException"),
        "{java}"
    );
    with("message", "and something that no format fits");
}

#[test]
fn a_named_format_refuses_what_does_not_fit() {
    let data = Data::new();
    let server = data.serve();
    let answer = server.ingest_text("format=clf", "not an access log\n");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["errors"][0]["code"], "format_mismatch");
    assert_eq!(
        server.ingest_text("format=raw", "a\nb\n").json()["accepted"],
        2
    );
    server
        .ingest_text("format=xml", "a")
        .error(400, "invalid_format");
}

#[test]
fn types_that_meet_become_one_column_and_no_value_is_lost() {
    let data = Data::new();
    let server = data.serve();
    let values = [
        json!(1),
        json!(2.5),
        json!("three"),
        json!(true),
        json!(9_007_199_254_740_993_i64),
    ];
    for (index, value) in values.iter().enumerate() {
        server.ingest(&[json!({"timestamp": 1_763_000_000 + index, "mixed": value})]);
        if index % 2 == 0 {
            server.flush();
        }
    }
    let found: Vec<_> = all(&server)
        .iter()
        .map(|record| record["mixed"].clone())
        .collect();
    assert_eq!(
        found,
        ["1", "2.5", "three", "true", "9007199254740993"].map(|text| json!(text))
    );
    let counted = server.sql("SELECT count(*) FROM logs WHERE mixed = '2.5'");
    assert_eq!(counted[0][0], 1);
}

#[test]
fn attributes_past_the_column_bound_are_still_found_by_name() {
    let data = Data::new().setting("STORE__COLUMNS_MAX", 5);
    let server = data.serve();
    let mut record = json!({"message": "wide"});
    for index in 0..20 {
        record[format!("attribute_{index}")] = json!(index);
    }
    server.ingest(&[record]);
    let found = &all(&server)[0];
    assert_eq!(found["attribute_19"], 19, "{found}");
    assert!(found.get("_overflow").is_none(), "{found}");
    let page = server.query(json!({"from": 0, "filters": {"attribute_19": 19}}));
    assert_eq!(page["records"].as_array().unwrap().len(), 1, "{page}");
}

#[test]
fn tenants_do_not_see_each_other() {
    let data = Data::new();
    let server = data.serve();
    let tenant = [
        ("x-tenant-id", "acme"),
        ("content-type", "application/json"),
    ];
    server.ingest_ndjson(b"{\"message\":\"secret\",\"secret_field\":1}", &tenant[..1]);
    server.flush();
    server.ingest_ndjson(b"{\"message\":\"secret\",\"secret_field\":1}", &tenant[..1]);
    assert_eq!(server.count(), 0);
    let columns = server.sql("SHOW COLUMNS FROM logs");
    assert!(
        !format!("{columns:?}").contains("secret_field"),
        "{columns:?}"
    );
    let theirs = server
        .post("/sql", &tenant, br#"{"query":"SELECT count(*) FROM logs"}"#)
        .json();
    assert_eq!(theirs["rows"][0][0], 2);
    server
        .ingest_ndjson(b"{}", &[("x-tenant-id", "../default")])
        .error(400, "invalid_tenant");
}
