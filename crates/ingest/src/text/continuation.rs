//! Lines that belong to the record before them: stack traces.

use super::TextFormat;

/// Lines of one record at most, and bytes; what is beyond begins a new record.
const LINES_MAX: u64 = 1_000;
const BYTES_MAX: usize = 256 << 10;

/// A record's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRecord<'a> {
    /// 0-based number, among the lines that are not blank, of the record's first line.
    pub index: u64,
    /// One line, or several with their line breaks.
    pub text: &'a [u8],
    /// How many lines, blank ones not counted.
    pub lines: u64,
}

/// Cuts a body into records: a line each, and in [`TextFormat::Auto`] with the lines that belong to it.
pub fn split_records(body: &[u8], format: TextFormat) -> impl Iterator<Item = TextRecord<'_>> {
    let mut rest = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut index = 0;
    std::iter::from_fn(move || {
        let (start, mut end) = next_line(rest, 0)?;
        let mut lines = 1;
        if format == TextFormat::Auto {
            while let Some((from, to)) = next_line(rest, end) {
                let fits = lines < LINES_MAX && to - start <= BYTES_MAX;
                if !fits || !continues(&rest[from..to]) {
                    break;
                }
                end = to;
                lines += 1;
            }
        }
        let record = TextRecord {
            index,
            text: &rest[start..end],
            lines,
        };
        rest = &rest[end..];
        index += lines;
        Some(record)
    })
}

/// Start and end of the first line from `at` on that is not blank, without its line break.
fn next_line(body: &[u8], mut at: usize) -> Option<(usize, usize)> {
    while at < body.len() {
        let end = memchr::memchr(b'\n', &body[at..]).map_or(body.len(), |offset| at + offset);
        let line = body[at..end].trim_ascii_end();
        if !line.is_empty() {
            return Some((at, at + line.len()));
        }
        at = end + 1;
    }
    None
}

/// Whether a line cannot begin a record.
fn continues(line: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 6] = [
        b"Caused by:",
        b"Suppressed:",
        b"Traceback (most recent call last)",
        b"During handling of the above exception",
        b"The above exception was the direct cause",
        b"goroutine ",
    ];
    matches!(line.first(), Some(b' ' | b'\t'))
        || line.starts_with(b"... ")
        || BEGINNINGS
            .iter()
            .any(|beginning| line.starts_with(beginning))
        || is_exception(line)
}

/// `com.acme.FooException: text`, `ValueError: text`, `KeyError`: a name that ends like an exception's.
fn is_exception(line: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
    let length = line.iter().take_while(|byte| is_name(byte)).count();
    let (name, rest) = line.split_at(length);
    let ends_well = [
        &b"Exception"[..],
        b"Error",
        b"Throwable",
        b"Warning",
        b"Exit",
        b"Interrupt",
    ]
    .iter()
    .any(|ending| name.len() > ending.len() && name.ends_with(ending));
    let ends = rest.is_empty() || rest.starts_with(b": ") || rest == b":";
    ends_well && ends && name.first().is_some_and(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(body: &str, format: TextFormat) -> Vec<(u64, u64, String)> {
        split_records(body.as_bytes(), format)
            .map(|record| {
                (
                    record.index,
                    record.lines,
                    String::from_utf8(record.text.to_vec()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn java_and_python_traces_are_joined() {
        let body = "one\r\n\njava.lang.IllegalStateException: no card\n\tat a.B.c(B.java:7)\n\
                    Caused by: java.io.IOException\n\t... 3 more\ntwo\nTraceback (most recent call last):\n  \
                    File \"x.py\", line 1\nValueError: bad\nthree\n";
        let found = records(body, TextFormat::Auto);
        let shape: Vec<_> = found
            .iter()
            .map(|(index, lines, _)| (*index, *lines))
            .collect();
        assert_eq!(shape, [(0, 5), (5, 4), (9, 1)]);
        assert!(found[0].2.starts_with("one\r\n\njava.lang") && found[0].2.ends_with("3 more"));
        assert_eq!(records(body, TextFormat::Raw).len(), 10);
    }

    #[test]
    fn ordinary_lines_begin_records() {
        for line in [
            "Error: x",
            "an Exception: y",
            "Exception",
            "2026-11-20 ValueError",
            "error=1",
        ] {
            assert_eq!(
                records(&format!("first\n{line}\n"), TextFormat::Auto).len(),
                2,
                "{line}"
            );
        }
        assert_eq!(
            records("  indented first\nsecond", TextFormat::Auto).len(),
            2
        );
        assert_eq!(records("\n \n", TextFormat::Auto).len(), 0);
    }

    #[test]
    fn a_record_has_bounds() {
        let body = format!("first\n{}", " x\n".repeat(2_500));
        let found = records(&body, TextFormat::Auto);
        assert_eq!(
            found.iter().map(|(_, lines, _)| *lines).collect::<Vec<_>>(),
            [1_000, 1_000, 501]
        );
    }
}
