//! SQL: one read-only statement over the table `logs`.

use std::sync::Arc;

use datafusion::common::display::PlanType;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use logmill_query_api::{Error, Result};

use crate::errors::translate;
use crate::session::Session;

/// Depth of nested expressions and subqueries.
const RECURSION_LIMIT: usize = 50;

/// Length of a statement, bytes.
const STATEMENT_MAX_BYTES: usize = 1 << 20;

const READ_ONLY: &str =
    "only questions are answered here: SELECT, WITH, EXPLAIN, SHOW TABLES, SHOW COLUMNS, DESCRIBE";

/// Plans a statement that asks; any other is refused before anything is planned.
pub(crate) async fn plan(
    session: &Session,
    sql: &str,
    memory_limit: u64,
) -> Result<Arc<dyn ExecutionPlan>> {
    let failed = |error| translate(&error, memory_limit);
    let statement = parse(sql, &GenericDialect {}, memory_limit)?;
    let state = session.named().map_err(failed)?;
    let plan = logical_plan(&state, statement, memory_limit).await?;
    physical_plan(session, &state, &plan, memory_limit).await
}

/// Makes a plan that runs. That of EXPLAIN also says what the scans are going to read.
pub(crate) async fn physical_plan(
    session: &Session,
    state: &SessionState,
    plan: &LogicalPlan,
    memory_limit: u64,
) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = state.create_physical_plan(plan).await;
    let plan = plan.map_err(|error| translate(&error, memory_limit))?;
    let Some(explain) = plan.downcast_ref::<ExplainExec>() else {
        return Ok(plan);
    };
    let planned = session.table.counts().planned();
    let scans: Vec<String> = planned.iter().map(ToString::to_string).collect();
    let explained = explain.stringified_plans().iter().map(|explained| {
        let mut explained = explained.clone();
        if explained.plan_type == PlanType::FinalPhysicalPlan && !scans.is_empty() {
            let text = format!("{}\n{}", explained.plan.trim_end(), scans.join("\n"));
            explained.plan = Arc::new(text);
        }
        explained
    });
    let (schema, verbose) = (explain.schema(), explain.verbose());
    Ok(Arc::new(ExplainExec::new(
        schema,
        explained.collect(),
        verbose,
    )))
}

/// The one statement of a text.
pub(crate) fn parse(sql: &str, dialect: &dyn Dialect, memory_limit: u64) -> Result<Statement> {
    if sql.len() > STATEMENT_MAX_BYTES {
        let message = format!(
            "the statement has {} bytes; the limit is {STATEMENT_MAX_BYTES}",
            sql.len()
        );
        return Err(Error::Invalid {
            code: "invalid_query",
            message,
        });
    }
    let statements = DFParserBuilder::new(sql)
        .with_dialect(dialect)
        .with_recursion_limit(RECURSION_LIMIT)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| translate(&error, memory_limit))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok(statement),
        (None, _) => {
            let message = "there is no statement".to_owned();
            Err(Error::Syntax {
                line: 1,
                column: 1,
                message,
            })
        }
        (Some(_), Some(_)) => Err(Error::Forbidden("one statement at a time".to_owned())),
    }
}

/// Plans a statement, if it asks.
pub(crate) async fn logical_plan(
    state: &SessionState,
    statement: Statement,
    memory_limit: u64,
) -> Result<LogicalPlan> {
    if !asks(&statement) {
        return Err(Error::Forbidden(READ_ONLY.to_owned()));
    }
    let failed = |error| translate(&error, memory_limit);
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(failed)?;
    Ok(plan)
}

/// Whether a statement only asks.
fn asks(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => sql_asks(statement),
        Statement::Explain(explain) => asks(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn sql_asks(statement: &SqlStatement) -> bool {
    match statement {
        SqlStatement::Query(_)
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ExplainTable { .. } => true,
        SqlStatement::Explain { statement, .. } => sql_asks(statement),
        _ => false,
    }
}
