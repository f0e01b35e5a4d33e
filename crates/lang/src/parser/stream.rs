//! `{…}`: filters of streams.

use super::{Parser, Result};
use crate::ast::{Filter, LabelFilter, LabelMatch, StreamFilter};

const LABEL_STOPS: &[&str] = &["=", "!=", "=~", "!~", ",", "{", "}", "(", ")", "|"];
const LABEL_VALUE_STOPS: &[&str] = &[",", "{", "}", "(", ")", "|"];

impl Parser<'_> {
    /// `{…}`, which may only be asked of `_stream`.
    pub(super) fn stream_of(&mut self, field: Option<&str>) -> Result<Filter> {
        match field {
            None | Some("_stream") => Ok(Filter::Stream(self.stream()?)),
            Some(field) => {
                let error = self.error(format!(
                    "`{{…}}` can only be asked of `_stream`, not of `{field}`"
                ));
                Err(error.with_hint("put the text in quotes to search for it"))
            }
        }
    }

    fn stream(&mut self) -> Result<StreamFilter> {
        self.expect("{", "in front of the labels")?;
        let mut any_of = Vec::new();
        loop {
            any_of.push(self.labels()?);
            if !self.accept("or") {
                break;
            }
            if self.is("}") {
                return Err(self.error("a label is missing after `or`"));
            }
        }
        self.expect("}", "after the labels")?;
        Ok(StreamFilter { any_of })
    }

    /// Conditions with commas between them, perhaps none.
    fn labels(&mut self) -> Result<Vec<LabelFilter>> {
        let mut labels = Vec::new();
        while !self.is("}") {
            labels.push(self.label()?);
            if !self.accept(",") {
                break;
            }
        }
        Ok(labels)
    }

    fn label(&mut self) -> Result<LabelFilter> {
        let label = self.text_until(LABEL_STOPS, "the name of a label")?;
        let operators = ["=", "!=", "=~", "!~", "in", "not_in"];
        let Some(operator) = self.keyword(&operators) else {
            return Err(self
                .error(format!(
                    "an operator is missing after the label `{label}`, {} is there",
                    self.found()
                ))
                .with_hint("there are: =, !=, =~, !~, in (…), not_in (…)"));
        };
        self.advance();
        let at = self.at;
        let is = match operator {
            "in" | "not_in" => {
                let open = self.at;
                if self.is_at(open + 1, "*") && self.is_at(open + 2, ")") {
                    self.at = open + 3;
                    LabelMatch::Regexp(".*".to_owned())
                } else if operator == "in" {
                    LabelMatch::In(self.arguments(operator)?)
                } else {
                    LabelMatch::NotIn(self.arguments(operator)?)
                }
            }
            _ => {
                let value = self.text_until(LABEL_VALUE_STOPS, "the value of the label")?;
                match operator {
                    "=" => LabelMatch::Equal(value),
                    "!=" => LabelMatch::NotEqual(value),
                    _ => {
                        self.check_regexp(at, &value)?;
                        if operator == "=~" {
                            LabelMatch::Regexp(value)
                        } else {
                            LabelMatch::NotRegexp(value)
                        }
                    }
                }
            }
        };
        Ok(LabelFilter { label, is })
    }
}
