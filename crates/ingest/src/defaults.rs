//! Attributes that every record of a request gets unless it has its own.

use logmill_model::field::Canonical;

use crate::batch::{BatchBuilder, CanonicalValues};
use crate::decode::DecodeOptions;
use crate::shape::{NameId, Shapes};
use crate::value::Value;

/// The request's defaults, resolved once.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    names: Vec<(NameId, Option<Canonical>)>,
}

impl Defaults {
    pub(crate) fn resolve(&mut self, defaults: &[(String, String)], shapes: &mut Shapes) {
        self.names.clear();
        for (name, _) in defaults {
            let id = shapes.name_id(name);
            self.names
                .push((id, shapes.name(id).alias.map(|(canonical, _)| canonical)));
        }
    }

    /// Gives the record under construction what it lacks; returns the default level if it takes it. A default
    /// timestamp makes no sense and stays an attribute.
    pub(crate) fn apply<'a>(
        &self,
        batch: &mut BatchBuilder,
        shapes: &mut Shapes,
        options: &DecodeOptions<'a>,
        canonical: &mut CanonicalValues<'a>,
        present: &dyn Fn(Canonical) -> bool,
    ) -> Option<Value<'a>> {
        let mut level = None;
        for ((name, kind), (_, value)) in self.names.iter().zip(options.defaults) {
            let value = Value::Str(value);
            match kind {
                Some(Canonical::Level) if !present(Canonical::Level) => level = Some(value),
                Some(Canonical::Level) => {}
                Some(kind) if *kind != Canonical::Timestamp => {
                    if !present(*kind) {
                        canonical.set(*kind, value);
                    }
                }
                _ => {
                    if shapes.mark_name(*name) {
                        batch.attribute(*name, &value, shapes, options.admit);
                    }
                }
            }
        }
        level
    }
}
