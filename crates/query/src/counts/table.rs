//! The cells of all rollups and, where there are none, a cell for each record.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use logmill_model::{TimeRange, field};
use logmill_segment::Rollup;
use logmill_store::{MemtableBatch, SegmentHandle};

use super::cells::{self, COUNT, MINUTE_NS, schema};
use super::rule::Grain;
use crate::predicate;
use crate::pruning;
use crate::table::LogsTable;

/// Counts of the records of `logs` by time, level and service.
#[derive(Debug)]
pub(crate) struct CountsTable {
    logs: Arc<LogsTable>,
    grain: Grain,
}

impl CountsTable {
    pub(super) const fn new(logs: Arc<LogsTable>, grain: Grain) -> Self {
        Self { logs, grain }
    }
}

#[async_trait]
impl TableProvider for CountsTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let range = pruning::time_range(filters);
        let parts = self.parts(range).await?;
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !parts.cells.is_empty() {
            inputs.push(MemorySourceConfig::try_new_exec(
                &[parts.cells],
                schema(),
                None,
            )?);
        }
        let rows = self
            .logs
            .rows_of(state, &parts.whole, &parts.memory, range, filters)
            .await?;
        inputs.extend(counted(rows)?);
        for (edge, segments) in parts.edges {
            let rows = self
                .logs
                .rows_of(state, &segments, &[], edge, filters)
                .await?;
            for plan in counted(rows)? {
                let within = predicate::in_range(edge);
                let df_schema = DFSchema::try_from(plan.schema())?;
                let within = state.create_physical_expr(within, &df_schema)?;
                inputs.push(Arc::new(FilterExec::try_new(within, plan)?));
            }
        }
        let all = match inputs.len() {
            0 => MemorySourceConfig::try_new_exec(&[vec![]], schema(), None)?,
            1 => inputs.remove(0),
            _ => UnionExec::try_new(inputs)?,
        };
        let Some(projection) = projection else {
            return Ok(all);
        };
        let columns = projection.iter().map(|index| {
            let schema = schema();
            let name = schema.field(*index).name();
            ProjectionExpr {
                expr: Arc::new(Column::new(name, *index)),
                alias: name.clone(),
            }
        });
        let columns: Vec<_> = columns.collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, all)?))
    }
}

/// Where the counts of a range come from.
#[derive(Default)]
struct Parts {
    cells: Vec<RecordBatch>,
    /// Segments whose rows have to be counted.
    whole: Vec<Arc<SegmentHandle>>,
    /// And what in memory.
    memory: Vec<MemtableBatch>,
    /// Times at the ends of the range that are less than a minute, and the segments that have something of them.
    edges: Vec<(TimeRange, Vec<Arc<SegmentHandle>>)>,
}

impl CountsTable {
    async fn parts(&self, range: TimeRange) -> Result<Parts> {
        let mut parts = Parts::default();
        let inner = whole_minutes(range);
        let mut edges = edges_of(range, inner).map(|edge| (edge, Vec::new()));
        for handle in self.logs.segments_of(range) {
            let row = handle.row();
            let overlaps = |range: TimeRange| {
                range.overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
            };
            let cells = if inner.is_some_and(overlaps) && handle.deletes().is_empty() {
                self.logs.cells(handle).await?
            } else {
                None
            };
            // Cells tell services apart, or the segment had too many.
            let Some((cells, inner)) = cells.filter(|cells| cells.by_service).zip(inner) else {
                parts.whole.push(handle.clone());
                continue;
            };
            // A cell counts by its first instant, which has to be in the range as well.
            let grain_ns = self.grain.ns();
            let first_ns = row
                .min_timestamp_ns
                .div_euclid(grain_ns)
                .saturating_mul(grain_ns);
            let covered = range.start_ns <= first_ns && row.max_timestamp_ns < range.end_ns;
            if covered {
                parts.cells.push(cells.of_grain(self.grain).clone());
                continue;
            }
            let within = between(&cells.minutes, inner);
            if within.num_rows() > 0 {
                parts.cells.push(within);
            }
            for (edge, segments) in &mut edges {
                if edge.start_ns < edge.end_ns && overlaps(*edge) {
                    segments.push(handle.clone());
                }
            }
        }
        let memory = &self.logs.snapshot().memtable;
        let (counted, memory) = counted_in_memory(memory, range, inner);
        parts.memory = memory;
        if counted.rows() > 0 {
            parts.cells.push(cells::counted(&counted, Grain::Minute)?);
        }
        parts.edges = edges
            .into_iter()
            .filter(|(_, segments)| !segments.is_empty())
            .collect();
        Ok(parts)
    }
}

/// The counts of batches in memory that are within the whole minutes of a range, and the batches of the range of which
/// that is not known.
fn counted_in_memory(
    memory: &[MemtableBatch],
    range: TimeRange,
    inner: Option<TimeRange>,
) -> (Rollup, Vec<MemtableBatch>) {
    let mut counted = Rollup::default();
    let mut rest = Vec::new();
    for batch in memory {
        let Some(counts) = batch.counts() else {
            rest.push(batch.clone());
            continue;
        };
        let (min_ns, max_ns) = (counts.min_timestamp_ns, counts.max_timestamp_ns);
        let within = inner.is_some_and(|inner| inner.contains(min_ns) && inner.contains(max_ns));
        if within {
            counted.merge(&counts.rollup);
        } else if range.overlaps_inclusive(min_ns, max_ns) {
            rest.push(batch.clone());
        }
    }
    // Together they may have more services than are told apart.
    match counted.by_service() {
        true => (counted, rest),
        false => (Rollup::default(), memory.to_vec()),
    }
}

/// The whole minutes of a range, if there are any.
fn whole_minutes(range: TimeRange) -> Option<TimeRange> {
    let up =
        range.start_ns.div_euclid(MINUTE_NS) + i64::from(range.start_ns.rem_euclid(MINUTE_NS) != 0);
    let inner = TimeRange {
        start_ns: up.saturating_mul(MINUTE_NS),
        end_ns: range.end_ns.div_euclid(MINUTE_NS).saturating_mul(MINUTE_NS),
    };
    (inner.start_ns < inner.end_ns).then_some(inner)
}

/// What of a range is before and after its whole minutes.
fn edges_of(range: TimeRange, inner: Option<TimeRange>) -> [TimeRange; 2] {
    let inner = inner.unwrap_or(TimeRange {
        start_ns: range.end_ns,
        end_ns: range.end_ns,
    });
    [
        TimeRange {
            start_ns: range.start_ns,
            end_ns: inner.start_ns.min(range.end_ns),
        },
        TimeRange {
            start_ns: inner.end_ns.max(range.start_ns),
            end_ns: range.end_ns,
        },
    ]
}

/// The cells that begin in a range; they are in the order of time.
fn between(cells: &RecordBatch, range: TimeRange) -> RecordBatch {
    let times = cells
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .values();
    let start = times.partition_point(|time| *time < range.start_ns);
    let end = times.partition_point(|time| *time < range.end_ns);
    cells.slice(start, end - start)
}

/// Plans of rows, each of which counts as one.
fn counted(rows: Vec<Arc<dyn ExecutionPlan>>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
    let counted = rows.into_iter().map(|plan| {
        let mut columns = Vec::new();
        for name in [field::TIMESTAMP, field::LEVEL, field::SERVICE] {
            let column = Column::new_with_schema(name, plan.schema().as_ref());
            let expr: Arc<dyn PhysicalExpr> = match column {
                Ok(column) => Arc::new(column),
                // No record has it.
                Err(_) => Arc::new(Literal::new(ScalarValue::Utf8View(None))),
            };
            let alias = name.to_owned();
            columns.push(ProjectionExpr { expr, alias });
        }
        columns.push(ProjectionExpr {
            expr: Arc::new(Literal::new(ScalarValue::Int64(Some(1)))),
            alias: COUNT.to_owned(),
        });
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?) as Arc<dyn ExecutionPlan>)
    });
    counted.collect()
}
