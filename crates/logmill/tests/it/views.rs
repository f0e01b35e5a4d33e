//! What a log page draws, against counts over plain records: in memory, in segments, deleted, of another tenant, and in the
//! overflow column.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use logmill_test_services::PostgresServer;
use serde_json::{Value, json};

use crate::harness::{Data, Response, Server, ndjson, text_of};

const OTHER: (&str, &str) = ("x-tenant-id", "other");
const FROM: &str = "2026-11-20T10:00:00Z";
const TO: &str = "2026-11-20T12:00:00Z";

/// The time of a record: one every ten seconds, of which every third has the time of the one before.
fn second(n: u64) -> u64 {
    let n = if n % 3 == 2 { n - 1 } else { n };
    n * 10
}

fn time_of(second: u64) -> String {
    format!(
        "2026-11-20T{:02}:{:02}:{:02}Z",
        10 + second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn record(n: u64) -> Value {
    let mut record = json!({
        "timestamp": time_of(second(n)),
        "service": (["cart", "pay", "search"][n as usize % 3]),
        "host": format!("n{}", n % 2),
        "message": format!("request {n} took {}ms", n * 7 % 900),
        "trace_id": format!("{n:032x}"),
        "http": {"status": if n.is_multiple_of(7) { 503 } else { 200 }},
        "shard": n % 40,
    });
    if n % 5 != 4 {
        record["level"] = json!(["info", "info", "warn", "error"][n as usize % 4]);
    }
    if n.is_multiple_of(4) {
        record["note"] = json!(format!("rare {}", n % 8));
    }
    if n.is_multiple_of(10) {
        record["message"] = json!(format!("login of user{} from 10.0.0.{}", n % 9, n % 250));
    }
    record
}

/// A server with records in segments, of which some are deleted, in memory, and of another tenant; and what is left.
struct Scene {
    server: Server,
    records: Vec<Value>,
}

fn scene(data: &Data) -> Scene {
    let server = data.serve();
    let first: Vec<Value> = (0..200).map(record).collect();
    let second: Vec<Value> = (200..400).map(record).collect();
    let third: Vec<Value> = (400..600).map(record).collect();
    server.ingest(&first);
    server.flush();
    server.ingest(&second);
    server.flush();
    let stranger = json!({"timestamp": FROM, "message": "not yours", "service": "cart", "secret": "s", "level": "fatal"});
    assert_eq!(
        server.ingest_ndjson(&ndjson(&[stranger]), &[OTHER]).status,
        200
    );
    let deletion = json!({"filters": {"shard": 7}});
    assert!(server.post_json("/admin/delete", &deletion).status < 300);
    server.ingest(&third);
    let left = first
        .into_iter()
        .chain(second)
        .filter(|record| record["shard"] != 7);
    let records = left.chain(third).collect();
    Scene { server, records }
}

fn bounded() -> Data {
    Data::new().setting("STORE__COMPACTION__ENABLED", false)
}

/// A field as answers have it.
fn text_at(record: &Value, name: &str) -> Option<String> {
    let value = name
        .split('.')
        .try_fold(record, |value, part| value.get(part))?;
    Some(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn counts<'a>(records: impl IntoIterator<Item = &'a Value>, name: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for value in records
        .into_iter()
        .filter_map(|record| text_at(record, name))
    {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// The pairs of value and count of an answer.
fn pairs(values: &Value) -> BTreeMap<String, u64> {
    let pairs = values.as_array().unwrap().iter();
    pairs
        .map(|pair| {
            let value = pair["value"].as_str().unwrap().to_owned();
            (value, pair["count"].as_u64().unwrap())
        })
        .collect()
}

impl Scene {
    #[track_caller]
    fn get(&self, path: &str, parameters: &str) -> Value {
        let path = format!("{path}?from={FROM}&to={TO}&{parameters}");
        let answer = self.server.get(&path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    fn matching(&self, keep: impl Fn(&&Value) -> bool) -> Vec<&Value> {
        self.records.iter().filter(keep).collect()
    }
}

/// Selections as parameters, and what they mean.
type Keep = fn(&&Value) -> bool;
const SELECTIONS: [(&str, Keep); 5] = [
    ("", |_| true),
    ("level=error,warn", |record| {
        matches!(record["level"].as_str(), Some("error" | "warn"))
    }),
    ("text=login&service=cart", |record| {
        record["service"] == "cart" && record["message"].as_str().unwrap().starts_with("login")
    }),
    ("query=login%20service:=cart", |record| {
        record["service"] == "cart" && record["message"].as_str().unwrap().starts_with("login")
    }),
    ("filter.http.status=503", |record| {
        record["http"]["status"] == 503
    }),
];

#[test]
fn histograms_count_every_record_once() {
    let data = bounded();
    let scene = scene(&data);
    for (parameters, keep) in SELECTIONS {
        let records = scene.matching(keep);
        let found = scene.get("/histogram", &format!("by=level&interval=5m&{parameters}"));
        assert_eq!(found["interval_ms"], 300_000);
        assert_eq!(found["total"], records.len(), "{parameters}: {found}");
        assert_eq!(found["other"], Value::Null);
        let buckets = found["buckets"].as_array().unwrap();
        assert_eq!(buckets.len(), 24, "{buckets:?}");
        assert_eq!(buckets[3], "2026-11-20T10:15:00Z");
        let mut expected: BTreeMap<Option<String>, Vec<u64>> = BTreeMap::new();
        for record in &records {
            let time = record["timestamp"].as_str().unwrap();
            let minutes = |at: usize| time[at..at + 2].parse::<usize>().unwrap();
            let bucket = ((minutes(11) - 10) * 60 + minutes(14)) / 5;
            expected
                .entry(text_at(record, "level"))
                .or_insert_with(|| vec![0; 24])[bucket] += 1;
        }
        let series = found["series"].as_array().unwrap().iter();
        let series: BTreeMap<Option<String>, Vec<u64>> = series
            .map(|series| {
                serde_json::from_value(
                    (series["value"].clone(), series["counts"].clone()).into_json(),
                )
                .unwrap()
            })
            .collect();
        assert_eq!(series, expected, "{parameters}");
    }
}

/// Two values as a JSON array.
trait IntoJson {
    fn into_json(self) -> Value;
}

impl IntoJson for (Value, Value) {
    fn into_json(self) -> Value {
        json!([self.0, self.1])
    }
}

#[test]
fn histograms_have_a_series_for_the_commonest_and_one_for_the_rest() {
    let data = bounded();
    let scene = scene(&data);
    let found = scene.get("/histogram", "by=shard&interval=1h&limit=3");
    let series = found["series"].as_array().unwrap();
    assert_eq!(series.len(), 3);
    let sum = |counts: &Value| -> u64 {
        counts
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum()
    };
    let told: u64 = series.iter().map(|series| sum(&series["counts"])).sum();
    assert_eq!(told + sum(&found["other"]), scene.records.len() as u64);
    assert_eq!(found["buckets"], json!([FROM, "2026-11-20T11:00:00Z"]));
    let whole = scene.get("/histogram", "");
    assert_eq!(whole["interval_ms"], 120_000);
    assert_eq!(whole["buckets"].as_array().unwrap().len(), 60);
    assert_eq!(whole["series"].as_array().unwrap().len(), 1);
    assert_eq!(whole["series"][0]["value"], Value::Null);
    assert_eq!(whole["total"], scene.records.len());
    let unknown = scene.get("/histogram", "by=nothing&interval=1h");
    assert_eq!(unknown["total"], scene.records.len());
    assert!(unknown["warnings"][0].as_str().unwrap().contains("nothing"));
    let empty = scene
        .server
        .get("/histogram?from=2026-01-01T00:00:00Z&to=2026-01-01T00:03:00Z&interval=1m")
        .json();
    assert_eq!(empty["series"], json!([]));
    assert_eq!(empty["buckets"].as_array().unwrap().len(), 3);
    assert_eq!(empty["total"], 0);
}

#[test]
fn facets_count_all_fields_in_one_pass() {
    let data = bounded().setting("QUERY__VIEWS__FACET_MAX_VALUES", 100);
    let scene = scene(&data);
    for (parameters, keep) in SELECTIONS {
        let records = scene.matching(keep);
        let fields = "fields=level,service,http.status,shard,note,trace_id,absent";
        let found = scene.get("/facets", &format!("{fields}&limit=200&{parameters}"));
        assert_eq!(found["total"], records.len(), "{parameters}");
        let facets = found["facets"].as_array().unwrap();
        let mut told = BTreeSet::new();
        for facet in facets {
            let name = facet["field"].as_str().unwrap();
            told.insert(name);
            let expected = counts(records.iter().copied(), name);
            assert_eq!(pairs(&facet["values"]), expected, "{parameters} {name}");
            assert_eq!(facet["distinct"], expected.len());
            assert_eq!(facet["records"], expected.values().sum::<u64>());
        }
        let left_out = found["left_out"].as_array().unwrap().iter();
        let reasons: BTreeMap<&str, &str> = left_out
            .map(|field| {
                (
                    field["field"].as_str().unwrap(),
                    field["reason"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(reasons["absent"], "no_values");
        let traces = records.len() > 100;
        assert_eq!(
            reasons.get("trace_id") == Some(&"too_many_values"),
            traces,
            "{reasons:?}"
        );
        assert!(told.contains("level") && told.contains("http.status"));
    }
    let top = scene.get("/facets", "fields=shard&limit=2");
    assert_eq!(top["facets"][0]["values"].as_array().unwrap().len(), 2);
    assert_eq!(top["facets"][0]["distinct"], 40);
    let usual = scene.get("/facets", "");
    let names: Vec<&str> = usual["facets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|facet| facet["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["level", "service", "host", "http.status", "note", "shard"]
    );
}

#[test]
fn fields_are_counted_without_being_read() {
    let data = bounded();
    let scene = scene(&data);
    let names = [
        ("timestamp", "timestamp"),
        ("level", "text"),
        ("service", "text"),
        ("host", "text"),
        ("message", "text"),
        ("trace_id", "text"),
        ("http.status", "integer"),
        ("note", "text"),
        ("shard", "integer"),
    ];
    for (parameters, keep) in SELECTIONS {
        let records = scene.matching(keep);
        let found = scene.get("/fields", parameters);
        assert_eq!(found["total"], records.len(), "{parameters}: {found}");
        let fields = found["fields"].as_array().unwrap();
        for (name, kind) in names {
            let expected = counts(records.iter().copied(), name).values().sum::<u64>();
            let field = fields.iter().find(|field| field["name"] == name);
            let field = field.map_or((json!(0), json!(kind)), |field| {
                (field["count"].clone(), field["type"].clone())
            });
            assert_eq!(field, (json!(expected), json!(kind)), "{parameters} {name}");
        }
        assert!(fields.iter().all(|field| field["name"] != "secret"));
    }
    // What segments say of themselves: a part of the time is in none of them whole.
    let part = scene
        .server
        .get("/fields?from=2026-11-20T10:10:00Z&to=2026-11-20T10:20:00Z")
        .json();
    let records =
        scene.matching(|record| (600..1200).any(|second| record["timestamp"] == time_of(second)));
    assert_eq!(part["total"], records.len());
    drop(scene);
    let fresh = Data::new();
    let server = fresh.serve();
    server.ingest(&(0..300).map(record).collect::<Vec<_>>());
    server.flush();
    let known = server.get(&format!("/fields?from={FROM}&to={TO}")).json();
    assert_eq!(known["total"], 300);
    assert_eq!(known["stats"]["rows_scanned"], 0, "{known}");
}

#[test]
fn values_of_a_field_by_how_common_they_are() {
    let data = bounded();
    let scene = scene(&data);
    for (parameters, keep) in SELECTIONS {
        let records = scene.matching(keep);
        for name in ["service", "http.status", "note", "level"] {
            let found = scene.get(&format!("/fields/{name}/values"), parameters);
            assert_eq!(
                pairs(&found["values"]),
                counts(records.iter().copied(), name),
                "{parameters} {name}"
            );
            assert_eq!(found["more"], false);
        }
    }
    let some = scene.get("/fields/shard/values", "prefix=3&limit=4");
    let expected: BTreeMap<String, u64> = counts(&scene.records, "shard")
        .into_iter()
        .filter(|(value, _)| value.starts_with('3'))
        .collect();
    assert_eq!(expected.len(), 11);
    assert_eq!(some["more"], true);
    let values = some["values"].as_array().unwrap();
    assert_eq!(values.len(), 4);
    for (value, count) in pairs(&some["values"]) {
        assert_eq!(expected[&value], count);
    }
    let counts: Vec<u64> = values
        .iter()
        .map(|value| value["count"].as_u64().unwrap())
        .collect();
    assert!(counts.is_sorted_by(|a, b| a >= b));
    let unknown = scene.get("/fields/nothing/values", "");
    assert_eq!(unknown["values"], json!([]));
    assert!(unknown["warnings"][0].as_str().unwrap().contains("nothing"));
}

#[test]
fn fields_past_the_bound_on_columns_are_found_by_name() {
    let data = bounded().setting("STORE__COLUMNS_MAX", 1);
    let scene = scene(&data);
    let fields = scene.get("/fields", "");
    let of = |name: &str| {
        let fields = fields["fields"].as_array().unwrap().iter();
        fields
            .clone()
            .find(|field| field["name"] == name)
            .map(|field| field["count"].clone())
    };
    let note = counts(&scene.records, "note");
    assert_eq!(of("_overflow"), None);
    assert_eq!(of("note").unwrap(), note.values().sum::<u64>());
    assert_eq!(pairs(&scene.get("/fields/note/values", "")["values"]), note);
    let facets = scene.get("/facets", "fields=note,shard,http.status&limit=50");
    for facet in facets["facets"].as_array().unwrap() {
        let name = facet["field"].as_str().unwrap();
        assert_eq!(
            pairs(&facet["values"]),
            counts(&scene.records, name),
            "{name}"
        );
    }
    assert_eq!(facets["facets"].as_array().unwrap().len(), 3, "{facets}");
}

#[test]
fn neighbours_are_of_the_same_stream_and_in_order() {
    let data = bounded();
    let scene = scene(&data);
    let stream_of = |record: &Value| (record["service"].clone(), record["host"].clone());
    for n in [0_u64, 1, 2, 150, 151, 152, 299, 301, 599] {
        let wanted = record(n);
        let trace = wanted["trace_id"].as_str().unwrap();
        let time = wanted["timestamp"].as_str().unwrap();
        let answer = scene.server.get(&format!(
            "/context?timestamp={time}&filter.trace_id={trace}&before=5&after=4"
        ));
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["record"]["trace_id"], trace);
        assert_eq!(answer["same"], 0);
        let stream = stream_of(&wanted);
        let of_stream: Vec<&Value> = scene.matching(|record| stream_of(record) == stream);
        let place = of_stream
            .iter()
            .position(|record| record["trace_id"] == trace)
            .unwrap();
        let traces = |records: &[&Value]| -> Vec<Value> {
            records
                .iter()
                .map(|record| record["trace_id"].clone())
                .collect()
        };
        let told = |side: &str| -> Vec<Value> {
            let records = answer[side].as_array().unwrap().iter();
            records.map(|record| record["trace_id"].clone()).collect()
        };
        assert_eq!(
            told("before"),
            traces(&of_stream[place.saturating_sub(5)..place]),
            "{n}"
        );
        assert_eq!(
            told("after"),
            traces(&of_stream[place + 1..of_stream.len().min(place + 5)]),
            "{n}"
        );
    }
    let missing = format!("/context?timestamp={FROM}&filter.trace_id=none");
    scene.server.get(&missing).error(404, "unknown_record");
}

#[test]
fn neighbours_of_one_time_are_before_or_after_but_never_both() {
    let data = Data::new();
    let server = data.serve();
    let alike = |n: u64| json!({"timestamp": FROM, "service": "pay", "host": "n1", "message": format!("m{n}")});
    server.ingest(&(0..5).map(alike).collect::<Vec<_>>());
    server.flush();
    server.ingest(&(5..10).map(alike).collect::<Vec<_>>());
    let mut orders = BTreeSet::new();
    for n in 0..10 {
        let path = format!("/context?timestamp={FROM}&filter.message=m{n}&before=20&after=20");
        let answer = server.get(&path).json();
        let messages = |side: &str| -> Vec<String> {
            let records = answer[side].as_array().unwrap().iter();
            records
                .map(|record| record["message"].as_str().unwrap().to_owned())
                .collect()
        };
        let mut order = messages("before");
        order.push(answer["record"]["message"].as_str().unwrap().to_owned());
        order.extend(messages("after"));
        assert_eq!(order.len(), 10, "{answer}");
        orders.insert(order);
    }
    assert_eq!(orders.len(), 1, "every answer has the same order");
    let any = server
        .get(&format!(
            "/context?timestamp={FROM}&stream=%7Bhost=%22n1%22,service=%22pay%22%7D"
        ))
        .json();
    assert_eq!(any["same"], 9);
}

#[test]
fn patterns_put_messages_together_that_differ_in_numbers() {
    let data = bounded();
    let scene = scene(&data);
    for (parameters, keep) in SELECTIONS {
        let records = scene.matching(keep);
        let found = scene.get("/patterns", parameters);
        assert_eq!(found["total"], records.len(), "{parameters}");
        assert_eq!(found["other"], 0);
        let is_login = |record: &&&Value| record["message"].as_str().unwrap().starts_with("login");
        for (pattern, of_login) in [
            ("request <N> took <N>ms", false),
            ("login of user<N> from <IP4>", true),
        ] {
            let of_pattern: Vec<&Value> = records
                .iter()
                .filter(|record| is_login(record) == of_login)
                .copied()
                .collect();
            let patterns = found["patterns"].as_array().unwrap();
            let told = patterns.iter().find(|told| told["pattern"] == pattern);
            let Some(told) = told else {
                assert!(of_pattern.is_empty(), "{parameters}: {found}");
                continue;
            };
            assert_eq!(told["count"], of_pattern.len(), "{parameters} {pattern}");
            assert_eq!(
                pairs(&told["levels"]),
                counts(of_pattern.iter().copied(), "level")
            );
            assert_eq!(
                pairs(&told["services"]),
                counts(of_pattern.iter().copied(), "service")
            );
            let times = || {
                of_pattern
                    .iter()
                    .map(|record| record["timestamp"].as_str().unwrap())
            };
            assert_eq!(told["first"], times().min().unwrap());
            assert_eq!(told["last"], times().max().unwrap());
            let examples = told["examples"].as_array().unwrap();
            assert_eq!(examples.len(), of_pattern.len().min(3));
            assert!(examples.iter().all(|example| {
                of_pattern
                    .iter()
                    .any(|record| record["message"] == *example)
            }));
        }
    }
    let one = scene.get("/patterns", "limit=1&examples=0");
    assert_eq!(one["patterns"].as_array().unwrap().len(), 1);
    assert_eq!(one["patterns"][0]["examples"], json!([]));
    let told = one["patterns"][0]["count"].as_u64().unwrap() + one["other"].as_u64().unwrap();
    assert_eq!(told, scene.records.len() as u64);
    let rows = scene
        .server
        .sql("SELECT message_pattern(message) AS p, count(*) FROM logs GROUP BY p ORDER BY 2 DESC");
    assert_eq!(rows[0][0], "request <N> took <N>ms");
}

#[test]
fn questions_that_are_wrong_are_refused_with_a_hint() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[record(1)]);
    for (path, code, hint) in [
        ("/histogram?interval=5x", "invalid_interval", "5m"),
        ("/histogram?interval=1ns", "invalid_interval", "millisecond"),
        (
            "/histogram?from=2020-01-01T00:00:00Z&interval=1s",
            "invalid_interval",
            "auto",
        ),
        ("/histogram?buckets=0", "invalid_interval", "1 to"),
        (
            "/histogram?buckets=10&interval=5m",
            "invalid_interval",
            "auto",
        ),
        ("/histogram?limit=0", "invalid_limit", "1 to"),
        ("/histogram?bye=level", "invalid_parameter", "interval"),
        ("/histogram?from=now&to=-1h", "invalid_time", "after"),
        ("/facets?limit=100000", "invalid_limit", "1 to"),
        (
            "/facets?fields=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u",
            "invalid_limit",
            "20",
        ),
        ("/facets?text=%22open", "syntax_error", "quote"),
        ("/fields?limit=1", "invalid_parameter", "timeout_ms"),
        (
            "/fields/level/values?limit=many",
            "invalid_parameter",
            "number",
        ),
        ("/context", "invalid_time", "timestamp"),
        ("/context?timestamp=yesterday", "invalid_time", "RFC 3339"),
        (
            "/context?timestamp=now&before=1000000",
            "invalid_limit",
            "1 to",
        ),
        (
            "/context?timestamp=now&window=wide",
            "invalid_interval",
            "1h",
        ),
        ("/patterns?examples=1000", "invalid_limit", "1 to"),
    ] {
        let answer = server.get(path);
        let message = answer.error(400, code);
        assert!(message.contains(hint), "{path}: {message}");
    }
}

#[test]
fn tenants_see_their_own_alone() {
    let data = bounded();
    let scene = scene(&data);
    let other = |path: &str| -> Response {
        scene
            .server
            .get_with(&format!("{path}?from={FROM}&to={TO}"), &[OTHER])
    };
    assert_eq!(other("/histogram").json()["total"], 1);
    let names = other("/fields").json();
    let names: Vec<&str> = names["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "timestamp",
            "level",
            "service",
            "message",
            "_stream",
            "secret"
        ]
    );
    assert_eq!(
        other("/patterns").json()["patterns"][0]["pattern"],
        "not yours"
    );
    assert_eq!(
        other("/facets").json()["facets"].as_array().unwrap().len(),
        3
    );
    let mine = scene.get("/fields/secret/values", "");
    assert_eq!(mine["values"], json!([]));
}

#[test]
fn a_field_with_many_values_reaches_the_memory_limit_and_the_server_goes_on() {
    let data = Data::new().setting("QUERY__MEMORY_MAX_BYTES", 2 << 20);
    let server = data.serve();
    let begun = Instant::now();
    for batch in 0..10_u64 {
        let records: Vec<Value> = (0..2_000)
            .map(|n| json!({"timestamp": FROM, "id": format!("{:064x}", batch * 2_000 + n)}))
            .collect();
        server.ingest(&records);
    }
    let answer = server.get(&format!("/histogram?from={FROM}&to={TO}&by=id"));
    let message = answer.error(422, "resource_exhausted");
    assert!(message.contains("memory"), "{message}");
    assert_eq!(
        server
            .get(&format!("/histogram?from={FROM}&to={TO}"))
            .json()["total"],
        20_000
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_command_line_draws_pictures() {
    let data = bounded();
    let scene = scene(&data);
    let run = |arguments: &[&str]| -> String {
        let range = ["--url", &scene.server.url, "--from", FROM, "--to", TO];
        let output = data.run(&[arguments, &range].concat());
        assert!(output.status.success(), "{output:?}");
        text_of(&output.stdout)
    };
    let picture = run(&["histogram", "--interval", "1h", "--service", "pay,search"]);
    let lines: Vec<&str> = picture.lines().collect();
    assert!(lines[0].starts_with("2026-11-20 10:00  █"), "{picture}");
    assert!(lines[1].starts_with("2026-11-20 11:00  "), "{picture}");
    let of_pay = scene.matching(|record| record["service"] != "cart").len();
    assert!(
        lines[3].starts_with(&format!("{of_pay} records in ")),
        "{picture}"
    );
    let json: Value = serde_json::from_str(&run(&["histogram", "--json", "login"])).unwrap();
    let logins = scene.matching(|record| record["message"].as_str().unwrap().starts_with("login"));
    assert_eq!(json["total"], logins.len());
    let patterns = run(&["patterns", "--examples", "1"]);
    assert!(
        patterns.contains("  request <N> took <N>ms\n"),
        "{patterns}"
    );
    assert!(
        patterns.contains("login of user<N> from <IP4>"),
        "{patterns}"
    );
    let refused = data.run(&["histogram", "--url", &scene.server.url, "--interval", "5x"]);
    assert!(!refused.status.success());
    assert!(
        text_of(&refused.stderr).contains("invalid_interval"),
        "{refused:?}"
    );
}

#[test]
fn a_table_of_postgres_is_counted_the_same() {
    let postgres = PostgresServer::start();
    let in_table = Data::new()
        .setting("STORE__KIND", "postgres")
        .variable("DATABASE_URL", postgres.database());
    let in_segments = bounded();
    let scenes = [scene(&in_segments), scene(&in_table)];
    for (selection, _) in SELECTIONS {
        for (path, parameters) in [
            ("/histogram", "by=shard&interval=10m&limit=5"),
            ("/facets", "limit=7"),
            ("/fields", ""),
            ("/fields/http.status/values", ""),
            ("/patterns", "examples=0"),
        ] {
            let [segments, table] = scenes.each_ref().map(|scene| {
                let mut answer = scene.get(path, &format!("{parameters}&{selection}"));
                answer.as_object_mut().unwrap().remove("stats");
                answer
            });
            assert_eq!(segments, table, "{path} {parameters} {selection}");
        }
    }
}
