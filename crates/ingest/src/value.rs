//! A value of a field, on its way into a column.

use logmill_model::json::write_string;
use logmill_schema::ColumnType;
use simd_json::StaticNode;
use simd_json::tape::Node;

/// A value of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Str(&'a str),
    Integer(i64),
    /// Beyond `i64`: kept as text.
    Unsigned(u64),
    Float(f64),
    Boolean(bool),
    /// An array or an empty object, kept as JSON text: its node and all below it.
    Json(&'a [Node<'a>]),
}

impl<'a> Value<'a> {
    /// The value that begins at `nodes[index]`; `None` for null.
    #[inline]
    pub(crate) fn of(nodes: &'a [Node<'a>], index: usize) -> Option<Self> {
        Some(match nodes[index] {
            Node::String(text) => Self::Str(text),
            Node::Static(StaticNode::I64(value)) => Self::Integer(value),
            Node::Static(StaticNode::U64(value)) => {
                i64::try_from(value).map_or(Self::Unsigned(value), Self::Integer)
            }
            Node::Static(StaticNode::F64(value)) => Self::Float(value),
            Node::Static(StaticNode::Bool(value)) => Self::Boolean(value),
            Node::Static(StaticNode::Null) => return None,
            Node::Object { count, .. } | Node::Array { count, .. } => {
                Self::Json(&nodes[index..=index + count])
            }
        })
    }

    pub(crate) fn column_type(&self) -> ColumnType {
        match self {
            Self::Integer(value) => ColumnType::of_integer(*value),
            Self::Float(_) => ColumnType::Float,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Str(_) | Self::Unsigned(_) | Self::Json(_) => ColumnType::String,
        }
    }

    /// Appends the value as a text column has it.
    pub(crate) fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Str(text) => out.extend_from_slice(text.as_bytes()),
            other => other.write_json(out),
        }
    }

    /// Appends the value as JSON.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Str(text) => write_string(text, out),
            Self::Integer(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            }
            Self::Unsigned(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            }
            Self::Float(value) => {
                out.extend_from_slice(ryu::Buffer::new().format_finite(*value).as_bytes());
            }
            Self::Boolean(value) => {
                out.extend_from_slice(if *value { b"true" } else { b"false" });
            }
            Self::Json(nodes) => {
                write_node(nodes, 0, out);
            }
        }
    }
}

/// Appends the node at `index` as compact JSON, and returns the index after it. Depth is bounded by the decoder.
fn write_node(nodes: &[Node<'_>], index: usize, out: &mut Vec<u8>) -> usize {
    match nodes[index] {
        Node::Array { len, .. } => {
            out.push(b'[');
            let mut next = index + 1;
            for position in 0..len {
                if position > 0 {
                    out.push(b',');
                }
                next = write_node(nodes, next, out);
            }
            out.push(b']');
            next
        }
        Node::Object { len, .. } => {
            out.push(b'{');
            let mut next = index + 1;
            for position in 0..len {
                if position > 0 {
                    out.push(b',');
                }
                next = write_node(nodes, next, out);
                out.push(b':');
                next = write_node(nodes, next, out);
            }
            out.push(b'}');
            next
        }
        _ => {
            match Value::of(nodes, index) {
                Some(value) => value.write_json(out),
                None => out.extend_from_slice(b"null"),
            }
            index + 1
        }
    }
}
