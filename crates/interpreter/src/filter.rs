//! Filters.

use logmill_lang::ast::{DayRange, Filter, Matcher, Operand, WeekRange};
use logmill_lang::value::order::compare;
use logmill_lang::value::phrase::{AllPhrases, AnyCasePhrase, AnyPhrase, Phrase, Sequence};
use logmill_lang::value::range::{
    NumberRange, ValueType, compares, in_ipv4_range, in_length_range, in_text_range,
};
use logmill_lang::value::stream::StreamMatcher;
use logmill_lang::value::{regexp, time};

use crate::{Error, Interpreter, Result, Row, Rows};

const MINUTE_NS: i64 = 60_000_000_000;

impl Interpreter<'_> {
    /// Keeps the records that match.
    pub(crate) fn filter(&self, rows: &mut Rows, filter: &Filter) -> Result<()> {
        let matching = self.matching(rows, filter)?;
        let mut matching = matching.into_iter();
        rows.rows.retain(|_| matching.next() == Some(true));
        Ok(())
    }

    /// Whether `if (…)` holds, of each record.
    pub(crate) fn conditions(&self, rows: &Rows, filter: Option<&Filter>) -> Result<Vec<bool>> {
        match filter {
            Some(filter) => self.matching(rows, filter),
            None => Ok(vec![true; rows.rows.len()]),
        }
    }

    /// Whether the filter matches, of each record.
    fn matching(&self, rows: &Rows, filter: &Filter) -> Result<Vec<bool>> {
        let each = |matches: &dyn Fn(&Row) -> bool| rows.rows.iter().map(matches).collect();
        let combine = |filters: &[Filter], neutral: bool| -> Result<Vec<bool>> {
            let mut all = vec![neutral; rows.rows.len()];
            for filter in filters {
                for (whole, one) in all.iter_mut().zip(self.matching(rows, filter)?) {
                    *whole = if neutral {
                        *whole && one
                    } else {
                        *whole || one
                    };
                }
            }
            Ok(all)
        };
        Ok(match filter {
            Filter::All => each(&|_| true),
            Filter::And(filters) => combine(filters, true)?,
            Filter::Or(filters) => combine(filters, false)?,
            Filter::Not(filter) => {
                let matching = self.matching(rows, filter)?;
                matching.into_iter().map(|matches| !matches).collect()
            }
            Filter::Time(filter) => {
                let range = filter.range(self.now_ns);
                each(&|row| t_ns(rows, row).is_some_and(|t_ns| range.contains(t_ns)))
            }
            Filter::DayRange(range) => {
                each(&|row| t_ns(rows, row).is_some_and(|t_ns| in_day_range(t_ns, range)))
            }
            Filter::WeekRange(range) => {
                each(&|row| t_ns(rows, row).is_some_and(|t_ns| in_week_range(t_ns, range)))
            }
            Filter::Stream(filter) => {
                let matcher = StreamMatcher::new(filter).map_err(Error::invalid)?;
                each(&|row| matcher.matches(&rows.get(row, "_stream")))
            }
            Filter::StreamId(values) => {
                let ids = self.values(values)?;
                each(&|row| ids.contains(&rows.get(row, "_stream_id")))
            }
            Filter::Field { field, matcher } => {
                let matches = self.matcher(matcher)?;
                rows.rows
                    .iter()
                    .map(|row| matches(&rows.get(row, field), &|other| rows.get(row, other)))
                    .collect()
            }
        })
    }

    /// What a matcher says of a value; it may ask for the values of other fields.
    fn matcher(&self, matcher: &Matcher) -> Result<Box<Matches>> {
        fn of(matches: impl Fn(&str) -> bool + 'static) -> Box<Matches> {
            Box::new(move |value, _| matches(value))
        }
        Ok(match matcher.clone() {
            Matcher::Any => of(|value| !value.is_empty()),
            Matcher::Empty => of(str::is_empty),
            Matcher::Phrase(phrase) => {
                let phrase = Phrase::new(&phrase);
                of(move |value| phrase.matches(value))
            }
            Matcher::Prefix(prefix) => {
                let prefix = Phrase::prefix(&prefix);
                of(move |value| prefix.matches(value))
            }
            Matcher::Exact(text) => of(move |value| value == text),
            Matcher::ExactPrefix(prefix) => of(move |value| value.starts_with(&prefix)),
            Matcher::AnyCasePhrase(phrase) => {
                let phrase = AnyCasePhrase::new(&phrase);
                of(move |value| phrase.matches(value))
            }
            Matcher::AnyCasePrefix(prefix) => {
                let prefix = AnyCasePhrase::prefix(&prefix);
                of(move |value| prefix.matches(value))
            }
            Matcher::Regexp(expression) => {
                let regexp = regexp::compile(&expression).map_err(Error::invalid)?;
                of(move |value| regexp.is_match(value))
            }
            Matcher::In(values) => {
                let values = self.values(&values)?;
                of(move |value| values.iter().any(|one| one == value))
            }
            Matcher::ContainsAll(values) => {
                let phrases = AllPhrases::new(&self.values(&values)?);
                of(move |value| phrases.matches(value))
            }
            Matcher::ContainsAny(values) => {
                let phrases = AnyPhrase::new(&self.values(&values)?);
                of(move |value| phrases.matches(value))
            }
            Matcher::Sequence(phrases) => {
                let sequence = Sequence::new(&phrases);
                of(move |value| sequence.matches(value))
            }
            Matcher::Compare {
                comparison,
                operand,
            } => match operand {
                Operand::Number(number) => {
                    let range = NumberRange::comparing(comparison, number.value);
                    of(move |value| range.matches(value))
                }
                Operand::Text(text) => of(move |value| compares(comparison, value, &text)),
            },
            Matcher::Range(range) => {
                let range = NumberRange::new(&range);
                of(move |value| range.matches(value))
            }
            Matcher::Ipv4Range { min, max } => {
                of(move |value| in_ipv4_range(value, min.into(), max.into()))
            }
            Matcher::StringRange { min, max } => of(move |value| in_text_range(value, &min, &max)),
            Matcher::LenRange { min, max } => of(move |value| in_length_range(value, min, max)),
            Matcher::ValueType(name) => {
                let kind = ValueType::parse(&name)
                    .ok_or_else(|| Error::NotSupported(format!("value_type({name})")))?;
                of(move |value| kind.matches(value))
            }
            Matcher::EqField(other) => Box::new(move |value, get| value == get(&other)),
            Matcher::LeField(other) => {
                Box::new(move |value, get| compare(value, &get(&other)).is_le())
            }
            Matcher::LtField(other) => {
                Box::new(move |value, get| compare(value, &get(&other)).is_lt())
            }
        })
    }
}

/// Whether a value matches; the second argument gives the values of other fields.
type Matches = dyn Fn(&str, &dyn Fn(&str) -> String) -> bool;

fn t_ns(rows: &Rows, row: &Row) -> Option<i64> {
    time::parse_rfc3339(&rows.get(row, "_time"))
}

fn in_day_range(t_ns: i64, range: &DayRange) -> bool {
    let offset_ns = range.offset.as_ref().map_or(0, |offset| offset.ns);
    let time_ns = time::time_of_day(t_ns, offset_ns);
    let start_ns = i64::from(range.start_minute) * MINUTE_NS;
    let end_ns = i64::from(range.end_minute) * MINUTE_NS;
    (time_ns > start_ns || (range.start_inclusive && time_ns == start_ns))
        && (time_ns < end_ns || (range.end_inclusive && time_ns == end_ns))
}

fn in_week_range(t_ns: i64, range: &WeekRange) -> bool {
    let offset_ns = range.offset.as_ref().map_or(0, |offset| offset.ns);
    let day = time::day_of_week(t_ns, offset_ns);
    let (start, end) = (range.start as u8, range.end as u8);
    (day > start || (range.start_inclusive && day == start))
        && (day < end || (range.end_inclusive && day == end))
}
