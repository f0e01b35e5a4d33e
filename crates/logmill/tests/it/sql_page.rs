//! The examples of docs/sql.md, executed: what the page says is what the server answers.

use serde_json::json;

use crate::harness::{Data, Server};

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// The fenced blocks of the page: language and text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut parts = PAGE.split("```");
    let mut blocks = Vec::new();
    while let (Some(_prose), Some(block)) = (parts.next(), parts.next()) {
        blocks.push(block.split_once('\n').unwrap());
    }
    blocks
}

fn filled(data: &Data) -> Server {
    let server = data.serve();
    let (_, records) = blocks()
        .into_iter()
        .find(|(language, _)| *language == "ndjson")
        .unwrap();
    let mut lines = records.lines();
    let first = lines.next().unwrap();
    assert_eq!(server.ingest_ndjson(first.as_bytes(), &[]).status, 200);
    // Segments and memory are one table.
    server.flush();
    let rest: Vec<&str> = lines.collect();
    let answer = server.ingest_ndjson(rest.join("\n").as_bytes(), &[]);
    assert_eq!(answer.json()["accepted"], rest.len(), "{answer:?}");
    server
}

#[test]
fn the_page_is_right() {
    let data = Data::new();
    let server = filled(&data);
    let blocks = blocks();
    let mut answers = 0;
    for (index, (language, query)) in blocks.iter().enumerate() {
        if *language != "sql" {
            continue;
        }
        let answer = server.post_json("/sql", &json!({"query": query, "format": "csv"}));
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        if let Some(("csv", expected)) = blocks.get(index + 1) {
            assert_eq!(answer.text(), *expected, "{query}");
            answers += 1;
        }
    }
    assert!(answers >= 8, "{answers} examples have answers");
}

#[test]
fn what_a_scan_reads_is_said() {
    let data = Data::new();
    let server = filled(&data);
    server.flush();
    let plan = |statement: &str| {
        let rows = server.sql(statement);
        let texts = rows.iter().map(|row| row[1].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>().join("\n")
    };
    let one = plan("EXPLAIN SELECT message FROM logs WHERE has_token(message, 'bank')");
    assert!(
        one.contains("scan: segments=1/2, granules=1, index_bytes="),
        "{one}"
    );
    let all = plan("EXPLAIN SELECT message FROM logs");
    assert!(all.contains("scan: segments=2/2, granules=2"), "{all}");
    let ran = plan("EXPLAIN ANALYZE SELECT message FROM logs WHERE matches(message, ' bank-7 ')");
    assert!(
        ran.contains("granules_read=1") && !ran.contains("bytes_scanned=0"),
        "{ran}"
    );
    let joined = plan(
        "EXPLAIN SELECT a.message FROM logs a JOIN logs b ON a.host = b.host WHERE b.status = 504",
    );
    assert!(joined.matches("scan: segments=").count() == 2, "{joined}");
}

#[test]
fn the_schema_shows_the_table_and_nothing_of_the_engine() {
    let data = Data::new();
    let server = filled(&data);
    let tables = server.sql("SELECT table_schema, table_name FROM information_schema.tables");
    assert_eq!(tables, [[json!("public"), json!("logs")]]);
    assert_eq!(server.sql("SHOW TABLES").len(), 1);
    assert!(
        server
            .sql("SHOW COLUMNS FROM logs")
            .iter()
            .any(|row| row[3] == "message" && row[4] == "text")
    );
    for hidden in [
        "information_schema.df_settings",
        "information_schema.routines",
    ] {
        let answer = server.try_sql(&format!("SELECT * FROM {hidden}"));
        assert_eq!(answer.status, 400, "{hidden}: {answer:?}");
    }
    assert_eq!(server.try_sql("SHOW ALL").status, 400);
}
