//! `format`: puts values into a text.

use super::{PatternError, parse_parts};
use crate::value::duration::{parse_duration, write_duration};
use crate::value::encode;
use crate::value::ipv4::write_ipv4;
use crate::value::json::write_string;
use crate::value::number::{parse_i64, parse_u64, write_number};
use crate::value::time::{parse_unix_timestamp, write_time};

/// What `format` puts values into.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatPattern {
    parts: Vec<(String, Option<Slot>)>,
    fields: Vec<String>,
}

/// A place for a value.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    field: usize,
    transform: Transform,
}

/// What is done to a value before it is put in. A value of the wrong kind is put in as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transform {
    None,
    Base64Decode,
    Base64Encode,
    Duration,
    DurationSeconds,
    HexDecode,
    HexEncode,
    HexNumberDecode,
    HexNumberEncode,
    Ipv4,
    Lowercase,
    Quote,
    Time,
    Uppercase,
    UrlDecode,
    UrlEncode,
}

impl Transform {
    const NAMES: &'static [&'static str] = &[
        "base64decode",
        "base64encode",
        "duration",
        "duration_seconds",
        "hexdecode",
        "hexencode",
        "hexnumdecode",
        "hexnumencode",
        "ipv4",
        "lc",
        "q",
        "time",
        "uc",
        "urldecode",
        "urlencode",
    ];

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::None,
            "base64decode" => Self::Base64Decode,
            "base64encode" => Self::Base64Encode,
            "duration" => Self::Duration,
            "duration_seconds" => Self::DurationSeconds,
            "hexdecode" => Self::HexDecode,
            "hexencode" => Self::HexEncode,
            "hexnumdecode" => Self::HexNumberDecode,
            "hexnumencode" => Self::HexNumberEncode,
            "ipv4" => Self::Ipv4,
            "lc" => Self::Lowercase,
            "q" => Self::Quote,
            "time" => Self::Time,
            "uc" => Self::Uppercase,
            "urldecode" => Self::UrlDecode,
            "urlencode" => Self::UrlEncode,
            _ => return None,
        })
    }

    fn write(self, value: &str, out: &mut String) {
        match self {
            Self::None => out.push_str(value),
            Self::Base64Decode => encode::base64_decode(value, out),
            Self::Base64Encode => encode::base64_encode(value, out),
            Self::HexDecode => encode::hex_decode(value, out),
            Self::HexEncode => encode::hex_encode(value, out),
            Self::UrlDecode => encode::url_decode(value, out),
            Self::UrlEncode => encode::url_encode(value, out),
            Self::Lowercase => out.push_str(&value.to_lowercase()),
            Self::Uppercase => out.push_str(&value.to_uppercase()),
            Self::Quote => write_string(value, out),
            numeric => {
                if numeric.write_numeric(value, out).is_none() {
                    out.push_str(value);
                }
            }
        }
    }

    /// `None` when the value is not of the kind that is wanted.
    fn write_numeric(self, value: &str, out: &mut String) -> Option<()> {
        use std::fmt::Write as _;
        match self {
            Self::Duration => write_duration(parse_i64(value)?, out),
            Self::DurationSeconds => write_number(parse_duration(value)? as f64 / 1e9, out),
            Self::Time => write_time(parse_unix_timestamp(value)?, out),
            Self::Ipv4 => write_ipv4(parse_u64(value)?.try_into().ok()?, out),
            Self::HexNumberEncode => write!(out, "{:016X}", parse_u64(value)?).ok()?,
            Self::HexNumberDecode => {
                let valid = value.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = valid.then(|| u64::from_str_radix(value, 16).ok())??;
                write!(out, "{number}").ok()?;
            }
            _ => return None,
        }
        Some(())
    }
}

impl FormatPattern {
    /// From `text <field> <option:field> …`.
    ///
    /// # Errors
    ///
    /// See [`PatternError`].
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let mut fields: Vec<String> = Vec::new();
        let mut parts = Vec::new();
        for part in parse_parts(pattern)? {
            let slot = match part.field {
                None => None,
                Some((option, name)) => {
                    let Some(transform) = Transform::parse(&option) else {
                        return Err(PatternError::UnknownOption(option, Transform::NAMES));
                    };
                    let known = fields.iter().position(|field| *field == name);
                    let field = known.unwrap_or_else(|| {
                        fields.push(name);
                        fields.len() - 1
                    });
                    Some(Slot { field, transform })
                }
            };
            parts.push((part.text, slot));
        }
        Ok(Self { parts, fields })
    }

    /// Names of the fields whose values are put in, each once.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Appends the pattern with values in it; `value_of` gives that of a place in [`Self::fields`].
    pub fn write<'a>(&self, value_of: impl Fn(usize) -> &'a str, out: &mut String) {
        for (text, slot) in &self.parts {
            out.push_str(text);
            if let Some(slot) = slot {
                slot.transform.write(value_of(slot.field), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pattern: &str, value: &str) -> String {
        let pattern = FormatPattern::parse(pattern).unwrap();
        let mut out = String::new();
        pattern.write(|_| value, &mut out);
        out
    }

    #[test]
    fn values_are_put_in() {
        for (pattern, value, expected) in [
            (
                "request from <ip>:<ip>!",
                "1.2.3.4",
                "request from 1.2.3.4:1.2.3.4!",
            ),
            ("no field &lt;&amp;&#65;&#x42;&x;", "", "no field <&AB&x;"),
            ("<q:f>", "a\"b\n", r#""a\"b\n""#),
            ("<uc:f>|<lc:f>", "aÉ", "AÉ|aé"),
            ("<urlencode:f>|<urldecode:f>", "a b", "a+b|a b"),
            ("<hexencode:f>|<hexdecode:f>", "4a", "3461|J"),
            ("<base64encode:f>", "secret", "c2VjcmV0"),
            ("<base64decode:f>", "c2VjcmV0", "secret"),
            (
                "<hexnumdecode:f>|<hexnumencode:f>",
                "10",
                "16|000000000000000A",
            ),
            ("<hexnumdecode:f>", "+1", "+1"),
            ("<time:f>", "1715774400", "2024-05-15T12:00:00Z"),
            ("<time:f>", "1715774400.5", "2024-05-15T12:00:00.500Z"),
            ("<time:f>", "abc", "abc"),
            ("<duration:f>", "5635000000000", "1h33m55s"),
            ("<duration_seconds:f>", "1m1.5s", "61.5"),
            ("<duration_seconds:f>", "5", "5"),
            ("<ipv4:f>", "16909060", "1.2.3.4"),
            ("<ipv4:f>", "99999999999", "99999999999"),
            ("<_>x<*>", "v", "x"),
        ] {
            assert_eq!(format(pattern, value), expected, "{pattern} {value}");
        }
        let pattern = FormatPattern::parse("<b> <a> <lc:b>").unwrap();
        assert_eq!(pattern.fields(), ["b", "a"]);
    }
}
