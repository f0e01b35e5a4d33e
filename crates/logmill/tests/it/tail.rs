//! `/tail`: records as they are acknowledged.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fleet::Shared;
use crate::harness::{Data, Server, ndjson, terminate};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for what would be told to be told.
const A_WHILE: Duration = Duration::from_millis(500);

/// An event: its name and its data. Comments have no name.
type Event = (String, String);

/// Ids of the events that had one.
type Ids = Arc<Mutex<Vec<String>>>;

/// A tail that is read as it comes. Dropped, it hangs up.
struct Tail {
    connection: TcpStream,
    events: Receiver<Event>,
    ids: Ids,
}

/// Asks, and returns the connection and the head of the answer.
fn connect(
    url: &str,
    parameters: &str,
    headers: &str,
) -> (TcpStream, BufReader<TcpStream>, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "GET /tail?{parameters} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n"
    )
    .unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    (connection, reader, head)
}

/// The body's chunks, without what frames them.
struct Chunks(BufReader<TcpStream>);

impl Chunks {
    fn next(&mut self) -> Option<String> {
        let mut length = String::new();
        self.0.read_line(&mut length).ok()?;
        let length = usize::from_str_radix(length.trim(), 16)
            .ok()
            .filter(|length| *length > 0)?;
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        String::from_utf8(chunk).ok()
    }
}

fn event_of(text: &str) -> Event {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let event = field("event: ").unwrap_or_default();
    let data = field("data: ").or(field(": ")).unwrap_or_default();
    (event.to_owned(), data.to_owned())
}

impl Tail {
    fn open(url: &str, parameters: &str) -> Self {
        Self::open_with(url, parameters, "")
    }

    fn open_with(url: &str, parameters: &str, headers: &str) -> Self {
        let (connection, reader, head) = connect(url, parameters, headers);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.to_lowercase()
                .contains("content-type: text/event-stream"),
            "{head}"
        );
        let (send, events) = mpsc::channel();
        let ids = Ids::default();
        let seen = ids.clone();
        std::thread::spawn(move || {
            let mut chunks = Chunks(reader);
            let mut rest = String::new();
            while let Some(chunk) = chunks.next() {
                rest.push_str(&chunk);
                while let Some((event, after)) = rest.split_once("\n\n") {
                    let id = event.lines().find_map(|line| line.strip_prefix("id: "));
                    seen.lock().unwrap().extend(id.map(str::to_owned));
                    let event = event_of(event);
                    rest = after.to_owned();
                    if send.send(event).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            connection,
            events,
            ids,
        }
    }

    /// Goes on after an id.
    fn after(url: &str, parameters: &str, id: &str) -> Self {
        Self::open_with(url, parameters, &format!("last-event-id: {id}\r\n"))
    }

    /// The last id of an event that was read whole.
    fn last_id(&self) -> String {
        self.ids.lock().unwrap().last().unwrap().clone()
    }

    /// The next event that is no comment.
    fn next(&self) -> Event {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            if !event.0.is_empty() {
                return event;
            }
        }
    }

    fn record(&self) -> Value {
        let (event, data) = self.next();
        assert_eq!(event, "record", "{data}");
        serde_json::from_str(&data).unwrap()
    }

    fn records(&self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.record()).collect()
    }

    fn is_silent(&self) {
        let until = Instant::now() + A_WHILE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.events.recv_timeout(left) {
                Ok((event, data)) => assert_eq!(event, "", "{data}"),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("the tail ended"),
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(std::net::Shutdown::Both);
    }
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<Value> {
    let record = |n: u64| json!({"service": "counter", "message": format!("number {n}"), "n": n});
    numbers.map(record).collect()
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records
        .iter()
        .map(|record| record["n"].as_u64().unwrap())
        .collect()
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn records_are_told_in_order_as_they_are_acknowledged() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&numbered(0..3));
    let tail = Tail::open(&server.url, "");
    server.ingest(&numbered(3..6));
    server.flush();
    server.ingest(&numbered(6..500));
    let told = tail.records(497);
    assert_eq!(numbers(&told), (3..500).collect::<Vec<_>>());
    assert_eq!(told[0]["message"], "number 3");
    assert_eq!(told[0]["_stream"], "{service=\"counter\"}");
    // A record may have any time.
    server.ingest(&[json!({"timestamp": "2001-01-01T00:00:00Z", "n": 500})]);
    assert_eq!(tail.record()["timestamp"], "2001-01-01T00:00:00Z");
    tail.is_silent();
}

#[test]
fn a_tail_tells_what_matches_even_by_fields_that_come_later() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&numbered(0..1));
    let words = Tail::open(
        &server.url,
        "text=timeout&level=error,warn&fields=message,user",
    );
    let by_field = Tail::open(&server.url, "filter.user=7");
    let by_logsql = Tail::open(&server.url, "query=user:*%20message:timeout*");
    let records = [
        json!({"level": "error", "message": "Timeout of a"}),
        json!({"level": "info", "message": "timeout of b"}),
        json!({"level": "warn", "message": "no time out"}),
        json!({"level": "warn", "message": "timeout: c", "user": 7}),
    ];
    server.ingest(&records);
    assert_eq!(words.record(), json!({"message": "Timeout of a"}));
    assert_eq!(words.record(), json!({"message": "timeout: c", "user": 7}));
    assert_eq!(by_field.record()["message"], "timeout: c");
    // The field's type changes: numbers and texts met.
    server.ingest(&[
        json!({"user": "eight"}),
        json!({"user": "7", "message": "as text"}),
    ]);
    assert_eq!(by_field.record()["message"], "as text");
    server.ingest(&[json!({"user": 7, "message": "as number"})]);
    let again = by_field.record();
    assert_eq!(
        (&again["message"], &again["user"]),
        (&json!("as number"), &json!("7"))
    );
    words.is_silent();
    by_field.is_silent();
    assert_eq!(by_logsql.record()["message"], "timeout: c");
    by_logsql.is_silent();
}

#[test]
fn nothing_is_missing_or_there_twice_between_the_latest_and_the_live_records() {
    let data = Data::new().setting("STORE__FLUSH_INTERVAL_MS", 300);
    let server = data.serve();
    let done = AtomicBool::new(false);
    let start = 1_795_680_000_000_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Acquire) {
                let record = |n: u64| json!({"timestamp": start + n, "message": "x", "n": n});
                server.ingest(&(n..n + 5).map(record).collect::<Vec<_>>());
                n += 5;
            }
        });
        until("records before the first tail", || server.count() > 100);
        for round in 0..12 {
            let backfill = [1, 20, 100][round % 3];
            let tail = Tail::open(&server.url, &format!("backfill={backfill}&from=0"));
            let told = numbers(&tail.records(backfill + 150));
            let expected: Vec<u64> = (told[0]..).take(told.len()).collect();
            assert_eq!(told, expected, "round {round}");
        }
        done.store(true, Ordering::Release);
    });
    until("closed tails are gone", || {
        server.ingest(&numbered(0..1));
        server.metric("logmill_tails") < 1.0
    });
}

#[test]
fn the_latest_records_are_of_the_range_and_the_filter() {
    let data = Data::new();
    let server = data.serve();
    let at = |hour: u64, n: u64| json!({"timestamp": format!("2026-11-20T{hour:02}:00:00Z"), "n": n, "service": (["a", "b"][n as usize % 2])});
    server.ingest(&(0..10).map(|n| at(n, n)).collect::<Vec<_>>());
    let tail = Tail::open(
        &server.url,
        "backfill=3&service=a&from=2026-11-20T00:00:00Z&to=2026-11-20T08:00:00Z",
    );
    assert_eq!(numbers(&tail.records(3)), [2, 4, 6]);
    tail.is_silent();
    server.ingest(&[at(1, 11), at(1, 12)]);
    assert_eq!(tail.record()["n"], 12);
}

#[test]
fn a_reader_that_comes_back_is_told_what_came_meanwhile() {
    let data = Data::new().setting("QUERY__TAIL__KEEP_ALIVE_MS", 100);
    let server = data.serve();
    server.ingest(&numbered(0..3));
    let tail = Tail::open(&server.url, "backfill=2");
    assert_eq!(tail.records(2).len(), 2);
    let begin = tail.last_id();
    server.ingest(&numbered(3..6));
    assert_eq!(numbers(&tail.records(3)), [3, 4, 5]);
    let ids = tail.ids.lock().unwrap().clone();
    let of_records = &ids[ids.iter().position(|id| *id != begin).unwrap()..];
    drop(tail);
    server.ingest(&numbered(6..8));
    // From the place of every record on, in the middle of a batch too; what is asked for first is left out then.
    for (id, first) in [(&begin, 3), (&of_records[0], 4), (&of_records[2], 6)] {
        let tail = Tail::after(&server.url, "backfill=2", id);
        let expected: Vec<u64> = (first..8).collect();
        assert_eq!(numbers(&tail.records(expected.len())), expected, "{id}");
        tail.is_silent();
        assert_ne!(tail.last_id(), *id);
    }
    // Records that do not match have no id of their own, and are not asked for again.
    let tail = Tail::after(&server.url, "filter.n=4", &begin);
    assert_eq!(numbers(&tail.records(1)), [4]);
    tail.is_silent();
    let id = tail.last_id();
    drop(tail);
    let tail = Tail::after(&server.url, "", &id);
    tail.is_silent();
    drop(tail);
    // What was told is in segments now, and what others sent: nothing is missing.
    let others = [("x-tenant-id", "other")];
    let answer = server.ingest_ndjson(&ndjson(&numbered(0..5)), &others);
    assert_eq!(answer.status, 200, "{answer:?}");
    server.flush();
    let tail = Tail::after(&server.url, "", &id);
    tail.is_silent();
    drop(tail);

    // Segments do not know in which order their records came.
    server.ingest(&numbered(8..9));
    server.flush();
    server.ingest(&numbered(9..10));
    for id in [id.as_str(), "17-0-of-another-log"] {
        let tail = Tail::after(&server.url, "", id);
        let (event, told) = tail.next();
        assert_eq!(event, "missed");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told, json!({"records": null, "exact": false}));
        if id.starts_with("17-0") {
            tail.is_silent();
        } else {
            assert_eq!(numbers(&tail.records(1)), [9]);
        }
    }
}

#[test]
fn a_slow_reader_is_told_how_many_records_it_missed() {
    let data = Data::new().setting("QUERY__TAIL__QUEUE_BYTES", 100_000);
    let server = data.serve();
    let (_connection, reader, head) = connect(&server.url, "", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut sent = 0;
    let body = "y".repeat(10_000);
    // More than the sockets' buffers hold.
    for _ in 0..40 {
        let records: Vec<Value> = (0..100)
            .map(|n| json!({"message": body, "n": sent + n}))
            .collect();
        let begun = Instant::now();
        server.ingest(&records);
        assert!(begun.elapsed() < PATIENCE / 2, "writers are not held up");
        sent += 100;
    }
    let (mut told, mut missed, mut next) = (0, 0, 0);
    let mut chunks = Chunks(reader);
    let mut rest = String::new();
    while told + missed < sent {
        rest.push_str(&chunks.next().expect("the tail goes on"));
        while let Some((event, after)) = rest.split_once("\n\n") {
            let (event, data) = event_of(event);
            rest = after.to_owned();
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            match event.as_str() {
                "record" => {
                    assert_eq!(data["n"], next, "after {missed} missed ones");
                    (told, next) = (told + 1, next + 1);
                }
                "missed" => {
                    let records = data["records"].as_u64().unwrap();
                    (missed, next) = (missed + records, next + records);
                }
                _ => assert_eq!(event, ""),
            }
        }
    }
    assert!(told > 10 && missed > 1_000, "{told} told, {missed} missed");
    assert_eq!(told + missed, sent);
    assert!(server.metric("logmill_tail_missed_records_total") >= 1_000.0);
    // It is told of what comes now.
    server.ingest(&[json!({"message": "after", "n": next})]);
    assert!(chunks.next().unwrap().contains("\"after\""));
}

#[test]
fn tails_end_when_the_server_stops() {
    let data = Data::new().setting("QUERY__TAIL__KEEP_ALIVE_MS", 100);
    let server = data.serve();
    let tails = [
        Tail::open(&server.url, ""),
        Tail::open(&server.url, "text=nothing"),
    ];
    let comments = || tails[1].events.recv_timeout(PATIENCE).unwrap();
    assert_eq!(comments(), (String::new(), "listening".to_owned()));
    assert_eq!(
        comments(),
        (String::new(), "nothing new".to_owned()),
        "it says that it is there"
    );
    until("both are counted", || server.metric("logmill_tails") > 1.0);
    let begun = Instant::now();
    terminate(server.process_id());
    for tail in &tails {
        assert_eq!(
            tail.next(),
            ("end".to_owned(), "{\"reason\":\"stopping\"}".to_owned())
        );
    }
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "within the grace"
    );
}

#[test]
fn tenants_have_tails_of_their_own_and_so_many() {
    let data = Data::new().setting("QUERY__TAIL__MAX_PER_TENANT", 2);
    let server = data.serve();
    let other = Tail::open_with(&server.url, "backfill=10", "x-tenant-id: other\r\n");
    let mine = Tail::open(&server.url, "backfill=10");
    server.ingest(&numbered(0..2));
    let theirs = ndjson(&[json!({"message": "theirs"})]);
    assert_eq!(
        server
            .ingest_ndjson(&theirs, &[("x-tenant-id", "other")])
            .status,
        200
    );
    assert_eq!(numbers(&mine.records(2)), [0, 1]);
    assert_eq!(other.record()["message"], "theirs");
    mine.is_silent();
    let second = Tail::open(&server.url, "");
    let refused = server.get("/tail");
    refused.error(429, "too_many_tails");
    assert!(refused.header("retry-after").is_some());
    drop(second);
    until("the place is free", || {
        server.ingest(&numbered(0..1));
        let (_connection, _reader, head) = connect(&server.url, "", "");
        head.starts_with("HTTP/1.1 200")
    });
}

#[test]
fn tails_that_are_wrong_are_refused() {
    let data = Data::new();
    let server = data.serve();
    for (path, code) in [
        ("/tail?backfill=many", "invalid_parameter"),
        ("/tail?backfill=100000000", "invalid_limit"),
        ("/tail?limit=5", "invalid_parameter"),
        ("/tail?text=%22open", "syntax_error"),
        ("/tail?from=yesterday", "invalid_time"),
    ] {
        server.get(path).error(400, code);
    }
    let (_connection, _reader, head) = connect(&server.url, "fields=nothing", "");
    assert!(
        head.contains("nothing") && head.to_lowercase().contains("x-logmill-warning"),
        "{head}"
    );
}

#[test]
fn processes_that_answer_tell_what_others_took_in() {
    let shared = Shared::new();
    let (api, query) = (shared.start("api"), shared.start("query"));
    let _worker = shared.start("worker");
    let tail = Tail::open(&query.url(), "backfill=5");
    let ingest = |numbers| api.with(|server: &Server| server.ingest(&numbered(numbers)));
    ingest(0..20_000);
    ingest(20_000..20_010);
    assert_eq!(
        numbers(&tail.records(20_010)),
        (0..20_010).collect::<Vec<_>>()
    );
    // What was flushed meanwhile is not told again.
    std::thread::sleep(Duration::from_secs(2));
    ingest(0..10);
    assert_eq!(numbers(&tail.records(10)), (0..10).collect::<Vec<_>>());
    tail.is_silent();
    api.with(|server| server.get("/tail").error(421, "wrong_role"));
    let latest = Tail::open(&query.url(), "backfill=4");
    assert_eq!(latest.records(4).len(), 4);
    // Who comes back may come to another process.
    let id = tail.last_id();
    drop(tail);
    ingest(10..12);
    let other = shared.start("query");
    let tail = Tail::after(&other.url(), "", &id);
    let told = tail.next();
    if told.0 == "record" {
        assert_eq!(numbers(&tail.records(1)), [11]);
    } else {
        // They were flushed before it began.
        assert_eq!(told.0, "missed");
    }
}
