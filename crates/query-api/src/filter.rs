//! Conditions on fields.

use serde::{Deserialize, Serialize};

/// A condition on one field. A record that lacks the field satisfies only `NotEqual`, `NotIn` and
/// `Exists(false)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The column's name; a name past the column bound is looked up in the overflow column.
    pub field: String,
    /// What holds of its value.
    pub condition: Condition,
}

/// What must hold of a value. Comparison is by the column's type: a literal is brought to it, and one that
/// cannot be matches nothing (`NotEqual`: everything).
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Is one of these (equality is a list of one).
    In(Vec<Literal>),
    /// Is none of these.
    NotIn(Vec<Literal>),
    /// Is greater.
    Greater(Literal),
    /// Is greater or equal.
    GreaterOrEqual(Literal),
    /// Is less.
    Less(Literal),
    /// Is less or equal.
    LessOrEqual(Literal),
    /// As text, starts with this, case and all.
    Prefix(String),
    /// As text, has these words in this order, any case.
    Contains(String),
    /// As text, matches this regular expression somewhere.
    Regex(String),
    /// Has a value (or has none).
    Exists(bool),
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// `true`, `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text.
    String(String),
}
