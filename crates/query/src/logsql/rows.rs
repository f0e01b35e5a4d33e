//! The records at a place among the pipes: the plan that makes them, and their fields.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr_rewriter::normalize_sorts;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Sort, SortExpr};
use logmill_model::field;

use super::latest::Latest;
use super::scope::{Scope, Value, column};
use crate::barriers::ALL_ROWS;
use crate::records::First;
use crate::session::Session;

/// Records, and their fields.
pub(super) struct Rows<'a> {
    session: &'a Session,
    /// Makes names of computed columns different in the whole query.
    names: &'a AtomicUsize,
    stage: Stage,
    pub(super) scope: Scope,
}

/// How records are made.
enum Stage {
    /// Stored records of which these conditions hold; the first of them, if an order was asked for. The table finds
    /// them without the planner's help.
    Stored {
        conditions: Vec<Expr>,
        first: Option<First>,
    },
    Plan(LogicalPlan),
}

impl<'a> Rows<'a> {
    /// All stored records.
    pub(super) fn stored(session: &'a Session, names: &'a AtomicUsize, scope: Scope) -> Self {
        Self {
            session,
            names,
            stage: Stage::Stored {
                conditions: Vec::new(),
                first: None,
            },
            scope,
        }
    }

    /// The conditions of stored records, and which of them are the first ones.
    pub(super) fn as_stored(&self) -> Option<(&[Expr], Option<First>)> {
        match &self.stage {
            Stage::Stored { conditions, first } => Some((conditions, *first)),
            Stage::Plan(_) => None,
        }
    }

    /// A name that no other column has.
    pub(super) fn new_name(&self) -> String {
        format!("#{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Records of which the condition holds.
    pub(super) fn filter(&mut self, condition: Expr) -> Result<()> {
        if let Stage::Stored {
            conditions,
            first: None,
        } = &mut self.stage
        {
            conditions.push(condition);
            return Ok(());
        }
        self.change(|plan| plan.filter(condition))
    }

    /// The first records by their time, if these are stored ones in no order; says whether they are.
    pub(super) fn first(&mut self, wanted: First) -> bool {
        match &mut self.stage {
            Stage::Stored { first, .. } if first.is_none() => {
                *first = Some(wanted);
                true
            }
            _ => false,
        }
    }

    /// Some of the records: those after the first `skip`, and so many of them.
    pub(super) fn limit(&mut self, skip: u64, fetch: Option<u64>) -> Result<()> {
        let rows = |rows: u64| usize::try_from(rows).map_or(ALL_ROWS, |rows| rows.min(ALL_ROWS));
        match (&mut self.stage, fetch) {
            (
                Stage::Stored {
                    first: Some(first), ..
                },
                Some(fetch),
            ) if skip == 0 => {
                first.rows = first.rows.min(rows(fetch));
                Ok(())
            }
            _ => self.change(|plan| plan.limit(rows(skip), fetch.map(rows))),
        }
    }

    /// The records in an order, or the first of them.
    pub(super) fn sort(&mut self, order: &[SortExpr], fetch: Option<usize>) -> Result<()> {
        if order.is_empty() {
            return match fetch {
                Some(fetch) => self.limit(0, Some(fetch as u64)),
                None => Ok(()),
            };
        }
        let fetch = fetch.map(|fetch| fetch.min(ALL_ROWS));
        // The planner's own way replaces expressions by columns of what is sorted, where it takes them for the same.
        self.change(|plan| {
            let plan = plan.build()?;
            let sort = Sort {
                expr: normalize_sorts(order.to_vec(), &plan)?,
                input: Arc::new(plan),
                fetch,
            };
            Ok(LogicalPlanBuilder::new(LogicalPlan::Sort(sort)))
        })
    }

    /// What `make` makes of the plan.
    pub(super) fn change(
        &mut self,
        make: impl FnOnce(LogicalPlanBuilder) -> Result<LogicalPlanBuilder>,
    ) -> Result<()> {
        let plan = make(LogicalPlanBuilder::new(self.plan()?))?.build()?;
        self.stage = Stage::Plan(plan);
        Ok(())
    }

    /// The plan so far.
    pub(super) fn plan(&self) -> Result<LogicalPlan> {
        let (conditions, first) = match &self.stage {
            Stage::Stored { conditions, first } => (conditions, first),
            Stage::Plan(plan) => return Ok(plan.clone()),
        };
        let (table, conditions): (Arc<dyn TableProvider>, &[Expr]) = match first {
            Some(first) => {
                let latest = Latest::new(self.session, conditions.clone(), *first);
                (Arc::new(latest), &[])
            }
            None => (self.session.table.clone(), conditions),
        };
        let plan = LogicalPlanBuilder::scan("logs", provider_as_source(table), None)?;
        match conjunction(conditions.to_vec()) {
            Some(condition) => plan.filter(condition)?.build(),
            None => plan.build(),
        }
    }

    /// Computes values once, however often they are used; they take the places of the expressions.
    pub(super) fn compute(&mut self, values: &mut [&mut Expr]) -> Result<()> {
        let computed: Vec<(String, Expr)> = values
            .iter()
            .map(|value| (self.new_name(), (*value).clone()))
            .collect();
        for (value, (name, _)) in values.iter_mut().zip(&computed) {
            **value = column(name);
        }
        self.change(|plan| {
            let kept = plan.schema().columns().into_iter().map(Expr::Column);
            let added = computed.into_iter().map(|(name, value)| value.alias(name));
            let all: Vec<Expr> = kept.chain(added).collect();
            plan.project(all)
        })
    }

    /// Computes a value once and gives it to a field.
    pub(super) fn set(&mut self, name: &str, mut value: Value) -> Result<()> {
        self.compute(&mut [&mut value.expr])?;
        self.scope.set(name, value);
        Ok(())
    }

    /// The fields as columns of new names, and `others`, which become such columns; and nothing else.
    pub(super) fn normalize_with(&mut self, others: &mut [Expr]) -> Result<()> {
        let mut columns = Vec::new();
        let mut projected = Vec::new();
        for other in others {
            let own = self.new_name();
            let value = std::mem::replace(other, column(&own));
            projected.push(value.alias(own));
        }
        for (name, value) in self.scope.columns() {
            let own = self.new_name();
            projected.push(value.expr.clone().alias(&own));
            columns.push((name.to_owned(), Value::new(column(&own), value.kind)));
        }
        let open = self.scope.open().map(|object| {
            let own = self.new_name();
            projected.push(object.alias(&own));
            column(&own)
        });
        self.change(|plan| plan.project(projected))?;
        self.scope.replace(columns, open);
        Ok(())
    }

    /// Adds a column that a window function computes.
    pub(super) fn window(&mut self, function: Expr) -> Result<Expr> {
        let own = self.new_name();
        let function = function.alias(&own);
        self.change(|plan| plan.window([function]))?;
        Ok(column(&own))
    }

    /// Groups of the records, and what aggregates make of each; without groups one record.
    pub(super) fn aggregate(
        &mut self,
        groups: Vec<Expr>,
        aggregates: Vec<Expr>,
        columns: Vec<(String, Value)>,
    ) -> Result<()> {
        self.change(|plan| plan.aggregate(groups, aggregates))?;
        self.scope = Scope::computed(columns);
        Ok(())
    }

    /// The columns of the answer, under the names of the fields.
    pub(super) fn answer(&self) -> Vec<Expr> {
        let columns = self
            .scope
            .columns()
            .map(|(name, value)| value.expr.clone().alias(name));
        let open = self
            .scope
            .open()
            .map(|object| object.alias(field::OVERFLOW));
        columns.chain(open).collect()
    }
}
