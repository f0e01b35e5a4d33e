//! The commands beside `serve`: ingest, query, sql, seed, load-test, doctor.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Data, command, text_of};

fn summary(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            text_of(&output.stdout),
            text_of(&output.stderr)
        )
    })
}

#[test]
fn files_and_standard_input_are_ingested_and_counted() {
    let data = Data::new();
    let server = data.serve();
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..500)
        .map(|n| format!("{{\"message\":\"line {n}\",\"n\":{n}}}\n"))
        .collect();
    std::fs::write(folder.path().join("plain.ndjson"), &lines).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    std::fs::write(folder.path().join("packed.gz"), gzip.finish().unwrap()).unwrap();
    std::fs::write(
        folder.path().join("packed.zst"),
        zstd::encode_all(lines.as_bytes(), 1).unwrap(),
    )
    .unwrap();
    let output = command(folder.path())
        .args([
            "ingest",
            "--url",
            &server.url,
            "--service",
            "cli",
            "--json",
            "--batch-bytes",
            "4KiB",
        ])
        .args(["plain.ndjson", "packed.gz", "packed.zst"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    assert_eq!(summary(&output)["accepted"], 1_500);
    let rows = server.sql("SELECT count(*), count(DISTINCT n) FROM logs WHERE service = 'cli'");
    assert_eq!(rows[0], [json!(1_500), json!(500)]);

    let mut child = command(folder.path())
        .args(["ingest", "--url", &server.url, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"level=info msg=\"from a pipe\"\n")
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(
        server.query(json!({"text": "\"from a pipe\""}))["records"][0]["level"],
        "info"
    );
}

#[test]
fn a_refused_line_is_named_and_the_exit_code_says_so() {
    let data = Data::new();
    let server = data.serve();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.ndjson"),
        "{\"message\":\"good\"}\n{\"message\":\n",
    )
    .unwrap();
    let output = command(folder.path())
        .args(["ingest", "--url", &server.url, "bad.ndjson"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text_of(&output.stdout) + &text_of(&output.stderr);
    assert!(
        told.contains("bad.ndjson") && told.contains("malformed_json"),
        "{told}"
    );
    assert_eq!(server.count(), 1);
}

#[test]
fn an_unreachable_server_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.ndjson"), "{}\n").unwrap();
    let commands: [&[&str]; 3] = [
        &["query", "x"],
        &["sql", "SELECT 1"],
        &["ingest", "--retry-for", "1s", "a.ndjson"],
    ];
    for arguments in commands {
        let (name, rest) = arguments.split_first().unwrap();
        let output = command(folder.path())
            .args([name, "--url", "http://127.0.0.1:9"])
            .args(rest)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text_of(&output.stderr);
        assert!(error.contains("127.0.0.1:9"), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one server for all ways to print")]
fn answers_are_ndjson_in_a_pipe_and_a_table_when_asked_for() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[
        json!({"level": "error", "service": "pay", "message": "card declined", "amount": 12}),
        json!({"level": "info", "service": "cart", "message": "item \u{1b}[31madded"}),
    ]);
    let run = |arguments: &[&str]| {
        let output = data.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text_of(&output.stderr)
        );
        text_of(&output.stdout)
    };
    let url = server.url.as_str();
    let piped = run(&[
        "query", "--url", url, "--text", "declined", "--level", "error",
    ]);
    let record: Value = serde_json::from_str(piped.trim()).unwrap();
    assert_eq!(
        (&record["service"], &record["amount"]),
        (&json!("pay"), &json!(12))
    );
    let counted = run(&[
        "query",
        "--url",
        url,
        "--since",
        "1h",
        "declined or item | stats by (service) count() n | sort by (service)",
    ]);
    assert_eq!(
        counted,
        "{\"service\":\"cart\",\"n\":1}\n{\"service\":\"pay\",\"n\":1}\n"
    );
    let found = run(&["query", "--url", url, "service:=pay", "declined"]);
    assert!(
        found.contains("card declined") && found.lines().count() == 1,
        "{found}"
    );
    let failed = data.run(&["query", "--url", url, "a | limit x"]);
    assert!(text_of(&failed.stderr).contains("column"), "{failed:?}");
    let table = run(&[
        "query", "--url", url, "--output", "table", "--color", "never",
    ]);
    assert!(
        table.contains("card declined") && table.contains("amount=12"),
        "{table}"
    );
    assert!(
        !table.contains('\u{1b}'),
        "control characters of records are escaped: {table:?}"
    );
    let coloured = run(&[
        "query", "--url", url, "--output", "table", "--color", "always",
    ]);
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let rows = run(&[
        "sql",
        "--url",
        url,
        "SELECT service, amount FROM logs ORDER BY service",
    ]);
    assert_eq!(rows.lines().next().unwrap(), r#"{"service":"cart"}"#);
    let table = run(&[
        "sql",
        "--url",
        url,
        "--output",
        "table",
        "SELECT count(*) AS n FROM logs",
    ]);
    assert!(table.contains('n') && table.contains('2'), "{table}");
    let failed = data.run(&["sql", "--url", url, "SELEKT 1"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text_of(&failed.stderr).contains("line 1"),
        "{}",
        text_of(&failed.stderr)
    );
}

#[test]
fn the_sample_is_the_same_for_the_same_seed() {
    let data = Data::new();
    let server = data.serve();
    let seed = |extra: &[&str]| {
        let mut arguments = vec![
            "seed",
            "--records",
            "5000",
            "--seed",
            "7",
            "--end",
            "2026-11-20T00:00:00Z",
        ];
        arguments.extend_from_slice(extra);
        let output = data.run(&arguments);
        assert!(output.status.success(), "{}", text_of(&output.stderr));
        output.stdout
    };
    let first = seed(&["--out", "-"]);
    assert_eq!(first, seed(&["--out", "-"]));
    assert_eq!(first.iter().filter(|byte| **byte == b'\n').count(), 5_000);
    seed(&["--url", &server.url]);
    let rows =
        server.sql("SELECT count(*), count(DISTINCT service), count(DISTINCT level) FROM logs");
    assert_eq!(rows[0][0], 5_000);
    assert!(rows[0][1].as_u64().unwrap() >= 6, "{rows:?}");
    assert!(rows[0][2].as_u64().unwrap() >= 4, "{rows:?}");
}

#[test]
fn load_is_measured_in_closed_and_open_loop() {
    let data = Data::new();
    let server = data.serve();
    let run = |extra: &[&str]| {
        let mut arguments = vec!["load-test", "--url", &server.url, "--report", "report.json"];
        arguments.extend_from_slice(extra);
        let output = data.run(&arguments);
        assert!(
            output.status.success(),
            "{} {}",
            text_of(&output.stdout),
            text_of(&output.stderr)
        );
        let report = data.path().parent().unwrap().join("report.json");
        serde_json::from_slice::<Value>(&std::fs::read(report).unwrap()).unwrap()
    };
    let closed = run(&["--count", "20000", "--batch-bytes", "64KiB", "--flush"]);
    assert_eq!(closed["records"], 20_000, "{closed}");
    assert_eq!(server.count(), 20_000);
    assert!(
        closed["latency_ms"]["p99"].as_f64().unwrap() > 0.0,
        "{closed}"
    );
    assert!(
        closed["server"]["cpu_seconds"].as_f64().unwrap() > 0.0,
        "{closed}"
    );
    let open = run(&[
        "--duration",
        "1s",
        "--rate",
        "1MB",
        "--batch-bytes",
        "32KiB",
    ]);
    assert!(
        open["megabytes_per_second"].as_f64().unwrap() < 2.0,
        "{open}"
    );

    let sample = data.path().parent().unwrap().join("sample.ndjson");
    std::fs::write(&sample, "{\"message\":\"from a file\"}\n".repeat(1_000)).unwrap();
    let file = run(&["--file", sample.to_str().unwrap(), "--batch-bytes", "4KiB"]);
    assert_eq!(file["records"], 1_000, "{file}");
}

#[test]
fn doctor_finds_damage_and_repairs_the_log() {
    let data = Data::new();
    let folder = data.path().display().to_string();
    let server = data.serve();
    for n in 0..20 {
        server.ingest(&[json!({"n": n, "message": "before the damage"})]);
    }
    server.kill();
    let doctor = |extra: &[&str]| {
        let mut arguments = vec!["doctor", "--data-dir", &folder];
        arguments.extend_from_slice(extra);
        let output = data.run(&arguments);
        (
            output.status.code(),
            text_of(&output.stdout) + &text_of(&output.stderr),
        )
    };
    let (code, told) = doctor(&[]);
    assert_eq!(code, Some(0), "{told}");

    let wal = data.path().join("wal");
    let file = std::fs::read_dir(&wal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();

    let log = data
        .try_serve()
        .err()
        .expect("a damaged log must not start");
    assert!(log.contains("logmill doctor"), "{log}");
    let (code, told) = doctor(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&file.display().to_string()), "{told}");
    let (code, told) = doctor(&["--repair"]);
    assert_eq!(code, Some(0), "{told}");
    let server = data.serve();
    let found = server.count();
    assert!(
        (1..20).contains(&found),
        "all but the damaged part is back: {found}"
    );
    server.ingest(&[json!({"message": "after the repair"})]);
    let kept = std::fs::read_dir(&wal).unwrap().any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("damaged")
    });
    assert!(kept, "the damaged file is kept");
}

#[test]
fn records_are_shown_as_they_arrive() {
    use std::io::BufRead;
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[json!({"level": "error", "message": "was there"})]);
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path())
        .args(["tail", "--url", &server.url, "level:=error"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["message"], "was there");
    server.ingest(&[
        json!({"level": "info", "message": "not asked for"}),
        json!({"level": "error", "message": "arrived"}),
    ]);
    assert_eq!(next()["message"], "arrived");
    child.kill().unwrap();
    child.wait().unwrap();
}
