//! A DataFusion session for one query: its memory, its one table, its functions.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use logmill_store::{Snapshot, Store};
use url::Url;

use crate::functions;
use crate::table::{LogsTable, OBJECTS_URL, ScanCounts};

/// The one table's name.
pub(crate) const TABLE: &str = "logs";

/// What all queries share: the object store and the cache of segments' metadata.
pub(crate) struct Environment {
    shared: RuntimeEnv,
    memory_max_bytes: usize,
    threads: usize,
}

/// A query's session.
pub(crate) struct Session {
    pub(crate) context: SessionContext,
    pub(crate) counts: Arc<ScanCounts>,
    pub(crate) granules_total: u64,
}

impl Environment {
    pub(crate) fn new(store: &Store, memory_max_bytes: u64, threads: usize) -> Result<Self> {
        let shared = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(no_disk())
            .build()?;
        let url = Url::parse(OBJECTS_URL).expect("a constant that is a URL");
        shared.register_object_store(&url, store.objects().clone());
        let memory_max_bytes = usize::try_from(memory_max_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            shared,
            memory_max_bytes,
            threads,
        })
    }

    /// A session over a snapshot, with memory of its own.
    pub(crate) fn session(&self, snapshot: Snapshot) -> Result<Session> {
        let memory = Arc::new(GreedyMemoryPool::new(self.memory_max_bytes));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.shared)
            .with_memory_pool(memory)
            .with_disk_manager_builder(no_disk())
            .build_arc()?;
        let mut config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_information_schema(true)
            .with_default_catalog_and_schema("logmill", "public");
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        options.execution.time_zone = Some("+00:00".to_owned());
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        for function in functions::all() {
            context.register_udf(function.as_ref().clone());
        }
        let table = LogsTable::new(Arc::new(snapshot));
        let (counts, granules_total) = (table.counts(), table.granules_total());
        context.register_table(TABLE, Arc::new(table))?;
        Ok(Session {
            context,
            counts,
            granules_total,
        })
    }
}

/// Queries do not spill: what exceeds its memory stops with a clear error instead of filling a disk.
fn no_disk() -> DiskManagerBuilder {
    DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled)
}
