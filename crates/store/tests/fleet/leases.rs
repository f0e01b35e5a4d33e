//! Who works on what: shares, take-over, fencing.

use std::time::Duration;

use logmill_catalog::{Catalog, LeaseRow};
use logmill_store::Role;

use crate::harness::{found, request};
use crate::site::{Site, finds, until};

async fn holders(catalog: &dyn Catalog) -> Vec<Option<String>> {
    let leases = catalog.leases("partition/").await.unwrap();
    let holder = |row: LeaseRow| row.holder.filter(|_| !row.expires_in.is_zero());
    leases.into_iter().map(holder).collect()
}

async fn shares(catalog: &dyn Catalog, members: &[&str]) -> Vec<usize> {
    let holders = holders(catalog).await;
    let share = |member: &&str| {
        holders
            .iter()
            .filter(|h| h.as_deref() == Some(*member))
            .count()
    };
    members.iter().map(share).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_the_partitions_and_take_over_from_those_that_go() {
    let site = Site::new();
    let catalog = site.catalog().await;
    let first = site.join(Role::Worker).await;
    until("one has all", async || {
        shares(&catalog, &["worker-0"]).await == [4]
    })
    .await;
    let api = site.join(Role::Api).await;
    for (owner, number) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        api.append(request(owner, &[number])).await.unwrap();
    }
    let second = site.join(Role::Worker).await;
    let members = ["worker-0", "worker-2"];
    until("each has half", async || {
        shares(&catalog, &members).await == [2, 2]
    })
    .await;

    first.shutdown().await.unwrap();
    drop(first);
    let taken = until("the other has all", async || {
        shares(&catalog, &members).await == [0, 4]
    })
    .await;
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    api.flush().await.unwrap();
    let query = site.join(Role::Query).await;
    for (owner, number) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        finds(&query, owner, &[number]).await;
    }
    second.shutdown().await.unwrap();
    assert_eq!(shares(&catalog, &members).await, [0, 0]);
    assert!(
        api.members()
            .await
            .unwrap()
            .iter()
            .all(|m| m.role != "worker")
    );
}

/// A worker that stood still while another took its partitions over: what it writes then does not count.
#[tokio::test(flavor = "multi_thread")]
async fn who_lost_a_lease_cannot_commit() {
    let mut site = Site::new();
    // It will not notice by itself in time.
    site.fleet.lease_ttl_ms = 600_000;
    let catalog = site.catalog().await;
    let slow = site.join(Role::All).await;
    until("it has all", async || {
        shares(&catalog, &["all-0"]).await == [4]
    })
    .await;
    slow.append(request("a", &[1])).await.unwrap();
    finds(&slow, "a", &[1]).await;
    // As if the leases had expired.
    for row in catalog.leases("partition/").await.unwrap() {
        assert!(
            catalog
                .release(&row.name, "all-0", row.epoch)
                .await
                .unwrap()
        );
    }
    site.fleet.lease_ttl_ms = 1_000;
    let other = site.join(Role::Worker).await;
    until("the other has its share", async || {
        shares(&catalog, &["worker-1"]).await[0] >= 2
    })
    .await;
    for row in catalog.leases("partition/").await.unwrap() {
        catalog
            .lease(&row.name, "worker-1", Duration::from_secs(60))
            .await
            .unwrap();
    }
    let objects = |site: &Site| walk(&site.objects());
    let before = objects(&site);
    // Its flush is refused; then the partition is no business of its any more.
    slow.shutdown().await.unwrap();
    assert!(catalog.segments().await.unwrap().is_empty());
    assert!(objects(&site) > before, "its segment is an orphan");
    drop(slow);
    let api = site.join(Role::Api).await;
    drop(other);
    let query = site.join(Role::Query).await;
    let worker = site.join(Role::Worker).await;
    for row in catalog.leases("partition/").await.unwrap() {
        catalog
            .release(&row.name, "worker-1", row.epoch)
            .await
            .unwrap();
    }
    api.flush().await.unwrap();
    finds(&query, "a", &[1]).await;
    until("one segment has it", async || {
        let status = query.status();
        (status.segments, status.memtable_rows) == (1, 0)
    })
    .await;
    assert_eq!(found(&query, "a").await, [1]);
    drop(worker);
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}
