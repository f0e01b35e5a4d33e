//! Expressions of the `math` pipe. Every value is a 64-bit floating point number; what is no number is NaN.

use super::Number;

/// `expression as result_field`.
#[derive(Clone, Debug, PartialEq)]
pub struct MathEntry {
    /// What is computed.
    pub expression: MathExpr,
    /// Where it goes; the printed expression where no name was written.
    pub result_field: String,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum MathExpr {
    /// The value of a field.
    Field(String),
    /// A number.
    Number(Number),
    /// `-a`
    Negate(Box<MathExpr>),
    /// `a + b`
    Binary {
        /// What is done.
        operator: MathOperator,
        /// Left of it.
        left: Box<MathExpr>,
        /// Right of it.
        right: Box<MathExpr>,
    },
    /// `round(a, 10)`
    Call {
        /// What is called.
        function: MathFunction,
        /// With what: as many as [`MathFunction::arity`] allows.
        arguments: Vec<MathExpr>,
    },
}

/// An operator; all are left-associative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MathOperator {
    /// `^`
    Power,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `&`: bitwise.
    And,
    /// `xor`: bitwise.
    Xor,
    /// `or`: bitwise.
    Or,
    /// `default`: the right side where the left is NaN.
    Default,
}

impl MathOperator {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Power,
        Self::Multiply,
        Self::Divide,
        Self::Modulo,
        Self::Add,
        Self::Subtract,
        Self::And,
        Self::Xor,
        Self::Or,
        Self::Default,
    ];

    /// As it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Power => "^",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::And => "&",
            Self::Xor => "xor",
            Self::Or => "or",
            Self::Default => "default",
        }
    }

    /// How tightly it binds: the greater, the tighter.
    pub const fn precedence(self) -> u8 {
        match self {
            Self::Power => 7,
            Self::Multiply | Self::Divide | Self::Modulo => 6,
            Self::Add | Self::Subtract => 5,
            Self::And => 4,
            Self::Xor => 3,
            Self::Or => 2,
            Self::Default => 1,
        }
    }
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MathFunction {
    /// `abs(a)`
    Abs,
    /// `ceil(a)`
    Ceil,
    /// `exp(a)`
    Exp,
    /// `floor(a)`
    Floor,
    /// `ln(a)`
    Ln,
    /// `max(a, b, …)`
    Max,
    /// `min(a, b, …)`
    Min,
    /// `now()`: nanoseconds since the epoch.
    Now,
    /// `rand()`: a random number, `0 <= r < 1`.
    Rand,
    /// `round(a)`, `round(a, nearest)`
    Round,
}

impl MathFunction {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Abs,
        Self::Ceil,
        Self::Exp,
        Self::Floor,
        Self::Ln,
        Self::Max,
        Self::Min,
        Self::Now,
        Self::Rand,
        Self::Round,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Ceil => "ceil",
            Self::Exp => "exp",
            Self::Floor => "floor",
            Self::Ln => "ln",
            Self::Max => "max",
            Self::Min => "min",
            Self::Now => "now",
            Self::Rand => "rand",
            Self::Round => "round",
        }
    }

    /// The least and the greatest number of arguments.
    pub const fn arity(self) -> (usize, usize) {
        match self {
            Self::Now | Self::Rand => (0, 0),
            Self::Abs | Self::Ceil | Self::Exp | Self::Floor | Self::Ln => (1, 1),
            Self::Round => (1, 2),
            Self::Max | Self::Min => (2, usize::MAX),
        }
    }
}
