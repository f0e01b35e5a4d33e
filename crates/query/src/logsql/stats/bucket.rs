//! Buckets of values that group records.

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::functions::datetime::expr_fn::date_trunc;
use datafusion::logical_expr::{Expr, cast, lit};
use logmill_lang::ast::{Bucket, BucketSize};
use logmill_lang::value::bucket::Buckets;

use super::super::functions;
use super::super::scope::{Kind, Scope, Value};
use crate::predicate::time_literal;

/// The width of a bucket of time, in nanoseconds; `None` for months and years.
pub(super) fn fixed_ns(bucket: &Bucket) -> Option<i64> {
    Buckets::new(bucket)
        .fixed_ns()
        .map(|(width_ns, _)| width_ns)
}

/// What groups records by the bucket that a field's value is in.
pub(super) fn key(scope: &Scope, name: &str, bucket: &Bucket) -> (Expr, Kind) {
    let Some(value) = scope.get(name) else {
        return (lit(ScalarValue::Utf8View(None)), Kind::Text);
    };
    let buckets = Buckets::new(bucket);
    match (value.kind, buckets.fixed_ns()) {
        (Kind::Time, Some((width_ns, offset_ns))) => {
            let width = ScalarValue::new_interval_mdn(0, 0, width_ns);
            let origin = time_literal(offset_ns);
            (date_bin(lit(width), value.expr, origin), Kind::Time)
        }
        // The network of a time is the time.
        (Kind::Time, None) if matches!(bucket.size, BucketSize::Ipv4Mask(_)) => {
            (value.expr, Kind::Time)
        }
        (Kind::Time, None) => (calendar(value, bucket), Kind::Time),
        (Kind::Integer, _) => match whole(bucket) {
            Some((width, offset)) => (integer(value.expr, width, offset), Kind::Integer),
            None => (text(value, bucket, buckets), Kind::Text),
        },
        _ => (text(value, bucket, buckets), Kind::Text),
    }
}

fn text(value: Value, bucket: &Bucket, buckets: Buckets) -> Expr {
    let spec = format!("{bucket:?}");
    functions::text("bucket", &spec, vec![value.expr], move |values, out| {
        buckets.write(values.first().unwrap_or(&""), out);
    })
}

/// The start of a month or year.
fn calendar(value: Value, bucket: &Bucket) -> Expr {
    let unit = match bucket.size {
        BucketSize::Year => "year",
        _ => "month",
    };
    let offset_ns = offset_ns(bucket);
    if offset_ns == 0 {
        return date_trunc(lit(unit), value.expr);
    }
    let offset = lit(ScalarValue::new_interval_mdn(0, 0, offset_ns));
    date_trunc(lit(unit), value.expr - offset.clone()) + offset
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn offset_ns(bucket: &Bucket) -> i64 {
    let offset = bucket.offset.as_ref();
    offset.map_or(0, |offset| offset.value as i64)
}

/// Width and offset, if both are whole numbers.
#[allow(clippy::cast_possible_truncation, reason = "whole, and `as` saturates")]
fn whole(bucket: &Bucket) -> Option<(i64, i64)> {
    let BucketSize::Step(step) = &bucket.size else {
        return None;
    };
    let offset = bucket.offset.as_ref().map_or(0.0, |offset| offset.value);
    let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < 9e15;
    (step.value >= 1.0 && is_whole(step.value) && is_whole(offset))
        .then_some((step.value as i64, offset as i64))
}

/// The start of the bucket that an integer is in.
fn integer(value: Expr, width: i64, offset: i64) -> Expr {
    let value = cast(value, DataType::Int64);
    let moved = || {
        if offset == 0 {
            value.clone()
        } else {
            value.clone() - lit(offset)
        }
    };
    let rest = (moved() % lit(width) + lit(width)) % lit(width);
    value.clone() - rest
}
