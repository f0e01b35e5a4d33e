//! Entries of the write-ahead log.

use logmill_store::check_payload;

use crate::Input;

/// A payload as it is, or any bytes as the Arrow stream of one.
pub fn payload(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if !input.sealed() {
        let _ = check_payload(input.rest());
        return;
    }
    let stream = input.rest();
    // Format 1, no idempotency key, tenant `a`; `docs/payload-format.md`.
    let mut payload = vec![1, 0, 1, 0, 0, 0, b'a'];
    payload.extend_from_slice(&(stream.len() as u32).to_le_bytes());
    payload.extend_from_slice(&lz4_flex::block::compress(stream));
    let _ = check_payload(&payload);
}
