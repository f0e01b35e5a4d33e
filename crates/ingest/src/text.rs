//! Text lines: syslog, logfmt, access logs, application logs, and whatever else.

/// How the lines of a `text/plain` body are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFormat {
    /// Each line by the first format that fits.
    #[default]
    Auto,
    /// Each line is a message.
    Raw,
    /// RFC 5424 or RFC 3164.
    Syslog,
    /// `key=value key="quoted value"`.
    Logfmt,
    /// Apache's and nginx's common and combined access log.
    Clf,
}
