//! Reading Redis's replies.

use redis::Value;

use crate::{Error, Result};

/// The items of a list; nil is an empty one.
pub(crate) fn items(key: &str, value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        other => Err(unexpected(key, &other)),
    }
}

/// A string of bytes, as it came.
pub(crate) fn bytes(key: &str, value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        other => Err(unexpected(key, &other)),
    }
}

/// A string of characters.
pub(crate) fn text(key: &str, value: Value) -> Result<String> {
    let bytes = bytes(key, value)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names and values of an entry's fields.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An entry of a stream: its id, and the names and values of its fields.
pub(crate) fn entry(key: &str, value: Value) -> Result<(Vec<u8>, Fields)> {
    let mut parts = items(key, value)?.into_iter();
    let id = bytes(key, parts.next().unwrap_or(Value::Nil))?;
    let mut flat = items(key, parts.next().unwrap_or(Value::Nil))?.into_iter();
    let mut fields = Vec::with_capacity(flat.len() / 2);
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push((bytes(key, name)?, bytes(key, value)?));
    }
    Ok((id, fields))
}

fn unexpected(key: &str, value: &Value) -> Error {
    let kind = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list",
        Value::BulkString(_) | Value::SimpleString(_) => "a string",
        _ => "something else",
    };
    Error::Foreign {
        key: key.to_owned(),
        detail: format!("{kind} where Logmill keeps other things"),
    }
}
