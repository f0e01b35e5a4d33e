//! An identity provider that publishes what it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An identity provider: answers every request with what it is told to, and counts them.
pub(super) struct Provider {
    pub(super) url: String,
    answer: Arc<Mutex<Option<Value>>>,
    pub(super) asked: Arc<AtomicU64>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::<Mutex<Option<Value>>>::default(), Arc::default());
        let provider = Self {
            url,
            answer: answer.clone(),
            asked: Arc::clone(&asked),
        };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = match &*answer.lock() {
                    Some(body) => {
                        let body = body.to_string();
                        format!(
                            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        )
                    }
                    None => "HTTP/1.1 503 Down\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                        .to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        provider
    }

    pub(super) fn publish(&self, keys: Option<Vec<Value>>) {
        *self.answer.lock() = keys.map(|keys| json!({ "keys": keys }));
    }
}
