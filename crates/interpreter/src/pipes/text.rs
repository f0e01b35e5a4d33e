//! Pipes that change a text, or make one of others.

use logmill_lang::ast::{Filter, Pipe, ResultPolicy};
use logmill_lang::value::pattern::{ExtractPattern, FormatPattern};
use logmill_lang::value::{hash, json, regexp, text};

use crate::{Error, Interpreter, Result, Row, Rows};

impl Interpreter<'_> {
    /// Pipes that change a field in its place.
    pub(super) fn change_text(&self, rows: &mut Rows, pipe: &Pipe) -> Result<()> {
        match pipe {
            Pipe::CollapseNums(collapse) => self.change(
                rows,
                collapse.condition.as_ref(),
                &collapse.field,
                |value| {
                    let mut collapsed = String::new();
                    text::collapse_numbers(value, &mut collapsed);
                    match collapse.prettify {
                        true => text::prettify_numbers(&collapsed).into_owned(),
                        false => collapsed,
                    }
                },
            ),
            Pipe::Decolorize(field) => self.change(rows, None, field, |value| {
                text::decolorize(value).into_owned()
            }),
            Pipe::Replace(replace) => {
                self.change(rows, replace.condition.as_ref(), &replace.field, |value| {
                    text::replace(value, &replace.old, &replace.new, replace.limit).into_owned()
                })
            }
            Pipe::ReplaceRegexp(replace) => {
                let regexp = regexp::compile(&replace.regexp).map_err(Error::invalid)?;
                self.change(rows, replace.condition.as_ref(), &replace.field, |value| {
                    text::replace_regexp(value, &regexp, &replace.replacement, replace.limit)
                        .into_owned()
                })
            }
            other => Err(Error::NotSupported(format!("{other:?}"))),
        }
    }

    /// Pipes that make fields of others.
    pub(super) fn derive(&self, rows: &mut Rows, pipe: &Pipe) -> Result<()> {
        match pipe {
            Pipe::Hash(of) => self.update(rows, None, |rows, row| {
                let hash = hash::hash(&rows.get(row, &of.field));
                vec![(of.result_field.clone(), hash.to_string())]
            }),
            Pipe::Len(of) => self.update(rows, None, |rows, row| {
                let length = rows.get(row, &of.field).len();
                vec![(of.result_field.clone(), length.to_string())]
            }),
            Pipe::JsonArrayLen(of) => self.update(rows, None, |rows, row| {
                let text = rows.get(row, &of.field);
                let length = json::array_items(&text).map_or(0, |items| items.len());
                vec![(of.result_field.clone(), length.to_string())]
            }),
            Pipe::Format(format) => {
                let pattern = FormatPattern::parse(&format.pattern).map_err(Error::invalid)?;
                self.update(rows, format.condition.as_ref(), |rows, row| {
                    let names = pattern.fields().iter();
                    let values: Vec<String> = names.map(|name| rows.get(row, name)).collect();
                    let mut text = String::new();
                    pattern.write(|field| &values[field], &mut text);
                    vec![by_policy(
                        rows,
                        row,
                        &format.result_field,
                        text,
                        format.policy,
                    )]
                })
            }
            Pipe::Extract(extract) => {
                let pattern = ExtractPattern::parse(&extract.pattern).map_err(Error::invalid)?;
                self.update(rows, extract.condition.as_ref(), |rows, row| {
                    let text = rows.get(row, &extract.from);
                    let mut values = vec![String::new(); pattern.fields().len()];
                    pattern.extract(&text, |field, value| values[field] = value.into_owned());
                    let fields = pattern.fields().iter().zip(values);
                    fields
                        .map(|(name, value)| by_policy(rows, row, name, value, extract.policy))
                        .collect()
                })
            }
            Pipe::ExtractRegexp(extract) => {
                let regexp = regexp::compile(&extract.regexp).map_err(Error::invalid)?;
                self.update(rows, extract.condition.as_ref(), |rows, row| {
                    let text = rows.get(row, &extract.from);
                    let captures = regexp.captures(&text);
                    let names = regexp.capture_names().flatten();
                    names
                        .map(|name| {
                            let group = captures.as_ref().and_then(|groups| groups.name(name));
                            let value = group.map_or("", |group| group.as_str());
                            by_policy(rows, row, name, value.to_owned(), extract.policy)
                        })
                        .collect()
                })
            }
            other => Err(Error::NotSupported(format!("{other:?}"))),
        }
    }

    /// Changes a field in its place.
    fn change(
        &self,
        rows: &mut Rows,
        condition: Option<&Filter>,
        field: &str,
        change: impl Fn(&str) -> String,
    ) -> Result<()> {
        self.update(rows, condition, |rows, row| {
            let value = change(&rows.get(row, field));
            vec![(rows.own_name(row, field).to_owned(), value)]
        })
    }
}

/// What a field becomes when `new` is written to it.
pub(super) fn by_policy(
    rows: &Rows,
    row: &Row,
    name: &str,
    new: String,
    policy: ResultPolicy,
) -> (String, String) {
    let old = rows.get(row, name);
    let keeps = match policy {
        ResultPolicy::Overwrite => false,
        ResultPolicy::KeepOriginalFields => !old.is_empty(),
        ResultPolicy::SkipEmptyResults => new.is_empty(),
    };
    (name.to_owned(), if keeps { old } else { new })
}
