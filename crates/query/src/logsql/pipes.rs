//! Pipes: each changes the plan and what is known of its fields.

mod context;
mod fields;
mod groups;
mod join;
mod order;
mod pack;
mod unpack;
mod unroll;

use std::sync::atomic::AtomicUsize;

use datafusion::common::{DataFusionError, Result};
use datafusion::functions::math::expr_fn::random;
use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::{Filter, Pipe, Query, Sort};
use logmill_model::TimeRange;
use logmill_schema::TableSchema;

pub(super) use context::{Matches, matches};
pub(super) use groups::{group_key, uniq};
pub(super) use pack::{Packed, write_json};

use super::filter;
use super::functions;
use super::rows::Rows;
use super::scope::{Kind, Scope, TIME, Value};
use super::stats;
use crate::session::Session;

/// What all parts of a query have in common.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) session: &'a Session,
    pub(super) table: &'a TableSchema,
    /// Makes names of computed columns different in the whole query.
    pub(super) names: &'a AtomicUsize,
    pub(super) now_ns: i64,
    /// When, beside what the query says of it.
    pub(super) range: TimeRange,
    /// Where the matches are that a `stream_context` looks around.
    pub(super) matches: Option<&'a Matches>,
}

fn not_supported(what: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!("not supported: {what}"))
}

impl<'a> Context<'a> {
    /// The records that a query makes.
    pub(super) fn rows(&self, query: &Query) -> Result<Rows<'a>> {
        let scope = Scope::stored(self.table);
        let mut rows = Rows::stored(self.session, self.names, scope);
        let range = self.range_of(query);
        if let Some(time) = rows.scope.get(TIME) {
            rows.filter(filter::in_range(time, self.global_range(query)))?;
        }
        let condition = self.condition(&rows, &query.filter)?;
        rows.filter(condition)?;
        let mut pipes = query.pipes.iter().peekable();
        while let Some(pipe) = pipes.next() {
            match (pipe, pipes.peek()) {
                // The first of a sorted whole are found without sorting all of it.
                (Pipe::Sort(sort), Some(Pipe::Limit(limit))) if sort.limit.is_none() => {
                    let sort = Sort {
                        limit: Some(*limit),
                        ..sort.clone()
                    };
                    if sort.partition_by.is_empty() {
                        pipes.next();
                    }
                    self.sort(&mut rows, &sort)?;
                }
                _ => self.pipe(&mut rows, pipe, query, range)?,
            }
        }
        Ok(rows)
    }

    fn global_range(&self, query: &Query) -> TimeRange {
        if query.options.ignore_global_time_filter == Some(true) {
            TimeRange::ALL
        } else {
            self.range
        }
    }

    /// The range of time in which all records of a query are, as far as its filter tells.
    fn range_of(&self, query: &Query) -> TimeRange {
        let parts = match &query.filter {
            Filter::And(parts) => parts.as_slice(),
            only => std::slice::from_ref(only),
        };
        let times = parts.iter().filter_map(|part| match part {
            Filter::Time(time) => Some(time.range(self.now_ns)),
            _ => None,
        });
        times.fold(self.global_range(query), |one, other| TimeRange {
            start_ns: one.start_ns.max(other.start_ns),
            end_ns: one.end_ns.min(other.end_ns),
        })
    }

    /// What holds of the records that a filter means.
    fn condition(&self, rows: &Rows<'_>, filter: &Filter) -> Result<Expr> {
        filter::condition(&rows.scope, filter, self.now_ns)
    }

    /// What holds of the records that `if (…)` means.
    fn condition_of_if(&self, rows: &Rows<'_>, filter: Option<&Filter>) -> Result<Option<Expr>> {
        filter
            .map(|filter| Ok(functions::is_true(self.condition(rows, filter)?)))
            .transpose()
    }

    fn pipe(
        &self,
        rows: &mut Rows<'a>,
        pipe: &Pipe,
        query: &Query,
        range: TimeRange,
    ) -> Result<()> {
        match pipe {
            Pipe::BlockStats => {
                return Err(not_supported(
                    "block_stats: records are not stored in blocks; EXPLAIN ANALYZE of SQL shows what was read",
                ));
            }
            Pipe::BlocksCount => {
                return Err(not_supported(
                    "blocks_count: records are not stored in blocks; EXPLAIN ANALYZE of SQL shows what was read",
                ));
            }
            Pipe::CollapseNums(collapse) => self.collapse_nums(rows, collapse)?,
            Pipe::Copy(renamings) => {
                for renaming in renamings {
                    rows.scope.rename(&renaming.from, &renaming.to, true);
                }
            }
            Pipe::Decolorize(field) => self.decolorize(rows, field)?,
            Pipe::Delete(patterns) => rows.scope.delete(patterns),
            Pipe::DropEmptyFields => drop_empty_records(rows)?,
            Pipe::Extract(extract) => self.extract(rows, extract)?,
            Pipe::ExtractRegexp(extract) => self.extract_regexp(rows, extract)?,
            Pipe::Facets(facets) => groups::facets(rows, facets)?,
            Pipe::FieldNames => groups::field_names(rows)?,
            Pipe::FieldValues(values) => groups::field_values(rows, values)?,
            Pipe::Fields(patterns) => rows.scope.keep(patterns),
            Pipe::Filter(filter) => {
                let condition = self.condition(rows, filter)?;
                rows.filter(condition)?;
            }
            Pipe::First(first) => self.first(rows, first, false)?,
            Pipe::Format(format) => self.format(rows, format)?,
            Pipe::Hash(hash) => fields::hash(rows, hash)?,
            Pipe::Join(join) => self.join(rows, join)?,
            Pipe::JsonArrayLen(of) => fields::json_array_len(rows, of)?,
            Pipe::Last(last) => self.first(rows, last, true)?,
            Pipe::Len(of) => fields::len(rows, of)?,
            Pipe::Limit(limit) => rows.limit(0, Some(*limit))?,
            Pipe::Math(entries) => {
                for entry in entries {
                    let number = |name: &str| rows.scope.get(name).map(|value| value.expr);
                    let value = functions::math(&entry.expression, self.now_ns, number);
                    rows.set(&entry.result_field, Value::new(value, Kind::Float))?;
                }
            }
            Pipe::Offset(offset) => rows.limit(*offset, None)?,
            Pipe::PackJson(pack) => pack::pack_json(rows, pack)?,
            Pipe::PackLogfmt(pack) => pack::pack_logfmt(rows, pack)?,
            Pipe::Rename(renamings) => {
                for renaming in renamings {
                    rows.scope.rename(&renaming.from, &renaming.to, false);
                }
            }
            Pipe::Replace(replace) => self.replace(rows, replace)?,
            Pipe::ReplaceRegexp(replace) => self.replace_regexp(rows, replace)?,
            #[allow(clippy::cast_precision_loss, reason = "a probability")]
            Pipe::Sample(every) => rows.filter(random().lt(lit(1.0 / (*every).max(1) as f64)))?,
            Pipe::Sort(sort) => self.sort(rows, sort)?,
            Pipe::Stats(stats) => stats::stats(self, rows, stats, range)?,
            Pipe::StreamContext(context) => self.stream_context(rows, context, query)?,
            Pipe::Top(top) => groups::top(rows, top)?,
            Pipe::Union(query) => self.union(rows, query)?,
            Pipe::Uniq(uniq) => groups::uniq(rows, uniq)?,
            Pipe::UnpackJson(unpack) => self.unpack_json(rows, unpack)?,
            Pipe::UnpackLogfmt(unpack) => self.unpack_logfmt(rows, unpack)?,
            Pipe::UnpackSyslog(unpack) => self.unpack_syslog(rows, unpack)?,
            Pipe::UnpackWords(unpack) => unpack::unpack_words(rows, unpack)?,
            Pipe::Unroll(unroll) => self.unroll(rows, unroll)?,
        }
        Ok(())
    }

    /// The condition of an `if (…)` in a `stats` function.
    pub(super) fn stats_condition(
        &self,
        rows: &Rows<'_>,
        filter: Option<&Filter>,
    ) -> Result<Option<Expr>> {
        self.condition_of_if(rows, filter)
    }
}

/// Drops records without a value in any field; fields without a value are in no answer anyhow.
fn drop_empty_records(rows: &mut Rows<'_>) -> Result<()> {
    let columns = rows.scope.columns();
    let present = columns.map(|(_, value)| value.is_present());
    let open = rows.scope.open().map(functions::has_members);
    match present.chain(open).reduce(Expr::or) {
        Some(condition) => rows.filter(condition),
        None => rows.filter(lit(false)),
    }
}
