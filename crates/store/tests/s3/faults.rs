//! An S3 that is slow, overloaded or away: nothing is lost, nothing is doubled, nobody waits for it.

use std::time::{Duration, Instant};

use crate::harness::{found, request};
use crate::proxy::{Fault, Proxy};
use crate::site::{BUCKET, Site, paths};
use logmill_test_services::S3Server;

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_tried_again() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let mut site = Site::new(&proxy.address);
    site.objects.request_timeout_ms = 2_000;
    let store = site.open().await;
    let faults = [
        (3, Fault::Unavailable),
        (2, Fault::Reset),
        (1, Fault::LoseAnswer),
        (1, Fault::Hang),
        (1, Fault::Delay(Duration::from_secs(1))),
    ];
    let mut stored = Vec::new();
    for (number, (times, fault)) in (0..).zip(faults) {
        store.append(request("a", &[number])).await.unwrap();
        stored.push(number);
        proxy.requests("PUT");
        proxy.fail("PUT", times, fault);
        let begun = Instant::now();
        store.flush().await.unwrap();
        let tries = proxy.requests("PUT").len();
        let expected = match fault {
            Fault::Delay(_) => times,
            _ => times + 1,
        };
        assert_eq!(tries, expected, "{fault:?} in {:?}", begun.elapsed());
        assert_eq!(found(&store, "a").await, stored, "{fault:?}");
    }
    assert_eq!(paths(&site.open_bare()).await.len(), stored.len());
    // Reads and lists too.
    proxy.fail("GET", 3, Fault::Unavailable);
    assert_eq!(found(&store, "a").await, stored);
    drop(store);
    proxy.fail("GET", 2, Fault::Reset);
    let store = site.open().await;
    assert_eq!(found(&store, "a").await, stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_loses_and_doubles_nothing() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let mut site = Site::new(&proxy.address);
    site.objects.retry_max = 1;
    let store = site.open().await;
    store.append(request("a", &[1, 2])).await.unwrap();
    for fault in [Fault::Reset, Fault::Unavailable, Fault::LoseAnswer] {
        proxy.fail("PUT", usize::MAX, fault);
        let error = store.flush().await.unwrap_err().to_string();
        assert!(
            error.starts_with("object store: writing tenants/a/"),
            "{error}"
        );
        let health = store.health().await;
        let objects = health.iter().find(|part| part.name == "object_store");
        assert_eq!(objects.unwrap().failure, Some(error));
        assert_eq!(found(&store, "a").await, [1, 2], "in memory");
        assert_eq!(store.status().segments, 0);
    }
    store.append(request("a", &[3])).await.unwrap();
    drop(store);

    // The process died: the log has the records, and what lost its answer is an orphan.
    let store = site.open().await;
    assert!(paths(&site.open_bare()).await.is_empty());
    assert_eq!(found(&store, "a").await, [1, 2, 3], "in the log");
    store.flush().await.unwrap_err();
    proxy.heal();
    store.append(request("a", &[4])).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(&store, "a").await, [1, 2, 3, 4]);
    assert_eq!(store.status().memtable_rows, 0);
    assert!(
        store
            .health()
            .await
            .iter()
            .all(|part| part.failure.is_none())
    );
    drop(store);
    let store = site.open().await;
    assert_eq!(found(&store, "a").await, [1, 2, 3, 4], "from S3");
    let objects = paths(&site.open_bare()).await.len() as u64;
    assert_eq!(store.status().segments, objects);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_do_not_wait_for_s3() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let mut site = Site::new(&proxy.address);
    site.objects.request_timeout_ms = 3_000;
    let store = site.open().await;
    store.append(request("a", &[0])).await.unwrap();
    proxy.fail("", usize::MAX, Fault::Hang);
    let flush = {
        let store = store.clone();
        tokio::spawn(async move { store.flush().await })
    };
    while proxy.requests("PUT").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    for number in 1..100 {
        store.append(request("a", &[number])).await.unwrap();
        assert!(!flush.is_finished() || begun.elapsed() > Duration::from_secs(3));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "100 appends took {took:?}");
    assert_eq!(found(&store, "a").await, (0..100).collect::<Vec<_>>());
    proxy.heal();
    flush.await.unwrap().unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(&store, "a").await, (0..100).collect::<Vec<_>>());
    assert_eq!(store.status().memtable_rows, 0);
}
