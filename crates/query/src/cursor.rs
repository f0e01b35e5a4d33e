//! Cursors: where a page ended, sealed.
//!
//! A cursor is base64url of: version (1 byte), order (1), range start and end, timestamp (8 bytes each), hash (16),
//! ordinal (4), fingerprint of the query (8), all little-endian, then the first 16 bytes of a keyed BLAKE3 of all that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use logmill_model::TimeRange;
use logmill_query_api::{Error, LogQuery, Order, Result};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
const BODY: usize = 54;
const SEAL: usize = 16;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The range of the first page: a relative one must not move from page to page.
    pub(crate) range: TimeRange,
    /// The last record's time.
    pub(crate) timestamp_ns: i64,
    /// Among the records of that time, ordered by content hash: the last one's hash.
    pub(crate) hash: u128,
    /// How many records of that time and hash were given.
    pub(crate) given: u32,
}

impl Cursor {
    /// The end of all records of a time.
    pub(crate) fn after(range: TimeRange, timestamp_ns: i64) -> Self {
        Self {
            range,
            timestamp_ns,
            hash: u128::MAX,
            given: u32::MAX,
        }
    }

    /// The cursor as its holder gets it.
    pub(crate) fn seal(&self, query: &LogQuery, key: &[u8; 32]) -> String {
        let mut bytes = Vec::with_capacity(BODY + SEAL);
        bytes.push(VERSION);
        bytes.push(order_byte(query.order));
        bytes.extend_from_slice(&self.range.start_ns.to_le_bytes());
        bytes.extend_from_slice(&self.range.end_ns.to_le_bytes());
        bytes.extend_from_slice(&self.timestamp_ns.to_le_bytes());
        bytes.extend_from_slice(&self.hash.to_le_bytes());
        bytes.extend_from_slice(&self.given.to_le_bytes());
        bytes.extend_from_slice(&fingerprint(query).to_le_bytes());
        debug_assert_eq!(bytes.len(), BODY);
        bytes.extend_from_slice(&seal_of(&bytes, key));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor back; anything but what [`Cursor::seal`] gave for this query is refused.
    pub(crate) fn open(text: &str, query: &LogQuery, key: &[u8; 32]) -> Result<Self> {
        let invalid = |message: &str| Error::Invalid {
            code: "invalid_cursor",
            message: format!("{message}: pass next_cursor of the page before, with the same query"),
        };
        let forged = || invalid("this is not a cursor of ours");
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_undecodable| forged())?;
        let (body, seal) = bytes.split_first_chunk::<BODY>().ok_or_else(forged)?;
        let expected = blake3::Hash::from_bytes(widen(seal_of(body, key)));
        let found: [u8; SEAL] = seal.try_into().map_err(|_wrong_length| forged())?;
        // Comparison of hashes takes constant time.
        if expected != blake3::Hash::from_bytes(widen(found)) || body[0] != VERSION {
            return Err(forged());
        }
        let cursor = Self {
            range: TimeRange {
                start_ns: i64_at(body, 2),
                end_ns: i64_at(body, 10),
            },
            timestamp_ns: i64_at(body, 18),
            hash: u128::from_le_bytes(array(body, 26)),
            given: u32::from_le_bytes(array(body, 42)),
        };
        let same = body[1] == order_byte(query.order)
            && u64::from_le_bytes(array(body, 46)) == fingerprint(query);
        if same {
            Ok(cursor)
        } else {
            Err(invalid("the cursor belongs to another query"))
        }
    }
}

fn order_byte(order: Order) -> u8 {
    match order {
        Order::Desc => 0,
        Order::Asc => 1,
    }
}

/// What makes a query another one; the range is in the cursor, fields and limit may change from page to page.
fn fingerprint(query: &LogQuery) -> u64 {
    let selection = &query.selection;
    let parts = (
        selection.tenant.as_str(),
        &selection.text,
        &selection.filters,
        &selection.logsql,
    );
    xxh3_64(format!("{parts:?}").as_bytes())
}

fn seal_of(body: &[u8], key: &[u8; 32]) -> [u8; SEAL] {
    array(blake3::keyed_hash(key, body).as_bytes(), 0)
}

fn widen(seal: [u8; SEAL]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[..SEAL].copy_from_slice(&seal);
    wide
}

fn i64_at(bytes: &[u8], offset: usize) -> i64 {
    i64::from_le_bytes(array(bytes, offset))
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut found = [0; N];
    found.copy_from_slice(&bytes[offset..offset + N]);
    found
}

#[cfg(test)]
mod tests {
    use logmill_model::TenantId;
    use logmill_query_api::Selection;

    use super::*;

    fn query() -> LogQuery {
        LogQuery {
            selection: Selection::all(TenantId::default_tenant(), TimeRange::ALL),
            fields: None,
            order: Order::Desc,
            limit: 10,
            cursor: None,
            timeout_ms: None,
        }
    }

    #[test]
    fn only_what_was_sealed_is_opened() {
        let range = TimeRange {
            start_ns: -5,
            end_ns: 7,
        };
        let cursor = Cursor {
            range,
            timestamp_ns: 3,
            hash: u128::MAX / 3,
            given: 9,
        };
        let key = [7; 32];
        let sealed = cursor.seal(&query(), &key);
        assert_eq!(Cursor::open(&sealed, &query(), &key).unwrap(), cursor);
        let refused = |text: &str, query: &LogQuery, key: &[u8; 32]| {
            assert_eq!(
                Cursor::open(text, query, key).unwrap_err().code(),
                "invalid_cursor"
            );
        };
        refused(&sealed, &query(), &[8; 32]);
        refused(
            &sealed,
            &LogQuery {
                order: Order::Asc,
                ..query()
            },
            &key,
        );
        refused(
            &sealed,
            &LogQuery {
                selection: Selection::all("other".parse().unwrap(), TimeRange::ALL),
                ..query()
            },
            &key,
        );
        for text in ["", "A", "*", &sealed[1..], &format!("{sealed}AAAA")] {
            refused(text, &query(), &key);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            refused(&URL_SAFE_NO_PAD.encode(changed), &query(), &key);
        }
    }
}
