//! The coarse kind of an error: what its receiver should do about it.

use std::fmt;

/// What went wrong, as far as the caller's next step depends on it.
///
/// Every library crate has its own `Error` with rich variants and a `kind()`; one file of the server
/// maps kinds to HTTP status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; repeating it unchanged will fail again.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// The request contradicts something already there.
    Conflict,
    /// Some bound on size was exceeded.
    TooLarge,
    /// A budget (memory, concurrency) is exhausted for now; try again later.
    Overloaded,
    /// A component (disk, object store, catalog) does not work for now.
    Unavailable,
    /// A time, memory or row limit of the request was reached.
    LimitExceeded,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The component is shutting down.
    Closed,
    /// A bug of ours.
    Internal,
}

impl ErrorKind {
    /// The kind's name in snake case, as it appears in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::LimitExceeded => "limit_exceeded",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
