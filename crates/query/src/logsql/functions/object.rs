//! JSON objects in a column of text: fields that have no column of their own, because there are too many of them or
//! because no one knows their names before the records are read.

use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::FieldPattern;
use serde_json::{Map, Value};

use super::{predicate, text};
use crate::functions::overflow_get;

/// The members of an object. What is no object has none.
#[derive(Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// Sets a member to a text.
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), Value::from(text));
    }

    /// The members that have a value, as texts.
    pub(crate) fn into_texts(self) -> impl Iterator<Item = (String, String)> {
        let members = self.0.into_iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((name, text)),
            other => Some((name, other.to_string())),
        });
        members.filter(|(_, text)| !text.is_empty())
    }

    /// Appends the object; nothing if it has no members.
    pub(crate) fn write(&self, out: &mut String) {
        if !self.0.is_empty() {
            out.push_str(&Value::Object(self.0.clone()).to_string());
        }
    }
}

/// A member as text.
pub(crate) fn object_get(object: Expr, name: &str) -> Expr {
    overflow_get().call(vec![object, lit(name)])
}

/// A member as text, even if that is empty; `other` where there is no such member.
pub(crate) fn object_replace(object: Expr, name: &str, other: Expr) -> Expr {
    let own = name.to_owned();
    text(
        "object_replace",
        name,
        vec![object, other],
        move |values, out| {
            let [object, other] = values else { return };
            match Object::read(object).0.get(&own) {
                None => out.push_str(other),
                Some(Value::String(text)) => out.push_str(text),
                Some(member) => out.push_str(&member.to_string()),
            }
        },
    )
}

/// Whether an object has a member with a value.
pub(crate) fn has_members(object: Expr) -> Expr {
    predicate("has_members", "", object, |text| {
        Object::read(text).into_texts().next().is_some()
    })
}

/// An object of those members that the closure wants.
pub(crate) fn object_select(
    object: Expr,
    spec: &str,
    wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Expr {
    text("object_select", spec, vec![object], move |values, out| {
        let mut object = Object::read(values.first().unwrap_or(&""));
        object.0.retain(|name, value| wanted(name) && value != "");
        object.write(out);
    })
}

/// An object in which a prefix of names is replaced, in those that have it; one that is there already is replaced.
pub(crate) fn object_rename(object: Expr, from: &FieldPattern, to: &str, copy: bool) -> Expr {
    let spec = format!("{from:?} {to} {copy}");
    let (from, to) = (from.clone(), to.to_owned());
    text("object_rename", &spec, vec![object], move |values, out| {
        let object = Object::read(values.first().unwrap_or(&""));
        let mut renamed = Object::default();
        let mut moved = Vec::new();
        for (name, value) in object.0 {
            match renamed_to(&name, &from, &to) {
                Some(new) => {
                    moved.push((new, value.clone()));
                    if copy {
                        renamed.0.insert(name, value);
                    }
                }
                None => {
                    renamed.0.insert(name, value);
                }
            }
        }
        renamed.0.extend(moved);
        renamed.write(out);
    })
}

/// What a name becomes; `None` if it stays what it is.
pub(crate) fn renamed_to(name: &str, from: &FieldPattern, to: &str) -> Option<String> {
    match from {
        FieldPattern::Name(from) => (name == from).then(|| to.to_owned()),
        FieldPattern::Prefix(from) => {
            let rest = name.strip_prefix(from.as_str())?;
            Some(format!("{to}{rest}"))
        }
    }
}

/// The members of both; where both have one, that of the first.
pub(crate) fn object_merge(first: Expr, second: Expr) -> Expr {
    text("object_merge", "", vec![first, second], |values, out| {
        let [first, second] = values else { return };
        match (*first, *second) {
            ("", only) | (only, "") => out.push_str(only),
            (first, second) => {
                let mut merged = Object::read(second);
                merged.0.extend(Object::read(first).0);
                merged.write(out);
            }
        }
    })
}
