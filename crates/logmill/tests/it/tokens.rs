//! JSON Web Tokens: for which tenants they are, and for what.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use crate::access::{ask, bearer, guarded, on_catalog, send};

const SECRET: &str = "a secret that has thirty-two bytes, or more";

/// A token of HS256 with these claims beside the usual ones.
fn token(claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut all = json!({"iss": "here", "aud": "logmill", "sub": "ann", "exp": now.as_secs() + 60});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let head = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(all.to_string())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, head.as_bytes());
    format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_says_for_which_tenants_and_for_what_it_is() {
    let data = guarded()
        .setting("AUTH__JWT__SECRET", SECRET)
        .setting("AUTH__JWT__ISSUER", "here")
        .setting("AUTH__JWT__AUDIENCE", "logmill");
    on_catalog(&data, &["tenant", "create", "acme"]);
    let server = data.serve();
    let acme = token(json!({"tenant": ["acme", "ghost"], "scope": "ingest query"}));
    let of = |name: &'static str| [("x-tenant-id", name)];
    assert_eq!(send(&server, &acme, &of("acme")).status, 200);
    send(&server, &acme, &[]).error(400, "invalid_tenant");
    send(&server, &acme, &of("default")).error(403, "forbidden");
    send(&server, &acme, &of("ghost")).error(403, "unknown_tenant");
    let asks = token(json!({"tenant": "acme", "scope": ["query"]}));
    assert_eq!(ask(&server, &asks, &[]).status, 200);
    send(&server, &asks, &[]).error(403, "forbidden");
    let expired = token(json!({"tenant": "acme", "scope": "query", "exp": 1}));
    ask(&server, &expired, &[]).error(401, "unauthenticated");
    let foreign = token(json!({"tenant": "acme", "scope": "query", "aud": "other"}));
    ask(&server, &foreign, &[]).error(401, "unauthenticated");

    let operator = token(json!({"tenant": "*", "scope": "admin"}));
    let headers = [("authorization", &*bearer(&operator))];
    assert_eq!(server.post("/admin/flush", &headers, b"").status, 200);
    let audit = server
        .get_with("/admin/audit?action=flush", &headers)
        .json();
    assert_eq!(audit["entries"][0]["actor"], "jwt:ann");
}
