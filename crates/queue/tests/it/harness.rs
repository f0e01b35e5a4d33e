//! Queues to test, and what tests do with them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logmill_queue::{
    Appended, Entry, Error, LocalLog, LocalLogOptions, OnDurable, Queue, ReadLimits, RedisOptions,
    RedisQueue, Request, Sequence,
};
use logmill_test_services::{RedisServer, RedisServerOptions};

/// Sequences and payloads.
pub(crate) type Entries = Vec<(Sequence, Vec<u8>)>;

/// Longest payload that the queues under test take.
pub(crate) const ENTRY_MAX_BYTES: u64 = 50_000;

pub(crate) fn nothing() -> OnDurable {
    Box::new(|_| {})
}

/// Appends to partition 0; the entry has to be new.
pub(crate) async fn append(queue: &dyn Queue, payload: &[u8]) -> Result<Sequence, Error> {
    let appended = queue
        .append(Entry::new(0, payload.to_vec()), nothing())
        .await?;
    match appended {
        Appended::New(sequence) => Ok(sequence),
        other => panic!("an entry without a request is always new: {other:?}"),
    }
}

pub(crate) fn request(key: &str, fingerprint: u8) -> Option<Request> {
    Some(Request {
        scope: "tenant".to_owned(),
        key: key.to_owned(),
        fingerprint: [fingerprint; 16],
        answer: format!("answer to {key}").into_bytes(),
    })
}

pub(crate) fn open_log(directory: &Path, from: Sequence) -> (LocalLog, Entries) {
    let options = LocalLogOptions {
        file_max_bytes: 20_000,
        entry_max_bytes: ENTRY_MAX_BYTES,
        pending_max_bytes: 10_000,
    };
    let mut replayed = Vec::new();
    let log = LocalLog::open(directory, options, from, &mut |sequence, bytes| {
        replayed.push((sequence, bytes.to_vec()));
        Ok(())
    });
    (log.unwrap(), replayed)
}

pub(crate) fn redis() -> RedisServer {
    RedisServer::start(RedisServerOptions::default())
}

/// Options with which nothing lasts long.
pub(crate) fn quick_options() -> RedisOptions {
    let mut options = RedisOptions {
        entry_max_bytes: ENTRY_MAX_BYTES,
        connect_timeout_ms: 300,
        response_timeout_ms: 300,
        wait_timeout_ms: 200,
        ..RedisOptions::default()
    };
    options.retry.total_ms = 600;
    options
}

pub(crate) async fn open_redis(server: &RedisServer, options: RedisOptions) -> RedisQueue {
    RedisQueue::open(&server.url(), options, 4).await.unwrap()
}

/// All entries of a partition from a position on.
pub(crate) async fn read_all(queue: &RedisQueue, partition: u32, from: Sequence) -> Entries {
    let mut reader = queue.reader();
    let (mut from, mut entries) = (from, Vec::new());
    loop {
        let limits = ReadLimits::default();
        let read = reader
            .read(partition, from, limits, Duration::ZERO)
            .await
            .unwrap();
        let Some(last) = read.last() else {
            return entries;
        };
        from = last.sequence.next();
        entries.extend(
            read.into_iter()
                .map(|entry| (entry.sequence, entry.payload.to_vec())),
        );
    }
}

/// Sends Redis a command, words apart.
pub(crate) async fn command(server: &RedisServer, words: &str) -> redis::Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await.unwrap()
}

/// Polls a future once: what it begins is begun.
pub(crate) async fn poll_once(future: impl Future) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 10 s: {what}");
}

/// What a load sent, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) acknowledged: Vec<Vec<u8>>,
}

impl Load {
    /// Fails unless acknowledged ⊆ found ⊆ sent, each once.
    pub(crate) fn check(mut self, found: Entries) {
        let mut found: Vec<_> = found.into_iter().map(|(_, payload)| payload).collect();
        let all = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all, "an entry is there twice");
        self.sent.sort();
        let lost = self
            .acknowledged
            .iter()
            .filter(|one| found.binary_search(one).is_err());
        assert_eq!(lost.count(), 0, "acknowledged entries are lost");
        let invented = found
            .iter()
            .filter(|one| self.sent.binary_search(one).is_err());
        assert_eq!(invented.count(), 0, "there are entries that nobody sent");
        assert!(!self.acknowledged.is_empty(), "nothing was acknowledged");
        println!(
            "sent {}, acknowledged {}, found {all}",
            self.sent.len(),
            self.acknowledged.len()
        );
    }
}

/// Appends from `appenders` tasks until `stop` is set, whatever comes of it.
pub(crate) async fn run_load(
    queue: Arc<RedisQueue>,
    appenders: usize,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> Load {
    let tasks: Vec<_> = (0..appenders)
        .map(|appender| {
            let (queue, stop) = (queue.clone(), stop.clone());
            tokio::spawn(async move {
                let mut load = Load::default();
                for number in 0.. {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    let payload = format!("{appender}-{number}-{}", "x".repeat(2_000)).into_bytes();
                    load.sent.push(payload.clone());
                    if append(queue.as_ref(), &payload).await.is_ok() {
                        load.acknowledged.push(payload);
                    }
                }
                load
            })
        })
        .collect();
    let mut all = Load::default();
    for task in tasks {
        let load = task.await.unwrap();
        all.sent.extend(load.sent);
        all.acknowledged.extend(load.acknowledged);
    }
    all
}
