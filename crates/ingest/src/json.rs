//! JSON records: NDJSON lines, or the elements of an array.
//!
//! A record is read in two steps. The first walks its tape, resolves names and checks everything that can be wrong;
//! the second puts the values into the columns and cannot fail. So a refused record leaves no trace.

use logmill_model::field::Canonical;
use memchr::{memchr, memchr_iter, memmem};
use simd_json::tape::Node;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Tape};

use crate::batch::{BatchBuilder, CanonicalValues, timestamp_of};
use crate::decode::{DecodeOptions, Outcome, Refusal, excerpt};
use crate::defaults::Defaults;
use crate::shape::{NameId, NodeId, ROOT, Shapes};
use crate::split::array_elements;
use crate::value::Value;
use crate::{RecordErrorCode, Result};

/// Reads JSON records, keeping its buffers from body to body.
#[derive(Default)]
pub(crate) struct JsonRecords {
    buffers: Buffers,
    buffers_depth: usize,
    /// Allocation of the tape between records.
    tape: Vec<Node<'static>>,
    fields: Vec<(NameId, u32)>,
    canonical: Vec<(Canonical, u8, NameId, u32)>,
    /// The record as it was, when reading may have changed it in place.
    original: Vec<u8>,
    defaults: Defaults,
}

impl std::fmt::Debug for JsonRecords {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JsonRecords")
            .finish_non_exhaustive()
    }
}

/// What a record is put into.
struct Target<'a, 'o> {
    options: &'a DecodeOptions<'o>,
    shapes: &'a mut Shapes,
    batch: &'a mut BatchBuilder,
}

impl JsonRecords {
    /// Reads one object or an array of objects.
    pub(crate) fn document(
        &mut self,
        body: &mut Vec<u8>,
        options: &DecodeOptions<'_>,
        shapes: &mut Shapes,
        batch: &mut BatchBuilder,
        outcome: &mut Outcome,
    ) -> Result<()> {
        self.begin(options, shapes);
        let length = body.len();
        body.resize(length + INPUT_PADDING, b' ');
        let start = if body.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let text = body[start..length].trim_ascii_start();
        let first = length - text.len();
        let target = &mut Target {
            options,
            shapes,
            batch,
        };
        if text.first() == Some(&b'[') {
            for (index, element) in (0..).zip(array_elements(&body[..length], first)?) {
                let (from, to) = element;
                if let Err(refusal) = self.record(&mut body[from..], to - from, target) {
                    outcome.refuse(index, refusal);
                }
            }
        } else if !text.is_empty() {
            let to = first + text.trim_ascii_end().len();
            if let Err(refusal) = self.record(&mut body[first..], to - first, target) {
                outcome.refuse(0, refusal);
            }
        }
        Ok(())
    }

    /// Reads a record a line; blank lines are none.
    pub(crate) fn lines(
        &mut self,
        body: &mut Vec<u8>,
        options: &DecodeOptions<'_>,
        shapes: &mut Shapes,
        batch: &mut BatchBuilder,
        outcome: &mut Outcome,
    ) {
        self.begin(options, shapes);
        let length = body.len();
        body.resize(length + INPUT_PADDING, b' ');
        let target = &mut Target {
            options,
            shapes,
            batch,
        };
        let mut from = if body.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let mut index = 0;
        while from < length {
            let end = memchr(b'\n', &body[from..length]).map_or(length, |offset| from + offset);
            let line = body[from..end].trim_ascii_end().len();
            let blank = body[from..from + line].trim_ascii_start().is_empty();
            if !blank {
                if let Err(refusal) = self.record(&mut body[from..], line, target) {
                    outcome.refuse(index, refusal);
                }
                index += 1;
            }
            from = end + 1;
        }
    }

    fn begin(&mut self, options: &DecodeOptions<'_>, shapes: &mut Shapes) {
        let depth = options.limits.depth_max;
        if self.buffers_depth != depth {
            // One level more than allowed is read, so that the walk below can name the field that is too deep.
            self.buffers = Buffers::with_max_depth(4_096, depth + 1);
            self.buffers_depth = depth;
        }
        self.defaults.resolve(options.defaults, shapes);
    }

    /// Reads the record in `bytes[..length]`; at least [`INPUT_PADDING`] bytes follow it.
    fn record(
        &mut self,
        bytes: &mut [u8],
        length: usize,
        target: &mut Target<'_, '_>,
    ) -> Result<(), Refusal> {
        let limits = target.options.limits;
        if length > limits.record_max_bytes {
            return Err(Refusal::too_large(length, limits.record_max_bytes));
        }
        let text = &bytes[..length];
        if let Some(offset) = memchr(0, text) {
            let message = format!("a NUL byte at byte {offset} of the record");
            return Err(Refusal::new(RecordErrorCode::NulByte, message));
        }
        let escapes = memchr(b'\\', text).is_some();
        if escapes {
            if memmem::find_iter(text, b"\\u0000").any(|at| !is_escaped(text, at)) {
                let message = "an escaped NUL character (\\u0000)";
                return Err(Refusal::new(RecordErrorCode::NulByte, message));
            }
            self.original.clear();
            self.original.extend_from_slice(text);
        }
        let mut tape = Tape(std::mem::take(&mut self.tape));
        let parsed = simd_json::fill_tape_padded(bytes, length, &mut self.buffers, &mut tape);
        let read = match parsed {
            Ok(()) => self.take_in(&tape.0, target),
            Err(error) => Err(error),
        };
        self.tape = tape.reset().0;
        match read {
            Ok(outcome) => outcome,
            Err(error) => self.retry(bytes, length, escapes, &error, target),
        }
    }

    /// A record that simd-json refuses may still be good: numbers beyond its range are kept as text.
    #[cold]
    fn retry(
        &mut self,
        bytes: &[u8],
        length: usize,
        escapes: bool,
        error: &simd_json::Error,
        target: &mut Target<'_, '_>,
    ) -> Result<(), Refusal> {
        let text = if escapes {
            std::mem::take(&mut self.original)
        } else {
            bytes[..length].to_vec()
        };
        let quoted = match error.error() {
            ErrorType::InvalidNumber | ErrorType::ExpectedNumber => quote_large_numbers(&text),
            _ => None,
        };
        let Some(mut quoted) = quoted else {
            return Err(malformed(&text, error, target.options.limits.depth_max));
        };
        let length = quoted.len();
        quoted.resize(length + INPUT_PADDING, b' ');
        let mut tape = Tape::null();
        match simd_json::fill_tape_padded(&mut quoted, length, &mut self.buffers, &mut tape) {
            Ok(()) => match self.take_in(&tape.0, target) {
                Ok(outcome) => outcome,
                Err(error) => Err(malformed(&text, &error, target.options.limits.depth_max)),
            },
            Err(error) => Err(malformed(&text, &error, target.options.limits.depth_max)),
        }
    }

    /// Checks a record's tape and puts it into the batch.
    #[inline]
    fn take_in(
        &mut self,
        nodes: &[Node<'_>],
        target: &mut Target<'_, '_>,
    ) -> Result<Result<(), Refusal>, simd_json::Error> {
        let Some(Node::Object { len, .. }) = nodes.first() else {
            let message = "a record is a JSON object";
            return Ok(Err(Refusal::new(RecordErrorCode::NotAnObject, message)));
        };
        self.fields.clear();
        self.canonical.clear();
        target.shapes.begin_record();
        let mut walk = Walk {
            nodes,
            options: target.options,
            shapes: target.shapes,
            fields: &mut self.fields,
            canonical: &mut self.canonical,
            count: 0,
        };
        Ok(match walk.object(ROOT, 1, *len, 1) {
            Ok(_) => self.commit(nodes, target),
            Err(refusal) => Err(refusal),
        })
    }

    /// Resolves the canonical fields and ends the row.
    fn commit(&mut self, nodes: &[Node<'_>], target: &mut Target<'_, '_>) -> Result<(), Refusal> {
        let mut canonical = CanonicalValues::default();
        // Of several aliases of one field the first by priority wins, the others stay attributes.
        let mut timestamp = None;
        let mut level = None;
        for index in 0..self.canonical.len() {
            let (kind, priority, name, node) = self.canonical[index];
            let beaten = self
                .canonical
                .iter()
                .any(|other| other.0 == kind && other.1 < priority);
            let Some(value) = Value::of(nodes, node as usize) else {
                continue;
            };
            match kind {
                _ if beaten => self.fields.push((name, node)),
                Canonical::Timestamp => timestamp = Some(value),
                Canonical::Level => level = Some(value),
                _ => canonical.set(kind, value),
            }
        }
        let timestamp_ns = match &timestamp {
            None => target.options.received_at_ns,
            Some(value) => timestamp_of(value).ok_or_else(|| {
                let mut text = Vec::new();
                value.write_json(&mut text);
                Refusal::timestamp(&excerpt(String::from_utf8_lossy(&text).trim_matches('"')))
            })?,
        };
        let Target {
            options,
            shapes,
            batch,
        } = target;
        for (name, node) in &self.fields {
            if let Some(value) = Value::of(nodes, *node as usize) {
                batch.attribute(*name, &value, shapes, options.admit);
            }
        }
        let present = |kind: Canonical| self.canonical.iter().any(|other| other.0 == kind);
        let default_level = self
            .defaults
            .apply(batch, shapes, options, &mut canonical, &present);
        let level = batch.level(level.or(default_level).as_ref(), shapes, options.admit);
        batch.end_row(timestamp_ns, level, &canonical);
        Ok(())
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first step: names resolved, everything checked.
struct Walk<'a, 'n, 'o> {
    nodes: &'a [Node<'n>],
    options: &'a DecodeOptions<'o>,
    shapes: &'a mut Shapes,
    fields: &'a mut Vec<(NameId, u32)>,
    canonical: &'a mut Vec<(Canonical, u8, NameId, u32)>,
    count: usize,
}

impl Walk<'_, '_, '_> {
    /// Walks the `len` members of an object from `index` on; returns the index after it.
    fn object(
        &mut self,
        parent: NodeId,
        mut index: usize,
        len: usize,
        depth: usize,
    ) -> Result<usize, Refusal> {
        let limits = self.options.limits;
        if depth > limits.depth_max {
            return Err(too_deep(limits.depth_max));
        }
        let mut previous = None;
        for _ in 0..len {
            let Node::String(key) = self.nodes[index] else {
                unreachable!("a tape has a string before each member's value")
            };
            let node = self.shapes.child(parent, previous, key);
            previous = Some(node);
            if !self.shapes.mark_node(node) {
                return Err(duplicate(key));
            }
            let value = index + 1;
            index = match self.nodes[value] {
                Node::Object { len, .. } if len > 0 => {
                    self.object(node, value + 1, len, depth + 1)?
                }
                Node::Object { count, .. } | Node::Array { count, .. } => {
                    self.leaf(node, value)?;
                    value + count + 1
                }
                _ => {
                    self.leaf(node, value)?;
                    value + 1
                }
            };
        }
        Ok(index)
    }

    #[inline]
    fn leaf(&mut self, node: NodeId, value: usize) -> Result<(), Refusal> {
        let limits = self.options.limits;
        let id = self.shapes.node_name(node);
        let name = self.shapes.name(id);
        self.count += 1;
        if self.count > limits.fields_max {
            let message = format!("more than {} fields, the limit", limits.fields_max);
            return Err(Refusal::new(RecordErrorCode::TooManyFields, message));
        }
        if name.text.is_empty() || name.text.len() > limits.field_name_max_bytes {
            let message = format!(
                "the field name {} has {} bytes; a name has 1 to {}",
                excerpt(&name.text),
                name.text.len(),
                limits.field_name_max_bytes
            );
            return Err(Refusal::new(RecordErrorCode::InvalidFieldName, message));
        }
        let alias = name.alias;
        if !self.shapes.mark_name(id) {
            return Err(duplicate(&self.shapes.name(id).text));
        }
        if matches!(self.nodes[value], Node::Static(simd_json::StaticNode::Null)) {
            return Ok(());
        }
        let position = u32::try_from(value).expect("a record has fewer nodes than 2^32 bytes");
        match alias {
            Some((kind, priority)) => self.canonical.push((kind, priority, id, position)),
            None => self.fields.push((id, position)),
        }
        Ok(())
    }
}

fn duplicate(key: &str) -> Refusal {
    let message = format!("the key {} stands twice", excerpt(key));
    Refusal::new(RecordErrorCode::DuplicateKey, message)
}

fn too_deep(limit: usize) -> Refusal {
    let message = format!("nested deeper than {limit} levels, the limit");
    Refusal::new(RecordErrorCode::TooDeep, message)
}

/// Whether the backslash at `at` is itself escaped.
fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at]
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\\')
        .count()
        % 2
        == 1
}

fn malformed(text: &[u8], error: &simd_json::Error, depth_max: usize) -> Refusal {
    if let Err(utf8) = std::str::from_utf8(text) {
        let message = format!("not UTF-8 at byte {} of the record", utf8.valid_up_to());
        return Refusal::new(RecordErrorCode::InvalidUtf8, message);
    }
    if matches!(error.error(), ErrorType::DepthLimitExceeded) {
        return too_deep(depth_max);
    }
    let message = format!(
        "not JSON at byte {} of the record: {:?}",
        error.index(),
        error.error()
    );
    Refusal::new(RecordErrorCode::MalformedJson, message)
}

/// `text` with every number that neither `i64`, `u64` nor a finite `f64` holds put in quotes; `None` when there is
/// none, so that something else is wrong.
fn quote_large_numbers(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let end = string_end(text, at)?;
                out.extend_from_slice(&text[at..end]);
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let is_number =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + text[at..].iter().take_while(|byte| is_number(byte)).count();
                let number = std::str::from_utf8(&text[at..end]).ok()?;
                let integer = number
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'-');
                let fits = if integer {
                    number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
                } else {
                    number.parse::<f64>().is_ok_and(f64::is_finite)
                };
                let valid = number.parse::<f64>().is_ok()
                    && !number.trim_start_matches('-').starts_with("00");
                let quote = valid && !fits;
                quoted |= quote;
                if quote {
                    out.push(b'"');
                }
                out.extend_from_slice(&text[at..end]);
                if quote {
                    out.push(b'"');
                }
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    quoted.then_some(out)
}

/// The index after the string literal that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    memchr_iter(b'"', &text[at + 1..])
        .map(|offset| at + 1 + offset)
        .find(|quote| !is_escaped(text, *quote))
        .map(|quote| quote + 1)
}
