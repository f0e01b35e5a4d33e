//! Readers.

use std::time::{Duration, Instant};

use logmill_queue::{Appended, Entry, Queue, ReadLimits, RedisOptions, Sequence};

use crate::harness::{
    append, command, nothing, open_redis, poll_once, quick_options, read_all, redis, request,
};

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_the_first_entry_of_any_partition() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let mut reader = queue.reader();
    let from = [0, 1, 2, 3].map(|partition| (partition, Sequence(0)));
    let limits = ReadLimits::default();
    let begun = Instant::now();
    let none = reader
        .read_many(&from, limits, Duration::from_millis(300))
        .await
        .unwrap();
    assert!(none.is_empty() && begun.elapsed() >= Duration::from_millis(290));

    let waiting = tokio::spawn(async move {
        let read = reader.read_many(&from, limits, WAIT).await.unwrap();
        (reader, read, Instant::now())
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Others are not held up by a reader that waits.
    let appended = queue
        .append(Entry::new(2, b"two".to_vec()), nothing())
        .await
        .unwrap();
    let answered = Instant::now();
    let Appended::New(sequence) = appended else {
        panic!("{appended:?}")
    };
    let (mut reader, read, woken) = waiting.await.unwrap();
    assert!(woken.saturating_duration_since(answered) < Duration::from_millis(200));
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].partition, read[0].sequence), (2, sequence));
    assert_eq!(read[0].payload, "two");

    append(&queue, b"zero").await.unwrap();
    let read = reader.read_many(&from, limits, WAIT).await.unwrap();
    let mut partitions: Vec<_> = read.iter().map(|entry| entry.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 2]);
    let none = reader
        .read(2, sequence.next(), limits, Duration::ZERO)
        .await
        .unwrap();
    assert!(
        none.is_empty(),
        "what was read is not read again from the next position on"
    );
    assert!(reader.read(9, Sequence(0), limits, WAIT).await.is_err());
    assert!(
        reader
            .read_many(&[], limits, Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_bounded_by_entries_and_about_by_bytes() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    for _ in 0..100 {
        append(&queue, &[7; 100_000]).await.unwrap();
    }
    let mut reader = queue.reader();
    let limits = ReadLimits {
        entries: 30,
        bytes: usize::MAX,
    };
    let read = reader.read(0, Sequence(0), limits, WAIT).await.unwrap();
    assert_eq!(read.len(), 30);
    let limits = ReadLimits {
        entries: 1_000,
        bytes: 1_000_000,
    };
    let mut from = Sequence(0);
    let mut lengths = Vec::new();
    loop {
        let read = reader.read(0, from, limits, Duration::ZERO).await.unwrap();
        let Some(last) = read.last() else { break };
        from = last.sequence.next();
        lengths.push(read.len());
    }
    assert_eq!(lengths.iter().sum::<usize>(), 100);
    assert!(lengths.iter().all(|length| *length <= 10), "{lengths:?}");
    assert!(lengths[lengths.len() / 2] >= 8, "{lengths:?}");
    let tiny = ReadLimits {
        entries: 0,
        bytes: 0,
    };
    assert_eq!(
        reader.read(0, Sequence(0), tiny, WAIT).await.unwrap().len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_after_a_pause_a_kill_and_a_dropped_read() {
    let mut server = redis();
    let queue = open_redis(&server, quick_options()).await;
    let first = append(&queue, b"one").await.unwrap();
    let mut reader = queue.reader();
    let limits = ReadLimits::default();
    poll_once(reader.read(0, first.next(), limits, WAIT)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let read = reader.read(0, first, limits, WAIT).await.unwrap();
    assert_eq!(read[0].payload, "one");
    assert!(
        begun.elapsed() < WAIT / 2,
        "the read that was dropped is not waited for"
    );

    server.pause();
    let begun = Instant::now();
    let error = reader
        .read(0, first, limits, Duration::from_millis(100))
        .await;
    assert!(
        error.is_err() && begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    server.resume();
    assert_eq!(reader.read(0, first, limits, WAIT).await.unwrap().len(), 1);

    server.restart();
    assert_eq!(reader.read(0, first, limits, WAIT).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_somebody_else_has_no_payload() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    command(&server, "XADD {logmill:0}:stream * other field").await;
    let read = read_all(&queue, 0, Sequence(0)).await;
    assert_eq!(read.len(), 1);
    assert!(read[0].1.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_with_different_prefixes_do_not_meet() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let options = RedisOptions {
        prefix: "other".to_owned(),
        ..RedisOptions::default()
    };
    let other = open_redis(&server, options).await;
    append(&queue, b"x").await.unwrap();
    assert_eq!(other.length(0).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_until_its_time_is_over() {
    let server = redis();
    let options = RedisOptions {
        request_ttl_ms: 60_000,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options).await;
    assert_eq!(queue.find_request(0, "tenant", "key").await.unwrap(), None);
    let entry = Entry {
        partition: 0,
        payload: b"x".to_vec(),
        request: request("key", 7),
        trace: None,
    };
    queue.append(entry, nothing()).await.unwrap();
    let known = queue
        .find_request(0, "tenant", "key")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (known.fingerprint, known.answer),
        ([7; 16], b"answer to key".to_vec())
    );
    assert_eq!(queue.find_request(0, "other", "key").await.unwrap(), None);
    let redis::Value::Int(left_ms) =
        command(&server, "PTTL {logmill:0}:request:6:tenant:key").await
    else {
        panic!("a time to live is a number")
    };
    assert!((50_000..=60_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_of_ours_is_remembered_no_longer_than_it_may_be_tried() {
    let server = redis();
    let queue = open_redis(&server, quick_options()).await;
    append(&queue, b"x").await.unwrap();
    let redis::Value::Array(keys) = command(&server, "KEYS *attempt*").await else {
        panic!("keys are a list")
    };
    assert_eq!(keys.len(), 1);
    // 600 ms of tries, 300 + 300 + 200 ms of the last one, and a second.
    tokio::time::sleep(Duration::from_millis(2_700)).await;
    assert_eq!(
        command(&server, "DBSIZE").await,
        redis::Value::Int(1),
        "the stream alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_brings_its_trace_along() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let traces = [None, Some("00-0af7-b7ad-01"), None];
    for trace in traces {
        let mut entry = Entry::new(0, b"payload".to_vec());
        entry.trace = trace.map(str::to_owned);
        queue.append(entry, nothing()).await.unwrap();
    }
    let limits = ReadLimits::default();
    let read = queue.reader().read(0, Sequence(0), limits, WAIT).await;
    let read = read.unwrap();
    let found: Vec<_> = read.iter().map(|entry| entry.trace.as_deref()).collect();
    assert_eq!(found, traces);
    assert!(read.iter().all(|entry| entry.payload == "payload"));
}
