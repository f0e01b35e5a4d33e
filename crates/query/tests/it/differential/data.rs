//! Records that are awkward in few fields: of every type, of types that meet, empty, absent, past the bound on columns.

use arrow_array::RecordBatch;
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, decode};
use logmill_interpreter::Row;
use logmill_lang::value::number::format_number;
use logmill_lang::value::time::format_time;
use logmill_query_api::QueryLimits;
use logmill_store::StoreOptions;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::harness::{DAY, Served};

/// Names of the fields that records have, beside those that every record has.
pub(crate) const NAMES: [&str; 20] = [
    "id",
    "level",
    "service",
    "host",
    "n",
    "f",
    "flag",
    "mixed",
    "number",
    "size",
    "took",
    "ip",
    "when",
    "json",
    "kv",
    "list",
    "user.name",
    "extra",
    "extra.b",
    "words",
];

/// A store, and its records as they are to be seen.
pub(crate) struct Dataset {
    pub(crate) served: Served,
    pub(crate) rows: Vec<Row>,
    pub(crate) name: &'static str,
}

/// Stores with the same kinds of records in different places.
pub(crate) async fn datasets() -> Vec<Dataset> {
    let mut all = Vec::new();
    for (seed, name, batches, flushed) in [
        (1, "in memory", 3, 0),
        (2, "in segments", 4, 4),
        (3, "in segments and in memory", 5, 3),
        (4, "few, in a segment", 1, 1),
        (5, "none", 0, 0),
    ] {
        all.push(dataset(seed, name, batches, flushed).await);
    }
    all
}

async fn dataset(seed: u64, name: &'static str, batches: usize, flushed: usize) -> Dataset {
    let served = Served::with(StoreOptions::default(), QueryLimits::default(), false).await;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for batch in 0..batches {
        let mut body = Vec::new();
        for _ in 0..random.random_range(5..25) {
            let record = record(&mut random, rows.len(), batch);
            body.extend_from_slice(&serde_json::to_vec(&record).unwrap());
            body.push(b'\n');
            rows.push(seen(&record));
        }
        let batch_of = decoded(body, &|name| !name.starts_with("extra"));
        served.append_batch(batch_of).await;
        if batch < flushed {
            served.store.flush().await.unwrap();
        }
    }
    Dataset { served, rows, name }
}

/// The batch that ingestion makes of records, one a line; fields that are not admitted have no column of their own.
pub(crate) fn decoded(mut body: Vec<u8>, admit: &dyn Fn(&str) -> bool) -> RecordBatch {
    let options = DecodeOptions {
        format: BodyFormat::Ndjson,
        received_at_ns: DAY,
        defaults: &[],
        limits: &DecodeLimits::default(),
        admit,
    };
    let decoded = decode(&mut body, &options).unwrap();
    assert_eq!(decoded.rejected, 0, "{:?}", decoded.errors);
    decoded.batch.unwrap()
}

const MESSAGES: [&str; 16] = [
    "error: cannot open file /foo/bar",
    "GET /api/v1/users 200 12ms",
    "GET /api/v1/users/42 404 1.5s",
    "POST /login ip=10.0.0.7 user=\"bob b\" took=12ms",
    "Error ERROR error",
    "2024-10-20T12:34:56Z started 0x1f2e3d4c in 3.5s",
    "id=2edfed59-3e98-4073-bbb2-28d321ca71a7 from 10.71.20.32",
    "\u{1b}[31mred\u{1b}[0m alert",
    "τιμή ÉTÉ Straße 字",
    "",
    "a_b a-b a.b",
    "warn: disk 90% full",
    "<165>Jun  3 12:08:33 abcd systemd[345]: abc defg",
    "{\"a\":\"x\",\"b\":{\"c\":5},\"n\":17}",
    "42",
    "  spaces  and\ttabs\n",
];

/// Texts of fields; every third record has none.
const TEXTS: [(&str, &[&str]); 11] = [
    ("level", &["info", "warn", "error", "fatal"]),
    ("service", &["api", "web", "a\"b"]),
    ("host", &["h1", "h2", "h10", "H1"]),
    ("size", &["10KiB", "1MB", "512B", "big", "2.5GiB"]),
    ("took", &["12ms", "1.5s", "2m", "none", "90µs"]),
    (
        "ip",
        &[
            "10.0.0.7",
            "10.0.1.1",
            "127.0.0.1",
            "256.1.1.1",
            "localhost",
        ],
    ),
    (
        "when",
        &["2024-05-15T10:20:30.934Z", "2024-05-16T00:00:00Z", "soon"],
    ),
    (
        "json",
        &[
            r#"{"a":1,"b":{"c":"deep"},"host":"from json"}"#,
            r#"{"a":"","n":7,"text":"inner","l":[1,"x"]}"#,
            r#"{"broken":"#,
            "[1,2]",
        ],
    ),
    (
        "kv",
        &["a=1 b=\"two words\" host=kv", "flag a= n=99", "no pairs"],
    ),
    (
        "list",
        &[
            r#"["a","b"]"#,
            "[1,2,3]",
            "[]",
            "no list",
            r#"[{"x":1},null]"#,
        ],
    ),
    ("words", &["one two", "two three two", "one", "Two"]),
];

/// Values of other types; those of some fields are integers in one batch, floats and texts in the next.
fn others(batch: usize) -> Vec<(&'static str, Vec<Value>)> {
    let integers = json!([1, 5, 20]);
    let floats = json!([2.5, 7.75]);
    let mixed = match batch % 3 {
        0 => integers.clone(),
        1 => floats.clone(),
        _ => json!(["x5", "abc", true, "20 MB", ""]),
    };
    let fields = [
        ("n", json!([-7, 0, 3, 10, 42, 9_007_199_254_740_993_i64])),
        ("f", json!([0.5, -2.25, 10.125, 1.5e-3, 3.25])),
        ("flag", json!([true, false])),
        ("mixed", mixed),
        (
            "number",
            if batch.is_multiple_of(2) {
                integers
            } else {
                floats
            },
        ),
        (
            "user",
            json!([{"name": "alice"}, {"name": "Bob"}, {"name": ""}]),
        ),
        ("extra", json!(["past the bound", 17, "x y"])),
        ("extra.b", json!(["e1", 2.5, ""])),
    ];
    let fields = fields.into_iter();
    fields
        .map(|(name, values)| (name, values.as_array().unwrap().clone()))
        .collect()
}

fn record(random: &mut ChaCha8Rng, id: usize, batch: usize) -> Value {
    let mut record = Map::new();
    // Several records at one time, and times of several precisions.
    let t_ns =
        DAY + random.random_range(0..40_i64) * 3_599_999_500_000 + random.random_range(0..2) * 7;
    record.insert("timestamp".into(), json!(t_ns));
    record.insert("id".into(), json!(id));
    record.insert("message".into(), json!(MESSAGES.choose(random)));
    for (name, texts) in TEXTS {
        if random.random_range(0..3) > 0 {
            record.insert(name.to_owned(), json!(texts.choose(random)));
        }
    }
    for (name, values) in others(batch) {
        if random.random_range(0..3) > 0 {
            record.insert(name.to_owned(), json!(values.choose(random)));
        }
    }
    Value::Object(record)
}

/// A record as queries see it.
fn seen(record: &Value) -> Row {
    let mut row = Row::new();
    flatten(record, "", &mut row);
    let label = |name: &str| {
        let value = row.get(name)?;
        Some(format!("{name}=\"{}\"", value.replace('"', "\\\"")))
    };
    let labels: Vec<String> = ["host", "service"].into_iter().filter_map(label).collect();
    row.insert("_stream".to_owned(), format!("{{{}}}", labels.join(",")));
    row
}

fn flatten(value: &Value, prefix: &str, row: &mut Row) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        let (name, text) = match (name.as_str(), value) {
            ("timestamp", value) => ("_time", format_time(value.as_i64().unwrap())),
            ("message", value) => ("_msg", value.as_str().unwrap().to_owned()),
            (name, Value::String(text)) => (name, text.clone()),
            (name, Value::Number(number)) if number.is_f64() => {
                (name, format_number(number.as_f64().unwrap()))
            }
            (name, Value::Object(_)) => {
                flatten(value, &format!("{name}."), row);
                continue;
            }
            (name, other) => (name, other.to_string()),
        };
        if !text.is_empty() {
            row.insert(name.to_owned(), text);
        }
    }
}
