//! A page's bytes to Arrow arrays.

use std::cell::RefCell;
use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringViewArray, UInt32Array,
    new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use zstd::bulk::Decompressor;

use super::header::{Data, Header, Kind};
use super::unpack::{self, VALUES_MAX};

/// Why a page cannot be read.
pub(super) type Fault = String;

type Result<T> = std::result::Result<T, Fault>;

// Parquet's numbers of encodings.
const PLAIN: usize = 0;
const PLAIN_DICTIONARY: usize = 2;
const RLE: usize = 3;
const DELTA_BINARY_PACKED: usize = 5;
const DELTA_LENGTH_BYTE_ARRAY: usize = 6;
const RLE_DICTIONARY: usize = 8;

/// The values of a page, one for each of its rows.
#[derive(Clone, Debug)]
pub enum Page {
    /// The values themselves.
    Values(ArrayRef),
    /// Their places in the chunk's dictionary.
    Keys(UInt32Array),
    /// No row has one.
    Nulls(usize),
}

impl Page {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Keys(keys) => keys.len(),
            Self::Nulls(rows) => *rows,
        }
    }
}

/// What the values of a column are, as pages have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Text,
    Integer,
    Float,
    Boolean,
    /// A time in so many nanoseconds.
    Time(i64),
}

impl Values {
    /// Their type in memory.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        }
    }

    /// The values of a dictionary page.
    pub(super) fn dictionary(self, bytes: &[u8]) -> Result<ArrayRef> {
        let (header, body) = split(bytes)?;
        let Kind::Dictionary { values } = header.kind else {
            return Err("it is no dictionary".to_owned());
        };
        let plain = decompressed(body, header.plain_bytes)?;
        self.plain(plain, values, None)
    }

    /// The values of a page of data of so many rows, of a column that all rows have a value of unless it is `nullable`.
    pub(super) fn page(self, bytes: &[u8], rows: usize, nullable: bool) -> Result<Page> {
        let (header, body) = split(bytes)?;
        let there = match header.kind {
            Kind::Dictionary { .. } => return Err("it is no page of data".to_owned()),
            Kind::Data(Data { rows, .. }) | Kind::OldData { rows, .. } => rows,
        };
        if there != rows {
            return Err(format!("it has {there} rows, and not {rows}"));
        }
        let PlainData {
            encoding,
            nulls,
            values,
        } = match header.kind {
            Kind::Data(data) if data.nulls < rows => {
                PlainData::of(&data, body, header.plain_bytes)?
            }
            Kind::OldData { encoding, .. } => {
                PlainData::of_old(rows, encoding, body, header.plain_bytes, nullable)?
            }
            _ => return Ok(Page::Nulls(rows)),
        };
        let count = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
        if count == 0 {
            return Ok(Page::Nulls(rows));
        }
        match encoding {
            RLE_DICTIONARY | PLAIN_DICTIONARY => {
                let (width, packed) = values.split_first().ok_or_else(cut_short)?;
                let keys = unpack::hybrid(packed, u32::from(*width), count);
                let keys = spread(keys.ok_or_else(cut_short)?, nulls.as_ref());
                Ok(Page::Keys(UInt32Array::new(keys.into(), nulls)))
            }
            PLAIN => self.plain(values, count, nulls).map(Page::Values),
            encoding => self
                .packed(values, encoding, count, nulls)
                .map(Page::Values),
        }
    }

    /// `count` values of the encoding `PLAIN`.
    fn plain(self, bytes: Vec<u8>, count: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if count > VALUES_MAX {
            return Err(format!("{count} values are too many"));
        }
        if self == Self::Text {
            // Each length stands before its text.
            let (mut lengths, mut texts) = (Vec::with_capacity(count), Vec::new());
            let mut rest = bytes.as_slice();
            for _ in 0..count {
                let (length, after) = rest.split_first_chunk().ok_or_else(cut_short)?;
                let length = u32::from_le_bytes(*length) as usize;
                let (text, after) = after.split_at_checked(length).ok_or_else(cut_short)?;
                texts.extend_from_slice(text);
                lengths.push(length);
                rest = after;
            }
            return self::texts(texts.into(), lengths.into_iter(), nulls);
        }
        if self == Self::Boolean {
            if bytes.len() < count.div_ceil(8) {
                return Err(cut_short());
            }
            return Ok(booleans(
                BooleanBuffer::new(bytes.into(), 0, count),
                nulls.as_ref(),
            ));
        }
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.get(..count).ok_or_else(cut_short)?;
        Ok(match self {
            Self::Float => {
                let values = words.iter().map(|word| f64::from_le_bytes(*word));
                primitive::<Float64Type>(values.collect(), nulls)
            }
            _ => {
                let values = words.iter().map(|word| i64::from_le_bytes(*word));
                self.integers(values.collect(), nulls)
            }
        })
    }

    /// `count` values of an encoding that packs them.
    fn packed(
        self,
        bytes: Vec<u8>,
        encoding: usize,
        count: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        match (self, encoding) {
            (Self::Text, DELTA_LENGTH_BYTE_ARRAY) => {
                let (lengths, start) = unpack::deltas(&bytes, count).ok_or_else(cut_short)?;
                // None is longer than what there is.
                let within = |length: &i64| (0..=bytes.len() as i64).contains(length);
                if !lengths.iter().all(within) {
                    return Err(cut_short());
                }
                let lengths = lengths.into_iter().map(|length| length as usize);
                self::texts(Buffer::from_vec(bytes).slice(start), lengths, nulls)
            }
            (Self::Integer | Self::Time(_), DELTA_BINARY_PACKED) => {
                let (values, _) = unpack::deltas(&bytes, count).ok_or_else(cut_short)?;
                Ok(self.integers(values, nulls))
            }
            (Self::Boolean, RLE) => {
                // The length stands before the runs.
                let runs = bytes.get(4..).ok_or_else(cut_short)?;
                let bits = unpack::hybrid_bits(runs, count).ok_or_else(cut_short)?;
                Ok(booleans(bits, nulls.as_ref()))
            }
            _ => Err(format!("encoding {encoding} is none that Logmill writes")),
        }
    }

    fn integers(self, mut values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
        let Self::Time(unit) = self else {
            return primitive::<Int64Type>(values, nulls);
        };
        if unit != 1 {
            for value in &mut values {
                *value = value.saturating_mul(unit);
            }
        }
        let values = spread(values, nulls.as_ref());
        let times = PrimitiveArray::<TimestampNanosecondType>::new(values.into(), nulls);
        Arc::new(times.with_timezone("UTC"))
    }
}

/// A page of data after decompression.
struct PlainData {
    encoding: usize,
    /// Which rows have a value; none when all have.
    nulls: Option<NullBuffer>,
    /// Encoded values of the rows that have one.
    values: Vec<u8>,
}

impl PlainData {
    fn of(data: &Data, body: &[u8], plain_bytes: usize) -> Result<Self> {
        let (levels, values) = body
            .split_at_checked(data.levels)
            .ok_or_else(|| "its levels end too early".to_owned())?;
        let nulls = match data.nulls {
            0 => None,
            _ => nulls(levels, data.rows)?,
        };
        if nulls.as_ref().map_or(0, NullBuffer::null_count) != data.nulls {
            return Err("its levels are not what it says of them".to_owned());
        }
        let plain_bytes = plain_bytes.saturating_sub(data.levels);
        Ok(Self {
            encoding: data.encoding,
            nulls,
            values: match data.is_compressed && !values.is_empty() {
                true => decompressed(values, plain_bytes)?,
                false => values.to_vec(),
            },
        })
    }

    fn of_old(
        rows: usize,
        encoding: usize,
        body: &[u8],
        plain_bytes: usize,
        nullable: bool,
    ) -> Result<Self> {
        let mut values = decompressed(body, plain_bytes)?;
        let mut present = None;
        if nullable {
            // The length of the levels stands before them.
            let (length, rest) = values.split_first_chunk().ok_or_else(cut_short)?;
            let length = u32::from_le_bytes(*length) as usize;
            present = nulls(rest.get(..length).ok_or_else(cut_short)?, rows)?;
            values.drain(..size_of::<u32>() + length);
        }
        Ok(Self {
            encoding,
            nulls: present,
            values,
        })
    }
}

fn cut_short() -> Fault {
    "its values end too early, or are not possible".to_owned()
}

fn split(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let header = Header::read(bytes).ok_or_else(|| "its header cannot be read".to_owned())?;
    let body = bytes
        .get(header.length..)
        .and_then(|body| body.get(..header.bytes));
    let body = body.ok_or_else(|| "it ends too early".to_owned())?;
    Ok((header, body))
}

thread_local! {
    /// A context takes longer to make than a small page to decompress.
    static ZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompressed(bytes: &[u8], plain_bytes: usize) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    plain
        .try_reserve_exact(plain_bytes)
        .map_err(|error| format!("{plain_bytes} bytes: {error}"))?;
    let read = ZSTD.with_borrow_mut(|kept| {
        let zstd = match kept {
            Some(zstd) => zstd,
            None => kept.insert(Decompressor::new()?),
        };
        zstd.decompress_to_buffer(bytes, &mut plain)
    });
    match read {
        Ok(read) if read == plain_bytes => Ok(plain),
        Ok(read) => Err(format!("it has {read} bytes, and not {plain_bytes}")),
        Err(error) => Err(format!("decompressing: {error}")),
    }
}

/// Which rows have a value; none when all have.
fn nulls(levels: &[u8], rows: usize) -> Result<Option<NullBuffer>> {
    let valid = unpack::hybrid_bits(levels, rows).ok_or_else(cut_short)?;
    let nulls = NullBuffer::new(valid);
    Ok((nulls.null_count() > 0).then_some(nulls))
}

/// Values of the rows that have one, each at its row.
fn spread<T: Copy + Default>(values: Vec<T>, nulls: Option<&NullBuffer>) -> Vec<T> {
    let Some(nulls) = nulls else {
        return values;
    };
    let mut all = vec![T::default(); nulls.len()];
    for (row, value) in nulls.valid_indices().zip(values) {
        all[row] = value;
    }
    all
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    let values: ScalarBuffer<T::Native> = spread(values, nulls.as_ref()).into();
    Arc::new(PrimitiveArray::<T>::new(values, nulls))
}

fn booleans(bits: BooleanBuffer, nulls: Option<&NullBuffer>) -> ArrayRef {
    let Some(nulls) = nulls else {
        return Arc::new(BooleanArray::new(bits, None));
    };
    let values = spread(bits.iter().collect(), Some(nulls));
    Arc::new(BooleanArray::new(values.into(), Some(nulls.clone())))
}

/// Texts that stand one after the other, by their lengths.
#[allow(
    unsafe_code,
    reason = "checking every text by itself takes as long as decompressing the page"
)]
fn texts(
    bytes: Buffer,
    lengths: impl ExactSizeIterator<Item = usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    if i32::try_from(bytes.len()).is_err() {
        return Err(format!("{} bytes of text are too many", bytes.len()));
    }
    let all = simdutf8::compat::from_utf8(&bytes).map_err(|error| format!("a text: {error}"))?;
    let is_ascii = all.is_ascii();
    let mut views = Vec::with_capacity(lengths.len());
    let mut start = 0;
    for length in lengths {
        let end = start + length;
        let text = bytes.get(start..end).ok_or_else(cut_short)?;
        if !is_ascii && !all.is_char_boundary(end) {
            return Err("a text begins within a character".to_owned());
        }
        views.push(make_view(text, 0, start as u32));
        start = end;
    }
    let views = spread(views, nulls.as_ref());
    // SAFETY: every view is of a range of the only buffer, made from its bytes; the buffer is UTF-8, and each range begins
    // where the one before it ends, at the boundary of a character. Rows without a value have the view of an empty text.
    let texts = unsafe { StringViewArray::new_unchecked(views.into(), vec![bytes], nulls) };
    Ok(Arc::new(texts))
}

/// So many rows without a value.
pub(super) fn no_values(values: Values, rows: usize) -> ArrayRef {
    new_null_array(&values.data_type(), rows)
}
