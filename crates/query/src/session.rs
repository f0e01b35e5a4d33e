//! A DataFusion session for one query: its memory, its one table, its functions.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::push_down_limit::PushDownLimit;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use logmill_query_api::QueryLimits;
use logmill_store::{Snapshot, Store};
use url::Url;

use crate::functions;
use crate::scan::{OBJECTS_URL, SegmentScan};
use crate::segments::{Objects, ScanCounts, SegmentCache};
use crate::table::LogsTable;

/// The one table's name.
pub(crate) const TABLE: &str = "logs";

/// Where the table is, for names that say so.
const CATALOG: (&str, &str) = ("logmill", "public");

/// What all queries share: the state that sessions begin with, the segments that were opened.
pub(crate) struct Environment {
    state: Arc<SessionState>,
    /// The state of structured queries: of the optimizer's rules they need the fewest.
    structured: Arc<SessionState>,
    runtime: RuntimeEnv,
    memory_max_bytes: usize,
    objects: Objects,
    cache: Arc<SegmentCache>,
}

/// A query's session.
pub(crate) struct Session {
    pub(crate) context: SessionContext,
    pub(crate) table: Arc<LogsTable>,
}

impl Environment {
    pub(crate) fn new(store: &Store, limits: &QueryLimits, threads: usize) -> Result<Self> {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(no_disk())
            .build()?;
        let url = Url::parse(OBJECTS_URL).expect("a constant that is a URL");
        runtime.register_object_store(&url, store.objects().clone());
        let objects = Objects::new(
            store.objects().clone(),
            store.local_root().map(ToOwned::to_owned),
        );
        Ok(Self {
            state: Arc::new(builder(threads).build()),
            structured: Arc::new(
                builder(threads)
                    .with_optimizer_rules(vec![
                        Arc::new(SimplifyExpressions::new()),
                        Arc::new(PushDownFilter::new()),
                        Arc::new(PushDownLimit::new()),
                        Arc::new(OptimizeProjections::new()),
                    ])
                    .build(),
            ),
            runtime,
            memory_max_bytes: bytes(limits.memory_max_bytes),
            objects,
            cache: Arc::new(SegmentCache::new(bytes(limits.metadata_cache_bytes))),
        })
    }

    /// The state that sessions begin with.
    pub(crate) fn state(&self) -> Arc<SessionState> {
        self.state.clone()
    }

    /// A session for SQL over a snapshot, with memory of its own.
    pub(crate) fn session(&self, snapshot: Snapshot) -> Result<Session> {
        self.session_of(&self.state, snapshot)
    }

    /// A session for a structured query.
    pub(crate) fn structured_session(&self, snapshot: Snapshot) -> Result<Session> {
        self.session_of(&self.structured, snapshot)
    }

    fn session_of(&self, state: &SessionState, snapshot: Snapshot) -> Result<Session> {
        let memory = Arc::new(GreedyMemoryPool::new(self.memory_max_bytes));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime)
            .with_memory_pool(memory)
            .with_disk_manager_builder(no_disk())
            .build_arc()?;
        let scan = SegmentScan {
            objects: self.objects.clone(),
            cache: self.cache.clone(),
            counts: Arc::new(ScanCounts::default()),
        };
        let table = Arc::new(LogsTable::new(snapshot, scan));
        let state = SessionStateBuilder::new_from_existing(state.clone())
            .with_runtime_env(runtime)
            .with_catalog_list(catalog(table.clone())?)
            .build();
        Ok(Session {
            context: SessionContext::new_with_state(state),
            table,
        })
    }
}

/// The names by which a query's one table is found.
fn catalog(table: Arc<LogsTable>) -> Result<Arc<dyn CatalogProviderList>> {
    let schema = MemorySchemaProvider::new();
    schema.register_table(TABLE.to_owned(), table)?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(CATALOG.1, Arc::new(schema))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.0.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

fn builder(threads: usize) -> SessionStateBuilder {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG.0, CATALOG.1);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.time_zone = Some("+00:00".to_owned());
    // Scans are dealt out by what is left of them after pruning.
    options.optimizer.repartition_file_scans = false;
    options.optimizer.enable_round_robin_repartition = false;
    // Scans were given their filters when they were planned. Pushing down what is left would have them checked twice,
    // in the file's unit of time, and nowhere else.
    let mut rules = PhysicalOptimizer::new().rules;
    let first = rules
        .iter()
        .position(|rule| rule.name() == "FilterPushdown");
    if let Some(first) = first {
        rules.remove(first);
    }
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(rules);
    builder
        .scalar_functions()
        .get_or_insert_default()
        .extend(functions::all());
    builder
}

/// Queries do not spill: what exceeds its memory stops with a clear error instead of filling a disk.
fn no_disk() -> DiskManagerBuilder {
    DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled)
}
