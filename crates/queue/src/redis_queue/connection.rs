//! One connection to Redis that is made anew when it is lost, and what is tried again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use logmill_retry::{RetryPolicy, Transient};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, Value,
};

use super::RedisOptions;
use super::scripts::Script;
use crate::{Error, FullReason, Result};

/// Bytes that the connection gathers before it writes to its socket.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

/// A connection that many calls share, and the way to a new one.
pub(crate) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    retry: RetryPolicy,
    scripts: &'static [Script],
    slot: tokio::sync::Mutex<Slot>,
    /// Connections that could not be made so far.
    failures: AtomicU64,
    /// Connections made so far.
    connections: AtomicU64,
    /// The scripts' hashes, known from the first connection on.
    hashes: OnceLock<Vec<String>>,
}

/// The connection that there is, and why there was none the last time.
#[derive(Default)]
struct Slot {
    live: Option<Live>,
    failure: Option<RedisError>,
}

/// A connection that worked when it was last used.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    /// Tells it from the ones before.
    pub(crate) number: u64,
}

impl Link {
    /// A link for short calls and scripts, which connects when it is first used.
    pub(crate) fn for_calls(client: Client, options: &RedisOptions) -> Self {
        let response_timeout = Duration::from_millis(options.response_timeout_ms);
        Self::new(client, options, Some(response_timeout), &Script::ALL)
    }

    /// A link for calls that wait in Redis and have timeouts of their own.
    pub(crate) fn for_waiting(client: Client, options: &RedisOptions) -> Self {
        Self::new(client, options, None, &[])
    }

    fn new(
        client: Client,
        options: &RedisOptions,
        response_timeout: Option<Duration>,
        scripts: &'static [Script],
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(options.connect_timeout_ms)))
            .set_response_timeout(response_timeout)
            .set_write_backpressure_boundary(WRITE_BUFFER_BYTES);
        Self {
            client,
            config,
            retry: options.retry,
            scripts,
            slot: tokio::sync::Mutex::default(),
            failures: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            hashes: OnceLock::new(),
        }
    }

    /// Calls Redis, again when it fails and can be tried again. `call` must be safe to repeat.
    pub(crate) async fn call<T, Running>(
        &self,
        operation: &'static str,
        call: impl Fn(Live) -> Running,
    ) -> Result<T>
    where
        Running: Future<Output = RedisResult<T>>,
    {
        self.call_within(&self.retry, operation, call).await
    }

    /// Calls Redis as often as `retry` allows.
    pub(crate) async fn call_within<T, Running>(
        &self,
        retry: &RetryPolicy,
        operation: &'static str,
        call: impl Fn(Live) -> Running,
    ) -> Result<T>
    where
        Running: Future<Output = RedisResult<T>>,
    {
        let called = retry.run("redis", transient, || self.once(&call));
        called.await.map_err(|source| failed(operation, source))
    }

    /// Calls Redis, once.
    pub(crate) async fn once<T, Running>(&self, call: impl Fn(Live) -> Running) -> RedisResult<T>
    where
        Running: Future<Output = RedisResult<T>>,
    {
        let live = self.live().await?;
        let number = live.number;
        let outcome = call(live).await;
        if let Err(error) = &outcome
            && breaks_connection(error)
        {
            self.discard(number).await;
        }
        outcome
    }

    /// Lets go of the connection, if it is still this one; the next call makes a new one.
    pub(crate) async fn discard(&self, number: u64) {
        let live = &mut self.slot.lock().await.live;
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }

    /// Lets go of whatever connection there is.
    pub(crate) fn discard_any(&mut self) {
        self.slot.get_mut().live = None;
    }

    /// The connection, a new one if there is none. Whoever comes while one is being made shares its outcome: were each to try
    /// in turn, the last of many would wait as many timeouts.
    async fn live(&self) -> RedisResult<Live> {
        let failures = self.failures.load(Ordering::SeqCst);
        let mut slot = self.slot.lock().await;
        if let Some(live) = &slot.live {
            return Ok(live.clone());
        }
        if let Some(failure) = &slot.failure
            && self.failures.load(Ordering::SeqCst) > failures
        {
            return Err(failure.clone());
        }
        match self.connect().await {
            Ok(live) => {
                slot.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                slot.failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<Live> {
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config);
        let mut connection = connecting.await?;
        let mut hashes = Vec::with_capacity(self.scripts.len());
        for script in self.scripts {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script.text());
            let loading = load.query_async::<String>(&mut connection);
            hashes.push(loading.await?);
        }
        // A hash is made of the text alone, so every server gives the same.
        let _ = self.hashes.set(hashes);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Live { connection, number })
    }

    /// A call of a script: the command up to its keys. A server that forgot the script (`NOSCRIPT`) gets it with the next connection.
    pub(crate) fn script(&self, script: Script, keys: &[&str]) -> redis::Cmd {
        let hashes = self.hashes.get();
        let hashes = hashes.expect("a queue connects when it is opened, before it runs scripts");
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(&hashes[script as usize])
            .arg(keys.len())
            .arg(keys);
        command
    }

    /// Sends a command, again when that may help.
    pub(crate) async fn command(
        &self,
        operation: &'static str,
        command: &redis::Cmd,
    ) -> Result<Value> {
        let call = |mut live: Live| async move {
            live.connection
                .send_packed_command(command)
                .await?
                .extract_error()
        };
        self.call(operation, call).await
    }
}

/// Makes the client. `rediss://` takes rustls, with the system's certificates or those of `ca_file`.
pub(crate) fn client(url: &str, options: &RedisOptions) -> Result<Client> {
    let unusable = |error: RedisError| Error::Settings(format!("the address of Redis: {error}"));
    let Some(ca_file) = &options.ca_file else {
        return Client::open(url).map_err(unusable);
    };
    let root_cert = std::fs::read(ca_file)
        .map_err(|error| Error::Settings(format!("ca_file {}: {error}", ca_file.display())))?;
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    };
    Client::build_with_tls(url, certificates).map_err(unusable)
}

/// What an error of Redis means to the queue's callers.
pub(crate) fn failed(operation: &'static str, source: RedisError) -> Error {
    if source.code() == Some("OOM") {
        return Error::Full(FullReason::OutOfMemory);
    }
    Error::Redis { operation, source }
}

/// Whether another try may help, and what kind of error it is.
pub(crate) fn transient(error: &RedisError) -> Option<Transient> {
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::BusyLoading => Some(Transient::slow("loading")),
            ServerErrorKind::ClusterDown => Some(Transient::slow("cluster_down")),
            ServerErrorKind::MasterDown => Some(Transient::slow("master_down")),
            ServerErrorKind::ReadOnly => Some(Transient::slow("read_only")),
            ServerErrorKind::TryAgain => Some(Transient::quick("try_again")),
            ServerErrorKind::NoScript => Some(Transient::quick("no_script")),
            _ => None,
        },
        ErrorKind::Extension => match error.code() {
            Some("BUSY") => Some(Transient::slow("busy")),
            Some("MISCONF") => Some(Transient::slow("disk")),
            Some("NOREPLICAS") => Some(Transient::slow("no_replicas")),
            Some("UNBLOCKED") => Some(Transient::quick("unblocked")),
            _ => None,
        },
        _ if error.is_timeout() => Some(Transient::quick("timeout")),
        // A certificate that is not trusted will not be a moment later.
        _ if io_kind(error) == Some(io::ErrorKind::InvalidData) => None,
        _ if error.is_connection_refusal() => Some(Transient::slow("connection_refused")),
        _ if error.is_io_error() || error.is_connection_dropped() => {
            Some(Transient::quick("connection_lost"))
        }
        _ => None,
    }
}

/// The kind of the system's error behind one of the client's.
fn io_kind(error: &RedisError) -> Option<io::ErrorKind> {
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let source = std::error::Error::source(error)?;
    let source = source.downcast_ref::<Shared>()?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

/// Whether the next call needs a new connection: this one is lost or stuck, leads to a server that is no primary any more, or
/// to one that has forgotten the scripts.
fn breaks_connection(error: &RedisError) -> bool {
    let elsewhere = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::NoScript
        ) | ErrorKind::Parse
    );
    elsewhere || error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_class_and_what_cannot_succeed_has_none() {
        let server =
            |code: &str| redis::make_extension_error(code.to_owned(), Some("detail".to_owned()));
        let class = |code| transient(&server(code)).map(|transient| transient.class);
        assert_eq!(class("BUSY"), Some("busy"));
        assert_eq!(class("MISCONF"), Some("disk"));
        assert_eq!(class("NOREPLICAS"), Some("no_replicas"));
        assert_eq!(class("WRONGTYPE"), None);
        assert_eq!(class("OOM"), None);
        assert!(matches!(
            failed("appending", server("OOM")),
            Error::Full(FullReason::OutOfMemory)
        ));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
        assert_eq!(
            transient(&refused).map(|t| t.class),
            Some("connection_refused")
        );
        let wrong = RedisError::from((ErrorKind::AuthenticationFailed, "no"));
        assert!(transient(&wrong).is_none() && !breaks_connection(&wrong));
        let lost = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        assert!(breaks_connection(&lost));
        assert_eq!(transient(&lost).map(|t| t.class), Some("connection_lost"));
    }
}
