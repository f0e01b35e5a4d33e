//! What is asked of every row of a segment, and which rows are known to have it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use logmill_segment::{GranuleSet, Page};

use super::row_set::{GranuleRows, RowSet, Rows};
use crate::compiled::CompiledCondition;
use crate::lru::Lru;
use crate::segments::{ColumnId, OpenSegment, PageReader};

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
pub(crate) type MatchCache = Lru<MatchKey, Arc<RowSet>>;

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

    /// What to ask of the rows of a row group. What is cheapest to read is asked first.
    pub(super) fn questions(
        &self,
        segment: &OpenSegment,
        row_group: usize,
        pages: &mut PageReader,
    ) -> Vec<Question> {
        let mut conditions = self.conditions.clone();
        conditions.sort_by_key(|condition| segment.column_bytes(row_group, condition.schema()));
        let questions = conditions.into_iter().map(|condition| {
            let fields = condition.schema().fields().iter();
            Question {
                columns: fields.map(|field| pages.column(field.name())).collect(),
                condition,
                by_value: self.key.is_some(),
                of_values: OfValues::Unasked,
                of_none: None,
            }
        });
        questions.collect()
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

/// A condition that is asked of the rows of a row group.
pub(super) struct Question {
    condition: Arc<CompiledCondition>,
    /// Those that it is about.
    pub(super) columns: Vec<ColumnId>,
    /// Whether rows of the same value get the same answer.
    by_value: bool,
    of_values: OfValues,
    /// The answer for rows without a value.
    of_none: Option<bool>,
}

/// A condition's answers for the values of a dictionary.
enum OfValues {
    Unasked,
    Known(Vec<bool>),
    /// It fails for one of the values, which no row that is left may have.
    Failed,
}

impl Question {
    /// Leaves the rows of a granule, whose pages are there, that satisfy the condition. `asked`: of how many rows of the
    /// row group it is going to be asked, about.
    pub(super) fn leave(
        &mut self,
        granule: &mut GranuleRows,
        pages: &mut PageReader,
        asked: usize,
    ) -> Result<()> {
        if let ([column], true) = (self.columns.as_slice(), self.by_value) {
            let column = *column;
            match pages.page(column, granule.page)? {
                Page::Nulls(_) => {
                    let holds = self.of_none()?;
                    if !holds {
                        granule.rows = Rows::none();
                    }
                    return Ok(());
                }
                Page::Keys(keys) if self.knows_values(pages.dictionary(column), &keys, asked) => {
                    let keys = granule.rows.of(&(Arc::new(keys) as ArrayRef))?;
                    let matches = self.of_keys(keys.as_primitive())?;
                    granule.keep(&matches);
                    return Ok(());
                }
                _ => {}
            }
        }
        let fields = self.condition.schema().fields().iter();
        let values = fields.zip(&self.columns).map(|(field, column)| {
            pages.values(*column, granule.page, &granule.rows, field.data_type())
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let matches = self.condition.matches_columns(values, granule.rows.len())?;
        granule.keep(matches.values());
        Ok(())
    }

    /// The answer for rows without a value.
    fn of_none(&mut self) -> Result<bool> {
        if let Some(known) = self.of_none {
            return Ok(known);
        }
        let fields = self.condition.schema().fields().iter();
        let none = fields.map(|field| new_null_array(field.data_type(), 1));
        let answer = self.condition.matches_columns(none.collect(), 1)?;
        Ok(*self.of_none.insert(answer.value(0)))
    }

    /// Whether the answers for the values of a dictionary at these places are known: all of them are asked for unless the
    /// rows are fewer. No answer is known for a place that a damaged page makes up.
    fn knows_values(
        &mut self,
        dictionary: Option<&ArrayRef>,
        keys: &UInt32Array,
        asked: usize,
    ) -> bool {
        if let OfValues::Unasked = self.of_values
            && let Some(dictionary) = dictionary.filter(|values| values.len() <= asked)
        {
            self.of_values = match self.ask_values(dictionary) {
                Ok(answers) => OfValues::Known(answers),
                Err(_) => OfValues::Failed,
            };
        }
        let OfValues::Known(answers) = &self.of_values else {
            return false;
        };
        let largest = keys.values().iter().max();
        largest.is_none_or(|largest| (*largest as usize) < answers.len())
    }

    fn ask_values(&self, dictionary: &ArrayRef) -> Result<Vec<bool>> {
        let fields = self.condition.schema().fields().iter();
        let values = fields.map(|field| promoted(dictionary, field));
        let values = values.collect::<Result<Vec<_>>>()?;
        let answers = self.condition.matches_columns(values, dictionary.len())?;
        Ok(answers.values().iter().collect())
    }

    /// The answers for rows by the places of their values in the dictionary.
    fn of_keys(&mut self, keys: &UInt32Array) -> Result<BooleanBuffer> {
        let of_none = match keys.null_count() {
            0 => false,
            _ => self.of_none()?,
        };
        let OfValues::Known(answers) = &self.of_values else {
            return Err(DataFusionError::Internal(
                "values that were not asked".to_owned(),
            ));
        };
        let answer = |key: u32| answers.get(key as usize).copied().unwrap_or(false);
        let values = keys.values();
        Ok(match keys.nulls() {
            None => BooleanBuffer::collect_bool(keys.len(), |row| answer(values[row])),
            Some(nulls) => BooleanBuffer::collect_bool(keys.len(), |row| {
                if nulls.is_valid(row) {
                    answer(values[row])
                } else {
                    of_none
                }
            }),
        })
    }
}

fn promoted(values: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let promoted = logmill_schema::promote(values, field.name(), field.data_type());
    promoted.map_err(|error| DataFusionError::External(Box::new(error)))
}
