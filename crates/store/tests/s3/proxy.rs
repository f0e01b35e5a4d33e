//! A network between client and server that fails when it is told to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The request arrives later.
    Delay(Duration),
    /// The connection breaks while the request is sent.
    Reset,
    /// The server says that it is overloaded.
    Unavailable,
    /// No answer ever comes.
    Hang,
    /// The server does what it was asked for, and the connection breaks before the answer.
    LoseAnswer,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    method: &'static str,
    times: usize,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    plan: Arc<Mutex<Plan>>,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let plan = Arc::<Mutex<Plan>>::default();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (planned, seen) = (plan.clone(), requests.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (upstream, planned, seen) = (upstream.clone(), planned.clone(), seen.clone());
                tokio::spawn(async move {
                    // What breaks here is the client's to see.
                    let _ = pass(client, &upstream, &planned, &seen).await;
                });
            }
        });
        Self {
            address,
            plan,
            requests,
            accepting,
        }
    }

    /// The next `times` requests of a method fail.
    pub(crate) fn fail(&self, method: &'static str, times: usize, fault: Fault) {
        *self.plan.lock() = Plan {
            fault: Some(fault),
            method,
            times,
        };
    }

    pub(crate) fn heal(&self) {
        *self.plan.lock() = Plan::default();
    }

    /// The heads of the requests of a method since this was last called.
    pub(crate) fn requests(&self, method: &str) -> Vec<String> {
        let mut heads = std::mem::take(&mut *self.requests.lock());
        heads.retain(|head| head.starts_with(method));
        heads
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection has one request: moto closes it after the answer.
async fn pass(
    mut client: TcpStream,
    upstream: &str,
    plan: &Mutex<Plan>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().unwrap())
    });
    let request_bytes = head_end + length.unwrap_or(0);
    let fault = {
        let mut plan = plan.lock();
        let due = plan.times > 0 && head.starts_with(plan.method);
        plan.times -= usize::from(due);
        plan.fault.filter(|_| due)
    };
    seen.lock().push(head);
    match fault {
        Some(Fault::Reset) => return Ok(()),
        Some(Fault::Hang) => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return Ok(());
        }
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    while bytes.len() < request_bytes {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    if let Some(Fault::Unavailable) = fault {
        let body = "<Error><Code>SlowDown</Code></Error>";
        let answer = format!(
            "HTTP/1.1 503 Slow Down\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&bytes).await?;
    if let Some(Fault::LoseAnswer) = fault {
        let mut answer = Vec::new();
        server.read_buf(&mut answer).await?;
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        return Ok(());
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
