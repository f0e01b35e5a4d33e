//! `/query`: the structured filter, pages, streams.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Data, Server};

fn shop(server: &Server) {
    server.ingest(&[
        json!({"timestamp": "2026-11-20T10:00:00Z", "level": "info", "service": "cart", "message": "Item added to cart", "http": {"status": 200, "path": "/cart/1"}}),
        json!({"timestamp": "2026-11-20T10:01:00Z", "level": "error", "service": "pay", "message": "connection refused by 192.0.2.1", "http": {"status": 503, "path": "/pay/1"}}),
    ]);
    server.flush();
    server.ingest(&[
        json!({"timestamp": "2026-11-20T10:02:00Z", "level": "warn", "service": "pay", "message": "Refused: connection limit", "retry": true}),
        json!({"timestamp": "2026-11-20T10:03:00Z", "level": "error", "service": "search", "message": "index is stale", "http": {"status": 500, "path": "/search"}}),
    ]);
}

/// Minutes of the records that match, in the order of the answer.
fn minutes(server: &Server, mut query: Value) -> Vec<u64> {
    query
        .as_object_mut()
        .unwrap()
        .entry("from")
        .or_insert(json!("2026-11-20T00:00:00Z"));
    let page = server.query(query);
    let records = page["records"].as_array().unwrap();
    records
        .iter()
        .map(|record| {
            record["timestamp"].as_str().unwrap()[14..16]
                .parse()
                .unwrap()
        })
        .collect()
}

#[test]
fn text_filters_and_time_narrow_what_is_found() {
    let data = Data::new();
    let server = data.serve();
    shop(&server);
    let expectations = [
        (json!({}), vec![3, 2, 1, 0]),
        (json!({"order": "asc"}), vec![0, 1, 2, 3]),
        (json!({"text": "connection"}), vec![2, 1]),
        (json!({"text": "CONNECTION refused"}), vec![2, 1]),
        (json!({"text": "\"connection refused\""}), vec![1]),
        (json!({"text": "connect"}), vec![]),
        (json!({"text": "192.0.2.1"}), vec![1]),
        (json!({"filters": {"level": ["error"]}}), vec![3, 1]),
        (
            json!({"filters": {"level": "ERR", "service": "pay"}}),
            vec![1],
        ),
        (
            json!({"filters": {"http.status": {"gte": 500, "lt": 503}}}),
            vec![3],
        ),
        (json!({"filters": {"http.status": 200}}), vec![0]),
        (json!({"filters": {"http.status": "200"}}), vec![0]),
        (json!({"filters": {"service": {"ne": "pay"}}}), vec![3, 0]),
        (
            json!({"filters": {"http.path": {"prefix": "/pay"}}}),
            vec![1],
        ),
        (
            json!({"filters": {"http.path": {"regex": "^/(cart|pay)/[0-9]+$"}}}),
            vec![1, 0],
        ),
        (
            json!({"filters": {"message": {"contains": "is stale"}}}),
            vec![3],
        ),
        (json!({"filters": {"retry": true}}), vec![2]),
        (
            json!({"filters": {"retry": {"exists": false}}}),
            vec![3, 1, 0],
        ),
        (
            json!({"from": "2026-11-20T10:01:00Z", "to": "2026-11-20T10:03:00Z"}),
            vec![2, 1],
        ),
        (
            json!({"from": 1_795_168_860, "to": "2026-11-20T11:02:00+01:00"}),
            vec![1],
        ),
        (json!({"limit": 2}), vec![3, 2]),
    ];
    for (query, expected) in expectations {
        assert_eq!(minutes(&server, query.clone()), expected, "{query}");
    }
}

#[test]
fn the_query_string_asks_the_same() {
    let data = Data::new();
    let server = data.serve();
    shop(&server);
    let answer = server.get(
        "/query?from=2026-11-20T00:00:00Z&text=connection&service=pay&level=error,warn&order=asc&fields=service,level&limit=5",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let expected =
        json!([{"service": "pay", "level": "error"}, {"service": "pay", "level": "warn"}]);
    assert_eq!(answer["records"], expected);
    assert_eq!(answer["next_cursor"], Value::Null);
    for count in [
        "elapsed_ms",
        "rows_matched",
        "rows_scanned",
        "bytes_scanned",
        "granules_read",
        "granules_total",
    ] {
        assert!(answer["stats"][count].is_number(), "{count}: {answer}");
    }
}

#[test]
fn unknown_fields_match_nothing_and_are_named() {
    let data = Data::new();
    let server = data.serve();
    shop(&server);
    let page = server.query(
        json!({"from": 0, "filters": {"no_such_field": "x"}, "fields": ["message", "nor_this"]}),
    );
    assert_eq!(page["records"], json!([]));
    let warnings = page["warnings"].to_string();
    assert!(
        warnings.contains("no_such_field") && warnings.contains("nor_this"),
        "{warnings}"
    );
}

#[test]
fn pages_have_neither_holes_nor_duplicates_while_records_arrive_and_move() {
    let data = Data::new();
    let server = data.serve();
    // Two hundred records share four timestamps, so that pages end inside groups of equal ones.
    let record = |index: u64| json!({"timestamp": 1_763_000_000 + index / 50, "message": format!("m{index}"), "n": index});
    let records: Vec<_> = (0..200).map(record).collect();
    server.ingest(&records[..120]);
    server.flush();
    server.ingest(&records[120..]);
    for order in ["asc", "desc"] {
        let mut seen = BTreeMap::new();
        let mut cursor = Value::Null;
        let mut pages = 0;
        loop {
            let mut query =
                json!({"from": 0, "order": order, "limit": 17, "filters": {"n": {"lt": 200}}});
            if !cursor.is_null() {
                query["cursor"] = cursor.clone();
            }
            let page = server.query(query);
            for found in page["records"].as_array().unwrap() {
                *seen.entry(found["n"].as_u64().unwrap()).or_insert(0) += 1;
            }
            cursor = page["next_cursor"].clone();
            pages += 1;
            if cursor.is_null() {
                break;
            }
            server.ingest(&[
                json!({"timestamp": 1_763_000_001, "message": "new", "n": 1000 + pages}),
            ]);
            if pages % 4 == 0 {
                server.flush();
            }
        }
        assert!(pages >= 11, "{pages}");
        assert_eq!(seen.len(), 200, "{order}");
        assert!(seen.values().all(|times| *times == 1), "{order}: {seen:?}");
    }
}

#[test]
fn a_stream_has_one_record_a_line() {
    let data = Data::new();
    let server = data.serve();
    let records: Vec<_> = (0..3_000)
        .map(|n| json!({"timestamp": 1_763_000_000 + n, "n": n}))
        .collect();
    server.ingest(&records[..1_500]);
    server.flush();
    server.ingest(&records[1_500..]);
    let headers = [
        ("accept", "application/x-ndjson"),
        ("content-type", "application/json"),
    ];
    let body = json!({"from": 0, "order": "asc", "limit": 100_000, "fields": ["n"]}).to_string();
    let answer = server.post("/query", &headers, body.as_bytes());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<_> = (0..3_000).map(|n| json!({ "n": n })).collect();
    assert_eq!(lines, expected);
}

#[test]
fn what_a_query_cannot_be_is_said_clearly() {
    let data = Data::new().setting("QUERY__PAGE_MAX_ROWS", 1_000);
    let server = data.serve();
    shop(&server);
    let refusals = [
        (json!({"text": "\"open phrase"}), "syntax_error", "column"),
        (json!({"limit": 1_000_000_000_u64}), "invalid_limit", "1000"),
        (json!({"limit": 0}), "invalid_limit", "1"),
        (json!({"limit": -5}), "invalid_limit", "-5"),
        (json!({"order": "sideways"}), "", "desc"),
        (
            json!({"from": "yesterday-ish"}),
            "invalid_time",
            "yesterday-ish",
        ),
        (
            json!({"from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z"}),
            "invalid_time",
            "from",
        ),
        (
            json!({"filters": {"http.status": {"above": 5}}}),
            "invalid_filter",
            "gte",
        ),
        (
            json!({"filters": {"message": {"regex": "("}}}),
            "invalid_filter",
            "regex",
        ),
        (json!({"filters": []}), "invalid_filter", "object"),
        (json!({"cursor": "AAAA"}), "invalid_cursor", "cursor"),
        (json!({"wher": {}}), "", "wher"),
        (json!([1]), "", "object"),
    ];
    for (query, code, hint) in refusals {
        let answer = server.try_query(&query);
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(hint), "{query}: {message}");
        assert!(code.is_empty() || error["code"] == code, "{query}: {error}");
    }
}

#[test]
fn a_cursor_that_was_tampered_with_or_is_of_another_query_is_refused() {
    let data = Data::new();
    let server = data.serve();
    shop(&server);
    let page = server.query(json!({"from": 0, "limit": 1}));
    let cursor = page["next_cursor"].as_str().unwrap();
    for position in 0..cursor.len() {
        let mut bytes = cursor.as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        server
            .try_query(&json!({"from": 0, "limit": 1, "cursor": tampered}))
            .error(400, "invalid_cursor");
    }
    let other = json!({"from": 0, "limit": 1, "text": "connection", "cursor": cursor});
    server.try_query(&other).error(400, "invalid_cursor");
    let next = server.query(json!({"from": 0, "limit": 1, "cursor": cursor}));
    assert_eq!(next["records"][0]["message"], "Refused: connection limit");
}

#[test]
fn logsql_narrows_pages_and_its_pipes_make_rows() {
    let data = Data::new();
    let server = data.serve();
    shop(&server);
    let expectations = [
        ("refused", vec![1]),
        ("i(refused)", vec![2, 1]),
        ("level:error !connection", vec![3]),
        ("http.status:>=500", vec![3, 1]),
        (
            "_time:2026-11-20T10:02 or http.path:=\"/cart/1\"",
            vec![2, 0],
        ),
        ("service:in(http.status:503 | fields service)", vec![2, 1]),
    ];
    for (query, expected) in expectations {
        let found = minutes(&server, json!({ "query": query }));
        assert_eq!(found, expected, "{query}");
    }
    // A page goes on where the one before ended, and all parts hold.
    let question =
        json!({"query": "level:*", "filters": {"service": {"ne": "cart"}}, "from": 0, "limit": 2});
    let page = server.query(question.clone());
    assert_eq!(page["records"].as_array().unwrap().len(), 2);
    let mut next = question;
    next["cursor"] = page["next_cursor"].clone();
    let page = server.query(next);
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    // A query that says itself when needs no range beside it.
    let page = server.query(json!({"query": "_time:2026-11-20 | stats by (service) count() hits | sort by (hits desc, service)"}));
    let rows = json!([{"service": "pay", "hits": 2}, {"service": "cart", "hits": 1}, {"service": "search", "hits": 1}]);
    assert_eq!(page["records"], rows);
    assert!(page["next_cursor"].is_null());
    assert_eq!(page["stats"]["rows_matched"], 3);
    for (question, code) in [
        (json!({"query": "level:("}), "syntax_error"),
        (json!({"query": "* | cuont()"}), "syntax_error"),
        (json!({"query": "* | block_stats"}), "not_supported"),
        (
            json!({"query": "* | count()", "text": "refused"}),
            "invalid_query",
        ),
        (json!({"query": "~\"(a\"", "from": 0}), "syntax_error"),
    ] {
        server.try_query(&question).error(400, code);
    }
}
