//! A store's life: appends, flushes, snapshots, limits, retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logmill_store::{Error, Store};

use crate::harness::{DAY, Folder, batch, found, request, tenant};

const HOUR: i64 = 3_600_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_seen_once_while_flushes_run() {
    let folder = Folder::new();
    let store = folder.open().await;
    let done = Arc::new(AtomicBool::new(false));
    let flusher = {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let mut flushes = 0;
            while !done.load(Ordering::SeqCst) {
                store.flush().await.unwrap();
                flushes += 1;
            }
            flushes
        })
    };
    let writers: Vec<_> = (0..4_i64)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    let first = (writer * 25 + round) * 10;
                    let mine: Vec<i64> = (first..first + 10).collect();
                    store.append(request("a", &mine)).await.unwrap();
                    let seen = found(&store, "a").await;
                    let count = |n: &i64| seen.iter().filter(|other| *other == n).count();
                    assert!(mine.iter().all(|n| count(n) == 1), "read your writes, once");
                    let before = seen.len();
                    let mut distinct = seen;
                    distinct.dedup();
                    assert_eq!(distinct.len(), before, "nothing twice");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(flusher.await.unwrap() > 1);
    assert_eq!(found(&store, "a").await, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memtable_refuses_until_it_is_flushed() {
    let mut folder = Folder::new();
    folder.options.memtable_max_bytes = 20_000;
    folder.options.flush_bytes = 20_000;
    let store = folder.open().await;
    folder.puts.at(1);
    let mut stored = Vec::new();
    let refused = loop {
        let numbers: Vec<i64> = (0..100).map(|n| stored.len() as i64 + n).collect();
        match store.append(request("a", &numbers)).await {
            Ok(_) => stored.extend(numbers),
            Err(error) => break error,
        }
        assert!(stored.len() < 100_000);
    };
    assert!(
        matches!(refused, Error::MemtableFull { limit: 20_000, .. }),
        "{refused:?}"
    );
    assert_eq!(
        found(&store, "a").await,
        stored,
        "a refused batch left nothing"
    );
    // The pressure makes the flusher run; its first put fails, the second try succeeds.
    for _ in 0..1_000 {
        if store.append(request("a", &[-1])).await.is_ok() {
            stored.insert(0, -1);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(found(&store, "a").await, stored);
    assert_eq!(stored[0], -1, "after the flush there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_happen_by_size_and_by_age() {
    let mut folder = Folder::new();
    folder.options.flush_bytes = 1_000;
    let store = folder.open().await;
    store
        .append(request("a", &(0..200).collect::<Vec<_>>()))
        .await
        .unwrap();
    wait_for(&store, |store| store.status().segments == 1).await;
    drop(store);
    folder.options.flush_bytes = 1 << 20;
    folder.options.flush_interval_ms = 50;
    let store = folder.open().await;
    store.append(request("a", &[200])).await.unwrap();
    wait_for(&store, |store| store.status().segments == 2).await;
    assert_eq!(found(&store, "a").await, (0..201).collect::<Vec<_>>());
}

async fn wait_for(store: &Store, condition: impl Fn(&Store) -> bool) {
    for _ in 0..2_000 {
        if condition(store) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it does not happen: {:?}", store.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_flushes_and_refuses() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append(request("a", &[1])).await.unwrap();
    store.shutdown().await.unwrap();
    assert!(matches!(
        store.append(request("a", &[2])).await,
        Err(Error::Closed)
    ));
    assert_eq!(
        (store.status().segments, store.status().memtable_rows),
        (1, 0)
    );
    drop(store);
    assert_eq!(found(&*folder.open().await, "a").await, [1]);
}

async fn with_segments(folder: &Folder, hours: &[i64]) -> Arc<Store> {
    let store = folder.open().await;
    for hour in hours {
        let mut records = request("a", &[]);
        records.batch = batch(&[*hour], |hour| -hour * HOUR);
        store.append(records).await.unwrap();
        store.flush().await.unwrap();
    }
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_age_waits_for_readers() {
    let mut folder = Folder::new();
    folder.options.retention.max_age_ms = 10 * 3_600_000;
    let store = with_segments(&folder, &[1, 30, 5, 20]).await;
    let reader = store.snapshot(&tenant("a"));
    assert_eq!(store.apply_retention().await.unwrap(), 2);
    assert_eq!(found(&store, "a").await, [1, 5]);
    assert_eq!(folder.files().len(), 4, "a reader still has them");
    drop(reader);
    wait_for(&store, |_| folder.files().len() == 2).await;
    assert_eq!(store.apply_retention().await.unwrap(), 0);
    folder.clock.advance_ns(6 * HOUR);
    assert_eq!(store.apply_retention().await.unwrap(), 1);
    drop(store);
    assert_eq!(found(&*folder.open().await, "a").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_bytes_takes_the_oldest() {
    let mut folder = Folder::new();
    let store = with_segments(&folder, &[1, 30, 5, 20]).await;
    let bytes = store.status().segment_bytes;
    drop(store);
    folder.options.retention.max_bytes = bytes * 5 / 8;
    let store = folder.open().await;
    assert_eq!(store.apply_retention().await.unwrap(), 2);
    assert_eq!(found(&store, "a").await, [1, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_newest_first_and_lie_in_their_day() {
    let folder = Folder::new();
    let store = with_segments(&folder, &[30, 1, 60]).await;
    let segments = store.snapshot(&tenant("a")).segments;
    let newest: Vec<_> = segments
        .iter()
        .map(|s| (DAY - s.row().max_timestamp_ns) / HOUR)
        .collect();
    assert_eq!(newest, [1, 30, 60]);
    assert!(
        segments[0]
            .row()
            .path
            .starts_with("tenants/a/segments/2026-11-19/")
    );
    assert!(
        segments[2]
            .row()
            .path
            .starts_with("tenants/a/segments/2026-11-17/")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_tenants_are_bounded() {
    let mut folder = Folder::new();
    folder.options.columns_max = 2;
    folder.options.tenants_max = 2;
    let store = folder.open().await;
    store.append(request("a", &[1])).await.unwrap();
    let columns = store.columns(&tenant("a")).unwrap();
    assert!(columns.admit("n", None), "it is there");
    assert!(columns.admit("second", None) && !columns.admit("third", None));
    assert!(
        store.columns(&tenant("a")).unwrap().admit("second", None),
        "shared by requests"
    );
    store.columns(&tenant("b")).unwrap();
    let error = store.columns(&tenant("c")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::LimitReached {
                what: "tenants",
                limit: 2
            }
        ),
        "{error:?}"
    );
    assert!(store.snapshot(&tenant("nobody")).memtable.is_empty());
}
