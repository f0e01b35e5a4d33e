//! Credentials where many processes ask for them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fleet::{Process, Shared};
use crate::harness::{Data, Response, ndjson, text_of};

/// Revocations are to hold everywhere within this.
const SOON: Duration = Duration::from_secs(5);

/// Makes a key in the catalog that all share, without a server.
fn key(data: &Data, arguments: &[&str]) -> String {
    let mut all = vec!["key", "create", "--json"];
    all.extend_from_slice(arguments);
    let made = data.run(&all);
    assert!(made.status.success(), "{}", text_of(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

fn tenant(data: &Data, name: &str) {
    let made = data.run(&["tenant", "create", name]);
    assert!(made.status.success(), "{}", text_of(&made.stderr));
}

fn ingest(process: &Process, key: &str, message: &str) -> Response {
    let bearer = format!("Bearer {key}");
    let body = ndjson(&[json!({"message": message})]);
    process.with(|server| server.ingest_ndjson(&body, &[("authorization", &bearer)]))
}

fn get(process: &Process, key: &str, path: &str) -> Response {
    let bearer = format!("Bearer {key}");
    process.with(|server| server.get_with(path, &[("authorization", &bearer)]))
}

fn messages(process: &Process, key: &str) -> Vec<String> {
    let answer = get(process, key, "/query?from=now-1h&limit=100");
    assert_eq!(answer.status, 200, "{answer:?}");
    let records = answer.json()["records"].as_array().unwrap().clone();
    records
        .iter()
        .map(|record| record["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn keys_and_tenants_hold_in_every_process() {
    let shared = Shared::new();
    let start = |role: &str| Process::start(shared.data(role).setting("AUTH__MODE", "required"));
    let (first, second) = (start("api"), start("api"));
    let (_worker, query) = (start("worker"), start("query"));
    let direct = shared.data("api");
    tenant(&direct, "acme");
    tenant(&direct, "rival");
    let acme = key(
        &direct,
        &[
            "--tenant",
            "acme",
            "--scope",
            "ingest,query",
            "--name",
            "acme",
        ],
    );
    let rival = key(
        &direct,
        &[
            "--tenant",
            "rival",
            "--scope",
            "ingest,query,admin",
            "--name",
            "rival",
        ],
    );
    let operator = key(&direct, &["--admin", "--name", "operator"]);

    assert_eq!(ingest(&first, &acme, "of acme").status, 200);
    assert_eq!(ingest(&second, &rival, "of rival").status, 200);
    let begun = Instant::now();
    while messages(&query, &acme).len() + messages(&query, &rival).len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(messages(&query, &acme), ["of acme"]);
    assert_eq!(messages(&query, &rival), ["of rival"]);
    assert_eq!(ingest(&first, "lmk_nobody_knows", "no").status, 401);

    // What is about all tenants is for those who may see all.
    for path in ["/admin/processes", "/admin/jobs", "/admin/dlq", "/metrics"] {
        assert_eq!(get(&first, &operator, path).status, 200, "{path}");
        assert_eq!(get(&first, &rival, path).status, 403, "{path}");
        assert_eq!(get(&first, &acme, path).status, 403, "{path}");
        assert_eq!(first.with(|server| server.get(path)).status, 401, "{path}");
    }
    let open = first.with(|server| server.get("/health/ready").json());
    assert!(
        open.get("components").is_none() && open.get("queue").is_none(),
        "{open}"
    );

    // A key that one process revokes is refused by the other.
    let id = acme.split('_').nth(1).unwrap();
    let revoked = first.with(|server| {
        let bearer = format!("Bearer {operator}");
        server.request(
            "DELETE",
            &format!("/admin/keys/{id}"),
            &[("authorization", &bearer)],
            b"",
        )
    });
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let begun = Instant::now();
    while ingest(&second, &acme, "too late").status == 200 {
        assert!(begun.elapsed() < SOON, "the key is still good");
        std::thread::sleep(Duration::from_millis(50));
    }
    ingest(&second, &acme, "too late").error(401, "unauthenticated");
    ingest(&first, &acme, "too late").error(401, "unauthenticated");
    let audit = get(&second, &operator, "/admin/audit").json();
    assert!(
        audit.to_string().contains("operator") || audit.to_string().contains(id),
        "{audit}"
    );
}

#[test]
fn a_rate_holds_over_all_processes_together() {
    let shared = Shared::new();
    let start = |role: &str| Process::start(shared.data(role).setting("AUTH__MODE", "required"));
    let (first, second) = (start("api"), start("api"));
    let direct = shared.data("api");
    let rate = ["--ingest-records-per-second", "50"];
    let made = direct.run(&[&["tenant", "create", "metered"], &rate[..]].concat());
    assert!(made.status.success(), "{}", text_of(&made.stderr));
    tenant(&direct, "free");
    let of = |tenant: &str| key(&direct, &["--tenant", tenant, "--scope", "ingest"]);
    let (metered, free) = (of("metered"), of("free"));

    // Twenty seconds' worth: the first process lets it in, and both are closed.
    let bearer = format!("Bearer {metered}");
    let body = ndjson(&vec![json!({"message": "one of many"}); 1_000]);
    let answer = first.with(|s| s.ingest_ndjson(&body, &[("authorization", &bearer)]));
    assert_eq!(answer.status, 200, "{answer:?}");
    let begun = Instant::now();
    let refused = loop {
        let answer = ingest(&second, &metered, "one more");
        if answer.status != 200 {
            break answer;
        }
        assert!(begun.elapsed() < SOON, "the second process lets all in");
        std::thread::sleep(Duration::from_millis(20));
    };
    let message = refused.error(429, "quota_exceeded");
    assert!(message.contains("ingest_records_per_second"), "{message}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // Eighteen beyond the burst, and what the second one let in before it knew.
    assert!((5..=20).contains(&wait), "{wait}");
    assert_eq!(ingest(&first, &metered, "one more").status, 429);
    assert_eq!(ingest(&second, &free, "of another").status, 200);
}
