//! Retention by age, by bytes, per tenant and by rule, and failures in the midst of it.

use logmill_store::{RetentionRule, Store, TenantRetention};

use crate::harness::{Folder, found, request, tenant};

const HOUR: i64 = 3_600_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// A segment for each tenant and hour.
async fn with_segments(folder: &Folder, tenants: &[&str], hours: i64) -> std::sync::Arc<Store> {
    let store = folder.open().await;
    for hour in 0..hours {
        for owner in tenants {
            let mut request = request(owner, &[]);
            request.batch = crate::harness::batch(&[hour * 10, hour * 10 + 1], |_| hour * HOUR);
            store.append(request).await.unwrap();
        }
        store.flush().await.unwrap();
    }
    folder.clock.advance_ns(hours * HOUR);
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_bounds_of_their_own() {
    let mut folder = Folder::new();
    let retention = &mut folder.options.retention;
    retention.max_age_ms = 4 * HOUR_MS;
    let own = |max_age_ms, max_bytes| TenantRetention {
        max_age_ms,
        max_bytes,
    };
    retention.tenants.insert("long".to_owned(), own(0, 0));
    retention
        .tenants
        .insert("short".to_owned(), own(HOUR_MS, 0));
    retention.tenants.insert("small".to_owned(), own(0, 1));
    let store = with_segments(&folder, &["any", "long", "short", "small"], 6).await;
    store.apply_retention().await.unwrap();
    let mut left = Vec::new();
    for owner in ["any", "long", "short", "small"] {
        left.push(store.snapshot(&tenant(owner)).segments.len());
    }
    assert_eq!(left, [4, 6, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_takes_its_records_out_of_old_segments_once() {
    let mut folder = Folder::new();
    let below: serde_json::Value = serde_json::json!({ "below": 21 });
    folder.options.retention.rules.push(RetentionRule {
        tenant: Some("a".to_owned()),
        filters: below.as_object().unwrap().clone(),
        max_age_ms: 3 * HOUR_MS,
    });
    let store = with_segments(&folder, &["a", "b"], 6).await;
    store.apply_retention().await.unwrap();
    // Hours 0, 1 and 2 are older than three hours; of hour 2 one record is not the rule's.
    assert_eq!(found(&store, "a").await, [21, 30, 31, 40, 41, 50, 51]);
    assert_eq!(found(&store, "b").await.len(), 12);
    while store.compact().await.unwrap() > 0 {}
    assert_eq!(found(&store, "a").await, [21, 30, 31, 40, 41, 50, 51]);
    let deletes = store.deletes(None).await.unwrap();
    assert_eq!(
        (
            deletes.len(),
            deletes[0].rows_deleted,
            deletes[0].segments_left
        ),
        (1, 5, 0)
    );
    store.apply_retention().await.unwrap();
    assert_eq!(
        store.deletes(None).await.unwrap().len(),
        1,
        "it is not asked for again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_step_of_retention_or_a_delete_is_made_good() {
    for after in [false, true] {
        for reopen in [false, true] {
            let mut folder = Folder::new();
            folder.options.retention.max_age_ms = 4 * HOUR_MS;
            let mut store = with_segments(&folder, &["a"], 6).await;
            let fail = |folder: &Folder| {
                if after {
                    folder.commits_after.at(1);
                } else {
                    folder.commits_before.at(1);
                }
            };
            fail(&folder);
            store.apply_retention().await.unwrap_err();
            if reopen {
                drop(store);
                store = folder.open().await;
            }
            store.apply_retention().await.unwrap();
            let left = found(&store, "a").await;
            assert_eq!(
                left,
                [20, 21, 30, 31, 40, 41, 50, 51],
                "after: {after}, reopen: {reopen}"
            );

            fail(&folder);
            crate::harness::delete_below(&store, "a", 31)
                .await
                .unwrap_err();
            if reopen {
                drop(store);
                store = folder.open().await;
            }
            crate::harness::delete_below(&store, "a", 31).await.unwrap();
            while store.compact().await.unwrap() > 0 {}
            assert_eq!(
                found(&store, "a").await,
                [31, 40, 41, 50, 51],
                "after: {after}, reopen: {reopen}"
            );
            drop(store);
            let store = folder.open().await;
            assert_eq!(found(&store, "a").await, [31, 40, 41, 50, 51]);
            assert_eq!(
                folder.files().len() as u64,
                store.status().segments,
                "no orphans"
            );
        }
    }
}
