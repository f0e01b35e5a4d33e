//! More queries than may run at once: tenants take turns, queues have bounds, and who goes away leaves them.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;

use serde_json::json;

use crate::harness::{Data, Response, Server};

const ENDLESS: &str = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b";
/// Some tenths of a second.
const SLOW: &str =
    "SELECT sum(a.value * b.value) FROM generate_series(1, 5000) a, generate_series(1, 10000) b";

fn ask(server: &Server, tenant: &str, query: &str) -> Response {
    let headers = [
        ("x-tenant-id", tenant),
        ("content-type", "application/json"),
    ];
    let body = json!({ "query": query }).to_string();
    server.post("/sql", &headers, body.as_bytes())
}

/// A question whose client does not read the answer; closing the connection ends it.
fn begin(server: &Server, query: &str) -> TcpStream {
    let body = json!({ "query": query }).to_string();
    let address = server.url.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "POST /sql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    connection
}

#[test]
fn a_tenant_that_floods_does_not_delay_anothers_question() {
    const FLOOD: usize = 8;
    let data = Data::new().setting("QUERY__MAX_CONCURRENT", 1);
    let server = data.serve();
    let answered = Mutex::new(Vec::new());
    let asks = |tenant: &'static str, query: &str| {
        let answer = ask(&server, tenant, query);
        answered.lock().unwrap().push(tenant);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    std::thread::scope(|scope| {
        for _ in 0..FLOOD {
            scope.spawn(|| asks("flood", SLOW));
        }
        while server.metric("logmill_queries_waiting") < 4.0 {
            assert!(
                answered.lock().unwrap().is_empty(),
                "the questions are not slow"
            );
        }
        asks("other", "SELECT 1");
    });
    let answered = answered.into_inner().unwrap();
    let place = answered.iter().position(|tenant| *tenant == "other");
    assert!(place.unwrap() < FLOOD - 2, "{answered:?}");
    assert_eq!(server.metric("logmill_queries_waiting"), 0.0);
    let waited = server.metric("logmill_query_wait_seconds_count");
    assert_eq!(waited, FLOOD as f64 + 1.0);
}

#[test]
fn queues_have_bounds_and_who_goes_away_leaves_them() {
    let data = Data::new()
        .setting("QUERY__MAX_CONCURRENT", 1)
        .setting("QUERY__MAX_QUEUED", 1);
    let server = data.serve();
    let runs = begin(&server, ENDLESS);
    server.becomes("logmill_queries_running", 1.0);
    let waits = begin(&server, "SELECT 1");
    server.becomes("logmill_queries_waiting", 1.0);
    let refused = server.try_sql("SELECT 1");
    let message = refused.error(429, "too_many_queries");
    assert!(message.contains("query.max_queued"), "{message}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let page = server.get("/facets");
    page.error(429, "too_many_queries");
    drop(waits);
    server.becomes("logmill_queries_waiting", 0.0);
    let brief = json!({"query": "SELECT 1", "timeout_ms": 100});
    let message = server.post_json("/sql", &brief).error(422, "query_timeout");
    assert!(message.contains("never ran"), "{message}");
    std::thread::scope(|scope| {
        let next = scope.spawn(|| server.sql("SELECT 1"));
        server.becomes("logmill_queries_waiting", 1.0);
        drop(runs);
        assert_eq!(next.join().unwrap(), [[json!(1)]]);
    });
    server.becomes("logmill_queries_running", 0.0);
}
