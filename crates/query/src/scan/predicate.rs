//! What is asked of every row of a segment, and which rows are known to have it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ArrowPredicate, RowFilter, RowSelection};

use logmill_segment::GranuleSet;

use crate::compiled::CompiledCondition;
use crate::lru::Lru;
use crate::segments::OpenSegment;

/// Conditions, all of which hold of a row.
#[derive(Debug)]
pub(crate) struct Predicate {
    conditions: Vec<Arc<CompiledCondition>>,
    /// None when what is true of a row now may not be so the next time.
    key: Option<Arc<PredicateKey>>,
}

/// Conditions, and the types of the columns that they are about.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PredicateKey {
    conditions: Vec<Expr>,
    columns: Vec<(String, DataType)>,
}

/// Rows of a part of a segment that satisfy a predicate: which part, and which predicate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchKey {
    path: Arc<str>,
    granules: GranuleSet,
    predicate: Arc<PredicateKey>,
}

/// The rows that satisfied a predicate when it was asked the last time, in terms of their row group.
pub(crate) type MatchCache = Lru<MatchKey, Arc<RowSelection>>;

impl Predicate {
    /// Of the conditions of a scan of a table of this schema; none when there is none.
    pub(crate) fn new(
        state: &dyn Session,
        filters: &[Expr],
        table: &SchemaRef,
    ) -> Result<Option<Arc<Self>>> {
        if filters.is_empty() {
            return Ok(None);
        }
        let mut all = BTreeSet::new();
        let mut conditions = Vec::with_capacity(filters.len());
        for filter in filters {
            let condition = CompiledCondition::new(state, filter.clone(), table)?;
            for field in condition.schema().fields() {
                all.insert(table.index_of(field.name())?);
            }
            conditions.push(Arc::new(condition));
        }
        let column = |index: usize| {
            let field = table.field(index);
            (field.name().clone(), field.data_type().clone())
        };
        let key = (!filters.iter().any(Expr::is_volatile)).then(|| {
            Arc::new(PredicateKey {
                conditions: filters.to_vec(),
                columns: all.into_iter().map(column).collect(),
            })
        });
        Ok(Some(Arc::new(Self { conditions, key })))
    }

    /// Under what the matches among the rows of these granules of a segment are known.
    pub(crate) fn match_key(&self, path: &Arc<str>, granules: &GranuleSet) -> Option<MatchKey> {
        let predicate = self.key.clone()?;
        Some(MatchKey {
            path: path.clone(),
            granules: granules.clone(),
            predicate,
        })
    }

    /// A filter for the reader of a row group, and what it will find. What is cheapest to read is asked first.
    pub(crate) fn row_filter(&self, segment: &OpenSegment, row_group: usize) -> (RowFilter, Found) {
        let mut conditions = self.conditions.clone();
        conditions.sort_by_key(|condition| segment.column_bytes(row_group, condition.schema()));
        let found = Found(Arc::new(Mutex::new(State {
            matches: vec![Vec::new(); conditions.len()],
            failure: None,
        })));
        let predicates = conditions.into_iter().enumerate().map(|(at, condition)| {
            let fields = condition.schema().fields().iter();
            let names = fields.map(|field| field.name().as_str());
            Box::new(RowCondition {
                mask: segment.mask(names),
                condition,
                at,
                found: found.clone(),
            }) as Box<dyn ArrowPredicate>
        });
        (RowFilter::new(predicates.collect()), found)
    }

    /// Which rows of a batch satisfy all conditions.
    pub(crate) fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut all: Option<BooleanArray> = None;
        for condition in &self.conditions {
            let found = condition.matches(batch)?;
            all = Some(match all {
                Some(all) => arrow_and(&all, &found)?,
                None => found,
            });
        }
        Ok(all.unwrap_or_else(|| BooleanArray::from(vec![true; batch.num_rows()])))
    }

    /// The conditions, for people.
    pub(crate) fn describe(&self) -> String {
        let conditions = self
            .conditions
            .iter()
            .map(|condition| condition.expr.to_string());
        conditions.collect::<Vec<_>>().join(" AND ")
    }
}

fn arrow_and(one: &BooleanArray, other: &BooleanArray) -> Result<BooleanArray> {
    // Neither has nulls.
    Ok(BooleanArray::new(one.values() & other.values(), None))
}

/// What the conditions of a filter found while a row group was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// For each condition, its answers for the rows that satisfied those before it.
    matches: Vec<Vec<BooleanArray>>,
    /// What the reader would only give the text of.
    failure: Option<DataFusionError>,
}

impl Found {
    /// The rows of `read` that satisfy all conditions; of a row group that was read to its end.
    pub(crate) fn selection(&self, read: RowSelection) -> RowSelection {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.matches.iter().fold(read, |selection, found| {
            // Nothing was left to be asked.
            if found.is_empty() {
                return selection;
            }
            selection.and_then(&RowSelection::from_filters(found))
        })
    }

    /// The error of a condition, instead of what the reader made of it.
    pub(crate) fn explain(&self, error: DataFusionError) -> DataFusionError {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.take().unwrap_or(error)
    }
}

/// A condition as the reader of rows asks it.
struct RowCondition {
    mask: ProjectionMask,
    condition: Arc<CompiledCondition>,
    at: usize,
    found: Found,
}

impl ArrowPredicate for RowCondition {
    fn projection(&self) -> &ProjectionMask {
        &self.mask
    }

    fn evaluate(&mut self, batch: RecordBatch) -> std::result::Result<BooleanArray, ArrowError> {
        let evaluated = self.condition.matches(&batch);
        let mut state = self.found.0.lock().unwrap_or_else(PoisonError::into_inner);
        match evaluated {
            Ok(found) => {
                if let Some(matches) = state.matches.get_mut(self.at) {
                    matches.push(found.clone());
                }
                Ok(found)
            }
            Err(error) => {
                let text = error.to_string();
                state.failure = Some(error);
                Err(ArrowError::ComputeError(text))
            }
        }
    }
}
