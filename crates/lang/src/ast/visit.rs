//! Queries inside queries.

use super::{Filter, Matcher, Pipe, Query, Values};

impl Query {
    /// Calls `change` with this query and then with every query inside it: those in `in(…)` and its like, in conditions
    /// of pipes, and those of `join` and `union`.
    pub fn for_each_query_mut(&mut self, change: &mut dyn FnMut(&mut Self)) {
        change(self);
        visit_filter(&mut self.filter, change);
        for pipe in &mut self.pipes {
            visit_pipe(pipe, change);
        }
    }

    /// Lets this query and all inside it see only records that match `filter` too.
    pub fn restrict(&mut self, filter: &Filter) {
        self.for_each_query_mut(&mut |query| {
            let own = std::mem::replace(&mut query.filter, Filter::All);
            query.filter = filter.clone().and(own);
        });
    }
}

fn visit_filter(filter: &mut Filter, change: &mut dyn FnMut(&mut Query)) {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => {
            for filter in filters {
                visit_filter(filter, change);
            }
        }
        Filter::Not(filter) => visit_filter(filter, change),
        Filter::StreamId(Values::Query(query))
        | Filter::Field {
            matcher:
                Matcher::In(Values::Query(query))
                | Matcher::ContainsAll(Values::Query(query))
                | Matcher::ContainsAny(Values::Query(query)),
            ..
        } => query.for_each_query_mut(change),
        _ => {}
    }
}

fn visit_pipe(pipe: &mut Pipe, change: &mut dyn FnMut(&mut Query)) {
    let condition = match pipe {
        Pipe::Filter(filter) => Some(filter),
        Pipe::Join(join) => return join.query.for_each_query_mut(change),
        Pipe::Union(query) => return query.for_each_query_mut(change),
        Pipe::Stats(stats) => {
            for entry in &mut stats.functions {
                if let Some(condition) = &mut entry.condition {
                    visit_filter(condition, change);
                }
            }
            None
        }
        Pipe::CollapseNums(pipe) => pipe.condition.as_mut(),
        Pipe::Extract(pipe) => pipe.condition.as_mut(),
        Pipe::ExtractRegexp(pipe) => pipe.condition.as_mut(),
        Pipe::Format(pipe) => pipe.condition.as_mut(),
        Pipe::Replace(pipe) => pipe.condition.as_mut(),
        Pipe::ReplaceRegexp(pipe) => pipe.condition.as_mut(),
        Pipe::UnpackJson(pipe) | Pipe::UnpackLogfmt(pipe) => pipe.condition.as_mut(),
        Pipe::UnpackSyslog(pipe) => pipe.condition.as_mut(),
        Pipe::Unroll(pipe) => pipe.condition.as_mut(),
        _ => None,
    };
    if let Some(condition) = condition {
        visit_filter(condition, change);
    }
}

#[cfg(test)]
mod tests {
    use crate::{parse, parse_filter};

    #[test]
    fn a_restriction_reaches_every_query_inside() {
        let queries = [
            ("a | limit 5", "x:y a | limit 5"),
            ("*", "x:y"),
            ("a or b", "x:y (a or b)"),
            ("u:in(c | fields u) d", "x:y u:in(x:y c | fields u) d"),
            (
                "!(k:contains_any(c | uniq by (k)))",
                "x:y !k:contains_any(x:y c | uniq by (k))",
            ),
            (
                "_stream_id:in(* | fields _stream_id)",
                "x:y _stream_id:in(x:y | fields _stream_id)",
            ),
            (
                "a | join by (u) (b | union (c))",
                "x:y a | join by (u) (x:y b | union (x:y c))",
            ),
            (
                "a | filter u:in(b | fields u)",
                "x:y a | filter u:in(x:y b | fields u)",
            ),
            (
                "a | stats count() if (u:in(b | fields u)) n",
                "x:y a | stats count(*) if (u:in(x:y b | fields u)) as n",
            ),
            (
                "a | format if (u:in(b | fields u)) 'z' as z",
                "x:y a | format if (u:in(x:y b | fields u)) \"z\" as z",
            ),
        ];
        for (text, expected) in queries {
            let mut query = parse(text).unwrap();
            query.restrict(&parse_filter("x:y").unwrap());
            assert_eq!(query.to_string(), expected, "{text}");
            assert_eq!(parse(expected).as_ref(), Ok(&query), "{text}");
        }
    }
}
