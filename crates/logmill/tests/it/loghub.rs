//! Real logs of sixteen systems through `logmill ingest`: every line is accounted for.
//!
//! The logs are not part of the project. `LOGMILL_LOGHUB` names their folder; `.ci/run` sets it, and then a
//! missing file fails. Without the variable there is nothing to read.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Data, command, text_of};

const SYSTEMS: [&str; 16] = [
    "Android",
    "Apache",
    "BGL",
    "HDFS",
    "HPC",
    "Hadoop",
    "HealthApp",
    "Linux",
    "Mac",
    "OpenSSH",
    "OpenStack",
    "Proxifier",
    "Spark",
    "Thunderbird",
    "Windows",
    "Zookeeper",
];

#[test]
fn every_line_of_real_logs_is_accounted_for() {
    let Some(folder) = std::env::var_os("LOGMILL_LOGHUB").map(PathBuf::from) else {
        println!("LOGMILL_LOGHUB is not set: nothing to read");
        return;
    };
    let data = Data::new();
    let server = data.serve();
    for system in SYSTEMS {
        let file = folder.join(system).join(format!("{system}_2k.log"));
        let bytes =
            std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .count();
        let output = command(data.path().parent().unwrap())
            .args(["ingest", "--url", &server.url, "--json", "--field"])
            .arg(format!("source={system}"))
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{system}: {}",
            text_of(&output.stderr)
        );
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let accepted = summary["accepted"].as_u64().unwrap();
        let joined = summary["continuation_lines"].as_u64().unwrap();
        assert_eq!(summary["rejected"], 0, "{system}: {summary}");
        assert_eq!(accepted + joined, lines as u64, "{system}: {summary}");
        let stored = server.sql(&format!(
            "SELECT count(*) FROM logs WHERE source = '{system}'"
        ));
        assert_eq!(stored[0][0], accepted, "{system}");
    }
    let before = server.count();
    server.flush();
    assert_eq!(server.count(), before);
}
