//! Severity: six levels, and the many names that systems give them.

use std::fmt;

/// The severity of a record, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For developers.
    Debug,
    /// Normal operation; also syslog's notice.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// The system cannot go on; also syslog's critical, alert and emergency.
    Fatal,
}

/// Longest name that [`Level::parse`] knows.
const LONGEST_NAME: usize = 13;

impl Level {
    /// All levels, mildest first; `ALL[level as usize] == level`.
    pub const ALL: [Self; 6] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Fatal,
    ];

    /// The canonical name, as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The level of a name, in any case, with surrounding blanks; `None` for a name that nobody uses for one.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim_ascii().as_bytes();
        let mut lower = [0_u8; LONGEST_NAME];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"t" | b"finer" | b"finest" => Self::Trace,
            b"debug" | b"d" | b"dbg" | b"fine" | b"verbose" | b"v" => Self::Debug,
            b"info" | b"i" | b"inf" | b"information" | b"informational" | b"notice" | b"n"
            | b"config" => Self::Info,
            b"warn" | b"w" | b"wrn" | b"warning" => Self::Warn,
            b"error" | b"e" | b"err" | b"severe" | b"failure" => Self::Error,
            b"fatal" | b"f" | b"critical" | b"crit" | b"c" | b"alert" | b"emerg" | b"emergency"
            | b"panic" => Self::Fatal,
            _ => return None,
        })
    }

    /// The level of a syslog severity, 0 (emergency) to 7 (debug) (RFC 5424, table 2).
    pub const fn from_syslog(severity: u8) -> Option<Self> {
        Some(match severity {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            _ => return None,
        })
    }

    /// The level of an OpenTelemetry severity number, 1 to 24 (logs data model, "SeverityNumber").
    pub const fn from_otlp(severity_number: i64) -> Option<Self> {
        Some(match severity_number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21..=24 => Self::Fatal,
            _ => return None,
        })
    }

    /// The level of a number as pino and bunyan write it: 10 (trace), 20, … 60 (fatal).
    pub const fn from_numeric(level: i64) -> Option<Self> {
        Some(match level {
            10..=19 => Self::Trace,
            20..=29 => Self::Debug,
            30..=39 => Self::Info,
            40..=49 => Self::Warn,
            50..=59 => Self::Error,
            60 => Self::Fatal,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_systems_are_understood() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(level));
            assert_eq!(Level::parse(&level.as_str().to_uppercase()), Some(level));
            assert_eq!(Level::ALL[level as usize], level);
        }
        let names = [
            ("WARNING", Level::Warn),
            (" Err ", Level::Error),
            ("SEVERE", Level::Error),
            ("Notice", Level::Info),
            ("informational", Level::Info),
            ("EMERG", Level::Fatal),
            ("V", Level::Debug),
        ];
        for (name, level) in names {
            assert_eq!(Level::parse(name), Some(level), "{name}");
        }
        for name in ["", "loud", "warns", "informationally", "é", "P1"] {
            assert_eq!(Level::parse(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_of_three_scales_are_understood() {
        let syslog: Vec<_> = (0..9).map(Level::from_syslog).collect();
        use Level::{Debug, Error, Fatal, Info, Warn};
        let expected = [Fatal, Fatal, Fatal, Error, Warn, Info, Info, Debug].map(Some);
        assert_eq!(syslog[..8], expected);
        assert_eq!(syslog[8], None);
        assert_eq!(Level::from_otlp(9), Some(Info));
        assert_eq!(Level::from_otlp(24), Some(Fatal));
        assert_eq!(Level::from_otlp(25), None);
        assert_eq!(Level::from_numeric(50), Some(Error));
        assert_eq!(Level::from_numeric(7), None);
    }
}
