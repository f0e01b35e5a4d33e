//! `make fuzz TARGET=rollup`; see `logmill_fuzz::rollup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::rollup(bytes));
