//! Keys and tenants: who is let in, and who is not.

use std::process::Output;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Data, Response, Server, command, ndjson, text_of};

/// A data directory whose server asks for credentials.
pub(crate) fn guarded() -> Data {
    Data::new().setting("AUTH__MODE", "required")
}

/// Runs `logmill key` or `tenant` on the catalog, as somebody on the machine does.
pub(crate) fn on_catalog(data: &Data, arguments: &[&str]) -> Output {
    let path = data.path().display().to_string();
    let mut all = arguments.to_vec();
    all.extend(["--data-dir", &path]);
    let output = data.run(&all);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text_of(&output.stderr)
    );
    output
}

/// Makes a key, and returns it.
pub(crate) fn key(data: &Data, arguments: &[&str]) -> String {
    let output = on_catalog(data, &[&["key", "create"], arguments].concat());
    text_of(&output.stdout).trim().to_owned()
}

pub(crate) fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

pub(crate) fn ask(server: &Server, key: &str, headers: &[(&str, &str)]) -> Response {
    let bearer = bearer(key);
    let mut all = vec![
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    all.extend_from_slice(headers);
    server.post("/query", &all, b"{}")
}

pub(crate) fn send(server: &Server, key: &str, headers: &[(&str, &str)]) -> Response {
    let bearer = bearer(key);
    let mut all = vec![("authorization", &*bearer)];
    all.extend_from_slice(headers);
    server.ingest_ndjson(&ndjson(&[json!({"message": "hello"})]), &all)
}

/// The id in a key.
pub(crate) fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

#[test]
fn the_first_key_needs_no_server_and_the_others_go_through_it() {
    let data = guarded();
    let admin = key(&data, &["--admin", "--name", "first"]);
    let server = data.serve();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = command(folder.path());
        command.args(arguments).args(["--url", &server.url]);
        command.env("LOGMILL_API_KEY", &admin).output().unwrap()
    };
    let output = run(&["tenant", "create", "acme", "--columns", "50"]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let output = run(&["tenant", "create", "acme"]);
    assert!(!output.status.success());
    assert!(text_of(&output.stderr).contains("tenant_exists"));
    let output = run(&[
        "key",
        "create",
        "--tenant",
        "acme",
        "--scope",
        "ingest,query",
        "--json",
    ]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let created: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(created["scopes"], json!(["ingest", "query"]));
    let acme = created["key"].as_str().unwrap().to_owned();

    // The commands take it.
    std::fs::write(
        folder.path().join("a.ndjson"),
        "{\"message\":\"by command\"}\n",
    )
    .unwrap();
    let output = command(folder.path())
        .args([
            "ingest",
            "--url",
            &server.url,
            "--api-key",
            &acme,
            "a.ndjson",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let output = command(folder.path())
        .args(["sql", "--url", &server.url, "SELECT message FROM logs"])
        .env("LOGMILL_API_KEY", &acme)
        .output()
        .unwrap();
    assert!(text_of(&output.stdout).contains("by command"), "{output:?}");
    let output = command(folder.path())
        .args(["sql", "--url", &server.url, "SELECT message FROM logs"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text_of(&output.stderr).contains("unauthenticated"));

    let keys = text_of(&run(&["key", "list"]).stdout);
    assert!(
        keys.contains("first") && keys.contains(id_of(&acme)),
        "{keys}"
    );
    let secret = acme.rsplit_once('_').unwrap().1;
    assert!(!keys.contains(secret), "{keys}");
    let database = std::fs::read(data.path().join("catalog.db")).unwrap();
    let found = database
        .windows(secret.len())
        .any(|part| part == secret.as_bytes());
    assert!(!found, "the secret is in the catalog");
    assert!(!server.log().contains(secret), "the secret is in the log");

    let output = run(&["key", "revoke", id_of(&acme)]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    ask(&server, &acme, &[]).error(401, "unauthenticated");
}

#[test]
fn a_key_comes_as_bearer_header_or_password() {
    let data = guarded();
    let key = key(&data, &["--tenant", "default", "--scope", "query"]);
    let server = data.serve();
    let basic = format!("Basic {}", STANDARD.encode(format!("agent:{key}")));
    for (name, value) in [
        ("authorization", bearer(&key)),
        ("authorization", basic),
        ("x-api-key", key.clone()),
    ] {
        let headers = [("content-type", "application/json"), (name, &*value)];
        let answer = server.post("/query", &headers, b"{}");
        assert_eq!(answer.status, 200, "{name} {value}: {answer:?}");
    }
    let headers = [("content-type", "application/json"), ("x-api-key", &*key)];
    let bearer = bearer(&key);
    let both = [&headers[..], &[("authorization", &*bearer)]].concat();
    server
        .post("/query", &both, b"{}")
        .error(401, "unauthenticated");
}

/// Waits until a key is refused; how long that took.
fn until_refused(server: &Server, key: &str) -> Duration {
    let begun = Instant::now();
    while ask(server, key, &[]).status == 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it is still good"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    ask(server, key, &[]).error(401, "unauthenticated");
    begun.elapsed()
}

#[test]
fn what_another_process_revokes_or_disables_is_refused_within_five_seconds() {
    let data = guarded();
    let one = key(&data, &["--tenant", "default", "--scope", "query"]);
    let made = Instant::now();
    let brief = key(
        &data,
        &[
            "--tenant",
            "default",
            "--scope",
            "query",
            "--expires-in",
            "4s",
        ],
    );
    let server = data.serve();
    assert_eq!(ask(&server, &one, &[]).status, 200);
    assert_eq!(ask(&server, &brief, &[]).status, 200);
    on_catalog(&data, &["key", "revoke", id_of(&one)]);
    let took = until_refused(&server, &one);
    assert!(took < Duration::from_secs(5), "{took:?}");
    until_refused(&server, &brief);
    assert!(made.elapsed() >= Duration::from_secs(4));

    let other = key(&data, &["--tenant", "default", "--scope", "query"]);
    assert_eq!(ask(&server, &other, &[]).status, 200);
    on_catalog(&data, &["tenant", "disable", "default"]);
    let begun = Instant::now();
    while ask(&server, &other, &[]).status == 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is still served"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    ask(&server, &other, &[]).error(403, "tenant_disabled");
    on_catalog(&data, &["tenant", "enable", "default"]);
    let begun = Instant::now();
    while ask(&server, &other, &[]).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is not served");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Stopping writes what waits: when the keys were used.
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let keys = on_catalog(&data, &["key", "list", "--json"]);
    let keys: Value = serde_json::from_slice(&keys.stdout).unwrap();
    for key in keys["keys"].as_array().unwrap() {
        assert!(key["last_used_at"].is_string(), "{key}");
    }
}

#[test]
fn whatever_is_wrong_with_a_credential_the_answer_is_the_same() {
    let data = guarded().setting("AUTH__FAILURES_BURST", 1_000);
    let good = key(&data, &["--tenant", "default", "--scope", "query"]);
    let revoked = key(&data, &["--tenant", "default", "--scope", "query"]);
    on_catalog(&data, &["key", "revoke", id_of(&revoked)]);
    let server = data.serve();
    let (head, secret) = good.rsplit_once('_').unwrap();
    let wrong = format!("{head}_{}", secret.chars().rev().collect::<String>());
    let unknown = good.replace(id_of(&good), "AAAAAAAAAAAA");
    let message = |headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let answer = server.post("/query", &all, b"{}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"logmill\"")
        );
        answer.error(401, "unauthenticated")
    };
    let none = message(&[]);
    for bad in [&*wrong, &unknown, &revoked, "lmk_x", "a.b.c", ""] {
        assert_eq!(message(&[("authorization", &bearer(bad))]), none, "{bad}");
        assert_eq!(message(&[("x-api-key", bad)]), none, "{bad}");
    }
    assert_eq!(message(&[("authorization", "Negotiate abc")]), none);
    // The log knows.
    let log = server.log();
    for reason in [
        "wrong_secret",
        "unknown_key",
        "revoked",
        "malformed",
        "token",
    ] {
        assert!(
            log.contains(&format!("\"reason\":\"{reason}\"")),
            "{reason}: {log}"
        );
    }
    assert!(!log.contains(secret), "{log}");
}

#[test]
fn an_address_that_fails_too_often_waits_and_known_keys_do_not_suffer() {
    let data = guarded()
        .setting("AUTH__FAILURES_BURST", 5)
        .setting("AUTH__FAILURES_PER_MINUTE", 30);
    let good = key(&data, &["--tenant", "default", "--scope", "query"]);
    let late = key(&data, &["--tenant", "default", "--scope", "query"]);
    let server = data.serve();
    assert_eq!(ask(&server, &good, &[]).status, 200);
    let unknown = good.replace(id_of(&good), "AAAAAAAAAAAA");
    let mut refused = 0;
    let waiting = loop {
        let answer = ask(&server, &unknown, &[]);
        if answer.status == 429 {
            break answer;
        }
        answer.error(401, "unauthenticated");
        refused += 1;
        assert!(refused < 20, "nothing slows it down");
    };
    assert!(refused >= 5);
    waiting.error(429, "too_many_failures");
    let seconds: u64 = waiting.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    assert_eq!(ask(&server, &good, &[]).status, 200);
    ask(&server, &late, &[]).error(429, "too_many_failures");
    std::thread::sleep(Duration::from_secs(seconds));
    assert_eq!(ask(&server, &late, &[]).status, 200);
}

#[test]
fn a_tenant_header_is_obeyed_where_the_key_allows_it() {
    let data = guarded();
    on_catalog(&data, &["tenant", "create", "acme"]);
    let all = key(&data, &["--tenant", "*", "--scope", "ingest,query"]);
    let acme = key(&data, &["--tenant", "acme", "--scope", "ingest,query"]);
    let server = data.serve();
    let of = |name: &'static str| [("x-tenant-id", name)];
    assert_eq!(send(&server, &acme, &[]).status, 200);
    assert_eq!(send(&server, &acme, &of("acme")).status, 200);
    send(&server, &acme, &of("default")).error(403, "forbidden");
    send(&server, &acme, &of("nobody")).error(403, "forbidden");
    assert_eq!(send(&server, &all, &of("acme")).status, 200);
    assert_eq!(send(&server, &all, &[]).status, 200);
    send(&server, &all, &of("nobody")).error(404, "unknown_tenant");
    send(&server, &all, &of("../acme")).error(400, "invalid_tenant");
    let found = |key: &str, headers: &[(&str, &str)]| {
        let answer = ask(&server, key, headers).json();
        answer["records"].as_array().unwrap().len()
    };
    assert_eq!(found(&acme, &[]), 3);
    assert_eq!(found(&all, &[]), 1);
    assert_eq!(found(&all, &of("acme")), 3);
}

#[test]
fn nobody_is_asked_on_loopback_and_everybody_beyond_it() {
    let server = Data::new().serve();
    server.ingest(&[json!({"message": "a"})]);
    assert!(server.get("/health/ready").json()["components"].is_array());
    server.flush();
    let audit = server.get("/admin/audit").json();
    assert_eq!(audit["entries"][0]["actor"], "anonymous");

    let data = guarded();
    let output = |mode: &str| {
        let mut child = command(&std::env::temp_dir())
            .args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
            .arg(data.path())
            .env("LOGMILL_AUTH__MODE", mode)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.elapsed() > Duration::from_secs(2) {
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        (ended, text_of(&output.stderr))
    };
    let (ended, log) = output("none");
    assert!(ended.is_some_and(|status| !status.success()), "{log}");
    assert!(log.contains("auth.mode"), "{log}");
    let (ended, log) = output("required");
    assert!(ended.is_none(), "{log}");
}
