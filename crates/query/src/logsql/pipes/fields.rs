//! Pipes that make a field of others: `format`, `replace`, `collapse_nums`, `len`, ….

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, lit, when};
use logmill_lang::ast::{
    CollapseNums, Filter, Format, OneField, Replace, ReplaceRegexp, ResultPolicy,
};
use logmill_lang::value::{self, pattern::FormatPattern};

use super::Context;
use crate::logsql::functions;
use crate::logsql::invalid;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Kind, Value};

/// What a field is after a pipe wrote `new`, where it was `old` before.
pub(super) fn by_policy(policy: ResultPolicy, new: Value, old: Option<Value>) -> Value {
    match (policy, old) {
        (ResultPolicy::Overwrite, _) | (_, None) => new,
        (ResultPolicy::KeepOriginalFields, Some(old)) => old.or(Some(new)),
        (ResultPolicy::SkipEmptyResults, old) => new.or(old),
    }
}

/// `new` where the condition holds, `old` elsewhere.
pub(super) fn where_holds(
    condition: Option<Expr>,
    new: Value,
    old: Option<Value>,
) -> Result<Value> {
    let Some(condition) = condition else {
        return Ok(new);
    };
    match old {
        Some(old) => Ok(Value::text(
            when(condition, new.shown()).otherwise(old.shown())?,
        )),
        None => Ok(Value::text(when(condition, new.shown()).end()?)),
    }
}

impl<'a> Context<'a> {
    /// Gives a field a text made of its own.
    fn update(
        &self,
        rows: &mut Rows<'a>,
        condition: Option<&Filter>,
        field: &str,
        make: impl FnOnce(Expr) -> Expr,
    ) -> Result<()> {
        let old = rows.scope.get(field);
        let old = old.unwrap_or_else(|| Value::text(lit("")));
        let condition = self.condition_of_if(rows, condition)?;
        let new = Value::text(make(old.expr.clone()));
        let value = where_holds(condition, new, Some(old))?;
        let own = rows.scope.own_name(field).to_owned();
        rows.set(&own, value)
    }

    pub(super) fn collapse_nums(&self, rows: &mut Rows<'a>, collapse: &CollapseNums) -> Result<()> {
        let prettify = collapse.prettify;
        let name = if prettify {
            "collapse_nums_prettify"
        } else {
            "collapse_nums"
        };
        let make = move |values: &[&str], out: &mut String| {
            let text = values.first().unwrap_or(&"");
            if prettify {
                let mut collapsed = String::new();
                value::text::collapse_numbers(text, &mut collapsed);
                out.push_str(&value::text::prettify_numbers(&collapsed));
            } else {
                value::text::collapse_numbers(text, out);
            }
        };
        self.update(rows, collapse.condition.as_ref(), &collapse.field, |old| {
            functions::text(name, "", vec![old], make)
        })
    }

    pub(super) fn decolorize(&self, rows: &mut Rows<'a>, field: &str) -> Result<()> {
        self.update(rows, None, field, |old| {
            functions::text("decolorize", "", vec![old], |values, out| {
                out.push_str(&value::text::decolorize(values.first().unwrap_or(&"")));
            })
        })
    }

    pub(super) fn replace(&self, rows: &mut Rows<'a>, replace: &Replace) -> Result<()> {
        let Replace {
            condition,
            old,
            new,
            field,
            limit,
        } = replace.clone();
        let spec = format!("{old:?} {new:?} {limit:?}");
        self.update(rows, condition.as_ref(), &field, |value| {
            functions::text("replace_text", &spec, vec![value], move |values, out| {
                let text = values.first().unwrap_or(&"");
                out.push_str(&value::text::replace(text, &old, &new, limit));
            })
        })
    }

    pub(super) fn replace_regexp(
        &self,
        rows: &mut Rows<'a>,
        replace: &ReplaceRegexp,
    ) -> Result<()> {
        let ReplaceRegexp {
            condition,
            regexp,
            replacement,
            field,
            limit,
        } = replace.clone();
        let spec = format!("{regexp:?} {replacement:?} {limit:?}");
        let regexp = value::regexp::compile(&regexp).map_err(invalid)?;
        self.update(rows, condition.as_ref(), &field, |value| {
            functions::text("replace_regexp", &spec, vec![value], move |values, out| {
                let text = values.first().unwrap_or(&"");
                out.push_str(&value::text::replace_regexp(
                    text,
                    &regexp,
                    &replacement,
                    limit,
                ));
            })
        })
    }

    pub(super) fn format(&self, rows: &mut Rows<'a>, format: &Format) -> Result<()> {
        let pattern = FormatPattern::parse(&format.pattern).map_err(invalid)?;
        let absent = || lit("");
        let values = pattern.fields().iter().map(|name| {
            let value = rows.scope.get(name);
            value.map_or_else(absent, |value| value.expr)
        });
        let values: Vec<Expr> = values.collect();
        let new = functions::text("format", &format.pattern, values, move |values, out| {
            pattern.write(|field| values.get(field).copied().unwrap_or_default(), out);
        });
        let condition = self.condition_of_if(rows, format.condition.as_ref())?;
        let old = rows.scope.get(&format.result_field);
        let new = by_policy(format.policy, Value::text(new), old.clone());
        let value = where_holds(condition, new, old)?;
        rows.set(&format.result_field, value)
    }
}

fn number_of(
    rows: &mut Rows<'_>,
    of: &OneField,
    name: &'static str,
    number: impl Fn(&str) -> i64 + Send + Sync + 'static,
) -> Result<()> {
    let value = rows.scope.get(&of.field);
    let value = value.map_or_else(|| lit(""), |value| value.expr);
    let number = move |values: &[&str]| Some(number(values.first().unwrap_or(&"")));
    let number = functions::integer(name, vec![value], number);
    rows.set(&of.result_field, Value::new(number, Kind::Integer))
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

pub(super) fn len(rows: &mut Rows<'_>, of: &OneField) -> Result<()> {
    number_of(rows, of, "len", |text| count(text.len()))
}

pub(super) fn json_array_len(rows: &mut Rows<'_>, of: &OneField) -> Result<()> {
    number_of(rows, of, "json_array_len", |text| {
        value::json::array_items(text).map_or(0, |items| count(items.len()))
    })
}

pub(super) fn hash(rows: &mut Rows<'_>, of: &OneField) -> Result<()> {
    // It has 53 bits.
    number_of(rows, of, "hash", |text| {
        value::hash::hash(text).cast_signed()
    })
}
