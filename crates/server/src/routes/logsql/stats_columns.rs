//! Which fields of an answer of `stats` are labels and which are metrics, and the same query over time.

use logmill_lang::Query;
use logmill_lang::ast::{
    FieldPattern, MathEntry, MathExpr, MathOperator, Number, Pipe, Renaming, Stats, StatsFunction,
};

use super::hits::by_time;
use crate::error::ApiError;

/// The labels of an answer; all other fields are metrics.
#[derive(Debug)]
pub(super) struct Labels(Vec<String>);

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_query", message)
}

impl Labels {
    /// Those of the last `stats` of a query, followed through the pipes after it.
    pub(super) fn of(query: &Query) -> Result<Self, ApiError> {
        let is_stats = |pipe: &Pipe| matches!(pipe, Pipe::Stats(_));
        let Some(last) = query.pipes.iter().rposition(is_stats) else {
            return Err(refused(format!(
                "there is no `| stats …` in the query [{query}]"
            )));
        };
        let Some(Pipe::Stats(stats)) = query.pipes.get(last) else {
            return Err(refused("there is no `| stats …` in the query"));
        };
        let mut labels = Self(stats.by.iter().map(|by| by.field.clone()).collect());
        for pipe in query.pipes.iter().skip(last + 1) {
            labels.follow(pipe)?;
        }
        Ok(labels)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn contains(&self, field: &str) -> bool {
        self.0.iter().any(|label| label == field)
    }

    /// What a pipe after `stats` makes of the labels.
    fn follow(&mut self, pipe: &Pipe) -> Result<(), ApiError> {
        match pipe {
            Pipe::Filter(_) | Pipe::First(_) | Pipe::Last(_) | Pipe::Sort(_) => Ok(()),
            Pipe::Math(entries) => entries
                .iter()
                .try_for_each(|entry| self.is_free(&entry.result_field, pipe)),
            Pipe::Fields(fields) => self.keep(pipe, |label| {
                fields.iter().any(|field| field.matches(label))
            }),
            Pipe::Delete(fields) => self.keep(pipe, |label| {
                !fields.iter().any(|field| field.matches(label))
            }),
            Pipe::Copy(renamings) => renamings
                .iter()
                .try_for_each(|renaming| self.copy(renaming, pipe)),
            Pipe::Rename(renamings) => renamings
                .iter()
                .try_for_each(|renaming| self.rename(renaming, pipe)),
            Pipe::Format(format) => {
                self.is_free(&format.result_field, pipe)?;
                self.0.push(format.result_field.clone());
                Ok(())
            }
            _ => Err(refused(format!("`{pipe}` cannot stand after `stats` here"))),
        }
    }

    fn is_free(&self, field: &str, pipe: &Pipe) -> Result<(), ApiError> {
        if self.contains(field) {
            return Err(refused(format!(
                "`{pipe}` would replace `{field}`, by which `stats` groups"
            )));
        }
        Ok(())
    }

    fn keep(&self, pipe: &Pipe, keeps: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        match self.0.iter().find(|label| !keeps(label)) {
            Some(label) => Err(refused(format!(
                "`{pipe}` would drop `{label}`, by which `stats` groups"
            ))),
            None => Ok(()),
        }
    }

    fn copy(&mut self, renaming: &Renaming, pipe: &Pipe) -> Result<(), ApiError> {
        let copies: Vec<String> = self
            .0
            .iter()
            .filter_map(|label| renaming.apply(label))
            .collect();
        for copy in copies {
            self.is_free(&copy, pipe)?;
            self.0.push(copy);
        }
        Ok(())
    }

    fn rename(&mut self, renaming: &Renaming, pipe: &Pipe) -> Result<(), ApiError> {
        for index in 0..self.0.len() {
            let Some(name) = self.0.get(index).and_then(|label| renaming.apply(label)) else {
                continue;
            };
            self.is_free(&name, pipe)?;
            if let Some(label) = self.0.get_mut(index) {
                *label = name;
            }
        }
        Ok(())
    }
}

/// The query with its `stats` in steps of time, its orders one for every step, and its rates per second of a step.
pub(super) fn over_time(query: &mut Query, step_ns: i64) {
    let pipes = std::mem::take(&mut query.pipes);
    for pipe in pipes {
        match pipe {
            Pipe::Stats(mut stats) => {
                if stats.by.iter().all(|by| by.field != "_time") {
                    stats.by.push(by_time(step_ns, 0));
                }
                let rates = rates_as_sums(&mut stats, step_ns);
                query.pipes.push(Pipe::Stats(stats));
                if !rates.is_empty() {
                    query.pipes.push(Pipe::Math(rates));
                }
            }
            Pipe::Sort(mut sort) => {
                if sort.limit.is_some() {
                    by_step(&mut sort.partition_by);
                }
                query.pipes.push(Pipe::Sort(sort));
            }
            Pipe::First(mut first) => {
                by_step(&mut first.partition_by);
                query.pipes.push(Pipe::First(first));
            }
            Pipe::Last(mut last) => {
                by_step(&mut last.partition_by);
                query.pipes.push(Pipe::Last(last));
            }
            pipe => query.pipes.push(pipe),
        }
    }
}

fn by_step(partition_by: &mut Vec<String>) {
    if !partition_by.iter().any(|field| field == "_time") {
        partition_by.push("_time".to_owned());
    }
}

/// Makes rates the counts and sums that they are of, and says what to divide then.
#[allow(
    clippy::cast_precision_loss,
    reason = "as LogsQL itself has durations: a nanosecond of a year is not seen"
)]
fn rates_as_sums(stats: &mut Stats, step_ns: i64) -> Vec<MathEntry> {
    let seconds = step_ns as f64 / 1e9;
    let mut divisions = Vec::new();
    for entry in &mut stats.functions {
        match &mut entry.function {
            StatsFunction::Rate => entry.function = StatsFunction::Count(vec![FieldPattern::all()]),
            StatsFunction::RateSum(fields) => {
                entry.function = StatsFunction::Sum(std::mem::take(fields));
            }
            _ => continue,
        }
        divisions.push(MathEntry {
            expression: MathExpr::Binary {
                operator: MathOperator::Divide,
                left: Box::new(MathExpr::Field(entry.result_field.clone())),
                right: Box::new(MathExpr::Number(Number {
                    text: seconds.to_string(),
                    value: seconds,
                })),
            },
            result_field: entry.result_field.clone(),
        });
    }
    divisions
}

#[cfg(test)]
mod tests {
    use logmill_lang::parse;

    use super::*;

    #[test]
    fn labels_are_followed_through_pipes() {
        let labels =
            |text: &str| Labels::of(&parse(text).unwrap()).map(|labels| labels.0.join(" "));
        for (text, expected) in [
            ("* | count()", ""),
            (
                "* | stats by (a, b) count() n | sort by (n) | filter n:>5",
                "a b",
            ),
            (
                "* | stats by (a) count() n | math n * 2 m | fields a, m",
                "a",
            ),
            (
                "* | stats by (a) count() n | rename a as b, n as m | copy b as c",
                "b c",
            ),
            ("* | stats by (a.x) count() n | rename a.* as *", "x"),
            ("* | stats by (a) count() n | format '<a>!' as c", "a c"),
            ("* | stats by (a) count() n | stats by (b) max(n)", "b"),
        ] {
            assert_eq!(labels(text).unwrap(), expected, "{text}");
        }
        for text in [
            "*",
            "* | limit 5",
            "* | stats by (a) count() n | fields n",
            "* | stats by (a) count() n | delete a",
            "* | stats by (a) count() n | math n * 2 a",
            "* | stats by (a) count() n | copy a as a",
            "* | stats by (a) count() n | format 'x' as a",
            "* | stats by (a) count() n | limit 5",
        ] {
            assert_eq!(labels(text).unwrap_err().code, "invalid_query", "{text}");
        }
    }

    #[test]
    fn a_query_over_time_groups_by_it() {
        let minute = 60_000_000_000;
        for (text, expected) in [
            (
                "* | stats by (a) count() n | sort by (n desc) limit 3",
                "* | stats by (a, _time:60000000000ns) count(*) as n | sort by (n desc) partition by (_time) limit 3",
            ),
            (
                "* | stats rate() r, rate_sum(x) s, max(y) m | first 2 by (r)",
                "* | stats by (_time:60000000000ns) count(*) as r, sum(x) as s, max(y) as m \
                 | math r / 60 as r, s / 60 as s | first 2 by (r) partition by (_time)",
            ),
            (
                "* | stats by (_time:5m) count() n | sort by (n)",
                "* | stats by (_time:5m) count(*) as n | sort by (n)",
            ),
        ] {
            let mut query = parse(text).unwrap();
            over_time(&mut query, minute);
            assert_eq!(query.to_string(), expected);
            assert_eq!(parse(expected).as_ref(), Ok(&query), "{text}");
        }
    }
}
