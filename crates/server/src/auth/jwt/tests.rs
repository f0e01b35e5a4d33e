//! Every way in which a token may be wrong, and the few in which one is right.

mod provider;
mod signer;

use std::sync::atomic::Ordering;
use std::time::Duration;

use logmill_catalog::Scopes;
use ring::signature::RsaPublicKeyComponents;
use serde_json::{Value, json};

use self::provider::Provider;
use self::signer::{Signer, base64};
use super::*;
use crate::auth::Secret;

const SECRET: &str = "a secret of thirty-two bytes or more";

fn now() -> i64 {
    i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap()
}

/// Claims that are good, with some of them changed; null takes one away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://login.example.com", "aud": "logmill", "sub": "ann", "exp": now() + 600,
        "tenant": "acme", "scope": "openid ingest query",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn options() -> JwtOptions {
    JwtOptions {
        issuer: "https://login.example.com".to_owned(),
        audience: "logmill".to_owned(),
        jwks_min_interval_ms: 200,
        ..JwtOptions::default()
    }
}

async fn open(options: JwtOptions) -> JwtVerifier {
    JwtVerifier::open(&options).await.unwrap().unwrap()
}

async fn with_secret() -> (JwtVerifier, Signer) {
    let secret = Secret::from(SECRET);
    let verifier = open(JwtOptions {
        secret,
        ..options()
    })
    .await;
    (verifier, Signer::Hmac(SECRET.as_bytes().to_vec()))
}

async fn with_file(keys: &[Value]) -> (JwtVerifier, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    let jwks = path.display().to_string();
    (open(JwtOptions { jwks, ..options() }).await, folder)
}

#[tokio::test]
async fn a_good_token_says_whose_it_is() {
    let (verifier, signer) = with_secret().await;
    let principal = verifier.verify(&signer.token("", &claims(json!({})))).await;
    let principal = principal.unwrap();
    assert_eq!(principal.actor, "jwt:ann");
    assert_eq!(principal.scopes, "ingest,query".parse().unwrap());
    let acme: TenantId = "acme".parse().unwrap();
    assert_eq!(principal.tenants, Tenants::These(vec![acme.clone()]));

    let several = json!({
        "tenant": ["acme", "beta"], "scope": ["admin"], "aud": ["other", "logmill"], "nbf": now() - 5,
        "sub": "a\nb".to_owned() + &"x".repeat(500),
    });
    let principal = verifier.verify(&signer.token("", &claims(several))).await;
    let principal = principal.unwrap();
    assert_eq!(principal.scopes.to_string(), "admin");
    assert_eq!(
        principal.tenants,
        Tenants::These(vec![acme, "beta".parse().unwrap()])
    );
    assert!(principal.actor.starts_with("jwt:abx") && principal.actor.len() < 200);

    let all = json!({"tenant": "*", "scope": ""});
    let principal = verifier.verify(&signer.token("", &claims(all))).await;
    let principal = principal.unwrap();
    assert_eq!(
        (principal.tenants, principal.scopes),
        (Tenants::All, Scopes::default())
    );
}

#[tokio::test]
async fn clocks_may_be_a_little_apart() {
    let (verifier, signer) = with_secret().await;
    for (change, good) in [
        (json!({"exp": now() - 20}), true),
        (json!({"exp": now() - 40}), false),
        (json!({"nbf": now() + 20}), true),
        (json!({"nbf": now() + 60}), false),
    ] {
        let token = signer.token("", &claims(change.clone()));
        assert_eq!(verifier.verify(&token).await.is_ok(), good, "{change}");
    }
}

#[tokio::test]
async fn a_claim_that_is_wrong_or_missing_refuses_the_token() {
    let (verifier, signer) = with_secret().await;
    for change in [
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"exp": 0}),
        json!({"nbf": "yesterday"}),
        json!({"iss": null}),
        json!({"iss": "https://evil.example.com"}),
        json!({"aud": null}),
        json!({"aud": "other"}),
        json!({"aud": ["other"]}),
        json!({"aud": []}),
        json!({"tenant": null}),
        json!({"tenant": 7}),
        json!({"tenant": ""}),
        json!({"tenant": []}),
        json!({"tenant": ["acme", "*"]}),
        json!({"tenant": "../acme"}),
        json!({"tenant": ["acme", 7]}),
        json!({"scope": null}),
        json!({"scope": {"ingest": true}}),
    ] {
        let token = signer.token("", &claims(change.clone()));
        assert!(verifier.verify(&token).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let (verifier, signer) = with_secret().await;
    let good = signer.token("", &claims(json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let other = claims(json!({"tenant": "beta"}));
    let spliced = format!("{}.{}.{}", parts[0], base64(other.to_string()), parts[2]);
    let not_json = format!("{}.{}.{}", base64("{"), parts[1], parts[2]);
    let stranger = Signer::Hmac(b"another secret of thirty-two bytes".to_vec());
    for bad in [
        "..".to_owned(),
        "a.b.c".to_owned(),
        parts[..2].join("."),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{good}.x"),
        format!("{good}x"),
        spliced,
        not_json,
        stranger.token("", &claims(json!({}))),
    ] {
        assert!(verifier.verify(&bad).await.is_err(), "{bad}");
    }
    assert!(verifier.verify(&good).await.is_ok());
}

#[tokio::test]
async fn a_token_does_not_choose_its_algorithm() {
    let (verifier, signer) = with_secret().await;
    let claims = claims(json!({}));
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS384"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES256"}),
        json!({"typ": "JWT"}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": "x"}),
    ] {
        let token = signer.token_with(&header, &claims);
        assert!(verifier.verify(&token).await.is_err(), "{header}");
    }
    let unsigned = format!(
        "{}.{}.",
        base64(r#"{"alg":"none"}"#),
        base64(claims.to_string())
    );
    assert!(verifier.verify(&unsigned).await.is_err());
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec());
    let (verifier, _folder) = with_file(&[rsa.jwk("r"), ec.jwk("e")]).await;
    let claims = claims(json!({}));
    // The classic: HS256, keyed with what everybody can read of the RSA key.
    let Signer::Rsa(pair) = &rsa else {
        unreachable!("it was made above")
    };
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    for secret in [
        public.n.clone(),
        pair.public().as_ref().to_vec(),
        base64(&public.n).into_bytes(),
        rsa.jwk("r").to_string().into_bytes(),
    ] {
        let forged = Signer::Hmac(secret).token("r", &claims);
        assert!(verifier.verify(&forged).await.is_err());
    }
    // A key of one kind does not check signatures of another.
    assert!(verifier.verify(&rsa.token("e", &claims)).await.is_err());
    assert!(verifier.verify(&ec.token("r", &claims)).await.is_err());
    let as_ps256 = rsa.token_with(&json!({"alg": "PS256", "kid": "r"}), &claims);
    assert!(verifier.verify(&as_ps256).await.is_err());
    assert!(verifier.verify(&rsa.token("r", &claims)).await.is_ok());
    assert!(verifier.verify(&ec.token("e", &claims)).await.is_ok());
}

#[tokio::test]
async fn a_token_brings_no_key_of_its_own() {
    let (verifier, _folder) = with_file(&[Signer::ec().jwk("e")]).await;
    let attacker = Signer::ec();
    let mut jwk = attacker.jwk("e");
    jwk["alg"] = json!("ES256");
    for header in [
        json!({"alg": "ES256", "kid": "e", "jwk": jwk}),
        json!({"alg": "ES256", "jku": "https://evil.example.com/jwks"}),
        json!({"alg": "ES256", "kid": "../../etc/passwd"}),
    ] {
        let token = attacker.token_with(&header, &claims(json!({})));
        assert!(verifier.verify(&token).await.is_err(), "{header}");
    }
}

#[tokio::test]
async fn keys_that_are_for_something_else_are_not_taken() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec());
    let changed = |jwk: Value, name: &str, value: &str| {
        let mut jwk = jwk;
        jwk[name] = json!(value);
        jwk
    };
    let secret = Signer::Hmac(SECRET.as_bytes().to_vec());
    let (verifier, _folder) = with_file(&[
        changed(rsa.jwk("encryption"), "use", "enc"),
        changed(rsa.jwk("pss"), "alg", "PS256"),
        changed(ec.jwk("curve"), "crv", "P-384"),
        json!({"kty": "unheard-of", "kid": "x"}),
        json!("nonsense"),
        secret.jwk("published"),
        ec.jwk("good"),
    ])
    .await;
    let claims = claims(json!({}));
    for token in [
        rsa.token("encryption", &claims),
        rsa.token("pss", &claims),
        ec.token("curve", &claims),
        secret.token("published", &claims),
    ] {
        assert!(verifier.verify(&token).await.is_err());
    }
    assert!(verifier.verify(&ec.token("good", &claims)).await.is_ok());
    let nameless = ec.token_with(&json!({"alg": "ES256"}), &claims);
    assert!(
        verifier.verify(&nameless).await.is_ok(),
        "it is the only key"
    );
}

#[tokio::test]
async fn without_a_name_the_key_must_be_clear() {
    let (one, other) = (Signer::ec(), Signer::ec());
    let (verifier, _folder) = with_file(&[one.jwk("1"), other.jwk("2")]).await;
    let nameless = one.token_with(&json!({"alg": "ES256"}), &claims(json!({})));
    let refused = verifier.verify(&nameless).await.unwrap_err();
    assert!(matches!(refused, TokenError::NoKeyId), "{refused}");
}

#[tokio::test]
async fn keys_of_a_url_are_fetched_rotated_and_survive_an_outage() {
    let provider = Provider::start().await;
    let jwks = provider.url.clone();
    let verifier = open(JwtOptions { jwks, ..options() }).await;
    let (old, new) = (Signer::ec(), Signer::rsa());
    let pause = Duration::from_millis(250);

    // Nothing could be read yet: that is no fault of the token.
    let claims = claims(json!({}));
    let (by_old, by_new) = (old.token("old", &claims), new.token("new", &claims));
    let refused = verifier.verify(&by_old).await.unwrap_err();
    assert!(matches!(refused, TokenError::NoJwks), "{refused}");

    provider.publish(Some(vec![old.jwk("old")]));
    tokio::time::sleep(pause).await;
    verifier.verify(&by_old).await.unwrap();

    // A new key is found when a token names it, but unknown names do not make a flood of requests.
    let refused = verifier.verify(&by_new).await.unwrap_err();
    assert!(matches!(refused, TokenError::UnknownKey(_)), "{refused}");
    provider.publish(Some(vec![old.jwk("old"), new.jwk("new")]));
    tokio::time::sleep(pause).await;
    verifier.verify(&by_new).await.unwrap();
    let asked = provider.asked.load(Ordering::SeqCst);
    for n in 0..20 {
        let stranger = Signer::ec().token(&format!("stranger-{n}"), &claims);
        assert!(verifier.verify(&stranger).await.is_err());
    }
    assert!(provider.asked.load(Ordering::SeqCst) <= asked + 2);

    // While the provider is down, or sends nonsense, the keys that were read last serve.
    provider.publish(None);
    tokio::time::sleep(pause).await;
    let stranger = Signer::ec().token("stranger", &claims);
    assert!(verifier.verify(&stranger).await.is_err());
    verifier.verify(&by_old).await.unwrap();
    provider.publish(Some(vec![]));
    tokio::time::sleep(pause).await;
    assert!(verifier.verify(&stranger).await.is_err());
    verifier.verify(&by_new).await.unwrap();

    // A key that is withdrawn is gone with the next reading.
    provider.publish(Some(vec![new.jwk("new")]));
    tokio::time::sleep(pause).await;
    assert!(verifier.verify(&stranger).await.is_err());
    assert!(verifier.verify(&by_old).await.is_err());
    verifier.verify(&by_new).await.unwrap();
}
