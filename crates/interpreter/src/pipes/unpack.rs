//! Pipes that take a text apart: `unpack_…` and `unroll`.

use std::collections::HashSet;

use logmill_lang::ast::{FieldPattern, Filter, Pipe, ResultPolicy, Unpack};
use logmill_lang::value::{json, logfmt, syslog};
use logmill_model::token;

use super::text::by_policy;
use crate::{Error, Interpreter, Result, Rows, set};

/// Names and values in a text, in order.
type Fields = Vec<(String, String)>;

fn owned(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

impl Interpreter<'_> {
    pub(super) fn unpack(&self, rows: &mut Rows, pipe: &Pipe) -> Result<()> {
        match pipe {
            Pipe::UnpackJson(unpack) => self.unpack_fields(rows, unpack, |text| {
                let fields = json::flatten(text).unwrap_or_default().into_iter();
                fields.map(|(name, value)| owned(name, value)).collect()
            }),
            Pipe::UnpackLogfmt(unpack) => self.unpack_fields(rows, unpack, |text| {
                let fields = logfmt::parse(text).into_iter();
                fields.map(|(name, value)| owned(name, value)).collect()
            }),
            Pipe::UnpackSyslog(unpack) => {
                let offset_ns = unpack.offset.as_ref().map_or(0, |offset| offset.ns);
                let all = Unpack {
                    condition: unpack.condition.clone(),
                    from: unpack.from.clone(),
                    fields: vec![FieldPattern::all()],
                    result_prefix: unpack.result_prefix.clone(),
                    policy: match unpack.keep_original_fields {
                        true => ResultPolicy::KeepOriginalFields,
                        false => ResultPolicy::Overwrite,
                    },
                };
                self.unpack_fields(rows, &all, |text| {
                    let fields = syslog::parse(text, self.now_ns, offset_ns).into_iter();
                    fields.map(|(name, value)| owned(name, value)).collect()
                })
            }
            Pipe::UnpackWords(unpack) => self.update(rows, None, |rows, row| {
                let text = rows.get(row, &unpack.from);
                let mut seen = HashSet::new();
                let words = token::tokens(&text)
                    .map(|(_, word)| word)
                    .filter(|word| seen.insert(*word) || !unpack.drop_duplicates);
                let mut list = String::new();
                json::write_array(words, &mut list);
                vec![(unpack.result_field.clone(), list)]
            }),
            Pipe::Unroll(unroll) => self.unroll(rows, unroll.condition.as_ref(), &unroll.by),
            other => Err(Error::NotSupported(format!("{other:?}"))),
        }
    }

    fn unpack_fields(
        &self,
        rows: &mut Rows,
        unpack: &Unpack,
        fields: impl Fn(&str) -> Fields,
    ) -> Result<()> {
        self.update(rows, unpack.condition.as_ref(), |rows, row| {
            let found = fields(&rows.get(row, &unpack.from));
            let mut wanted: Fields = Vec::new();
            // What is named is written even if it is not found.
            for pattern in &unpack.fields {
                if let FieldPattern::Name(name) = pattern {
                    wanted.push(owned(name, ""));
                }
            }
            let matches = |name: &str| unpack.fields.iter().any(|pattern| pattern.matches(name));
            for (name, value) in found {
                // Of several fields of a name, the last counts.
                wanted.retain(|(own, _)| *own != name);
                if matches(&name) {
                    wanted.push((name, value));
                }
            }
            wanted
                .into_iter()
                .map(|(name, value)| {
                    let name = format!("{}{name}", unpack.result_prefix);
                    by_policy(rows, row, &name, value, unpack.policy)
                })
                .collect()
        })
    }

    fn unroll(&self, rows: &mut Rows, condition: Option<&Filter>, by: &[String]) -> Result<()> {
        let holds = self.conditions(rows, condition)?;
        let mut unrolled = Vec::new();
        for (row, holds) in rows.rows.iter().zip(holds) {
            if !holds {
                unrolled.push(row.clone());
                continue;
            }
            let texts: Vec<String> = by.iter().map(|name| rows.get(row, name)).collect();
            let lists = texts.iter();
            let lists: Vec<_> = lists
                .map(|text| json::array_items(text).unwrap_or_default())
                .collect();
            let length = lists.iter().map(Vec::len).max().unwrap_or(0).max(1);
            for index in 0..length {
                let mut row = row.clone();
                for (name, list) in by.iter().zip(&lists) {
                    set(&mut row, name, list.get(index).cloned().unwrap_or_default());
                }
                unrolled.push(row);
            }
        }
        rows.rows = unrolled;
        Ok(())
    }
}
