//! Pipes.

mod count;
mod join;
mod math;
mod order;
mod text;
mod unpack;

use logmill_lang::ast::{FieldPattern, Pipe, Query, Renaming};
use logmill_lang::value::{json, logfmt};
use logmill_model::TimeRange;

use crate::{Error, Interpreter, Result, Row, Rows, set, stats};

impl Interpreter<'_> {
    /// What a pipe makes of the records. `query` is that of the pipe, `range` the time it is asked for.
    pub(crate) fn pipe(
        &self,
        rows: &mut Rows,
        pipe: &Pipe,
        query: &Query,
        range: TimeRange,
    ) -> Result<()> {
        match pipe {
            Pipe::BlockStats | Pipe::BlocksCount => {
                return Err(Error::NotSupported(
                    "records are not stored in blocks".to_owned(),
                ));
            }
            Pipe::Sample(1) => {}
            Pipe::Sample(_) => return Err(Error::NotSupported("chance".to_owned())),
            Pipe::StreamContext(_) => {
                return Err(Error::NotSupported("stream_context".to_owned()));
            }
            Pipe::Filter(filter) => self.filter(rows, filter)?,
            Pipe::Copy(renamings) => rename(rows, renamings, true),
            Pipe::Rename(renamings) => rename(rows, renamings, false),
            Pipe::Delete(patterns) => delete(rows, patterns),
            Pipe::Fields(patterns) => {
                let kept = rows.rows.iter().map(|row| select(rows, row, patterns));
                rows.rows = kept.collect();
            }
            Pipe::DropEmptyFields => rows.rows.retain(|row| !row.is_empty()),
            Pipe::PackJson(pack) => self.update(rows, None, |rows, row| {
                let mut text = String::new();
                json::write_object(pairs(&select(rows, row, &pack.fields)), &mut text);
                vec![(pack.result_field.clone(), text)]
            })?,
            Pipe::PackLogfmt(pack) => self.update(rows, None, |rows, row| {
                let mut text = String::new();
                logfmt::write(pairs(&select(rows, row, &pack.fields)), &mut text);
                vec![(pack.result_field.clone(), text)]
            })?,
            Pipe::Limit(limit) => rows.rows.truncate(index(*limit)),
            Pipe::Offset(offset) => {
                let offset = index(*offset).min(rows.rows.len());
                rows.rows.drain(..offset);
            }
            Pipe::Sort(sort) => order::sort(rows, sort),
            Pipe::First(first) => order::first(rows, first, false),
            Pipe::Last(last) => order::first(rows, last, true),
            Pipe::Uniq(uniq) => count::uniq(rows, uniq),
            Pipe::Top(top) => count::top(rows, top),
            Pipe::Facets(facets) => count::facets(rows, facets),
            Pipe::FieldNames => count::field_names(rows),
            Pipe::FieldValues(values) => count::field_values(rows, values),
            Pipe::Stats(stats) => stats::stats(self, rows, stats, query, range)?,
            Pipe::Join(join) => self.join(rows, join)?,
            Pipe::Union(query) => self.union(rows, query)?,
            Pipe::UnpackJson(_)
            | Pipe::UnpackLogfmt(_)
            | Pipe::UnpackSyslog(_)
            | Pipe::UnpackWords(_)
            | Pipe::Unroll(_) => self.unpack(rows, pipe)?,
            Pipe::Math(entries) => self.math(rows, entries)?,
            Pipe::CollapseNums(_)
            | Pipe::Decolorize(_)
            | Pipe::Replace(_)
            | Pipe::ReplaceRegexp(_) => self.change_text(rows, pipe)?,
            Pipe::Extract(_)
            | Pipe::ExtractRegexp(_)
            | Pipe::Format(_)
            | Pipe::Hash(_)
            | Pipe::JsonArrayLen(_)
            | Pipe::Len(_) => self.derive(rows, pipe)?,
        }
        Ok(())
    }

    /// Sets fields of the records that a condition holds of.
    fn update(
        &self,
        rows: &mut Rows,
        condition: Option<&logmill_lang::Filter>,
        fields: impl Fn(&Rows, &Row) -> Vec<(String, String)>,
    ) -> Result<()> {
        let holds = self.conditions(rows, condition)?;
        let mut updated = rows.rows.clone();
        for (row, holds) in updated.iter_mut().zip(holds) {
            if holds {
                for (name, value) in fields(rows, row) {
                    set(row, &name, value);
                }
            }
        }
        rows.rows = updated;
        Ok(())
    }
}

fn pairs(row: &Row) -> impl Iterator<Item = (&str, &str)> {
    row.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A record of the fields that the patterns mean.
pub(crate) fn select(rows: &Rows, row: &Row, patterns: &[FieldPattern]) -> Row {
    let mut selected = Row::new();
    for pattern in patterns {
        match pattern {
            FieldPattern::Name(name) => set(&mut selected, name, rows.get(row, name)),
            FieldPattern::Prefix(_) => {
                let matching = row.iter().filter(|(name, _)| pattern.matches(name));
                selected.extend(matching.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
    }
    selected
}

fn delete(rows: &mut Rows, patterns: &[FieldPattern]) {
    let mut kept = rows.rows.clone();
    for row in &mut kept {
        for pattern in patterns {
            match pattern {
                FieldPattern::Name(name) => rows.remove(row, name),
                FieldPattern::Prefix(_) => row.retain(|name, _| !pattern.matches(name)),
            }
        }
    }
    rows.rows = kept;
}

fn rename(rows: &mut Rows, renamings: &[Renaming], copy: bool) {
    let mut renamed = rows.rows.clone();
    for row in &mut renamed {
        for Renaming { from, to } in renamings {
            let (FieldPattern::Name(to) | FieldPattern::Prefix(to)) = to;
            let moved: Vec<(String, String)> = match from {
                FieldPattern::Name(name) => vec![(to.clone(), rows.get(row, name))],
                FieldPattern::Prefix(prefix) => row
                    .iter()
                    .filter_map(|(name, value)| {
                        let rest = name.strip_prefix(prefix.as_str())?;
                        Some((format!("{to}{rest}"), value.clone()))
                    })
                    .collect(),
            };
            if !copy {
                match from {
                    FieldPattern::Name(name) => rows.remove(row, name),
                    FieldPattern::Prefix(_) => row.retain(|name, _| !from.matches(name)),
                }
            }
            for (name, value) in moved {
                set(row, &name, value);
            }
        }
    }
    rows.rows = renamed;
}
