//! Segments as their readers find them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow_schema::{DataType, Schema};
use bytes::Bytes;
use logmill_schema::{ColumnType, record_hashes};
use logmill_segment::{
    Blocks, ColumnValues, Depth, Error, FORMAT_VERSION, GRANULE_ROWS, NEWEST_ROWS, Newest, Rollup,
    RowGroupBytes, SegmentFile, SegmentMetadata, SegmentOptions, SegmentWriter, ValueCounts,
    decode, encode, timestamps, verify,
};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use proptest::prelude::*;

fn batch(columns: Vec<(&str, ColumnType, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind, _)| kind.field(name))
        .collect();
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn times(values: Vec<i64>) -> (&'static str, ColumnType, ArrayRef) {
    let array = TimestampNanosecondArray::from(values).with_timezone("UTC");
    ("timestamp", ColumnType::Timestamp, Arc::new(array))
}

fn sample(rows: i64) -> RecordBatch {
    let services: DictionaryArray<Int32Type> = (0..rows)
        .map(|n| {
            if n % 3 == 0 {
                None
            } else {
                Some(["api", "web"][(n % 2) as usize])
            }
        })
        .collect();
    let messages = StringArray::from_iter_values((0..rows).map(|n| format!("message number {n}")));
    let status = Int64Array::from_iter((0..rows).map(|n| (n % 5 != 0).then_some(200 + n % 7)));
    let empty = StringArray::new_null(usize::try_from(rows).unwrap());
    batch(vec![
        times((0..rows).map(|n| 1_000 * (n ^ 1)).collect()),
        ("service", ColumnType::String, Arc::new(services)),
        ("message", ColumnType::String, Arc::new(messages)),
        ("http.status", ColumnType::Integer, Arc::new(status)),
        ("never", ColumnType::String, Arc::new(empty)),
    ])
}

fn encoded(batches: &[RecordBatch]) -> (logmill_segment::SegmentSummary, Bytes) {
    let mut out = vec![1, 2, 3];
    let summary = encode(batches, &SegmentOptions::default(), &mut out).unwrap();
    (summary, Bytes::from(out))
}

fn hashes(batches: &[RecordBatch]) -> Vec<u128> {
    let mut all: Vec<u128> = batches
        .iter()
        .flat_map(|batch| record_hashes(batch).unwrap())
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn rows_come_back_sorted_by_time_and_whole() {
    let source = sample(20_000);
    let (summary, bytes) = encoded(std::slice::from_ref(&source));
    assert_eq!((summary.rows, summary.bytes), (20_000, bytes.len() as u64));
    assert_eq!(
        (summary.min_timestamp_ns, summary.max_timestamp_ns),
        (0, 19_999_000)
    );
    let names: Vec<_> = summary
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["timestamp", "service", "message", "http.status"],
        "no empty column"
    );
    let read = decode(&bytes).unwrap();
    assert_eq!(hashes(&read), hashes(&[source]));
    let times: Vec<i64> = read
        .iter()
        .flat_map(|b| {
            b.column(0)
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .to_vec()
        })
        .collect();
    assert!(!times.is_sorted(), "services stand together");
    let metadata = SegmentMetadata::read(&bytes).unwrap();
    let index = metadata.token_index.as_ref().unwrap();
    assert_eq!(index.granules, 3);
    assert!(
        read[0].column(1).as_dictionary_opt::<Int32Type>().is_some(),
        "types come back"
    );
    let metadata = SegmentMetadata::read(&bytes).unwrap();
    assert_eq!(metadata.format_version, FORMAT_VERSION);
    assert_eq!((metadata.rows, metadata.columns), (20_000, summary.columns));
}

/// Every column, page by page, is what the Parquet library reads.
fn assert_same_by_page(bytes: &Bytes) {
    let file = SegmentFile::open(bytes, bytes.len() as u64)
        .unwrap()
        .unwrap();
    let mut decoded = Vec::new();
    for row_group in 0..file.row_groups() {
        let range = file.row_group_range(row_group);
        let row_group_bytes = RowGroupBytes {
            offset: range.start,
            bytes: part(bytes, range),
        };
        let batches = file.decode_row_group(row_group, &row_group_bytes).unwrap();
        decoded.extend(
            (0..)
                .zip(batches)
                .map(|(page, batch)| (row_group, page, batch)),
        );
    }
    for (row_group, page, batch) in decoded {
        for (field, expected) in batch.schema().fields().iter().zip(batch.columns()) {
            let column = file.column(row_group, field.name()).unwrap().unwrap();
            let dictionary = column.dictionary_range();
            let dictionary =
                dictionary.map(|range| column.dictionary(&part(bytes, range)).unwrap());
            let range = column.page_range(page).unwrap();
            let read = column.page(page, &part(bytes, range)).unwrap();
            assert_eq!(read.rows(), batch.num_rows());
            let array = column.array(&read, dictionary.as_ref()).unwrap();
            let kind = match ColumnType::of(field) {
                Some(ColumnType::String) => &DataType::Utf8View,
                _ => field.data_type(),
            };
            let expected = logmill_schema::promote(expected, field.name(), kind).unwrap();
            assert_eq!(&array, &expected, "{} of page {page}", field.name());
            let nothing = expected.null_count() == expected.len();
            assert!(nothing || !column.is_null(page), "{}", field.name());
        }
        assert!(file.column(row_group, "no such column").unwrap().is_none());
    }
}

#[test]
fn pages_of_every_column_end_on_granules() {
    let rows = 3 * GRANULE_ROWS + 5;
    let (_, bytes) = encoded(&[sample(i64::try_from(rows).unwrap())]);
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    let offsets = reader.metadata().offset_index().unwrap();
    assert_eq!(offsets.len(), 1, "one row group");
    for column in &offsets[0] {
        let firsts: Vec<i64> = column
            .page_locations()
            .iter()
            .map(|page| page.first_row_index)
            .collect();
        let granule = i64::try_from(GRANULE_ROWS).unwrap();
        assert_eq!(firsts, [0, granule, 2 * granule, 3 * granule]);
    }
}

/// A part of a segment.
fn part(bytes: &Bytes, range: Range<u64>) -> Bytes {
    bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
}

/// The block of the newest records, if the segment has one.
fn newest(bytes: &Bytes, file: &SegmentFile) -> Option<Newest> {
    let location = file.metadata().newest.as_ref()?;
    Some(Newest::read(location, &part(bytes, location.block.range())).unwrap())
}

/// The counts of values.
fn value_counts(bytes: &Bytes, file: &SegmentFile) -> ValueCounts {
    let location = file.metadata().values.as_ref().unwrap();
    ValueCounts::read(location, &part(bytes, location.range())).unwrap()
}

#[test]
fn newest_records_and_values_are_told_also_of_a_merge() {
    let (_, bytes) = encoded(&[sample(70_000)]);
    let file = SegmentFile::open(&bytes, bytes.len() as u64)
        .unwrap()
        .unwrap();
    let block = newest(&bytes, &file).unwrap();
    assert_eq!(block.rows().num_rows(), NEWEST_ROWS);
    assert_eq!(
        timestamps(block.rows()).unwrap()[..2],
        [69_999_000, 69_998_000]
    );
    assert_eq!(verify(&bytes, Depth::AllRows), []);

    let schema = decode(&bytes).unwrap()[0].schema();
    let index = part(&bytes, file.index_range().unwrap());
    let location = file.metadata().rollup.as_ref().unwrap();
    let rollup = Rollup::read(location, &part(&bytes, location.range())).unwrap();
    let values = value_counts(&bytes, &file);
    assert_eq!(values.get("message"), Some(&ColumnValues::TooMany));
    let Some(ColumnValues::Counts(services)) = values.get("service") else {
        panic!("{values:?}");
    };
    assert_eq!(services.values().sum::<u64>(), 46_666);
    for known in [true, false] {
        let options = SegmentOptions::default();
        let mut writer =
            SegmentWriter::new(Vec::new(), schema.clone(), file.time_unit(), &[], &options)
                .unwrap();
        for known in [true, known] {
            let row_group = |_| {
                Ok(RowGroupBytes {
                    offset: 0,
                    bytes: bytes.clone(),
                })
            };
            let blocks = Blocks {
                index: &index,
                rollup: &rollup,
                newest: known.then_some(&block),
                values: known.then_some(&values),
            };
            writer.copy(&file, &blocks, row_group).unwrap();
        }
        let merged = Bytes::from(writer.finish().unwrap().1);
        let file = SegmentFile::open(&merged, merged.len() as u64)
            .unwrap()
            .unwrap();
        let block = newest(&merged, &file).map(|block| block.rows().num_rows());
        assert_eq!(block, known.then_some(NEWEST_ROWS));
        let services = match value_counts(&merged, &file).get("service") {
            Some(ColumnValues::Counts(services)) => services.values().sum::<u64>(),
            _ => 0,
        };
        assert_eq!(services, if known { 2 * 46_666 } else { 0 });
        assert_eq!(verify(&merged, Depth::AllRows), []);
        assert_same_by_page(&merged);
    }
    let (_, few) = encoded(&[sample(20_000)]);
    assert_eq!(SegmentMetadata::read(&few).unwrap().newest, None);
}

#[test]
fn batches_of_other_columns_and_types_become_one_segment() {
    let batches = [
        batch(vec![
            times(vec![2, 4]),
            (
                "x",
                ColumnType::Integer,
                Arc::new(Int64Array::from(vec![1, 2])),
            ),
        ]),
        batch(vec![
            times(vec![3]),
            (
                "x",
                ColumnType::Float,
                Arc::new(Float64Array::from(vec![0.5])),
            ),
        ]),
        batch(vec![
            times(vec![1]),
            (
                "y",
                ColumnType::Boolean,
                Arc::new(BooleanArray::from(vec![true])),
            ),
        ]),
    ];
    let (summary, bytes) = encoded(&batches);
    assert_eq!(hashes(&decode(&bytes).unwrap()), hashes(&batches));
    assert!(
        summary
            .columns
            .contains(&("x".to_owned(), ColumnType::Float)),
        "{summary:?}"
    );
}

#[test]
fn wide_integers_stay_what_they_are() {
    let wide = Int64Array::from(vec![i64::MAX]);
    let source = batch(vec![
        times(vec![1]),
        ("id", ColumnType::WideInteger, Arc::new(wide)),
    ]);
    let (summary, bytes) = encoded(&[source]);
    assert_eq!(summary.columns[1].1, ColumnType::WideInteger);
    let read = decode(&bytes).unwrap();
    assert_eq!(
        ColumnType::of(read[0].schema().field(1)),
        Some(ColumnType::WideInteger)
    );
    assert_eq!(
        read[0].column(1).as_primitive::<Int64Type>().value(0),
        i64::MAX
    );
}

#[test]
fn what_is_no_segment_is_told() {
    let mut out = Vec::new();
    assert!(matches!(
        encode(&[], &SegmentOptions::default(), &mut out),
        Err(Error::Empty)
    ));
    let noise = Bytes::from_static(b"PAR1 and then nothing that makes sense PAR1");
    assert!(matches!(
        SegmentMetadata::read(&noise),
        Err(Error::Parquet { .. })
    ));
    assert!(SegmentMetadata::read(&Bytes::new()).is_err());
    let (_, bytes) = encoded(&[sample(10)]);
    assert!(decode(&bytes.slice(..bytes.len() - 9)).is_err());
    let mut parquet = Vec::new();
    let plain = sample(1);
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut parquet, plain.schema(), None).unwrap();
    writer.write(&plain).unwrap();
    writer.close().unwrap();
    let error = SegmentMetadata::read(&Bytes::from(parquet)).unwrap_err();
    assert!(matches!(error, Error::NotASegment(_)), "{error:?}");
}

/// A file of every released format version is read for ever. To add one: `LOGMILL_WRITE_GOLDEN=1`.
#[test]
fn golden_files_are_read() {
    for version in 1..=FORMAT_VERSION {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let path = folder.join(format!("v{version}/sample.parquet"));
        if std::env::var_os("LOGMILL_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, encoded(&[sample(100)]).1).unwrap();
        }
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let file = SegmentFile::open(&bytes, bytes.len() as u64)
            .unwrap()
            .unwrap();
        assert_eq!(file.metadata().format_version, version);
        assert_eq!(file.metadata().token_index.is_some(), version > 1);
        assert_eq!(hashes(&decode(&bytes).unwrap()), hashes(&[sample(100)]));
        assert_same_by_page(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_come_back(rows in prop::collection::vec(
        (any::<i64>(), prop::option::of("\\PC{0,12}"), prop::option::of(any::<i64>())), 1..60,
    )) {
        let texts = StringArray::from_iter(rows.iter().map(|(_, text, _)| text.as_deref()));
        let numbers = Int64Array::from_iter(rows.iter().map(|(_, _, number)| *number));
        let source = batch(vec![
            times(rows.iter().map(|(time, _, _)| *time).collect()),
            ("text", ColumnType::String, Arc::new(texts)),
            ("number", ColumnType::WideInteger, Arc::new(numbers)),
        ]);
        let (_, bytes) = encoded(std::slice::from_ref(&source));
        prop_assert_eq!(hashes(&decode(&bytes).unwrap()), hashes(&[source]));
        assert_same_by_page(&bytes);
    }

    /// Columns that repeat or do not, with values or without in runs of some length.
    #[test]
    fn any_column_is_read_page_by_page(
        rows in 1_usize..2 * GRANULE_ROWS + 100,
        distinct in 1_u64..5_000,
        run in 1_usize..3 * GRANULE_ROWS,
        some in 1_u64..4,
        unit in prop::sample::select(vec![1_i64, 1_000]),
        seed in any::<u64>(),
    ) {
        let mut state = seed | 1;
        let mut next = || {
            // Xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let numbers: Vec<Option<u64>> = (0..rows)
            .map(|row| ((row / run) as u64).is_multiple_of(some).then(|| next() % distinct))
            .collect();
        let wide: Vec<u64> = (0..rows).map(|_| next()).collect();
        let valid = || numbers.iter().copied();
        let text = |number: Option<u64>| number.map(|number| "é".repeat(number as usize % 30) + &number.to_string());
        let mixed = numbers.iter().zip(&wide);
        let source = batch(vec![
            times(wide.iter().map(|wide| (wide % 1_000_000) as i64 * unit).collect()),
            ("path", ColumnType::String, Arc::new(valid().map(text).collect::<StringArray>())),
            ("message", ColumnType::String, Arc::new(valid().map(text).collect::<StringArray>())),
            ("repeats", ColumnType::Integer, Arc::new(valid().map(|n| n.map(|n| n as i64)).collect::<Int64Array>())),
            ("float", ColumnType::Float, Arc::new(valid().map(|n| n.map(|n| n as f64 / 3.0)).collect::<Float64Array>())),
            ("truth", ColumnType::Boolean, Arc::new(valid().map(|n| n.map(|n| n % 3 == 0)).collect::<BooleanArray>())),
            ("wide", ColumnType::WideInteger, Arc::new(mixed.clone().map(|(n, wide)| n.map(|_| wide.cast_signed())).collect::<Int64Array>())),
            ("wide_float", ColumnType::Float, Arc::new(mixed.map(|(n, wide)| n.map(|_| *wide as f64)).collect::<Float64Array>())),
        ]);
        let (_, bytes) = encoded(&[source]);
        assert_same_by_page(&bytes);
    }
}

#[test]
fn a_damaged_page_is_told_and_nothing_panics() {
    let (_, bytes) = encoded(&[sample(20_000)]);
    let file = SegmentFile::open(&bytes, bytes.len() as u64)
        .unwrap()
        .unwrap();
    let mut refused = 0;
    for name in ["timestamp", "service", "message", "http.status"] {
        let column = file.column(0, name).unwrap().unwrap();
        let mut ranges = vec![column.page_range(0).unwrap()];
        ranges.extend(column.dictionary_range());
        for range in ranges {
            let page = part(&bytes, range.clone());
            for at in 0..page.len().min(200) {
                let mut damaged = page.to_vec();
                damaged[at] ^= 0x55;
                refused += usize::from(column.page(0, &damaged).is_err());
                refused += usize::from(column.dictionary(&damaged).is_err());
                refused += usize::from(column.page(0, &page[..at]).is_err());
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
    let column = file.column(0, "message").unwrap().unwrap();
    let error = column.page(1, b"no page").unwrap_err().to_string();
    assert_eq!(
        error,
        "not a segment: column message: page 1: its header cannot be read"
    );
}
