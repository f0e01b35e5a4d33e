//! `make fuzz TARGET=wal`; see `logmill_fuzz::wal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::wal(bytes));
