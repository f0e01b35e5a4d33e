//! `make fuzz TARGET=logsql`; see `logmill_fuzz::logsql`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| logmill_fuzz::logsql(bytes));
