//! `make fuzz TARGET=ingest_text`; see `logmill_fuzz::ingest_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::ingest_text(bytes));
