//! Writes the seeds of the targets whose formats are binary: `cargo run -p logmill-fuzz --example seeds`, after a format
//! has got a new version. Seeds of older versions stay under other names.

#![allow(
    clippy::unwrap_used,
    reason = "a tool of developers, which ends where something is wrong"
)]

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use logmill_queue::{LocalLog, LocalLogOptions, Sequence};
use logmill_schema::ColumnType;
use logmill_segment::{SegmentFile, SegmentOptions, encode};

const SEALED: u8 = 1;
const AS_IT_IS: u8 = 0;

fn main() {
    segments();
    payloads();
    logs();
}

fn write(target: &str, name: &str, parts: &[&[u8]]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), parts.concat()).unwrap();
}

fn records(rows: i64) -> RecordBatch {
    let times = TimestampNanosecondArray::from_iter_values((0..rows).map(|n| n * 70_000_000));
    let names = |text: &dyn Fn(i64) -> String| -> ArrayRef {
        let texts: Vec<_> = (0..rows).map(text).collect();
        let names: DictionaryArray<Int32Type> = texts.iter().map(String::as_str).collect();
        Arc::new(names)
    };
    let messages = (0..rows).map(|n| format!("message number {}", n * n % 7));
    let numbers = (0..rows).map(|n| (n % 5 > 0).then_some(n));
    let columns: Vec<(&str, ColumnType, ArrayRef)> = vec![
        (
            "timestamp",
            ColumnType::Timestamp,
            Arc::new(times.with_timezone("UTC")),
        ),
        (
            "level",
            ColumnType::String,
            names(&|n| ["info", "error"][n as usize % 2].to_owned()),
        ),
        (
            "service",
            ColumnType::String,
            names(&|n| format!("s{}", n % 3)),
        ),
        (
            "message",
            ColumnType::String,
            Arc::new(StringArray::from_iter_values(messages)),
        ),
        (
            "n",
            ColumnType::Integer,
            Arc::new(Int64Array::from_iter(numbers)),
        ),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind, _)| kind.field(name))
        .collect();
    let columns = columns.into_iter().map(|(_, _, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A small segment; the index and the rollup of it and of one of three granules, whose sets are lists and bitmaps.
fn segments() {
    for (name, rows) in [("few", 20), ("granules", 20_000)] {
        let options = SegmentOptions {
            row_group_rows: 8_192,
            ..SegmentOptions::default()
        };
        let mut bytes = Vec::new();
        encode(&[records(rows)], &options, &mut bytes).unwrap();
        let file = SegmentFile::open(&bytes.clone().into(), bytes.len() as u64)
            .unwrap()
            .unwrap();
        let part = |start: u64, length: u64| &bytes[start as usize..(start + length) as usize];
        let index = file.metadata().token_index.clone().unwrap();
        let header = [
            &[SEALED, index.buckets_log2 as u8][..],
            &index.granules.to_le_bytes(),
            &0x1234_5678_u32.to_le_bytes(),
            &(index.blocks_bytes as u16).to_le_bytes(),
        ];
        let blocks = part(index.offset, index.blocks_bytes);
        let directory = part(index.offset + index.blocks_bytes, index.directory_bytes);
        let rollup = file.metadata().rollup.clone().unwrap();
        let rollup = part(rollup.offset, rollup.bytes);
        write("rollup", name, &[&[AS_IT_IS], rollup]);
        let plain = zstd::bulk::decompress(&rollup[4..], 1 << 20).unwrap();
        write("rollup", &format!("{name}-plain"), &[&[SEALED], &plain]);
        write("token_index", name, &[&header.concat(), blocks, directory]);
        // A large one is slow to read.
        if rows < 1_000 {
            write("segment", name, &[&[SEALED], &bytes]);
        }
    }
}

fn payloads() {
    let batch = records(3);
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    write("payload", "stream", &[&[SEALED], &stream]);
    let length = (stream.len() as u32).to_le_bytes();
    let compressed = lz4_flex::block::compress(&stream);
    let tenant = [4, 0, 0, 0, b'a', b'c', b'm', b'e'];
    write(
        "payload",
        "plain",
        &[&[AS_IT_IS, 1, 0], &tenant, &length, &compressed],
    );
    let key = [
        &7_i64.to_le_bytes()[..],
        &[9; 16],
        &[1, 0, 0, 0, b'k'],
        &[2, 0, 0, 0, b'{', b'}'],
    ]
    .concat();
    write(
        "payload",
        "with-key",
        &[&[AS_IT_IS, 1, 1], &tenant, &key, &length, &compressed],
    );
}

/// A log of one file, and one of two.
fn logs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for (name, file_max_bytes) in [("one-file", 1 << 20), ("two-files", 150)] {
        let folder = tempfile::tempdir().unwrap();
        let options = LocalLogOptions {
            file_max_bytes,
            ..LocalLogOptions::default()
        };
        let log = LocalLog::open(folder.path(), options, Sequence(0), &mut |_, _| Ok(())).unwrap();
        for length in [1, 60, 0, 9] {
            runtime
                .block_on(log.append(vec![b'x'; length], Box::new(|_| {})))
                .unwrap();
        }
        log.close();
        let mut files: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
            .collect();
        files.sort();
        let files: Vec<_> = files
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect();
        let (first, rest) = files.split_first().unwrap();
        write(
            "wal",
            name,
            &[
                &[SEALED],
                &(first.len() as u16).to_le_bytes(),
                first,
                &rest.concat(),
            ],
        );
        assert!(rest.len() < 2, "{name} has {} files", files.len());
    }
}
