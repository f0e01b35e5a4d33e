//! The store as its users see it: what is appended is found, once, whatever happens.

mod crash;
mod harness;
mod life;
