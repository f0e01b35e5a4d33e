//! What PostgreSQL's clients write and the planner does not understand, in other words: qualified names of functions, types
//! and operators, collations, numbers of tables behind their names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    Statement, TableFactor, Value, VisitMut, VisitorMut, visit_relations_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::catalog::is_never;

const CATALOG: &str = "pg_catalog";

/// Rewrites a statement.
pub(super) fn rewrite(statement: &mut Statement) {
    if let Statement::Query(query) = statement
        && let Some(nothing) = nothing(query)
    {
        *statement = nothing;
        return;
    }
    let _ = statement.visit(&mut Rewriter);
    let _ = visit_relations_mut(statement, |name| {
        if let [only] = name.0.as_slice()
            && text(only).is_some_and(|name| name.starts_with("pg_"))
        {
            let qualified = [
                ObjectNamePart::Identifier(Ident::new(CATALOG)),
                only.clone(),
            ];
            name.0 = qualified.into();
        }
        ControlFlow::<()>::Continue(())
    });
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Function(function) => {
                unqualify(&mut function.name);
                if is_empty_list(function) {
                    *expression = null();
                }
            }
            Expr::Collate { expr, .. } => *expression = expr.as_ref().clone(),
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|name| operator(name))
                {
                    *op = plain;
                }
            }
            Expr::InSubquery {
                expr,
                subquery,
                negated,
            } if asks_for_search_path(subquery) => {
                let public = Value::SingleQuotedString("public".to_owned());
                *expression = Expr::InList {
                    expr: expr.clone(),
                    list: vec![Expr::Value(public.into())],
                    negated: *negated,
                };
            }
            // Of what there never is: no value, no row, an empty list.
            Expr::Subquery(query) if selects(&query.body).is_some() => *expression = null(),
            Expr::Exists { subquery, negated } if selects(&subquery.body).is_some() => {
                *expression = Expr::Value(Value::Boolean(*negated).into());
            }
            Expr::Cast { .. } => rewrite_cast(expression),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Grafana asks which schemas the search path has, by splitting the setting into an array. It has one.
fn asks_for_search_path(query: &Query) -> bool {
    query.to_string().contains("current_setting('search_path')")
}

/// `x::regclass` and the like: a number from a name that is written down, else a name.
fn rewrite_cast(expression: &mut Expr) {
    let Expr::Cast {
        expr, data_type, ..
    } = expression
    else {
        return;
    };
    let name = match &*data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => {
            let last = name.0.last().and_then(text).unwrap_or_default();
            last.to_ascii_lowercase()
        }
        _ => return,
    };
    match name.as_str() {
        "regclass" | "regtype" | "regnamespace" | "regproc" => {
            let is_name = matches!(&**expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
            let function = if is_name {
                "logmill_oid_of"
            } else {
                "logmill_name_of"
            };
            *expression = call(function, expr.as_ref().clone());
        }
        "oid" | "xid" | "int8" => *data_type = DataType::BigInt(None),
        "int4" => *data_type = DataType::Integer(None),
        "int2" => *data_type = DataType::SmallInt(None),
        "float8" => *data_type = DataType::DoublePrecision,
        "bool" => *data_type = DataType::Boolean,
        "name" | "char" | "text" | "varchar" => *data_type = DataType::Text,
        _ => {}
    }
}

fn call(name: &str, argument: Expr) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `ARRAY(SELECT … FROM pg_catalog.…)`: psql asks in this way for rights and roles, which nothing has; and a text made of
/// such a list, since it takes lists alone.
fn is_empty_list(function: &Function) -> bool {
    match &function.args {
        FunctionArguments::Subquery(query) => query.to_string().contains("pg_catalog."),
        FunctionArguments::List(arguments) => {
            let of_null = matches!(
                arguments.args.first(),
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))))
                    if value.value == Value::Null
            );
            of_null && function.name.to_string() == "array_to_string"
        }
        FunctionArguments::None => false,
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "+" => BinaryOperator::Plus,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// `pg_catalog.f` is `f`.
fn unqualify(name: &mut ObjectName) {
    if name.0.len() > 1 && name.0.first().and_then(text) == Some(CATALOG) {
        name.0.remove(0);
    }
}

fn text(part: &ObjectNamePart) -> Option<&str> {
    part.as_ident().map(|ident| ident.value.as_str())
}

/// A question about what there never is has no rows; its columns are all that has to be known of it.
fn nothing(query: &Query) -> Option<Statement> {
    let select = selects(&query.body)?;
    let columns = select.projection.iter().enumerate().map(|(index, item)| {
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last()?.value.clone(),
            SelectItem::UnnamedExpr(_) => format!("?column?{index}"),
            _ => return None,
        };
        let name = name.replace('"', "\"\"");
        Some(format!("CAST(NULL AS TEXT) AS \"{name}\""))
    });
    let columns: Vec<String> = columns.collect::<Option<_>>()?;
    let text = format!("SELECT {} WHERE false", columns.join(", "));
    Parser::parse_sql(&PostgreSqlDialect {}, &text).ok()?.pop()
}

/// The first SELECT of a query, if all of them join something that there never is.
fn selects(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => has_never(select).then_some(select),
        SetExpr::Query(query) => selects(&query.body),
        SetExpr::SetOperation { left, right, .. } => selects(right).and(selects(left)),
        _ => None,
    }
}

fn has_never(select: &Select) -> bool {
    let counts = select
        .projection
        .iter()
        .any(|item| item.to_string().contains("count("));
    let mut inner = select.from.iter().flat_map(|from| {
        let joined = from.joins.iter().filter(|join| {
            let text = join.to_string();
            !text.contains("LEFT") && !text.contains("FULL")
        });
        let outer = from.joins.iter().any(|join| {
            let text = join.to_string();
            text.contains("RIGHT") || text.contains("FULL")
        });
        let first = (!outer).then_some(&from.relation);
        first.into_iter().chain(joined.map(|join| &join.relation))
    });
    !counts
        && inner.any(|relation| match relation {
            TableFactor::Table { name, .. } => name.0.last().and_then(text).is_some_and(is_never),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql)
            .unwrap()
            .remove(0);
        rewrite(&mut statement);
        statement.to_string()
    }

    #[test]
    fn names_and_operators_become_plain() {
        assert_eq!(
            rewritten(
                "SELECT pg_catalog.format_type(a, 1) FROM pg_class WHERE n OPERATOR(pg_catalog.~) '^x$' COLLATE pg_catalog.default"
            ),
            "SELECT format_type(a, 1) FROM pg_catalog.pg_class WHERE n ~ '^x$'"
        );
        assert_eq!(
            rewritten("SELECT 'logs'::regclass, oid::pg_catalog.regtype"),
            "SELECT logmill_oid_of('logs'), logmill_name_of(oid)"
        );
        assert_eq!(
            rewritten("SELECT message FROM logs WHERE ms > 1"),
            "SELECT message FROM logs WHERE ms > 1"
        );
        let schemas = "SELECT 1 FROM t WHERE s IN (SELECT x FROM string_to_array(current_setting('search_path'), ',') AS x)";
        assert_eq!(rewritten(schemas), "SELECT 1 FROM t WHERE s IN ('public')");
    }

    #[test]
    fn what_there_never_is_is_not_looked_for() {
        assert_eq!(
            rewritten(
                "SELECT pol.polname, 1 AS x FROM pg_catalog.pg_policy pol WHERE pol.polroles = '{0}'"
            ),
            "SELECT CAST(NULL AS TEXT) AS \"polname\", CAST(NULL AS TEXT) AS \"x\" WHERE false"
        );
        let outer =
            "SELECT c.oid FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_index AS i ON true";
        assert_eq!(rewritten(outer), outer);
    }
}
