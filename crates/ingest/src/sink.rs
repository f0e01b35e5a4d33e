//! The seam between the parsers of text lines and the columns under construction.

use logmill_model::Level;

/// Takes the fields of the record that is being built. Parsers of text push what they recognise; the columns
/// under construction implement it, and so can a test.
///
/// `attribute_*` names go through the alias table like JSON keys do.
pub trait FieldSink {
    /// The time of the event.
    fn timestamp_ns(&mut self, timestamp_ns: i64);
    /// The severity.
    fn level(&mut self, level: Level);
    /// The service.
    fn service(&mut self, service: &str);
    /// The machine.
    fn host(&mut self, host: &str);
    /// The text.
    fn message(&mut self, message: &str);
    /// An attribute whose value is text.
    fn attribute_str(&mut self, name: &str, value: &str);
    /// An attribute whose value is an integer.
    fn attribute_i64(&mut self, name: &str, value: i64);
    /// An attribute whose value is a float.
    fn attribute_f64(&mut self, name: &str, value: f64);
    /// An attribute whose value is true or false.
    fn attribute_bool(&mut self, name: &str, value: bool);
}
