//! The first records in the order of time, as a table that pipes go on from.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as PlanSession, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::scope::column;
use crate::records::First;
use crate::session::Session;

/// The first records of which all conditions hold. Scans of it stop early, as a page of records does.
pub(super) struct Latest {
    session: Session,
    conditions: Vec<Expr>,
    first: First,
    schema: SchemaRef,
}

impl std::fmt::Debug for Latest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Latest")
            .field("conditions", &self.conditions)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

impl Latest {
    pub(super) fn new(session: &Session, conditions: Vec<Expr>, first: First) -> Self {
        Self {
            session: session.clone(),
            conditions,
            first,
            schema: session.table.schema(),
        }
    }
}

#[async_trait]
impl TableProvider for Latest {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn PlanSession,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        let columns: Vec<Expr> = schema
            .fields()
            .iter()
            .map(|field| column(field.name()))
            .collect();
        let first = First {
            rows: self.first.rows.min(limit.unwrap_or(usize::MAX)),
            ..self.first
        };
        self.session
            .records(self.conditions.clone(), &columns, Some(first))
            .await
    }
}
