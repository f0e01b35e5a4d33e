//! JSON records against a naive interpreter, and the bad input that the decoder must survive.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use logmill_ingest::{
    BodyFormat, DecodeLimits, DecodeOptions, Decoded, Decoder, Error, TextFormat,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RECEIVED: i64 = 1_795_564_800_000_000_000;

fn decode(decoder: &mut Decoder, body: &[u8], format: BodyFormat) -> Result<Decoded, Error> {
    let limits = DecodeLimits::default();
    let options = DecodeOptions {
        format,
        received_at_ns: RECEIVED,
        defaults: &[],
        limits: &limits,
        admit: &|name| name != "past_the_bound",
    };
    decoder.decode(&mut body.to_vec(), &options)
}

/// Rows as maps of what is not null; numbers as the column has them.
fn rows(batch: &RecordBatch) -> Vec<BTreeMap<String, Value>> {
    let mut rows = vec![BTreeMap::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let plain = match column.data_type() {
            DataType::Dictionary(_, value) => arrow_cast::cast(column, value).unwrap(),
            _ => column.clone(),
        };
        for (index, row) in rows.iter_mut().enumerate() {
            if plain.is_null(index) {
                continue;
            }
            let value = match plain.data_type() {
                DataType::Utf8 => json!(plain.as_string::<i32>().value(index)),
                DataType::Int64 => json!(plain.as_primitive::<Int64Type>().value(index)),
                DataType::Float64 => json!(plain.as_primitive::<Float64Type>().value(index)),
                DataType::Boolean => json!(plain.as_boolean().value(index)),
                DataType::Timestamp(_, _) => {
                    json!(plain.as_primitive::<TimestampNanosecondType>().value(index))
                }
                other => panic!("{other}"),
            };
            row.insert(field.name().clone(), value);
        }
    }
    rows
}

/// What the texts of a record's attributes must be, whatever the columns' types.
fn naive(record: &Map<String, Value>) -> BTreeMap<String, String> {
    fn walk(prefix: &str, value: &Value, out: &mut BTreeMap<String, String>) {
        match value {
            Value::Null => {}
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    walk(&format!("{prefix}.{name}"), value, out);
                }
            }
            Value::String(text) => {
                out.insert(prefix.to_owned(), text.clone());
            }
            other => {
                out.insert(prefix.to_owned(), other.to_string());
            }
        }
    }
    let mut out = BTreeMap::new();
    for (name, value) in record {
        walk(name, value, &mut out);
    }
    out
}

fn same(expected: &str, found: &Value) -> bool {
    let text = match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Arrays are kept as JSON text, in which a number may be written in another way.
    let array = |text: &str| {
        serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_array)
    };
    text == expected
        || array(&text).is_some_and(|found| Some(found) == array(expected))
        || text
            .parse::<f64>()
            .is_ok_and(|f| expected.parse::<f64>() == Ok(f))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        "\\PC{0,8}|[a-c\"\\\\\n\t/]{0,6}"
            .prop_filter("no NUL", |t| !t.contains('\0'))
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]{1,2}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn records_are_what_a_naive_interpreter_makes_of_them(
        records in prop::collection::vec(
            prop::collection::btree_map("[a-f]{1,2}", value(), 0..6), 1..12,
        ),
    ) {
        let records: Vec<Map<String, Value>> =
            records.into_iter().map(|record| record.into_iter().collect()).collect();
        let lines: String = records.iter().map(|r| Value::Object(r.clone()).to_string() + "\n").collect();
        let array = Value::Array(records.iter().cloned().map(Value::Object).collect()).to_string();
        let mut decoder = Decoder::new();
        for (body, format) in [(lines, BodyFormat::Ndjson), (array, BodyFormat::Json)] {
            // Twice, so that kept buffers and predictions are at work.
            for _ in 0..2 {
                let decoded = decode(&mut decoder, body.as_bytes(), format).unwrap();
                prop_assert_eq!(decoded.accepted, records.len() as u64, "{:?}", decoded.errors);
                let found = rows(&decoded.batch.unwrap());
                for (record, row) in records.iter().zip(&found) {
                    let expected = naive(record);
                    for (name, text) in &expected {
                        let value = row.get(name);
                        prop_assert!(value.is_some_and(|v| same(text, v)), "{}: {} {:?}", name, text, value);
                    }
                    let ours = ["timestamp", "_stream"];
                    let names: Vec<_> = row.keys().filter(|n| !ours.contains(&n.as_str())).collect();
                    prop_assert_eq!(names, expected.keys().collect::<Vec<_>>());
                    prop_assert_eq!(&row["timestamp"], &json!(RECEIVED));
                }
            }
        }
    }

    /// The entry points of the fuzz targets, on mutations of good bodies.
    #[test]
    fn noise_is_refused_and_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = br#"{"time":"2026-11-20T10:00:00Z","level":"x","a":{"b":[1,{"c":"\u00e9\n"}],"d":1e3}}
[{"msg":"m","n":-1.5},{"n":18446744073709551615}]
<34>1 2026-11-20T10:00:00Z h a 7 - [x y="z"] text"#;
        let mut body = good.to_vec();
        for (index, byte) in changes {
            let at = index.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len() + 1));
        body.extend_from_slice(&noise);
        let mut decoder = Decoder::new();
        for format in [
            BodyFormat::Json,
            BodyFormat::Ndjson,
            BodyFormat::Text(TextFormat::Auto),
            BodyFormat::Text(TextFormat::Syslog),
            BodyFormat::Text(TextFormat::Logfmt),
        ] {
            if let Ok(decoded) = decode(&mut decoder, &body, format) {
                let rows = decoded.batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
                prop_assert_eq!(rows, decoded.accepted);
            }
        }
    }
}

#[test]
fn aliases_priorities_and_defaults() {
    let body = r#"{"time":"2026-11-20T10:00:00Z","ts":1,"msg":"m","body":"b","severity":"WARNING","service":{"name":"s"},"host":5}
{"level":"loud","message":7,"app":"x","traceId":"t"}
{"level":30,"timestamp":1795176000.5}"#;
    let limits = DecodeLimits::default();
    let defaults = [
        ("service".to_owned(), "default".to_owned()),
        ("level".to_owned(), "debug".to_owned()),
        ("zone".to_owned(), "a".to_owned()),
    ];
    let options = DecodeOptions {
        format: BodyFormat::Ndjson,
        received_at_ns: RECEIVED,
        defaults: &defaults,
        limits: &limits,
        admit: &|_| true,
    };
    let decoded = Decoder::new()
        .decode(&mut body.as_bytes().to_vec(), &options)
        .unwrap();
    let expected = [
        json!({"timestamp": 1_795_168_800_000_000_000_i64, "level": "warn", "service": "s", "host": "5", "message": "m",
               "_stream": "{host=\"5\",service=\"s\"}", "ts": 1, "body": "b", "zone": "a"}),
        json!({"timestamp": RECEIVED, "level_text": "loud", "service": "x", "message": "7", "trace_id": "t",
               "_stream": "{service=\"x\"}", "zone": "a"}),
        json!({"timestamp": 1_795_176_000_500_000_000_i64, "level": "info", "service": "default",
               "_stream": "{service=\"default\"}", "zone": "a"}),
    ];
    let found: Vec<Value> = rows(&decoded.batch.unwrap())
        .into_iter()
        .map(|row| Value::Object(row.into_iter().collect()))
        .collect();
    for (found, expected) in found.iter().zip(&expected) {
        let sorted: BTreeMap<_, _> = expected.as_object().unwrap().iter().collect();
        assert_eq!(
            found
                .as_object()
                .unwrap()
                .iter()
                .collect::<BTreeMap<_, _>>(),
            sorted
        );
    }
}

#[test]
fn a_refused_record_leaves_no_trace() {
    let mut decoder = Decoder::new();
    let body = b"{\"a\":1}\n{\"a\":\"text\",\"new\":1,\"a\":2}\n{\"a\":\"x\",\"time\":\"never\"}\n{\"a\":3}\n";
    let decoded = decode(&mut decoder, body, BodyFormat::Ndjson).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected), (2, 2));
    let batch = decoded.batch.unwrap();
    assert_eq!(
        *batch.column_by_name("a").unwrap().data_type(),
        DataType::Int64
    );
    assert!(batch.column_by_name("new").is_none());
}

#[test]
fn numbers_that_fit_nowhere_are_kept_as_text() {
    let body = b"{\"a\":123456789012345678901234567890,\"b\":1e400,\"c\":[1e999],\"d\":\"\\\"1e999\"}\n{\"a\":01}\n";
    let decoded = decode(&mut Decoder::new(), body, BodyFormat::Ndjson).unwrap();
    assert_eq!(
        (decoded.accepted, decoded.rejected),
        (1, 1),
        "{:?}",
        decoded.errors
    );
    let row = &rows(&decoded.batch.unwrap())[0];
    assert_eq!(row["a"], "123456789012345678901234567890");
    assert_eq!(row["b"], "1e400");
    assert_eq!(row["d"], "\"1e999");
}

#[test]
fn attributes_past_the_bound_overflow() {
    let body = b"{\"past_the_bound\":{\"x\":1},\"y\":2}\n{\"past_the_bound\":\"a\\\"b\"}\n";
    let decoded = decode(&mut Decoder::new(), body, BodyFormat::Ndjson).unwrap();
    let found = rows(&decoded.batch.unwrap());
    assert_eq!(found[0]["past_the_bound.x"], 1, "another name has a column");
    assert_eq!(found[1]["_overflow"], r#"{"past_the_bound":"a\"b"}"#);
}

#[test]
fn a_sparse_body_does_not_blow_up() {
    let body: String = (0..100_000)
        .map(|n| format!("{{\"a{}\":{n}}}\n", n % 2_000))
        .collect();
    let decoded = decode(&mut Decoder::new(), body.as_bytes(), BodyFormat::Ndjson).unwrap();
    assert_eq!(decoded.accepted, 100_000);
    let batch = decoded.batch.unwrap();
    assert!(batch.num_columns() < 200, "{}", batch.num_columns());
    let overflow = batch.column_by_name("_overflow").unwrap();
    let attributes = batch
        .columns()
        .iter()
        .filter(|column| *column.data_type() == DataType::Int64);
    let kept: usize = attributes
        .map(|column| column.len() - column.null_count())
        .sum();
    assert_eq!(
        kept + overflow.len() - overflow.null_count(),
        100_000,
        "nothing is lost"
    );
}

#[test]
fn names_of_our_columns_do_not_collide_with_attributes() {
    let mut decoder = Decoder::new();
    let body = b"{\"_overflow\":{\"a\":1},\"x\":1}\n{\"_overflow\":\"y\"}\n";
    let found = rows(
        &decode(&mut decoder, body, BodyFormat::Ndjson)
            .unwrap()
            .batch
            .unwrap(),
    );
    assert_eq!(found[0]["_overflow.a"], 1);
    assert_eq!(found[1]["_overflow"], r#"{"_overflow_text":"y"}"#);
    let body = b"timestamp=never msg=x level=info\n";
    let format = BodyFormat::Text(TextFormat::Logfmt);
    let found = rows(&decode(&mut decoder, body, format).unwrap().batch.unwrap());
    assert_eq!(found[0]["timestamp"], RECEIVED);
    assert_eq!(found[0]["_overflow"], r#"{"timestamp_text":"never"}"#);
}

#[test]
fn a_nul_behind_an_escaped_backslash_is_found() {
    let body = br#"{"a":"\\u0000 is fine"}
{"a":"\\u0000 \u0000"}"#;
    let decoded = decode(&mut Decoder::new(), body, BodyFormat::Ndjson).unwrap();
    assert_eq!(
        (decoded.accepted, decoded.rejected),
        (1, 1),
        "{:?}",
        decoded.errors
    );
    assert_eq!(decoded.errors[0].code.as_str(), "nul_byte");
}
