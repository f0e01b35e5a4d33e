//! Pipes that take fields out of a text: `extract`, `extract_regexp`, `unpack_json`, `unpack_logfmt`, `unpack_syslog`,
//! `unpack_words`.

use std::borrow::Cow;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, lit, when};
use logmill_lang::ast::{
    Extract, ExtractRegexp, FieldPattern, Filter, ResultPolicy, Unpack, UnpackSyslog, UnpackWords,
};
use logmill_lang::value::{self, pattern::ExtractPattern};
use logmill_model::token;

use super::Context;
use super::fields::{by_policy, where_holds};
use crate::logsql::functions::{self, Object, Outputs};
use crate::logsql::invalid;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Value, member};

/// Fields that a text has, in order: names and values.
type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<'a> Context<'a> {
    pub(super) fn extract(&self, rows: &mut Rows<'a>, extract: &Extract) -> Result<()> {
        let pattern = ExtractPattern::parse(&extract.pattern).map_err(invalid)?;
        let names = pattern.fields().to_vec();
        let make = move |text: &str, outputs: &mut Outputs| {
            pattern.extract(text, |member, text| outputs.set(member, &text));
        };
        let record =
            |value, names| functions::record("extract", &extract.pattern, value, names, make);
        let condition = extract.condition.as_ref();
        self.set_members(
            rows,
            condition,
            &extract.from,
            names,
            extract.policy,
            record,
        )
    }

    pub(super) fn extract_regexp(
        &self,
        rows: &mut Rows<'a>,
        extract: &ExtractRegexp,
    ) -> Result<()> {
        let regexp = value::regexp::compile(&extract.regexp).map_err(invalid)?;
        let names: Vec<String> = regexp
            .capture_names()
            .flatten()
            .map(ToOwned::to_owned)
            .collect();
        if names.is_empty() {
            let problem = "extract_regexp takes an expression with a named group: (?P<name>…)";
            return Err(DataFusionError::Plan(problem.to_owned()));
        }
        let groups = names.clone();
        let make = move |text: &str, outputs: &mut Outputs| {
            let Some(captures) = regexp.captures(text) else {
                return;
            };
            for (member, name) in groups.iter().enumerate() {
                if let Some(found) = captures.name(name) {
                    outputs.set(member, found.as_str());
                }
            }
        };
        let record =
            |value, names| functions::record("extract_regexp", &extract.regexp, value, names, make);
        let condition = extract.condition.as_ref();
        self.set_members(
            rows,
            condition,
            &extract.from,
            names,
            extract.policy,
            record,
        )
    }

    /// Gives fields the members of a record that is made of a text.
    fn set_members(
        &self,
        rows: &mut Rows<'a>,
        condition: Option<&Filter>,
        from: &str,
        names: Vec<String>,
        policy: ResultPolicy,
        make: impl FnOnce(Expr, Vec<String>) -> Expr,
    ) -> Result<()> {
        let text = rows.scope.get(from);
        let text = text.map_or_else(|| lit(""), |value| value.expr);
        let mut record = make(text, names.clone());
        let mut condition = self.condition_of_if(rows, condition)?;
        let computed = [&mut record].into_iter().chain(condition.as_mut());
        rows.compute(&mut computed.collect::<Vec<_>>())?;
        let old: Vec<_> = names.iter().map(|name| rows.scope.get(name)).collect();
        for (name, old) in names.iter().zip(old) {
            let new = Value::text(member(record.clone(), name));
            let new = by_policy(policy, new, old.clone());
            let value = where_holds(condition.clone(), new, old)?;
            rows.scope.set(name, value);
        }
        Ok(())
    }

    pub(super) fn unpack_json(&self, rows: &mut Rows<'a>, unpack: &Unpack) -> Result<()> {
        self.unpack(rows, "unpack_json", unpack, |text| {
            value::json::flatten(text).unwrap_or_default()
        })
    }

    pub(super) fn unpack_logfmt(&self, rows: &mut Rows<'a>, unpack: &Unpack) -> Result<()> {
        self.unpack(rows, "unpack_logfmt", unpack, |text| {
            let fields = value::logfmt::parse(text).into_iter();
            fields
                .map(|(name, value)| (Cow::Borrowed(name), value))
                .collect()
        })
    }

    pub(super) fn unpack_syslog(&self, rows: &mut Rows<'a>, unpack: &UnpackSyslog) -> Result<()> {
        let policy = if unpack.keep_original_fields {
            ResultPolicy::KeepOriginalFields
        } else {
            ResultPolicy::Overwrite
        };
        let whole = Unpack {
            condition: unpack.condition.clone(),
            from: unpack.from.clone(),
            fields: vec![FieldPattern::all()],
            result_prefix: unpack.result_prefix.clone(),
            policy,
        };
        let now_ns = self.now_ns;
        let offset_ns = unpack.offset.as_ref().map_or(0, |offset| offset.ns);
        self.unpack(rows, "unpack_syslog", &whole, move |text| {
            value::syslog::parse(text, now_ns, offset_ns)
        })
    }

    /// Takes fields out of a text: those that are named become columns, others an object.
    fn unpack(
        &self,
        rows: &mut Rows<'a>,
        name: &'static str,
        unpack: &Unpack,
        fields: impl for<'t> Fn(&'t str) -> Fields<'t> + Send + Sync + 'static,
    ) -> Result<()> {
        let prefix = unpack.result_prefix.clone();
        let wanted = unpack.fields.iter().map(|pattern| match pattern {
            FieldPattern::Name(name) => Some(name.clone()),
            FieldPattern::Prefix(_) => None,
        });
        if let Some(wanted) = wanted.collect::<Option<Vec<String>>>() {
            let names = wanted.iter().map(|name| format!("{prefix}{name}"));
            let names = names.collect();
            let make = move |text: &str, outputs: &mut Outputs| {
                for (name, value) in fields(text) {
                    let member = wanted.iter().position(|wanted| *wanted == name);
                    if let Some(member) = member {
                        outputs.set(member, &value);
                    }
                }
            };
            let spec = format!("{:?}", unpack.fields);
            let record = |value, names| functions::record(name, &spec, value, names, make);
            let condition = unpack.condition.as_ref();
            return self.set_members(rows, condition, &unpack.from, names, unpack.policy, record);
        }
        let Some(text) = rows.scope.get(&unpack.from) else {
            return Ok(());
        };
        let patterns = unpack.fields.clone();
        // What is found replaces what is there, even where it is empty.
        let replace = unpack.policy == ResultPolicy::Overwrite;
        let spec = format!("{patterns:?} {prefix} {replace}");
        let make = move |values: &[&str], out: &mut String| {
            let mut object = Object::default();
            for (name, value) in fields(values.first().unwrap_or(&"")) {
                let wanted = replace || !value.is_empty();
                if wanted && patterns.iter().any(|pattern| pattern.matches(&name)) {
                    object.set(&format!("{prefix}{name}"), &value);
                }
            }
            object.write(out);
        };
        let mut object = functions::text(name, &spec, vec![text.expr], make);
        if let Some(condition) = self.condition_of_if(rows, unpack.condition.as_ref())? {
            object = when(condition, object).end()?;
        }
        rows.compute(&mut [&mut object])?;
        let replace = unpack.policy != ResultPolicy::KeepOriginalFields;
        rows.scope.add_object(&object, replace);
        Ok(())
    }
}

pub(super) fn unpack_words(rows: &mut Rows<'_>, unpack: &UnpackWords) -> Result<()> {
    let text = rows.scope.get(&unpack.from);
    let text = text.map_or_else(|| lit(""), |text| text.expr);
    let unique = unpack.drop_duplicates;
    let name = if unique { "unique_words" } else { "words" };
    let words = functions::text(name, "", vec![text], move |values, out| {
        let mut words: Vec<&str> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (_, word) in token::tokens(values.first().unwrap_or(&"")) {
            if !unique || seen.insert(word) {
                words.push(word);
            }
        }
        value::json::write_array(words, out);
    });
    rows.set(&unpack.result_field, Value::text(words))
}
