//! The PostgreSQL protocol, spoken by psql, by psycopg, and as Grafana does.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::{guarded, id_of, key, on_catalog};
use crate::duckdb::python;
use crate::fleet::{Process, Shared};
use crate::harness::{Data, Server, text_of};
use crate::tls::{authority, issue};

const CLIENT: &str = include_str!("pg/client.py");

fn open() -> Data {
    Data::new().setting("PG__LISTEN", "127.0.0.1:0")
}

fn filled(server: &Server) {
    server.ingest(&[
        json!({"timestamp": "2026-11-20T10:00:00.123456789Z", "service": "pay", "level": "error", "status": 500, "ms": 1.5, "ok": true, "message": "card declined"}),
        json!({"timestamp": "2026-11-20T10:00:10Z", "service": "cart", "level": "info", "status": 204, "message": "item added"}),
    ]);
    server.flush();
    server.ingest(&[json!({"timestamp": "2026-11-20T10:01:00Z", "service": "pay", "level": "info", "status": 200, "ms": 3.0, "ok": false, "message": "card charged"})]);
}

/// Where a server listens to clients of PostgreSQL.
fn port(server: &Server) -> u16 {
    let log = server.log();
    let mut events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let event = events.find(|event| event["message"] == "listening to clients of PostgreSQL");
    let address = event.expect("it listens")["address"]
        .as_str()
        .unwrap()
        .to_owned();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

fn connection(server: &Server, more: &str) -> String {
    format!("host=127.0.0.1 port={} user=me {more}", port(server))
}

fn psql(connection: &str, arguments: &[&str]) -> Output {
    Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", connection])
        .args(arguments)
        .env("PGCONNECT_TIMEOUT", "60")
        .env_remove("PGPASSWORD")
        .output()
        .expect("psql is installed by scripts/services.sh")
}

/// What psql prints for a statement or a command of its own.
fn told(server: &Server, statement: &str) -> String {
    let output = psql(&connection(server, "dbname=logmill"), &["-c", statement]);
    assert!(
        output.status.success(),
        "{statement}: {}",
        text_of(&output.stderr)
    );
    text_of(&output.stdout).trim().to_owned()
}

fn psycopg(connection: &str, function: &str) -> Output {
    let mut command = Command::new(python());
    command.args(["-c", CLIENT, connection, function]);
    command.output().unwrap()
}

#[test]
fn psql_asks_and_looks_around() {
    let data = open();
    let server = data.serve();
    filled(&server);
    let rows = told(
        &server,
        "SELECT timestamp, service, ms, ok FROM logs ORDER BY timestamp",
    );
    let expected = "2026-11-20 10:00:00.123456+00|pay|1.5|t\n2026-11-20 10:00:10+00|cart||\n2026-11-20 10:01:00+00|pay|3|f";
    assert_eq!(rows, expected);
    assert_eq!(told(&server, "SELECT 1; SELECT 'a;b';"), "1\na;b");
    assert_eq!(told(&server, "\\dt"), "public|logs|table|logmill");
    let described = told(&server, "\\d logs");
    for column in [
        "timestamp|timestamp with time zone",
        "service|text",
        "status|bigint",
        "ms|double precision",
        "ok|boolean",
    ] {
        assert!(described.contains(column), "{described}");
    }
    assert!(told(&server, "\\d+ logs").contains("status|bigint"));
    assert!(
        told(&server, "\\l").starts_with("logmill|logmill|UTF8"),
        "{}",
        told(&server, "\\l")
    );
    assert_eq!(told(&server, "\\dn"), "public|logmill");
    for nothing in ["\\di", "\\dv", "\\df", "\\dx"] {
        assert_eq!(told(&server, nothing), "", "{nothing}");
    }
    assert_eq!(
        told(&server, "SELECT current_schema(), current_database()"),
        "public|logmill"
    );
    assert!(told(&server, "SELECT version()").starts_with("PostgreSQL 15.0"));
    assert_eq!(
        told(&server, "SHOW transaction isolation level"),
        "read committed"
    );
    assert_eq!(
        told(&server, "BEGIN; SELECT count(*) FROM logs; COMMIT"),
        "BEGIN\n3\nCOMMIT"
    );
    assert!(told(&server, "EXPLAIN SELECT * FROM logs").contains("logical_plan"));
    let failed = psql(
        &connection(&server, "dbname=logmill"),
        &["-c", "SELECT 1\nFROM logs ORDER level"],
    );
    let error = text_of(&failed.stderr);
    assert!(
        !failed.status.success() && error.contains("LINE 2"),
        "{error}"
    );
    let failed = psql(
        &connection(&server, "dbname=logmill"),
        &["-c", "DROP TABLE logs"],
    );
    assert!(
        text_of(&failed.stderr).contains("only questions"),
        "{failed:?}"
    );
}

#[test]
fn psycopg_asks_in_both_formats_and_cancels() {
    let data = open().setting("QUERY__MEMORY_MAX_BYTES", 8 << 20);
    let server = data.serve();
    filled(&server);
    let connection = connection(&server, "dbname=logmill");
    for function in [
        "parameters",
        "transactions",
        "refusals",
        "cancelled",
        "streamed",
        "portals",
    ] {
        let output = psycopg(&connection, function);
        assert!(
            output.status.success(),
            "{function}: {}",
            text_of(&output.stderr)
        );
    }
    assert_eq!(server.count(), 3);
}

/// A client with a query that does not end.
fn endless(server: &Server) -> Child {
    let endless = "SELECT sum(a.value * b.value) FROM generate_series(1, 50000) a, generate_series(1, 1000000000) b";
    Command::new("psql")
        .args(["-X", &connection(server, "dbname=logmill"), "-c", endless])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn queries_wait_for_their_turn_like_all_others() {
    let data = open().setting("QUERY__MAX_CONCURRENT", 1);
    let server = data.serve();
    let mut client = endless(&server);
    server.becomes("logmill_queries_running", 1.0);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| told(&server, "SELECT 1"));
        server.becomes("logmill_queries_waiting", 1.0);
        client.kill().unwrap();
        client.wait().unwrap();
        assert_eq!(waits.join().unwrap().trim(), "1");
    });
}

#[test]
fn a_client_that_is_killed_stops_its_query() {
    let data = open();
    let server = data.serve();
    let mut client = endless(&server);
    server.becomes("logmill_queries_running", 1.0);
    assert_eq!(server.metric("logmill_pg_connections"), 1.0);
    client.kill().unwrap();
    client.wait().unwrap();
    server.becomes("logmill_queries_running", 0.0);
    server.becomes("logmill_pg_connections", 0.0);
}

#[test]
fn grafana_finds_tables_and_draws() {
    let data = open();
    let server = data.serve();
    filled(&server);
    // The words of Grafana 12's PostgreSQL source.
    let path = "quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END
        FROM generate_series(array_lower(string_to_array(current_setting('search_path'),','),1),
        array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
        string_to_array(current_setting('search_path'),',') s)";
    let tables = format!(
        "SELECT CASE WHEN {path} THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS \"table\"
         FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
         ORDER BY CASE WHEN {path} THEN 0 ELSE 1 END, 1"
    );
    let columns = format!(
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns
         WHERE CASE WHEN array_length(parse_ident('logs'),1) = 2
         THEN quote_ident(table_schema) = (parse_ident('logs'))[1] AND quote_ident(table_name) = (parse_ident('logs'))[2]
         ELSE quote_ident(table_name) = 'logs' AND {path} END"
    );
    let range = "timestamp BETWEEN '2026-11-20T09:00:00Z' AND '2026-11-20T11:00:00Z'";
    let series = format!(
        "SELECT floor(extract(epoch from timestamp)/60)*60 AS \"time\", service AS metric, count(*) AS value
         FROM logs WHERE {range} GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let newest = format!(
        "SELECT timestamp AS \"time\", message FROM logs WHERE {range} ORDER BY timestamp DESC LIMIT 1;"
    );
    let cases = [
        ("SELECT 1", "1"),
        (
            "SELECT current_setting('server_version_num')::int/100 as version",
            "1500",
        ),
        (
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'",
            "",
        ),
        (
            "SELECT schema_name AS \"name\" FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema') ORDER BY schema_name",
            "public",
        ),
        (&tables, "logs"),
        (
            &series,
            "1795168800|cart|1\n1795168800|pay|1\n1795168860|pay|1",
        ),
        (&newest, "2026-11-20 10:01:00+00|card charged"),
    ];
    for (statement, expected) in cases {
        assert_eq!(told(&server, statement), expected, "{statement}");
    }
    let columns = told(&server, &columns);
    assert!(
        columns.contains("timestamp|timestamp with time zone") && columns.contains("status|bigint"),
        "{columns}"
    );
    let drawn = psycopg_with(&server, &series);
    assert!(drawn.contains("1795168860"), "{drawn}");
}

/// The rows of a statement by the extended protocol, in the binary format.
fn psycopg_with(server: &Server, statement: &str) -> String {
    let script = "import psycopg, sys; print(psycopg.connect(sys.argv[1], autocommit=True).cursor(binary=True)\
                  .execute(sys.argv[2], prepare=True).fetchall())";
    let output = Command::new(python())
        .args([
            "-c",
            script,
            &connection(server, "dbname=logmill"),
            statement,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    text_of(&output.stdout)
}

#[test]
fn a_password_is_a_key_and_a_database_a_tenant() {
    let data = guarded()
        .setting("PG__LISTEN", "127.0.0.1:0")
        .setting("AUTH__OPEN_METRICS", true);
    for tenant in ["acme", "beta"] {
        on_catalog(&data, &["tenant", "create", tenant]);
    }
    let acme = key(&data, &["--tenant", "acme", "--scope", "query,ingest"]);
    let all = key(&data, &["--tenant", "*", "--scope", "query"]);
    let writer = key(&data, &["--tenant", "acme", "--scope", "ingest"]);
    let server = data.serve();
    let bearer = format!("Bearer {acme}");
    let sent = server.ingest_ndjson(
        b"{\"message\":\"of acme\"}\n",
        &[("authorization", &bearer)],
    );
    assert_eq!(sent.status, 200);
    let ask = |key: &str, database: &str| {
        let connection = connection(&server, &format!("dbname={database} password={key}"));
        let output = psql(&connection, &["-c", "SELECT count(*) FROM logs"]);
        match output.status.success() {
            true => text_of(&output.stdout).trim().to_owned(),
            false => text_of(&output.stderr),
        }
    };
    for database in ["acme", "logmill", "default"] {
        assert_eq!(ask(&acme, database), "1", "{database}");
    }
    assert_eq!(ask(&all, "acme"), "1");
    assert_eq!(ask(&all, "beta"), "0");
    let refused = [
        (&*acme, "beta", "not for this tenant"),
        (&*all, "nobody", "no tenant nobody"),
        (&*writer, "acme", "scope query"),
        ("lmk_wrong", "acme", "API key or a token"),
        ("wrong", "acme", "API key or a token"),
    ];
    for (key, database, reason) in refused {
        let told = ask(key, database);
        assert!(
            told.contains("FATAL") && told.contains(reason),
            "{database}: {told}"
        );
    }
    let admin = format!("Bearer {}", key(&data, &["--admin"]));
    let begun = Instant::now();
    while !server
        .get_with("/admin/audit", &[("authorization", &admin)])
        .text()
        .contains("authenticate")
    {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "refused passwords are in the audit log"
        );
        std::thread::sleep(Duration::from_millis(100));
    }

    // A connection that is open does not outlive its key.
    let script = "import psycopg, sys, time\nc = psycopg.connect(sys.argv[1], autocommit=True)\nprint(c.execute('SELECT 1').fetchone(), flush=True)\n\
                  end = time.monotonic() + 60\n\
                  while time.monotonic() < end:\n    time.sleep(0.2)\n    try: c.execute('SELECT count(*) FROM logs')\n    except psycopg.errors.InvalidPassword: sys.exit(0)\nsys.exit(1)";
    let connection = connection(&server, &format!("dbname=acme password={acme}"));
    let client = Command::new(python())
        .args(["-c", script, &connection])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    server.becomes("logmill_pg_connections", 1.0);
    on_catalog(&data, &["key", "revoke", id_of(&acme)]);
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn connections_are_secured_by_the_certificate_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (one, other) = (authority(), authority());
    std::fs::write(path("one.pem"), one.pem()).unwrap();
    std::fs::write(path("other.pem"), other.pem()).unwrap();
    issue(&one, folder.path());
    let data = open()
        .setting("SERVER__TLS_CERTIFICATE", path("certificate.pem").display())
        .setting("SERVER__TLS_KEY", path("key.pem").display());
    let server = data.serve_tls();
    let ask = |mode: &str, root: &Path| {
        let secured = format!(
            "dbname=logmill sslmode={mode} sslrootcert={}",
            root.display()
        );
        psql(&connection(&server, &secured), &["-c", "SELECT 1"])
    };
    let answer = ask("verify-full", &path("one.pem"));
    assert_eq!(text_of(&answer.stdout).trim(), "1", "{answer:?}");
    assert!(!ask("verify-full", &path("other.pem")).status.success());
    let plain = psql(
        &connection(&server, "dbname=logmill sslmode=disable"),
        &["-c", "SELECT 1"],
    );
    assert!(plain.status.success(), "on loopback: {plain:?}");
    issue(&other, folder.path());
    let begun = Instant::now();
    while !ask("verify-full", &path("other.pem")).status.success() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the certificate is followed"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // What is sent before the handshake is not taken for what is sent under it.
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port(&server))).unwrap();
    let request = [&[0, 0, 0, 8, 4, 210, 22, 47][..], b"\0\0\0\x10injected"].concat();
    std::io::Write::write_all(&mut stream, &request).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.len() < 300, "{answer:?}");
}

#[test]
fn connections_are_bounded_and_end_with_the_server() {
    let data = open().setting("PG__CONNECTIONS_MAX", 2);
    let server = data.serve();
    let script = "import psycopg, sys\nc = psycopg.connect(sys.argv[1], autocommit=True)\nc.execute('SELECT 1')\n\
                  sys.stdin.read()\ntry: c.execute('SELECT 1')\nexcept psycopg.errors.AdminShutdown: sys.exit(0)\nsys.exit(1)";
    let connection = connection(&server, "dbname=logmill");
    let idle = || {
        let mut command = Command::new(python());
        let command = command.args(["-c", script, &connection]);
        command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let clients = [idle(), idle()];
    server.becomes("logmill_pg_connections", 2.0);
    let refused = psql(&connection, &["-c", "SELECT 1"]);
    assert!(
        text_of(&refused.stderr).contains("pg.connections_max"),
        "{refused:?}"
    );
    let begun = Instant::now();
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "idle connections hold nobody up"
    );
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output.stderr));
    }
}

#[test]
fn processes_of_other_roles_say_who_answers() {
    let shared = Shared::new();
    let start = |role: &str| Process::start(shared.data(role).setting("PG__LISTEN", "127.0.0.1:0"));
    let (api, _worker, query) = (start("api"), start("worker"), start("query"));
    api.with(|server| server.ingest(&[json!({"message": "for all to see"})]));
    let refused =
        api.with(|server| psql(&connection(server, "dbname=logmill"), &["-c", "SELECT 1"]));
    let reason = text_of(&refused.stderr);
    assert!(reason.contains("role api"), "{reason}");
    query.with(|server| {
        let begun = Instant::now();
        while told(server, "SELECT count(*) FROM logs") != "1" {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn noise_harms_nobody() {
    use std::io::{Read, Write};
    let data = open();
    let server = data.serve();
    let ask = |bytes: &[u8]| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port(&server))).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        text_of(&answer)
    };
    // Noise: a request of HTTP, lengths that lie, a version that is not spoken.
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\xff\xff\xff\xff",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x04",
    ] {
        ask(noise);
    }
    assert_eq!(told(&server, "SELECT 1"), "1");
    assert_eq!(server.metric("logmill_panics_total"), 0.0);
}
