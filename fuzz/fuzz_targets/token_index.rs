//! `make fuzz TARGET=token_index`; see `logmill_fuzz::token_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::token_index(bytes));
