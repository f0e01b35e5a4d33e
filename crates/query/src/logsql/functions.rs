//! Scalar functions of LogsQL: what `logmill_lang::value` does to one value, done to columns.
//!
//! A function is made for one place in one query, with everything compiled that can be. Values of any type go in as the
//! text that a record shows for them; a value that is not there goes in as the empty text, and the empty text comes out
//! as no value. The last argument is a literal that says what the function was made of: for people, for pruning, and to
//! tell functions apart.

mod kernel;
mod math;
mod object;
mod texts;
mod truth;

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF, Volatility, lit};

use kernel::{Kernel, TextFunction};

pub(super) use kernel::Outputs;
pub(super) use math::math;
pub(super) use object::{
    Object, has_members, object_get, object_merge, object_rename, object_replace, object_select,
    renamed_to,
};
pub(super) use texts::Texts;
pub(super) use truth::{is_not_true, is_true};

fn call(name: &'static str, spec: &str, mut values: Vec<Expr>, kernel: Kernel) -> Expr {
    let function = TextFunction::new(name, spec, Volatility::Immutable, kernel);
    values.push(lit(spec));
    ScalarUDF::from(function).call(values)
}

/// Whether the value is so. A value that is not there is so if the empty text is.
pub(super) fn predicate(
    name: &'static str,
    spec: &str,
    value: Expr,
    is: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Expr {
    call(name, spec, vec![value], Kernel::Predicate(Arc::new(is)))
}

/// Whether the value is so, which it is not without a literal in it: see [`Kernel::Search`].
pub(super) fn search(
    name: &'static str,
    spec: &str,
    value: Expr,
    (literal, any_case): (String, bool),
    is: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Expr {
    let kernel = Kernel::Search {
        literal: literal.into(),
        any_case,
        is: Arc::new(is),
    };
    call(name, spec, vec![value], kernel)
}

/// Whether some values together are so.
pub(super) fn predicate_of(
    name: &'static str,
    spec: &str,
    values: Vec<Expr>,
    is: impl Fn(&[&str]) -> bool + Send + Sync + 'static,
) -> Expr {
    call(name, spec, values, Kernel::Relation(Arc::new(is)))
}

/// A text made of texts: what the closure appends to an empty one.
pub(super) fn text(
    name: &'static str,
    spec: &str,
    values: Vec<Expr>,
    make: impl Fn(&[&str], &mut String) + Send + Sync + 'static,
) -> Expr {
    call(name, spec, values, Kernel::Text(Arc::new(make)))
}

/// The value as the text that a record shows.
pub(super) fn shown(value: Expr) -> Expr {
    text("text", "", vec![value], |values, out| {
        out.extend(values.iter().copied());
    })
}

/// A number made of a text.
pub(super) fn float(
    name: &'static str,
    spec: &str,
    value: Expr,
    make: impl Fn(&str) -> Option<f64> + Send + Sync + 'static,
) -> Expr {
    call(name, spec, vec![value], Kernel::Float(Arc::new(make)))
}

/// A whole number made of texts.
pub(super) fn integer(
    name: &'static str,
    values: Vec<Expr>,
    make: impl Fn(&[&str]) -> Option<i64> + Send + Sync + 'static,
) -> Expr {
    call(name, "", values, Kernel::Integer(Arc::new(make)))
}

/// Bytes made of a text.
pub(super) fn bytes(
    name: &'static str,
    value: Expr,
    make: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static,
) -> Expr {
    call(name, "", vec![value], Kernel::Bytes(Arc::new(make)))
}

/// Several texts made of one, as a struct whose members have these names.
pub(super) fn record(
    name: &'static str,
    spec: &str,
    value: Expr,
    members: Vec<String>,
    make: impl Fn(&str, &mut Outputs) + Send + Sync + 'static,
) -> Expr {
    let kernel = Kernel::Record(members.into(), Arc::new(make));
    call(name, spec, vec![value], kernel)
}

/// A list of texts made of one; no list where the closure says so.
pub(super) fn list(
    name: &'static str,
    value: Expr,
    make: impl Fn(&str, &mut dyn FnMut(&str)) -> bool + Send + Sync + 'static,
) -> Expr {
    call(name, "", vec![value], Kernel::List(Arc::new(make)))
}
