//! What all queries share, and a session for one: its memory, its one table.
//!
//! DataFusion's state holds hundreds of functions and rules and is costly to make and to copy; it is made once. Plans of
//! structured queries are put together over it as it is; only SQL, which finds its table by name, works on a copy.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use logmill_model::TenantId;
use logmill_query_api::QueryLimits;
use logmill_store::{LogTable, Snapshot, Store};
use tracing::Instrument;

use crate::barriers::Barriers;
use crate::cooperation::CooperativeJoins;
use crate::count_by_text::CountsByText;
use crate::counts::CountsFromRollups;
use crate::first::FirstByTime;
use crate::functions::{self, DistinctByHash, GroupByHash};
use crate::postgres::PgCatalog;
use crate::scan::{MatchCache, SegmentScan};
use crate::schema_tables::InformationSchema;
use crate::segments::{Objects, ScanCounts, SegmentCache};
use crate::table::LogsTable;

/// The one table's name.
pub(crate) const TABLE: &str = "logs";

/// Where the table is, for names that say so.
pub(crate) const CATALOG: (&str, &str) = ("logmill", "public");

/// What all queries share: functions, rules and options; the segments that were opened.
pub(crate) struct Environment {
    state: Arc<SessionState>,
    runtime: RuntimeEnv,
    memory_max_bytes: usize,
    objects: Objects,
    /// Has the logs, where it is not segments.
    rows: Option<Arc<dyn LogTable>>,
    cache: Arc<SegmentCache>,
    matches: Arc<MatchCache>,
}

/// A query's session.
#[derive(Clone)]
pub(crate) struct Session {
    /// Shared by all queries: it knows no table.
    pub(crate) state: Arc<SessionState>,
    /// With the query's own memory.
    pub(crate) context: Arc<TaskContext>,
    pub(crate) table: Arc<LogsTable>,
}

impl Environment {
    pub(crate) fn new(store: &Store, limits: &QueryLimits, threads: usize) -> Result<Self> {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(no_disk())
            .build()?;
        let objects = Objects::new(
            store.objects().clone(),
            store.local_root().map(ToOwned::to_owned),
        );
        Ok(Self {
            state: Arc::new(state(threads)),
            runtime,
            memory_max_bytes: bytes(limits.memory_max_bytes),
            objects,
            rows: store.table().cloned(),
            cache: Arc::new(SegmentCache::new(bytes(limits.metadata_cache_bytes))),
            matches: Arc::new(MatchCache::new(bytes(limits.match_cache_bytes))),
        })
    }

    /// The state that queries share.
    pub(crate) fn state(&self) -> Arc<SessionState> {
        self.state.clone()
    }

    /// A session over a tenant's snapshot, with memory of its own.
    pub(crate) fn session(&self, tenant: &TenantId, snapshot: Snapshot) -> Result<Session> {
        let memory = Arc::new(GreedyMemoryPool::new(self.memory_max_bytes));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&self.runtime)
            .with_memory_pool(memory)
            .with_disk_manager_builder(no_disk())
            .build_arc()?;
        let scan = SegmentScan {
            objects: self.objects.clone(),
            cache: self.cache.clone(),
            matches: self.matches.clone(),
            counts: Arc::new(ScanCounts::default()),
        };
        // Functions are looked up by name while planning, never while running.
        let context = TaskContext::new(
            None,
            self.state.session_id().to_owned(),
            self.state.config().clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            runtime,
        );
        Ok(Session {
            state: self.state.clone(),
            context: Arc::new(context),
            table: Arc::new(LogsTable::new(tenant, snapshot, scan, self.rows.clone())),
        })
    }
}

impl Session {
    /// A state in which the table has a name.
    pub(crate) fn named(&self) -> Result<SessionState> {
        let mut state = self.state.as_ref().clone();
        state.register_catalog_list(catalog(self.table.clone())?);
        // The instant that `now()` is.
        state.mark_start_execution();
        Ok(state)
    }

    /// Runs a plan to its end.
    pub(crate) async fn collect(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
        datafusion::physical_plan::collect(plan, self.context.clone())
            .instrument(tracing::debug_span!("execute"))
            .await
    }
}

/// The names by which a query's one table is found.
fn catalog(table: Arc<LogsTable>) -> Result<Arc<dyn CatalogProviderList>> {
    let schema = MemorySchemaProvider::new();
    let logs = table.schema();
    schema.register_table(TABLE.to_owned(), table)?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(CATALOG.1, Arc::new(schema))?;
    let described = InformationSchema { logs: logs.clone() };
    catalog.register_schema("information_schema", Arc::new(described))?;
    catalog.register_schema("pg_catalog", Arc::new(PgCatalog { logs }))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.0.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}

fn state(threads: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG.0, CATALOG.1);
    let options = config.options_mut();
    options.execution.time_zone = Some("+00:00".to_owned());
    // Scans are dealt out by what is left of them after pruning.
    options.optimizer.enable_round_robin_repartition = false;
    // Members of structs are taken out where they are computed, never read; and of two columns of a projection that are the
    // same one, the rules that move this below unions, joins and sorts make a plan that is refused (DataFusion 55).
    options.optimizer.enable_leaf_expression_pushdown = false;
    // Scans were given their filters when they were planned: there is nothing left to push down.
    let mut rules = PhysicalOptimizer::new().rules;
    let first = rules
        .iter()
        .position(|rule| rule.name() == "FilterPushdown");
    if let Some(first) = first {
        rules.remove(first);
    }
    rules.push(Arc::new(CountsByText));
    rules.push(Arc::new(CooperativeJoins));
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_analyzer_rule(Arc::new(Barriers))
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rules(rules);
    builder
        .scalar_functions()
        .get_or_insert_default()
        .extend(functions::all());
    builder
        .aggregate_functions()
        .get_or_insert_default()
        .push(functions::count_distinct());
    builder
        .expr_planners()
        .get_or_insert_default()
        .insert(0, Arc::new(functions::JsonOperators));
    builder.build()
}

/// The usual rules, and ours.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    // Filters are with their scans by then, and expressions not yet pulled out of their places.
    let pushed = rules
        .iter()
        .position(|rule| rule.name() == "push_down_filter");
    let at = pushed.map_or(rules.len(), |pushed| pushed + 1);
    rules.insert(at, Arc::new(FirstByTime));
    rules.insert(at, Arc::new(CountsFromRollups));
    // Before the usual rule makes groups of them.
    rules.insert(at, Arc::new(DistinctByHash));
    // What rollups do not count.
    rules.push(Arc::new(GroupByHash));
    rules
}

/// Queries do not spill: what exceeds its memory stops with a clear error instead of filling a disk.
fn no_disk() -> DiskManagerBuilder {
    DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled)
}
