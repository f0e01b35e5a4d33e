//! `make fuzz TARGET=decompress`; see `logmill_fuzz::decompress`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::decompress(bytes));
