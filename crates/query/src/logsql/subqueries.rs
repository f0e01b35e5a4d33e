//! Subqueries in filters: each is run first, and its values become a list.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use futures::StreamExt;
use futures::future::BoxFuture;
use logmill_lang::ast::{Filter, Matcher, Pipe, Query, Values};

use super::functions::Texts;
use super::physical;
use super::pipes::Context;
use crate::errors::TooMuch;

/// The query with lists in the places of its subqueries.
pub(super) async fn resolve(
    context: &Context<'_>,
    query: &Query,
    max_values: u64,
) -> Result<Query> {
    let mut query = query.clone();
    of_query(context, &mut query, max_values).await?;
    Ok(query)
}

fn of_query<'a>(
    context: &'a Context<'_>,
    query: &'a mut Query,
    max_values: u64,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let mut found = Vec::new();
        in_filter(&mut query.filter, &mut found);
        let mut inner = Vec::new();
        for pipe in &mut query.pipes {
            in_pipe(pipe, &mut found, &mut inner);
        }
        for values in found {
            let Values::Query(subquery) = values else {
                continue;
            };
            of_query(context, subquery, max_values).await?;
            let list = values_of(context, subquery, max_values).await?;
            *values = Values::List(list);
        }
        for query in inner {
            of_query(context, query, max_values).await?;
        }
        Ok(())
    })
}

fn in_filter<'a>(filter: &'a mut Filter, found: &mut Vec<&'a mut Values>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter_mut().for_each(|part| in_filter(part, found));
        }
        Filter::Not(inner) => in_filter(inner, found),
        Filter::StreamId(values)
        | Filter::Field {
            matcher:
                Matcher::In(values) | Matcher::ContainsAll(values) | Matcher::ContainsAny(values),
            ..
        } => found.push(values),
        _ => {}
    }
}

fn in_pipe<'a>(
    pipe: &'a mut Pipe,
    found: &mut Vec<&'a mut Values>,
    inner: &mut Vec<&'a mut Query>,
) {
    let condition = match pipe {
        Pipe::Filter(filter) => return in_filter(filter, found),
        Pipe::Stats(stats) => {
            for entry in &mut stats.functions {
                if let Some(condition) = &mut entry.condition {
                    in_filter(condition, found);
                }
            }
            return;
        }
        Pipe::Join(join) => return inner.push(&mut join.query),
        Pipe::Union(query) => return inner.push(query),
        Pipe::CollapseNums(pipe) => &mut pipe.condition,
        Pipe::Extract(pipe) => &mut pipe.condition,
        Pipe::ExtractRegexp(pipe) => &mut pipe.condition,
        Pipe::Format(pipe) => &mut pipe.condition,
        Pipe::Replace(pipe) => &mut pipe.condition,
        Pipe::ReplaceRegexp(pipe) => &mut pipe.condition,
        Pipe::UnpackJson(pipe) | Pipe::UnpackLogfmt(pipe) => &mut pipe.condition,
        Pipe::UnpackSyslog(pipe) => &mut pipe.condition,
        Pipe::Unroll(pipe) => &mut pipe.condition,
        _ => return,
    };
    if let Some(condition) = condition {
        in_filter(condition, found);
    }
}

/// The values of a subquery's field, each once.
async fn values_of(context: &Context<'_>, query: &Query, max_values: u64) -> Result<Vec<String>> {
    let name = query.value_field().ok_or_else(|| {
        DataFusionError::Plan("a subquery ends with `fields` or `uniq` of one name".to_owned())
    })?;
    let mut rows = context.rows(query)?;
    let unique = logmill_lang::ast::Uniq {
        by: vec![name.to_owned()],
        hits_field: None,
        limit: Some(max_values.saturating_add(1)),
    };
    super::pipes::uniq(&mut rows, &unique)?;
    let plan = physical(context.session, &rows).await?;
    let mut batches =
        datafusion::physical_plan::execute_stream(plan, Arc::clone(&context.session.context))?;
    let mut values = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let Some(column) = batch.columns().first() else {
            continue;
        };
        let texts = Texts::new(column)?;
        values.extend((0..batch.num_rows()).map(|row| texts.get(row).to_owned()));
        if values.len() as u64 > max_values {
            let problem = format!(
                "a subquery in in(…) has more than {max_values} values (query.subquery_max_values)"
            );
            return Err(TooMuch(problem).into());
        }
    }
    Ok(values)
}
