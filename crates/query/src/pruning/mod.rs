//! What can be left out before anything is read: segments and granules outside the asked range of time, and granules
//! that the token index says cannot hold a match.
//!
//! Invariant: pruning never hides a match. What it does not understand, it keeps; the engine checks every row that is
//! left.

mod condition;
mod like;
mod look_up;
mod pieces;
mod regex;
mod time;

pub(crate) use condition::{Condition, condition};
pub(crate) use look_up::granules;
pub(crate) use time::{is_of_time_alone, time_range};
