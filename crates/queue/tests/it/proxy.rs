//! A way to Redis that loses answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use logmill_test_services::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Hands bytes to and fro. On demand it closes a connection in place of handing the next answer on: Redis has done what it
/// was asked, and its client does not know.
pub(crate) struct Proxy {
    port: u16,
    to_lose: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to_lose = Arc::new(AtomicUsize::new(0));
        let (target, losing) = (server.port(), to_lose.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(redis) = TcpStream::connect(("127.0.0.1", target)).await else {
                    continue;
                };
                tokio::spawn(hand_on(client, redis, losing.clone()));
            }
        });
        Self { port, to_lose }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Loses the next answer of calls, `times` times. Answers to the greeting of new connections are handed on.
    pub(crate) fn lose_answers(&self, times: usize) {
        self.to_lose.store(times, Ordering::SeqCst);
    }

    /// Answers that are still to be lost.
    pub(crate) fn to_lose(&self) -> usize {
        self.to_lose.load(Ordering::SeqCst)
    }
}

async fn hand_on(client: TcpStream, redis: TcpStream, to_lose: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_redis, mut to_redis) = redis.into_split();
    let is_call = Arc::new(AtomicUsize::new(0));
    let asked = is_call.clone();
    let questions = tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(bytes @ 1..) = from_client.read(&mut buffer).await {
            let call = [&b"EVALSHA"[..], b"XDEL"];
            if call.iter().any(|call| {
                buffer[..bytes]
                    .windows(call.len())
                    .any(|part| part == *call)
            }) {
                asked.store(1, Ordering::SeqCst);
            }
            if to_redis.write_all(&buffer[..bytes]).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(bytes @ 1..) = from_redis.read(&mut buffer).await {
        let losing = is_call.load(Ordering::SeqCst) == 1
            && to_lose
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        if losing || to_client.write_all(&buffer[..bytes]).await.is_err() {
            break;
        }
    }
    questions.abort();
}
