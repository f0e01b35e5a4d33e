//! Names of fields, and patterns of names.

/// A name, or all names that begin with a prefix (`foo*`; `*` is every name).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldPattern {
    /// `foo`.
    Name(String),
    /// `foo*`, without its star.
    Prefix(String),
}

impl FieldPattern {
    /// `*`.
    pub const fn all() -> Self {
        Self::Prefix(String::new())
    }

    /// Whether it is `*`.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}
