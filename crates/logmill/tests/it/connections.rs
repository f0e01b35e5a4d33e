//! Clients that send what is refused, or stall: each gets its answer, and none holds a place for ever.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Data, Server};

fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let patience = Some(Duration::from_secs(60));
    connection.set_read_timeout(patience).unwrap();
    connection.set_write_timeout(patience).unwrap();
    connection
}

/// Sends a request whole before anything is read, as many clients do, and reads all that comes.
fn exchange(server: &Server, head: &str, body: &[u8]) -> String {
    let mut connection = connect(server);
    let length = body.len();
    write!(
        connection,
        "{head}\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    connection.write_all(body).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let data = Data::new();
    let server = data.serve();
    let body = vec![b'x'; 15 << 20];
    let cases = [
        (
            "POST /ingest HTTP/1.1\r\nContent-Type: image/png",
            "415",
            "unsupported_media_type",
        ),
        (
            "POST /ingest HTTP/1.1\r\nX-Tenant-ID: no such/name",
            "400",
            "invalid_tenant",
        ),
        ("POST /nowhere HTTP/1.1", "404", "not_found"),
        ("PUT /ingest HTTP/1.1", "405", "method_not_allowed"),
        ("POST /query HTTP/1.1", "413", "body_too_large"),
    ];
    for (head, status, code) in cases {
        let answer = exchange(&server, head, &body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
        assert!(answer.contains(code), "{head}: {answer}");
    }
}

#[test]
fn a_refused_client_that_waits_to_be_told_to_send_is_not_told() {
    let data = Data::new();
    let server = data.serve();
    let mut connection = connect(&server);
    let head = "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\
                Expect: 100-continue\r\nConnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[test]
fn a_client_that_sends_no_head_or_no_body_loses_its_place() {
    let data = Data::new()
        .setting("SERVER__CONNECTIONS_MAX", 2)
        .setting("SERVER__HEADER_TIMEOUT_MS", 300)
        .setting("SERVER__BODY_TIMEOUT_MS", 300);
    let server = data.serve();
    let _silent = connect(&server);
    let mut stalled = connect(&server);
    stalled
        .write_all(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nx")
        .unwrap();
    let answer = exchange(&server, "GET /health HTTP/1.1", b"");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut refused = String::new();
    stalled.read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 408"), "{refused}");
}

#[test]
fn a_client_that_takes_no_answer_loses_its_place() {
    let data = Data::new()
        .setting("SERVER__CONNECTIONS_MAX", 1)
        .setting("SERVER__HEADER_TIMEOUT_MS", 300)
        .setting("SERVER__WRITE_TIMEOUT_MS", 300);
    let server = data.serve();
    let records: Vec<Value> = (0..20_000).map(|n| json!({"n": n})).collect();
    server.ingest(&records);
    let question = json!({"query": "SELECT repeat('x', 2000) FROM logs"}).to_string();
    let mut stalled = connect(&server);
    let length = question.len();
    write!(
        stalled,
        "POST /sql HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{question}"
    )
    .unwrap();
    let answer = exchange(&server, "GET /health HTTP/1.1", b"");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.metric("logmill_http_write_timeouts_total"), 1.0);
}

#[test]
fn an_answer_that_breaks_off_is_logged_under_its_request() {
    let data = Data::new().setting("QUERY__MAX_ROWS", 10_000);
    let server = data.serve();
    // Batches leave as they are: the first is within the limit of rows, the second is not.
    let records: Vec<Value> = (0..6_000).map(|n| json!({"n": n})).collect();
    server.ingest(&records);
    server.ingest(&records);
    let question = json!({"query": "SELECT n FROM logs", "format": "ndjson"}).to_string();
    let head = "POST /sql HTTP/1.1\r\nX-Request-ID: broken-1";
    let answer = exchange(&server, head, question.as_bytes());
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "the end must not look like one"
    );
    // The connection ends before the harness has read the log's line.
    let deadline = Instant::now() + Duration::from_secs(60);
    let line = loop {
        let log = server.log();
        if let Some(line) = log
            .lines()
            .find(|line| line.contains("an answer broke off"))
        {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "{log}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(line.contains("broken-1"), "{line}");
}
