//! `math`.

use logmill_lang::ast::{MathEntry, MathExpr, MathFunction, MathOperator};
use logmill_lang::value::math;
use logmill_lang::value::number::{format_number, parse_value};

use crate::{Error, Interpreter, Result, Row, Rows};

impl Interpreter<'_> {
    pub(super) fn math(&self, rows: &mut Rows, entries: &[MathEntry]) -> Result<()> {
        for entry in entries {
            if uses_chance(&entry.expression) {
                return Err(Error::NotSupported("chance".to_owned()));
            }
            self.update(rows, None, |rows, row| {
                let number = self.number(rows, row, &entry.expression);
                vec![(entry.result_field.clone(), format_number(number))]
            })?;
        }
        Ok(())
    }

    fn number(&self, rows: &Rows, row: &Row, expression: &MathExpr) -> f64 {
        let number = |expression: &MathExpr| self.number(rows, row, expression);
        match expression {
            MathExpr::Field(name) => parse_value(&rows.get(row, name)).unwrap_or(f64::NAN),
            MathExpr::Number(number) => number.value,
            MathExpr::Negate(inner) => -number(inner),
            MathExpr::Binary {
                operator,
                left,
                right,
            } => binary(*operator, number(left), number(right)),
            MathExpr::Call {
                function,
                arguments,
            } => {
                let arguments: Vec<f64> = arguments.iter().map(number).collect();
                self.call(*function, &arguments)
            }
        }
    }

    fn call(&self, function: MathFunction, arguments: &[f64]) -> f64 {
        let first = arguments.first().copied().unwrap_or(f64::NAN);
        match function {
            MathFunction::Abs => first.abs(),
            MathFunction::Ceil => first.ceil(),
            MathFunction::Exp => first.exp(),
            MathFunction::Floor => first.floor(),
            MathFunction::Ln => first.ln(),
            MathFunction::Max => math::max(arguments.iter().copied()),
            MathFunction::Min => math::min(arguments.iter().copied()),
            MathFunction::Now => self.now_ns as f64,
            MathFunction::Rand => f64::NAN,
            MathFunction::Round => match arguments {
                [value, nearest] => math::round_to(*value, *nearest),
                _ => first.round(),
            },
        }
    }
}

fn binary(operator: MathOperator, left: f64, right: f64) -> f64 {
    match operator {
        MathOperator::Power => left.powf(right),
        MathOperator::Multiply => left * right,
        MathOperator::Divide => left / right,
        MathOperator::Modulo => math::modulo(left, right),
        MathOperator::Add => left + right,
        MathOperator::Subtract => left - right,
        MathOperator::And => math::bitwise(left, right, |left, right| left & right),
        MathOperator::Xor => math::bitwise(left, right, |left, right| left ^ right),
        MathOperator::Or => math::bitwise(left, right, |left, right| left | right),
        MathOperator::Default if left.is_nan() => right,
        MathOperator::Default => left,
    }
}

fn uses_chance(expression: &MathExpr) -> bool {
    match expression {
        MathExpr::Field(_) | MathExpr::Number(_) => false,
        MathExpr::Negate(inner) => uses_chance(inner),
        MathExpr::Binary { left, right, .. } => uses_chance(left) || uses_chance(right),
        MathExpr::Call {
            function,
            arguments,
        } => *function == MathFunction::Rand || arguments.iter().any(uses_chance),
    }
}
