//! Expressions of the `math` pipe.

use super::{Kind, Parser, Result, number};
use crate::ast::{MathEntry, MathExpr, MathFunction, MathOperator};

/// Symbols that end the name of a field in an expression.
const OPERAND_STOPS: &[&str] = &[
    "=", "+", "-", "*", "/", "%", "^", "&", ",", "(", ")", "[", "]", "|", "!",
];

/// How many operators an expression may have: a chain of them makes a tree as deep as it is long.
const MAX_OPERATORS: usize = 256;

impl Parser<'_> {
    /// `expression as name`.
    pub(super) fn math_entry(&mut self) -> Result<MathEntry> {
        let mut operators = 0;
        let expression = self.math(0, &mut operators)?;
        let named = self.accept("as");
        let result_field = if !named && (self.at_pipe_end() || self.is(",")) {
            expression.to_string()
        } else {
            self.field_name()?
        };
        Ok(MathEntry {
            expression,
            result_field,
        })
    }

    /// An expression of operators that bind tighter than `loosest`.
    fn math(&mut self, loosest: u8, operators: &mut usize) -> Result<MathExpr> {
        self.nested(|parser| {
            let mut left = parser.operand(operators)?;
            while let Some(operator) = parser
                .operator()
                .filter(|operator| operator.precedence() > loosest)
            {
                *operators += 1;
                if *operators > MAX_OPERATORS {
                    return Err(parser.error(format!(
                        "an expression has at most {MAX_OPERATORS} operators"
                    )));
                }
                parser.advance();
                let right = parser.math(operator.precedence(), operators)?;
                left = MathExpr::Binary {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right),
                };
            }
            Ok(left)
        })
    }

    fn operator(&self) -> Option<MathOperator> {
        MathOperator::ALL
            .into_iter()
            .find(|operator| self.is(operator.symbol()))
    }

    fn operand(&mut self, operators: &mut usize) -> Result<MathExpr> {
        if self.accept("(") {
            let inner = self.math(0, operators)?;
            self.expect(")", "after the expression")?;
            return Ok(inner);
        }
        if self.accept("-") {
            let inner = self.nested(|parser| parser.operand(operators))?;
            return Ok(MathExpr::Negate(Box::new(inner)));
        }
        if self.accept("+") {
            return self.nested(|parser| parser.operand(operators));
        }
        if self.is_at(self.at + 1, "(") && self.token().kind == Kind::Word {
            return self.call(operators);
        }
        self.number_or_field()
    }

    fn call(&mut self, operators: &mut usize) -> Result<MathExpr> {
        let at = self.at;
        let names = MathFunction::ALL.map(MathFunction::name);
        let Some(function) = MathFunction::ALL
            .into_iter()
            .find(|function| self.is(function.name()))
        else {
            let name = self.raw().to_owned();
            return Err(self.unknown(at, "function of `math`", &name, names));
        };
        self.advance();
        let arguments = self.in_parentheses(|parser| parser.math(0, operators))?;
        let (least, most) = function.arity();
        if !(least..=most).contains(&arguments.len()) {
            let wanted = match (least, most) {
                (0, _) => "no argument".to_owned(),
                (1, 1) => "one argument".to_owned(),
                (1, _) => "one or two arguments".to_owned(),
                _ => "two arguments or more".to_owned(),
            };
            let name = function.name();
            let given = arguments.len();
            return Err(self.error_at(at, format!("`{name}` takes {wanted}, not {given}")));
        }
        Ok(MathExpr::Call {
            function,
            arguments,
        })
    }

    /// What is a number, in quotes or not, is one; else it is the name of a field.
    fn number_or_field(&mut self) -> Result<MathExpr> {
        let at = self.at;
        let mut text = self.text_until(OPERAND_STOPS, "a number or the name of a field")?;
        if !matches!(self.token_at(at).kind, Kind::Quoted(_)) {
            self.exponent(at, &mut text);
        }
        if let Some(number) = number(&text) {
            return Ok(MathExpr::Number(number));
        }
        let unquoted_number =
            self.token_at(at).kind == Kind::Word && text.starts_with(|c: char| c.is_ascii_digit());
        if unquoted_number {
            return Err(self
                .error_at(at, format!("`{text}` is no number"))
                .with_hint("put the name of a field that begins with a digit in quotes"));
        }
        Ok(MathExpr::Field(text))
    }

    /// `1e-9` is a number, although `-` ends a name.
    fn exponent(&mut self, at: usize, text: &mut String) {
        let mantissa = text.strip_suffix(['e', 'E']).unwrap_or("");
        let is_number =
            mantissa.starts_with(|c: char| c.is_ascii_digit()) && number(mantissa).is_some();
        let sign = self.is_any(&["-", "+"]) && !self.token().spaced;
        let next = self.token_at(self.at + 1);
        if is_number && sign && next.kind == Kind::Word && !next.spaced {
            self.advance();
            self.advance();
            *text = self.written(at);
        }
    }
}
