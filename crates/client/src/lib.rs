//! The command line client side.
