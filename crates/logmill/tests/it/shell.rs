//! The shell, at a terminal of its own.

use std::process::Command;

use serde_json::json;

use crate::duckdb::python;
use crate::harness::{BINARY, Data, command, text_of};

const TERMINAL: &str = include_str!("shell/terminal.py");

#[test]
fn a_conversation_at_a_terminal() {
    let data = Data::new();
    let server = data.serve();
    server.ingest(&[json!({"service": "pay", "level": "error", "message": "card declined"})]);
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(python())
        .args(["-c", TERMINAL, BINARY])
        .env("LOGMILL_URL", &server.url)
        .env("XDG_STATE_HOME", state.path())
        .env("TERM", "xterm")
        .env_remove("LOGMILL_API_KEY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let history = std::fs::read_to_string(state.path().join("logmill/history")).unwrap();
    assert!(history.contains("GROUP BY service"), "{history}");
    assert_eq!(server.metric("logmill_queries_running"), 0.0);
}

#[test]
fn without_a_terminal_there_is_help() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text_of(&output.stderr).contains("Usage: logmill"),
        "{output:?}"
    );
}
