//! Writing to a terminal or into a pipe.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    pub(crate) fn use_color(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                std::io::stdout().is_terminal() && !no_color
            }
        }
    }
}

/// Writes to standard output; false when nobody reads any more, which is a good reason to end quietly.
pub(crate) fn write_out(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A line for the person at the terminal.
#[allow(
    clippy::print_stderr,
    reason = "notes beside the answer are for standard error"
)]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Text of a record, safe to print: an attacker's log line must not drive the terminal. Control characters (C0, C1,
/// DEL) and marks that reorder text are escaped; newlines and tabs stay when `multiline`.
pub(crate) fn printable(text: &str, multiline: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match character {
            '\n' | '\t' if multiline => out.push(character),
            _ if character.is_control() || reorders => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            printable("a\u{1b}[31mb\u{9b}c\u{202e}d\x07", false),
            "a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{7}"
        );
        assert_eq!(printable("a\n\tb", true), "a\n\tb");
        assert_eq!(printable("a\n\tb", false), "a\\n\\tb");
        assert_eq!(printable("grüße 字", false), "grüße 字");
    }
}
