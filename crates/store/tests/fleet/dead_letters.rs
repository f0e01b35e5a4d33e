//! Entries that are no batches.

use logmill_queue::{Entry, Queue};
use logmill_store::Role;

use crate::harness::request;
use crate::site::{Site, finds, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_no_batch_is_set_aside_and_the_rest_goes_on() {
    let site = Site::new();
    let api = site.join(Role::Api).await;
    let query = site.join(Role::Query).await;
    let queue = site.queue().await;
    api.append(request("a", &[1])).await.unwrap();
    for partition in 0..4 {
        let entry = Entry::new(partition, b"\x01 this is no batch".to_vec());
        queue.append(entry, Box::new(|_| {})).await.unwrap();
    }
    api.append(request("a", &[2])).await.unwrap();
    finds(&query, "a", &[1, 2]).await;

    // Whoever leads the partitions sets them aside, once.
    let _workers = [site.join(Role::Worker).await, site.join(Role::Worker).await];
    until("four dead letters", async || {
        queue.dead_letters(None, 10).await.unwrap().len() == 4
    })
    .await;
    let letters = queue.dead_letters(None, 10).await.unwrap();
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason.contains("payload")),
        "{letters:?}"
    );
    api.flush().await.unwrap();
    finds(&query, "a", &[1, 2]).await;
    until("it is in a segment", async || {
        query.status().memtable_rows == 0
    })
    .await;
}
