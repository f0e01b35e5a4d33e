//! What every queue promises, tried on each.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use logmill_model::ErrorKind;
use logmill_queue::{Appended, Entry, Error, Queue, RedisOptions, Sequence};
use logmill_test_services::RedisServer;
use tempfile::TempDir;

use crate::harness::{
    ENTRY_MAX_BYTES, Entries, Load, append, nothing, open_log, open_redis, poll_once,
    quick_options, read_all, redis, request, run_load,
};

/// Where the child process of the log's crash test finds its directory.
const DIRECTORY: &str = "QUEUE_TEST_DIRECTORY";

/// A place that a queue lives in.
#[async_trait]
trait Ground {
    /// Opens the queue, with what is in it from a position on. The one opened before must be closed and dropped.
    async fn open(&mut self, from: Sequence) -> (Arc<dyn Queue>, Entries);

    /// Appends under load until what keeps the entries is killed with SIGKILL.
    async fn crash(&mut self) -> Load;
}

struct LocalGround(TempDir);

impl LocalGround {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Ground for LocalGround {
    async fn open(&mut self, from: Sequence) -> (Arc<dyn Queue>, Entries) {
        let (log, entries) = open_log(self.0.path(), from);
        (Arc::new(log), entries)
    }

    async fn crash(&mut self) -> Load {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "contract::appends_until_it_is_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, self.0.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut load = Load::default();
        let mut take = |line: String| match line.split_once(' ') {
            Some(("sent", payload)) => load.sent.push(payload.into()),
            Some(("acknowledged", payload)) => load.acknowledged.push(payload.into()),
            _ => {}
        };
        for _ in 0..2_000 {
            take(lines.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).for_each(take);
        load
    }
}

/// Not a test but the process that one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child process of another test"]
async fn appends_until_it_is_killed() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let (log, _) = open_log(directory.as_ref(), Sequence(0));
    let log = Arc::new(log);
    let appenders = (0..4).map(|appender| {
        let log = log.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let payload = format!("{appender}-{number}-{}", "x".repeat(500));
                println!("sent {payload}");
                append(log.as_ref(), payload.as_bytes()).await.unwrap();
                println!("acknowledged {payload}");
            }
        })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
}

struct RedisGround(RedisServer);

impl RedisGround {
    fn new() -> Self {
        Self(redis())
    }
}

#[async_trait]
impl Ground for RedisGround {
    async fn open(&mut self, from: Sequence) -> (Arc<dyn Queue>, Entries) {
        let options = RedisOptions {
            entry_max_bytes: ENTRY_MAX_BYTES,
            pending_max_bytes: 10_000,
            ..RedisOptions::default()
        };
        let queue = open_redis(&self.0, options).await;
        let entries = read_all(&queue, 0, from).await;
        (Arc::new(queue), entries)
    }

    async fn crash(&mut self) -> Load {
        let queue = Arc::new(open_redis(&self.0, quick_options()).await);
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn(run_load(queue, 8, stop.clone()));
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.0.kill();
        stop.store(true, Ordering::SeqCst);
        let load = load.await.unwrap();
        self.0.restart();
        load
    }
}

async fn entries_come_back_in_order_from_any_position(ground: &mut dyn Ground) {
    let (queue, before) = ground.open(Sequence(0)).await;
    assert!(before.is_empty());
    let mut appended: Entries = Vec::new();
    for number in 0..20_u8 {
        let durable = Arc::new(Mutex::new(None));
        let seen = durable.clone();
        let on_durable = Box::new(move |sequence| *seen.lock().unwrap() = Some(sequence));
        let payload = vec![number; 3_000];
        let outcome = queue
            .append(Entry::new(0, payload.clone()), on_durable)
            .await
            .unwrap();
        let Appended::New(sequence) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            *durable.lock().unwrap(),
            Some(sequence),
            "the callback ran before the answer"
        );
        appended.push((sequence, payload));
    }
    assert!(appended.is_sorted_by(|left, right| left.0 < right.0));
    let last = appended[19].0;
    assert_eq!(queue.status().next_sequence, last.next());
    queue.close().await;
    drop(queue);
    let (queue, all) = ground.open(Sequence(0)).await;
    assert_eq!(all, appended);
    queue.close().await;
    drop(queue);
    let (_, some) = ground.open(appended[7].0).await;
    assert_eq!(some, appended[7..]);
}

async fn appenders_at_once_get_their_own_sequences(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for number in 0..50 {
                    let payload = format!("{task}-{number}-{}", "x".repeat(200)).into_bytes();
                    mine.push((append(queue.as_ref(), &payload).await.unwrap(), payload));
                }
                assert!(mine.is_sorted_by(|left, right| left.0 < right.0));
                mine
            })
        })
        .collect();
    let mut expected = Vec::new();
    for task in tasks {
        expected.extend(task.await.unwrap());
    }
    expected.sort();
    queue.close().await;
    drop(queue);
    assert_eq!(ground.open(Sequence(0)).await.1, expected);
}

async fn an_appender_that_goes_away_changes_nothing(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let (send, durable) = tokio::sync::oneshot::channel();
    let on_durable = Box::new(move |sequence| send.send(sequence).unwrap());
    poll_once(queue.append(Entry::new(0, b"orphan".to_vec()), on_durable)).await;
    let sequence = durable.await.unwrap();
    queue.close().await;
    drop(queue);
    let (_, entries) = ground.open(Sequence(0)).await;
    assert_eq!(entries, [(sequence, b"orphan".to_vec())]);
}

async fn what_is_let_go_is_gone_and_sequences_go_on(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let mut sequences = Vec::new();
    for number in 0..10_u8 {
        sequences.push(append(queue.as_ref(), &[number; 9_000]).await.unwrap());
    }
    queue.truncate_before(0, sequences[6]).await.unwrap();
    queue.close().await;
    drop(queue);
    let (queue, kept) = ground.open(sequences[6]).await;
    let kept: Vec<_> = kept.into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(kept, sequences[6..]);
    let watermark = sequences[9].next();
    queue.truncate_before(0, watermark).await.unwrap();
    queue.truncate_before(0, watermark).await.unwrap();
    let next = append(queue.as_ref(), b"next").await.unwrap();
    assert!(next >= watermark);
    queue.close().await;
    drop(queue);
    let (_, entries) = ground.open(watermark).await;
    assert_eq!(entries, [(next, b"next".to_vec())]);
}

async fn what_many_let_go_at_once_is_let_go(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let tasks: Vec<_> = (0..4_u8)
        .map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    let sequence = append(queue.as_ref(), &[number; 9_000]).await.unwrap();
                    queue.truncate_before(0, sequence).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let last = append(queue.as_ref(), b"last").await.unwrap();
    queue.truncate_before(0, last).await.unwrap();
    queue.close().await;
    drop(queue);
    let (_, entries) = ground.open(last).await;
    assert_eq!(entries, [(last, b"last".to_vec())]);
}

async fn closing_ends_what_is_under_way_and_refuses_the_rest(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let under_way: Vec<_> = (0..20_u8)
        .map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move { append(queue.as_ref(), &[number; 1_500]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close().await;
    let mut acknowledged = Vec::new();
    for append in under_way {
        match append.await.unwrap() {
            Ok(sequence) => acknowledged.push(sequence),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        }
    }
    let refused = append(queue.as_ref(), b"late").await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    queue.close().await;
    drop(queue);
    let (_, entries) = ground.open(Sequence(0)).await;
    acknowledged.sort();
    let found: Vec<_> = entries.into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(found, acknowledged);
}

async fn what_cannot_be_taken_is_refused(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let limit = usize::try_from(ENTRY_MAX_BYTES).unwrap();
    append(queue.as_ref(), b"").await.unwrap();
    append(queue.as_ref(), &vec![7; limit]).await.unwrap();
    let error = append(queue.as_ref(), &vec![7; limit + 1])
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                bytes: 50_001,
                limit: ENTRY_MAX_BYTES
            }
        ),
        "{error:?}"
    );
    let nowhere = queue.append(Entry::new(99, Vec::new()), nothing()).await;
    assert!(
        matches!(nowhere, Err(Error::NoPartition { partition: 99, .. })),
        "{nowhere:?}"
    );
    let nowhere = queue.truncate_before(99, Sequence(1)).await;
    assert!(
        matches!(nowhere, Err(Error::NoPartition { .. })),
        "{nowhere:?}"
    );
    queue.close().await;
    drop(queue);
    let lengths = ground
        .open(Sequence(0))
        .await
        .1
        .into_iter()
        .map(|(_, payload)| payload.len());
    assert_eq!(lengths.collect::<Vec<_>>(), [0, limit]);
}

async fn a_request_is_taken_once_or_not_at_all(ground: &mut dyn Ground) {
    let (queue, _) = ground.open(Sequence(0)).await;
    let entry = |payload: &[u8], fingerprint| Entry {
        partition: 0,
        payload: payload.to_vec(),
        request: request("key with spaces {and} braces", fingerprint),
        trace: None,
    };
    let first = queue.append(entry(b"first", 1), nothing()).await;
    if !queue.remembers_requests() {
        assert!(matches!(first, Err(Error::Unsupported(_))), "{first:?}");
        queue.close().await;
        drop(queue);
        assert!(ground.open(Sequence(0)).await.1.is_empty());
        return;
    }
    assert!(matches!(first, Ok(Appended::New(_))), "{first:?}");
    queue.close().await;
    drop(queue);
    let (queue, _) = ground.open(Sequence(0)).await;
    let never = || Box::new(|_| panic!("nothing was appended"));
    let again = queue.append(entry(b"first", 1), never()).await.unwrap();
    assert_eq!(
        again,
        Appended::Replayed(b"answer to key with spaces {and} braces".to_vec())
    );
    let other = queue.append(entry(b"other", 2), never()).await.unwrap();
    assert_eq!(other, Appended::KeyReused);
    // One request from many connections at once: one of them appends it.
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let queue = queue.clone();
            let entry = Entry {
                partition: 0,
                payload: b"raced".to_vec(),
                request: request("raced", 3),
                trace: None,
            };
            tokio::spawn(async move { queue.append(entry, nothing()).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(matches!(task.await.unwrap(), Appended::New(_)));
    }
    assert_eq!(new, 1);
    queue.close().await;
    drop(queue);
    let (_, entries) = ground.open(Sequence(0)).await;
    let payloads: Vec<_> = entries.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [b"first".to_vec(), b"raced".to_vec()]);
}

async fn what_was_acknowledged_outlives_a_kill(ground: &mut dyn Ground) {
    let load = ground.crash().await;
    let (queue, found) = ground.open(Sequence(0)).await;
    let last = found.last().map(|(sequence, _)| *sequence);
    load.check(found);
    let next = append(queue.as_ref(), b"next").await.unwrap();
    assert!(Some(next) > last);
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod local {
            use super::LocalGround;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&mut LocalGround::new()).await;
            })*
        }
        mod redis {
            use super::RedisGround;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&mut RedisGround::new()).await;
            })*
        }
    };
}

contract! {
    entries_come_back_in_order_from_any_position
    appenders_at_once_get_their_own_sequences
    an_appender_that_goes_away_changes_nothing
    what_is_let_go_is_gone_and_sequences_go_on
    what_many_let_go_at_once_is_let_go
    closing_ends_what_is_under_way_and_refuses_the_rest
    what_cannot_be_taken_is_refused
    a_request_is_taken_once_or_not_at_all
    what_was_acknowledged_outlives_a_kill
}
