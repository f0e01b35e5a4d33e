//! LogsQL: answers over records in memory, in segments, and in both.

use arrow_array::RecordBatch;
use futures::StreamExt;
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, decode};
use logmill_model::TimeRange;
use logmill_query_api::render::{Renderer, plain};
use logmill_query_api::{
    ContextQuery, Error, LogsQlQuery, QueryEngine, QueryLimits, Selection, TailEvent, TailQuery,
};
use logmill_store::StoreOptions;
use serde_json::{Value, json};

use crate::harness::{DAY, Served, tenant};

/// What the tests ask about: six records of two services; `user` has no column.
const RECORDS: &str = r#"
{"timestamp":"2026-11-20T10:00:00Z","level":"info","service":"api","host":"h1","message":"GET /users took 12ms","status":200,"ms":12,"ratio":0.5,"ip":"10.0.0.1","size":"1KiB","ok":true}
{"timestamp":"2026-11-20T10:00:30Z","level":"error","service":"api","host":"h2","message":"connection refused by 10.0.0.7","status":500,"ms":250,"ratio":1.5,"ip":"10.0.1.9","size":"2KiB","ok":false}
{"timestamp":"2026-11-20T10:01:00Z","level":"info","service":"web","host":"h1","message":"{\"user\":\"ann\",\"n\":{\"a\":1},\"tags\":[\"x\",\"y\"]}","status":200,"ms":7,"size":"10KiB"}
{"timestamp":"2026-11-20T11:00:00.5Z","level":"warn","service":"web","host":"h3","message":"slow query user=bob took=3s","status":404,"ms":3000,"ip":"192.168.0.1","size":"3","empty":""}
{"timestamp":"2026-11-20T11:30:00Z","level":"error","service":"api","host":"h1","message":"Connection refused by peer","status":500,"ms":251,"ratio":2.5,"ip":"10.0.0.2"}
{"timestamp":"2026-11-21T00:00:00Z","level":"info","service":"web","host":"h2","message":"bye"}
"#;

fn batch(records: &str) -> RecordBatch {
    let limits = DecodeLimits::default();
    let options = DecodeOptions {
        format: BodyFormat::Ndjson,
        received_at_ns: DAY,
        defaults: &[],
        limits: &limits,
        admit: &|name| name != "over",
    };
    let decoded = decode(&mut records.trim().as_bytes().to_vec(), &options).unwrap();
    assert_eq!(decoded.rejected, 0);
    decoded.batch.unwrap()
}

/// Where records are.
#[derive(Clone, Copy, Debug)]
enum Place {
    Memory,
    Segments,
    Both,
}

async fn served(place: Place) -> Served {
    let limits = QueryLimits::default();
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let lines: Vec<&str> = RECORDS.trim().lines().collect();
    for (number, some) in lines.chunks(2).enumerate() {
        served.append_batch(batch(&some.join("\n"))).await;
        let flush = match place {
            Place::Memory => false,
            Place::Segments => true,
            Place::Both => number == 0,
        };
        if flush {
            served.store.flush().await.unwrap();
        }
    }
    served
}

pub(crate) fn asked(text: &str) -> LogsQlQuery {
    LogsQlQuery {
        tenant: tenant(),
        query: logmill_lang::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")),
        range: TimeRange::ALL,
        now_ns: DAY + 12 * 3_600_000_000_000,
        limit: None,
        timeout_ms: None,
    }
}

async fn try_ask(served: &Served, query: LogsQlQuery) -> Result<Vec<Value>, Error> {
    let mut answer = served.engine.logsql(query).await?;
    let mut records = Vec::new();
    while let Some(batch) = answer.batches.next().await {
        let batch = plain(&batch?).unwrap();
        let renderer = Renderer::new(&batch).unwrap();
        for row in 0..batch.num_rows() {
            let mut text = Vec::new();
            renderer.write_record(row, &mut text);
            records.push(serde_json::from_slice(&text).unwrap());
        }
    }
    Ok(records)
}

async fn ask(served: &Served, text: &str) -> Vec<Value> {
    match try_ask(served, asked(text)).await {
        Ok(records) => records,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// The sorted `ms` of the records that a filter finds; 0 for the one without.
async fn found(served: &Served, filter: &str) -> Vec<i64> {
    let records = ask(served, &format!("{filter} | fields ms")).await;
    let numbers = records.iter().map(|record| record["ms"].as_i64());
    let mut numbers: Vec<i64> = numbers.map(Option::unwrap_or_default).collect();
    numbers.sort_unstable();
    numbers
}

const ALL: [i64; 6] = [0, 7, 12, 250, 251, 3000];

/// Filters, and the `ms` of the records that they find.
const FILTERS: &[(&str, &[i64])] = &[
    ("*", &ALL),
    ("refused", &[250, 251]),
    ("connection", &[250]),
    ("i(CONNECTION)", &[250, 251]),
    ("\"refused by\"", &[250, 251]),
    ("refuse", &[]),
    ("refuse*", &[250, 251]),
    ("i(CONN*)", &[250, 251]),
    ("!refused", &[0, 7, 12, 3000]),
    ("took !level:warn", &[12]),
    ("level:error", &[250, 251]),
    ("level:=err", &[]),
    ("level:=err*", &[250, 251]),
    ("level:in(info, warn)", &[0, 7, 12, 3000]),
    ("level:~\"^(i|w)\"", &[0, 7, 12, 3000]),
    ("message:refused", &[250, 251]),
    ("status:200", &[7, 12]),
    ("status:=500", &[250, 251]),
    ("status:>=404", &[250, 251, 3000]),
    ("status:>404.5", &[250, 251]),
    ("status:\"\"", &[0]),
    ("status:*", &[7, 12, 250, 251, 3000]),
    ("status:in(200, 404, \"\")", &[0, 7, 12, 3000]),
    ("status:range(200, 500]", &[250, 251, 3000]),
    ("status:~\"0$\"", &[7, 12, 250, 251]),
    ("ratio:>1", &[250, 251]),
    ("ratio:=0.5", &[12]),
    ("ok:=true", &[12]),
    ("ok:true", &[12]),
    ("!ok:true", &[0, 7, 250, 251, 3000]),
    ("size:>1KiB", &[7, 250]),
    ("size:<=1KiB", &[12, 3000]),
    ("ip:ipv4_range(10.0.0.0/24)", &[12, 251]),
    ("ip:string_range(10, 10.0.1)", &[12, 251]),
    ("len_range(1, 3)", &[0]),
    ("seq(connection, by)", &[250]),
    ("contains_any(slow, bye)", &[0, 3000]),
    ("contains_all(refused, peer)", &[251]),
    ("{service=\"api\"}", &[12, 250, 251]),
    ("{service=\"api\",host!=\"h1\"}", &[250]),
    ("{service=~\"w.*\"}", &[0, 7, 3000]),
    ("_time:2026-11-20T10", &[7, 12, 250]),
    ("_time:1h", &[251, 3000]),
    ("_time:90m offset 29m", &[251, 3000]),
    ("_time:30m offset 30m", &[251, 3000]),
    ("_time:day_range[11:00, 12:00)", &[251, 3000]),
    ("_time:week_range[Sat, Sat]", &[0]),
    ("timestamp:<2026-11-20T10:00:30Z", &[12]),
    ("nothing:\"\"", &ALL),
    ("nothing:*", &[]),
    ("nothing:x or bye", &[0]),
    ("nothing:<b", &ALL),
    ("empty:\"\"", &ALL),
    ("ms:eq_field(status)", &[0]),
    ("ms:lt_field(status)", &[7, 12, 250, 251]),
    ("_stream_id:in(level:warn | fields _stream_id)", &[3000]),
    (
        "host:in(level:error | uniq by (host))",
        &[0, 7, 12, 250, 251],
    ),
    ("_msg:contains_any(level:error | fields level)", &[]),
    ("ms:value_type(int64)", &[7, 12, 250, 251, 3000]),
    ("ms:value_type(ipv4)", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_mean() {
    let mut wrong = Vec::new();
    for place in [Place::Memory, Place::Segments, Place::Both] {
        let served = served(place).await;
        for (filter, expected) in FILTERS {
            let found = found(&served, filter).await;
            if found != *expected {
                wrong.push(format!(
                    "{filter} in {place:?}: {found:?}, not {expected:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_do_what_they_say() {
    let expected = include_str!("logsql/pipes.txt").lines();
    let expected = expected.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let expected: Vec<&str> = expected.collect();
    let mut wrong = Vec::new();
    for place in [Place::Memory, Place::Segments, Place::Both] {
        let served = served(place).await;
        for pair in expected.chunks(2) {
            let [query, expected] = pair else {
                panic!("{pair:?}")
            };
            let expected: Value = serde_json::from_str(&expected[2..]).unwrap();
            let found = match try_ask(&served, asked(query)).await {
                Ok(found) => json!(found),
                Err(error) => json!(error.to_string()),
            };
            if found != expected {
                wrong.push(format!("{query} in {place:?}: {found}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_and_tails_take_filters_with_subqueries() {
    let served = served(Place::Both).await;
    let selection = |filter: &str| Selection {
        logsql: Some(asked(filter).query.filter),
        now_ns: asked(filter).now_ns,
        ..Selection::all(tenant(), TimeRange::ALL)
    };
    let context = async |filter: &str| {
        let query = ContextQuery {
            selection: selection(filter),
            timestamp_ns: DAY + 11 * 3_600_000_000_000 + 500_000_000,
            before: 0,
            after: 0,
            timeout_ms: None,
        };
        served.engine.context(query).await.unwrap().record
    };
    let of_warnings = "host:in(level:warn | fields host)";
    assert!(context(of_warnings).await.is_some());
    assert!(
        context("host:in(level:fatal | fields host)")
            .await
            .is_none()
    );

    let query = TailQuery {
        selection: selection(of_warnings),
        fields: Some(vec!["message".to_owned()]),
        backfill: 9,
        after: None,
    };
    let mut tail = served.engine.tail(query).await.unwrap();
    for record in [
        r#"{"timestamp":"2026-11-20T12:00:00Z","host":"h4","level":"warn","message":"of a host that had no warnings"}"#,
        r#"{"timestamp":"2026-11-20T12:00:01Z","host":"h4","message":"of one that has some now"}"#,
        r#"{"timestamp":"2026-11-20T12:00:02Z","host":"h3","message":"of one that had some"}"#,
    ] {
        served.append_batch(batch(record)).await;
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        if let TailEvent::Records { batch, .. } = tail.events.next().await.unwrap().unwrap() {
            let messages = plain(&batch).unwrap();
            let messages = arrow_cast::cast(messages.column(0), &arrow_schema::DataType::Utf8);
            let messages = messages.unwrap();
            let texts = arrow_array::cast::AsArray::as_string::<i32>(&messages);
            told.extend(texts.iter().flatten().map(ToOwned::to_owned));
        }
    }
    assert_eq!(
        told,
        ["slow query user=bob took=3s", "of one that had some"],
        "what was a warning when the tail began"
    );
}

/// The plan, without what differs from run to run.
async fn plan(served: &Served, text: &str) -> String {
    let plan = served.engine.explain(asked(text)).await;
    let plan = plan.unwrap_or_else(|error| panic!("{text}: {error}"));
    let paths = regex::Regex::new(r"\{\d+ groups?: .*?\}, ").unwrap();
    format!("{text}\n\n{}", paths.replace_all(&plan, "…, "))
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_stay_what_they_are() {
    let queries = [
        ("filter", "refused status:>=500 service:=api"),
        ("negation", "!refused !service:=api"),
        ("count", "* | count()"),
        ("count_of_words", "refused | count() n"),
        ("group", "* | stats by (service) count() n"),
        (
            "group_and_condition",
            "* | stats by (level) count() if (refused) n, max(ms) m",
        ),
        ("time_buckets", "_time:1d | stats by (_time:1h) count() n"),
        ("top", "* | top 3 by (host)"),
        ("latest", "refused | sort by (_time desc) limit 10"),
        (
            "latest_and_more",
            "refused | sort by (_time desc) limit 10 | extract \"by <who>\" | stats by (who) count()",
        ),
        ("natural_order", "* | sort by (size desc) limit 3"),
        ("renamed_filter", "* | rename service as s | filter s:=api"),
        ("fields", "error | fields _time, _msg"),
        ("unpack", "* | unpack_json | stats by (user) count() n"),
        (
            "join",
            "* | stats by (host) count() n | join by (host) (level:warn | stats by (host) count() w)",
        ),
    ];
    let served = served(Place::Segments).await;
    for (name, query) in queries {
        insta::assert_snapshot!(name, plan(&served, query).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn surroundings_of_a_record_are_those_of_its_stream() {
    for place in [Place::Memory, Place::Segments, Place::Both] {
        let served = served(place).await;
        let lines = (0..20).map(|n| {
            format!(
                r#"{{"timestamp":"2026-11-20T09:00:{n:02}Z","service":"s{}","message":"line {n}{}"}}"#,
                n % 2,
                if n == 4 || n == 16 { " bang" } else { "" }
            )
        });
        let lines: Vec<String> = lines.collect();
        served.append_batch(batch(&lines.join("\n"))).await;
        let found = ask(
            &served,
            "bang | stream_context before 1 after 2 | fields _msg",
        )
        .await;
        let expected = [
            "line 2",
            "line 4 bang",
            "line 6",
            "line 8",
            "---",
            "line 14",
            "line 16 bang",
            "line 18",
        ];
        let found: Vec<_> = found
            .iter()
            .map(|record| record["_msg"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{place:?}");
        let window = "bang | stream_context after 5 time_window 3s | fields _msg";
        let found = ask(&served, window).await;
        let found: Vec<_> = found
            .iter()
            .map(|record| record["_msg"].as_str().unwrap())
            .collect();
        let expected = ["line 4 bang", "line 6", "---", "line 16 bang", "line 18"];
        assert_eq!(found, expected, "{place:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_too_much_is_stopped() {
    let limits = QueryLimits {
        memory_max_bytes: 32 << 20,
        subquery_max_values: 100,
        max_rows: 1_000,
        ..QueryLimits::default()
    };
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let words = "a message that is long enough to need some memory ".repeat(4);
    let lines = (0..200_000).map(|n| {
        format!(
            r#"{{"timestamp":{},"message":"{words}{n}","n":"{n}"}}"#,
            DAY + n
        )
    });
    let lines: Vec<String> = lines.collect();
    for lines in lines.chunks(20_000) {
        served.append_batch(batch(&lines.join("\n"))).await;
    }
    for query in [
        "* | sort by (n, _msg) | limit 1 | fields n | union (* | sort by (_msg))",
        "* | uniq by (_msg)",
        "* | stats values(_msg) v",
        "* | fields _msg, n | join by (n) (* | fields _msg, n)",
        "n:in(* | fields n) | count()",
    ] {
        let error = try_ask(&served, asked(query)).await.unwrap_err();
        assert_eq!(error.code(), "resource_exhausted", "{query}: {error}");
    }
    let error = try_ask(&served, asked("*")).await.unwrap_err();
    assert_eq!(error.code(), "too_many_rows");
    let mut few = asked("*");
    few.limit = Some(3);
    let found = try_ask(&served, few).await.unwrap();
    let numbers: Vec<_> = found
        .iter()
        .map(|record| record["n"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["199999", "199998", "199997"]);
    let error = try_ask(&served, asked("* | block_stats"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "not_supported");
}
