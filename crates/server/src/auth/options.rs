//! Settings of who is asked for credentials, and which ones are good.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthOptions {
    /// Whether credentials are asked for.
    pub mode: AuthMode,
    /// Whether `/metrics` is answered without them.
    pub open_metrics: bool,
    /// How long what the catalog said of a key or tenant is believed: a revocation takes effect within it.
    pub cache_ttl_ms: u64,
    /// Keys and tenants that are remembered, each.
    pub cache_max_entries: u64,
    /// While the catalog does not answer, keys that were good go on for so long.
    pub outage_grace_ms: u64,
    /// Failed attempts of one address in a row before it is told to wait.
    pub failures_burst: u64,
    /// Failed attempts of one address a minute, in the long run.
    pub failures_per_minute: u64,
    /// Addresses whose failures are counted one by one.
    pub failures_max_addresses: u64,
    /// How often the last use of keys is written to the catalog.
    pub last_used_interval_ms: u64,
    /// Entries of the audit log that are older are forgotten.
    pub audit_max_age_ms: u64,
    /// The oldest entries of the audit log are forgotten while there are more.
    pub audit_max_rows: u64,
    /// Tokens of an identity provider.
    pub jwt: JwtOptions,
}

/// Whether credentials are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Nobody is asked; everybody may do everything for every tenant.
    None,
    /// Every request has a key or a token.
    Required,
}

/// JSON Web Tokens (RFC 7519) that are accepted beside keys: signed with a shared secret (HS256), or with a key of a JWKS
/// (RS256 or ES256, as the key is).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtOptions {
    /// Secret of HS256, at least 32 bytes; empty for none.
    pub secret: Secret,
    /// File or URL of a JWKS; empty for none.
    pub jwks: String,
    /// How often the JWKS is read again.
    pub jwks_refresh_ms: u64,
    /// A token that names an unknown key has the JWKS read again, but not more often than this.
    pub jwks_min_interval_ms: u64,
    /// Longest time of a request for the JWKS.
    pub jwks_timeout_ms: u64,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// How far the clocks may be apart, for `exp` and `nbf`; at most 300.
    pub leeway_seconds: u64,
    /// The claim that has the tenant, a list of them, or `*`.
    pub tenant_claim: String,
    /// The claim that has the scopes: a list, or text with spaces between them.
    pub scope_claim: String,
}

/// Text that is not printed with the settings.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.0.is_empty() { "" } else { "***" };
        write!(formatter, "Secret({shown})")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            mode: AuthMode::None,
            open_metrics: false,
            cache_ttl_ms: 4_000,
            cache_max_entries: 10_000,
            outage_grace_ms: 60_000,
            failures_burst: 20,
            failures_per_minute: 20,
            failures_max_addresses: 10_000,
            last_used_interval_ms: 30_000,
            audit_max_age_ms: 90 * 24 * 3_600_000,
            audit_max_rows: 1_000_000,
            jwt: JwtOptions::default(),
        }
    }
}

impl Default for JwtOptions {
    fn default() -> Self {
        Self {
            secret: Secret::default(),
            jwks: String::new(),
            jwks_refresh_ms: 300_000,
            jwks_min_interval_ms: 10_000,
            jwks_timeout_ms: 5_000,
            issuer: String::new(),
            audience: String::new(),
            leeway_seconds: 30,
            tenant_claim: "tenant".to_owned(),
            scope_claim: "scope".to_owned(),
        }
    }
}

/// Revocation takes effect within this.
const CACHE_TTL_MAX_MS: u64 = 5_000;
const SECRET_MIN_BYTES: usize = 32;
const LEEWAY_MAX_SECONDS: u64 = 300;

impl AuthOptions {
    /// What is wrong with them, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.cache_ttl_ms > CACHE_TTL_MAX_MS {
            return Err(format!(
                "auth.cache_ttl_ms is at most {CACHE_TTL_MAX_MS}: a revoked key is to be refused by then"
            ));
        }
        if self.failures_burst == 0 || self.failures_per_minute == 0 {
            return Err(
                "auth.failures_burst and auth.failures_per_minute are at least 1".to_owned(),
            );
        }
        self.jwt.check()
    }
}

/// Where a JWKS is.
pub(crate) enum JwksSource {
    File(PathBuf),
    Url(http::Uri),
}

impl JwtOptions {
    /// Whether tokens are accepted.
    pub fn is_enabled(&self) -> bool {
        !self.secret.0.is_empty() || !self.jwks.is_empty()
    }

    fn check(&self) -> Result<(), String> {
        if !self.is_enabled() {
            return Ok(());
        }
        if !self.secret.0.is_empty() && !self.jwks.is_empty() {
            return Err(
                "auth.jwt.secret and auth.jwt.jwks exclude each other: one issuer signs in one way"
                    .to_owned(),
            );
        }
        if !self.secret.0.is_empty() && self.secret.0.len() < SECRET_MIN_BYTES {
            return Err(format!(
                "auth.jwt.secret has at least {SECRET_MIN_BYTES} bytes, and should be random"
            ));
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(
                "auth.jwt.issuer and auth.jwt.audience are needed: a token that was made for others is not accepted"
                    .to_owned(),
            );
        }
        if self.leeway_seconds > LEEWAY_MAX_SECONDS {
            return Err(format!(
                "auth.jwt.leeway_seconds is at most {LEEWAY_MAX_SECONDS}"
            ));
        }
        if !self.jwks.is_empty() {
            self.jwks_source()?;
        }
        Ok(())
    }

    /// The JWKS as a file or a URL. Over plain HTTP only from this machine: who could change it on its way could sign.
    pub(crate) fn jwks_source(&self) -> Result<JwksSource, String> {
        if !self.jwks.contains("://") {
            return Ok(JwksSource::File(PathBuf::from(&self.jwks)));
        }
        let url = url::Url::parse(&self.jwks).map_err(|error| format!("auth.jwt.jwks: {error}"))?;
        let loopback = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(format!(
                "auth.jwt.jwks: {}: use https, or a file",
                self.jwks
            ));
        }
        let url = url.as_str().parse();
        url.map(JwksSource::Url)
            .map_err(|error| format!("auth.jwt.jwks: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut AuthOptions)) -> Result<(), String> {
        let mut options = AuthOptions::default();
        options.jwt.issuer = "https://login.example.com".to_owned();
        options.jwt.audience = "logmill".to_owned();
        change(&mut options);
        options.check()
    }

    #[test]
    fn settings_that_would_be_weak_are_refused() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|o| o.jwt.secret = Secret("x".repeat(32))), Ok(()));
        for url in [
            "https://a.example/jwks",
            "http://127.0.0.1:1/k",
            "keys.json",
        ] {
            assert_eq!(with(|o| o.jwt.jwks = url.to_owned()), Ok(()), "{url}");
        }
        let wrong: [fn(&mut AuthOptions); 9] = [
            |o| o.cache_ttl_ms = 5_001,
            |o| o.failures_burst = 0,
            |o| o.jwt.secret = Secret("x".repeat(31)),
            |o| o.jwt.jwks = "http://keys.example.com/jwks".to_owned(),
            |o| o.jwt.jwks = "ftp://127.0.0.1/jwks".to_owned(),
            |o| {
                o.jwt.jwks = "keys.json".to_owned();
                o.jwt.issuer.clear();
            },
            |o| {
                o.jwt.secret = Secret("x".repeat(32));
                o.jwt.audience.clear();
            },
            |o| {
                o.jwt.jwks = "keys.json".to_owned();
                o.jwt.leeway_seconds = 301;
            },
            |o| {
                o.jwt.jwks = "keys.json".to_owned();
                o.jwt.secret = Secret("x".repeat(32));
            },
        ];
        for (position, change) in wrong.into_iter().enumerate() {
            assert!(with(change).is_err(), "{position}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let options = JwtOptions {
            secret: Secret("open sesame".to_owned()),
            ..JwtOptions::default()
        };
        assert!(!format!("{options:?}").contains("sesame"));
    }
}
