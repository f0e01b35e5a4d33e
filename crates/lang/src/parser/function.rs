//! Functions in filters: `in(…)`, `range(…)`, `i(…)` and so on.

use std::net::Ipv4Addr;

use super::{ARGUMENT_STOPS, Parser, Result};
use crate::ast::{Bound, Filter, Matcher, Range, Values};
use crate::value;

impl Parser<'_> {
    /// The function `name` on the value of `field`; its name is the token that is looked at.
    pub(super) fn function(&mut self, name: &'static str, field: &str) -> Result<Filter> {
        self.advance();
        let matcher = match name {
            "contains_all" => self.values(name)?.map(Matcher::ContainsAll),
            "contains_any" => self.values(name)?.map(Matcher::ContainsAny),
            "in" => self.values(name)?.map(Matcher::In),
            "exact" => Some(self.maybe_prefix(name, Matcher::Exact, Matcher::ExactPrefix)?),
            "i" => Some(self.maybe_prefix(name, Matcher::AnyCasePhrase, Matcher::AnyCasePrefix)?),
            "range" => Some(self.range()?),
            "seq" => Some(Matcher::Sequence(self.arguments(name)?)),
            "ipv4_range" => Some(self.ipv4_range()?),
            "len_range" => Some(self.len_range()?),
            "string_range" => {
                let [min, max] = self.exactly(name)?;
                Some(Matcher::StringRange { min, max })
            }
            "re" => {
                let at = self.at + 1;
                let [regexp] = self.exactly(name)?;
                self.check_regexp(at, &regexp)?;
                Some(Matcher::Regexp(regexp))
            }
            _ => {
                let [argument] = self.exactly(name)?;
                Some(match name {
                    "eq_field" => Matcher::EqField(argument),
                    "le_field" => Matcher::LeField(argument),
                    "lt_field" => Matcher::LtField(argument),
                    _ => Matcher::ValueType(argument),
                })
            }
        };
        // `in(*)` and its like match everything.
        Ok(matcher.map_or(Filter::All, |matcher| Filter::field(field, matcher)))
    }

    /// As many arguments as are wanted.
    fn exactly<const N: usize>(&mut self, function: &str) -> Result<[String; N]> {
        let at = self.at;
        let arguments = self.arguments(function)?;
        let given = arguments.len();
        arguments.try_into().map_err(|_unfit: Vec<String>| {
            let wanted = if N == 1 {
                "one argument"
            } else {
                "two arguments"
            };
            self.error_at(at, format!("`{function}` takes {wanted}, not {given}"))
        })
    }

    /// `(a, "b", …)`, `(query)`, or `None` for `(*)`.
    pub(super) fn values(&mut self, function: &str) -> Result<Option<Values>> {
        let open = self.at;
        if self.is_at(open + 1, "*") && self.is_at(open + 2, ")") {
            self.at = open + 3;
            return Ok(None);
        }
        let list = self.arguments(function);
        let list_end = std::mem::replace(&mut self.at, open);
        let list_error = match list {
            // `(_time:[a, b) | …)` looks like a list up to the `)` of the range.
            Ok(list) if (open..list_end).any(|index| self.is_at(index, "[")) => {
                match self.query_in_parentheses() {
                    Ok(query) if query.value_field().is_some() => {
                        return Ok(Some(Values::Query(Box::new(query))));
                    }
                    Err(error) if self.retries == 0 => return Err(error),
                    _ => {
                        // Nested, they would take exponential time.
                        self.retries -= 1;
                        self.at = list_end;
                        return Ok(Some(Values::List(list)));
                    }
                }
            }
            Ok(list) => {
                self.at = list_end;
                return Ok(Some(Values::List(list)));
            }
            Err(error) => error,
        };
        // What is more than a list of words is a query. Of the two errors that one is told that came later.
        let query = match self.query_in_parentheses() {
            Ok(query) => query,
            Err(error) if error.offset > list_error.offset => return Err(error),
            Err(_) => return Err(list_error),
        };
        if query.value_field().is_some() {
            return Ok(Some(Values::Query(Box::new(query))));
        }
        if query.pipes.is_empty() {
            return Err(
                list_error.with_hint("a subquery ends with `| fields name` or `| uniq by (name)`")
            );
        }
        Err(self
            .error_at(
                self.at - 1,
                format!("it is not clear which values `{function}` takes from its subquery"),
            )
            .with_hint("end it with `| fields name` or `| uniq by (name)`, with a single name"))
    }

    /// `(text)` or `(text*)`.
    fn maybe_prefix(
        &mut self,
        function: &str,
        whole: fn(String) -> Matcher,
        prefix: fn(String) -> Matcher,
    ) -> Result<Matcher> {
        self.expect("(", &format!("after `{function}`"))?;
        let text = if self.is("*") {
            String::new()
        } else {
            self.text_until(ARGUMENT_STOPS, &format!("the argument of `{function}`"))?
        };
        let matcher = if !self.token().spaced && self.accept("*") {
            prefix(text)
        } else {
            whole(text)
        };
        self.expect(")", &format!("after the argument of `{function}`"))?;
        Ok(matcher)
    }

    /// `(1, 5]`.
    fn range(&mut self) -> Result<Matcher> {
        let min_inclusive = self.opening("range")?;
        let min = self.number("the lower end of the range")?;
        self.expect(",", "between the ends of the range")?;
        let max = self.number("the upper end of the range")?;
        let max_inclusive = self.closing("range")?;
        Ok(Matcher::Range(Range {
            min: Bound {
                number: min,
                inclusive: min_inclusive,
            },
            max: Bound {
                number: max,
                inclusive: max_inclusive,
            },
        }))
    }

    /// `[` (true) or `(` (false) in front of a range.
    pub(super) fn opening(&mut self, what: &str) -> Result<bool> {
        if self.accept("[") {
            return Ok(true);
        }
        if self.accept("(") {
            return Ok(false);
        }
        Err(self.error(format!(
            "`[` or `(` is missing in front of the {what}, {} is there",
            self.found()
        )))
    }

    /// `]` (true) or `)` (false) after a range.
    pub(super) fn closing(&mut self, what: &str) -> Result<bool> {
        if self.accept("]") {
            return Ok(true);
        }
        if self.accept(")") {
            return Ok(false);
        }
        Err(self.error(format!(
            "`]` or `)` is missing after the {what}, {} is there",
            self.found()
        )))
    }

    fn ipv4_range(&mut self) -> Result<Matcher> {
        let at = self.at;
        let arguments = self.arguments("ipv4_range")?;
        let addresses = match arguments.as_slice() {
            [network] => value::ipv4::parse_cidr(network),
            [min, max] => value::ipv4::parse_ipv4(min).zip(value::ipv4::parse_ipv4(max)),
            _ => None,
        };
        let (min, max) = addresses.ok_or_else(|| {
            self.error_at(
                at,
                "`ipv4_range` takes a network, an address or two addresses",
            )
            .with_hint("for example ipv4_range(\"10.0.0.0/8\") or ipv4_range(10.0.0.1, 10.0.0.9)")
        })?;
        Ok(Matcher::Ipv4Range {
            min: Ipv4Addr::from(min),
            max: Ipv4Addr::from(max),
        })
    }

    fn len_range(&mut self) -> Result<Matcher> {
        let at = self.at;
        let [min, max] = self.exactly("len_range")?;
        match value::number::parse_length(&min).zip(value::number::parse_length(&max)) {
            Some((min, max)) => Ok(Matcher::LenRange { min, max }),
            None => Err(self.error_at(at, "`len_range` takes two lengths, such as 5 and inf")),
        }
    }
}
