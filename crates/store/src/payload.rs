//! What the queue carries: one batch of a tenant's records. `docs/payload-format.md` has the byte table.

use std::cell::RefCell;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;

use crate::{Error, Result};

/// Version of the format, the payload's first byte.
const VERSION: u8 = 1;

/// In the place of a batch: a request that everything before it be flushed now.
pub(crate) const FLUSH_REQUEST: &[u8] = &[0];

/// Longest Arrow stream that is decompressed: what a damaged length may ask for.
const STREAM_MAX_BYTES: usize = 1 << 30;

/// A decoded payload.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) tenant: TenantId,
    pub(crate) batch: RecordBatch,
    pub(crate) idempotency: Option<IdempotencyRow>,
}

/// Encodes a batch: a header, then an Arrow IPC stream compressed as one LZ4 block.
pub(crate) fn encode(
    tenant: &TenantId,
    batch: &RecordBatch,
    idempotency: Option<&IdempotencyRow>,
) -> Result<Vec<u8>> {
    thread_local! {
        /// The stream before and after compression; kept, for fresh memory is slow.
        static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    }
    BUFFERS.with(|buffers| {
        let (stream, compressed) = &mut *buffers.borrow_mut();
        stream.clear();
        write_stream(batch, stream)
            .map_err(|error| Error::Internal(format!("encoding a batch: {error}")))?;
        let most = lz4_flex::block::get_maximum_output_size(stream.len());
        if compressed.len() < most {
            compressed.resize(most, 0);
        }
        let written = lz4_flex::block::compress_into(stream, compressed)
            .map_err(|error| Error::Internal(format!("compressing a batch: {error}")))?;
        let mut payload = Vec::with_capacity(HEADER_BYTES + written);
        write_header(&mut payload, tenant, idempotency, stream.len())?;
        payload.extend_from_slice(&compressed[..written]);
        if stream.capacity().max(compressed.capacity()) > KEPT_BYTES_MAX {
            (*stream, *compressed) = (Vec::new(), Vec::new());
        }
        Ok(payload)
    })
}

/// Buffers that are longer than this are given back.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Bytes of a header, about.
const HEADER_BYTES: usize = 128;

fn write_stream(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(out, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

fn write_header(
    out: &mut Vec<u8>,
    tenant: &TenantId,
    idempotency: Option<&IdempotencyRow>,
    stream_bytes: usize,
) -> Result<()> {
    out.push(VERSION);
    out.push(u8::from(idempotency.is_some()));
    write_bytes(out, tenant.as_str().as_bytes())?;
    if let Some(row) = idempotency {
        out.extend_from_slice(&row.received_at_ns.to_le_bytes());
        out.extend_from_slice(&row.fingerprint);
        write_bytes(out, row.key.as_bytes())?;
        write_bytes(out, &row.answer)?;
    }
    write_length(out, stream_bytes)
}

fn write_length(out: &mut Vec<u8>, length: usize) -> Result<()> {
    let length = u32::try_from(length).map_err(|_too_long| {
        Error::Internal(format!("{length} bytes are too many for a payload"))
    })?;
    out.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    write_length(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Whether an entry of the write-ahead log can be replayed; answers how many records it has.
pub fn check_payload(payload: &[u8]) -> Result<u64> {
    Ok(decode(payload)?.batch.num_rows() as u64)
}

/// Whose a payload is, if so much of it can be read.
pub(crate) fn tenant_of(payload: &[u8]) -> Option<String> {
    let mut rest = payload.get(2..)?;
    let tenant: TenantId = text(&mut rest).ok()?.parse().ok()?;
    Some(tenant.to_string())
}

/// Decodes what [`encode`] made; anything else is [`Error::Payload`].
pub(crate) fn decode(payload: &[u8]) -> Result<Payload> {
    let mut rest = payload;
    let version = take::<1>(&mut rest)?[0];
    if version != VERSION {
        return Err(damaged(&format!(
            "format version {version}; this binary reads {VERSION}"
        )));
    }
    let has_key = take::<1>(&mut rest)?[0];
    let tenant: TenantId = text(&mut rest)?
        .parse()
        .map_err(|_invalid| damaged("the tenant's name"))?;
    let idempotency = match has_key {
        0 => None,
        1 => Some(IdempotencyRow {
            tenant: tenant.clone(),
            received_at_ns: i64::from_le_bytes(take(&mut rest)?),
            fingerprint: take(&mut rest)?,
            key: text(&mut rest)?.to_owned(),
            answer: bytes(&mut rest)?.to_vec(),
        }),
        _ => return Err(damaged("the flags")),
    };
    let length = u32::from_le_bytes(take(&mut rest)?) as usize;
    if length > STREAM_MAX_BYTES {
        return Err(damaged(&format!("a stream of {length} bytes")));
    }
    let stream = lz4_flex::block::decompress(rest, length)
        .map_err(|error| damaged(&format!("LZ4: {error}")))?;
    // Arrow's reader panics at some schemas that no writer makes. A damaged entry is to be named, at the start of the
    // process and by the doctor, and not to end it.
    let read = std::panic::catch_unwind(|| read_stream(&stream));
    let read = read.map_err(|_panicked| damaged("Arrow: the schema is not possible"))?;
    let batch = read.map_err(|error| damaged(&format!("Arrow: {error}")))?;
    let batch = batch.ok_or_else(|| damaged("there is not exactly one batch"))?;
    Ok(Payload {
        tenant,
        batch,
        idempotency,
    })
}

/// Whether a stream has all that its messages say they have: Arrow's reader takes the memory before it looks.
fn check_lengths(stream: &[u8]) -> Result<(), ArrowError> {
    let wrong = |what: &str| ArrowError::IpcError(what.to_owned());
    let short = || wrong("a message ends too early");
    let mut rest = stream;
    while let Some((marker, after)) = rest.split_first_chunk::<4>() {
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        if *marker != [0xff; 4] {
            return Err(wrong("a message should begin here"));
        }
        if length == 0 {
            return Ok(());
        }
        let (header, after) = after.split_at_checked(length).ok_or_else(short)?;
        let message =
            arrow_ipc::root_as_message(header).map_err(|error| wrong(&error.to_string()))?;
        let dictionary = message.header_as_dictionary_batch();
        let batch = message
            .header_as_record_batch()
            .or_else(|| dictionary.and_then(|dictionary| dictionary.data()));
        // The stream is compressed as a whole; a compressed buffer would name any length.
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err(wrong("a message is compressed"));
        }
        let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        (_, rest) = after.split_at_checked(body).ok_or_else(short)?;
    }
    Ok(())
}

fn read_stream(stream: &[u8]) -> Result<Option<RecordBatch>, ArrowError> {
    check_lengths(stream)?;
    let mut reader = StreamReader::try_new(stream, None)?;
    let batch = reader.next().transpose()?;
    Ok(if reader.next().is_some() { None } else { batch })
}

fn damaged(detail: &str) -> Error {
    Error::Payload(detail.to_owned())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (found, after) = rest
        .split_first_chunk::<N>()
        .ok_or_else(|| damaged("it ends too early"))?;
    *rest = after;
    Ok(*found)
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (found, after) = rest
        .split_at_checked(length)
        .ok_or_else(|| damaged("it ends too early"))?;
    *rest = after;
    Ok(found)
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes(rest)?).map_err(|_invalid| damaged("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{DictionaryArray, Int64Array, StringArray, TimestampNanosecondArray};
    use arrow_schema::Schema;
    use logmill_schema::ColumnType;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> (TenantId, RecordBatch, IdempotencyRow) {
        let services: DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("b")].into_iter().collect();
        let fields = vec![
            ColumnType::Timestamp.field("timestamp"),
            ColumnType::String.field("service"),
            ColumnType::String.field("message"),
            ColumnType::WideInteger.field("id"),
        ];
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(vec![3, 1, 2]).with_timezone("UTC")),
            Arc::new(services),
            Arc::new(StringArray::from(vec![Some("x"), Some(""), None])),
            Arc::new(Int64Array::from(vec![i64::MAX, 0, -1])),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        let row = IdempotencyRow {
            tenant: tenant.clone(),
            key: "clé".to_owned(),
            fingerprint: [9; 16],
            answer: b"{}".to_vec(),
            received_at_ns: -4,
        };
        (tenant, batch, row)
    }

    #[test]
    fn a_batch_comes_back_with_its_types_and_its_key() {
        let (tenant, batch, row) = sample();
        for key in [None, Some(row)] {
            let decoded = decode(&encode(&tenant, &batch, key.as_ref()).unwrap()).unwrap();
            assert_eq!(
                (decoded.tenant, decoded.batch),
                (tenant.clone(), batch.clone())
            );
            assert_eq!(decoded.idempotency, key);
        }
    }

    #[test]
    fn a_schema_that_makes_arrow_panic_is_an_error() {
        let (tenant, batch, _) = sample();
        let mut stream = Vec::new();
        write_stream(&batch, &mut stream).unwrap();
        let mut payload = Vec::new();
        write_header(&mut payload, &tenant, None, stream.len()).unwrap();
        let header = payload.len();
        let mut refused = 0;
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 0x10;
            payload.truncate(header);
            payload.extend_from_slice(&lz4_flex::block::compress(&changed));
            refused += usize::from(check_payload(&payload).is_err());
        }
        assert!(refused > 100, "{refused}");
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_a_batch_and_never_a_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let (tenant, batch, row) = sample();
            let mut payload = encode(&tenant, &batch, Some(&row)).unwrap();
            // The log's checksum guards the body; here the header is what may be anything.
            for (index, byte) in changes {
                let at = index.index(60);
                payload[at] = byte;
            }
            let _ = decode(&payload);
            payload.truncate(cut.index(60));
            prop_assert!(decode(&payload).is_err());
        }
    }
}
