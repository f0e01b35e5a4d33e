//! The type of a column: what its values are.

use std::collections::HashMap;

use arrow_schema::{DataType, Field, TimeUnit};
use logmill_model::field;
use serde::{Deserialize, Serialize};

/// Field metadata that tells a [`ColumnType::WideInteger`] from an [`ColumnType::Integer`].
pub const WIDE_METADATA_KEY: &str = "logmill.wide";

/// The largest magnitude up to which every integer is exact as an `f64`.
const EXACT_IN_F64: u64 = 1 << 53;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Nanoseconds since the epoch, UTC; only the column `timestamp`.
    Timestamp,
    /// `true` or `false`.
    Boolean,
    /// Integers of which every one is exact as an `f64` (magnitude up to 2^53).
    Integer,
    /// 64-bit integers, at least one beyond 2^53.
    WideInteger,
    /// 64-bit floating point.
    Float,
    /// Text; dictionary-encoded in memory for the few canonical columns of low cardinality.
    String,
}

impl ColumnType {
    /// The narrowest type that holds every value of both without loss.
    ///
    /// Integers and floats meet as float only while every integer is exact in it; anything else that differs
    /// meets as text. The operation is commutative, associative and idempotent.
    pub fn join(self, other: Self) -> Self {
        use ColumnType::{Float, Integer, String, WideInteger};
        match (self, other) {
            (a, b) if a == b => a,
            (Integer, WideInteger) | (WideInteger, Integer) => WideInteger,
            (Integer, Float) | (Float, Integer) => Float,
            _ => String,
        }
    }

    /// The integer type that holds `value`.
    pub fn of_integer(value: i64) -> Self {
        if value.unsigned_abs() <= EXACT_IN_F64 {
            Self::Integer
        } else {
            Self::WideInteger
        }
    }

    /// The type of an Arrow field of ours; `None` for a data type that we never write.
    pub fn of(arrow_field: &Field) -> Option<Self> {
        Some(match arrow_field.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::Timestamp,
            DataType::Boolean => Self::Boolean,
            DataType::Int64 if arrow_field.metadata().contains_key(WIDE_METADATA_KEY) => {
                Self::WideInteger
            }
            DataType::Int64 => Self::Integer,
            DataType::Float64 => Self::Float,
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Self::String,
            DataType::Dictionary(_, value) if **value == DataType::Utf8 => Self::String,
            _ => return None,
        })
    }

    /// The Arrow field of a column `name` of this type: nullable but for `timestamp`; `level`, `service`,
    /// `host` and `_stream` are `Dictionary(Int32, Utf8)`, all other text is `Utf8`.
    pub fn field(self, name: &str) -> Field {
        let low_cardinality = matches!(
            name,
            field::LEVEL | field::SERVICE | field::HOST | field::STREAM
        );
        match self {
            Self::Timestamp => {
                let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
                Field::new(name, utc, name != field::TIMESTAMP)
            }
            Self::Boolean => Field::new(name, DataType::Boolean, true),
            Self::Integer => Field::new(name, DataType::Int64, true),
            Self::WideInteger => Field::new(name, DataType::Int64, true).with_metadata(
                HashMap::from([(WIDE_METADATA_KEY.to_owned(), "true".to_owned())]),
            ),
            Self::Float => Field::new(name, DataType::Float64, true),
            Self::String if low_cardinality => {
                let dictionary =
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                Field::new(name, dictionary, true)
            }
            Self::String => Field::new(name, DataType::Utf8, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_type() -> impl Strategy<Value = ColumnType> {
        use ColumnType::{Boolean, Float, Integer, String, WideInteger};
        proptest::sample::select(vec![Boolean, Integer, WideInteger, Float, String])
    }

    proptest! {
        #[test]
        fn join_is_a_semilattice(a in any_type(), b in any_type(), c in any_type()) {
            prop_assert_eq!(a.join(b), b.join(a));
            prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
            prop_assert_eq!(a.join(a), a);
            prop_assert_eq!(a.join(b).join(b), a.join(b));
        }

        #[test]
        fn a_field_tells_its_type(kind in any_type(), name in "[a-z._]{1,9}") {
            prop_assert_eq!(ColumnType::of(&kind.field(&name)), Some(kind));
        }
    }

    #[test]
    fn only_integers_that_are_exact_as_floats_meet_them_as_floats() {
        assert_eq!(ColumnType::of_integer(1 << 53), ColumnType::Integer);
        assert_eq!(
            ColumnType::of_integer(-(1 << 53) - 1),
            ColumnType::WideInteger
        );
        assert_eq!(
            ColumnType::WideInteger.join(ColumnType::Float),
            ColumnType::String
        );
        assert_eq!(
            ColumnType::Integer.join(ColumnType::Float),
            ColumnType::Float
        );
    }
}
