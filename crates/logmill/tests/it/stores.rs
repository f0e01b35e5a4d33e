//! The logs in a table of Postgres: the same answers as with segments, and the same promises.

use std::time::{Duration, Instant};

use logmill_test_services::{PostgresServer, RedisServer, RedisServerOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::harness::{Data, Server, ndjson};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder whose logs go into `database`.
fn in_table(database: &str) -> Data {
    Data::new()
        .setting("STORE__KIND", "postgres")
        .variable("DATABASE_URL", database)
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const WORDS: &[&str] = &[
    "connection",
    "refused",
    "Straße",
    "STRASSE",
    "naïve",
    "日本",
    "user_id",
    "it's",
    r"back\slash",
    "%d",
    "10.0.0.1",
    "\u{212a}elvin",
    "tab\there",
    "\u{1}\u{2400}",
    "🦀",
];

fn message(random: &mut ChaCha8Rng) -> String {
    let count = random.random_range(0..8);
    let words: Vec<&str> = (0..count)
        .map(|_| WORDS[random.random_range(0..WORDS.len())])
        .collect();
    words.join(" ")
}

/// Records of all types, in an order of time that is not theirs, with what is hard to keep in Postgres.
fn records(random: &mut ChaCha8Rng, numbers: std::ops::Range<u64>) -> Vec<Value> {
    let hard = [
        json!("a\u{2400}b"),
        json!("'; DROP TABLE log_entries; --"),
        json!("{\"a\":1}"),
        json!("7"),
        json!("7.0"),
        json!("true"),
        json!(7),
        json!(7.0),
        json!(1e300),
        json!(true),
        json!(""),
        json!("NaN"),
    ];
    let floats = [0.5, -0.0, 7.0, 1e300, 5e-324, -123_456.789, 1e16, 0.1];
    numbers
        .map(|n| {
            let mut record = Map::new();
            let day = random.random_range(10..20);
            let second = random.random_range(0..20);
            record.insert(
                "timestamp".to_owned(),
                json!(format!("2026-11-{day}T10:00:{second:02}.123456789Z")),
            );
            record.insert("message".to_owned(), json!(message(random)));
            let mut maybe = |name: &str, value: Value| {
                if random.random_bool(0.6) {
                    record.insert(name.to_owned(), value);
                }
            };
            maybe("n", json!(n));
            maybe(
                "level",
                json!(["info", "error", "warn", "odd"][(n % 4) as usize]),
            );
            maybe(
                "service",
                json!(["api", "cart's", "p\\ay", "s\u{2400}x"][(n % 4) as usize]),
            );
            maybe("host", json!(format!("host-{}", n % 3)));
            maybe("trace_id", json!(format!("{n:x}").repeat(1_500)));
            maybe("ratio", json!(floats[(n % 8) as usize]));
            maybe("wide", json!(i64::MAX - n as i64));
            maybe("flag", json!(n % 3 == 0));
            maybe("mixed", hard[(n % 12) as usize].clone());
            maybe("text", json!(WORDS[(n % 15) as usize]));
            maybe("name\u{1}one", json!(n));
            maybe("name\u{2400}one", json!(format!("other {n}")));
            maybe("quo'te\"d", json!({"deep": {"er": n, "list": [1, "x"]}}));
            maybe(
                "int_or_float",
                if n % 2 == 0 {
                    json!(n)
                } else {
                    json!(n as f64 + 0.25)
                },
            );
            Value::Object(record)
        })
        .collect()
}

/// Every record that a question finds, over all pages, as texts in an order that does not depend on ties.
fn all_pages(server: &Server, question: &Value) -> Vec<String> {
    let mut question = question.clone();
    let mut found = Vec::new();
    loop {
        let page = server.query(question.clone());
        let records = page["records"].as_array().unwrap();
        found.extend(records.iter().map(ToString::to_string));
        if page["next_cursor"].is_null() {
            found.sort();
            return found;
        }
        question["cursor"] = page["next_cursor"].clone();
    }
}

const SQL: &[&str] = &[
    "SELECT count(*) FROM logs",
    "SELECT * FROM logs ORDER BY timestamp, message, n, wide, trace_id, mixed",
    "SELECT * FROM logs LIMIT 0",
    "SHOW COLUMNS FROM logs",
    "SELECT level, service, count(*), sum(n), min(ratio), max(wide) FROM logs GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT mixed, count(*) FROM logs GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM logs WHERE has_token(message, 'refused')",
    "SELECT count(*) FROM logs WHERE has_token(message, 'STRASSE') OR has_token(message, 'kelvin')",
    "SELECT count(*) FROM logs WHERE has_phrase(message, 'connection refused')",
    "SELECT count(*) FROM logs WHERE message LIKE '% connection %'",
    "SELECT count(*) FROM logs WHERE message ILIKE '%NAÏVE%'",
    "SELECT count(*) FROM logs WHERE message ~ 'back.slash (it|10)'",
    "SELECT count(*) FROM logs WHERE service = 'cart''s'",
    "SELECT count(*) FROM logs WHERE service IN ('api', 'p\\ay') AND level <> 'error'",
    "SELECT count(*) FROM logs WHERE NOT (service = 'api' AND level = 'info')",
    "SELECT count(*) FROM logs WHERE service = 'api' OR n > 700",
    "SELECT count(*) FROM logs WHERE strpos(service, 's\u{2400}') > 0",
    "SELECT count(*) FROM logs WHERE flag AND ratio >= 7.0",
    "SELECT count(*) FROM logs WHERE flag IS NULL AND text = 'Straße'",
    "SELECT count(*) FROM logs WHERE mixed = '7'",
    "SELECT count(*) FROM logs WHERE timestamp >= '2026-11-12T10:00:05Z' AND timestamp < '2026-11-17T00:00:00Z'",
    "SELECT a.n FROM logs a JOIN logs b ON a.n = b.n ORDER BY 1 LIMIT 20",
    "SELECT date_trunc('day', timestamp) AS day, count(*) FROM logs GROUP BY 1 ORDER BY 1",
    "SELECT ratio, CAST(ratio AS VARCHAR) AS shown FROM logs WHERE ratio IS NOT NULL ORDER BY 1, 2",
];

const LOGSQL: &[&str] = &[
    "* | stats by (level, service) count() hits, sum(n) s, min(ratio) l, max(wide) g | sort by (level, service)",
    "connection | stats by (_time:1h) count() hits | sort by (_time)",
    "!refused i(CONNECTION) | stats count() hits, count_uniq(service) services",
    "service:in(api, \"cart's\") n:>300 | top 3 by (mixed)",
    "mixed:>=7 | uniq by (mixed) with hits | sort by (mixed, hits)",
    "{service=\"api\"} | field_names | sort by (name)",
    "* | sort by (n desc) limit 20 | fields _time, n, _msg",
    "n:<400 | sort by (_time desc, n) limit 30 | extract \"<first> <rest>\" | fields n, first",
    "n:in(level:error n:<300 | fields n) | count()",
];

fn questions() -> Vec<Value> {
    let question = |mut question: Value| {
        question["from"] = json!(0);
        question["limit"] = json!(37);
        question
    };
    let parts = [
        json!({}),
        json!({"order": "asc"}),
        json!({"text": "connection"}),
        json!({"text": "\"connection refused\""}),
        json!({"text": "日本 it's"}),
        json!({"filters": {"service": "cart's"}}),
        json!({"filters": {"level": ["error", "warn"], "service": "api"}, "order": "asc"}),
        json!({"filters": {"n": {"gte": 100, "lt": 300}}}),
        json!({"filters": {"mixed": {"gte": 7}}}),
        json!({"filters": {"mixed": "true"}}),
        json!({"filters": {"flag": {"exists": false}, "host": {"prefix": "host-1"}}}),
        json!({"filters": {"name\u{1}one": {"exists": true}}}),
        json!({"filters": {"message": {"regex": "(?i)KELVIN"}}}),
        json!({"fields": ["timestamp", "ratio", "wide", "mixed"]}),
        json!({"query": "connection !refused n:>=100"}),
        json!({"query": "i(KELVIN) or service:=\"cart's\" or ratio:<5", "order": "asc"}),
        json!({"query": "level:in(error, warn) flag:*", "text": "connection"}),
    ];
    parts.into_iter().map(question).collect()
}

#[track_caller]
fn assert_same(segments: &Server, table: &Server, phase: &str) {
    for sql in SQL {
        assert_eq!(segments.sql(sql), table.sql(sql), "{phase}: {sql}");
    }
    for query in LOGSQL {
        let question = json!({"query": query, "from": 0});
        let records = |server: &Server| server.query(question.clone())["records"].clone();
        assert_eq!(records(segments), records(table), "{phase}: {query}");
    }
    for question in questions() {
        let (one, other) = (all_pages(segments, &question), all_pages(table, &question));
        assert_eq!(one, other, "{phase}: {question}");
    }
}

#[test]
fn both_stores_give_the_same_answers() {
    let postgres = PostgresServer::shared();
    let database = postgres.database();
    let (one, other) = (Data::new(), in_table(&database));
    let (segments, table) = (one.serve(), other.serve());
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut send = |numbers| {
        let body = ndjson(&records(&mut random, numbers));
        for server in [&segments, &table] {
            let answer = server.ingest_ndjson(&body, &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["rejected"], 0, "{}", answer.text());
        }
    };
    send(0..300);
    assert_same(&segments, &table, "in memory");
    segments.flush();
    table.flush();
    assert_same(&segments, &table, "flushed");
    send(300..500);
    assert_same(&segments, &table, "both");
    segments.flush();
    table.flush();
    send(500..800);
    let stranger = ndjson(&records(&mut ChaCha8Rng::seed_from_u64(8), 0..50));
    for server in [&segments, &table] {
        server.flush();
        server.ingest_ndjson(&stranger, &[("x-tenant-id", "other")]);
        server.flush();
    }
    assert_same(&segments, &table, "all flushed");

    let delete = json!({"text": "connection", "filters": {"service": ["api", "cart's"]}});
    for (server, status) in [(&segments, "running"), (&table, "done")] {
        let answer = server.post_json("/admin/delete", &delete);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["status"], status);
    }
    assert_same(&segments, &table, "after a delete");
    for server in [&segments, &table] {
        assert_eq!(server.post("/admin/compact", &[], b"").status, 200);
    }
    assert_same(&segments, &table, "after compaction");
    drop((segments, table));
    assert_same(&one.serve(), &other.serve(), "after a restart");

    // For people, in plain SQL.
    let ask = |sql: &str| postgres.sql(&database, sql);
    assert_eq!(
        ask("SELECT count(*) FROM log_entries WHERE tenant = 'other'"),
        "50"
    );
    assert_ne!(
        ask("SELECT count(*) FROM log_records WHERE words @@ 'refused'"),
        "0"
    );
    assert_eq!(ask("SELECT count(*) FROM log_entries_other"), "0");
    assert_ne!(ask("SELECT count(*) FROM log_entries_2026_11_12"), "0");
}

#[test]
fn what_postgres_bounds_is_not_bounded_here() {
    let database = PostgresServer::shared().database();
    let data = in_table(&database).setting("SERVER__RECORD_MAX_BYTES", 8 << 20);
    let server = data.serve();
    let long = "word".repeat(300_000);
    let many: Vec<String> = (0..250_000).map(|n| format!("w{n:x}")).collect();
    let many = many.join(" ");
    let wide: Map<String, Value> = (0..900)
        .map(|n| (format!("column_{n}"), json!(n)))
        .collect();
    server.ingest(&[
        json!({"timestamp": "1971-01-01T00:00:00Z", "message": long, "trace_id": "t".repeat(100_000)}),
        json!({"timestamp": "2200-01-01T00:00:00Z", "message": many, "service": "s".repeat(50_000)}),
        Value::Object(wide),
    ]);
    server.flush();
    assert_eq!(server.count(), 3);
    let found = |sql: &str| server.sql(sql)[0][0].clone();
    assert_eq!(
        found("SELECT count(*) FROM logs WHERE has_token(message, 'w3d08f')"),
        1
    );
    let sql = format!(
        "SELECT count(*) FROM logs WHERE has_token(message, '{}')",
        "WORD".repeat(300_000 / 4)
    );
    assert_eq!(found(&sql), 0);
    assert_eq!(
        found("SELECT length(message) FROM logs WHERE trace_id IS NOT NULL"),
        1_200_000
    );
    assert_eq!(
        found("SELECT length(trace_id) FROM logs WHERE trace_id IS NOT NULL"),
        100_000
    );
    assert_eq!(
        found("SELECT message FROM logs WHERE service IS NOT NULL"),
        json!(many)
    );
    assert_eq!(
        found("SELECT column_0 + column_899 FROM logs WHERE column_5 = 5"),
        899
    );
}

#[test]
fn kills_lose_nothing_and_invent_nothing() {
    let database = PostgresServer::shared().database();
    crate::crash::survives_kills(in_table(&database), 12);
}

#[test]
fn records_wait_while_postgres_is_away() {
    let postgres = PostgresServer::start();
    let database = postgres.database();
    let data = in_table(&database).setting("STORE__FLUSH_INTERVAL_MS", 200);
    let server = data.serve();
    let send = |n: u64| server.ingest(&[json!({"message": "one of many", "n": n})]);
    (0..50).for_each(send);
    server.flush();
    postgres.kill();
    (50..100).for_each(send);
    std::thread::sleep(Duration::from_secs(1));
    assert_ne!(server.try_sql("SELECT count(*) FROM logs").status, 200);
    postgres.restart();
    until("Postgres is back", || {
        server.post("/admin/flush", &[], b"").status == 200
    });
    let counts = server.sql("SELECT count(*), count(DISTINCT n) FROM logs");
    assert_eq!(counts[0], [json!(100), json!(100)]);
    assert_eq!(
        postgres.sql(&database, "SELECT count(*) FROM log_entries"),
        "100"
    );
}

#[test]
fn retention_drops_days_and_tenants_keep_their_own() {
    let postgres = PostgresServer::shared();
    let database = postgres.database();
    let now = postgres.sql(
        &database,
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    );
    let old = postgres.sql(
        &database,
        "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '20 days', 'YYYY-MM-DD')",
    );
    let data = in_table(&database).setting("STORE__RETENTION__CHECK_INTERVAL_MS", 100);
    let server = data.serve();
    let body = |day: &str| {
        ndjson(&[json!({"timestamp": format!("{day}T00:00:00Z"), "message": "kept or not"})])
    };
    for tenant in ["default", "other"] {
        for day in [old.as_str(), now.as_str(), "1999-01-01"] {
            let answer = server.ingest_ndjson(&body(day), &[("x-tenant-id", tenant)]);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    server.flush();
    let rows = |tenant: &str| {
        postgres.sql(
            &database,
            &format!("SELECT count(*) FROM log_entries WHERE tenant = '{tenant}'"),
        )
    };
    assert_eq!(
        (rows("default"), rows("other")),
        ("3".to_owned(), "3".to_owned())
    );
    server.kill();
    let week = 7 * 24 * 3_600_000_u64;
    let data = data.setting(
        "STORE__RETENTION__TENANTS",
        format!("{{default={{max_age_ms={week},max_bytes=0}}}}"),
    );
    let server = data.serve();
    until("one tenant's old days are gone", || rows("default") == "1");
    assert_eq!(server.count(), 1);
    assert_eq!(rows("other"), "3");
    server.kill();
    let data = data.setting("STORE__RETENTION__MAX_AGE_MS", week);
    let server = data.serve();
    until("the other's too", || rows("other") == "1");
    let partition = format!("log_entries_{}", old.replace('-', "_"));
    until("the day's partition is dropped", || {
        postgres.sql(
            &database,
            &format!("SELECT to_regclass('{partition}') IS NULL"),
        ) == "t"
    });
    assert_eq!(server.count(), 1);
    // The day may come back.
    server.ingest_ndjson(&body(&old), &[]);
    assert_eq!(server.post("/admin/flush", &[], b"").status, 200);
}

#[test]
fn retention_by_bytes_takes_the_oldest_day_first() {
    let postgres = PostgresServer::shared();
    let database = postgres.database();
    let data = in_table(&database)
        .setting("STORE__RETENTION__CHECK_INTERVAL_MS", 100)
        .setting("STORE__RETENTION__MAX_BYTES", 150_000);
    let server = data.serve();
    for day in 10..14 {
        let time = format!("2026-11-{day}T00:00:00Z");
        server.ingest(&[json!({"timestamp": time, "message": "x".repeat(60_000)})]);
    }
    server.flush();
    until("two days are left", || server.count() == 2);
    let oldest = server.sql("SELECT CAST(min(timestamp) AS VARCHAR) FROM logs");
    assert!(
        oldest[0][0].as_str().unwrap().starts_with("2026-11-12"),
        "{oldest:?}"
    );
}

#[test]
fn data_of_one_store_never_meet_those_of_the_other() {
    let postgres = PostgresServer::shared();
    let database = postgres.database();
    let log = |data: &Data| data.try_serve().err().unwrap();
    let without = Data::new().setting("STORE__KIND", "postgres");
    assert!(log(&without).contains("DATABASE_URL is not set"));
    let data = in_table(&database);
    let server = data.serve();
    server.ingest(&[json!({"message": "one"})]);
    server.kill();
    let elsewhere = data.run(&[
        "migrate",
        "up",
        "--data-dir",
        &data.path().display().to_string(),
    ]);
    // DATABASE_URL is what `migrate` goes by, where it is set.
    assert!(elsewhere.status.success(), "{elsewhere:?}");
    assert!(!data.path().join("catalog.db").exists());
    let another = log(&in_table(&database));
    assert!(
        another.contains("belongs to another data folder"),
        "{another}"
    );
    let redis = RedisServer::start(RedisServerOptions::default());
    let fleet = in_table(&database).variable("REDIS_URL", redis.url());
    assert!(log(&fleet).contains("belongs to a data folder"));
    let data = data.setting("STORE__KIND", "segments");
    let data = data.variable("DATABASE_URL", "");
    let contradiction = log(&data);
    assert!(contradiction.contains("are in Postgres"), "{contradiction}");
    let folder = data.path().display().to_string();
    let output = data.run(&["key", "list", "--data-dir", &folder]);
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(problem.contains("is in Postgres"), "{problem}");
    let segments = Data::new();
    segments.serve().kill();
    let fresh = postgres.database();
    let segments = segments
        .setting("STORE__KIND", "postgres")
        .variable("DATABASE_URL", &fresh);
    let contradiction = log(&segments);
    assert!(contradiction.contains("are in segments"), "{contradiction}");
}
