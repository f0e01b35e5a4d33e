//! Pipes that order, count and choose records.

use super::{Parser, Result};
use crate::ast::{
    Duration, Facets, FieldValues, First, Pipe, Sort, SortField, StreamContext, Top, Uniq,
};

impl Parser<'_> {
    /// The pipe `name`, after its name.
    pub(super) fn ordering_pipe(&mut self, name: &str) -> Result<Pipe> {
        Ok(match name {
            "first" => Pipe::First(self.first()?),
            "last" => Pipe::Last(self.first()?),
            "top" => Pipe::Top(self.top()?),
            "uniq" => Pipe::Uniq(self.uniq()?),
            "facets" => Pipe::Facets(self.facets()?),
            "field_values" => Pipe::FieldValues(FieldValues {
                field: self.field_maybe_in_parentheses()?,
                limit: self.limit()?,
            }),
            "stream_context" => Pipe::StreamContext(self.stream_context()?),
            _ => Pipe::Sort(self.sort()?),
        })
    }

    fn sort(&mut self) -> Result<Sort> {
        let mut sort = Sort {
            by: self.sort_fields()?,
            descending: self.descending(),
            offset: None,
            limit: None,
            partition_by: Vec::new(),
            rank_field: None,
        };
        loop {
            let at = self.at;
            if self.accept("offset") {
                let offset = self.count("an offset")?;
                self.once(at, sort.offset.replace(offset).is_some())?;
            } else if self.is("limit") {
                let limit = self.limit()?;
                self.once(at, sort.limit.is_some())?;
                sort.limit = limit;
            } else if self.is("rank") {
                let rank_field = self.rank()?;
                self.once(at, sort.rank_field.is_some())?;
                sort.rank_field = rank_field;
            } else if self.is("partition") {
                let fields = self.partition()?;
                self.once(at, !sort.partition_by.is_empty())?;
                sort.partition_by = fields;
            } else {
                break;
            }
        }
        if !sort.partition_by.is_empty() && sort.limit.is_none() {
            return Err(self.error("`partition by` needs a `limit`, that of every partition"));
        }
        Ok(sort)
    }

    /// Refuses what begins at token `at` if it is there for the second time.
    fn once(&self, at: usize, again: bool) -> Result<()> {
        if again {
            return Err(self.error_at(at, format!("`{}` is there twice", self.raw_at(at))));
        }
        Ok(())
    }

    /// `by (a, b desc)`, if it is there.
    fn sort_fields(&mut self) -> Result<Vec<SortField>> {
        if !self.accept("by") && !self.is("(") {
            return Ok(Vec::new());
        }
        self.in_parentheses(|parser| {
            Ok(SortField {
                field: parser.field_name()?,
                descending: parser.descending(),
            })
        })
    }

    /// `desc` (true), `asc` or nothing.
    fn descending(&mut self) -> bool {
        let descending = self.accept("desc");
        if !descending {
            self.accept("asc");
        }
        descending
    }

    /// `partition by (a, b)`, if it is there.
    fn partition(&mut self) -> Result<Vec<String>> {
        if !self.accept("partition") {
            return Ok(Vec::new());
        }
        self.accept("by");
        self.in_parentheses(Self::field_name)
    }

    /// `rank as field`, if it is there; `rank` where no name is given.
    fn rank(&mut self) -> Result<Option<String>> {
        if !self.accept("rank") {
            return Ok(None);
        }
        let named = self.accept("as");
        if !named && (self.at_pipe_end() || self.is_any(&["limit", "offset", "partition", "hits"]))
        {
            return Ok(Some("rank".to_owned()));
        }
        self.field_name().map(Some)
    }

    fn first(&mut self) -> Result<First> {
        let unlimited = self.at_pipe_end() || self.is_any(&["by", "(", "partition", "rank"]);
        Ok(First {
            limit: if unlimited {
                1
            } else {
                self.positive("a number of records")?
            },
            by: self.sort_fields()?,
            partition_by: self.partition()?,
            rank_field: self.rank()?,
        })
    }

    /// Whether a number stands here: after `top` and `facets` it may be missing.
    fn number_ahead(&self) -> bool {
        let first = self.raw().bytes().next();
        !self.is_quoted() && first.is_some_and(|byte| byte.is_ascii_digit())
    }

    fn top(&mut self) -> Result<Top> {
        let limit = if self.number_ahead() {
            self.positive("a number of values")?
        } else {
            10
        };
        self.accept("by");
        if self.at_pipe_end() || self.is_any(&["hits", "rank"]) {
            return Err(self.error("the name of a field is missing in `top by (…)`"));
        }
        let by = self.field_names()?;
        let mut hits_field = "hits".to_owned();
        let mut rank_field = None;
        loop {
            if self.accept("hits") {
                self.accept("as");
                hits_field = self.field_name()?;
            } else if self.is("rank") {
                rank_field = self.rank()?;
            } else {
                break;
            }
        }
        Ok(Top {
            limit,
            hits_field: other_than(&by, hits_field),
            rank_field: rank_field.map(|name| other_than(&by, name)),
            by,
        })
    }

    fn uniq(&mut self) -> Result<Uniq> {
        self.accept("by");
        if self.at_pipe_end() || self.is_any(&["with", "hits", "limit"]) {
            return Err(self.error("the name of a field is missing in `uniq by (…)`"));
        }
        let by = self.field_names()?;
        if self.accept("with") && !self.is("hits") {
            return Err(self.error(format!(
                "`hits` is missing after `with`, {} is there",
                self.found()
            )));
        }
        let hits_field = self
            .accept("hits")
            .then(|| other_than(&by, "hits".to_owned()));
        Ok(Uniq {
            hits_field,
            limit: self.limit()?.filter(|limit| *limit > 0),
            by,
        })
    }

    fn facets(&mut self) -> Result<Facets> {
        let mut facets = Facets::default();
        if self.number_ahead() {
            facets.limit = self.positive("a number of values")?;
        }
        loop {
            if self.accept("max_values_per_field") {
                facets.max_values_per_field = self.positive("a number of values")?;
            } else if self.accept("max_value_len") {
                facets.max_value_len = self.positive("a length in bytes")?;
            } else if self.accept("keep_const_fields") {
                facets.keep_const_fields = true;
            } else {
                return Ok(facets);
            }
        }
    }

    fn stream_context(&mut self) -> Result<StreamContext> {
        let (mut before, mut after) = (None, None);
        loop {
            if self.accept("before") {
                before = Some(self.count("a number of records")?);
            } else if self.accept("after") {
                after = Some(self.count("a number of records")?);
            } else {
                break;
            }
        }
        if before.is_none() && after.is_none() {
            return Err(self.error("`before N` or `after N` is missing in `stream_context`"));
        }
        let at = self.at + 1;
        let time_window = if self.accept("time_window") {
            self.duration("the window of time")?
        } else {
            Duration {
                text: "1h".to_owned(),
                ns: 3_600_000_000_000,
            }
        };
        if time_window.ns <= 0 {
            return Err(self.error_at(at, "the window of time has to be greater than 0"));
        }
        Ok(StreamContext {
            before: before.unwrap_or(0),
            after: after.unwrap_or(0),
            time_window,
        })
    }
}

/// `name`, with as many `s` after it as make it different from all `taken`.
fn other_than(taken: &[String], mut name: String) -> String {
    while taken.contains(&name) {
        name.push('s');
    }
    name
}
