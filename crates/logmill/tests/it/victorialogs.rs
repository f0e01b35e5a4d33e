//! VictoriaLogs' HTTP API, asked as its clients ask: their requests, and the shapes that they read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::{bearer, guarded, key, on_catalog};
use crate::harness::{Data, Response, Server};

const RECORDS: &str = r#"{"_time":"2026-11-20T10:00:00Z","_msg":"pool exhausted: 5 waiting","service":"api","host":"a","level":"error","ms":5}
{"_time":"2026-11-20T10:00:01.5Z","_msg":"request done","service":"api","host":"a","level":"info","ms":7.5}
{"_time":"2026-11-20T10:30:00Z","_msg":"request done","service":"web","host":"b","level":"info","path":"/x"}
{"_time":"2026-11-20T12:00:00Z","_msg":"disk full","service":"web","host":"b","level":"error"}
"#;

/// Half of the records in a segment, half in memory.
fn filled(server: &Server) {
    let (old, new) = RECORDS.split_at(RECORDS.match_indices('\n').nth(1).unwrap().0 + 1);
    for part in [old, new] {
        let answer = insert(server, "", &[], part);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
        if part == old {
            server.flush();
        }
    }
}

fn insert(server: &Server, parameters: &str, headers: &[(&str, &str)], body: &str) -> Response {
    server.post(
        &format!("/insert/jsonline{parameters}"),
        headers,
        body.as_bytes(),
    )
}

fn form(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// Asks as `vlogscli` does: a form, and the tenant that nobody chose.
fn ask(server: &Server, call: &str, parameters: &[(&str, &str)]) -> Response {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("AccountID", "0"),
        ("ProjectID", "0"),
    ];
    server.post(
        &format!("/select/logsql/{call}"),
        &headers,
        form(parameters).as_bytes(),
    )
}

#[track_caller]
fn answer(server: &Server, call: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = ask(server, call, parameters);
    assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // The same as parameters of the address.
    let address = format!("/select/logsql/{call}?{}", form(parameters));
    assert_eq!(server.get(&address).json(), answer.json());
    answer.json()
}

#[track_caller]
fn lines(server: &Server, parameters: &[(&str, &str)]) -> Vec<Value> {
    let answer = ask(server, "query", parameters);
    assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/stream+json")
    );
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn records_are_texts() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let found = lines(
        &server,
        &[(
            "query",
            "pool | fields _time, _msg, _stream, service, level, ms, path",
        )],
    );
    let expected = json!({
        "_time": "2026-11-20T10:00:00Z",
        "_msg": "pool exhausted: 5 waiting",
        "_stream": "{host=\"a\",service=\"api\"}",
        "service": "api",
        "level": "error",
        "ms": "5",
    });
    assert_eq!(found, [expected]);
    let found = lines(&server, &[("query", "pool")]);
    for field in [
        "_time",
        "_stream_id",
        "_stream",
        "_msg",
        "host",
        "service",
        "level",
        "ms",
    ] {
        assert!(found[0][field].is_string(), "{field}: {found:?}");
    }
    let found = lines(
        &server,
        &[(
            "query",
            "* | stats by (level) count() n, sum(ms) s | sort by (level)",
        )],
    );
    assert_eq!(
        found,
        [
            json!({"level": "error", "n": "2", "s": "5"}),
            json!({"level": "info", "n": "2", "s": "7.5"}),
        ]
    );
    let found = lines(
        &server,
        &[("query", "* | fields _time, _msg"), ("limit", "2")],
    );
    let mut times: Vec<&str> = found
        .iter()
        .map(|line| line["_time"].as_str().unwrap())
        .collect();
    times.sort_unstable();
    assert_eq!(
        times,
        ["2026-11-20T10:30:00Z", "2026-11-20T12:00:00Z"],
        "the latest ones"
    );
    assert_eq!(lines(&server, &[("query", "*"), ("limit", "3")]).len(), 3);
    assert_eq!(lines(&server, &[("query", "nothing")]).len(), 0);
}

#[test]
fn time_is_bound_by_parameters() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let count = |parameters: &[(&str, &str)]| {
        let mut all = vec![("query", "* | count() n")];
        all.extend(parameters);
        lines(&server, &all)[0]["n"].as_str().unwrap().to_owned()
    };
    assert_eq!(count(&[]), "4");
    assert_eq!(count(&[("start", "2026-11-20T10:00:01Z")]), "3");
    assert_eq!(
        count(&[("end", "2026-11-20T10:00:01Z")]),
        "2",
        "a second is meant as a whole"
    );
    assert_eq!(
        count(&[("start", "1795170600"), ("end", "1795170600")]),
        "1"
    );
    assert_eq!(count(&[("start", "1s")]), "0");
    let with_query = |query: &str, time: &str| {
        let parameters = [("query", query), ("time", time)];
        lines(&server, &parameters)[0]["n"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        with_query("_time:1h | count() n", "2026-11-20T11:00:00Z"),
        "3"
    );
    assert_eq!(
        with_query("_time:1h | count() n", "2026-11-20T12:00:00.000000001Z"),
        "1"
    );
    let subquery = "service:in(level:error | fields service) | count() n";
    let bound = [("query", subquery), ("end", "2026-11-20T11:00:00Z")];
    assert_eq!(
        lines(&server, &bound)[0]["n"],
        "2",
        "a subquery sees no more of time"
    );
}

#[test]
fn extra_filters_hold_everywhere() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let count = |query: &str, name: &str, filter: &str| {
        lines(&server, &[("query", query), (name, filter)])[0]["n"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(count("* | count() n", "extra_filters", "level:error"), "2");
    assert_eq!(
        count(
            "* | count() n",
            "extra_filters",
            r#"{"level":"error","host":["a","c"]}"#
        ),
        "1"
    );
    assert_eq!(
        count("* | count() n", "extra_stream_filters", r#"{"host":"b"}"#),
        "2"
    );
    let leak = "nothing or service:in(host:a | fields service) | union (*) | count() n";
    assert_eq!(
        count(leak, "extra_filters", "host:b"),
        "2",
        "neither union nor in() sees more"
    );
}

#[test]
fn hits_are_counts_over_time() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let hits = answer(&server, "hits", &[("query", "* | limit 1"), ("step", "1h")]);
    let expected = json!({"hits": [{
        "fields": {},
        "timestamps": ["2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z"],
        "values": [3, 1],
        "total": 4,
    }]});
    assert_eq!(hits, expected);
    let by_level = [
        ("query", "*"),
        ("step", "1h"),
        ("field", "level"),
        ("field", "nope"),
    ];
    let expected = json!({"hits": [
        {
            "fields": {"level": "error", "nope": ""},
            "timestamps": ["2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z"],
            "values": [1, 1],
            "total": 2,
        },
        {
            "fields": {"level": "info", "nope": ""},
            "timestamps": ["2026-11-20T10:00:00Z"],
            "values": [2],
            "total": 2,
        },
    ]});
    assert_eq!(answer(&server, "hits", &by_level), expected);
    let limited = [
        ("query", "-disk"),
        ("field", "service"),
        ("fields_limit", "1"),
    ];
    let expected = json!({"hits": [
        {"fields": {"service": "api"}, "timestamps": ["2026-11-20T00:00:00Z"], "values": [2], "total": 2},
        {"fields": {}, "timestamps": ["2026-11-20T00:00:00Z"], "values": [1], "total": 1},
    ]});
    assert_eq!(answer(&server, "hits", &limited), expected);
    assert_eq!(
        answer(&server, "hits", &[("query", "nothing")]),
        json!({"hits": []})
    );
}

#[test]
fn stats_are_as_prometheus_has_them() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let query = "* | stats by (level) count() n, sum(ms) s | sort by (level)";
    let at = answer(
        &server,
        "stats_query",
        &[("query", query), ("time", "2026-11-20T13:00:00Z")],
    );
    let vector = |name: &str, level: &str, value: &str| json!({"metric": {"__name__": name, "level": level}, "value": [1_795_179_600, value]});
    let expected = json!({"status": "success", "data": {"resultType": "vector", "result": [
        vector("n", "error", "2"),
        vector("s", "error", "5"),
        vector("n", "info", "2"),
        vector("s", "info", "7.5"),
    ]}});
    assert_eq!(at, expected);
    let query = "* | stats by (service) count() n, rate() r";
    let over = answer(
        &server,
        "stats_query_range",
        &[("query", query), ("step", "30m")],
    );
    let (ten, half, noon) = (1_795_168_800, 1_795_170_600, 1_795_176_000);
    let expected = json!({"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"__name__": "n", "service": "api"}, "values": [[ten, "2"]]},
        {"metric": {"__name__": "n", "service": "web"}, "values": [[half, "1"], [noon, "1"]]},
        {"metric": {"__name__": "r", "service": "api"}, "values": [[ten, "0.0011111111111111111"]]},
        {"metric": {"__name__": "r", "service": "web"}, "values": [[half, "0.0005555555555555556"], [noon, "0.0005555555555555556"]]},
    ]}});
    assert_eq!(over, expected);
    for call in ["stats_query", "stats_query_range"] {
        let refused = ask(&server, call, &[("query", "* | limit 5")]);
        assert_eq!(refused.status, 422);
        let body = refused.json();
        assert_eq!(
            (&body["status"], &body["errorType"]),
            (&json!("error"), &json!("422"))
        );
        assert!(body["error"].as_str().unwrap().contains("stats"), "{body}");
    }
}

#[test]
fn names_and_values_have_counts() {
    let data = Data::new();
    let server = data.serve();
    filled(&server);
    let values = |call: &str, parameters: &[(&str, &str)]| {
        let mut all = vec![("query", "*")];
        all.extend(parameters);
        answer(&server, call, &all)["values"].clone()
    };
    let hits = |pairs: &[(&str, u64)]| {
        let pairs = pairs
            .iter()
            .map(|(value, hits)| json!({"value": value, "hits": hits}));
        Value::Array(pairs.collect())
    };
    let streams = [
        "{host=\"a\",service=\"api\"}",
        "{host=\"b\",service=\"web\"}",
    ];
    assert_eq!(
        values("streams", &[]),
        hits(&[(streams[0], 2), (streams[1], 2)])
    );
    assert_eq!(
        values("streams", &[("limit", "1")]),
        hits(&[(streams[0], 2)])
    );
    assert_eq!(values("stream_ids", &[]).as_array().unwrap().len(), 2);
    assert_eq!(
        values("stream_field_names", &[]),
        hits(&[("host", 4), ("service", 4)])
    );
    assert_eq!(
        values("stream_field_values", &[("field", "host")]),
        hits(&[("a", 2), ("b", 2)])
    );
    assert_eq!(
        values("field_values", &[("field", "level")]),
        hits(&[("error", 2), ("info", 2)])
    );
    assert_eq!(
        values("field_values", &[("field", "ms")]),
        hits(&[("5", 1), ("7.5", 1)])
    );
    assert_eq!(
        values("field_values", &[("field", "_msg"), ("limit", "1")]),
        hits(&[("request done", 2)])
    );
    let names = values("field_names", &[]);
    for (name, count) in [
        ("_time", 4),
        ("_msg", 4),
        ("_stream", 4),
        ("_stream_id", 4),
        ("level", 4),
        ("ms", 2),
        ("path", 1),
    ] {
        let found = names
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["value"] == name);
        assert_eq!(found.unwrap()["hits"], count, "{name}");
    }
    let facets = answer(&server, "facets", &[("query", "*")])["facets"].clone();
    let level = facets
        .as_array()
        .unwrap()
        .iter()
        .find(|facet| facet["field_name"] == "level");
    let expected = json!({"field_name": "level", "values": [
        {"field_value": "error", "hits": 2},
        {"field_value": "info", "hits": 2},
    ]});
    assert_eq!(level, Some(&expected));
    let missing = ask(&server, "field_values", &[("query", "*")]);
    assert_eq!(missing.status, 400);
    assert!(missing.text().contains("field"), "{}", missing.text());
}

#[test]
fn what_is_wrong_is_said_in_plain_text() {
    let data = Data::new();
    let server = data.serve();
    let refused = |call: &str, parameters: &[(&str, &str)], expected: &str| {
        let refused = ask(&server, call, parameters);
        assert_eq!(refused.status, 400, "{parameters:?}");
        assert_eq!(
            refused.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(refused.text().contains(expected), "{}", refused.text());
    };
    refused("query", &[], "a filter is missing");
    refused(
        "query",
        &[("query", "* | stts count()")],
        "did you mean `stats`",
    );
    refused("query", &[("query", "(a")], "`)` is missing");
    refused("query", &[("query", "*"), ("limit", "x")], "limit");
    refused("query", &[("query", "*"), ("start", "soon")], "start");
    refused("query", &[("query", "*"), ("timeout", "soon")], "timeout");
    refused(
        "query",
        &[("query", "*"), ("extra_filters", "a |")],
        "without pipes",
    );
    refused("hits", &[("query", "*"), ("step", "0s")], "step");
    refused("tail", &[("query", "* | limit 5")], "cannot be tailed");
    refused("tail", &[("query", "* | fields a")], "cannot be tailed");
}

#[test]
fn lines_are_taken_in_as_victorialogs_takes_them() {
    let data = Data::new();
    let server = data.serve();
    let named = "?_time_field=date,t&_msg_field=log.text&ignore_fields=secret,tmp*&extra_fields=region=eu,host=z&_stream_fields=app";
    let body = "{\"date\":\"2026-11-20T10:00:00Z\",\"log\":{\"text\":\"one\",\"n\":1},\"secret\":\"s\",\"tmp_1\":2}\n\n\
                {\"t\":1795168801,\"log\":{\"text\":\"two\"},\"host\":\"y\"}\n";
    let answer = insert(
        &server,
        named,
        &[("content-type", "application/stream+json")],
        body,
    );
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    let found = lines(
        &server,
        &[("query", "* | delete _stream_id | sort by (_time)")],
    );
    let expected = [
        json!({"_time": "2026-11-20T10:00:00Z", "_msg": "one", "_stream": "{host=\"z\"}", "host": "z", "log.n": "1", "region": "eu"}),
        json!({"_time": "2026-11-20T10:00:01Z", "_msg": "two", "_stream": "{host=\"y\"}", "host": "y", "region": "eu"}),
    ];
    assert_eq!(found, expected);
    let headers = [
        ("VL-Time-Field", "at"),
        ("VL-Msg-Field", "what"),
        ("VL-Extra-Fields", "k=v"),
    ];
    let answer = insert(
        &server,
        "",
        &headers,
        "{\"at\":\"2026-11-20T11:00:00Z\",\"what\":\"three\"}\n",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        lines(&server, &[("query", "three k:v _time:2026-11-20T11Z")]).len(),
        1
    );

    let answer = insert(&server, "", &[], "{\"_msg\":\"good\"}\nno json\n");
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.json()["accepted"], &answer.json()["rejected"]),
        (&json!(1), &json!(1))
    );
    let answer = insert(&server, "?_msg_field=x", &[], "no json\n");
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = insert(&server, "?extra_fields=novalue", &[], "{}");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("name=value"), "{}", answer.text());
    assert_eq!(server.get("/insert/jsonline").status, 405);
}

#[test]
fn numbers_name_tenants_where_the_credential_allows_it() {
    let data = guarded();
    on_catalog(&data, &["tenant", "create", "acme"]);
    on_catalog(&data, &["tenant", "create", "12-34"]);
    let own = bearer(&key(
        &data,
        &["--tenant", "acme", "--scope", "ingest,query"],
    ));
    let all = bearer(&key(&data, &["--tenant", "*", "--scope", "ingest,query"]));
    let server = data.serve();
    let ask = |key: &str, tenant: Option<(&str, &str)>, message: Option<&str>| {
        let mut headers = vec![("authorization", key)];
        if let Some((account, project)) = tenant {
            headers.extend([("AccountID", account), ("ProjectID", project)]);
        }
        match message {
            Some(message) => insert(
                &server,
                "",
                &headers,
                &format!("{{\"_msg\":\"{message}\"}}\n"),
            ),
            None => server.get_with("/select/logsql/query?query=*", &headers),
        }
    };
    assert_eq!(ask(&own, Some(("0", "0")), Some("ours")).status, 200);
    assert_eq!(ask(&all, Some(("12", "34")), Some("theirs")).status, 200);
    assert!(ask(&own, None, None).text().contains("ours"));
    let theirs = ask(&all, Some(("12", "34")), None).text();
    assert!(
        theirs.contains("theirs") && !theirs.contains("ours"),
        "{theirs}"
    );
    assert_eq!(ask(&own, Some(("12", "34")), None).status, 403);
    assert_eq!(ask(&own, Some(("12", "34")), Some("x")).status, 403);
    assert_eq!(ask(&all, Some(("x", "0")), None).status, 400);
}

/// A tail, read line by line.
struct Tail(BufReader<TcpStream>);

impl Tail {
    fn start(server: &Server, parameters: &[(&str, &str)]) -> Self {
        let address = server.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let body = form(parameters);
        let head = format!(
            "POST /select/logsql/tail HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut tail = Self(BufReader::new(stream));
        assert!(tail.line().starts_with("HTTP/1.1 200"));
        while !tail.line().is_empty() {}
        tail
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The messages of the next records.
    fn messages(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::new();
        while messages.len() < count {
            // Between the lines are those of the chunks.
            if let Ok(Value::Object(record)) = serde_json::from_str(&self.line()) {
                messages.push(record["_msg"].as_str().unwrap().to_owned());
            }
        }
        messages
    }
}

#[test]
fn a_tail_tells_records_as_they_come() {
    let data = Data::new();
    let server = data.serve();
    let say = |message: &str| {
        assert_eq!(
            insert(
                &server,
                "",
                &[],
                &format!("{{\"_msg\":\"{message}\",\"host\":\"a\"}}\n")
            )
            .status,
            200
        );
    };
    say("early one");
    say("other");
    let parameters = [
        ("query", "one | fields _time, _msg"),
        ("offset", "0s"),
        ("refresh_interval", "100ms"),
    ];
    let mut tail = Tail::start(&server, &parameters);
    assert_eq!(tail.messages(1), ["early one"]);
    say("one");
    say("other");
    say("one");
    say("last one");
    assert_eq!(tail.messages(3), ["one", "one", "last one"]);
    let begun = Instant::now();
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "a tail does not hold the server up"
    );
    let mut rest = String::new();
    tail.0.read_to_string(&mut rest).unwrap();
    assert!(
        rest.trim_end().ends_with('0'),
        "the answer ends as it should: {rest:?}"
    );
}
