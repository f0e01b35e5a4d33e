//! Trees as proptest makes them: every filter, pipe and function.

use logmill_lang::ast::*;
use logmill_lang::value::{duration::parse_duration, number::parse_value};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// A query, a few levels deep.
pub(crate) fn query() -> BoxedStrategy<Query> {
    query_of(2)
}

fn query_of(depth: u32) -> BoxedStrategy<Query> {
    (options(), filter_of(depth), vec(pipe(depth), 0..4))
        .prop_map(|(options, filter, pipes)| Query {
            options,
            filter,
            pipes,
        })
        .boxed()
}

fn options() -> impl Strategy<Value = Options> {
    (of(0_u64..9), of(any::<bool>())).prop_map(|(concurrency, ignore_global_time_filter)| Options {
        concurrency,
        ignore_global_time_filter,
    })
}

// --- texts ---

/// Any text: words, keywords, texts that need quotes.
fn text() -> BoxedStrategy<String> {
    const KEYWORDS: &[&str] = &[
        "and", "OR", "not", "by", "as", "if", "limit", "Stats", "offset", "count", "in", "i",
        "options", "now", "rank", "hits", "with", "from", "at", "inf", "5", "1.5", "1h", "-3", "*",
        "a*", "2026", "$1", "max", "default", "/24", "month", "week",
    ];
    prop_oneof![
        4 => "[a-z_.]{1,6}".boxed(),
        2 => select(KEYWORDS).prop_map(str::to_owned).boxed(),
        2 => "[ -~\\n\\tжé]{0,8}".boxed(),
        1 => "\\PC{0,4}".boxed(),
    ]
    .boxed()
}

fn some_text() -> BoxedStrategy<String> {
    text().prop_filter("empty", |text| !text.is_empty()).boxed()
}

fn names() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 1..4)
}

fn pattern() -> impl Strategy<Value = FieldPattern> {
    prop_oneof![
        text().prop_map(FieldPattern::Name),
        text().prop_map(FieldPattern::Prefix),
    ]
}

fn patterns() -> impl Strategy<Value = Vec<FieldPattern>> {
    vec(pattern(), 1..4).prop_map(|patterns| {
        if patterns.iter().any(FieldPattern::is_all) {
            vec![FieldPattern::all()]
        } else {
            patterns
        }
    })
}

fn number() -> impl Strategy<Value = Number> {
    const TEXTS: &[&str] = &[
        "0",
        "12",
        "-1.5",
        "1_000",
        "10KiB",
        "1h30m",
        "inf",
        "2026-11-20T12:00:00Z",
        "10.0.0.1",
        "1e-3",
        "0xff",
        "+5",
    ];
    select(TEXTS).prop_map(|text| Number {
        text: text.to_owned(),
        value: parse_value(text).expect("a number"),
    })
}

fn step() -> impl Strategy<Value = Number> {
    select(
        &[
            ("10KB", 10_000.0),
            ("5m", 300e9),
            ("0.5", 0.5),
            ("hour", 3_600e9),
            ("week", 604_800e9),
        ][..],
    )
    .prop_map(|(text, value)| Number {
        text: text.to_owned(),
        value,
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    select(&["5m", "-1h", "2.5d15m42.345s", "1y", "7ns", "3µs"][..]).prop_map(|text| Duration {
        text: text.to_owned(),
        ns: parse_duration(text).expect("a duration"),
    })
}

fn regexp() -> impl Strategy<Value = String> {
    select(
        &[
            "a|b",
            "^x$",
            "(?P<ip>[0-9.]+)",
            "\\d+ \"q\"",
            "(?i)ж",
            "a'`b",
        ][..],
    )
    .prop_map(str::to_owned)
}

// --- filters ---

fn filter_of(depth: u32) -> BoxedStrategy<Filter> {
    let leaf = prop_oneof![
        1 => Just(Filter::All),
        1 => (time_span(), of(duration())).prop_map(|(span, offset)| Filter::Time(TimeFilter { span, offset })),
        1 => duration().prop_map(|offset| Filter::Time(TimeFilter { span: TimeSpan::UntilNow, offset: Some(offset) })),
        1 => day_range().prop_map(Filter::DayRange),
        1 => week_range().prop_map(Filter::WeekRange),
        1 => stream().prop_map(Filter::Stream),
        1 => values(depth).prop_map(Filter::StreamId),
        8 => (field(), matcher(depth)).prop_map(|(field, matcher)| Filter::Field { field, matcher }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(flat_and),
            vec(inner.clone(), 2..4).prop_map(flat_or),
            inner.prop_map(|filter| match filter {
                Filter::Not(inner) => *inner,
                other => Filter::Not(Box::new(other)),
            }),
        ]
    })
    .boxed()
}

fn flat_and(filters: Vec<Filter>) -> Filter {
    let flat = filters.into_iter().flat_map(|filter| match filter {
        Filter::And(inner) => inner,
        other => vec![other],
    });
    Filter::And(flat.collect())
}

fn flat_or(filters: Vec<Filter>) -> Filter {
    let flat = filters.into_iter().flat_map(|filter| match filter {
        Filter::Or(inner) => inner,
        other => vec![other],
    });
    Filter::Or(flat.collect())
}

/// Of `_time` and `_stream_id`, other things are asked.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![Just("_msg".to_owned()), Just("_stream".to_owned()), text()]
        .prop_filter("asked otherwise", |name| {
            name != "_time" && name != "_stream_id"
        })
}

fn matcher(depth: u32) -> BoxedStrategy<Matcher> {
    prop_oneof![
        Just(Matcher::Any),
        Just(Matcher::Empty),
        some_text().prop_map(Matcher::Phrase),
        some_text().prop_map(Matcher::Prefix),
        text().prop_map(Matcher::Exact),
        text().prop_map(Matcher::ExactPrefix),
        text().prop_map(Matcher::AnyCasePhrase),
        text().prop_map(Matcher::AnyCasePrefix),
        regexp().prop_map(Matcher::Regexp),
        values(depth).prop_map(Matcher::In),
        values(depth).prop_map(Matcher::ContainsAll),
        values(depth).prop_map(Matcher::ContainsAny),
        vec(text(), 0..3).prop_map(Matcher::Sequence),
        (comparison(), operand()).prop_map(|(comparison, operand)| Matcher::Compare {
            comparison,
            operand
        }),
        (bound(), bound()).prop_map(|(min, max)| Matcher::Range(Range { min, max })),
        (any::<u32>(), any::<u32>()).prop_map(|(min, max)| Matcher::Ipv4Range {
            min: min.into(),
            max: max.into()
        }),
        (text(), text()).prop_map(|(min, max)| Matcher::StringRange { min, max }),
        (0..99_u64, prop_oneof![0..99_u64, Just(u64::MAX)])
            .prop_map(|(min, max)| Matcher::LenRange { min, max }),
        text().prop_map(Matcher::ValueType),
        text().prop_map(Matcher::EqField),
        text().prop_map(Matcher::LeField),
        text().prop_map(Matcher::LtField),
    ]
    .boxed()
}

fn comparison() -> impl Strategy<Value = Comparison> {
    select(
        &[
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ][..],
    )
}

fn operand() -> impl Strategy<Value = Operand> {
    let other = text().prop_filter("a number", |text| parse_value(text).is_none());
    prop_oneof![
        number().prop_map(Operand::Number),
        other.prop_map(Operand::Text)
    ]
}

fn bound() -> impl Strategy<Value = Bound> {
    (number(), any::<bool>()).prop_map(|(number, inclusive)| Bound { number, inclusive })
}

fn values(depth: u32) -> BoxedStrategy<Values> {
    let list = vec(text(), 0..4).prop_map(Values::List);
    if depth == 0 {
        return list.boxed();
    }
    let by_fields = text().prop_map(|name| Pipe::Fields(vec![FieldPattern::Name(name)]));
    let by_uniq = text().prop_map(|name| {
        Pipe::Uniq(Uniq {
            by: vec![name],
            hits_field: None,
            limit: None,
        })
    });
    let query =
        (query_of(depth - 1), prop_oneof![by_fields, by_uniq]).prop_map(|(mut query, last)| {
            query.pipes.push(last);
            Values::Query(Box::new(query))
        });
    prop_oneof![4 => list, 1 => query].boxed()
}

fn stream() -> impl Strategy<Value = StreamFilter> {
    let is = prop_oneof![
        text().prop_map(LabelMatch::Equal),
        text().prop_map(LabelMatch::NotEqual),
        regexp().prop_map(LabelMatch::Regexp),
        regexp().prop_map(LabelMatch::NotRegexp),
        vec(text(), 0..3).prop_map(LabelMatch::In),
        vec(text(), 0..3).prop_map(LabelMatch::NotIn),
    ];
    let label = (text(), is).prop_map(|(label, is)| LabelFilter { label, is });
    let alternatives = vec(vec(label, 1..3), 1..3);
    prop_oneof![9 => alternatives, 1 => Just(vec![Vec::new()])]
        .prop_map(|any_of| StreamFilter { any_of })
}

fn time_point() -> impl Strategy<Value = TimePoint> + Clone {
    const TEXTS: &[&str] = &[
        "now",
        "now-1h",
        "now+5m",
        "-15m",
        "2026",
        "2026-11Z",
        "2026-11-20+05:30",
        "2026-11-20T12:30:00.5Z",
        "1795176000",
    ];
    select(TEXTS).prop_map(|text| TimePoint {
        text: text.to_owned(),
    })
}

fn time_span() -> impl Strategy<Value = TimeSpan> {
    let relative = |text: &str| parse_duration(text).is_some();
    let point = time_point().prop_filter("a duration", move |time| !relative(&time.text));
    prop_oneof![
        duration().prop_map(TimeSpan::Last),
        (duration(), any::<bool>())
            .prop_map(|(age, inclusive)| TimeSpan::OlderThan { age, inclusive }),
        (duration(), any::<bool>())
            .prop_map(|(age, inclusive)| TimeSpan::YoungerThan { age, inclusive }),
        point.clone().prop_map(TimeSpan::At),
        (point.clone(), any::<bool>())
            .prop_map(|(time, inclusive)| TimeSpan::After { time, inclusive }),
        (point, any::<bool>()).prop_map(|(time, inclusive)| TimeSpan::Before { time, inclusive }),
        (time_point(), any::<bool>(), time_point(), any::<bool>()).prop_map(
            |(start, start_inclusive, end, end_inclusive)| TimeSpan::Between {
                start,
                start_inclusive,
                end,
                end_inclusive
            }
        ),
    ]
}

fn day_range() -> impl Strategy<Value = DayRange> {
    (
        0..=1440_u16,
        any::<bool>(),
        0..=1440_u16,
        any::<bool>(),
        of(duration()),
    )
        .prop_map(
            |(start_minute, start_inclusive, end_minute, end_inclusive, offset)| DayRange {
                start_minute,
                start_inclusive,
                end_minute,
                end_inclusive,
                offset,
            },
        )
}

fn week_range() -> impl Strategy<Value = WeekRange> {
    let day = || {
        select(
            &[
                Weekday::Sunday,
                Weekday::Monday,
                Weekday::Wednesday,
                Weekday::Saturday,
            ][..],
        )
    };
    (day(), any::<bool>(), day(), any::<bool>(), of(duration())).prop_map(
        |(start, start_inclusive, end, end_inclusive, offset)| WeekRange {
            start,
            start_inclusive,
            end,
            end_inclusive,
            offset,
        },
    )
}

// --- pipes ---

fn pipe(depth: u32) -> BoxedStrategy<Pipe> {
    let condition = of(filter_of(0)).boxed();
    prop_oneof![
        2 => simple_pipe(),
        2 => ordering_pipe(),
        2 => text_pipe(condition.clone()),
        1 => unpacking_pipe(condition),
        1 => stats(depth).prop_map(Pipe::Stats),
        1 => vec((math(), text()), 1..3).prop_map(|entries| Pipe::Math(
            entries.into_iter().map(|(expression, result_field)| MathEntry { expression, result_field }).collect()
        )),
        1 => nesting_pipe(depth),
    ]
    .boxed()
}

fn simple_pipe() -> impl Strategy<Value = Pipe> {
    let one_field = || {
        (text(), text()).prop_map(|(field, result_field)| OneField {
            field,
            result_field,
        })
    };
    let pack = || {
        (patterns(), text()).prop_map(|(fields, result_field)| Pack {
            fields,
            result_field,
        })
    };
    let renaming = || {
        let names = (text(), text()).prop_map(|(from, to)| Renaming {
            from: FieldPattern::Name(from),
            to: FieldPattern::Name(to),
        });
        let prefixes = (text(), text()).prop_map(|(from, to)| Renaming {
            from: FieldPattern::Prefix(from),
            to: FieldPattern::Prefix(to),
        });
        vec(prop_oneof![names, prefixes], 1..3)
    };
    prop_oneof![
        select(
            &[
                Pipe::BlockStats,
                Pipe::BlocksCount,
                Pipe::DropEmptyFields,
                Pipe::FieldNames
            ][..]
        ),
        renaming().prop_map(Pipe::Copy),
        renaming().prop_map(Pipe::Rename),
        text().prop_map(Pipe::Decolorize),
        vec(pattern(), 1..3).prop_map(Pipe::Delete),
        vec(pattern(), 1..3).prop_map(Pipe::Fields),
        one_field().prop_map(Pipe::Hash),
        one_field().prop_map(Pipe::JsonArrayLen),
        one_field().prop_map(Pipe::Len),
        pack().prop_map(Pipe::PackJson),
        pack().prop_map(Pipe::PackLogfmt),
        any::<u64>().prop_map(Pipe::Limit),
        (0..99_u64).prop_map(Pipe::Offset),
        (1..99_u64).prop_map(Pipe::Sample),
    ]
}

fn sort_fields() -> impl Strategy<Value = Vec<SortField>> {
    vec((text(), any::<bool>()), 0..3).prop_map(|fields| {
        fields
            .into_iter()
            .map(|(field, descending)| SortField { field, descending })
            .collect()
    })
}

fn ordering_pipe() -> impl Strategy<Value = Pipe> {
    let first = || {
        (1..9_u64, sort_fields(), vec(text(), 0..2), of(text())).prop_map(
            |(limit, by, partition_by, rank_field)| First {
                limit,
                by,
                partition_by,
                rank_field,
            },
        )
    };
    let numbers = (of(0..9_u64), of(0..9_u64));
    let sort = (
        sort_fields(),
        any::<bool>(),
        numbers,
        vec(text(), 0..2),
        of(text()),
    )
        .prop_map(
            |(by, descending, (offset, limit), partition_by, rank_field)| Sort {
                by,
                descending,
                offset,
                limit: if partition_by.is_empty() {
                    limit
                } else {
                    Some(limit.unwrap_or(3))
                },
                partition_by,
                rank_field,
            },
        );
    let top =
        (1..99_u64, names(), text(), of(text())).prop_map(|(limit, by, hits_field, rank_field)| {
            Top {
                limit,
                hits_field: other_than(&by, hits_field),
                rank_field: rank_field.map(|name| other_than(&by, name)),
                by,
            }
        });
    let uniq = (names(), any::<bool>(), of(1..9_u64)).prop_map(|(by, hits, limit)| Uniq {
        hits_field: hits.then(|| other_than(&by, "hits".to_owned())),
        by,
        limit,
    });
    let facets = (1..20_u64, 999..1002_u64, 127..130_u64, any::<bool>()).prop_map(
        |(limit, max_values_per_field, max_value_len, keep_const_fields)| Facets {
            limit,
            max_values_per_field,
            max_value_len,
            keep_const_fields,
        },
    );
    let context = (0..9_u64, 0..9_u64, select(&["1h", "1w", "5m30s"][..])).prop_map(
        |(before, after, window)| StreamContext {
            before,
            after,
            time_window: Duration {
                text: window.to_owned(),
                ns: parse_duration(window).expect("a duration"),
            },
        },
    );
    prop_oneof![
        first().prop_map(Pipe::First),
        first().prop_map(Pipe::Last),
        sort.prop_map(Pipe::Sort),
        top.prop_map(Pipe::Top),
        uniq.prop_map(Pipe::Uniq),
        facets.prop_map(Pipe::Facets),
        context.prop_map(Pipe::StreamContext),
        (text(), of(0..9_u64))
            .prop_map(|(field, limit)| Pipe::FieldValues(FieldValues { field, limit })),
    ]
}

fn other_than(taken: &[String], mut name: String) -> String {
    while taken.contains(&name) {
        name.push('s');
    }
    name
}

fn policy() -> impl Strategy<Value = ResultPolicy> {
    select(
        &[
            ResultPolicy::Overwrite,
            ResultPolicy::KeepOriginalFields,
            ResultPolicy::SkipEmptyResults,
        ][..],
    )
}

fn text_pipe(condition: BoxedStrategy<Option<Filter>>) -> impl Strategy<Value = Pipe> {
    let collapse =
        (condition.clone(), text(), any::<bool>()).prop_map(|(condition, field, prettify)| {
            Pipe::CollapseNums(CollapseNums {
                condition,
                field,
                prettify,
            })
        });
    let extract = (condition.clone(), text(), text(), policy()).prop_map(
        |(condition, pattern, from, policy)| {
            Pipe::Extract(Extract {
                condition,
                pattern: pattern + "<x>",
                from,
                policy,
            })
        },
    );
    let extract_regexp =
        (condition.clone(), text(), policy()).prop_map(|(condition, from, policy)| {
            Pipe::ExtractRegexp(ExtractRegexp {
                condition,
                regexp: "(?P<ip>[0-9.]+)".to_owned(),
                from,
                policy,
            })
        });
    let format = (condition.clone(), text(), text(), policy()).prop_map(
        |(condition, pattern, result_field, policy)| {
            Pipe::Format(Format {
                condition,
                pattern,
                result_field,
                policy,
            })
        },
    );
    let replace = (condition.clone(), text(), text(), text(), of(1..9_u64)).prop_map(
        |(condition, old, new, field, limit)| {
            Pipe::Replace(Replace {
                condition,
                old,
                new,
                field,
                limit,
            })
        },
    );
    let replace_regexp = (condition, regexp(), text(), text(), of(1..9_u64)).prop_map(
        |(condition, regexp, replacement, field, limit)| {
            Pipe::ReplaceRegexp(ReplaceRegexp {
                condition,
                regexp,
                replacement,
                field,
                limit,
            })
        },
    );
    prop_oneof![
        collapse,
        extract,
        extract_regexp,
        format,
        replace,
        replace_regexp
    ]
}

fn unpacking_pipe(condition: BoxedStrategy<Option<Filter>>) -> impl Strategy<Value = Pipe> {
    let unpack = (condition.clone(), text(), patterns(), text(), policy()).prop_map(
        |(condition, from, fields, result_prefix, policy)| Unpack {
            condition,
            from,
            fields,
            result_prefix,
            policy,
        },
    );
    let unpack = unpack.boxed();
    let syslog = (
        condition.clone(),
        text(),
        of(duration()),
        text(),
        any::<bool>(),
    )
        .prop_map(
            |(condition, from, offset, result_prefix, keep_original_fields)| {
                Pipe::UnpackSyslog(UnpackSyslog {
                    condition,
                    from,
                    offset,
                    result_prefix,
                    keep_original_fields,
                })
            },
        );
    let words =
        (text(), text(), any::<bool>()).prop_map(|(from, result_field, drop_duplicates)| {
            Pipe::UnpackWords(UnpackWords {
                from,
                result_field,
                drop_duplicates,
            })
        });
    let unroll =
        (condition, names()).prop_map(|(condition, by)| Pipe::Unroll(Unroll { condition, by }));
    prop_oneof![
        unpack.clone().prop_map(Pipe::UnpackJson),
        unpack.prop_map(Pipe::UnpackLogfmt),
        syslog,
        words,
        unroll,
    ]
}

fn nesting_pipe(depth: u32) -> BoxedStrategy<Pipe> {
    let filter = filter_of(depth.saturating_sub(1)).prop_map(Pipe::Filter);
    if depth == 0 {
        return filter.boxed();
    }
    let join = (names(), query_of(depth - 1), any::<bool>(), of(some_text())).prop_map(
        |(by, query, inner, prefix)| {
            Pipe::Join(Join {
                by,
                query: Box::new(query),
                inner,
                prefix,
            })
        },
    );
    let union = query_of(depth - 1).prop_map(|query| Pipe::Union(Box::new(query)));
    prop_oneof![2 => filter, 1 => join, 1 => union].boxed()
}

fn stats(depth: u32) -> impl Strategy<Value = Stats> {
    let size = prop_oneof![
        step().prop_map(BucketSize::Step),
        Just(BucketSize::Month),
        Just(BucketSize::Year),
        (0..=32_u8).prop_map(BucketSize::Ipv4Mask),
    ];
    let bucket = (size, of(number())).prop_map(|(size, offset)| Bucket { size, offset });
    let by = (text(), of(bucket)).prop_map(|(field, bucket)| ByField { field, bucket });
    let entry = (stats_function(), of(filter_of(depth.min(1)))).boxed();
    (vec(by, 0..3), vec((entry, text()), 1..4)).prop_map(|(by, entries)| {
        let mut taken: Vec<String> = by.iter().map(|field| field.field.clone()).collect();
        let functions = entries.into_iter().map(|((function, condition), name)| {
            let result_field = other_than(&taken, name);
            taken.push(result_field.clone());
            StatsEntry {
                function,
                condition,
                result_field,
            }
        });
        let functions = functions.collect();
        Stats { by, functions }
    })
}

fn stats_function() -> impl Strategy<Value = StatsFunction> {
    const PLAIN: &[fn(Vec<FieldPattern>) -> StatsFunction] = &[
        StatsFunction::Avg,
        StatsFunction::Count,
        StatsFunction::CountEmpty,
        StatsFunction::Max,
        StatsFunction::Median,
        StatsFunction::Min,
        StatsFunction::RateSum,
        StatsFunction::RowAny,
        StatsFunction::Sum,
        StatsFunction::SumLen,
    ];
    let phi = select(&["0", "0.5", "1"][..]).prop_map(|text| Number {
        text: text.to_owned(),
        value: text.parse().expect("a number"),
    });
    let limit = || of(1..9_u64);
    prop_oneof![
        4 => (select(PLAIN), patterns()).prop_map(|(function, fields)| function(fields)),
        1 => Just(StatsFunction::Rate),
        1 => text().prop_map(StatsFunction::Histogram),
        1 => (names(), limit()).prop_map(|(fields, limit)| StatsFunction::CountUniq { fields, limit }),
        1 => (names(), limit()).prop_map(|(fields, limit)| StatsFunction::CountUniqHash { fields, limit }),
        1 => (patterns(), limit()).prop_map(|(fields, limit)| StatsFunction::JsonValues { fields, limit }),
        1 => (patterns(), limit()).prop_map(|(fields, limit)| StatsFunction::UniqValues { fields, limit }),
        1 => (patterns(), limit()).prop_map(|(fields, limit)| StatsFunction::Values { fields, limit }),
        1 => (phi, patterns()).prop_map(|(phi, fields)| StatsFunction::Quantile { phi, fields }),
        1 => (text(), patterns()).prop_map(|(by, fields)| StatsFunction::RowMax { by, fields }),
        1 => (text(), patterns()).prop_map(|(by, fields)| StatsFunction::RowMin { by, fields }),
    ]
}

fn math() -> impl Strategy<Value = MathExpr> {
    let field = text().prop_filter("a number", |text| parse_value(text).is_none());
    let leaf = prop_oneof![
        number().prop_map(MathExpr::Number),
        field.prop_map(MathExpr::Field)
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let call = (select(&MathFunction::ALL[..]), vec(inner.clone(), 3)).prop_map(
            |(function, mut arguments)| {
                let (least, most) = function.arity();
                arguments.truncate(most.min(least + 1));
                MathExpr::Call {
                    function,
                    arguments,
                }
            },
        );
        prop_oneof![
            inner
                .clone()
                .prop_map(|inner| MathExpr::Negate(Box::new(inner))),
            (select(&MathOperator::ALL[..]), inner.clone(), inner).prop_map(
                |(operator, left, right)| MathExpr::Binary {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right),
                }
            ),
            call,
        ]
    })
}
