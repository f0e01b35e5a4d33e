//! JSON in values: flattening objects into fields, taking arrays apart, writing both.
//!
//! Numbers and arrays keep the digits they were written with, so texts are scanned and no tree is built.

use std::borrow::Cow;

use super::quoted::unquote_prefix;

/// How deep values may be nested; deeper ones are taken for no JSON.
const MAX_DEPTH: usize = 128;

/// A field of an object: its name and its value as text.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The fields of a JSON object: nested objects become names with dots, strings their text, arrays and all else compact
/// JSON; `null` is left out, and an empty name is `_msg`. `None` when the text is no JSON object.
pub fn flatten(text: &str) -> Option<Vec<Field<'_>>> {
    let mut scanner = Scanner::new(text);
    let mut fields = Vec::new();
    scanner.skip_blanks();
    if scanner.peek()? != b'{' {
        return None;
    }
    scanner.object(&mut String::new(), &mut fields, 0)?;
    scanner.at_end().then_some(fields)
}

/// The items of a JSON array: strings as their text, others as compact JSON. `None` when the text is no JSON array.
pub fn array_items(text: &str) -> Option<Vec<Cow<'_, str>>> {
    // Most values are no arrays.
    if !text.starts_with('[') {
        return None;
    }
    let mut scanner = Scanner::new(text);
    let mut items = Vec::new();
    scanner.list(b']', |scanner| {
        items.push(scanner.value_text(0)?);
        Some(())
    })?;
    scanner.at_end().then_some(items)
}

/// Appends a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    logmill_model::json::write_string(text, &mut bytes);
    *out = String::from_utf8(bytes).expect("escaping keeps UTF-8");
}

/// Appends a JSON object of the fields that have a value.
pub fn write_object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut String) {
    out.push('{');
    let mut separator = "";
    for (name, value) in fields {
        if !value.is_empty() {
            out.push_str(separator);
            write_string(name, out);
            out.push(':');
            write_string(value, out);
            separator = ",";
        }
    }
    out.push('}');
}

/// Appends a JSON array of strings.
pub fn write_array<T: AsRef<str>>(items: impl IntoIterator<Item = T>, out: &mut String) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(item.as_ref(), out);
    }
    out.push(']');
}

/// Reads JSON (RFC 8259) from left to right; every method gives `None` where the text is none.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// What is between an opening bracket, at which the scanner stands, and its `close`, separated by commas.
    fn list(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.skip_blanks();
        if self.expect(close).is_some() {
            return Some(());
        }
        loop {
            self.skip_blanks();
            item(self)?;
            self.skip_blanks();
            if self.expect(close).is_some() {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        if self.peek()? != b'"' {
            return None;
        }
        let (string, length) = unquote_prefix(&self.text[self.at..])?;
        self.at += length;
        Some(string)
    }

    fn name(&mut self) -> Option<Cow<'a, str>> {
        let name = self.string()?;
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        Some(name)
    }

    /// The fields of the object at which the scanner stands, their names after `prefix`, which is the same afterwards.
    fn object(
        &mut self,
        prefix: &mut String,
        fields: &mut Vec<Field<'a>>,
        depth: usize,
    ) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        self.list(b'}', |scanner| {
            let name = scanner.name()?;
            match scanner.peek()? {
                b'{' => {
                    let length = prefix.len();
                    prefix.push_str(&name);
                    prefix.push('.');
                    scanner.object(prefix, fields, depth + 1)?;
                    prefix.truncate(length);
                }
                b'n' => scanner.word("null")?,
                _ => {
                    let value = scanner.value_text(depth)?;
                    fields.push((qualified(prefix, name), value));
                }
            }
            Some(())
        })
    }

    /// The value at which the scanner stands: a string's text, else compact JSON.
    fn value_text(&mut self, depth: usize) -> Option<Cow<'a, str>> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let start = self.at;
        self.skip_value(depth)?;
        Some(compact(&self.text[start..self.at]))
    }

    fn skip_value(&mut self, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.list(b'}', |scanner| {
                scanner.name()?;
                scanner.skip_value(depth + 1)
            }),
            b'[' => self.list(b']', |scanner| scanner.skip_value(depth + 1)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..]
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.expect(b'-');
        let leading_zero = self.peek()? == b'0';
        let digits = self.digits();
        if digits == 0 || (leading_zero && digits > 1) {
            return None;
        }
        if self.expect(b'.').is_some() && self.digits() == 0 {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return None;
            }
        }
        Some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }
}

fn qualified<'a>(prefix: &str, name: Cow<'a, str>) -> Cow<'a, str> {
    if !prefix.is_empty() {
        Cow::Owned(format!("{prefix}{name}"))
    } else if name.is_empty() {
        Cow::Borrowed("_msg")
    } else {
        name
    }
}

/// JSON without the blanks between its parts.
fn compact(json: &str) -> Cow<'_, str> {
    let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if !json.bytes().any(blank) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find([' ', '\t', '\n', '\r', '"']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('"') {
            let length = unquote_prefix(rest).map_or(rest.len(), |(_, length)| length);
            out.push_str(&rest[..length]);
            length
        } else {
            1
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flat(text: &str) -> Option<String> {
        let fields = flatten(text)?;
        let pairs: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(pairs.join("|"))
    }

    #[test]
    fn objects_are_flattened() {
        for (text, expected) in [
            (r#"{"a":"x","b":1}"#, "a=x|b=1"),
            (
                r#" { "a" : { "b" : { "c" : true } , "d" : null } } "#,
                "a.b.c=true",
            ),
            (
                r#"{"n":1.50,"big":12345678901234567890,"e":1E5}"#,
                "n=1.50|big=12345678901234567890|e=1E5",
            ),
            (r#"{"l":[1, "a b", {"x": [ ]}]}"#, r#"l=[1,"a b",{"x":[]}]"#),
            (r#"{"":"m","q\"":"\u00e9\n"}"#, "_msg=m|q\"=é\n"),
            (r#"{"a":{},"b":[],"c":""}"#, "b=[]|c="),
            ("{}", ""),
        ] {
            assert_eq!(flat(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "x",
            "[]",
            "1",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":tru}"#,
            r#"{"a":1} x"#,
            r#"{'a':1}"#,
            r#"{"a":`x`}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
        ] {
            assert_eq!(flat(text), None, "{text}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        assert_eq!(flatten(&deep), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000));
        assert_eq!(flatten(&deep), None);
    }

    #[test]
    fn arrays_are_taken_apart() {
        assert_eq!(
            array_items(r#"["a", 1.0, {"b": "c d"}, null, [1, 2]] "#).unwrap(),
            ["a", "1.0", r#"{"b":"c d"}"#, "null", "[1,2]"]
        );
        assert_eq!(array_items("[]"), Some(Vec::new()));
        for text in ["", "{}", "[", "[1", "[1,]", "x", "[1] x"] {
            assert_eq!(array_items(text), None, "{text}");
        }
    }

    #[test]
    fn objects_and_arrays_are_written() {
        let mut out = String::from("> ");
        write_object([("a", "1"), ("empty", ""), ("b\"", "x\ny")], &mut out);
        assert_eq!(out, r#"> {"a":"1","b\"":"x\ny"}"#);
        let mut out = String::new();
        write_array(["a", "", "\""], &mut out);
        assert_eq!(out, r#"["a","","\""]"#);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c\"é]{1,2}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn naive(value: &serde_json::Value, prefix: &str, fields: &mut Vec<(String, String)>) {
        use serde_json::Value;
        for (name, value) in value.as_object().into_iter().flatten() {
            let name = format!("{prefix}{name}");
            match value {
                Value::Null => {}
                Value::Object(_) => naive(value, &format!("{name}."), fields),
                Value::String(text) => fields.push((name, text.clone())),
                other => fields.push((name, other.to_string())),
            }
        }
    }

    proptest! {
        #[test]
        fn flattening_agrees_with_a_tree(value in json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let fields = flatten(&text).map(|fields| {
                    fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect::<Vec<_>>()
                });
                let mut expected = Vec::new();
                naive(&value, "", &mut expected);
                prop_assert_eq!(fields, value.is_object().then_some(expected));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[{\\[][\\[\\]{}:,\"a1 .\\\\e-]{0,12}") {
            let _ = flatten(&text);
            let _ = array_items(&text);
        }
    }
}
