//! Your logs stay yours: DuckDB, which knows nothing of Logmill, reads the data directory's Parquet files.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::harness::{Data, text_of};

/// The Python that `scripts/test.sh` prepared with DuckDB and psycopg in it.
pub(crate) fn python() -> PathBuf {
    let named = std::env::var_os("LOGMILL_TEST_PYTHON").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let python = named.or_else(|| home.map(|home| home.join(".cache/logmill/venv/bin/python")));
    let python = python.expect("HOME is set");
    assert!(
        python.exists(),
        "{} is missing: run the tests by `make test`, which installs DuckDB for them",
        python.display()
    );
    python
}

/// What DuckDB answers, as Python prints it.
pub(crate) fn ask(query: &str) -> String {
    let script = "import duckdb, sys; print(duckdb.sql(sys.argv[1]).fetchall())";
    let output = Command::new(python())
        .args(["-c", script, query])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{query}: {}",
        text_of(&output.stderr)
    );
    text_of(&output.stdout).trim().to_owned()
}

#[test]
fn duckdb_reads_the_segments_and_counts_the_same() {
    let data = Data::new();
    let server = data.serve();
    let output = data.run(&[
        "seed",
        "--url",
        &server.url,
        "--records",
        "20000",
        "--seed",
        "3",
    ]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    server.flush();
    server.ingest(&[json!({"message": "in a segment of its own", "only_here": 1})]);
    server.flush();
    let files = data
        .path()
        .join("objects/tenants/default/segments/*/*.parquet");
    let table = format!("read_parquet('{}', union_by_name = true)", files.display());
    for tail in [
        "",
        "WHERE level = 'error'",
        "WHERE service = 'payments' AND message LIKE '%declined%'",
        "WHERE only_here = 1",
        "WHERE timestamp >= TIMESTAMP '2026-01-01 00:00:00'",
    ] {
        let ours = &server.sql(&format!("SELECT count(*) FROM logs {tail}"))[0][0];
        let theirs = ask(&format!(
            "SET TimeZone = 'UTC'; SELECT count(*) FROM {table} {tail}"
        ));
        assert_eq!(theirs, format!("[({ours},)]"), "{tail}");
    }
    let newest = ask(&format!(
        "SELECT max(timestamp) < now() + INTERVAL 1 MINUTE FROM {table}"
    ));
    assert_eq!(newest, "[(True,)]");
}
