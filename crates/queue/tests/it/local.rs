//! The log on a real file system.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logmill_queue::{Error, LocalLog, LocalLogOptions, Sequence, inspect, repair};

/// Sequences and payloads.
type Replayed = Vec<(u64, Vec<u8>)>;

fn open(directory: &Path, from: u64) -> Result<(LocalLog, Replayed), Error> {
    let mut replayed = Vec::new();
    let options = LocalLogOptions {
        file_max_bytes: 20_000,
        entry_max_bytes: 50_000,
        pending_max_bytes: 10_000,
    };
    let log = LocalLog::open(
        directory,
        options,
        Sequence(from),
        &mut |sequence, bytes| {
            replayed.push((sequence.0, bytes.to_vec()));
            Ok(())
        },
    )?;
    Ok((log, replayed))
}

fn nothing() -> logmill_queue::OnDurable {
    Box::new(|_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appenders_get_their_own_sequences_and_all_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    let log = Arc::new(log);
    let last_visible = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for task in 0..8_u64 {
        let (log, last_visible) = (log.clone(), last_visible.clone());
        tasks.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            for number in 0..50_u64 {
                let payload = format!("{task}-{number}-{}", "x".repeat(100)).into_bytes();
                let seen = last_visible.clone();
                let in_order = Box::new(move |sequence: Sequence| {
                    let before = seen.swap(sequence.0 + 1, Ordering::SeqCst);
                    assert_eq!(before, sequence.0, "callbacks run in order, without holes");
                });
                let sequence = log.append(payload.clone(), in_order).await.unwrap();
                mine.push((sequence.0, payload));
            }
            mine
        }));
    }
    let mut expected = Vec::new();
    for task in tasks {
        expected.extend(task.await.unwrap());
    }
    expected.sort();
    log.close();
    assert!(matches!(
        log.append(vec![], nothing()).await,
        Err(Error::Closed)
    ));
    drop(log);
    let (log, replayed) = open(folder.path(), 0).unwrap();
    assert_eq!(replayed, expected);
    assert!(log.status().files > 1);
    drop(log);
    let (_log, replayed) = open(folder.path(), 123).unwrap();
    assert_eq!(replayed, expected[123..], "from the middle of a frame");
}

#[tokio::test]
async fn what_is_let_go_is_deleted_and_sequences_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    for _ in 0..10 {
        log.append(vec![1; 9_000], nothing()).await.unwrap();
    }
    let before = log.status();
    assert!(before.files >= 3, "{before:?}");
    log.truncate_before(Sequence(10)).unwrap();
    let after = log.status();
    assert_eq!(
        (after.files, after.next_sequence),
        (1, Sequence(10)),
        "{after:?}"
    );
    drop(log);
    let (log, replayed) = open(folder.path(), 10).unwrap();
    assert!(replayed.is_empty());
    assert_eq!(log.append(vec![], nothing()).await.unwrap(), Sequence(10));
}

#[test]
fn a_directory_has_one_log() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path(), 0).unwrap();
    assert!(matches!(open(folder.path(), 0), Err(Error::Locked { .. })));
    assert!(matches!(inspect(folder.path()), Err(Error::Locked { .. })));
    drop(first);
    open(folder.path(), 0).unwrap();
    let nowhere = inspect(&folder.path().join("nowhere")).unwrap();
    assert!(nowhere.files.is_empty());
}

#[test]
fn a_consumer_that_refuses_an_entry_stops_the_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(log.append(b"x".to_vec(), nothing()))
        .unwrap();
    drop(log);
    let options = LocalLogOptions::default();
    let refused = LocalLog::open(folder.path(), options, Sequence(0), &mut |_, _| {
        Err("no".into())
    });
    assert!(
        matches!(refused, Err(Error::Replay { sequence: 0, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_and_repaired_keeping_what_is_intact() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    for number in 0..30_u8 {
        log.append(vec![number; 3_000], nothing()).await.unwrap();
    }
    drop(log);
    let report = inspect(folder.path()).unwrap();
    assert!(
        !report.is_corrupt() && report.files.len() >= 3,
        "{report:?}"
    );
    let damaged = &report.files[1].path;
    let mut bytes = std::fs::read(damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(damaged, &bytes).unwrap();

    let error = open(folder.path(), 0).unwrap_err();
    let Error::Corrupt { path, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(path, damaged);
    assert!(error.to_string().contains("logmill doctor"), "{error}");
    let report = inspect(folder.path()).unwrap();
    assert!(report.is_corrupt());
    let damage = report.files[1].damage.clone().unwrap();
    assert_eq!(
        (damage.torn_tail, damage.entries_lost),
        (false, Some(1)),
        "{damage:?}"
    );

    let repaired = repair(folder.path()).unwrap();
    assert_eq!(repaired.set_aside.len(), 1);
    assert_eq!(
        std::fs::read(&repaired.set_aside[0]).unwrap(),
        bytes,
        "the damaged file is kept"
    );
    let (log, replayed) = open(folder.path(), 0).unwrap();
    assert_eq!(replayed.len(), 29);
    assert!(
        replayed
            .iter()
            .all(|(n, payload)| *payload == vec![u8::try_from(*n).unwrap(); 3_000])
    );
    assert_eq!(log.append(vec![], nothing()).await.unwrap(), Sequence(30));
    drop(log);
    assert!(!inspect(folder.path()).unwrap().is_corrupt());
}

#[tokio::test]
async fn a_lost_file_is_refused_and_becomes_a_declared_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    for number in 0..30_u8 {
        log.append(vec![number; 3_000], nothing()).await.unwrap();
    }
    drop(log);
    let files = inspect(folder.path()).unwrap().files;
    std::fs::remove_file(&files[1].path).unwrap();
    assert!(matches!(open(folder.path(), 0), Err(Error::Corrupt { .. })));
    assert!(inspect(folder.path()).unwrap().is_corrupt());
    repair(folder.path()).unwrap();
    let (_, replayed) = open(folder.path(), 0).unwrap();
    assert_eq!(replayed.len() as u64, 30 - files[1].entries);
}

#[test]
fn recovery_of_noise_is_an_error_or_a_prefix() {
    use proptest::prelude::*;
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for number in 0..5_u8 {
        runtime
            .block_on(log.append(vec![number; 20], nothing()))
            .unwrap();
    }
    drop(log);
    let path = inspect(folder.path()).unwrap().files[0].path.clone();
    let good = std::fs::read(&path).unwrap();
    let name = path.file_name().unwrap().to_owned();
    let mutations = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let cut = any::<prop::sample::Index>();
    proptest!(ProptestConfig::with_cases(300), |(mutations in mutations, cut in cut)| {
        let mut bytes = good.clone();
        for (index, byte) in mutations {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join(&name), &bytes).unwrap();
        match open(elsewhere.path(), 0) {
            Ok((_, replayed)) => for (n, payload) in replayed {
                prop_assert_eq!(payload, vec![u8::try_from(n).unwrap(); 20]);
            },
            Err(Error::Corrupt { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    });
}
