//! JSON Web Tokens: whose they are, after everything about them was checked.
//!
//! Invariant: the algorithm is the key's. A token's own `alg` only has to agree with it, so that none can choose to be
//! checked in a weaker way (`none`, or HS256 with a public key for a secret).

mod jwks;
mod ring_provider;
#[cfg(test)]
mod tests;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use logmill_catalog::{Scope, Scopes};
use logmill_model::TenantId;
use serde_json::{Map, Value};

use self::jwks::Jwks;
use super::JwtOptions;
use super::principal::{Principal, Tenants};

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct JwtVerifier {
    keys: Keys,
    options: JwtOptions,
}

#[derive(Debug)]
enum Keys {
    Secret(DecodingKey),
    Jwks(Box<Jwks>),
}

/// A key, and the one algorithm it is for.
#[derive(Clone, Debug)]
struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

/// Why a token is not accepted, for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{0}")]
    Refused(#[from] jsonwebtoken::errors::Error),
    #[error("its header names extensions that must be understood")]
    Critical,
    #[error("no key of the JWKS is called {0:?}")]
    UnknownKey(String),
    #[error("it names no key, and the JWKS has not exactly one")]
    NoKeyId,
    #[error("its claim {claim:?} {problem}")]
    Claim {
        claim: String,
        problem: &'static str,
    },
    /// The JWKS was never read: nothing is known of any token.
    #[error("the JWKS could not be read yet")]
    NoJwks,
}

/// The longest list of tenants in a token.
const TENANTS_MAX: usize = 1_000;
/// The longest subject in the audit log.
const SUBJECT_MAX_CHARACTERS: usize = 128;

impl JwtVerifier {
    /// For options that [`super::AuthOptions::check`] accepts; none where no tokens are wanted. A JWKS that cannot be read
    /// now is tried again.
    pub(crate) async fn open(options: &JwtOptions) -> Result<Option<Self>, String> {
        if !options.is_enabled() {
            return Ok(None);
        }
        ring_provider::install();
        let keys = if options.jwks.is_empty() {
            Keys::Secret(DecodingKey::from_secret(options.secret.reveal().as_bytes()))
        } else {
            let jwks = Jwks::new(options)?;
            jwks.refresh().await;
            Keys::Jwks(Box::new(jwks))
        };
        Ok(Some(Self {
            keys,
            options: options.clone(),
        }))
    }

    /// Reads the JWKS again when it is time to.
    pub(crate) async fn refresh_if_due(&self) {
        if let Keys::Jwks(jwks) = &self.keys {
            jwks.refresh_if_due().await;
        }
    }

    /// Whose token it is.
    pub(crate) async fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let header = jsonwebtoken::decode_header(token)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let VerifyingKey { key, algorithm } = match &self.keys {
            Keys::Secret(key) => VerifyingKey {
                key: key.clone(),
                algorithm: Algorithm::HS256,
            },
            Keys::Jwks(jwks) => jwks.key(header.kid.as_deref()).await?,
        };
        let validation = self.validation(algorithm);
        let token = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)?;
        self.principal(&token.claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.options.leeway_seconds;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, TokenError> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("?");
        let subject = subject
            .chars()
            .filter(|character| !character.is_control())
            .take(SUBJECT_MAX_CHARACTERS);
        Ok(Principal {
            actor: format!("jwt:{}", subject.collect::<String>()),
            scopes: self.scopes(claims)?,
            tenants: self.tenants(claims)?,
        })
    }

    fn tenants(&self, claims: &Map<String, Value>) -> Result<Tenants, TokenError> {
        let claim = &self.options.tenant_claim;
        let wrong = |problem| TokenError::Claim {
            claim: claim.clone(),
            problem,
        };
        let names = words(claims.get(claim), |text| vec![text])
            .ok_or_else(|| wrong("is neither a tenant nor a list of them"))?;
        if names == ["*"] {
            return Ok(Tenants::All);
        }
        if names.is_empty() || names.len() > TENANTS_MAX {
            return Err(wrong("names no tenant, or too many"));
        }
        let tenants: Result<Vec<TenantId>, _> = names.iter().map(|name| name.parse()).collect();
        tenants
            .map(Tenants::These)
            .map_err(|_invalid| wrong("has a name that cannot be a tenant's"))
    }

    /// Scopes of ours; others are somebody else's. A token without any is good for nothing.
    fn scopes(&self, claims: &Map<String, Value>) -> Result<Scopes, TokenError> {
        let claim = &self.options.scope_claim;
        let split = |text| str::split_whitespace(text).collect();
        let words = words(claims.get(claim), split).ok_or_else(|| TokenError::Claim {
            claim: claim.clone(),
            problem: "is neither text nor a list of it",
        })?;
        Ok(words
            .iter()
            .filter_map(|word| word.parse::<Scope>().ok())
            .collect())
    }
}

/// The words of a claim that is a list of text, or text to split.
fn words<'a>(
    claim: Option<&'a Value>,
    split: impl Fn(&'a str) -> Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    match claim? {
        Value::String(text) => Some(split(text)),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
