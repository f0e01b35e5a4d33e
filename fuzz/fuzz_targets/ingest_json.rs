//! `make fuzz TARGET=ingest_json`; see `logmill_fuzz::ingest_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::ingest_json(bytes));
