//! A small HTTP client: keep-alive, timeouts, and retries of what may be tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rand::Rng;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

/// Where the server is, and whose records are meant.
#[derive(Clone, Debug, Args)]
pub struct ServerArguments {
    /// The server.
    #[arg(
        long,
        env = "LOGMILL_URL",
        default_value = "http://127.0.0.1:7280",
        global = true
    )]
    pub(crate) url: Url,
    /// The tenant; the server's default one without it.
    #[arg(long, env = "LOGMILL_TENANT", global = true)]
    pub(crate) tenant: Option<String>,
    /// An API key, or a token; better given in the environment, where others do not see it.
    #[arg(long, env = "LOGMILL_API_KEY", global = true, hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// PEM file of the certificates that vouch for an https server, instead of the system's.
    #[arg(long, env = "LOGMILL_CA_CERTIFICATE", global = true)]
    pub(crate) ca_certificate: Option<PathBuf>,
}

impl ServerArguments {
    /// Whether there is a key to show to a server.
    pub fn has_key(&self) -> bool {
        self.api_key.is_some()
    }

    /// The tenant, for a command to which it is something else than whose request it is.
    pub fn take_tenant(&mut self) -> Option<String> {
        self.tenant.take()
    }
}

/// Longest time of one request: longer than the server lets a query run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Time to establish a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is held in memory.
const ANSWER_MAX_BYTES: usize = 1 << 30;
/// Pauses between tries: doubled from the first to the last, with jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Url,
    /// Of every request.
    headers: HeaderMap,
}

/// An answer that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request that can be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpClient {
    pub(crate) fn new(arguments: &ServerArguments) -> anyhow::Result<Self> {
        let url = arguments.url.clone();
        if !matches!(url.scheme(), "http" | "https") {
            bail!("{url}: only http:// and https:// URLs are supported");
        }
        if url.host_str().is_none() {
            bail!("{url}: the URL has no host");
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&url, arguments.ca_certificate.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build::<_, Full<Bytes>>(connector);
        let mut headers = HeaderMap::new();
        if let Some(tenant) = &arguments.tenant {
            let value = tenant
                .parse()
                .with_context(|| format!("--tenant {tenant:?}"))?;
            headers.insert("x-tenant-id", value);
        }
        if let Some(key) = &arguments.api_key {
            let value = format!("Bearer {}", key.trim());
            let mut value = HeaderValue::from_str(&value).context("--api-key")?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self {
            client,
            url,
            headers,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request, and returns the answer with its body still to come.
    pub(crate) async fn send(
        &self,
        outgoing: &Outgoing,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let base = self.url.as_str().trim_end_matches('/');
        let mut request = Request::builder()
            .method(outgoing.method.clone())
            .uri(format!("{base}{}", outgoing.path))
            .body(Full::new(outgoing.body.clone()))
            .context("building a request")?;
        *request.headers_mut() = outgoing.headers.clone();
        let own = self.headers.iter();
        request
            .headers_mut()
            .extend(own.map(|(name, value)| (name.clone(), value.clone())));
        let sent = tokio::time::timeout(REQUEST_TIMEOUT, self.client.request(request)).await;
        match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => bail!(
                "cannot reach {}: {}; is the server running?",
                self.url,
                root_cause(&error)
            ),
            Err(_elapsed) => bail!("{} did not answer within {REQUEST_TIMEOUT:?}", self.url),
        }
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn call(&self, outgoing: &Outgoing) -> anyhow::Result<Answer> {
        let response = self.send(outgoing).await?;
        let (parts, body) = response.into_parts();
        let read = tokio::time::timeout(
            REQUEST_TIMEOUT,
            Limited::new(body, ANSWER_MAX_BYTES).collect(),
        );
        let body = match read.await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) => bail!("the answer of {} broke off: {error}", self.url),
            Err(_elapsed) => bail!(
                "the answer of {} took longer than {REQUEST_TIMEOUT:?}",
                self.url
            ),
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// Sends a request until it is answered with something final, or `patience` is over. Connection errors, 429 and 503
    /// are tried again; `Retry-After` is respected.
    pub(crate) async fn call_patiently(
        &self,
        outgoing: &Outgoing,
        patience: Duration,
        on_retry: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        let mut pause = BACKOFF.0;
        loop {
            let outcome = self.call(outgoing).await;
            let retry_after = match &outcome {
                Ok(answer) if !is_retryable(answer.status) => return outcome,
                Ok(answer) => answer.retry_after(),
                Err(_) => None,
            };
            if begun.elapsed() + pause > patience {
                return outcome;
            }
            let reason = match &outcome {
                Ok(answer) => answer.error().to_string(),
                Err(error) => error.to_string(),
            };
            on_retry(&reason);
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.5));
            let left = patience.saturating_sub(begun.elapsed());
            tokio::time::sleep(retry_after.unwrap_or(jittered).max(jittered).min(left)).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }
}

/// Whom to believe that a server is who it says.
fn tls(url: &Url, ca_certificate: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match ca_certificate {
        Some(path) => {
            let problem = || format!("--ca-certificate {}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).with_context(problem)? {
                roots.add(certificate.with_context(problem)?)?;
            }
            if roots.is_empty() {
                bail!("{}: there is no certificate in it", problem());
            }
            builder.with_root_certificates(roots)
        }
        None if url.scheme() == "https" => builder
            .with_native_roots()
            .context("reading the system's certificates")?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

/// Whether the same request may succeed later.
pub(crate) fn is_retryable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

impl Outgoing {
    pub(crate) fn post(path: &str, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static(content_type),
        );
        Self {
            method: Method::POST,
            path: path.to_owned(),
            headers,
            body: body.into(),
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::bare(Method::GET, path)
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self::bare(Method::DELETE, path)
    }

    fn bare(method: Method, path: &str) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self {
            method,
            path: path.to_owned(),
            headers,
            body,
        }
    }
}

impl Answer {
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self
            .headers
            .get(header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .parse()
            .ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The answer as an error of the server's.
    pub(crate) fn error(&self) -> anyhow::Error {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let error = &body["error"];
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => anyhow::anyhow!("{message} ({code})"),
            _ => anyhow::anyhow!("the server answered {}", self.status),
        }
    }

    /// The answer, or its error.
    pub(crate) fn success(self) -> anyhow::Result<Self> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.error())
        }
    }
}

/// The innermost reason, which is what a person can act on.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
