//! Filters.

use logmill_lang::Query;
use logmill_lang::ast::{
    Bound, Comparison, DayRange, FieldPattern, Filter, LabelFilter, LabelMatch, Matcher, Operand,
    Pipe, Range, StreamFilter, TimeFilter, TimePoint, TimeSpan, Values, WeekRange, Weekday,
};
use logmill_lang::value::range::ValueType;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{duration, name, number, regexp, text};

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    leaf(true).prop_recursive(3, 6, 3, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 2..4).prop_map(Filter::And),
            2 => vec(inner.clone(), 2..4).prop_map(Filter::Or),
            1 => inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

/// A filter, for an `if (…)`.
pub(super) fn condition() -> impl Strategy<Value = Option<Filter>> {
    option::weighted(0.3, leaf(false))
}

fn leaf(subqueries: bool) -> BoxedStrategy<Filter> {
    prop_oneof![
        4 => Just(Filter::All),
        1 => time().prop_map(Filter::Time),
        1 => day_range().prop_map(Filter::DayRange),
        1 => week_range().prop_map(Filter::WeekRange),
        1 => stream().prop_map(Filter::Stream),
        12 => (name(), matcher(subqueries)).prop_map(|(name, matcher)| Filter::field(name, matcher)),
    ]
    .boxed()
}

fn time() -> impl Strategy<Value = TimeFilter> {
    let point = || {
        select(
            [
                "2026-11-20Z",
                "2026-11-20T12Z",
                "2026-11-20T15:59:57.5Z",
                "now",
                "now-3h",
                "2026-11Z",
            ]
            .to_vec(),
        )
        .prop_map(|text: &str| TimePoint {
            text: text.to_owned(),
        })
    };
    let span = prop_oneof![
        Just(TimeSpan::UntilNow),
        duration_forward().prop_map(TimeSpan::Last),
        (duration_forward(), any::<bool>())
            .prop_map(|(age, inclusive)| TimeSpan::OlderThan { age, inclusive }),
        point().prop_map(TimeSpan::At),
        (point(), any::<bool>()).prop_map(|(time, inclusive)| TimeSpan::After { time, inclusive }),
        (point(), any::<bool>()).prop_map(|(time, inclusive)| TimeSpan::Before { time, inclusive }),
        (point(), any::<bool>(), point(), any::<bool>()).prop_map(
            |(start, start_inclusive, end, end_inclusive)| TimeSpan::Between {
                start,
                start_inclusive,
                end,
                end_inclusive,
            }
        ),
    ];
    (span, option::weighted(0.2, duration())).prop_map(|(span, offset)| TimeFilter { span, offset })
}

fn duration_forward() -> impl Strategy<Value = logmill_lang::ast::Duration> {
    duration().prop_filter("ages are not negative", |duration| duration.ns > 0)
}

fn day_range() -> impl Strategy<Value = DayRange> {
    let minute = || select([0, 60, 359, 720, 1080, 1440].to_vec());
    let offset = option::weighted(0.3, duration());
    (minute(), any::<bool>(), minute(), any::<bool>(), offset).prop_map(
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
            [
                Weekday::Sunday,
                Weekday::Thursday,
                Weekday::Friday,
                Weekday::Saturday,
            ]
            .to_vec(),
        )
    };
    let offset = option::weighted(0.3, duration());
    (day(), any::<bool>(), day(), any::<bool>(), offset).prop_map(
        |(start, start_inclusive, end, end_inclusive, offset)| WeekRange {
            start,
            start_inclusive,
            end,
            end_inclusive,
            offset,
        },
    )
}

fn stream() -> impl Strategy<Value = StreamFilter> {
    let value = || {
        select(
            ["api", "web", "a\"b", "h1", "h10", ""]
                .map(str::to_owned)
                .to_vec(),
        )
    };
    let regexp = || select(["a.*", "h1|h2", "", "h\\d+"].map(str::to_owned).to_vec());
    let is = prop_oneof![
        value().prop_map(LabelMatch::Equal),
        value().prop_map(LabelMatch::NotEqual),
        regexp().prop_map(LabelMatch::Regexp),
        regexp().prop_map(LabelMatch::NotRegexp),
        vec(value(), 1..3).prop_map(LabelMatch::In),
        vec(value(), 1..3).prop_map(LabelMatch::NotIn),
    ];
    let label = select(["host", "service", "other"].map(str::to_owned).to_vec());
    let filter = (label, is).prop_map(|(label, is)| LabelFilter { label, is });
    vec(vec(filter, 0..3), 1..3).prop_map(|any_of| StreamFilter { any_of })
}

fn matcher(subqueries: bool) -> impl Strategy<Value = Matcher> {
    let comparison = select(
        [
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ]
        .to_vec(),
    );
    let operand = prop_oneof![
        3 => number().prop_map(Operand::Number),
        1 => text().prop_filter("a number is one", |text| text.parse::<f64>().is_err()).prop_map(Operand::Text),
    ];
    let bound =
        || (number(), any::<bool>()).prop_map(|(number, inclusive)| Bound { number, inclusive });
    prop_oneof![
        1 => Just(Matcher::Any),
        1 => Just(Matcher::Empty),
        4 => text().prop_map(Matcher::Phrase),
        2 => text().prop_map(Matcher::Prefix),
        2 => exact_text().prop_map(Matcher::Exact),
        1 => text().prop_map(Matcher::ExactPrefix),
        1 => text().prop_map(Matcher::AnyCasePhrase),
        1 => text().prop_map(Matcher::AnyCasePrefix),
        2 => regexp().prop_map(Matcher::Regexp),
        2 => values(subqueries).prop_map(Matcher::In),
        1 => values(subqueries).prop_map(Matcher::ContainsAll),
        1 => values(subqueries).prop_map(Matcher::ContainsAny),
        1 => vec(text(), 1..3).prop_map(Matcher::Sequence),
        3 => (comparison, operand)
            .prop_map(|(comparison, operand)| Matcher::Compare { comparison, operand }),
        2 => (bound(), bound()).prop_map(|(min, max)| Matcher::Range(Range { min, max })),
        1 => Just(Matcher::Ipv4Range { min: [10, 0, 0, 0].into(), max: [10, 0, 0, 255].into() }),
        1 => (text(), text()).prop_map(|(min, max)| Matcher::StringRange { min, max }),
        1 => (0_u64..6, 0_u64..30).prop_map(|(min, max)| Matcher::LenRange { min, max }),
        1 => select(ValueType::NAMES.to_vec()).prop_map(|name| Matcher::ValueType(name.to_owned())),
        1 => name().prop_map(Matcher::EqField),
        1 => name().prop_map(Matcher::LeField),
        1 => name().prop_map(Matcher::LtField),
    ]
}

/// A text that some field is.
fn exact_text() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        select(
            [
                "10",
                "-7",
                "0.5",
                "true",
                "10KiB",
                "abc",
                "9007199254740993",
                "error",
                "7.75",
                "17",
                "010",
                "10.0",
                "1e1"
            ]
            .map(str::to_owned)
            .to_vec()
        ),
    ]
}

fn values(subqueries: bool) -> BoxedStrategy<Values> {
    let list = vec(exact_text(), 0..4).prop_map(Values::List);
    if !subqueries {
        return list.boxed();
    }
    let subquery = (leaf(false), name()).prop_map(|(filter, name)| {
        let mut query = Query::new(filter);
        query.pipes = vec![Pipe::Fields(vec![FieldPattern::Name(name)])];
        Values::Query(Box::new(query))
    });
    prop_oneof![3 => list, 1 => subquery].boxed()
}
