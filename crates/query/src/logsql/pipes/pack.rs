//! `pack_json` and `pack_logfmt`: fields as one text.

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::{FieldPattern, Pack};
use logmill_lang::value;

use crate::logsql::functions::{self, Object};
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Scope, Value};

/// Fields of records, to be written as one text.
pub(in crate::logsql) struct Packed {
    /// Names of the columns.
    pub(in crate::logsql) names: Vec<String>,
    /// Their values, and at the end the object of the fields without a column.
    pub(in crate::logsql) values: Vec<Expr>,
}

impl Packed {
    pub(in crate::logsql) fn new(scope: &Scope, patterns: &[FieldPattern]) -> Self {
        let columns = scope.matching(patterns);
        let open = scope.open_matching(patterns);
        let mut names = Vec::new();
        let mut values = Vec::new();
        for (name, value) in columns {
            names.push(name);
            values.push(value.expr);
        }
        values.push(open.unwrap_or_else(|| lit("")));
        Self { names, values }
    }
}

/// The fields of a record that have a value, in order. The last of `values` is an object.
pub(in crate::logsql) fn fields(names: &[String], values: &[&str]) -> Vec<(String, String)> {
    let Some((open, values)) = values.split_last() else {
        return Vec::new();
    };
    let columns = names.iter().zip(values);
    let columns = columns.map(|(name, value)| (name.clone(), (*value).to_owned()));
    columns.chain(Object::read(open).into_texts()).collect()
}

/// The fields of a record as a JSON object.
pub(in crate::logsql) fn write_json(names: &[String], values: &[&str], out: &mut String) {
    let fields = fields(names, values);
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    value::json::write_object(fields, out);
}

pub(super) fn pack_json(rows: &mut Rows<'_>, pack: &Pack) -> Result<()> {
    packed(rows, pack, "pack_json", write_json)
}

pub(super) fn pack_logfmt(rows: &mut Rows<'_>, pack: &Pack) -> Result<()> {
    packed(rows, pack, "pack_logfmt", |names, values, out| {
        let fields = fields(names, values);
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        value::logfmt::write(fields, out);
    })
}

fn packed(
    rows: &mut Rows<'_>,
    pack: &Pack,
    name: &'static str,
    write: fn(&[String], &[&str], &mut String),
) -> Result<()> {
    let Packed { names, values } = Packed::new(&rows.scope, &pack.fields);
    let spec = names.join(",");
    let text = functions::text(name, &spec, values, move |values, out| {
        write(&names, values, out);
    });
    rows.set(&pack.result_field, Value::text(text))
}
