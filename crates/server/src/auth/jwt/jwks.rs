//! Keys of an identity provider (RFC 7517), from a file or a URL: read again now and then, and when a token names one
//! that is not there. While they cannot be read, those that were read last serve.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;

use super::{TokenError, VerifyingKey};
use crate::auth::options::{JwksSource, JwtOptions};

/// The longest JWKS.
const MAX_BYTES: usize = 1 << 20;
const MAX_KEYS: usize = 100;

type HttpsClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;
/// Keys by their `kid`; one without is called "".
type KeySet = HashMap<String, VerifyingKey>;

#[derive(Debug)]
pub(super) struct Jwks {
    source: Source,
    keys: RwLock<Option<Arc<KeySet>>>,
    /// When it was tried last; held while it is read, so that one reads at a time.
    tried: tokio::sync::Mutex<Option<Instant>>,
    refresh_interval: Duration,
    min_interval: Duration,
    timeout: Duration,
}

#[derive(Debug)]
enum Source {
    File(std::path::PathBuf),
    Url { url: Uri, client: Box<HttpsClient> },
}

impl Jwks {
    pub(super) fn new(options: &JwtOptions) -> Result<Self, String> {
        let source = match options.jwks_source()? {
            JwksSource::File(path) => Source::File(path),
            JwksSource::Url(url) => Source::Url {
                url,
                client: Box::new(client()?),
            },
        };
        Ok(Self {
            source,
            keys: RwLock::default(),
            tried: tokio::sync::Mutex::default(),
            refresh_interval: Duration::from_millis(options.jwks_refresh_ms),
            min_interval: Duration::from_millis(options.jwks_min_interval_ms),
            timeout: Duration::from_millis(options.jwks_timeout_ms),
        })
    }

    /// The key of this name; without one, the only key there is.
    pub(super) async fn key(&self, kid: Option<&str>) -> Result<VerifyingKey, TokenError> {
        if let Some(found) = self.find(kid) {
            return Ok(found);
        }
        self.read_if_older(self.min_interval).await;
        if self.keys.read().is_none() {
            return Err(TokenError::NoJwks);
        }
        self.find(kid).ok_or_else(|| match kid {
            Some(kid) => TokenError::UnknownKey(kid.chars().take(100).collect()),
            None => TokenError::NoKeyId,
        })
    }

    pub(super) async fn refresh(&self) {
        self.read_if_older(Duration::ZERO).await;
    }

    pub(super) async fn refresh_if_due(&self) {
        self.read_if_older(self.refresh_interval).await;
    }

    fn find(&self, kid: Option<&str>) -> Option<VerifyingKey> {
        let keys = self.keys.read().clone()?;
        match kid {
            Some(kid) => keys.get(kid).cloned(),
            None if keys.len() == 1 => keys.values().next().cloned(),
            None => None,
        }
    }

    /// Reads the keys, unless that was tried within `age`.
    async fn read_if_older(&self, age: Duration) {
        let mut tried = self.tried.lock().await;
        if tried.is_some_and(|tried| tried.elapsed() < age) {
            return;
        }
        let read = tokio::time::timeout(self.timeout, self.read()).await;
        let keys = read
            .unwrap_or_else(|_elapsed| Err("it did not come in time".to_owned()))
            .and_then(|bytes| parse(&bytes));
        *tried = Some(Instant::now());
        match keys {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the JWKS was read");
                *self.keys.write() = Some(Arc::new(keys));
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "the JWKS cannot be read; the keys that were read last serve"
                );
            }
        }
    }

    async fn read(&self) -> Result<Vec<u8>, String> {
        match &self.source {
            Source::File(path) => {
                let read = tokio::fs::read(path).await;
                read.map_err(|error| format!("{}: {error}", path.display()))
            }
            Source::Url { url, client } => {
                let request = Request::get(url.clone())
                    .header("accept", "application/json")
                    .body(Empty::new())
                    .map_err(|error| error.to_string())?;
                let answer = client.request(request).await;
                let answer = answer.map_err(|error| format!("{url}: {error:?}"))?;
                if !answer.status().is_success() {
                    return Err(format!("{url}: {}", answer.status()));
                }
                let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
                let body = body.map_err(|error| format!("{url}: {error}"))?;
                Ok(body.to_bytes().to_vec())
            }
        }
    }
}

fn client() -> Result<HttpsClient, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("reading the system's certificates: {error}"))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector))
}

/// A set as it is sent. Keys of kinds that are not known must not spoil the others.
#[derive(Deserialize)]
struct Sent {
    keys: Vec<Value>,
}

/// The keys that signatures can be checked with.
fn parse(bytes: &[u8]) -> Result<KeySet, String> {
    let sent: Sent = serde_json::from_slice(bytes).map_err(|error| format!("no JWKS: {error}"))?;
    if sent.keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let mut keys = KeySet::new();
    for value in sent.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            continue;
        };
        if let Some(key) = verifying_key(&jwk) {
            keys.insert(jwk.common.key_id.unwrap_or_default(), key);
        }
    }
    if keys.is_empty() {
        return Err("no key of it is for RS256 or ES256".to_owned());
    }
    Ok(keys)
}

/// The key with the algorithm of its kind; none for a key that is for something else. A symmetric key is never taken:
/// what is published is no secret.
fn verifying_key(jwk: &Jwk) -> Option<VerifyingKey> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let fits = common.key_algorithm.is_none_or(|found| found == named)
        && matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let key = DecodingKey::from_jwk(jwk).ok()?;
    fits.then_some(VerifyingKey { key, algorithm })
}
