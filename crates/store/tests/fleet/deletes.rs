//! Deleting, merging and expiring where several processes read.

use std::time::Duration;

use logmill_catalog::Catalog;
use logmill_store::Role;

use crate::harness::{delete_below, found, request};
use crate::site::{Site, finds, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_what_was_acknowledged_and_nothing_later() {
    let site = Site::new();
    let api = site.join(Role::Api).await;
    let worker = site.join(Role::Worker).await;
    let query = site.join(Role::Query).await;
    api.append(request("a", &[1, 2, 3])).await.unwrap();
    api.append(request("b", &[1])).await.unwrap();
    // Nothing is in segments yet; the process that is asked has none of it in memory.
    let delete = delete_below(&api, "a", 3).await.unwrap();
    assert_eq!(delete.segments, 1);
    api.append(request("a", &[1])).await.unwrap();
    finds(&query, "a", &[1, 3]).await;
    assert_eq!(found(&query, "b").await, [1]);

    // The worker carries it out; the object stays for those who read it, until its time is over.
    until("the worker knows", async || {
        worker.compact().await.unwrap() > 0
    })
    .await;
    finds(&query, "a", &[1, 3]).await;
    let done = api
        .delete(&"a".parse().unwrap(), &delete.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((done.segments_left, done.rows_deleted), (0, 2));
    let catalog = site.catalog().await;
    assert_eq!(
        catalog
            .obsolete_objects(Duration::ZERO)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_done_by_one_and_obsolete_objects_go_later() {
    let mut site = Site::new();
    site.options.retention.check_interval_ms = 100;
    site.fleet.obsolete_objects_ttl_ms = 1;
    let api = site.join(Role::Api).await;
    let workers = [site.join(Role::Worker).await, site.join(Role::Worker).await];
    for number in 0..4 {
        api.append(request("a", &[number])).await.unwrap();
        api.flush().await.unwrap();
    }
    until("a merge", async || {
        let mut merges = 0;
        for worker in &workers {
            merges += worker.compact().await.unwrap();
        }
        merges > 0
    })
    .await;
    let catalog = site.catalog().await;
    until("the merged segments' objects are gone", async || {
        let left = catalog.obsolete_objects(Duration::ZERO).await.unwrap();
        left.is_empty() && catalog.segments().await.unwrap().len() == 1
    })
    .await;
    let query = site.join(Role::Query).await;
    assert_eq!(found(&query, "a").await, [0, 1, 2, 3]);
    let runs = catalog.job_runs().await.unwrap();
    let holder = |name: &str| {
        runs.iter()
            .find(|run| run.name == name)
            .unwrap()
            .holder
            .clone()
    };
    assert!(holder("retention").starts_with("worker-"));
    assert!(
        runs.iter().all(|run| run.outcome == "succeeded"),
        "{runs:?}"
    );
}
