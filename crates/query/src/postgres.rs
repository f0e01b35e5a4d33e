//! Statements of PostgreSQL's clients: its dialect, parameters, and what clients ask about the server itself.

mod catalog;
mod functions;
mod rewrite;

use arrow_schema::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use logmill_query_api::{Error, Result, SqlShape, SqlValue};

use crate::errors::translate;
use crate::session::Session;
use crate::sql;

pub(crate) use catalog::PgCatalog;

/// Parameters that a statement may have.
const PARAMETERS_MAX: usize = 1_000;

/// Plans a statement with its values.
pub(crate) async fn plan(
    session: &Session,
    sql: &str,
    values: &[SqlValue],
    memory_limit: u64,
) -> Result<(SessionState, LogicalPlan)> {
    let failed = |error| translate(&error, memory_limit);
    let (state, plan) = logical_plan(session, sql, memory_limit).await?;
    let types = plan.get_parameter_types().map_err(failed)?;
    let given = values.iter().enumerate().map(|(index, value)| {
        let value = scalar(value);
        // A text becomes what the statement takes in its place.
        match types.get(&format!("${}", index + 1)) {
            Some(Some(wanted)) if value.data_type() != *wanted => value.cast_to(wanted),
            _ => Ok(value),
        }
    });
    let given: Vec<ScalarValue> = given
        .collect::<datafusion::common::Result<_>>()
        .map_err(failed)?;
    let plan = plan
        .with_param_values(ParamValues::from(given))
        .map_err(failed)?;
    Ok((state, plan))
}

/// What a statement takes and answers.
pub(crate) async fn shape(
    session: &Session,
    sql: &str,
    declared: &[Option<DataType>],
    memory_limit: u64,
) -> Result<SqlShape> {
    let failed = |error| translate(&error, memory_limit);
    let (state, plan) = logical_plan(session, sql, memory_limit).await?;
    let planned = plan.get_parameter_types().map_err(failed)?;
    let numbers = planned
        .keys()
        .map(|name| name.trim_start_matches('$').parse::<usize>());
    let count = numbers.flatten().max().unwrap_or(0).max(declared.len());
    if count > PARAMETERS_MAX {
        return Err(Error::Invalid {
            code: "invalid_query",
            message: format!("{count} parameters; the limit is {PARAMETERS_MAX}"),
        });
    }
    let parameters = (0..count).map(|index| {
        let declared = declared.get(index).cloned().flatten();
        let planned = || planned.get(&format!("${}", index + 1)).cloned().flatten();
        declared.or_else(planned).unwrap_or(DataType::Utf8View)
    });
    let parameters: Vec<DataType> = parameters.collect();
    // With nulls of these types in their place, the answer's types are those that it will have.
    let nulls = parameters.iter().map(ScalarValue::try_from);
    let nulls: Vec<ScalarValue> = nulls
        .collect::<datafusion::common::Result<_>>()
        .map_err(failed)?;
    let plan = plan
        .with_param_values(ParamValues::from(nulls))
        .map_err(failed)?;
    let options: &ConfigOptions = state.config_options();
    let plan = state.analyzer().execute_and_check(plan, options, |_, _| {});
    let plan = plan.map_err(failed)?;
    Ok(SqlShape {
        parameters,
        schema: Schema::clone(plan.schema().as_arrow()).into(),
    })
}

async fn logical_plan(
    session: &Session,
    sql: &str,
    memory_limit: u64,
) -> Result<(SessionState, LogicalPlan)> {
    let failed = |error| translate(&error, memory_limit);
    let mut statement = sql::parse(sql, &PostgreSqlDialect {}, memory_limit)?;
    if let Statement::Statement(statement) = &mut statement {
        rewrite::rewrite(statement);
    }
    let mut state = session.named().map_err(failed)?;
    for function in functions::all() {
        state.register_udf(function.clone()).map_err(failed)?;
    }
    let plan = sql::logical_plan(&state, statement, memory_limit).await?;
    Ok((state, plan))
}

fn scalar(value: &SqlValue) -> ScalarValue {
    match value {
        SqlValue::Null => ScalarValue::Null,
        SqlValue::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        SqlValue::Integer(value) => ScalarValue::Int64(Some(*value)),
        SqlValue::Float(value) => ScalarValue::Float64(Some(*value)),
        SqlValue::Text(text) => ScalarValue::Utf8View(Some(text.clone())),
        SqlValue::Timestamp(t_ns) => {
            ScalarValue::TimestampNanosecond(Some(*t_ns), Some("UTC".into()))
        }
    }
}
