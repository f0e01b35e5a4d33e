//! `/sql`: read-only SQL over a tenant's own table.

use serde_json::{Value, json};

use crate::harness::{Data, Server};

fn filled(server: &Server) {
    server.ingest(&[
        json!({"timestamp": "2026-11-20T10:00:00Z", "service": "a", "level": "info", "ms": 1.5, "message": "first one"}),
        json!({"timestamp": "2026-11-20T10:00:01Z", "service": "b", "level": "error", "ms": 2.5, "message": "second \"one\", quoted"}),
    ]);
    server.flush();
    server.ingest(&[json!({"timestamp": "2026-11-20T11:00:00Z", "service": "a", "level": "error", "message": "third"})]);
}

#[test]
fn memtable_and_segments_are_one_table() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let rows = server
        .sql("SELECT service, count(*) AS n, max(ms) FROM logs GROUP BY service ORDER BY n DESC");
    assert_eq!(
        rows,
        [
            [json!("a"), json!(2), json!(1.5)],
            [json!("b"), json!(1), json!(2.5)]
        ]
    );
    let rows = server.sql("SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, count(*) FROM logs GROUP BY hour ORDER BY hour");
    assert_eq!(rows[0], [json!("2026-11-20T10:00:00Z"), json!(2)]);
    let rows =
        server.sql("SELECT message FROM logs WHERE has_token(message, 'ONE') ORDER BY timestamp");
    assert_eq!(rows.len(), 2);
    let rows = server.sql("SELECT message FROM logs WHERE has_phrase(message, 'one quoted')");
    assert_eq!(rows.len(), 1);
    assert!(!server.sql("EXPLAIN SELECT * FROM logs").is_empty());
    assert!(server.sql("DESCRIBE logs").iter().any(|row| row[0] == "ms"));
}

#[test]
fn conditions_of_constants_and_orders_stay_where_they_are() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    for (query, expected) in [
        (
            "SELECT * FROM (SELECT count(*), 'x' AS k FROM logs) WHERE k = 'y'",
            json!([]),
        ),
        (
            "SELECT * FROM (SELECT service, 0 AS n FROM logs UNION ALL SELECT 'all', count(*) FROM logs) WHERE service = 'c'",
            json!([]),
        ),
        ("SELECT count(*) FROM logs HAVING count(*) > 3", json!([])),
        (
            "SELECT ms FROM (SELECT ms, service FROM logs ORDER BY service DESC, timestamp OFFSET 1) ORDER BY ms",
            json!([[1.5], [null]]),
        ),
        (
            "SELECT (SELECT count(*) FROM logs b WHERE b.service = a.service) AS n FROM logs a ORDER BY n",
            json!([[1], [2], [2]]),
        ),
        (
            "SELECT service FROM logs a WHERE (SELECT max(ms) FROM logs) > 2 AND level = 'info'",
            json!([["a"]]),
        ),
    ] {
        assert_eq!(json!(server.sql(query)), expected, "{query}");
    }
}

#[test]
fn answers_come_in_four_formats() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let ask = |format: &str| {
        let query = "SELECT timestamp, ms, message FROM logs ORDER BY timestamp";
        let answer = server.post_json("/sql", &json!({"query": query, "format": format}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    let answer = ask("json").json();
    assert_eq!(answer["columns"][1]["name"], "ms");
    assert_eq!(
        answer["rows"][2],
        json!(["2026-11-20T11:00:00Z", null, "third"])
    );
    assert!(answer["stats"]["elapsed_ms"].is_number());
    let lines: Vec<Value> = ask("ndjson")
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines[0],
        json!({"timestamp": "2026-11-20T10:00:00Z", "ms": 1.5, "message": "first one"})
    );
    let csv = ask("csv");
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    let csv = csv.text();
    assert!(csv.starts_with("timestamp,ms,message\n"), "{csv}");
    assert!(csv.contains("\"second \"\"one\"\", quoted\""), "{csv}");
    let arrow = ask("arrow");
    assert_eq!(
        arrow.header("content-type"),
        Some("application/vnd.apache.arrow.stream")
    );
    assert_eq!(
        &arrow.body[..4],
        [0xff; 4],
        "an IPC stream begins with a continuation marker"
    );
    server
        .post_json("/sql", &json!({"query": "SELECT 1", "format": "xml"}))
        .error(400, "invalid_body");
}

#[test]
fn whatever_is_not_a_question_is_refused() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let folder = data.path().display().to_string();
    let refused = [
        "DROP TABLE logs".to_owned(),
        "DELETE FROM logs".to_owned(),
        "INSERT INTO logs (message) VALUES ('x')".to_owned(),
        "UPDATE logs SET message = 'x'".to_owned(),
        "CREATE TABLE t AS SELECT * FROM logs".to_owned(),
        "CREATE VIEW v AS SELECT * FROM logs".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/'".to_owned(),
        format!("COPY logs TO '{folder}/out.parquet'"),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO logs (message) VALUES ('x')".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
    ];
    for statement in &refused {
        let answer = server.try_sql(statement);
        answer.error(400, "read_only");
    }
    for table in [
        "'/etc/passwd'",
        "'x.parquet'",
        "other",
        "\"acme\".logs",
        "read_parquet('x')",
        "'http://example.com/x.csv'",
    ] {
        let answer = server.try_sql(&format!("SELECT * FROM {table}"));
        assert_eq!(answer.status, 400, "{table}: {answer:?}");
    }
    assert_eq!(server.count(), 3);
    assert!(!data.path().join("out.parquet").exists());
}

#[test]
fn errors_say_where_and_what() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let message = server
        .try_sql("SELECT *\nFROM logs WHERE WHERE x")
        .error(400, "syntax_error");
    assert!(message.contains("line 2"), "{message}");
    let answer = server.try_sql("SELECT servce FROM logs");
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("servce") && message.contains("service"),
        "{message}"
    );
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(server.try_sql(&deep).status, 400);
    assert_eq!(server.try_sql("").status, 400);
    let rows = server.sql("SELECT count(*) FROM logs");
    assert_eq!(rows[0][0], 3, "the server lives on");
}

#[test]
fn limits_stop_a_query_and_say_which() {
    let data = Data::new()
        .setting("QUERY__MAX_ROWS", 1_000)
        .setting("QUERY__TIMEOUT_MS", 5_000)
        .setting("QUERY__MEMORY_MAX_BYTES", 2 << 20);
    let server = data.serve();
    filled(&server);
    let endless = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b";
    server.try_sql(endless).error(422, "query_timeout");
    let large = "SELECT value FROM generate_series(1, 2000000) ORDER BY value DESC";
    server.try_sql(large).error(422, "resource_exhausted");
    let long = server.try_post(
        "/sql",
        &[("content-type", "application/json")],
        br#"{"query":"SELECT value FROM generate_series(1, 50000)"}"#,
    );
    // The head may be out before the limit is reached: then the body breaks off instead.
    if let Ok(answer) = long {
        answer.error(422, "too_many_rows");
    }
    assert_eq!(server.count(), 3);
}

#[test]
fn a_client_that_goes_away_stops_its_query() {
    use std::io::Write;
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let endless = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b";
    let body = json!({ "query": endless }).to_string();
    let address = server.url.trim_start_matches("http://");
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    write!(
        connection,
        "POST /sql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let running = |expected: f64| {
        for _ in 0..500 {
            if server.metric("logmill_queries_running") == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!(
            "logmill_queries_running is not {expected}: {}",
            server.get("/metrics").text()
        );
    };
    running(1.0);
    drop(connection);
    running(0.0);
}

#[test]
fn what_is_wrong_with_a_regular_expression_is_told() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let ask = |condition: &str| {
        let query = format!("SELECT count(*) FROM logs WHERE {condition}");
        server.try_sql(&query)
    };
    for condition in [
        "message ~ 'one (two'",
        "message !~* 'one (two'",
        "regexp_like(message, 'one (two')",
        "matches(message, 'one (two')",
        "regexp_like(message, 'one (two', 'i')",
        "regexp_replace(message, 'one (two', '') = 'x'",
        "message ~ concat('one (two', service)",
    ] {
        let error = ask(condition).error(400, "invalid_query");
        let expected = "this is no regular expression: unclosed group, at character ";
        assert!(error.contains(expected), "{condition}: {error}");
    }
    let error = ask("message ~ 'one (two'").error(400, "invalid_query");
    assert!(error.ends_with("at character 5 of one (two"), "{error}");
    for condition in [
        "message ~ '(a{1,1000}){1,1000}'",
        "regexp_like(message, '(a{1,1000}){1,1000}')",
        "regexp_replace(message, '(a{1,1000}){1,1000}', '') = 'x'",
    ] {
        let error = ask(condition).error(422, "resource_exhausted");
        assert!(
            error.contains("needs more than 10485760 bytes"),
            "{condition}: {error}"
        );
    }
    assert_eq!(server.count(), 3);
}
