//! Whatever is thrown at it, the server answers with a reason, stays within its memory, and keeps what
//! others sent.

use std::io::Write;

use serde_json::json;

use crate::harness::{Data, Response, Server};

/// Resident memory, bytes.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

fn only_error(answer: &Response) -> String {
    assert_eq!(answer.status, 400, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["accepted"], 0);
    assert_eq!(body["errors"][0]["index"], 0);
    assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty());
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[test]
fn bad_records_are_refused_with_their_code() {
    let data = Data::new().setting("SERVER__RECORD_MAX_BYTES", 4_000_000);
    let server = data.serve();
    server.ingest(&[json!({"message": "somebody else's"})]);
    let many = (0..100_000)
        .map(|n| format!("\"f{n}\":1"))
        .collect::<Vec<_>>()
        .join(",");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"{\"message\": }".to_vec(), "malformed_json"),
        (b"{\"message\": \"x\"".to_vec(), "malformed_json"),
        (b"nonsense".to_vec(), "malformed_json"),
        (b"{\"message\":\"\xff\xfe\"}".to_vec(), "invalid_utf8"),
        (b"{\"message\":\"a\0b\"}".to_vec(), "nul_byte"),
        (br#"{"message":"a\u0000b"}"#.to_vec(), "nul_byte"),
        (br#"{"a":1,"a":2}"#.to_vec(), "duplicate_key"),
        (br#"{"a":{"b":1},"a.b":2}"#.to_vec(), "duplicate_key"),
        (
            format!("{{\"message\":\"{}\"}}", "x".repeat(10_000_000)).into_bytes(),
            "record_too_large",
        ),
        (format!("{{{many}}}").into_bytes(), "too_many_fields"),
        (deep.into_bytes(), "too_deep"),
        (deep_objects.into_bytes(), "too_deep"),
        (
            br#"{"timestamp":"1600-01-01T00:00:00Z"}"#.to_vec(),
            "invalid_timestamp",
        ),
        (
            br#"{"timestamp":"9999-01-01T00:00:00Z"}"#.to_vec(),
            "invalid_timestamp",
        ),
        (br#"{"timestamp":"NaN"}"#.to_vec(), "invalid_timestamp"),
        (br#"{"timestamp":NaN}"#.to_vec(), "malformed_json"),
        (br#"{"timestamp":-1}"#.to_vec(), "invalid_timestamp"),
        (br#"{"timestamp":{}}"#.to_vec(), "invalid_timestamp"),
        (b"42".to_vec(), "not_an_object"),
        (b"null".to_vec(), "not_an_object"),
        (
            format!("{{\"{}\":1}}", "n".repeat(1_000)).into_bytes(),
            "invalid_field_name",
        ),
    ];
    for (body, code) in &cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(
            only_error(&server.ingest_ndjson(body, &[])),
            *code,
            "{shown}"
        );
    }
    assert_eq!(server.count(), 1);
    assert!(
        resident(&server) < 700 << 20,
        "{} bytes resident",
        resident(&server)
    );
}

#[test]
fn bad_bodies_are_refused_whole() {
    let data = Data::new().setting("SERVER__DECOMPRESSED_MAX_BYTES", 16 << 20);
    let server = data.serve();
    server.ingest(&[json!({"message": "somebody else's"})]);
    let json_type = [("content-type", "application/json")];
    server
        .post("/ingest", &json_type, b"")
        .error(400, "empty_body");
    server
        .post("/ingest", &json_type, b" \n ")
        .error(400, "empty_body");
    server.ingest_ndjson(b"\n\n", &[]).error(400, "empty_body");
    let message = server
        .post("/ingest", &json_type, b"[{\"a\":1},{\"a\":]")
        .error(400, "malformed_json");
    assert!(message.contains("byte"), "{message}");
    let message = server
        .post("/ingest", &[("content-type", "image/png")], b"x")
        .error(415, "unsupported_media_type");
    assert!(message.contains("application/x-ndjson"), "{message}");
    server
        .ingest_ndjson(b"{}", &[("content-encoding", "br")])
        .error(415, "unsupported_encoding");
    server
        .ingest_ndjson(b"{}", &[("idempotency-key", "")])
        .error(400, "invalid_idempotency_key");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1_024 {
        gzip.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    let encoding = [("content-encoding", "gzip")];
    server
        .ingest_ndjson(&bomb, &encoding)
        .error(413, "body_too_large");
    server
        .ingest_ndjson(&bomb[..bomb.len() / 2], &encoding)
        .error(413, "body_too_large");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"message\":\"cut\"}\n").unwrap();
    let whole = gzip.finish().unwrap();
    server
        .ingest_ndjson(&whole[..whole.len() - 9], &encoding)
        .error(400, "invalid_compression");
    server
        .ingest_ndjson(b"not gzip", &encoding)
        .error(400, "invalid_compression");
    assert_eq!(server.count(), 1);
    assert!(
        resident(&server) < 500 << 20,
        "{} bytes resident",
        resident(&server)
    );
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let data = Data::new().setting("SERVER__BODY_MAX_BYTES", 100_000);
    let server = data.serve();
    let body = vec![b' '; 200_000];
    let message = server
        .ingest_ndjson(&body, &[])
        .error(413, "body_too_large");
    assert!(message.contains("100000"), "{message}");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn noise_on_the_wire_does_not_stop_the_server() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[json!({"message": "somebody else's"})]);
    let address = server.url.trim_start_matches("http://");
    for noise in [
        &b"\0\0\0\0"[..],
        b"GET",
        b"POST /ingest HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
        b"\x16\x03\x01\x02\0",
    ] {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        connection.write_all(noise).unwrap();
        drop(connection);
    }
    assert_eq!(server.count(), 1);
}
