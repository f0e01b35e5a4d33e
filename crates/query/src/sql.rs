//! SQL: one read-only statement over the table `logs`.

use std::sync::Arc;

use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
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
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(RECURSION_LIMIT)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(failed)?;
    let mut statements = statements.into_iter();
    let statement = match (statements.next(), statements.next()) {
        (Some(statement), None) => statement,
        (None, _) => {
            let message = "there is no statement".to_owned();
            return Err(Error::Syntax {
                line: 1,
                column: 1,
                message,
            });
        }
        (Some(_), Some(_)) => return Err(Error::Forbidden("one statement at a time".to_owned())),
    };
    if !asks(&statement) {
        return Err(Error::Forbidden(READ_ONLY.to_owned()));
    }
    let state = session.named().map_err(failed)?;
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(failed)?;
    state.create_physical_plan(&plan).await.map_err(failed)
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
