//! Dead letters.

use logmill_queue::{Error, FullReason, Queue, RedisOptions, RedisQueue, Sequence};

use crate::harness::{append, command, open_redis, read_all, redis};
use crate::proxy::Proxy;

async fn bury(queue: &RedisQueue, sequence: Sequence, payload: &[u8]) -> bool {
    let moved = queue
        .dead_letter(0, sequence, payload, "tenant", "it does not decode")
        .await;
    moved.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_moved_listed_shown_retried_and_dropped() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let first = append(&queue, b"bad \0\xff").await.unwrap();
    let second = append(&queue, b"worse").await.unwrap();
    assert!(bury(&queue, first, b"bad \0\xff").await);
    assert!(
        !bury(&queue, first, b"bad \0\xff").await,
        "another worker comes later"
    );
    assert!(bury(&queue, second, b"worse").await);
    assert!(read_all(&queue, 0, Sequence(0)).await.is_empty());

    let letters = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    let letter = &letters[0];
    assert_eq!(
        (letter.partition, letter.sequence, letter.bytes),
        (0, first, 6)
    );
    assert_eq!(
        (letter.tenant.as_str(), letter.reason.as_str()),
        ("tenant", "it does not decode")
    );
    assert!(letter.at_ms > 1_700_000_000_000);
    let next = queue.dead_letters(Some(&letter.id), 10).await.unwrap();
    assert_eq!(next, letters[1..]);
    assert_eq!(queue.dead_letters(None, 1).await.unwrap(), letters[..1]);

    let shown = queue.dead_letter_get(&letter.id).await.unwrap().unwrap();
    assert_eq!(
        (&shown.summary, &shown.payload[..]),
        (letter, &b"bad \0\xff"[..])
    );

    let retried = queue.dead_letter_retry(&letter.id).await.unwrap().unwrap();
    assert!(retried > second);
    assert_eq!(
        queue.dead_letter_retry(&letter.id).await.unwrap(),
        Some(retried),
        "once"
    );
    assert_eq!(
        read_all(&queue, 0, Sequence(0)).await,
        [(retried, b"bad \0\xff".to_vec())]
    );

    assert!(queue.dead_letter_drop(&letters[1].id).await.unwrap());
    assert!(!queue.dead_letter_drop(&letters[1].id).await.unwrap());
    assert!(queue.dead_letters(None, 10).await.unwrap().is_empty());
    for id in [
        "",
        "-",
        "nonsense",
        "5",
        "5-",
        "1-1",
        "+",
        "99999999999999999999-0",
    ] {
        assert_eq!(queue.dead_letter_get(id).await.unwrap(), None, "{id}");
        assert_eq!(queue.dead_letter_retry(id).await.unwrap(), None, "{id}");
        assert!(!queue.dead_letter_drop(id).await.unwrap(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_move_and_retry_once() {
    let server = redis();
    let proxy = Proxy::start(&server).await;
    let options = RedisOptions {
        watch_interval_ms: 3_600_000,
        ..RedisOptions::default()
    };
    let queue = RedisQueue::open(&proxy.url(), options, 1).await.unwrap();
    let sequence = append(&queue, b"bad").await.unwrap();
    proxy.lose_answers(2);
    bury(&queue, sequence, b"bad").await;
    assert_eq!(proxy.to_lose(), 0);
    let letters = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    proxy.lose_answers(2);
    let retried = queue
        .dead_letter_retry(&letters[0].id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(proxy.to_lose(), 0);
    assert_eq!(
        read_all(&queue, 0, Sequence(0)).await,
        [(retried, b"bad".to_vec())]
    );
    assert!(queue.dead_letters(None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_redis_lost_becomes_a_dead_letter_all_the_same() {
    let server = redis();
    let queue = open_redis(&server, RedisOptions::default()).await;
    let sequence = append(&queue, b"bad").await.unwrap();
    command(&server, "FLUSHALL").await;
    assert!(bury(&queue, sequence, b"bad").await);
    assert_eq!(queue.dead_letters(None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_have_a_bound_beyond_which_entries_stay_where_they_are() {
    let server = redis();
    let options = RedisOptions {
        dead_letters_max: 1,
        ..RedisOptions::default()
    };
    let queue = open_redis(&server, options).await;
    let first = append(&queue, b"bad").await.unwrap();
    let second = append(&queue, b"worse").await.unwrap();
    assert!(bury(&queue, first, b"bad").await);
    let refused = queue.dead_letter(0, second, b"worse", "", "").await;
    assert!(
        matches!(
            refused,
            Err(Error::Full(FullReason::DeadLetters { limit: 1 }))
        ),
        "{refused:?}"
    );
    assert_eq!(
        read_all(&queue, 0, Sequence(0)).await,
        [(second, b"worse".to_vec())]
    );
    queue.check().await.unwrap();
    assert_eq!(queue.status().redis.unwrap().dead_letters, 1);
}
