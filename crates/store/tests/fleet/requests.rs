//! Requests with an idempotency key, sent to several processes.

use logmill_store::{AppendRequest, Committed, IdempotencyKey, IdempotencyOutcome, Role, Store};

use crate::harness::{request, tenant};
use crate::site::{Site, finds};

fn key(fingerprint: u8) -> IdempotencyKey {
    IdempotencyKey {
        key: "one".to_owned(),
        fingerprint: [fingerprint; 16],
    }
}

async fn begin(store: &Store, fingerprint: u8) -> IdempotencyOutcome {
    let owner = tenant("a");
    let begun = store.begin_idempotent(&owner, key(fingerprint));
    begun.await.unwrap()
}

async fn keyed(store: &Store, numbers: &[i64], answer: &str) -> AppendRequest {
    let IdempotencyOutcome::New(permit) = begin(store, 1).await else {
        panic!("the key is new")
    };
    AppendRequest {
        idempotency: Some((permit, answer.as_bytes().to_vec())),
        ..request("a", numbers)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_stored_once_whoever_gets_it() {
    let site = Site::new();
    let (first, second) = (site.join(Role::Api).await, site.join(Role::Api).await);
    // Both have the request before either has stored it.
    let both = (
        keyed(&first, &[1], "first").await,
        keyed(&second, &[1], "second").await,
    );
    assert_eq!(first.append(both.0).await.unwrap(), Committed::Stored);
    let replayed = Committed::Replayed(b"first".to_vec());
    assert_eq!(second.append(both.1).await.unwrap(), replayed);
    // Whoever gets it now knows it before decoding it.
    let third = site.join(Role::Api).await;
    for store in [&first, &second, &third] {
        let known = begin(store, 1).await;
        assert!(matches!(known, IdempotencyOutcome::Replay(answer) if answer == b"first"));
        assert!(matches!(
            begin(store, 2).await,
            IdempotencyOutcome::Mismatch
        ));
    }
    let query = site.join(Role::Query).await;
    finds(&query, "a", &[1]).await;
}

/// Redis has the entry, and no replica confirmed it: nobody may answer for it from memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_no_replica_confirmed_is_not_answered_for() {
    let mut site = Site::new();
    site.queue.wait_replicas = 1;
    site.queue.wait_timeout_ms = 50;
    site.queue.retry.tries_max = 1;
    for _ in 0..2 {
        let api = site.join(Role::Api).await;
        let error = api
            .append(keyed(&api, &[1], "answer").await)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("replicas confirmed"), "{error}");
    }
}
