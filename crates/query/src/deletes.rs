//! Deletes by query: which records they leave, in answers and in compaction alike.

use std::sync::{Arc, Weak};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, lit};
use logmill_query_api::DeletePredicate;
use logmill_schema::{ColumnType, TableSchema};
use logmill_store::{DeleteFilter, DeleteMatcher, PendingDelete, RowCondition, Store};

use crate::compiled::CompiledCondition;
use crate::table::view_schema;
use crate::{predicate, rows};

/// The records that a delete is about, as a filter over a tenant's table.
fn deleted(delete: &DeletePredicate, table: &TableSchema) -> Result<Expr> {
    let terms = delete.terms().map_err(not_understood)?;
    let text = terms.as_ref().and_then(predicate::has_text);
    let filters = delete.conditions().map_err(not_understood)?;
    let filters = filters
        .iter()
        .map(|filter| predicate::condition(table, filter));
    let range = predicate::in_range(delete.range());
    Ok(text.into_iter().chain(filters).fold(range, Expr::and))
}

fn read(predicate: &str) -> Result<DeletePredicate> {
    DeletePredicate::from_json(predicate).map_err(not_understood)
}

fn not_understood(error: logmill_query_api::Error) -> DataFusionError {
    DataFusionError::Internal(format!("a delete cannot be understood: {error}"))
}

/// The records that these deletes leave.
pub(crate) fn kept(deletes: &[Arc<PendingDelete>], table: &TableSchema) -> Result<Expr> {
    let kept = deletes.iter().map(|delete| {
        let predicate = read(&delete.predicate)?;
        Ok(Expr::IsNotTrue(Box::new(deleted(&predicate, table)?)))
    });
    let kept: Vec<Expr> = kept.collect::<Result<_>>()?;
    Ok(kept
        .into_iter()
        .reduce(Expr::and)
        .unwrap_or_else(|| lit(true)))
}

/// Tells the store which records its deletes are about, as answers do.
pub(crate) struct Matcher {
    /// The store holds the matcher.
    store: Weak<Store>,
    state: Arc<SessionState>,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Matcher").finish_non_exhaustive()
    }
}

impl Matcher {
    pub(crate) fn new(store: &Arc<Store>, state: Arc<SessionState>) -> Self {
        Self {
            store: Arc::downgrade(store),
            state,
        }
    }

    fn filter(&self, predicate: &str, columns: &[(String, ColumnType)]) -> Result<DeleteFilter> {
        let predicate = read(predicate)?;
        // Conditions mean what the types of the tenant's table make of them, not those of one segment.
        let mut table = match self.store.upgrade() {
            Some(store) => store.snapshot(&predicate.tenant).schema.as_ref().clone(),
            None => TableSchema::new(),
        };
        for (name, kind) in columns {
            table.add(name, *kind);
        }
        let deleted = deleted(&predicate, &table)?;
        let state = self.state.as_ref();
        let deleted = CompiledCondition::new(state, deleted, &view_schema(&table))?;
        Ok(Box::new(move |batch| {
            deleted.matches(batch).map_err(|error| error.to_string())
        }))
    }
}

/// What every record has that a delete is about, as far as a table of Postgres can tell.
fn narrowed(predicate: &str) -> Result<RowCondition> {
    let predicate = read(predicate)?;
    // Texts mean the same whatever else is in the table.
    let deleted = deleted(&predicate, &TableSchema::new())?;
    Ok(rows::condition(&[deleted]))
}

impl DeleteMatcher for Matcher {
    fn narrow(&self, predicate: &str) -> std::result::Result<RowCondition, String> {
        narrowed(predicate).map_err(|error| error.to_string())
    }

    fn prepare(
        &self,
        predicate: &str,
        columns: &[(String, ColumnType)],
    ) -> std::result::Result<DeleteFilter, String> {
        self.filter(predicate, columns)
            .map_err(|error| error.to_string())
    }
}
