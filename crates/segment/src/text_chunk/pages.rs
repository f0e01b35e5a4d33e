//! Pages of a column chunk: compressed, one after the other, with what the footer says of them.

use std::io::Read;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

type Result<T, E = ParquetError> = std::result::Result<T, E>;

/// A page of data before it is compressed.
pub(super) struct DataPage<'a> {
    pub(super) rows: usize,
    pub(super) nulls: usize,
    /// Definition levels.
    pub(super) levels: &'a [u8],
    pub(super) values: &'a [u8],
    pub(super) encoding: Encoding,
    /// Bytes of the texts alone.
    pub(super) text_bytes: usize,
}

/// Compresses pages; keeps its buffer.
pub(super) struct PageCompressor {
    zstd: Compressor<'static>,
    named: Compression,
    compressed: Vec<u8>,
}

impl PageCompressor {
    pub(super) fn new(level: i32) -> Result<Self> {
        Ok(Self {
            named: Compression::ZSTD(ZstdLevel::try_new(level)?),
            zstd: Compressor::new(level)?,
            compressed: Vec::new(),
        })
    }

    fn compress(&mut self, bytes: &[u8]) -> Result<&[u8]> {
        self.compressed.clear();
        self.compressed.reserve(compress_bound(bytes.len()));
        self.zstd.compress_to_buffer(bytes, &mut self.compressed)?;
        Ok(&self.compressed)
    }
}

/// A column chunk under construction.
pub(super) struct Pages<'a> {
    sink: TrackedWrite<&'a mut Vec<u8>>,
    compressor: &'a mut PageCompressor,
    offsets: OffsetIndexBuilder,
    encodings: Vec<Encoding>,
    dictionary_offset: Option<i64>,
    data_offset: Option<i64>,
    uncompressed: usize,
    rows: usize,
}

impl<'a> Pages<'a> {
    /// A chunk that is written to `out`, which is cleared first.
    pub(super) fn new(out: &'a mut Vec<u8>, compressor: &'a mut PageCompressor) -> Self {
        out.clear();
        Self {
            sink: TrackedWrite::new(out),
            compressor,
            offsets: OffsetIndexBuilder::new(),
            encodings: vec![Encoding::RLE],
            dictionary_offset: None,
            data_offset: None,
            uncompressed: 0,
            rows: 0,
        }
    }

    /// The dictionary, before all pages of data.
    pub(super) fn dictionary(&mut self, values: &[u8], count: usize) -> Result<()> {
        let compressed = self.compressor.compress(values)?;
        let page = Page::DictionaryPage {
            buf: Bytes::copy_from_slice(compressed),
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: true,
        };
        self.write(CompressedPage::new(page, values.len()), Encoding::PLAIN)
    }

    /// The next page of data.
    pub(super) fn data(&mut self, page: &DataPage<'_>) -> Result<()> {
        let levels = page.levels.len();
        let compressed = self.compressor.compress(page.values)?;
        let is_compressed = compressed.len() < page.values.len();
        let values = if is_compressed {
            compressed
        } else {
            page.values
        };
        let bytes = [page.levels, values].concat();
        self.rows += page.rows;
        self.offsets.append_row_count(page.rows as i64);
        self.offsets
            .append_unencoded_byte_array_data_bytes(Some(page.text_bytes as i64));
        let encoded = Page::DataPageV2 {
            buf: Bytes::from(bytes),
            num_values: page.rows as u32,
            encoding: page.encoding,
            num_nulls: page.nulls as u32,
            num_rows: page.rows as u32,
            def_levels_byte_len: levels as u32,
            rep_levels_byte_len: 0,
            is_compressed,
            statistics: None,
        };
        let encoded = CompressedPage::new(encoded, levels + page.values.len());
        self.write(encoded, page.encoding)
    }

    fn write(&mut self, page: CompressedPage, encoding: Encoding) -> Result<()> {
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.uncompressed += written.uncompressed_size;
        let offset = written.offset as i64;
        if written.page_type == PageType::DICTIONARY_PAGE {
            self.dictionary_offset = Some(offset);
        } else {
            self.data_offset.get_or_insert(offset);
            self.offsets
                .append_offset_and_size(offset, written.compressed_size as i32);
        }
        Ok(())
    }

    /// Ends the chunk; what the footer will say of it.
    pub(super) fn close(
        self,
        column: ColumnDescPtr,
        statistics: Statistics,
    ) -> Result<ColumnCloseResult> {
        let bytes = self.sink.into_inner()?;
        let metadata = ColumnChunkMetaData::builder(column)
            .set_compression(self.compressor.named)
            .set_encodings(self.encodings)
            .set_num_values(self.rows as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .set_dictionary_page_offset(self.dictionary_offset)
            .set_data_page_offset(self.data_offset.unwrap_or(0))
            .set_statistics(statistics)
            .build()?;
        Ok(ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.offsets.build()),
        })
    }
}

/// A chunk's bytes, to be appended to a row group.
pub(crate) struct ChunkBytes<'a>(pub(super) &'a [u8]);

impl Length for ChunkBytes<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl<'a> ChunkReader for ChunkBytes<'a> {
    type T = &'a [u8];

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let start = usize::try_from(start).ok();
        start
            .and_then(|start| self.0.get(start..))
            .ok_or_else(|| ParquetError::EOF("a chunk ends before it".to_owned()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }
}
