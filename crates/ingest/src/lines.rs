//! Text lines into the batch: what the parsers of `text` recognise, staged until the whole line is read.

use logmill_model::Level;
use logmill_model::field::Canonical;
use memchr::memchr;

use crate::batch::{BatchBuilder, CanonicalValues, timestamp_of};
use crate::decode::{DecodeOptions, Outcome, Refusal, excerpt};
use crate::defaults::Defaults;
use crate::shape::{NameId, Shapes};
use crate::text::{self, TextFormat, TextState};
use crate::value::Value;
use crate::{FieldSink, RecordErrorCode};

/// Reads text records, keeping its buffers from body to body.
#[derive(Debug, Default)]
pub(crate) struct TextLines {
    staged: Staged,
    defaults: Defaults,
}

/// The fields of one record.
#[derive(Debug, Default)]
struct Staged {
    texts: String,
    timestamp_ns: Option<i64>,
    level: Option<Level>,
    canonical: Vec<(Canonical, u8, NameId, StagedValue)>,
    attributes: Vec<(NameId, StagedValue)>,
}

/// A value that does not borrow.
#[derive(Clone, Copy, Debug)]
enum StagedValue {
    Text { from: usize, to: usize },
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// The staging area as the parsers see it.
struct Sink<'a> {
    staged: &'a mut Staged,
    shapes: &'a mut Shapes,
}

impl TextLines {
    /// Reads all records of a body.
    pub(crate) fn decode(
        &mut self,
        body: &[u8],
        format: TextFormat,
        options: &DecodeOptions<'_>,
        shapes: &mut Shapes,
        batch: &mut BatchBuilder,
        outcome: &mut Outcome,
    ) {
        self.defaults.resolve(options.defaults, shapes);
        let mut state = TextState::default();
        for record in text::split_records(body, format) {
            match self.record(record.text, format, options, &mut state, shapes, batch) {
                Ok(()) => outcome.joined(record.lines.saturating_sub(1)),
                Err(refusal) => outcome.refuse(record.index, refusal),
            }
        }
    }

    fn record(
        &mut self,
        bytes: &[u8],
        format: TextFormat,
        options: &DecodeOptions<'_>,
        state: &mut TextState,
        shapes: &mut Shapes,
        batch: &mut BatchBuilder,
    ) -> Result<(), Refusal> {
        let limit = options.limits.record_max_bytes;
        if bytes.len() > limit {
            return Err(Refusal::too_large(bytes.len(), limit));
        }
        if let Some(offset) = memchr(0, bytes) {
            let message = format!("a NUL byte at byte {offset} of the record");
            return Err(Refusal::new(RecordErrorCode::NulByte, message));
        }
        let text = simdutf8::compat::from_utf8(bytes).map_err(|error| {
            let message = format!("not UTF-8 at byte {} of the record", error.valid_up_to());
            Refusal::new(RecordErrorCode::InvalidUtf8, message)
        })?;
        self.staged.clear();
        shapes.begin_record();
        let mut sink = Sink {
            staged: &mut self.staged,
            shapes,
        };
        text::parse_record(text, format, options.received_at_ns, state, &mut sink)
            .map_err(|error| Refusal::new(error.code, error.message))?;
        self.check(options, shapes)?;
        self.commit(options, shapes, batch)
    }

    fn check(&self, options: &DecodeOptions<'_>, shapes: &Shapes) -> Result<(), Refusal> {
        let limits = options.limits;
        let count = self.staged.attributes.len() + self.staged.canonical.len();
        if count > limits.fields_max {
            let message = format!("{count} fields; the limit is {}", limits.fields_max);
            return Err(Refusal::new(RecordErrorCode::TooManyFields, message));
        }
        for (name, _) in &self.staged.attributes {
            let name = &shapes.name(*name).text;
            if name.is_empty() || name.len() > limits.field_name_max_bytes {
                let message = format!(
                    "the field name {} has {} bytes; a name has 1 to {}",
                    excerpt(name),
                    name.len(),
                    limits.field_name_max_bytes
                );
                return Err(Refusal::new(RecordErrorCode::InvalidFieldName, message));
            }
        }
        Ok(())
    }

    fn commit(
        &self,
        options: &DecodeOptions<'_>,
        shapes: &mut Shapes,
        batch: &mut BatchBuilder,
    ) -> Result<(), Refusal> {
        let staged = &self.staged;
        let mut canonical = CanonicalValues::default();
        let mut losers = Vec::new();
        let (mut timestamp_ns, mut level_value) = (staged.timestamp_ns, None);
        for (kind, priority, name, value) in &staged.canonical {
            let beaten = staged
                .canonical
                .iter()
                .any(|other| other.0 == *kind && other.1 < *priority);
            let value = staged.value(*value);
            match kind {
                _ if beaten => losers.push((*name, value)),
                Canonical::Timestamp if timestamp_ns.is_some() => losers.push((*name, value)),
                Canonical::Timestamp => {
                    timestamp_ns = timestamp_of(&value);
                    // In a line of text a field called `time` may be anything; it is kept as it is.
                    if timestamp_ns.is_none() {
                        losers.push((*name, value));
                    }
                }
                Canonical::Level if staged.level.is_some() => losers.push((*name, value)),
                Canonical::Level => level_value = Some(value),
                _ => canonical.set(*kind, value),
            }
        }
        let attributes = staged
            .attributes
            .iter()
            .map(|(name, value)| (*name, staged.value(*value)));
        for (name, value) in attributes.chain(losers) {
            if shapes.mark_name(name) {
                batch.attribute(name, &value, shapes, options.admit);
            }
        }
        let has_level = staged.level.is_some();
        let present = |kind: Canonical| {
            kind == Canonical::Level && has_level
                || staged.canonical.iter().any(|other| other.0 == kind)
        };
        let default_level = self
            .defaults
            .apply(batch, shapes, options, &mut canonical, &present);
        let level_value = level_value.or(default_level);
        let level = match staged.level {
            Some(level) => Some(level),
            None => batch.level(level_value.as_ref(), shapes, options.admit),
        };
        batch.end_row(
            timestamp_ns.unwrap_or(options.received_at_ns),
            level,
            &canonical,
        );
        Ok(())
    }
}

impl Staged {
    fn clear(&mut self) {
        self.texts.clear();
        self.timestamp_ns = None;
        self.level = None;
        self.canonical.clear();
        self.attributes.clear();
    }

    fn value(&self, value: StagedValue) -> Value<'_> {
        match value {
            StagedValue::Text { from, to } => Value::Str(&self.texts[from..to]),
            StagedValue::Integer(value) => Value::Integer(value),
            StagedValue::Float(value) => Value::Float(value),
            StagedValue::Boolean(value) => Value::Boolean(value),
        }
    }

    fn text(&mut self, text: &str) -> StagedValue {
        let from = self.texts.len();
        self.texts.push_str(text);
        StagedValue::Text {
            from,
            to: self.texts.len(),
        }
    }
}

impl Sink<'_> {
    /// A field under its canonical name wins over every alias.
    fn canonical(&mut self, kind: Canonical, text: &str) {
        let name = self.shapes.name_id(kind.name());
        let value = self.staged.text(text);
        self.staged
            .canonical
            .retain(|other| !(other.0 == kind && other.1 == 0));
        self.staged.canonical.push((kind, 0, name, value));
    }

    fn attribute(&mut self, name: &str, value: StagedValue) {
        let id = self.shapes.name_id(name);
        match self.shapes.name(id).alias {
            Some((kind, priority)) => {
                let taken = self
                    .staged
                    .canonical
                    .iter()
                    .any(|(k, p, ..)| *k == kind && *p == priority);
                // A key that stands twice in a line: the first is the field, what follows is kept in the message
                // of formats that have one.
                if !taken {
                    self.staged.canonical.push((kind, priority, id, value));
                }
            }
            None => self.staged.attributes.push((id, value)),
        }
    }
}

impl FieldSink for Sink<'_> {
    fn timestamp_ns(&mut self, timestamp_ns: i64) {
        self.staged.timestamp_ns = Some(timestamp_ns);
    }

    fn level(&mut self, level: Level) {
        self.staged.level = Some(level);
    }

    fn service(&mut self, service: &str) {
        self.canonical(Canonical::Service, service);
    }

    fn host(&mut self, host: &str) {
        self.canonical(Canonical::Host, host);
    }

    fn message(&mut self, message: &str) {
        self.canonical(Canonical::Message, message);
    }

    fn attribute_str(&mut self, name: &str, value: &str) {
        let value = self.staged.text(value);
        self.attribute(name, value);
    }

    fn attribute_i64(&mut self, name: &str, value: i64) {
        self.attribute(name, StagedValue::Integer(value));
    }

    fn attribute_f64(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.attribute(name, StagedValue::Float(value));
        } else {
            self.attribute_str(name, &value.to_string());
        }
    }

    fn attribute_bool(&mut self, name: &str, value: bool) {
        self.attribute(name, StagedValue::Boolean(value));
    }
}
