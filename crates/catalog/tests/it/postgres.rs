//! What only a server can do: go away, hang, be slow, have other people in it.

use std::time::{Duration, Instant};

use logmill_catalog::{Catalog, Error, FlushCommit, PostgresCatalog, PostgresOptions};
use logmill_model::ErrorKind;
use logmill_test_services::{PostgresServer, PostgresServerOptions};

use crate::site::{commit, segment};

/// Short enough for a test to wait for all of them.
fn impatient() -> PostgresOptions {
    PostgresOptions {
        connections_max: 2,
        acquire_timeout_ms: 1_000,
        statement_timeout_ms: 1_000,
        transaction_idle_timeout_ms: 1_000,
    }
}

/// The longest that a call may take: waiting for a connection, for the statement, and its grace.
const BOUND: Duration = Duration::from_millis(1_000 + 1_000 + 2_000);

async fn connect(url: &str) -> PostgresCatalog {
    PostgresCatalog::connect(url, &impatient()).await.unwrap()
}

/// Repeats a call until it works, as its callers do; the kind of failure must be one that passes.
async fn recovered(catalog: &PostgresCatalog) {
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = catalog.ping().await {
        assert!(error.is_retryable(), "{error}");
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_died_is_unavailable_and_comes_back_with_all_it_acknowledged() {
    let server = PostgresServer::start();
    let catalog = connect(&server.database()).await;
    catalog
        .commit_flush(commit(0, 5, vec![segment("01A", "acme")], vec![]))
        .await
        .unwrap();
    server.kill();
    for _ in 0..3 {
        let error = catalog.segments().await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
    }
    server.restart();
    recovered(&catalog).await;
    assert_eq!(catalog.segments().await.unwrap().len(), 1);
    assert_eq!(catalog.watermark("local").await.unwrap(), 5);
}

/// Commits go on while the server is killed: each that succeeded is there, each that failed is or is not, whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_whole_or_not_there_however_the_server_dies() {
    let server = PostgresServer::start();
    let url = server.database();
    let catalog = connect(&url).await;
    let writer = tokio::spawn({
        let catalog = connect(&url).await;
        async move {
            let mut at = 0;
            loop {
                let name = format!("{at:08}");
                let flush = commit(at, at + 1, vec![segment(&name, "acme")], vec![]);
                match catalog.commit_flush(flush).await {
                    Ok(()) => at += 1,
                    Err(error) => return (at, error),
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    server.kill();
    let (acknowledged, error) = writer.await.unwrap();
    assert!(acknowledged > 0);
    assert!(error.is_retryable(), "{error:?}");
    server.restart();
    recovered(&catalog).await;
    let watermark = catalog.watermark("local").await.unwrap();
    assert!((acknowledged..=acknowledged + 1).contains(&watermark));
    let segments = catalog.segments().await.unwrap();
    assert_eq!(segments.len() as u64, watermark);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_in_time() {
    let server = PostgresServer::start();
    let catalog = connect(&server.database()).await;
    server.pause();
    // More than there are connections: none may be lost to those who gave up.
    for _ in 0..3 {
        let begun = Instant::now();
        let error = catalog.version().await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        assert!(begun.elapsed() < BOUND + Duration::from_secs(1));
    }
    server.resume();
    recovered(&catalog).await;
    for _ in 0..4 {
        catalog.version().await.unwrap();
    }
}

/// A process that is stopped in the middle of a commit has the lock that all others need.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_in_a_transaction_does_not_stop_the_others() {
    let server = PostgresServer::start();
    let url = server.database();
    let catalog = connect(&url).await;
    let hanging = sqlx::PgPool::connect(&url).await.unwrap();
    let mut hanging = hanging.begin().await.unwrap();
    // What the catalog sets for its own connections.
    sqlx::raw_sql("SET LOCAL idle_in_transaction_session_timeout = 1000; UPDATE catalog_state SET version = version + 1")
        .execute(&mut *hanging)
        .await
        .unwrap();
    let flush = || commit(0, 5, vec![segment("01A", "acme")], vec![]);
    let mut tries = 0;
    while let Err(error) = catalog.commit_flush(flush()).await {
        assert!(error.is_retryable(), "{error:?}");
        tries += 1;
        assert!(tries < 5, "{error:?}");
    }
    // Readers never waited, and the one that hung has lost.
    assert!(
        sqlx::query("SELECT 1")
            .execute(&mut *hanging)
            .await
            .is_err()
    );
    let settings = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'logmill'";
    let connections: u32 = server.sql(&url, settings).parse().unwrap();
    assert!((1..=2).contains(&connections), "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_given_up_is_an_error_in_time() {
    let server = PostgresServer::shared();
    let url = server.database();
    let catalog = connect(&url).await;
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    let mut other = other.begin().await.unwrap();
    sqlx::query("UPDATE catalog_state SET version = version")
        .execute(&mut *other)
        .await
        .unwrap();
    let begun = Instant::now();
    let flush = commit(0, 5, vec![segment("01A", "acme")], vec![]);
    let error = catalog.commit_flush(flush.clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(begun.elapsed() < BOUND);
    assert!(catalog.segments().await.unwrap().is_empty());
    other.rollback().await.unwrap();
    catalog.commit_flush(flush).await.unwrap();
}

/// Between the look at the lease and the commit nobody takes it over.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_not_taken_over_under_a_commit() {
    let url = PostgresServer::shared().database();
    let (old, new) = (connect(&url).await, connect(&url).await);
    for round in 0..20 {
        let partition = format!("{round}");
        let name = format!("partition/{partition}");
        old.lease(&name, "old", Duration::ZERO).await.unwrap();
        let flush = FlushCommit {
            partition: partition.clone(),
            epoch: Some(1),
            ..commit(0, 5, vec![segment(&format!("old-{round}"), "acme")], vec![])
        };
        // What a new holder does: take the lease, read the watermark, go on from there.
        let takeover = async {
            let lease = new.lease(&name, "new", Duration::from_secs(60));
            let epoch = lease.await.unwrap().unwrap().epoch;
            let from = new.watermark(&partition).await.unwrap();
            let flush = FlushCommit {
                partition: partition.clone(),
                epoch: Some(epoch),
                ..commit(
                    from,
                    9,
                    vec![segment(&format!("new-{round}"), "acme")],
                    vec![],
                )
            };
            (from, new.commit_flush(flush).await)
        };
        let (first, (from, second)) = tokio::join!(old.commit_flush(flush), takeover);
        second.unwrap();
        match first {
            Ok(()) => assert_eq!(from, 5),
            Err(error) => {
                assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
                assert_eq!(from, 0);
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_unavailable_and_what_cannot_be_understood_is_not() {
    let options = impatient();
    let refused = "postgres://logmill@127.0.0.1:1/logmill";
    let error = PostgresCatalog::connect(refused, &options).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    let secret = "postgres://logmill:secret@[/logmill";
    let error = PostgresCatalog::connect(secret, &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );
    let missing = PostgresServer::shared().url("missing");
    let error = PostgresCatalog::connect(&missing, &options).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_where_the_url_wants_it() {
    let plain = PostgresServer::shared().database();
    let refused = PostgresCatalog::connect(&format!("{plain}?sslmode=require"), &impatient()).await;
    assert!(refused.is_err(), "a server without TLS");

    let server = PostgresServer::start_with(PostgresServerOptions {
        tls: true,
        ..PostgresServerOptions::default()
    });
    let url = server.database();
    let catalog = connect(&format!("{url}?sslmode=require")).await;
    catalog.ping().await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'logmill'";
    assert_eq!(server.sql(&url, encrypted), "t");
    let verified = format!("{url}?sslmode=verify-full");
    let verified = PostgresCatalog::connect(&verified, &impatient()).await;
    assert!(verified.is_err(), "nobody vouches for its certificate");
}
