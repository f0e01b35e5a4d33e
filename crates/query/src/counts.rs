//! Counts over time answered from the segments' rollups: see ARCHITECTURE.md, "Counts without rows".
//!
//! A rule of the optimiser ([`CountsFromRollups`]) recognises a count grouped by what a rollup's cell tells apart, and has
//! it add up cells ([`CountsTable`]) instead of counting rows.

mod cells;
mod rule;
mod table;

pub(crate) use cells::Cells;
pub(crate) use rule::CountsFromRollups;
pub(crate) use table::CountsTable;
