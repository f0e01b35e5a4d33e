//! What the documentation of LogsQL says queries give.

#![allow(clippy::unwrap_used, reason = "a test")]

mod filters;
mod functions;
mod pipes;

use logmill_interpreter::{Error, Interpreter, Row};
use logmill_lang::parse;
use logmill_lang::value::time::parse_rfc3339;
use logmill_model::TimeRange;

/// The records that all tests ask. A Friday.
const RECORDS: &str = r#"
{"_time":"2026-11-20T08:00:00Z","_msg":"error: cannot open file /foo/bar","_stream":"{host=\"h1\",service=\"api\"}","host":"h1","level":"error","took":"1.5s","size":"10KiB"}
{"_time":"2026-11-20T09:00:00Z","_msg":"GET /users 200","_stream":"{host=\"h1\",service=\"api\"}","host":"h1","level":"info","took":"12ms","size":"512"}
{"_time":"2026-11-20T10:30:00Z","_msg":"GET /users/42 404","_stream":"{host=\"h2\",service=\"web\"}","host":"h2","level":"info","took":"2m","ip":"10.0.0.7"}
{"_time":"2026-11-20T11:45:00Z","_msg":"ERROR: Too many errors","_stream":"{host=\"h10\"}","host":"h10","level":"error","ip":"10.0.1.1"}
{"_time":"2026-11-21T08:00:00Z","_msg":"ip=1.2.3.4 user=\"bob b\"","_stream":"{host=\"h1\",service=\"api\"}","host":"h1","list":"[\"a\",2]"}
"#;

const NOW: &str = "2026-11-20T12:00:00Z";

fn rows(lines: &str) -> Vec<Row> {
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn run(query: &str) -> Result<Vec<Row>, Error> {
    let query = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let interpreter = Interpreter {
        records: &rows(RECORDS),
        now_ns: parse_rfc3339(NOW).unwrap(),
        range: TimeRange::ALL,
    };
    interpreter.run(&query)
}

/// The hours (and days) of the records that a query finds.
fn found(query: &str) -> Vec<String> {
    let rows = run(query).unwrap();
    rows.iter()
        .map(|row| row["_time"][9..13].to_owned())
        .collect()
}

/// That a query gives these rows, each a JSON object, in this order.
#[track_caller]
fn check(query: &str, expected: &[&str]) {
    assert_eq!(run(query).unwrap(), rows(&expected.join("\n")), "{query}");
}
