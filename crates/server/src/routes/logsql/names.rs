//! Which fields of a record are its time and its message, where a request says so.

use logmill_model::field;
use serde_json::{Map, Value};

/// Names of fields, `a.b` for one inside an object; of several, the first that a record has.
#[derive(Debug)]
pub(super) struct FieldNames {
    pub(super) time: Vec<String>,
    pub(super) message: Vec<String>,
    /// Left out; `a.*` for all that begin so.
    pub(super) ignored: Vec<String>,
}

impl FieldNames {
    /// Whether nothing is to be done: the decoder knows the names of VictoriaLogs itself.
    pub(super) fn is_default(&self) -> bool {
        self.ignored.is_empty()
            && matches!(self.time.as_slice(), [] | [_] if self.time.iter().all(|name| name == "_time"))
            && matches!(self.message.as_slice(), [] | [_] if self.message.iter().all(|name| name == "_msg"))
    }

    /// The lines of a body with the fields under the names that the decoder knows. A line that is no object stays as it
    /// is: the decoder says what is wrong with it.
    pub(super) fn renamed(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + body.len() / 8);
        for line in body.split(|byte| *byte == b'\n') {
            match serde_json::from_slice::<Map<String, Value>>(line) {
                Ok(mut record) => {
                    self.rename(&mut record);
                    // A map of JSON values is always written.
                    let _ = serde_json::to_writer(&mut out, &record);
                }
                Err(_) => out.extend_from_slice(line),
            }
            out.push(b'\n');
        }
        out
    }

    fn rename(&self, record: &mut Map<String, Value>) {
        for name in &self.ignored {
            match name.strip_suffix('*') {
                Some(prefix) => remove_prefixed(record, prefix),
                None => drop(remove(record, name)),
            }
        }
        become_field(record, &self.time, field::TIMESTAMP);
        become_field(record, &self.message, field::MESSAGE);
    }
}

/// Moves the first of `names` that has a value to `target`. Another field that has this name gets a longer one.
fn become_field(record: &mut Map<String, Value>, names: &[String], target: &str) {
    for name in names {
        let Some(value) = remove(record, name) else {
            continue;
        };
        if matches!(&value, Value::Null) || value.as_str() == Some("") {
            continue;
        }
        if let Some(other) = record.shift_remove(target) {
            record.insert(format!("original.{target}"), other);
        }
        record.insert(target.to_owned(), value);
        return;
    }
}

/// Takes a field out: under its whole name, or inside objects; one that has nothing left goes too.
fn remove(record: &mut Map<String, Value>, name: &str) -> Option<Value> {
    if let Some(value) = record.shift_remove(name) {
        return Some(value);
    }
    for (dot, _) in name.match_indices('.') {
        let (outer, rest) = (name.get(..dot)?, name.get(dot + 1..)?);
        let Some(Value::Object(inner)) = record.get_mut(outer) else {
            continue;
        };
        if let Some(value) = remove(inner, rest) {
            if inner.is_empty() {
                record.shift_remove(outer);
            }
            return Some(value);
        }
    }
    None
}

/// Takes all fields out whose (dotted) name begins with `prefix`.
fn remove_prefixed(record: &mut Map<String, Value>, prefix: &str) {
    record.retain(|name, value| {
        if name.starts_with(prefix) {
            return false;
        }
        let inside = prefix
            .strip_prefix(name.as_str())
            .and_then(|rest| rest.strip_prefix('.'));
        if let (Some(rest), Value::Object(inner)) = (inside, value) {
            remove_prefixed(inner, rest);
            return !inner.is_empty();
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(time: &[&str], message: &[&str], ignored: &[&str]) -> FieldNames {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        FieldNames {
            time: owned(time),
            message: owned(message),
            ignored: owned(ignored),
        }
    }

    #[track_caller]
    fn check(names: &FieldNames, body: &str, expected: &str) {
        let renamed = String::from_utf8(names.renamed(body.as_bytes())).unwrap();
        assert_eq!(renamed, format!("{expected}\n"));
    }

    #[test]
    fn named_fields_become_time_and_message() {
        let both = names(&["date", "t"], &["log.text", "text"], &[]);
        check(
            &both,
            "{\"t\":1,\"log\":{\"text\":\"a\",\"x\":2}}\n{\"date\":\"\",\"t\":3,\"text\":\"b\"}\nnot json\n",
            "{\"log\":{\"x\":2},\"timestamp\":1,\"message\":\"a\"}\n{\"timestamp\":3,\"message\":\"b\"}\nnot json\n",
        );
        check(
            &names(&["date"], &["log.text"], &[]),
            r#"{"timestamp":1,"date":2,"log.text":"a","message":"b"}"#,
            r#"{"original.timestamp":1,"timestamp":2,"original.message":"b","message":"a"}"#,
        );
        check(&both, r#"{"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn ignored_fields_are_left_out() {
        let ignoring = names(&[], &[], &["a", "b.c", "d.e*", "f*"]);
        check(
            &ignoring,
            r#"{"a":1,"b":{"c":2,"x":3},"d":{"e":4,"ee":5,"g":6},"d.e.h":7,"fg":8,"z":9}"#,
            r#"{"b":{"x":3},"d":{"g":6},"z":9}"#,
        );
    }

    #[test]
    fn the_names_of_victorialogs_need_nothing() {
        assert!(names(&[], &[], &[]).is_default());
        assert!(names(&["_time"], &["_msg"], &[]).is_default());
        assert!(!names(&["ts"], &[], &[]).is_default());
        assert!(!names(&["_time", "ts"], &[], &[]).is_default());
        assert!(!names(&[], &[], &["x"]).is_default());
    }
}
