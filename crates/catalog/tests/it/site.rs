//! Where a catalog is, and the rows that tests put into it.

use std::path::PathBuf;
use std::sync::Arc;

use logmill_catalog::{
    Access, Catalog, DeleteId, DeleteRow, FlushCommit, IdempotencyRow, PostgresCatalog,
    PostgresOptions, Result, Schema, SegmentColumn, SegmentId, SegmentRow, SqliteCatalog,
};
use logmill_model::TenantId;
use logmill_schema::ColumnType;
use logmill_test_services::PostgresServer;
use tempfile::TempDir;

/// Where a catalog is. Opening it twice is what two processes do.
pub(crate) enum Site {
    Sqlite(TempDir),
    Postgres(String),
}

impl Site {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(PostgresServer::shared().database())
    }

    pub(crate) async fn open(&self) -> Arc<dyn Catalog> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<dyn Catalog>> {
        Ok(match self {
            Self::Sqlite(folder) => Arc::new(SqliteCatalog::open(&file(folder)).await?),
            Self::Postgres(url) => {
                let options = PostgresOptions::default();
                Arc::new(PostgresCatalog::connect(url, &options).await?)
            }
        })
    }

    pub(crate) async fn access(&self) -> Arc<dyn Access> {
        match self {
            Self::Sqlite(folder) => Arc::new(SqliteCatalog::open(&file(folder)).await.unwrap()),
            Self::Postgres(url) => {
                let options = PostgresOptions::default();
                Arc::new(PostgresCatalog::connect(url, &options).await.unwrap())
            }
        }
    }

    pub(crate) fn schema(&self) -> Schema {
        match self {
            Self::Sqlite(folder) => Schema::Sqlite(file(folder)),
            Self::Postgres(url) => Schema::Postgres(url.clone()),
        }
    }

    /// Runs statements behind the catalog's back.
    pub(crate) async fn sql(&self, statements: &'static str) {
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite://{}?mode=rwc", file(folder).display());
                let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
                sqlx::raw_sql(statements).execute(&pool).await.unwrap();
                pool.close().await;
            }
            Self::Postgres(url) => {
                PostgresServer::shared().sql(url, statements);
            }
        }
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("catalog.db")
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn segment(id: &str, owner: &str) -> SegmentRow {
    SegmentRow {
        id: SegmentId(id.to_owned()),
        tenant: tenant(owner),
        path: format!("tenants/{owner}/segments/2026-11-20/{id}.parquet"),
        rows: 7,
        bytes: 900,
        min_timestamp_ns: -5,
        max_timestamp_ns: i64::MAX,
        columns: vec![
            SegmentColumn {
                name: "timestamp".to_owned(),
                column_type: ColumnType::Timestamp,
            },
            SegmentColumn {
                name: "a \"b\"".to_owned(),
                column_type: ColumnType::WideInteger,
            },
        ],
        checksum: u64::MAX - 1,
        level: 0,
        created_at_ns: 3,
    }
}

pub(crate) fn key(key: &str, received_at_ns: i64) -> IdempotencyRow {
    IdempotencyRow {
        tenant: tenant("acme"),
        key: key.to_owned(),
        fingerprint: [7; 16],
        answer: b"{}".to_vec(),
        received_at_ns,
    }
}

pub(crate) fn commit(
    from: u64,
    to: u64,
    segments: Vec<SegmentRow>,
    keys: Vec<IdempotencyRow>,
) -> FlushCommit {
    FlushCommit {
        partition: "local".to_owned(),
        expected_watermark: from,
        new_watermark: to,
        segments,
        idempotency: keys,
        epoch: None,
    }
}

/// A delete of one segment, as it is asked for.
pub(crate) fn delete_of_one(id: &str) -> DeleteRow {
    DeleteRow {
        id: DeleteId(id.to_owned()),
        tenant: tenant("beta"),
        predicate: "{\"text\":\"x\"}".to_owned(),
        requested_at_ns: 50,
        finished_at_ns: None,
        segments: 1,
        segments_left: 1,
        rows_deleted: 0,
    }
}
