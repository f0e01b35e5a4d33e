//! Column types, the canonical schema, and how Arrow batches of different schemas become one.
//!
//! A tenant's attributes are typed by their values, batch by batch. This crate is the one place that knows
//! what happens when types meet: [`ColumnType::join`] is the lattice, [`TableSchema`] the union of schemas,
//! [`adapt()`] brings a batch to a schema without losing a value.

mod adapt;
mod column_type;
mod hash;
mod table;

pub use adapt::{AdaptError, adapt, concat, promote};
pub use column_type::{ColumnType, WIDE_METADATA_KEY};
pub use hash::record_hashes;
pub use table::TableSchema;
