//! `logmill migrate`, on the catalog of a data directory and on Postgres.

use logmill_test_services::PostgresServer;
use serde_json::json;

use crate::harness::{Data, command, text_of};

/// What the command printed, on both streams, and whether it succeeded.
fn migrate(data: &Data, arguments: &[&str]) -> (bool, String) {
    let output = data.run(&[&["migrate"], arguments].concat());
    let printed = text_of(&output.stdout) + &text_of(&output.stderr);
    (output.status.success(), printed)
}

/// How `status` shows the three migrations.
fn shown(states: [&str; 3]) -> String {
    let [initial, deletes, fleet] = states;
    format!("   1  {initial}  initial\n   2  {deletes}  deletes\n   3  {fleet}  fleet\n")
}

/// All steps, on the catalog that `at` names.
fn up_and_down(data: &Data, at: &[&str]) {
    let migrate = |arguments: &[&str]| migrate(data, &[arguments, at].concat());
    let succeeds = |arguments: &[&str], expected: [&str; 3]| {
        assert_eq!(migrate(arguments), (true, shown(expected)), "{arguments:?}");
    };
    let fails = |arguments: &[&str], why: &str| {
        let (success, printed) = migrate(arguments);
        assert!(
            !success && printed.contains(why),
            "{arguments:?}: {printed}"
        );
    };
    let (applied, pending) = ("applied", "pending");
    succeeds(&[], [pending; 3]);
    succeeds(&["up", "--to", "1"], [applied, pending, pending]);
    succeeds(&["up"], [applied; 3]);
    succeeds(&["status"], [applied; 3]);
    fails(&["down"], "takes back fleet and loses the data");
    fails(&["down", "--to", "0"], "takes back initial, deletes, fleet");
    succeeds(&["status"], [applied; 3]);
    succeeds(&["down", "--yes"], [applied, applied, pending]);
    succeeds(&["down", "--to", "0", "--yes"], [pending; 3]);
    fails(&["down", "--yes"], "nothing to take back");
    fails(
        &["up", "--to", "4"],
        "there is no version 4: they are 0 to 3",
    );
    succeeds(&["up"], [applied; 3]);
}

#[test]
fn the_catalog_of_a_data_directory_goes_up_and_down() {
    let data = Data::new();
    let folder = data.path().display().to_string();
    let at = ["--data-dir", folder.as_str()];
    migrate(&data, &at);
    assert!(!data.path().exists(), "looking makes nothing");
    up_and_down(&data, &at);

    let server = data.serve();
    server.ingest(&[json!({"message": "kept"})]);
    for action in [&["up"][..], &["down", "--yes"]] {
        let (success, printed) = migrate(&data, &[action, &at].concat());
        assert!(!success && printed.contains("in use"), "{printed}");
    }
}

#[test]
fn a_postgres_catalog_goes_up_and_down() {
    let data = Data::new();
    let server = PostgresServer::start();
    let url = server.database();
    up_and_down(&data, &["--database-url", &url]);
    assert!(!data.path().exists(), "the data directory is not touched");

    let by_environment = command(data.path().parent().unwrap())
        .args(["migrate", "status"])
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    assert_eq!(text_of(&by_environment.stdout), shown(["applied"; 3]));

    server.kill();
    let secret = url.replace("postgres@", "postgres:secret@");
    let (success, printed) = migrate(&data, &["status", "--database-url", &secret]);
    assert!(!success && printed.contains("connecting"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}
