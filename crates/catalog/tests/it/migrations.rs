//! Schema versions.

use logmill_catalog::{
    Error, MigrationState, MigrationStatus, PostgresCatalog, PostgresOptions, Schema, SqliteCatalog,
};
use logmill_model::ErrorKind;
use logmill_test_services::PostgresServer;

use crate::site::{Site, commit, segment};

fn states(status: &[MigrationStatus]) -> Vec<MigrationState> {
    status.iter().map(|migration| migration.state).collect()
}

/// All migrations, in their order.
const NAMES: [&str; 5] = ["initial", "deletes", "fleet", "access", "log_entries"];
const NEWEST: i64 = 5;

pub(crate) async fn migrations_go_up_and_down(site: Site) {
    use MigrationState::{Applied, Pending};
    let schema = site.schema();
    let states = async || states(&schema.status().await.unwrap());
    let before = schema.status().await.unwrap();
    let names = before
        .iter()
        .map(|migration| migration.description.as_str());
    assert_eq!(names.collect::<Vec<_>>(), NAMES);
    assert!(
        before
            .iter()
            .map(|migration| migration.version)
            .eq(1..=NEWEST)
    );
    let up_to = |version: usize| {
        let mut states = [Pending; NAMES.len()];
        states[..version].fill(Applied);
        states
    };
    assert_eq!(states().await, up_to(0));
    schema.up(Some(1)).await.unwrap();
    assert_eq!(states().await, up_to(1));
    schema.up(None).await.unwrap();
    assert_eq!(states().await, up_to(NAMES.len()));
    schema.down(2).await.unwrap();
    assert_eq!(states().await, up_to(2));
    schema.down(0).await.unwrap();
    assert_eq!(states().await, up_to(0));
    let catalog = site.open().await;
    assert_eq!(states().await, up_to(NAMES.len()));
    assert!(catalog.segments().await.unwrap().is_empty());
}

pub(crate) async fn a_database_of_a_newer_version_is_refused(site: Site) {
    drop(site.open().await);
    site.sql(
        "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time \
         FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let error = site.try_open().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooNew {
                found: 9999,
                known: NEWEST
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("upgrade logmill"), "{error}");
    let error = site.schema().down(0).await.unwrap_err();
    assert!(matches!(error, Error::TooNew { .. }), "{error:?}");
}

pub(crate) async fn a_migration_that_was_edited_is_refused(site: Site) {
    drop(site.open().await);
    site.sql("UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 1)")
        .await;
    let error = site.try_open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert!(error.to_string().contains("migration 2"), "{error}");
}

pub(crate) async fn data_of_the_version_before_are_kept(site: Site) {
    let schema = site.schema();
    schema.up(Some(2)).await.unwrap();
    site.sql(
        "INSERT INTO segments VALUES ('01A', 'acme', 'tenants/acme/01A', 1, 2, 3, 4, '[]', 5, 0, 6); \
         INSERT INTO partitions VALUES ('local', 7)",
    )
    .await;
    let catalog = site.open().await;
    let all = catalog.changes(0).await.unwrap();
    assert!(all.complete);
    assert_eq!(all.segments_added[0].path, "tenants/acme/01A");
    assert_eq!(all.watermarks, [("local".to_owned(), 7)]);
    let flush = commit(7, 8, vec![segment("01B", "acme")], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    let next = catalog.changes(all.version).await.unwrap();
    assert_eq!(next.segments_added.len(), 1);
    drop(catalog);
    schema.down(2).await.unwrap();
    schema.up(None).await.unwrap();
    let again = site.open().await;
    assert_eq!(again.segments().await.unwrap().len(), 2);
    assert_eq!(again.watermark("local").await.unwrap(), 8);
}

/// The checksums that sqlx keeps in data directories that exist.
#[tokio::test]
async fn released_migrations_have_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    SqliteCatalog::open(&path).await.unwrap();
    let url = format!("sqlite://{}", path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let select =
        "SELECT substr(lower(hex(checksum)), 1, 16) FROM _sqlx_migrations ORDER BY version LIMIT 2";
    let checksums: Vec<String> = sqlx::query_scalar(select).fetch_all(&pool).await.unwrap();
    assert_eq!(checksums, RELEASED);
}

const RELEASED: [&str; 2] = ["6e417e33e409c194", "cbedfb3f718045c5"];

#[tokio::test]
async fn looking_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let status = Schema::Sqlite(path.clone()).status().await.unwrap();
    assert_eq!(states(&status), [MigrationState::Pending; NAMES.len()]);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_catalog_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let diary = "this is a diary, not a database, and long enough to be looked at";
    std::fs::write(&path, diary).unwrap();
    assert!(SqliteCatalog::open(&path).await.is_err());
    assert!(SqliteCatalog::open(folder.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_migrate_once() {
    let url = PostgresServer::shared().database();
    let mut starts = Vec::new();
    for _ in 0..6 {
        let url = url.clone();
        starts.push(tokio::spawn(async move {
            PostgresCatalog::connect(&url, &PostgresOptions::default()).await
        }));
    }
    for start in starts {
        let catalog = start.await.unwrap().unwrap();
        logmill_catalog::Catalog::ping(&catalog).await.unwrap();
    }
    let rows = "SELECT count(*), count(DISTINCT version) FROM _sqlx_migrations";
    assert_eq!(
        PostgresServer::shared().sql(&url, rows),
        format!("{NEWEST}|{NEWEST}")
    );
}
