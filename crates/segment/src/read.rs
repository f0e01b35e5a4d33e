//! A segment to record batches: all of it, for checks and tests. Queries read through their engine.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Error, GRANULE_ROWS, Result};

/// Decodes every row of a segment, a granule a batch.
pub fn decode(bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .and_then(|builder| builder.with_batch_size(GRANULE_ROWS).build())
        .map_err(|source| Error::Parquet {
            operation: "reading the footer",
            source,
        })?;
    let batches: Result<Vec<_>, _> = reader.collect();
    batches.map_err(|source| Error::Arrow {
        operation: "decoding",
        source,
    })
}
