//! Records as LogsQL sees them: names and texts.

use logmill_lang::value::number::write_number;
use logmill_model::json::write_string;
use logmill_model::{field, time};
use serde_json::{Map, Value};

use super::{Column, Renderer};

impl Renderer<'_> {
    /// Calls `each` with the names and texts of a row's fields, those of the overflow column among them. What is null
    /// is left out, and what is empty is not: `stats` may have made it.
    pub fn for_each_text(&self, row: usize, each: &mut dyn FnMut(&str, &str)) {
        let mut text = String::new();
        for (name, _, array, column) in &self.columns {
            if array.is_null(row) {
                continue;
            }
            match column {
                Column::Text(texts) if *name == field::OVERFLOW => {
                    for_each_member(texts.value(row), each);
                }
                Column::Text(texts) => each(name, texts.value(row)),
                Column::Null => {}
                other => {
                    text.clear();
                    write_text(other, row, &mut text);
                    each(name, &text);
                }
            }
        }
    }
}

/// A JSON object whose values are texts, as it is written; empty ones are left out.
#[derive(Debug)]
pub struct TextObject<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> TextObject<'a> {
    /// An object at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start }
    }

    /// Appends a field, unless its text is empty.
    pub fn field(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.out.len() > self.start + 1 {
            self.out.push(b',');
        }
        write_string(name, self.out);
        self.out.push(b':');
        write_string(text, self.out);
    }

    /// Ends the object, or takes it back if it has no field. Says whether it has any.
    pub fn end(self) -> bool {
        let any = self.out.len() > self.start + 1;
        if any {
            self.out.push(b'}');
        } else {
            self.out.truncate(self.start);
        }
        any
    }
}

/// The members of an object of further fields.
fn for_each_member(object: &str, each: &mut dyn FnMut(&str, &str)) {
    // An object that is none is a text like any other.
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(object) else {
        return each(field::OVERFLOW, object);
    };
    for (name, value) in &members {
        match value {
            Value::Null => {}
            Value::String(text) => each(name, text),
            other => each(name, &other.to_string()),
        }
    }
}

fn write_text(column: &Column<'_>, row: usize, out: &mut String) {
    match column {
        Column::Text(texts) => out.push_str(texts.value(row)),
        Column::Boolean(values) => out.push_str(if values.value(row) { "true" } else { "false" }),
        Column::Integer(value) => out.push_str(itoa::Buffer::new().format(value(row))),
        Column::Unsigned(value) => out.push_str(itoa::Buffer::new().format(value(row))),
        Column::Float(value) => write_number(value(row), out),
        Column::Timestamp(value) => {
            let mut text = Vec::new();
            if let Some(t_ns) = value(row) {
                time::format_rfc3339(t_ns, &mut text);
            }
            out.push_str(&String::from_utf8_lossy(&text));
        }
        Column::Display(formatter) => out.push_str(&formatter.value(row).to_string()),
        Column::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{
        ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
        StringArray, TimestampNanosecondArray,
    };
    use arrow_schema::{Field, Schema};

    use super::super::{Renderer, TextObject, plain};

    fn write_texts(renderer: &Renderer<'_>, row: usize, out: &mut Vec<u8>) -> bool {
        let mut object = TextObject::begin(out);
        renderer.for_each_text(row, &mut |name, text| object.field(name, text));
        object.end()
    }

    #[test]
    fn every_value_is_a_text() {
        let hosts: DictionaryArray<Int32Type> = vec![Some("a\"b"), None].into_iter().collect();
        let times = TimestampNanosecondArray::from(vec![0, 1_500_000_000]).with_timezone("UTC");
        let overflow = r#"{"x":1.5,"y":"q","z":null,"list":[1,"a"]}"#;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("_time", Arc::new(times)),
            ("host", Arc::new(hosts)),
            ("n", Arc::new(Int64Array::from(vec![Some(-7), None]))),
            ("f", Arc::new(Float64Array::from(vec![2.0, f64::NAN]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("empty", Arc::new(StringArray::from(vec!["", ""]))),
            (
                "_overflow",
                Arc::new(StringArray::from(vec![Some(overflow), None])),
            ),
        ];
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let batch = plain(&batch).unwrap();
        let renderer = Renderer::new(&batch).unwrap();
        let line = |row| {
            let mut out = Vec::new();
            assert!(write_texts(&renderer, row, &mut out));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            line(0),
            r#"{"_time":"1970-01-01T00:00:00Z","host":"a\"b","n":"-7","f":"2","ok":"true","x":"1.5","y":"q","list":"[1,\"a\"]"}"#
        );
        assert_eq!(line(1), r#"{"_time":"1970-01-01T00:00:01.500Z","f":"NaN"}"#);
        let mut names = Vec::new();
        renderer.for_each_text(1, &mut |name, text| names.push(format!("{name}={text}")));
        assert_eq!(names, ["_time=1970-01-01T00:00:01.500Z", "f=NaN", "empty="]);
    }

    #[test]
    fn a_row_without_any_value_is_no_line() {
        let schema = Schema::new(vec![Field::new("a", arrow_schema::DataType::Utf8, true)]);
        let empty: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![empty]).unwrap();
        let renderer = Renderer::new(&batch).unwrap();
        let mut out = b"before".to_vec();
        assert!(!write_texts(&renderer, 0, &mut out) && !write_texts(&renderer, 1, &mut out));
        assert_eq!(out, b"before");
    }
}
