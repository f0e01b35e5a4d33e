//! What is known of the fields of records at a place among the pipes.
//!
//! Fields are *columns*, each an expression over the plan, or members of the *open object*: a text column of JSON
//! objects that has what no column was made for. A column always decides: a member of the same name is no field.

use arrow_schema::DataType;
use datafusion::common::{Column, Result};
use datafusion::functions::expr_fn::get_field;
use datafusion::logical_expr::{Expr, cast, lit};
use logmill_lang::ast::FieldPattern;
use logmill_lang::value;
use logmill_model::field;
use logmill_schema::{ColumnType, TableSchema};

use super::functions::{
    self, object_get, object_merge, object_rename, object_replace, object_select, renamed_to,
};

/// The time of a record.
pub(super) const TIME: &str = "_time";
/// The text of a record.
pub(super) const MSG: &str = "_msg";
/// The labels of a record's stream.
pub(super) const STREAM: &str = "_stream";
/// A hash of [`STREAM`], which has no column of its own.
pub(super) const STREAM_ID: &str = "_stream_id";

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    Time,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) expr: Expr,
    pub(super) kind: Kind,
}

impl Value {
    pub(super) const fn new(expr: Expr, kind: Kind) -> Self {
        Self { expr, kind }
    }

    pub(super) const fn text(expr: Expr) -> Self {
        Self::new(expr, Kind::Text)
    }

    /// As the text that a record shows.
    pub(super) fn shown(self) -> Expr {
        match self.kind {
            Kind::Text => self.expr,
            _ => functions::shown(self.expr),
        }
    }

    /// As a number; null where it is none.
    pub(super) fn number(self) -> Expr {
        match self.kind {
            // NaN is no number.
            Kind::Float if self.may_be_nan() => {
                functions::float("number", "", self.expr, value::number::parse_number)
            }
            Kind::Text => functions::float("number", "", self.expr, value::number::parse_number),
            Kind::Integer => cast(self.expr, DataType::Float64),
            Kind::Float => self.expr,
            Kind::Boolean | Kind::Time => lit(datafusion::common::ScalarValue::Float64(None)),
        }
    }

    /// Whether there is one.
    pub(super) fn is_present(&self) -> Expr {
        match self.kind {
            Kind::Text => self.expr.clone().not_eq(lit("")),
            _ => self.expr.clone().is_not_null(),
        }
    }

    /// Whether it was computed as a floating point number; what is stored is never NaN.
    pub(super) fn may_be_nan(&self) -> bool {
        let stored = match &self.expr {
            Expr::Column(column) => !column.name.starts_with('#'),
            _ => false,
        };
        self.kind == Kind::Float && !stored
    }

    /// As it groups records: the empty text is no value.
    pub(super) fn key(self) -> Expr {
        let may_be_empty = match &self.expr {
            // Made of what is always there, or of an enumeration.
            Expr::Column(column) => !matches!(
                column.name.as_str(),
                field::LEVEL | field::STREAM | field::TRACE_ID
            ),
            // What ingestion found is told as it was; our own functions have no empty texts.
            Expr::ScalarFunction(call) => call.name() == "overflow_get",
            _ => true,
        };
        if self.kind == Kind::Text && may_be_empty {
            return datafusion::functions::core::expr_fn::nullif(self.expr, lit(""));
        }
        self.expr
    }

    /// `self` where it has a value, else `other`.
    pub(super) fn or(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        if self.kind == other.kind && self.kind != Kind::Text {
            let expr = datafusion::functions::core::expr_fn::coalesce(vec![self.expr, other.expr]);
            return Self::new(expr, self.kind);
        }
        let values = vec![self.shown(), other.shown()];
        let first = |values: &[&str], out: &mut String| {
            let first = values.iter().find(|value| !value.is_empty());
            out.push_str(first.unwrap_or(&""));
        };
        Self::text(functions::text("first_of", "", values, first))
    }
}

/// A member of a struct.
pub(super) fn member(record: Expr, name: &str) -> Expr {
    get_field(record, name)
}

/// A column of the plan.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// What of an object are fields.
#[derive(Clone, Debug)]
enum Rule {
    Only(Vec<FieldPattern>),
    Without(Vec<FieldPattern>),
}

impl Rule {
    fn allows(&self, name: &str) -> bool {
        let matches = |patterns: &[FieldPattern]| patterns.iter().any(|p| p.matches(name));
        match self {
            Self::Only(patterns) => matches(patterns),
            Self::Without(patterns) => !matches(patterns),
        }
    }
}

/// The open object.
#[derive(Clone, Debug)]
struct Open {
    object: Expr,
    rules: Vec<Rule>,
}

impl Open {
    fn get(&self, name: &str) -> Option<Expr> {
        let allowed = self.rules.iter().all(|rule| rule.allows(name));
        allowed.then(|| object_get(self.object.clone(), name))
    }

    fn into_expr(self) -> Expr {
        if self.rules.is_empty() {
            return self.object;
        }
        let spec = format!("{:?}", self.rules);
        let rules = self.rules;
        object_select(self.object, &spec, move |name| {
            rules.iter().all(|rule| rule.allows(name))
        })
    }
}

/// The fields of records.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    columns: Vec<(String, Value)>,
    open: Option<Open>,
    /// Whether the records are those that are stored: `timestamp` and `message` are then other names of `_time` and
    /// `_msg`, and streams have an id.
    stored: bool,
}

impl Scope {
    /// The fields of stored records.
    pub(super) fn stored(table: &TableSchema) -> Self {
        let mut scope = Self {
            stored: true,
            ..Self::default()
        };
        let mut open = None;
        for (name, kind) in table.columns() {
            if name == field::OVERFLOW {
                open = Some(Open {
                    object: column(name),
                    rules: Vec::new(),
                });
                continue;
            }
            let kind = match kind {
                ColumnType::Timestamp => Kind::Time,
                ColumnType::Boolean => Kind::Boolean,
                ColumnType::Integer | ColumnType::WideInteger => Kind::Integer,
                ColumnType::Float => Kind::Float,
                ColumnType::String => Kind::Text,
            };
            let own = match name {
                field::TIMESTAMP => TIME,
                field::MESSAGE => MSG,
                other => other,
            };
            scope.set(own, Value::new(column(name), kind));
        }
        scope.open = open;
        scope
    }

    /// Fields that a plan computed.
    pub(super) fn computed(columns: Vec<(String, Value)>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// The name under which a field is known here.
    pub(super) fn own_name<'a>(&self, name: &'a str) -> &'a str {
        let other = match name {
            field::TIMESTAMP => TIME,
            field::MESSAGE => MSG,
            _ => return name,
        };
        if self.stored && self.find(name).is_none() {
            other
        } else {
            name
        }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let mut columns = self.columns.iter();
        columns.find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The value of a field; `None` when no record has it.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.find(name) {
            return Some(value.clone());
        }
        let other = match self.own_name(name) {
            own if own != name => self.find(own).cloned(),
            STREAM_ID => self.stream_id(),
            _ => return self.member(name),
        };
        match self.member(name) {
            Some(member) if !self.is_overflow() => Some(member.or(other)),
            member => other.or(member),
        }
    }

    /// The value that records show under this very name, which other names and computed fields are not.
    pub(super) fn shown(&self, name: &str) -> Option<Value> {
        self.find(name).cloned().or_else(|| self.member(name))
    }

    fn stream_id(&self) -> Option<Value> {
        let stream = self.find(STREAM).filter(|_| self.stored)?.clone();
        let id = functions::text("stream_id", "", vec![stream.shown()], |values, out| {
            value::hash::write_stream_id(values.first().unwrap_or(&""), out);
        });
        Some(Value::text(id))
    }

    /// The value of a field that is not a column.
    fn member(&self, name: &str) -> Option<Value> {
        let open = self.open.as_ref()?;
        open.get(name).map(Value::text)
    }

    /// The columns, in order.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The object of all fields that have no column.
    pub(super) fn open(&self) -> Option<Expr> {
        let mut open = self.open.clone()?;
        if !self.is_overflow() && !self.columns.is_empty() {
            // What a column hides is no field.
            open.rules.push(Rule::Without(self.column_names()));
        }
        Some(open.into_expr())
    }

    fn column_names(&self) -> Vec<FieldPattern> {
        let names = self.columns.iter().map(|(name, _)| name.clone());
        names.map(FieldPattern::Name).collect()
    }

    /// Whether the open object is what ingestion wrote: none of its members is a column, too.
    fn is_overflow(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.rules.is_empty() && open.object == column(field::OVERFLOW))
    }

    /// The columns that one of the patterns means; for a name, any field.
    pub(super) fn matching(&self, patterns: &[FieldPattern]) -> Vec<(String, Value)> {
        let mut found: Vec<(String, Value)> = Vec::new();
        let add = |found: &mut Vec<(String, Value)>, name: &str, value: Value| {
            if found.iter().all(|(own, _)| own != name) {
                found.push((name.to_owned(), value));
            }
        };
        for pattern in patterns {
            match pattern {
                FieldPattern::Name(name) => {
                    if let Some(value) = self.get(name) {
                        add(&mut found, name, value);
                    }
                }
                FieldPattern::Prefix(_) => {
                    for (name, value) in self.columns() {
                        if pattern.matches(name) {
                            add(&mut found, name, value.clone());
                        }
                    }
                }
            }
        }
        found
    }

    /// The object of those fields without a column that a prefix means; `None` if there can be none.
    pub(super) fn open_matching(&self, patterns: &[FieldPattern]) -> Option<Expr> {
        let prefixes = prefixes_of(patterns);
        if prefixes.is_empty() {
            return None;
        }
        let mut part = self.clone();
        if !prefixes.iter().any(FieldPattern::is_all) {
            part.open.as_mut()?.rules.push(Rule::Only(prefixes));
        }
        // What is told by its name is not told once more.
        let names = patterns.iter();
        let names = names.filter(|pattern| matches!(pattern, FieldPattern::Name(_)));
        let names: Vec<FieldPattern> = names.cloned().collect();
        if !names.is_empty() {
            part.open.as_mut()?.rules.push(Rule::Without(names));
        }
        part.open()
    }

    /// Gives a field a value; one that is there is replaced.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        if let Some((_, own)) = self.columns.iter_mut().find(|(own, _)| own == name) {
            *own = value;
            return;
        }
        self.columns.push((name.to_owned(), value));
        if let Some(open) = &mut self.open {
            // A member of this name is no field any more.
            let name = FieldPattern::Name(name.to_owned());
            open.rules.push(Rule::Without(vec![name]));
        }
    }

    /// Takes a field away.
    pub(super) fn remove(&mut self, name: &str) {
        let name = self.own_name(name).to_owned();
        self.columns.retain(|(own, _)| *own != name);
        if let Some(open) = &mut self.open {
            open.rules
                .push(Rule::Without(vec![FieldPattern::Name(name)]));
        }
    }

    /// Keeps only these fields.
    pub(super) fn keep(&mut self, patterns: &[FieldPattern]) {
        if patterns.iter().any(FieldPattern::is_all) {
            return;
        }
        let columns = self.matching(patterns);
        let mut hidden = self.column_names();
        hidden.extend(patterns.iter().filter(|p| !is_prefix(p)).cloned());
        let prefixes = prefixes_of(patterns);
        if prefixes.is_empty() {
            self.open = None;
        } else if let Some(open) = &mut self.open {
            // A member that a column hid must not show when the column is gone.
            open.rules.push(Rule::Without(hidden));
            open.rules.push(Rule::Only(prefixes));
        }
        self.columns = columns;
    }

    /// Takes these fields away.
    pub(super) fn delete(&mut self, patterns: &[FieldPattern]) {
        for pattern in patterns {
            match pattern {
                FieldPattern::Name(name) => self.remove(name),
                FieldPattern::Prefix(_) => {
                    self.columns.retain(|(name, _)| !pattern.matches(name));
                    if let Some(open) = &mut self.open {
                        open.rules.push(Rule::Without(vec![pattern.clone()]));
                    }
                }
            }
        }
    }

    /// Gives fields other names, or the same values to other names.
    pub(super) fn rename(&mut self, from: &FieldPattern, to: &FieldPattern, copy: bool) {
        let (FieldPattern::Name(target) | FieldPattern::Prefix(target)) = to;
        let moved: Vec<_> = match from {
            FieldPattern::Name(name) => vec![(target.clone(), self.get(name))],
            FieldPattern::Prefix(_) => {
                let renamed = |(name, value): (&str, &Value)| {
                    let new = renamed_to(name, from, target)?;
                    Some((new, Some(value.clone())))
                };
                self.columns().filter_map(renamed).collect()
            }
        };
        if let (FieldPattern::Prefix(_), Some(object)) = (from, self.open()) {
            self.open = Some(Open {
                object: object_rename(object, from, target, copy),
                rules: Vec::new(),
            });
        }
        if !copy {
            match from {
                FieldPattern::Name(name) => self.remove(name),
                FieldPattern::Prefix(_) => {
                    self.columns.retain(|(name, _)| !from.matches(name));
                }
            }
        }
        for (name, value) in moved {
            match value {
                Some(value) => self.set(&name, value),
                None => self.remove(&name),
            }
        }
    }

    /// Changes the object of fields that have no column.
    pub(super) fn map_open(&mut self, change: impl FnOnce(Expr) -> Result<Expr>) -> Result<()> {
        if let Some(object) = self.open() {
            self.open = Some(Open {
                object: change(object)?,
                rules: Vec::new(),
            });
        }
        Ok(())
    }

    /// Replaces all values, as a projection to new columns does.
    pub(super) fn replace(&mut self, columns: Vec<(String, Value)>, open: Option<Expr>) {
        self.columns = columns;
        self.open = open.map(|object| Open {
            object,
            rules: Vec::new(),
        });
    }

    /// Adds an object of fields: its members replace what is there, or stand where there is nothing.
    pub(super) fn add_object(&mut self, object: &Expr, replace: bool) {
        for (name, value) in &mut self.columns {
            *value = if replace {
                Value::text(object_replace(object.clone(), name, value.clone().shown()))
            } else {
                let member = Value::text(object_get(object.clone(), name));
                value.clone().or(Some(member))
            };
        }
        let object = match self.open() {
            Some(open) if replace => object_merge(object.clone(), open),
            Some(open) => object_merge(open, object.clone()),
            None => object.clone(),
        };
        self.open = Some(Open {
            object,
            rules: Vec::new(),
        });
    }
}

fn prefixes_of(patterns: &[FieldPattern]) -> Vec<FieldPattern> {
    let patterns = patterns.iter();
    patterns
        .filter(|pattern| is_prefix(pattern))
        .cloned()
        .collect()
}

const fn is_prefix(pattern: &FieldPattern) -> bool {
    matches!(pattern, FieldPattern::Prefix(_))
}
