//! Records through the whole pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logmill_store::Role;

use crate::harness::{found, request};
use crate::site::{Site, finds, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_takes_in_another_answers_and_a_third_stores() {
    let site = Site::new();
    let api = site.join(Role::Api).await;
    let query = site.join(Role::Query).await;
    api.append(request("a", &[1, 2])).await.unwrap();
    // Nobody has stored anything yet: the queue alone is followed.
    let seen_after = finds(&query, "a", &[1, 2]).await;
    assert!(seen_after < Duration::from_secs(2), "{seen_after:?}");
    assert!(query.snapshot(&"a".parse().unwrap()).segments.is_empty());

    let worker = site.join(Role::Worker).await;
    api.append(request("b", &[7])).await.unwrap();
    api.flush().await.unwrap();
    until("segments of both tenants", async || {
        query.status().segments == 2
    })
    .await;
    assert_eq!(found(&query, "a").await, [1, 2]);
    assert_eq!(found(&query, "b").await, [7]);
    assert_eq!(query.status().memtable_rows, 0, "they have changed places");
    until("the worker has let go", async || {
        worker.status().memtable_bytes == 0
    })
    .await;

    // One that comes later finds what is stored and what is not.
    api.append(request("a", &[3])).await.unwrap();
    let late = site.join(Role::All).await;
    finds(&late, "a", &[1, 2, 3]).await;
}

/// A reader never finds less than what it found before, and nothing twice, while records move from the queue through
/// memory into segments and from segments into others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_record_once_at_every_moment() {
    let mut site = Site::new();
    site.options.flush_interval_ms = 30;
    site.options.compaction.enabled = true;
    site.options.retention.check_interval_ms = 50;
    site.fleet.trim_delay_ms = 1_000;
    let api = site.join(Role::Api).await;
    let workers = [site.join(Role::Worker).await, site.join(Role::Worker).await];
    let all = site.join(Role::All).await;
    let query = site.join(Role::Query).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [all.clone(), query.clone()]
        .into_iter()
        .map(|reader| {
            let done = done.clone();
            tokio::spawn(async move {
                let mut before = 0;
                let mut looks = 0;
                while !done.load(Ordering::Acquire) {
                    let numbers = found(&reader, "a").await;
                    let expected: Vec<i64> = (0..i64::try_from(numbers.len()).unwrap()).collect();
                    assert_eq!(numbers, expected);
                    assert!(numbers.len() >= before, "{before} were there");
                    before = numbers.len();
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    let writers = [&api, &all];
    for number in 0..300 {
        writers[number % 2]
            .append(request("a", &[i64::try_from(number).unwrap()]))
            .await
            .unwrap();
    }
    let numbers: Vec<i64> = (0..300).collect();
    finds(&query, "a", &numbers).await;
    finds(&all, "a", &numbers).await;
    api.flush().await.unwrap();
    until("merges", async || query.status().segments < 20).await;
    done.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.unwrap() > 10);
    }
    assert_eq!(found(&query, "a").await, numbers);
    drop(workers);
}

/// Whoever only answers cannot make room: the workers flush early enough for it, however the records are spread.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_everything_does_not_run_full() {
    const BATCHES: i64 = 30;
    let mut site = Site::new();
    site.options.memtable_max_bytes = 4 << 20;
    site.options.flush_bytes = 4 << 20;
    let api = site.join(Role::Api).await;
    let query = site.join(Role::Query).await;
    let _workers = [site.join(Role::Worker).await, site.join(Role::Worker).await];
    let numbers: Vec<i64> = (0..50_000).collect();
    for batch in 0..BATCHES {
        let owner = ["a", "b", "c", "d", "e"][usize::try_from(batch % 5).unwrap()];
        api.append(request(owner, &numbers)).await.unwrap();
    }
    let all = u64::try_from(BATCHES * 50_000).unwrap();
    until("all of it is seen", async || {
        let status = query.status();
        status.memtable_rows + status.segment_rows == all
    })
    .await;
    assert!(query.status().segments > 0);
}
