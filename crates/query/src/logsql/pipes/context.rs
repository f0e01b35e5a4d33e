//! `stream_context`: the records around those that match, in the same stream.
//!
//! Which streams and which times may matter is found first, so that no other records are read. The records of a stream
//! are then numbered in the order of time; those near a match stay. Between runs of records that do not follow one
//! another in their stream stands a record that says `---`.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, cast, lit, when,
};
use datafusion::physical_plan::collect;
use logmill_lang::ast::{Pipe, Query, StreamContext};
use logmill_model::{TimeRange, field};

use super::order::number;
use super::{Context, not_supported};
use crate::errors::TooMuch;
use crate::logsql::functions;
use crate::logsql::functions::Texts;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Kind, MSG, STREAM, Scope, TIME, Value, column};
use crate::logsql::{filter, physical};

/// Streams in which something matches; more are not looked around in.
const STREAMS_MAX: usize = 1_000;

/// What the message of a record between two runs is.
const DELIMITER: &str = "---";

/// Where matches are.
#[derive(Clone, Debug)]
pub(in crate::logsql) struct Matches {
    streams: Vec<String>,
    /// First and last time, nanoseconds.
    times: Option<(i64, i64)>,
}

/// Where the matches are that the first pipe of a query looks around; `None` if it is no such pipe.
pub(in crate::logsql) async fn matches(
    context: &Context<'_>,
    query: &Query,
) -> Result<Option<Matches>> {
    if !matches!(query.pipes.first(), Some(Pipe::StreamContext(_))) {
        return Ok(None);
    }
    let mut rows = context.rows(&Query::new(query.filter.clone()))?;
    let (Some(time), Some(stream)) = (rows.scope.get(TIME), rows.scope.get(STREAM)) else {
        return Ok(None);
    };
    let names = [rows.new_name(), rows.new_name(), rows.new_name()];
    let first = min(time.expr.clone()).alias(&names[1]);
    let last = max(time.expr).alias(&names[2]);
    let columns = [
        (&names[0], Kind::Text),
        (&names[1], Kind::Time),
        (&names[2], Kind::Time),
    ];
    let columns = columns.map(|(name, kind)| (name.clone(), Value::new(column(name), kind)));
    rows.aggregate(
        vec![stream.expr.alias(&names[0])],
        vec![first, last],
        columns.into(),
    )?;
    rows.limit(0, Some(STREAMS_MAX as u64 + 1))?;
    let plan = physical(context.session, &rows).await?;
    let mut found = Matches {
        streams: Vec::new(),
        times: None,
    };
    for batch in collect(plan, context.session.context.clone()).await? {
        let [streams, first, last] = batch.columns() else {
            continue;
        };
        let streams = Texts::new(streams)?;
        found
            .streams
            .extend((0..batch.num_rows()).map(|row| streams.get(row).to_owned()));
        let first = first.as_primitive::<TimestampNanosecondType>().values();
        let last = last.as_primitive::<TimestampNanosecondType>().values();
        for (first, last) in first.iter().zip(last) {
            let (from, to) = found.times.unwrap_or((*first, *last));
            found.times = Some((from.min(*first), to.max(*last)));
        }
    }
    if found.streams.len() > STREAMS_MAX {
        let problem = format!(
            "stream_context: records of more than {STREAMS_MAX} streams match; narrow the filter"
        );
        return Err(TooMuch(problem).into());
    }
    Ok(Some(found))
}

/// An aggregate over the rows from so many before to so many after, of the same stream in the order of time.
fn near(aggregate: &Expr, before: u64, after: u64) -> Result<Expr> {
    let Expr::AggregateFunction(aggregate) = aggregate else {
        return Err(DataFusionError::Internal("an aggregate".to_owned()));
    };
    let rows = |rows: u64| ScalarValue::UInt64(Some(rows));
    let bound = |rows_away: u64, bound: fn(ScalarValue) -> WindowFrameBound| match rows_away {
        0 => WindowFrameBound::CurrentRow,
        _ => bound(rows(rows_away)),
    };
    let frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        bound(before, WindowFrameBound::Preceding),
        bound(after, WindowFrameBound::Following),
    );
    let function = WindowFunctionDefinition::AggregateUDF(aggregate.func.clone());
    let window = WindowFunction::new(function, aggregate.params.args.clone());
    Expr::from(window)
        .partition_by(vec![column(field::STREAM)])
        .order_by(vec![column(field::TIMESTAMP).sort(true, true)])
        .window_frame(frame)
        .build()
}

impl<'a> Context<'a> {
    pub(super) fn stream_context(
        &self,
        rows: &mut Rows<'a>,
        pipe: &StreamContext,
        query: &Query,
    ) -> Result<()> {
        let first = matches!(query.pipes.first(), Some(Pipe::StreamContext(own)) if own == pipe);
        let Some(matches) = self.matches.filter(|_| first) else {
            return Err(not_supported(
                "stream_context in another place than right after the filter of the whole query",
            ));
        };
        let Some((conditions, None)) = rows.as_stored() else {
            return Err(not_supported("stream_context after another pipe"));
        };
        let is_match = conditions.iter().cloned().reduce(Expr::and);
        let is_match = functions::is_true(is_match.unwrap_or_else(|| lit(true)));
        let window_ns = pipe.time_window.ns;
        let scope = Scope::stored(self.table);
        let mut around = Rows::stored(self.session, self.names, scope);
        let Some((from, to)) = matches.times else {
            return rows.filter(lit(false));
        };
        let range = TimeRange {
            start_ns: from.saturating_sub(if pipe.before > 0 { window_ns } else { 0 }),
            end_ns: to
                .saturating_add(if pipe.after > 0 { window_ns } else { 0 })
                .saturating_add(1),
        };
        let time = Value::new(column(field::TIMESTAMP), Kind::Time);
        around.filter(filter::in_range(time, range))?;
        let streams = matches.streams.iter().map(|stream| lit(stream.as_str()));
        around.filter(column(field::STREAM).in_list(streams.collect(), false))?;
        let mut matched = when(is_match, column(field::TIMESTAMP)).end()?;
        around.compute(&mut [&mut matched])?;
        // The nearest match before and after every record, if there is one among so many records.
        let before = around.window(near(&max(matched.clone()), pipe.after, 0)?)?;
        let after = around.window(near(&min(matched), 0, pipe.before)?)?;
        let order = vec![column(field::TIMESTAMP).sort(true, true)];
        let place = number(&mut around, vec![column(field::STREAM)], order.clone())?;
        let ns = |time: Expr| cast(time, arrow_schema::DataType::Int64);
        let within = |distance: Expr| distance.lt_eq(lit(window_ns));
        let time = || ns(column(field::TIMESTAMP));
        around.filter(within(time() - ns(before)).or(within(ns(after) - time())))?;
        self.delimited(&mut around, place)?;
        *rows = around;
        Ok(())
    }

    /// Puts a record between runs of records; `place` is where each is in its stream.
    fn delimited(&self, rows: &mut Rows<'a>, place: Expr) -> Result<()> {
        let last = lag(place.clone(), Some(1), None)
            .partition_by(vec![column(field::STREAM)])
            .order_by(vec![column(field::TIMESTAMP).sort(true, true)])
            .build()?;
        let last = rows.window(last)?;
        let follows_gap = (place.clone() - last).gt(lit(1_i64));
        let mut is_delimiter = when(follows_gap, make_array(vec![lit(true), lit(false)]))
            .otherwise(make_array(vec![lit(false)]))?;
        rows.compute(&mut [&mut is_delimiter])?;
        let Some(list) = is_delimiter.try_as_col().cloned() else {
            return Ok(());
        };
        rows.change(|plan| plan.unnest_column(list))?;
        let mut columns = Vec::new();
        for (name, value) in rows.scope.columns() {
            let in_delimiter = match name {
                // It stands where the record is that it stands before.
                STREAM | TIME => continue,
                MSG => lit(ScalarValue::Utf8View(Some(DELIMITER.to_owned()))),
                _ => lit(ScalarValue::Null),
            };
            let value_of =
                when(is_delimiter.clone(), in_delimiter).otherwise(value.expr.clone())?;
            columns.push((name.to_owned(), Value::new(value_of, value.kind)));
        }
        for (name, value) in columns {
            rows.scope.set(&name, value);
        }
        rows.scope
            .map_open(|object| when(Expr::Not(Box::new(is_delimiter.clone())), object).end())?;
        let order = [
            column(field::STREAM).sort(true, true),
            place.sort(true, true),
            is_delimiter.sort(false, true),
        ];
        rows.sort(&order, None)
    }
}
