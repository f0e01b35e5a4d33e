//! Scans of the table of Postgres that may have the logs in the place of segments.
//!
//! The database narrows (by tenant, time, words, canonical fields) and puts in order; what it sends is filtered again as
//! everything is, so answers do not depend on how Postgres compares texts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use logmill_model::{field, token};
use logmill_segment::GRANULE_ROWS;
use logmill_store::{
    LogTable, RowColumn, RowCondition, RowDecoder, RowSelection, RowStream, plain_text, row_column,
};

use crate::pruning::{self, Condition};
use crate::segments::ScanCounts;

/// Values of a list that are sent; a longer list is not.
const LIST_MAX: usize = 256;
/// Rows that are held until it is known whether they are enough.
const ATTEMPT_MAX: u64 = 25_000;

/// What a row has of which all `filters` are true. The other way round it need not hold.
pub(crate) fn condition(filters: &[Expr]) -> RowCondition {
    let words = of_tokens(&pruning::condition(filters));
    let equal = filters.iter().map(of_equality);
    RowCondition::All([words].into_iter().chain(equal).collect())
}

fn anything() -> RowCondition {
    RowCondition::All(Vec::new())
}

/// What is known of tokens and of columns that are there.
fn of_tokens(condition: &Condition) -> RowCondition {
    match condition {
        Condition::Unknown => anything(),
        Condition::Present(name) => match row_column(name) {
            Some(column) => RowCondition::Present(column),
            // Such a name is not among the attributes.
            None if name.contains('\0') => anything(),
            None => RowCondition::HasAttribute(name.clone()),
        },
        // Longer words are not kept.
        Condition::Token(name, text) if name == field::MESSAGE && text.len() < 1_000 => {
            RowCondition::HasWord(token::fold(text).into_owned())
        }
        Condition::Token(..) => anything(),
        Condition::And(parts) => RowCondition::All(parts.iter().map(of_tokens).collect()),
        Condition::Or(parts) => RowCondition::Any(parts.iter().map(of_tokens).collect()),
    }
}

/// What is known of canonical fields that have to be equal to texts.
fn of_equality(filter: &Expr) -> RowCondition {
    match filter {
        Expr::Alias(alias) => of_equality(&alias.expr),
        Expr::IsTrue(inner) => of_equality(inner),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => RowCondition::All(vec![of_equality(left), of_equality(right)]),
            Operator::Or => RowCondition::Any(vec![of_equality(left), of_equality(right)]),
            Operator::Eq => is_in(left, [right.as_ref()])
                .or_else(|| is_in(right, [left.as_ref()]))
                .unwrap_or_else(anything),
            _ => anything(),
        },
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) if list.len() <= LIST_MAX => is_in(expr, list).unwrap_or_else(anything),
        _ => anything(),
    }
}

fn is_in<'a>(value: &Expr, list: impl IntoIterator<Item = &'a Expr>) -> Option<RowCondition> {
    let Expr::Column(column) = value else {
        return None;
    };
    let column = row_column(&column.name).filter(|column| *column != RowColumn::Timestamp)?;
    let texts = list.into_iter().map(|literal| match literal {
        Expr::Literal(value, _) => text(value),
        _ => None,
    });
    Some(RowCondition::In(column, texts.collect::<Option<_>>()?))
}

fn text(value: &ScalarValue) -> Option<String> {
    let text = value.try_as_str().flatten()?;
    Some(plain_text(text).into_owned())
}

/// One reading of the table.
#[derive(Clone, Debug)]
pub(crate) struct RowScan {
    pub(crate) table: Arc<dyn LogTable>,
    pub(crate) selection: RowSelection,
    pub(crate) schema: SchemaRef,
    /// What rows are counted by that satisfy it; the others are left out.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The reading ends with so many rows: they come in the order that is asked for.
    pub(crate) enough: Option<usize>,
    pub(crate) counts: Arc<ScanCounts>,
}

impl PartitionStream for RowScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reading = self.clone().read();
        let batches = futures::stream::once(reading).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            batches.boxed(),
        ))
    }
}

impl RowScan {
    async fn read(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        if let Some(limit) = self.enough.and_then(limit)
            && let Some(batches) = self.attempt(limit).await?
        {
            return Ok(futures::stream::iter(batches.into_iter().map(Ok)).boxed());
        }
        let reading = self.begin(self.selection.limit).await?;
        Ok(futures::stream::try_unfold(reading, Reading::next).boxed())
    }

    /// All that is wanted, if so few rows have it. Postgres sorts everything when it knows no limit; and a filter that it does
    /// not know all of may need more rows than this.
    async fn attempt(&self, limit: u64) -> Result<Option<Vec<RecordBatch>>> {
        let mut reading = self.begin(Some(limit)).await?;
        let mut batches = Vec::new();
        loop {
            let (enough, read) = (reading.enough == Some(0), reading.rows_read);
            match reading.next().await? {
                Some((batch, rest)) => {
                    batches.push(batch);
                    reading = rest;
                }
                None => return Ok((enough || read < limit).then_some(batches)),
            }
        }
    }

    async fn begin(&self, limit: Option<u64>) -> Result<Reading> {
        let decoder = RowDecoder::new(self.schema.clone(), false).map_err(failed)?;
        let selection = RowSelection {
            columns: decoder.columns().to_vec(),
            limit,
            ..self.selection.clone()
        };
        let rows = self.table.read(&selection).await;
        Ok(Reading {
            rows: rows.map_err(|error| failed(error.into()))?,
            decoder,
            filter: self.filter.clone(),
            enough: self.enough,
            rows_read: 0,
            counts: self.counts.clone(),
        })
    }
}

/// How many rows are asked for at first, where so many are enough; none where that would be too many to hold.
fn limit(enough: usize) -> Option<u64> {
    let limit = enough.checked_mul(2)?.checked_add(1_000)?;
    u64::try_from(limit)
        .ok()
        .filter(|limit| *limit <= ATTEMPT_MAX)
}

/// A reading under way.
struct Reading {
    rows: RowStream,
    decoder: RowDecoder,
    filter: Option<Arc<dyn PhysicalExpr>>,
    enough: Option<usize>,
    /// Rows that came, filtered or not.
    rows_read: u64,
    counts: Arc<ScanCounts>,
}

impl Reading {
    /// The next batch, and the reading as it goes on.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        if self.enough == Some(0) {
            return Ok(None);
        }
        loop {
            let ended = self.decoder.is_complete();
            // Of few rows none is held back.
            let rest = ended || self.enough.is_some();
            if let Some((batch, _)) = self.decoder.next(rest).map_err(failed)? {
                let rows = batch.num_rows();
                self.rows_read += rows as u64;
                self.counts
                    .add(rows as u64, rows.div_ceil(GRANULE_ROWS) as u64);
                let batch = self.keep(batch)?;
                return Ok(Some((batch, self)));
            }
            if ended {
                return Ok(None);
            }
            match self.rows.next().await {
                Some(bytes) => {
                    let bytes = bytes.map_err(|error| failed(error.into()))?;
                    self.counts
                        .bytes
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    self.decoder.push(&bytes);
                }
                None if self.decoder.is_complete() => {}
                None => {
                    let problem = "Postgres ended before the rows did".to_owned();
                    return Err(failed(logmill_store::Error::Row(problem)));
                }
            }
        }
    }

    fn keep(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let mut batch = batch;
        if let Some(filter) = &self.filter {
            let kept = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            batch = filter_record_batch(&batch, as_boolean_array(&kept)?)?;
        }
        if let Some(enough) = &mut self.enough {
            let kept = batch.num_rows().min(*enough);
            *enough -= kept;
            batch = batch.slice(0, kept);
        }
        Ok(batch)
    }
}

fn failed(error: logmill_store::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
