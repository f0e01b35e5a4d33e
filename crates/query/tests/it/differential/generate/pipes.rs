//! Pipes.

use logmill_lang::Query;
use logmill_lang::ast::{
    CollapseNums, Extract, ExtractRegexp, Facets, FieldPattern, FieldValues, First, Format, Join,
    OneField, Pack, Pipe, Renaming, Replace, ReplaceRegexp, ResultPolicy, Sort, SortField, Top,
    Uniq, Unpack, UnpackSyslog, UnpackWords, Unroll,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::filters::{condition, filter};
use super::functions::{math, stats};
use super::{duration, name, pattern, patterns, regexp, result_name, text};

pub(super) fn pipe() -> BoxedStrategy<Pipe> {
    prop_oneof![
        10 => of_fields(),
        10 => of_texts(),
        5 => unpacking(),
        5 => ordering(),
        4 => counting(),
        5 => stats().prop_map(Pipe::Stats),
        2 => math().prop_map(Pipe::Math),
        3 => filter().prop_map(Pipe::Filter),
        1 => join().prop_map(Pipe::Join),
        1 => other_query().prop_map(|query| Pipe::Union(Box::new(query))),
    ]
    .boxed()
}

fn of_fields() -> impl Strategy<Value = Pipe> {
    let prefix = |prefix: &str| FieldPattern::Prefix(prefix.to_owned());
    let renaming = move || {
        prop_oneof![
            4 => (name(), result_name()).prop_map(|(from, to)| Renaming {
                from: FieldPattern::Name(from),
                to: FieldPattern::Name(to),
            }),
            1 => select([("extra", "e"), ("user.", ""), ("_", "own"), ("", "all."), ("k", "r")].to_vec())
                .prop_map(move |(from, to)| Renaming { from: prefix(from), to: prefix(to) }),
        ]
    };
    let pack = || {
        (patterns(), result_name()).prop_map(|(fields, result_field)| Pack {
            fields,
            result_field,
        })
    };
    let one = || {
        (name(), result_name()).prop_map(|(field, result_field)| OneField {
            field,
            result_field,
        })
    };
    prop_oneof![
        vec(renaming(), 1..3).prop_map(Pipe::Copy),
        vec(renaming(), 1..3).prop_map(Pipe::Rename),
        vec(pattern(), 1..4).prop_map(Pipe::Delete),
        vec(pattern(), 1..6).prop_map(Pipe::Fields),
        Just(Pipe::DropEmptyFields),
        pack().prop_map(Pipe::PackJson),
        pack().prop_map(Pipe::PackLogfmt),
        one().prop_map(Pipe::Hash),
        one().prop_map(Pipe::Len),
        one().prop_map(Pipe::JsonArrayLen),
    ]
}

fn policy() -> impl Strategy<Value = ResultPolicy> {
    select(
        [
            ResultPolicy::Overwrite,
            ResultPolicy::Overwrite,
            ResultPolicy::KeepOriginalFields,
            ResultPolicy::SkipEmptyResults,
        ]
        .to_vec(),
    )
}

const EXTRACT_PATTERNS: &[&str] = &[
    "<r1> <r2>",
    "GET <r1> <_>",
    "user=<r1> ",
    "<n>=<r2>",
    "ip=<host> ",
    ":<plain:r1>",
];

const FORMAT_PATTERNS: &[&str] = &[
    "",
    "x",
    "<host>:<n>",
    "<q:_msg>",
    "<uc:level><lc:host>",
    "<time:n>",
    "<duration:n>",
    "<duration_seconds:took>",
    "<ipv4:n>",
    "<hexnumencode:n>",
    "<urlencode:_msg>",
    "<base64encode:words>",
    "<hexencode:service>",
    "<absent>",
];

fn of_texts() -> impl Strategy<Value = Pipe> {
    let limit = || option::weighted(0.3, 0_u64..3);
    let extract_pattern = select(EXTRACT_PATTERNS.to_vec());
    let format_pattern = select(FORMAT_PATTERNS.to_vec());
    prop_oneof![
        (condition(), name(), any::<bool>()).prop_map(|(condition, field, prettify)| {
            Pipe::CollapseNums(CollapseNums {
                condition,
                field,
                prettify,
            })
        }),
        name().prop_map(Pipe::Decolorize),
        (condition(), extract_pattern, name(), policy()).prop_map(
            |(condition, pattern, from, policy)| Pipe::Extract(Extract {
                condition,
                pattern: pattern.to_owned(),
                from,
                policy,
            })
        ),
        (condition(), regexp(), name(), policy()).prop_map(|(condition, regexp, from, policy)| {
            Pipe::ExtractRegexp(ExtractRegexp {
                condition,
                regexp: format!("{regexp}(?P<r9>)"),
                from,
                policy,
            })
        }),
        (condition(), format_pattern, result_name(), policy()).prop_map(
            |(condition, pattern, result_field, policy)| Pipe::Format(Format {
                condition,
                pattern: pattern.to_owned(),
                result_field,
                policy,
            })
        ),
        (condition(), text(), text(), name(), limit()).prop_map(
            |(condition, old, new, field, limit)| Pipe::Replace(Replace {
                condition,
                old,
                new,
                field,
                limit,
            })
        ),
        (condition(), regexp(), name(), limit()).prop_map(|(condition, regexp, field, limit)| {
            Pipe::ReplaceRegexp(ReplaceRegexp {
                condition,
                regexp,
                replacement: "<$1>".to_owned(),
                field,
                limit,
            })
        }),
    ]
}

fn unpacking() -> impl Strategy<Value = Pipe> {
    let unpack = |from: &'static [&'static str]| {
        let fields = prop_oneof![
            2 => Just(vec![FieldPattern::all()]),
            2 => vec(select(["a", "b", "n", "host", "b.c", "nope"].to_vec()), 1..3).prop_map(|names| {
                names.into_iter().map(|name| FieldPattern::Name(name.to_owned())).collect()
            }),
            1 => Just(vec![FieldPattern::Prefix("b".to_owned())]),
        ];
        let prefix = select(["", "", "p_"].map(str::to_owned).to_vec());
        (condition(), select(from.to_vec()), fields, prefix, policy()).prop_map(
            |(condition, from, fields, result_prefix, policy)| Unpack {
                condition,
                from: from.to_owned(),
                fields,
                result_prefix,
                policy,
            },
        )
    };
    let syslog = (condition(), option::of(duration()), any::<bool>()).prop_map(
        |(condition, offset, keep_original_fields)| UnpackSyslog {
            condition,
            from: "_msg".to_owned(),
            offset,
            result_prefix: "s_".to_owned(),
            keep_original_fields,
        },
    );
    prop_oneof![
        3 => unpack(&["json", "json", "_msg", "absent"]).prop_map(Pipe::UnpackJson),
        3 => unpack(&["kv", "_msg"]).prop_map(Pipe::UnpackLogfmt),
        1 => syslog.prop_map(Pipe::UnpackSyslog),
        1 => (name(), result_name(), any::<bool>()).prop_map(|(from, result_field, drop_duplicates)| {
            Pipe::UnpackWords(UnpackWords { from, result_field, drop_duplicates })
        }),
        2 => (condition(), vec(select(["list", "r1", "words", "extra"].map(str::to_owned).to_vec()), 1..3))
            .prop_map(|(condition, mut by)| {
                by.dedup();
                Pipe::Unroll(Unroll { condition, by })
            }),
    ]
}

fn ordering() -> impl Strategy<Value = Pipe> {
    let by = || {
        vec(
            (name(), any::<bool>()).prop_map(|(field, descending)| SortField { field, descending }),
            1..3,
        )
    };
    let partition = || prop_oneof![2 => Just(Vec::new()), 1 => vec(name(), 1..3)];
    let rank = || option::weighted(0.3, Just("rank".to_owned()));
    let sort = (
        by(),
        any::<bool>(),
        option::of(0_u64..4),
        option::of(1_u64..9),
        partition(),
        rank(),
    )
        .prop_map(
            |(by, descending, offset, limit, partition_by, rank_field)| Sort {
                by,
                descending,
                offset,
                limit: limit.or((!partition_by.is_empty()).then_some(2)),
                partition_by,
                rank_field,
            },
        );
    let first = || {
        (1_u64..4, by(), partition(), rank()).prop_map(|(limit, by, partition_by, rank_field)| {
            First {
                limit,
                by,
                partition_by,
                rank_field,
            }
        })
    };
    prop_oneof![
        2 => sort.prop_map(Pipe::Sort),
        1 => first().prop_map(Pipe::First),
        1 => first().prop_map(Pipe::Last),
        1 => (0_u64..20).prop_map(Pipe::Limit),
        1 => (0_u64..20).prop_map(Pipe::Offset),
    ]
}

fn counting() -> impl Strategy<Value = Pipe> {
    let facets = (1_u64..5, 1_u64..20, 1_u64..60, any::<bool>()).prop_map(
        |(limit, max_values_per_field, max_value_len, keep_const_fields)| Facets {
            limit,
            max_values_per_field,
            max_value_len,
            keep_const_fields,
        },
    );
    let names = || {
        vec(name(), 1..3).prop_map(|mut names| {
            names.dedup();
            names
        })
    };
    let top = (1_u64..6, names(), option::of(Just("rank".to_owned()))).prop_map(
        |(limit, by, rank_field)| Top {
            limit,
            by,
            hits_field: "hits".to_owned(),
            rank_field,
        },
    );
    let uniq = (names(), option::of(Just("hits".to_owned()))).prop_map(|(by, hits_field)| Uniq {
        by,
        hits_field,
        limit: None,
    });
    prop_oneof![
        1 => facets.prop_map(Pipe::Facets),
        1 => Just(Pipe::FieldNames),
        1 => name().prop_map(|field| Pipe::FieldValues(FieldValues { field, limit: None })),
        2 => top.prop_map(Pipe::Top),
        2 => uniq.prop_map(Pipe::Uniq),
    ]
}

/// A query of few records, to be joined.
fn other_query() -> impl Strategy<Value = Query> {
    let pipes = prop_oneof![
        Just(Vec::new()),
        vec(pattern(), 1..4).prop_map(|patterns| vec![Pipe::Fields(patterns)]),
        stats().prop_map(|stats| vec![Pipe::Stats(stats)]),
    ];
    (filter(), pipes).prop_map(|(filter, pipes)| {
        let mut query = Query::new(filter);
        query.pipes = pipes;
        query
    })
}

fn join() -> impl Strategy<Value = Join> {
    let by = vec(
        select(
            ["host", "level", "service", "id", "n", "absent"]
                .map(str::to_owned)
                .to_vec(),
        ),
        1..3,
    );
    let prefix = option::weighted(0.6, Just("other.".to_owned()));
    (by, other_query(), any::<bool>(), prefix).prop_map(|(by, query, inner, prefix)| Join {
        by,
        query: Box::new(query),
        inner,
        prefix,
    })
}
