//! What can go wrong with a question.

use logmill_model::ErrorKind;

/// The result of asking.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A question that could not be answered. The texts are for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text of the query does not parse.
    #[error("syntax error at line {line}, column {column}: {message}")]
    Syntax {
        /// 1-based line.
        line: u64,
        /// 1-based column, in characters.
        column: u64,
        /// What was expected or found.
        message: String,
    },
    /// The query parses, but asks for something that does not exist or does not fit.
    #[error("{message}")]
    Invalid {
        /// Stable, snake case, for programs: `invalid_cursor`, `unknown_function`, `invalid_filter`, ….
        code: &'static str,
        /// For people.
        message: String,
    },
    /// The query is understood, but nothing here answers it: `not supported: …`.
    #[error("{0}")]
    Unsupported(String),
    /// Read-only SQL was asked to do more.
    #[error("{0}")]
    Forbidden(String),
    /// The query ran past its time limit.
    #[error(
        "the query ran longer than its limit of {limit_ms} ms; narrow the time range or raise the limit"
    )]
    Timeout {
        /// The limit that was reached.
        limit_ms: u64,
    },
    /// The query's time was over before it was its turn.
    #[error(
        "the query waited for its limit of {limit_ms} ms and never ran, as others ran all the while \
         (query.max_concurrent); try again shortly, or raise the limit"
    )]
    NeverRan {
        /// The limit that was reached.
        limit_ms: u64,
    },
    /// The query needs more memory, or more of something else that is bounded, than it may have; the text names the
    /// setting.
    #[error("{0}")]
    ResourceExhausted(String),
    /// The answer has more rows than the row limit.
    #[error("the answer has more than {limit} rows, the limit; add LIMIT or aggregate")]
    TooManyRows {
        /// The limit that was reached.
        limit: u64,
    },
    /// As many queries run as may at once, and as many wait as may.
    #[error(
        "{running} queries run (query.max_concurrent) and {waiting} wait ({setting}), as many as may; try again \
         shortly, or raise these settings"
    )]
    TooManyQueries {
        /// How many may run.
        running: u64,
        /// How many may wait: the limit that was reached.
        waiting: u64,
        /// The name of that limit.
        setting: &'static str,
    },
    /// As many tails of the tenant are open as are allowed at once.
    #[error("{open} tails are open, the limit; close one, or try again later")]
    TooManyTails {
        /// The limit that was reached.
        open: u64,
    },
    /// Storage did not answer, or the engine failed.
    #[error("{message}")]
    Engine {
        /// What the caller should do.
        kind: ErrorKind,
        /// For the log; a server does not show it when the kind is internal.
        message: String,
    },
}

impl From<logmill_lang::SyntaxError> for Error {
    fn from(error: logmill_lang::SyntaxError) -> Self {
        let message = match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        };
        Self::Syntax {
            line: error.line as u64,
            column: error.column as u64,
            message,
        }
    }
}

impl Error {
    /// The codes of failures that are not the question's own mistake, and of the commonest that are.
    pub const CODES: [&str; 11] = [
        "syntax_error",
        "not_supported",
        "read_only",
        "query_timeout",
        "resource_exhausted",
        "too_many_rows",
        "too_many_queries",
        "too_many_tails",
        ErrorKind::Unavailable.as_str(),
        ErrorKind::Corrupt.as_str(),
        ErrorKind::Internal.as_str(),
    ];

    /// What the caller should do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. }
            | Self::Invalid { .. }
            | Self::Unsupported(_)
            | Self::Forbidden(_) => ErrorKind::Invalid,
            Self::Timeout { .. }
            | Self::NeverRan { .. }
            | Self::ResourceExhausted(_)
            | Self::TooManyRows { .. } => ErrorKind::LimitExceeded,
            Self::TooManyQueries { .. } | Self::TooManyTails { .. } => ErrorKind::Overloaded,
            Self::Engine { kind, .. } => *kind,
        }
    }

    /// A stable name for programs, snake case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax_error",
            Self::Invalid { code, .. } => code,
            Self::Unsupported(_) => "not_supported",
            Self::Forbidden(_) => "read_only",
            Self::Timeout { .. } | Self::NeverRan { .. } => "query_timeout",
            Self::ResourceExhausted(_) => "resource_exhausted",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::TooManyQueries { .. } => "too_many_queries",
            Self::TooManyTails { .. } => "too_many_tails",
            Self::Engine { kind, .. } => kind.as_str(),
        }
    }
}
