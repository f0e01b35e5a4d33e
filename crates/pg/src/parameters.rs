//! Values that clients bind to the parameters of a statement.

use bytes::Buf;
use logmill_model::time;
use logmill_query_api::SqlValue;
use pgwire::api::Type;

use crate::error::{PgError, Result};
use crate::numeric;

/// Nanoseconds from the epoch to 2000-01-01, where PostgreSQL's times begin.
const POSTGRES_EPOCH_NS: i64 = 946_684_800_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// The value of a parameter (from 1) of a type, as text or in the type's binary format.
pub(crate) fn decode(number: usize, kind: &Type, binary: bool, bytes: &[u8]) -> Result<SqlValue> {
    let value = if binary {
        of_binary(kind, bytes)
    } else {
        let text = std::str::from_utf8(bytes)
            .map_err(|_bytes| PgError::new("22021", format!("${number} is not UTF-8")))?;
        of_text(kind, text)
    };
    value.ok_or_else(|| {
        let format = if binary { "binary" } else { "text" };
        let message = format!("${number} is no {} in its {format} format", kind.name());
        PgError::new("22P03", message)
    })
}

fn of_text(kind: &Type, text: &str) -> Option<SqlValue> {
    Some(match *kind {
        Type::BOOL => SqlValue::Boolean(match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" | "y" => true,
            "f" | "false" | "0" | "off" | "no" | "n" => false,
            _ => return None,
        }),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            SqlValue::Integer(text.trim().parse().ok()?)
        }
        Type::FLOAT4 | Type::FLOAT8 => SqlValue::Float(text.trim().parse().ok()?),
        Type::NUMERIC => number(text.trim())?,
        Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::DATE => {
            SqlValue::Timestamp(time::parse_timestamp(text)?)
        }
        _ => SqlValue::Text(text.to_owned()),
    })
}

fn of_binary(kind: &Type, mut bytes: &[u8]) -> Option<SqlValue> {
    let value = match *kind {
        Type::BOOL => SqlValue::Boolean(bytes.try_get_u8().ok()? != 0),
        Type::INT2 => SqlValue::Integer(bytes.try_get_i16().ok()?.into()),
        Type::INT4 => SqlValue::Integer(bytes.try_get_i32().ok()?.into()),
        Type::INT8 => SqlValue::Integer(bytes.try_get_i64().ok()?),
        Type::OID => SqlValue::Integer(bytes.try_get_u32().ok()?.into()),
        Type::FLOAT4 => SqlValue::Float(bytes.try_get_f32().ok()?.into()),
        Type::FLOAT8 => SqlValue::Float(bytes.try_get_f64().ok()?),
        Type::NUMERIC => return number(&numeric::decode(bytes)?),
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            let since_ns = bytes.try_get_i64().ok()?.checked_mul(1_000)?;
            SqlValue::Timestamp(since_ns.checked_add(POSTGRES_EPOCH_NS)?)
        }
        Type::DATE => {
            let since_ns = i64::from(bytes.try_get_i32().ok()?).checked_mul(DAY_NS)?;
            SqlValue::Timestamp(since_ns.checked_add(POSTGRES_EPOCH_NS)?)
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            return Some(SqlValue::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
        }
        _ => return None,
    };
    bytes.is_empty().then_some(value)
}

/// A decimal number: an integer where it is one.
fn number(text: &str) -> Option<SqlValue> {
    match text.parse() {
        Ok(integer) => Some(SqlValue::Integer(integer)),
        Err(_not_whole) => text.parse().ok().map(SqlValue::Float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_both_formats() {
        let cases: [(Type, bool, &[u8], SqlValue); 9] = [
            (Type::BOOL, false, b"t", SqlValue::Boolean(true)),
            (Type::INT2, true, &[0xff, 0xfe], SqlValue::Integer(-2)),
            (Type::INT8, false, b"42", SqlValue::Integer(42)),
            (
                Type::FLOAT8,
                true,
                &1.5_f64.to_be_bytes(),
                SqlValue::Float(1.5),
            ),
            (Type::NUMERIC, false, b"2.5", SqlValue::Float(2.5)),
            (
                Type::TIMESTAMPTZ,
                true,
                &0_i64.to_be_bytes(),
                SqlValue::Timestamp(POSTGRES_EPOCH_NS),
            ),
            (
                Type::TIMESTAMPTZ,
                false,
                b"2000-01-01 02:00:00+02",
                SqlValue::Timestamp(POSTGRES_EPOCH_NS),
            ),
            (
                Type::DATE,
                true,
                &1_i32.to_be_bytes(),
                SqlValue::Timestamp(POSTGRES_EPOCH_NS + DAY_NS),
            ),
            (
                Type::UNKNOWN,
                true,
                b"pay",
                SqlValue::Text("pay".to_owned()),
            ),
        ];
        for (kind, binary, bytes, expected) in cases {
            assert_eq!(decode(1, &kind, binary, bytes).unwrap(), expected, "{kind}");
        }
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused() {
        for (kind, binary, bytes) in [
            (Type::INT4, false, &b"x"[..]),
            (Type::INT4, true, &[1]),
            (Type::INT4, true, &[0, 0, 0, 1, 9]),
            (Type::TIMESTAMPTZ, false, b"soon"),
            (Type::INT4_ARRAY, true, &[0; 20]),
        ] {
            assert_eq!(decode(2, &kind, binary, bytes).unwrap_err().code, "22P03");
        }
        assert_eq!(
            decode(1, &Type::TEXT, false, b"\xff").unwrap_err().code,
            "22021"
        );
    }
}
