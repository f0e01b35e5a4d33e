//! `make fuzz TARGET=payload`; see `logmill_fuzz::payload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::payload(bytes));
