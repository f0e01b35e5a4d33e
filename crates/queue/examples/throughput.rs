//! Appends from several producers at once to the log and to Redis with each durability, and says how many bytes a second it takes.
//!
//!     cargo run --release -p logmill-queue --example throughput -- [PRODUCERS] [PAYLOAD_KIB] [SECONDS]

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_queue::{
    Appended, Durability, Entry, LocalLog, LocalLogOptions, Queue, RedisOptions, RedisQueue,
    Sequence,
};
use logmill_test_services::{RedisServer, RedisServerOptions};

/// Entries that are kept; those before are let go, as consumers do.
const KEPT: u64 = 64;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| {
        argument
            .parse::<usize>()
            .expect("arguments are numbers: producers, KiB, seconds")
    });
    let producers = arguments.next().unwrap_or(8);
    let payload_bytes = arguments.next().unwrap_or(1_024) << 10;
    let seconds = arguments.next().unwrap_or(5) as u64;
    println!("{producers} producers, {payload_bytes} bytes an entry, {seconds} s each");
    let measure = async |name: &str, queue: Arc<dyn Queue>| {
        let load = Load {
            payload: noise(payload_bytes),
            time: Duration::from_secs(seconds),
        };
        load.run(name, producers, queue).await;
    };

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = LocalLogOptions::default();
    let log = LocalLog::open(folder.path(), options, Sequence(0), &mut |_, _| Ok(()));
    measure(
        "log, fdatasync",
        Arc::new(log.expect("an empty folder opens")),
    )
    .await;

    for (name, append_fsync, durability) in [
        (
            "Redis, appendfsync always",
            Some("always"),
            Durability::Always,
        ),
        (
            "Redis, appendfsync everysec",
            Some("everysec"),
            Durability::Everysec,
        ),
        ("Redis, in memory", None, Durability::Memory),
    ] {
        let server = RedisServer::start(RedisServerOptions {
            append_fsync,
            ..RedisServerOptions::default()
        });
        let options = RedisOptions {
            durability,
            ..RedisOptions::default()
        };
        let queue = RedisQueue::open(&server.url(), options, 1).await;
        measure(name, Arc::new(queue.expect("a Redis of our own will do"))).await;
    }
}

/// Bytes that do not compress, as payloads are compressed already.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

struct Load {
    payload: Vec<u8>,
    time: Duration,
}

impl Load {
    async fn run(&self, name: &str, producers: usize, queue: Arc<dyn Queue>) {
        let begun = Instant::now();
        let tasks: Vec<_> = (0..producers)
            .map(|_| {
                let (queue, payload, time) = (queue.clone(), self.payload.clone(), self.time);
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while begun.elapsed() < time {
                        let asked = Instant::now();
                        let entry = Entry::new(0, payload.clone());
                        let appended = queue.append(entry, Box::new(|_| {})).await;
                        latencies.push(asked.elapsed());
                        let Ok(Appended::New(sequence)) = appended else {
                            panic!("an append failed: {appended:?}")
                        };
                        if (latencies.len() as u64).is_multiple_of(KEPT) {
                            let released = queue.truncate_before(0, sequence).await;
                            released.expect("what was appended can be let go");
                        }
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("a producer does not panic"));
        }
        let elapsed = begun.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1e3;
        let megabytes = (latencies.len() * self.payload.len()) as f64 / 1e6;
        println!(
            "{name:<28} {:>7.1} MB/s {:>8.0} entries/s   p50 {:>6.1} ms   p99 {:>6.1} ms",
            megabytes / elapsed,
            latencies.len() as f64 / elapsed,
            at(50),
            at(99),
        );
        queue.close().await;
    }
}
