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

/// All migrations, in their order.
const NAMES: [&str; 5] = ["initial", "deletes", "fleet", "access", "log_entries"];

/// How `status` shows the migrations when so many are applied.
fn shown(applied: usize) -> String {
    let line = |(position, name): (usize, &&str)| {
        let state = if position < applied {
            "applied"
        } else {
            "pending"
        };
        format!("{:>4}  {state}  {name}\n", position + 1)
    };
    NAMES.iter().enumerate().map(line).collect()
}

/// All steps, on the catalog that `at` names.
fn up_and_down(data: &Data, at: &[&str]) {
    let migrate = |arguments: &[&str]| migrate(data, &[arguments, at].concat());
    let all = NAMES.len();
    let succeeds = |arguments: &[&str], applied: usize| {
        assert_eq!(migrate(arguments), (true, shown(applied)), "{arguments:?}");
    };
    let fails = |arguments: &[&str], why: &str| {
        let (success, printed) = migrate(arguments);
        assert!(
            !success && printed.contains(why),
            "{arguments:?}: {printed}"
        );
    };
    succeeds(&[], 0);
    succeeds(&["up", "--to", "1"], 1);
    succeeds(&["up"], all);
    succeeds(&["status"], all);
    let newest = NAMES[all - 1];
    fails(
        &["down"],
        &format!("takes back {newest} and loses the data"),
    );
    let everything = NAMES.join(", ");
    fails(&["down", "--to", "0"], &format!("takes back {everything}"));
    succeeds(&["status"], all);
    succeeds(&["down", "--yes"], all - 1);
    succeeds(&["down", "--to", "0", "--yes"], 0);
    fails(&["down", "--yes"], "nothing to take back");
    let beyond = (all + 1).to_string();
    let why = format!("there is no version {beyond}: they are 0 to {all}");
    fails(&["up", "--to", &beyond], &why);
    succeeds(&["up"], all);
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
    assert_eq!(text_of(&by_environment.stdout), shown(NAMES.len()));

    server.kill();
    let secret = url.replace("postgres@", "postgres:secret@");
    let (success, printed) = migrate(&data, &["status", "--database-url", &secret]);
    assert!(!success && printed.contains("connecting"), "{printed}");
    assert!(!printed.contains("secret"), "{printed}");
}
