//! What administrators do, and what is put down about it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::access::{bearer, guarded, id_of, key, on_catalog};
use crate::harness::Server;

/// Does what administrators do, for `acme`, with an operator's key; returns the key that was made and revoked.
fn administer(server: &Server, headers: &[(&str, &str)]) -> String {
    let post = |path: &str, body: Value| server.post(path, headers, body.to_string().as_bytes());
    let new_key = |tenant: &str, scopes: Value| {
        post(
            "/admin/keys",
            json!({"name": "theirs", "tenant": tenant, "scopes": scopes}),
        )
    };
    let made = new_key("acme", json!(["admin"]));
    assert_eq!(made.status, 201, "{made:?}");
    let theirs = made.json()["key"].as_str().unwrap().to_owned();
    new_key("ghost", json!(["query"])).error(404, "unknown_tenant");
    new_key("acme", json!([])).error(400, "invalid_key");
    new_key("acme", json!(["root"])).error(400, "invalid_key");
    assert_eq!(post("/admin/flush", json!({})).status, 200);
    let of_acme = [headers, &[("x-tenant-id", "acme")]].concat();
    let deleted = server.post("/admin/delete", &of_acme, br#"{"text": "hello"}"#);
    assert_eq!(deleted.status, 202);
    let patch = br#"{"quotas": {"concurrent_queries": 3}}"#;
    let patched = server.request("PATCH", "/admin/tenants/acme", headers, patch);
    assert_eq!(patched.json()["quotas"]["concurrent_queries"], 3);
    let path = format!("/admin/keys/{}", id_of(&theirs));
    assert_eq!(server.request("DELETE", &path, headers, b"").status, 200);
    server
        .get_with("/admin/tenants", &[("authorization", &bearer(&theirs))])
        .error(401, "unauthenticated");
    theirs
}

#[test]
fn what_administrators_do_is_put_down() {
    let data = guarded();
    let admin = key(&data, &["--admin"]);
    on_catalog(&data, &["tenant", "create", "acme"]);
    let server = data.serve();
    let bearer_of_admin = bearer(&admin);
    let headers = [
        ("authorization", &*bearer_of_admin),
        ("content-type", "application/json"),
        ("x-request-id", "request-7"),
    ];
    let theirs = administer(&server, &headers);
    // Refused credentials are put down a moment later.
    std::thread::sleep(Duration::from_millis(1_500));

    let audit = server.get_with("/admin/audit", &headers).json();
    let entries = audit["entries"].as_array().unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let seen: Vec<String> = entries
        .iter()
        .rev()
        .map(|entry| {
            ["action", "tenant", "outcome"]
                .map(|name| text(entry, name))
                .join(" ")
        })
        .collect();
    let expected = [
        "key.create - ok",
        "tenant.create acme ok",
        "key.create acme ok",
        "key.create ghost unknown_tenant",
        "key.create acme invalid_key",
        "flush - ok",
        "delete acme ok",
        "tenant.change acme ok",
        "key.revoke acme ok",
        "authenticate - unauthenticated",
    ];
    assert_eq!(seen, expected);
    let revoke = &entries[1];
    assert_eq!(revoke["actor"], format!("key:{}", id_of(&admin)));
    assert_eq!(revoke["target"], id_of(&theirs));
    assert_eq!(revoke["request_id"], "request-7");
    assert_eq!(revoke["remote_address"], "127.0.0.1");
    assert!(
        !audit
            .to_string()
            .contains(theirs.rsplit_once('_').unwrap().1)
    );
    let by_action = server.get_with("/admin/audit?action=key.create&limit=2", &headers);
    let by_action = by_action.json();
    assert_eq!(by_action["entries"].as_array().unwrap().len(), 2);
    assert_eq!(by_action["next_before"], by_action["entries"][1]["id"]);
}

#[test]
fn a_tenants_administrator_sees_and_makes_what_is_the_tenants() {
    let data = guarded();
    let admin = key(&data, &["--admin"]);
    on_catalog(&data, &["tenant", "create", "acme"]);
    let own = key(&data, &["--tenant", "acme", "--scope", "admin"]);
    let server = data.serve();
    let bearer = bearer(&own);
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let audit = server.get_with("/admin/audit", &headers).json();
    let entries = audit["entries"].as_array().unwrap();
    assert!(!entries.is_empty());
    assert!(
        entries.iter().all(|entry| entry["tenant"] == "acme"),
        "{audit}"
    );
    let keys = server.get_with("/admin/keys", &headers).json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["tenant"], "acme");
    let foreign = format!("/admin/keys/{}", id_of(&admin));
    server.get_with(&foreign, &headers).error(404, "not_found");
    server
        .request("DELETE", &foreign, &headers, b"")
        .error(404, "not_found");
    let new_key = |body: Value| server.post("/admin/keys", &headers, body.to_string().as_bytes());
    for tenant in ["*", "default"] {
        new_key(json!({"name": "x", "tenant": tenant, "scopes": ["query"]}))
            .error(403, "forbidden");
    }
    let made = new_key(json!({"name": "x", "scopes": ["query"]}));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["tenant"], "acme");
}
