//! Which Redis will do, and replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_model::ErrorKind;
use logmill_queue::{
    Appended, Durability, Entry, Error, Queue, ReadLimits, RedisOptions, RedisQueue, Sequence,
};
use logmill_test_services::{RedisServer, RedisServerOptions};

use crate::harness::{
    append, command, eventually, nothing, open_redis, quick_options, redis, request,
};

async fn open(server: &RedisServer, durability: Durability) -> Result<RedisQueue, Error> {
    let options = RedisOptions {
        durability,
        ..quick_options()
    };
    RedisQueue::open(&server.url(), options, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_less_durable_than_demanded_is_refused() {
    let server = RedisServer::start(RedisServerOptions {
        append_fsync: Some("everysec"),
        ..RedisServerOptions::default()
    });
    let refused = open(&server, Durability::Always).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Unfit(reason) if reason.contains("appendfsync always")),
        "{refused}"
    );
    let queue = open(&server, Durability::Everysec).await.unwrap();
    let status = queue.status().redis.unwrap();
    assert_eq!(status.durability, Some(Durability::Everysec));
    assert_eq!(status.durability_demanded, Durability::Everysec);
    assert!(
        status
            .version
            .starts_with(|first: char| first.is_ascii_digit()),
        "{status:?}"
    );

    // It is seen, too, when it becomes so later: nothing is acknowledged any more.
    append(&queue, b"x").await.unwrap();
    command(&server, "CONFIG SET appendonly no").await;
    assert!(queue.check().await.is_err());
    let refused = append(&queue, b"x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(queue.status().failure.unwrap().contains("appendonly no"));
    command(&server, "CONFIG SET appendonly yes").await;
    queue.check().await.unwrap();
    append(&queue, b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_refused() {
    let server = RedisServer::start(RedisServerOptions {
        memory_max_bytes: 50 << 20,
        memory_policy: "allkeys-lru",
        ..RedisServerOptions::default()
    });
    let refused = open(&server, Durability::Always).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("allkeys-lru"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_keeps_its_configuration_to_itself_takes_a_setting() {
    let server = RedisServer::start(RedisServerOptions {
        directives: vec![("rename-command".to_owned(), "CONFIG NOTHING".to_owned())],
        ..RedisServerOptions::default()
    });
    let refused = open(&server, Durability::Always).await.unwrap_err();
    assert!(
        refused.to_string().contains("queue.durability_check"),
        "{refused}"
    );
    let options = RedisOptions {
        durability_check: false,
        ..quick_options()
    };
    let queue = open_redis(&server, options).await;
    append(&queue, b"x").await.unwrap();
    assert_eq!(queue.status().redis.unwrap().durability, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redis_and_a_wrong_password_are_errors_at_once_or_soon() {
    let mut server = RedisServer::start(RedisServerOptions {
        directives: vec![("requirepass".to_owned(), "secret".to_owned())],
        ..RedisServerOptions::default()
    });
    let begun = Instant::now();
    let refused = open(&server, Durability::Always).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    let url = server.url().replace("127", ":wrong@127");
    let refused = RedisQueue::open(&url, RedisOptions::default(), 1)
        .await
        .unwrap_err();
    assert!(
        !format!("{refused} {refused:?}").contains("wrong@"),
        "{refused}"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "not tried again: {:?}",
        begun.elapsed()
    );
    let url = server.url().replace("127", ":secret@127");
    let queue = RedisQueue::open(&url, quick_options(), 1).await.unwrap();
    assert!(!format!("{queue:?}").contains("secret"));
    append(&queue, b"x").await.unwrap();
    server.kill();
    let begun = Instant::now();
    let refused = append(&queue, b"x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(
        begun.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        begun.elapsed()
    );
    let nonsense = RedisQueue::open("http://x", RedisOptions::default(), 1).await;
    assert!(matches!(nonsense, Err(Error::Settings(_))), "{nonsense:?}");
}

fn replica_of(server: &RedisServer) -> RedisServer {
    let master = format!("127.0.0.1 {}", server.port());
    RedisServer::start(RedisServerOptions {
        directives: vec![("replicaof".to_owned(), master)],
        ..RedisServerOptions::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_waited_for_and_an_entry_they_did_not_confirm_is_not_doubled() {
    let server = RedisServer::start(RedisServerOptions {
        directives: vec![("repl-diskless-sync-delay".to_owned(), "0".to_owned())],
        ..RedisServerOptions::default()
    });
    let replica = replica_of(&server);
    let queue_options = || RedisOptions {
        wait_replicas: 1,
        watch_interval_ms: 50,
        ..quick_options()
    };
    let queue = Arc::new(open_redis(&server, queue_options()).await);
    let connected = async || {
        append(queue.as_ref(), b"x").await.is_ok() && queue.status().redis.unwrap().replicas == 1
    };
    eventually("the replica is connected", connected).await;
    let before = queue.length(0).await.unwrap();
    replica.pause();
    let entry = || Entry {
        partition: 0,
        payload: b"waits".to_vec(),
        request: request("key", 1),
        trace: None,
    };
    let begun = Instant::now();
    let error = queue.append(entry(), nothing()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooFewReplicas {
                confirmed: 0,
                wanted: 1
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // Over a connection that has written nothing yet, WAIT would be content at once.
    let other = open_redis(&server, queue_options()).await;
    let error = other.append(entry(), nothing()).await.unwrap_err();
    assert!(matches!(error, Error::TooFewReplicas { .. }), "{error:?}");
    // Those who wait at once wait together.
    let tasks: Vec<_> = (0..20_u8)
        .map(|n| {
            let queue = queue.clone();
            tokio::spawn(async move { append(queue.as_ref(), &[n]).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    replica.resume();
    let again = async || {
        matches!(
            queue.append(entry(), nothing()).await,
            Ok(Appended::Replayed(_))
        )
    };
    eventually("the same request is answered", again).await;
    assert_eq!(queue.length(0).await.unwrap(), before + 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_nothing() {
    let server = redis();
    let replica = replica_of(&server);
    eventually("it is a replica", async || {
        let role = command(&replica, "ROLE").await;
        format!("{role:?}").contains("connected")
    })
    .await;
    let queue = open_redis(&replica, quick_options()).await;
    assert!(queue.status().failure.unwrap().contains("replica"));
    let refused = append(&queue, b"x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(
        refused.to_string().to_lowercase().contains("read"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_those_whose_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join(name), folder.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    };
    let (stranger, _) = certificate("stranger.pem");
    let (trusted, key) = certificate("trusted.pem");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _server = RedisServer::start(RedisServerOptions {
        directives: [
            ("tls-port", port.to_string()),
            ("tls-cert-file", trusted.display().to_string()),
            ("tls-key-file", key.display().to_string()),
            ("tls-auth-clients", "no".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec(),
        ..RedisServerOptions::default()
    });
    let url = format!("rediss://127.0.0.1:{port}");
    let open = async |ca_file| {
        let options = RedisOptions {
            ca_file,
            ..RedisOptions::default()
        };
        RedisQueue::open(&url, options, 1).await
    };
    let queue = open(Some(trusted)).await.unwrap();
    append(&queue, b"x").await.unwrap();
    assert_eq!(
        queue
            .reader()
            .read(0, Sequence(0), ReadLimits::default(), Duration::ZERO)
            .await
            .unwrap()
            .len(),
        1
    );
    for ca_file in [None, Some(stranger)] {
        let begun = Instant::now();
        let refused = open(ca_file).await.unwrap_err();
        assert!(refused.to_string().contains("certificate"), "{refused}");
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "not tried again: {:?}",
            begun.elapsed()
        );
    }
    let missing = open(Some(folder.path().join("missing.pem")))
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, Error::Settings(reason) if reason.contains("missing.pem")),
        "{missing}"
    );
}
