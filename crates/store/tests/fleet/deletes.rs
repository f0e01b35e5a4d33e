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

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_orphans_and_leaves_what_others_may_still_read() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut site = Site::new();
    site.options.orphan_check_interval_ms = 50;
    site.options.orphan_min_age_ms = 0;
    site.options.retention.check_interval_ms = 50;
    site.fleet.obsolete_objects_ttl_ms = u64::try_from(HOUR.as_millis()).unwrap();
    let api = site.join(Role::Api).await;
    let worker = site.join(Role::Worker).await;
    for number in 0..4 {
        api.append(request("a", &[number])).await.unwrap();
        api.flush().await.unwrap();
    }
    until("a merge", async || worker.compact().await.unwrap() > 0).await;
    let catalog = site.catalog().await;
    let merged = catalog.obsolete_objects(Duration::ZERO).await.unwrap();
    assert_eq!(merged.len(), 4);
    let orphan = "tenants/a/segments/2026-11-20/orphan.parquet";
    std::fs::write(site.objects().join(orphan), "x").unwrap();
    let young = "tenants/a/segments/2026-11-20/young.parquet";
    std::fs::write(site.objects().join(young), "x").unwrap();
    for path in merged.iter().map(String::as_str).chain([orphan]) {
        let file = std::fs::File::options()
            .write(true)
            .open(site.objects().join(path));
        let long_ago = std::time::SystemTime::now() - 2 * HOUR;
        file.unwrap().set_modified(long_ago).unwrap();
    }
    until("the orphan is gone", async || {
        !site.objects().join(orphan).exists()
    })
    .await;
    let left = |path: &str| site.objects().join(path).exists();
    assert!(left(young) && merged.iter().all(|path| left(path)));
}
