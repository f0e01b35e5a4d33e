//! Leases, and the fence they are for.

use std::time::Duration;

use logmill_catalog::{Catalog, Error, FlushCommit, LeaseRow};
use logmill_model::ErrorKind;

use crate::site::{Site, commit, key, segment};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

/// The epoch that the holder has now, if it gets the lease.
async fn epoch(catalog: &dyn Catalog, name: &str, holder: &str, ttl: Duration) -> Option<u64> {
    let lease = catalog.lease(name, holder, ttl).await.unwrap()?;
    assert_eq!((lease.name.as_str(), lease.holder.as_str()), (name, holder));
    assert!(lease.expires_in <= ttl, "{lease:?}");
    assert!(lease.expires_in + SHORT >= ttl, "{lease:?}");
    Some(lease.epoch)
}

fn flush(epoch: u64, from: u64, to: u64, id: &str) -> FlushCommit {
    FlushCommit {
        epoch: Some(epoch),
        partition: "3".to_owned(),
        ..commit(from, to, vec![segment(id, "acme")], vec![key(id, 1)])
    }
}

pub(crate) async fn a_lease_has_one_holder(site: Site) {
    let catalog = site.open().await;
    let catalog = catalog.as_ref();
    assert_eq!(epoch(catalog, "job/merge", "a", LONG).await, Some(1));
    assert_eq!(epoch(catalog, "job/merge", "b", LONG).await, None);
    assert_eq!(epoch(catalog, "job/sweep", "b", LONG).await, Some(1));
    // Extended, then shortened, by its own holder.
    assert_eq!(epoch(catalog, "job/merge", "a", LONG).await, Some(1));
    assert_eq!(epoch(catalog, "job/merge", "a", SHORT).await, Some(1));
    tokio::time::sleep(SHORT).await;
    let expired = LeaseRow {
        name: "job/merge".to_owned(),
        holder: Some("a".to_owned()),
        epoch: 1,
        expires_in: Duration::ZERO,
    };
    assert_eq!(catalog.leases("job/m").await.unwrap(), [expired]);
    // Expired and free: its own holder goes on with the epoch, another begins a new one.
    assert_eq!(epoch(catalog, "job/merge", "a", SHORT).await, Some(1));
    tokio::time::sleep(SHORT).await;
    assert_eq!(epoch(catalog, "job/merge", "b", LONG).await, Some(2));
    assert_eq!(epoch(catalog, "job/merge", "a", LONG).await, None);
    let names = catalog.leases("job/").await.unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|row| (row.name.as_str(), row.epoch))
        .collect();
    assert_eq!(names, [("job/merge", 2), ("job/sweep", 1)]);
    assert!(catalog.leases("job_").await.unwrap().is_empty());
}

pub(crate) async fn a_released_lease_is_free_and_its_epoch_grows(site: Site) {
    let catalog = site.open().await;
    let catalog = catalog.as_ref();
    assert_eq!(epoch(catalog, "partition/3", "a", LONG).await, Some(1));
    assert!(!catalog.release("partition/3", "b", 1).await.unwrap());
    assert!(!catalog.release("partition/3", "a", 2).await.unwrap());
    assert!(!catalog.release("partition/4", "a", 1).await.unwrap());
    assert_eq!(epoch(catalog, "partition/3", "b", LONG).await, None);
    assert!(catalog.release("partition/3", "a", 1).await.unwrap());
    assert!(!catalog.release("partition/3", "a", 1).await.unwrap());
    let free = catalog.leases("partition/").await.unwrap();
    assert_eq!((&free[0].holder, free[0].epoch), (&None, 1));
    // Also for the one that had it: what it did under the first epoch is over.
    assert_eq!(epoch(catalog, "partition/3", "a", LONG).await, Some(2));
}

pub(crate) async fn of_many_that_want_a_lease_one_gets_it(site: Site) {
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(site.open().await);
    }
    for expected in 1..=5 {
        let mut tries = Vec::new();
        for (number, process) in processes.iter().enumerate() {
            let process = process.clone();
            let holder = format!("{expected}-{number}");
            tries.push(tokio::spawn(async move {
                process.lease("job/merge", &holder, LONG).await.unwrap()
            }));
        }
        let mut got = Vec::new();
        for lease in tries {
            got.extend(lease.await.unwrap());
        }
        let [lease] = &got[..] else {
            panic!("{got:?}");
        };
        assert_eq!(lease.epoch, expected);
        let released = processes[0].release(&lease.name, &lease.holder, lease.epoch);
        assert!(released.await.unwrap());
    }
}

pub(crate) async fn a_fenced_flush_changes_nothing(site: Site) {
    let catalog = site.open().await;
    let unleased = catalog.commit_flush(flush(1, 0, 5, "01A")).await;
    assert!(
        matches!(unleased, Err(Error::Fenced { found: None, .. })),
        "{unleased:?}"
    );
    let lease = |holder| catalog.lease("partition/3", holder, SHORT);
    lease("a").await.unwrap().unwrap();
    catalog.commit_flush(flush(1, 0, 5, "01A")).await.unwrap();
    tokio::time::sleep(SHORT).await;
    let taken = lease("b").await.unwrap().unwrap();
    assert_eq!(taken.epoch, 2);

    let before = catalog.version().await.unwrap();
    let fenced = catalog.commit_flush(flush(1, 5, 9, "01B")).await;
    let error = fenced.unwrap_err();
    assert!(
        matches!(&error, Error::Fenced { partition, epoch: 1, found: Some(2) } if partition == "3"),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(catalog.watermark("3").await.unwrap(), 5);
    assert_eq!(catalog.segments().await.unwrap().len(), 1);
    assert_eq!(catalog.idempotency_since(0).await.unwrap().len(), 1);
    assert_eq!(catalog.version().await.unwrap(), before);

    // Of two wrongs, the fence is told: whoever is fenced must not believe that it only has to look again.
    let both = catalog.commit_flush(flush(1, 0, 9, "01B")).await;
    assert!(matches!(both, Err(Error::Fenced { .. })), "{both:?}");
    catalog.commit_flush(flush(2, 5, 9, "01B")).await.unwrap();
}

pub(crate) async fn an_expired_lease_commits_until_it_is_taken_over(site: Site) {
    let catalog = site.open().await;
    let lease = catalog.lease("partition/3", "a", Duration::ZERO).await;
    assert_eq!(lease.unwrap().unwrap().expires_in, Duration::ZERO);
    catalog.commit_flush(flush(1, 0, 5, "01A")).await.unwrap();
    let taken = catalog.lease("partition/3", "b", LONG).await;
    assert_eq!(taken.unwrap().unwrap().epoch, 2);
    let late = catalog.commit_flush(flush(1, 5, 6, "01B")).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
}
