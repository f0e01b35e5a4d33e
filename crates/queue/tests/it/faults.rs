//! Redis dies, hangs, forgets, is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use logmill_model::ErrorKind;
use logmill_queue::{
    Appended, Entry, Error, FullReason, Queue, RedisOptions, RedisQueue, Sequence,
};
use logmill_test_services::{RedisServer, RedisServerOptions};

use crate::harness::{
    append, command, eventually, nothing, open_redis, quick_options, read_all, redis, request,
    run_load,
};
use crate::proxy::Proxy;

/// No look at Redis but the first one: the connection has the append alone.
const NEVER_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_is_lost_is_there_once_and_new() {
    let server = redis();
    let proxy = Proxy::start(&server).await;
    let options = RedisOptions {
        watch_interval_ms: NEVER_MS,
        ..RedisOptions::default()
    };
    let queue = RedisQueue::open(&proxy.url(), options, 1).await.unwrap();
    for (round, request) in [None, request("key", 1)].into_iter().enumerate() {
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = ran.clone();
        let on_durable = Box::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        proxy.lose_answers(3);
        let payload = vec![b'x'; 100_000];
        let entry = Entry {
            partition: 0,
            payload,
            request,
            trace: None,
        };
        let appended = queue.append(entry, on_durable).await.unwrap();
        assert_eq!(proxy.to_lose(), 0, "three answers were lost");
        let Appended::New(sequence) = appended else {
            panic!("{appended:?}")
        };
        let found = read_all(&queue, 0, Sequence(0)).await;
        assert_eq!(found.len(), round + 1);
        assert_eq!(found[round].0, sequence);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_under_load_double_and_lose_nothing() {
    let server = redis();
    let queue = Arc::new(open_redis(&server, RedisOptions::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(run_load(queue.clone(), 8, stop.clone()));
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        command(&server, "CLIENT KILL TYPE normal").await;
    }
    stop.store(true, Ordering::SeqCst);
    let load = load.await.unwrap();
    assert_eq!(
        load.sent.len(),
        load.acknowledged.len(),
        "every append was tried until it came through"
    );
    load.check(read_all(&queue, 0, Sequence(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_redis_under_load_double_and_lose_nothing() {
    let mut server = redis();
    let queue = Arc::new(open_redis(&server, RedisOptions::default()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(run_load(queue.clone(), 8, stop.clone()));
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            std::thread::sleep(Duration::from_millis(100));
            server.restart();
            server
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let load = load.await.unwrap();
    load.check(read_all(&queue, 0, Sequence(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_is_an_error_in_bounded_time_and_its_late_tries_append_nothing() {
    let server = redis();
    let options = RedisOptions {
        watch_interval_ms: 100,
        ..quick_options()
    };
    let queue = Arc::new(open_redis(&server, options).await);
    append(queue.as_ref(), b"before").await.unwrap();
    server.pause();
    let begun = Instant::now();
    // Many at once: none waits for the failures of the others.
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { append(queue.as_ref(), b"paused").await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    // The tries, and the last one's own time: 600 ms, 300 ms for a connection, 300 ms for an answer.
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_millis(2_000), "{elapsed:?}");
    eventually("the failure is in the status", async || {
        queue.status().failure.is_some()
    })
    .await;
    // Beyond the deadline of the last try.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.resume();
    eventually("it is seen that Redis is back", async || {
        queue.status().failure.is_none()
    })
    .await;
    append(queue.as_ref(), b"after").await.unwrap();
    let found: Vec<_> = read_all(&queue, 0, Sequence(0))
        .await
        .into_iter()
        .map(|(_, p)| p)
        .collect();
    assert_eq!(found, [b"before".to_vec(), b"after".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_pause_goes_unnoticed() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    server.pause();
    let waiting = tokio::spawn(async move {
        let appended = append(&queue, b"paused").await;
        (queue, appended)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.resume();
    let (queue, appended) = waiting.await.unwrap();
    let sequence = appended.unwrap();
    assert_eq!(
        read_all(&queue, 0, Sequence(0)).await,
        [(sequence, b"paused".to_vec())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_forgot_its_scripts_gets_them_again() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    append(&queue, b"one").await.unwrap();
    command(&server, "SCRIPT FLUSH").await;
    append(&queue, b"two").await.unwrap();
    assert_eq!(queue.length(0).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_partition_refuses_and_takes_again_when_it_is_worked_off() {
    let server = redis();
    let options = RedisOptions {
        partition_max_entries: 3,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options).await;
    let mut last = Sequence(0);
    for _ in 0..3 {
        last = append(&queue, b"x").await.unwrap();
    }
    let error = append(&queue, b"x").await.unwrap_err();
    let Error::Full(FullReason::Entries {
        partition: 0,
        entries: 3,
        limit: 3,
    }) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let other = queue.append(Entry::new(1, b"x".to_vec()), nothing()).await;
    assert!(
        matches!(other, Ok(Appended::New(_))),
        "the other partitions have room: {other:?}"
    );
    queue.truncate_before(0, last).await.unwrap();
    append(&queue, b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_full_by_bytes_too() {
    let server = redis();
    let options = RedisOptions {
        partition_max_bytes: 1 << 20,
        watch_interval_ms: NEVER_MS,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options).await;
    let mut taken = 0;
    let error = loop {
        match append(&queue, &[7; 100_000]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::Full(FullReason::Bytes { partition: 0, .. })),
        "{error:?}"
    );
    assert_eq!(
        taken, 11,
        "what this process appended counts between two looks"
    );
    queue.check().await.unwrap();
    let status = queue.status();
    assert!((1_000_000..2_000_000).contains(&status.bytes), "{status:?}");
    assert!(status.redis.unwrap().full.is_some());
}

fn small_redis() -> RedisServer {
    RedisServer::start(RedisServerOptions {
        memory_max_bytes: 20 << 20,
        ..RedisServerOptions::default()
    })
}

async fn fill(queue: &RedisQueue) -> Error {
    loop {
        let payload: Vec<u8> = (0..500_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        if let Err(error) = append(queue, &payload).await {
            return error;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_watched_before_redis_refuses() {
    let server = small_redis();
    let options = RedisOptions {
        watch_interval_ms: 100,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options).await;
    let error = fill(&queue).await;
    assert!(
        matches!(error, Error::Full(FullReason::Memory { .. })),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let held = queue.length(0).await.unwrap();
    assert!(held > 10, "{held}");
    let last = queue.last_sequence(0).await.unwrap().unwrap();
    queue.truncate_before(0, last).await.unwrap();
    eventually("there is room again", async || {
        append(&queue, b"x").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_out_of_memory_is_full_and_nothing_is_half_done() {
    let server = small_redis();
    let options = RedisOptions {
        memory_max_percent: 100,
        watch_interval_ms: NEVER_MS,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options.clone()).await;
    // Beyond what this process reckons with, others fill Redis.
    let other = open_redis(&server, options).await;
    let begun = Instant::now();
    let (first, second) = tokio::join!(fill(&queue), fill(&other));
    for error in [first, second] {
        assert!(
            matches!(error, Error::Full(FullReason::OutOfMemory)),
            "{error:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    let length = queue.length(0).await.unwrap();
    assert_eq!(read_all(&queue, 0, Sequence(0)).await.len() as u64, length);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_after_a_loss_of_data_come_behind_the_watermark() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let watermark = append(&queue, b"consumed").await.unwrap().next();
    command(&server, "FLUSHALL").await;
    assert_eq!(queue.last_sequence(0).await.unwrap(), None);
    let new = append(&queue, b"new").await.unwrap();
    assert_eq!(
        read_all(&queue, 0, watermark).await,
        [(new, b"new".to_vec())]
    );
    assert_eq!(
        queue.advance_to(0, watermark).await.unwrap(),
        None,
        "it is ahead anyway"
    );

    // The clock is an hour behind, or the watermark ahead.
    let ahead = Sequence(new.0 + (3_600_000 << 20));
    assert_eq!(queue.advance_to(0, ahead).await.unwrap(), Some(1));
    let behind = append(&queue, b"behind").await.unwrap();
    assert!(behind >= ahead);
    command(&server, "FLUSHALL").await;
    assert_eq!(queue.advance_to(0, ahead).await.unwrap(), Some(0));
    assert_eq!(queue.length(0).await.unwrap(), 0);
    let behind = append(&queue, b"behind").await.unwrap();
    assert_eq!(
        read_all(&queue, 0, ahead).await,
        [(behind, b"behind".to_vec())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_entries_in_a_millisecond_than_fit_go_on_in_the_next() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    // Far in the future, so that Redis goes on counting within this millisecond.
    command(&server, "XADD {logmill:0}:stream 9000000000000-1048575 p x").await;
    let next = append(&queue, b"y").await.unwrap();
    assert_eq!(next, Sequence(9_000_000_000_001 << 20));
    let after = append(&queue, b"z").await.unwrap();
    assert_eq!(after, next.next());
    assert_eq!(read_all(&queue, 0, Sequence(0)).await.len(), 3);
}
