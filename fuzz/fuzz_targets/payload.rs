//! `make fuzz TARGET=payload`; see `logmill_fuzz::payload`.
#![no_main]

// libFuzzer's hook would end the process at panics of libraries that are caught and become errors.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| logmill_fuzz::payload(bytes));
