//! Expressions of the `math` pipe.

use std::fmt::{Display, Formatter, Result};

use super::{Quoted, Separated, Text, is_plain};
use crate::ast::{MathEntry, MathExpr};

impl Display for MathEntry {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "{} as {}",
            self.expression,
            Text(&self.result_field)
        )
    }
}

impl Display for MathExpr {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            // A name that begins with a digit would be taken for a number.
            Self::Field(name) if name.starts_with(|first: char| first.is_ascii_digit()) => {
                write!(formatter, "{}", Quoted(name))
            }
            Self::Field(name) => write!(formatter, "{}", Text(name)),
            // A sign or a colon would end the number here.
            Self::Number(number) if is_plain(&number.text) => formatter.write_str(&number.text),
            Self::Number(number) => write!(formatter, "{}", Quoted(&number.text)),
            Self::Negate(inner) if matches!(**inner, Self::Binary { .. }) => {
                write!(formatter, "-({inner})")
            }
            Self::Negate(inner) => write!(formatter, "-{inner}"),
            Self::Binary {
                operator,
                left,
                right,
            } => {
                let precedence = operator.precedence();
                operand(formatter, left, |inner| inner < precedence)?;
                write!(formatter, " {} ", operator.symbol())?;
                operand(formatter, right, |inner| inner <= precedence)
            }
            Self::Call {
                function,
                arguments,
            } => {
                write!(formatter, "{}({})", function.name(), Separated(arguments))
            }
        }
    }
}

/// An operand, in parentheses if it is an operation whose precedence needs them.
fn operand(
    formatter: &mut Formatter<'_>,
    expression: &MathExpr,
    needs: impl Fn(u8) -> bool,
) -> Result {
    match expression {
        MathExpr::Binary { operator, .. } if needs(operator.precedence()) => {
            write!(formatter, "({expression})")
        }
        _ => write!(formatter, "{expression}"),
    }
}
