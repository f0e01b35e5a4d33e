//! Every route with every credential: what docs/security.md says, and no route that it does not name.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::access::{bearer, guarded, key, on_catalog};
use crate::harness::{Data, Response, Server};

const PAGE: &str = include_str!("../../../../docs/security.md");

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Scope(&'static str),
    /// Scope admin, for all tenants.
    Operator,
}

/// The rows of the page's matrix: method, path, what it takes.
fn rows() -> Vec<(String, String, Takes)> {
    let (_, matrix) = PAGE.split_once("## The matrix").unwrap();
    let rows = matrix.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let (method, path) = cells.next()?.trim().trim_end_matches('`').split_once(' ')?;
        let takes = match cells.next()?.trim() {
            "nothing" => Takes::Nothing,
            "ingest" => Takes::Scope("ingest"),
            "query" => Takes::Scope("query"),
            "admin" => Takes::Scope("admin"),
            "operator" => Takes::Operator,
            other => panic!("{line}: {other}"),
        };
        Some((method.to_owned(), path.to_owned(), takes))
    });
    rows.collect()
}

/// The routes of the server's own document, and those that are no part of it.
fn routes(server: &Server) -> BTreeSet<(String, String)> {
    let document = server.get("/openapi.json").json();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.insert((method.to_uppercase(), path.clone()));
        }
    }
    for path in ["/", "/docs", "/openapi.json"] {
        routes.insert(("GET".to_owned(), path.to_owned()));
    }
    routes
}

struct Credentials {
    expired: String,
    revoked: String,
    /// A key for `acme` with one scope each.
    of_acme: Vec<(&'static str, String)>,
    operator: String,
}

impl Credentials {
    fn make(data: &Data) -> Self {
        on_catalog(data, &["tenant", "create", "acme"]);
        let all = "ingest,query,admin";
        let scopes = ["ingest", "query", "admin"];
        let revoked = key(data, &["--tenant", "*", "--scope", all]);
        on_catalog(data, &["key", "revoke", revoked.split('_').nth(1).unwrap()]);
        let made = Self {
            expired: key(
                data,
                &["--tenant", "*", "--scope", all, "--expires-in", "1s"],
            ),
            revoked,
            of_acme: scopes
                .map(|scope| (scope, key(data, &["--tenant", "acme", "--scope", scope])))
                .to_vec(),
            operator: key(data, &["--admin"]),
        };
        std::thread::sleep(Duration::from_millis(1_100));
        made
    }

    fn of_acme(&self, scope: &str) -> &str {
        let found = self.of_acme.iter().find(|(name, _)| *name == scope);
        &found.unwrap().1
    }
}

/// A request that is otherwise understood, or nearly so.
fn request(
    server: &Server,
    (method, path): (&str, &str),
    key: Option<&str>,
    tenant: Option<&str>,
) -> Response {
    let bearer = key.map(bearer);
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(
        bearer
            .iter()
            .map(|bearer| ("authorization", bearer.as_str())),
    );
    headers.extend(tenant.iter().map(|tenant| ("x-tenant-id", *tenant)));
    let mut path = path.replace("{id}", "nothing").replace("{name}", "acme");
    if path.ends_with("/tail") {
        // Understood, it would have no end.
        path.push_str("?backfill=many");
    }
    server.request(method, &path, &headers, b"{}")
}

#[test]
fn every_route_with_every_credential() {
    let data = guarded().setting("AUTH__FAILURES_BURST", 100_000);
    let credentials = Credentials::make(&data);
    let server = data.serve();
    let rows = rows();
    let named: BTreeSet<(String, String)> = rows
        .iter()
        .map(|(method, path, _)| (method.clone(), path.clone()))
        .collect();
    assert_eq!(
        named,
        routes(&server),
        "docs/security.md has a row for every route"
    );
    let unknown = format!("lmk_{}_{}", "A".repeat(12), "b".repeat(43));
    let own = credentials.of_acme("query");
    let wrong = format!("{}_{}", own.rsplit_once('_').unwrap().0, "c".repeat(43));
    let bad = [
        None,
        Some("nonsense"),
        Some("a.b.c"),
        Some(&*unknown),
        Some(&*wrong),
        Some(&*credentials.expired),
        Some(&*credentials.revoked),
    ];
    for (method, path, takes) in &rows {
        let route = (method.as_str(), path.as_str());
        for key in bad {
            let answer = request(&server, route, key, None);
            let what = format!("{method} {path} with {key:?}: {answer:?}");
            if *takes == Takes::Nothing {
                assert!(answer.status < 400, "{what}");
            } else {
                assert_eq!(answer.status, 401, "{what}");
                let code = answer.json()["error"]["code"].clone();
                assert_eq!(code, Value::from("unauthenticated"), "{what}");
            }
        }
        for (scope, key) in &credentials.of_acme {
            let fits = match takes {
                Takes::Nothing => true,
                Takes::Scope(wanted) => scope == wanted,
                Takes::Operator => false,
            };
            let answer = request(&server, route, Some(key), None);
            let what = format!("{method} {path} with {scope}: {answer:?}");
            assert_eq!(answer.status != 403, fits, "{what}");
            assert_ne!(answer.status, 401, "{what}");
            if *takes != Takes::Nothing {
                let answer = request(&server, route, Some(key), Some("default"));
                assert_eq!(answer.status, 403, "{what}: of another tenant");
            }
        }
        if matches!(takes, Takes::Operator | Takes::Scope("admin")) {
            let answer = request(&server, route, Some(&credentials.operator), None);
            assert!(
                !matches!(answer.status, 401 | 403 | 500..),
                "{method} {path}: {answer:?}"
            );
        }
    }
}

#[test]
fn readiness_and_metrics_show_little_to_strangers() {
    let data = guarded();
    let operator = key(&data, &["--admin"]);
    let server = data.serve();
    let ready = server.get("/health/ready").json();
    assert_eq!(ready, serde_json::json!({"status": "ready"}));
    let headers = [("authorization", &*bearer(&operator))];
    let ready = server.get_with("/health/ready", &headers).json();
    assert!(ready["components"].as_array().unwrap().len() >= 4);
    assert_eq!(server.get_with("/metrics", &headers).status, 200);
    server.get("/metrics").error(401, "unauthenticated");
    drop(server);
    let server = data.setting("AUTH__OPEN_METRICS", true).serve();
    assert_eq!(server.get("/metrics").status, 200);
}
