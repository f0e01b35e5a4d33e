//! `stats` and `math`.

use logmill_lang::ast::{
    Bucket, BucketSize, ByField, FieldPattern, MathEntry, MathExpr, MathFunction, MathOperator,
    Number, Stats, StatsEntry, StatsFunction,
};
use logmill_lang::value::number::parse_value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::filters::condition;
use super::{different_names, name, number, patterns, result_name, written};

pub(super) fn stats() -> impl Strategy<Value = Stats> {
    let by = (name(), option::weighted(0.3, bucket()))
        .prop_map(|(field, bucket)| ByField { field, bucket });
    (vec(by, 0..3), vec((function(), condition()), 1..4)).prop_map(|(mut by, functions)| {
        by.dedup_by(|one, other| one.field == other.field);
        // Groups have other names than results.
        by.retain(|by| by.field != "s0");
        let functions = functions.into_iter().enumerate();
        let functions = functions
            .map(|(index, (function, condition))| StatsEntry {
                function,
                condition,
                result_field: format!("s{index}"),
            })
            .collect();
        Stats { by, functions }
    })
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let step = select(["1h", "10", "0.5", "1d", "10KiB", "3", "1s"].to_vec());
    let size = prop_oneof![
        4 => step.prop_map(|step| BucketSize::Step(written(step))),
        1 => Just(BucketSize::Step(Number { text: "week".to_owned(), value: 604_800e9 })),
        1 => Just(BucketSize::Month),
        1 => Just(BucketSize::Year),
        1 => select([0, 8, 24, 32].to_vec()).prop_map(BucketSize::Ipv4Mask),
    ];
    let offset = select(["30m", "-2h", "3"].to_vec()).prop_map(|text| Number {
        text: text.to_owned(),
        value: parse_value(text).unwrap(),
    });
    (size, option::weighted(0.3, offset)).prop_map(|(size, offset)| Bucket { size, offset })
}

fn function() -> impl Strategy<Value = StatsFunction> {
    let limit = || option::weighted(0.3, 1_u64..5);
    let phi = select(["0", "0.25", "0.5", "0.99", "1"].to_vec()).prop_map(written);
    prop_oneof![
        patterns().prop_map(StatsFunction::Avg),
        patterns().prop_map(StatsFunction::Count),
        patterns().prop_map(StatsFunction::CountEmpty),
        (vec(name(), 1..3), limit())
            .prop_map(|(fields, limit)| StatsFunction::CountUniq { fields, limit }),
        (vec(name(), 1..3), limit())
            .prop_map(|(fields, limit)| StatsFunction::CountUniqHash { fields, limit }),
        name().prop_map(StatsFunction::Histogram),
        patterns().prop_map(|fields| StatsFunction::JsonValues {
            fields,
            limit: None
        }),
        patterns().prop_map(StatsFunction::Max),
        patterns().prop_map(StatsFunction::Median),
        patterns().prop_map(StatsFunction::Min),
        (phi, patterns()).prop_map(|(phi, fields)| StatsFunction::Quantile { phi, fields }),
        Just(StatsFunction::Rate),
        patterns().prop_map(StatsFunction::RateSum),
        (name(), patterns()).prop_map(|(by, fields)| StatsFunction::RowMax { by, fields }),
        (name(), patterns()).prop_map(|(by, fields)| StatsFunction::RowMin { by, fields }),
        patterns().prop_map(StatsFunction::Sum),
        patterns().prop_map(StatsFunction::SumLen),
        patterns().prop_map(|fields| StatsFunction::UniqValues {
            fields,
            limit: None
        }),
        different_names().prop_map(|names| StatsFunction::Values {
            fields: names.into_iter().map(FieldPattern::Name).collect(),
            limit: None
        }),
    ]
}

pub(super) fn math() -> impl Strategy<Value = Vec<MathEntry>> {
    let entry = (expression(), result_name()).prop_map(|(expression, result_field)| MathEntry {
        expression,
        result_field,
    });
    vec(entry, 1..3)
}

fn expression() -> impl Strategy<Value = MathExpr> {
    let finite = number().prop_filter("finite", |number| number.value.is_finite());
    let leaf = prop_oneof![
        3 => name().prop_map(MathExpr::Field),
        1 => finite.prop_map(MathExpr::Number),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        let binary = (
            select(MathOperator::ALL.to_vec()),
            inner.clone(),
            inner.clone(),
        );
        let functions = MathFunction::ALL.into_iter();
        let functions = functions.filter(|function| *function != MathFunction::Rand);
        let call = (select(functions.collect::<Vec<_>>()), vec(inner.clone(), 2));
        prop_oneof![
            1 => inner.prop_map(|inner| MathExpr::Negate(Box::new(inner))),
            4 => binary.prop_map(|(operator, left, right)| MathExpr::Binary {
                operator,
                left: Box::new(left),
                right: Box::new(right),
            }),
            2 => call.prop_map(|(function, mut arguments)| {
                arguments.truncate(function.arity().1);
                MathExpr::Call { function, arguments }
            }),
        ]
    })
}
