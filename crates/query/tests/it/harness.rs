//! A store with records in several segments and in memory, and an engine over it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::Schema;
use futures::StreamExt;
use logmill_catalog::SqliteCatalog;
use logmill_model::{SystemClock, TenantId};
use logmill_query::Engine;
use logmill_query_api::{LogQuery, QueryEngine, QueryLimits, QueryStats, SqlQuery};
use logmill_schema::ColumnType;
use logmill_store::{AppendRequest, Store, StoreOptions};
use object_store::local::LocalFileSystem;

/// 2026-11-20T00:00:00Z
pub(crate) const DAY: i64 = 1_795_132_800_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) t_ns: i64,
    pub(crate) n: i64,
    pub(crate) message: Option<String>,
    pub(crate) tag: Option<String>,
}

pub(crate) struct Served {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<Store>,
    folder: tempfile::TempDir,
}

pub(crate) fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| row.t_ns);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let numbers: Int64Array = rows.iter().map(|row| Some(row.n)).collect();
    let messages: StringArray = rows.iter().map(|row| row.message.as_deref()).collect();
    let mut fields = vec![
        ColumnType::Timestamp.field("timestamp"),
        ColumnType::String.field("message"),
        ColumnType::Integer.field("n"),
    ];
    let mut columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(times), Arc::new(messages), Arc::new(numbers)];
    if rows.iter().any(|row| row.tag.is_some()) {
        let tags: StringArray = rows.iter().map(|row| row.tag.as_deref()).collect();
        fields.push(ColumnType::String.field("tag"));
        columns.push(Arc::new(tags));
    }
    let columns = columns
        .iter()
        .zip(&fields)
        .map(|(column, field)| {
            logmill_schema::promote(column, field.name(), field.data_type()).unwrap()
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::with(StoreOptions::default(), QueryLimits::default(), false).await
    }

    /// With these bounds; the segments are read as those of a remote store are, or where they are.
    pub(crate) async fn with(options: StoreOptions, limits: QueryLimits, remote: bool) -> Self {
        Self::over(tempfile::tempdir().unwrap(), options, limits, remote).await
    }

    /// Over a folder that may have a catalog and objects already.
    pub(crate) async fn over(
        folder: tempfile::TempDir,
        options: StoreOptions,
        limits: QueryLimits,
        remote: bool,
    ) -> Self {
        let root = folder.path().join("objects");
        std::fs::create_dir_all(&root).unwrap();
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.db"))
            .await
            .unwrap();
        let objects = LocalFileSystem::new_with_prefix(&root).unwrap();
        let options = StoreOptions {
            flush_interval_ms: 3_600_000,
            ..options
        };
        let wal = folder.path().join("wal");
        let store = Store::open(
            options,
            &wal,
            Arc::new(catalog),
            Arc::new(objects),
            (!remote).then_some(root),
            Arc::new(SystemClock),
        );
        let store = store.await.unwrap();
        let limits = QueryLimits {
            threads: match limits.threads {
                0 => 2,
                given => given,
            },
            ..limits
        };
        Self {
            engine: Engine::new(store.clone(), limits, [7; 32]).unwrap(),
            store,
            folder,
        }
    }

    /// Where the objects are.
    pub(crate) fn objects_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) async fn append(&self, rows: &[Row]) {
        self.append_batch(batch(rows)).await;
    }

    pub(crate) async fn append_batch(&self, batch: RecordBatch) {
        let request = AppendRequest {
            tenant: tenant(),
            batch,
            received_at_ns: DAY,
            idempotency: None,
        };
        self.store.append(request).await.unwrap();
    }

    /// The numbers of the records that satisfy a condition, sorted; and what it took.
    pub(crate) async fn sql(&self, condition: &str) -> (Vec<i64>, QueryStats) {
        let query = SqlQuery {
            tenant: tenant(),
            sql: format!("SELECT n FROM logs WHERE {condition}"),
            timeout_ms: None,
        };
        let mut answer = match self.engine.sql(query).await {
            Ok(answer) => answer,
            Err(error) => panic!("{condition}: {error}"),
        };
        let mut numbers = Vec::new();
        while let Some(batch) = answer.batches.next().await {
            let batch = batch.unwrap_or_else(|error| panic!("{condition}: {error}"));
            numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
        numbers.sort_unstable();
        (numbers, answer.stats.get())
    }

    /// How many rows a question has.
    pub(crate) async fn rows(&self, sql: &str) -> usize {
        let query = SqlQuery {
            tenant: tenant(),
            sql: sql.to_owned(),
            timeout_ms: None,
        };
        let mut answer = match self.engine.sql(query).await {
            Ok(answer) => answer,
            Err(error) => panic!("{sql}: {error}"),
        };
        let mut rows = 0;
        while let Some(batch) = answer.batches.next().await {
            rows += batch
                .unwrap_or_else(|error| panic!("{sql}: {error}"))
                .num_rows();
        }
        rows
    }

    /// The numbers of the records of a page, in its order.
    pub(crate) async fn page(&self, query: LogQuery) -> Vec<i64> {
        let page = self.engine.query(query).await.unwrap();
        let numbers = page.batches.iter().flat_map(|batch| {
            let column = batch.column_by_name("n").unwrap();
            column.as_primitive::<Int64Type>().values().to_vec()
        });
        numbers.collect()
    }
}
