//! `{…}`: conditions on the labels of streams.

/// `{a="b", c=~"d" or e="f"}`: one of the lists has only conditions that hold. `{}` has one empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFilter {
    /// Alternatives, each of conditions that all have to hold.
    pub any_of: Vec<Vec<LabelFilter>>,
}

/// A condition on one label; a stream without it has the empty text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFilter {
    /// Name of the label.
    pub label: String,
    /// What its value has to be like.
    pub is: LabelMatch,
}

/// What the value of a label has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelMatch {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`: the whole value matches (the expression is anchored at both ends, as in Prometheus).
    Regexp(String),
    /// `!~`: the whole value does not match.
    NotRegexp(String),
    /// `in (…)`
    In(Vec<String>),
    /// `not_in (…)`
    NotIn(Vec<String>),
}
