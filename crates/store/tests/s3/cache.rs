//! The cache: bounded, right, and there when S3 is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use crate::proxy::{Fault, Proxy};
use crate::site::{BUCKET, Site, paths};
use logmill_test_services::S3Server;

const BLOCK: u64 = 16 << 10;
const OBJECT: u64 = 100_000;

/// One for the process, and so for all tests: they look for what is there, not for exact counts.
static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().unwrap());

fn object(number: u64) -> (Path, Bytes) {
    let bytes = (0..OBJECT).map(|at| u8::try_from((at * 31 + at / 251 + number) % 256).unwrap());
    (Path::from(format!("tenants/{number}")), bytes.collect())
}

fn site(address: &str, cache_bytes: u64) -> Site {
    let mut site = Site::new(address);
    site.objects.cache_bytes = cache_bytes;
    site.objects.cache_block_bytes = BLOCK;
    site.objects.retry_max = 0;
    site
}

/// Files of the cache and the sum of their bytes. Some may go while this looks.
fn kept(site: &Site) -> (Vec<PathBuf>, u64) {
    let list = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path())
    };
    let files: Vec<_> = list(site.cache()).flat_map(list).collect();
    let lengths = files.iter().filter_map(|file| file.metadata().ok());
    let bytes = lengths.map(|metadata| metadata.len()).sum();
    (files, bytes)
}

/// All bytes of an object, by ranges that are not the cache's.
async fn read(store: &dyn ObjectStore, number: u64) -> object_store::Result<()> {
    let (path, bytes) = object(number);
    let ranges: Vec<_> = (0..OBJECT)
        .step_by(7_000)
        .map(|start| start..(start + 7_000).min(OBJECT))
        .collect();
    assert_eq!(store.get_ranges(&path, &ranges).await?.concat(), bytes);
    Ok(())
}

async fn put_objects(site: &Site, count: u64) {
    let bare = site.open_bare();
    for number in 0..count {
        let (path, bytes) = object(number);
        bare.put(&path, bytes.into()).await.unwrap();
    }
}

/// Reads do not wait until their blocks are kept.
async fn settled(site: &Site, files: usize) {
    let mut before = kept(site);
    for _ in 0..500 {
        // A file is there a moment before its bytes are.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = kept(site);
        if now.0.len() == files && now == before {
            return;
        }
        before = now;
    }
    panic!("{files} files expected: {before:?}");
}

/// Folders of objects of which all blocks are kept.
fn whole(site: &Site) -> BTreeSet<PathBuf> {
    let mut blocks = BTreeMap::<_, usize>::new();
    for file in kept(site).0 {
        if file.extension().is_none() {
            *blocks.entry(file.parent().unwrap().to_owned()).or_default() += 1;
        }
    }
    blocks.retain(|_, blocks| *blocks == 7);
    blocks.into_keys().collect()
}

/// Reads an object that is not kept, and waits until it is.
async fn read_new(store: &dyn ObjectStore, site: &Site, number: u64) {
    let before = whole(site);
    read(store, number).await.unwrap();
    for _ in 0..500 {
        if !whole(site).is_subset(&before) {
            // The last block's file is seen a moment before the cache counts it in.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("object {number} is not kept: {:?}", kept(site));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_bounded_and_answers_when_s3_does_not() {
    let metrics = &*METRICS;
    let mut server = S3Server::start(BUCKET);
    let site = site(&server.address(), 3 * OBJECT + 2_000);
    put_objects(&site, 8).await;
    let store = site.open_objects();
    for number in 0..8 {
        read_new(&store, &site, number).await;
        let (files, bytes) = kept(&site);
        assert!(bytes <= site.objects.cache_bytes, "{bytes}");
        let expected = 7 * usize::try_from(number + 1).unwrap().min(3);
        assert_eq!(files.len(), expected);
    }
    // A use keeps the fifth; the sixth goes in its stead.
    read(&store, 5).await.unwrap();
    read_new(&store, &site, 0).await;
    let (path, bytes) = object(9);
    store.put(&path, bytes.into()).await.unwrap();
    server.stop();
    for store in [store, site.open_objects()] {
        for number in [5, 0, 9] {
            read(&store, number).await.unwrap();
        }
        let (path, bytes) = object(5);
        for (range, expected) in [
            (GetRange::Bounded(10..20), bytes.slice(10..20)),
            (GetRange::Bounded(99_990..200_000), bytes.slice(99_990..)),
            (GetRange::Offset(50_000), bytes.slice(50_000..)),
            (GetRange::Suffix(40_000), bytes.slice(60_000..)),
        ] {
            let options = GetOptions::new().with_range(Some(range));
            let result = store.get_opts(&path, options).await.unwrap();
            assert_eq!(result.meta.size, OBJECT);
            assert_eq!(result.bytes().await.unwrap(), expected);
        }
        for number in [6, 7] {
            read(&store, number).await.unwrap_err();
        }
    }
    let rendered = metrics.render();
    for name in [
        "logmill_object_cache_hits_total ",
        "logmill_object_cache_misses_total ",
        "logmill_object_cache_bytes ",
        "logmill_object_requests_total{operation=\"get\",outcome=\"ok\"}",
        "logmill_object_requests_total{operation=\"put\",outcome=\"ok\"}",
        "logmill_object_requests_total{operation=\"head\",outcome=\"error\"}",
    ] {
        let line = rendered.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit_once(' '));
        assert!(value.is_some_and(|(_, value)| value != "0"), "{rendered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_fetched_once_and_neighbours_by_one_request() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let site = site(&proxy.address, 1 << 20);
    put_objects(&site, 1).await;
    let store = site.open_objects();
    let (path, bytes) = object(0);
    // The second block, alone.
    let range = BLOCK + 5..BLOCK + 10;
    let expected = bytes.slice(16_389..16_394);
    assert_eq!(store.get_range(&path, range).await.unwrap(), expected);
    settled(&site, 1).await;
    proxy.requests("GET");
    proxy.fail("GET", usize::MAX, Fault::Delay(Duration::from_millis(500)));
    let readers = (0..16).map(|_| async { read(&store, 0).await.unwrap() });
    join_all(readers).await;
    let requests = proxy.requests("GET");
    let asked: Vec<&str> = requests
        .iter()
        .flat_map(|head| head.lines())
        .filter_map(|line| line.strip_prefix("range: "))
        .collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(asked.contains(&"bytes=0-16383"), "{asked:?}");
    assert!(asked.contains(&"bytes=32768-99999"), "{asked:?}");
    settled(&site, 7).await;
    read(&store, 0).await.unwrap();
    assert!(proxy.requests("GET").is_empty());
    // A reader that goes away does not take the fetch from the others.
    let again = Site {
        folder: tempfile::tempdir().unwrap(),
        ..site
    };
    let store = again.open_objects();
    let gone = tokio::time::timeout(Duration::from_millis(200), read(&store, 0)).await;
    assert!(gone.is_err());
    settled(&again, 7).await;
    assert_eq!(proxy.requests("GET").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_fetched_again_and_failures_are_nobodys() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let site = site(&proxy.address, 1 << 20);
    put_objects(&site, 2).await;
    let store = site.open_objects();
    read(&store, 0).await.unwrap();
    settled(&site, 7).await;
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes[20] ^= 1,
        |bytes| bytes.truncate(100),
        Vec::clear,
    ];
    for damage in damage {
        for file in kept(&site).0 {
            let mut bytes = std::fs::read(&file).unwrap();
            damage(&mut bytes);
            std::fs::write(&file, bytes).unwrap();
        }
        proxy.requests("");
        read(&store, 0).await.unwrap();
        assert_eq!(proxy.requests("GET").len(), 1);
        settled(&site, 7).await;
        assert_eq!(kept(&site).1, OBJECT + 7 * 40);
    }
    // Whatever a crash leaves, the next start copes with it.
    for (number, file) in kept(&site).0.iter().enumerate() {
        std::fs::write(file, vec![7; number * 20]).unwrap();
        std::fs::write(file.with_extension("9.tmp"), b"torn").unwrap();
    }
    let store = site.open_objects();
    assert!(kept(&site).0.is_empty());
    read(&store, 0).await.unwrap();
    settled(&site, 7).await;
    // The folder is no more, and none can be made.
    std::fs::remove_dir_all(site.cache()).unwrap();
    std::fs::write(site.cache(), b"in the way").unwrap();
    for number in [0, 1, 0] {
        read(&store, number).await.unwrap();
    }
    let (path, bytes) = object(3);
    store.put(&path, bytes.into()).await.unwrap();
    read(&store, 3).await.unwrap();
    store.delete(&path).await.unwrap();
    // It is back, and so is the cache.
    std::fs::remove_file(site.cache()).unwrap();
    read(&store, 0).await.unwrap();
    settled(&site, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_through_and_a_delete_too() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let site = site(&proxy.address, 1 << 20);
    let store: Arc<dyn ObjectStore> = site.open_objects();
    for number in 0..2 {
        let (path, bytes) = object(number);
        store.put(&path, bytes.into()).await.unwrap();
    }
    assert_eq!(kept(&site).0.len(), 14);
    proxy.requests("");
    read(&store, 0).await.unwrap();
    assert_eq!(proxy.requests("GET").len(), 0);
    store.delete(&object(0).0).await.unwrap();
    assert_eq!(kept(&site).0.len(), 7);
    assert_eq!(paths(&store).await, ["tenants/1"]);
    read(&store, 0).await.unwrap_err();
    read(&store, 1).await.unwrap();
    // What is written anew is what is read.
    let (path, bytes) = object(1);
    let other = bytes.slice(1..60_000);
    store.put(&path, other.clone().into()).await.unwrap();
    assert_eq!(store.get_range(&path, 0..59_999).await.unwrap(), other);
    assert_eq!(kept(&site).0.len(), 4);
    // A whole object is read from the store, whatever the cache has.
    proxy.requests("");
    let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(whole, other);
    assert_eq!(proxy.requests("GET").len(), 1);
}
