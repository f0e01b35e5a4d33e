//! A store's life with its segments on S3.

use std::time::Duration;

use logmill_store::Error;
use logmill_store::object_storage::{Opened, open, open_with};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::harness::{found, request};
use crate::proxy::Proxy;
use crate::site::{BUCKET, SECRET, Site, credentials, paths};
use logmill_test_services::S3Server;

const HOUR: i64 = 3_600_000_000_000;
const CHILD: &str = "life::credentials_of_the_environment_child";

#[tokio::test(flavor = "multi_thread")]
async fn segments_go_to_s3_and_come_back() {
    let server = S3Server::start(BUCKET);
    let mut site = Site::new(&server.address());
    let store = site.open().await;
    store.append(request("a", &[1, 2, 3])).await.unwrap();
    store.append(request("b", &[10])).await.unwrap();
    store.flush().await.unwrap();
    store.append(request("a", &[4])).await.unwrap();
    assert_eq!(found(&store, "a").await, [1, 2, 3, 4]);
    store.shutdown().await.unwrap();
    drop(store);

    // The paths are below the prefix, and the store does not see the prefix.
    let bare = site.open_bare();
    let before = paths(&bare).await;
    assert_eq!(before.len(), 3, "{before:?}");
    assert!(before.iter().all(|path| path.starts_with("tenants/")));
    let listing = server.ask("GET", &format!("/{BUCKET}?list-type=2"));
    assert_eq!(listing.matches("<Key>some/prefix/tenants/").count(), 3);

    // Without what the cache held, and with an object that a crash left.
    std::fs::remove_dir_all(site.cache()).unwrap();
    let orphan = Path::from("tenants/a/segments/2026-11-20/orphan.parquet");
    bare.put(&orphan, PutPayload::from_static(b"?"))
        .await
        .unwrap();
    let store = site.open().await;
    assert_eq!(paths(&bare).await, before, "the orphan is gone");
    assert_eq!(found(&store, "a").await, [1, 2, 3, 4]);
    assert_eq!(found(&store, "b").await, [10]);
    drop(store);

    site.store.retention.max_age_ms = 3_600_000;
    site.clock.advance_ns(2 * HOUR);
    let store = site.open().await;
    assert_eq!(store.apply_retention().await.unwrap(), 3);
    for _ in 0..500 {
        if paths(&bare).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(paths(&bare).await.is_empty(), "retention deletes objects");
    assert!(found(&store, "a").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_is_in_the_host_name_unless_in_the_path() {
    let server = S3Server::start(BUCKET);
    let proxy = Proxy::start(server.address()).await;
    let mut site = Site::new(&proxy.address);
    let path = Path::from("tenants/x");
    let bare = site.open_bare();
    bare.put(&path, PutPayload::from_static(b"1"))
        .await
        .unwrap();
    let seen = proxy.requests("PUT");
    assert!(
        seen[0].starts_with("PUT /logs/some/prefix/tenants/x "),
        "{seen:?}"
    );

    // The host's name leads to the server by way of the proxy.
    site.objects.path_style = false;
    site.objects.endpoint = "http://s3.amazonaws.com".to_owned();
    site.objects.cache_bytes = 0;
    let through = credentials().with_proxy_url(format!("http://{}", proxy.address));
    let opened = open_with(through, &site.objects, site.folder.path(), &site.cache()).unwrap();
    let bytes = opened
        .store
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(&bytes[..], b"1");
    let seen = proxy.requests("GET");
    let head = "GET http://logs.s3.amazonaws.com/some/prefix/tenants/x ";
    assert!(seen[0].starts_with(head), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_wrong_credentials_are_named() {
    let server = S3Server::start("another");
    let site = Site::new(&server.address());
    let error = site.try_open().await.unwrap_err();
    assert!(matches!(error, Error::Object { .. }));
    let expected = "object store: listing tenants: Generic S3 error: the bucket does not exist";
    assert_eq!(error.to_string(), expected);
    let object = Path::from("tenants/x");
    let error = site.open_bare().get(&object).await.unwrap_err().to_string();
    assert!(error.contains("the bucket does not exist"), "{error}");

    let strict = S3Server::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "0")]);
    let site = Site::new(&strict.address());
    let error = site.try_open().await.unwrap_err();
    let message = format!("{error} {error:?}");
    assert!(message.contains("check AWS_ACCESS_KEY_ID"), "{message}");
    assert!(!message.contains(SECRET), "{message}");

    let mut site = Site::new(&server.address());
    site.objects.url = format!("s3://somebody:{SECRET}@logs");
    let message = site.try_open().await.unwrap_err().to_string();
    assert!(message.contains("holds credentials"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
}

#[test]
fn nothing_that_is_printed_of_a_store_holds_the_secret() {
    let site = Site::new("127.0.0.1:1");
    let stores = [site.open_objects(), site.open_bare()];
    let printed = format!("{stores:?} {} {}", stores[0], stores[1]);
    assert!(printed.contains("AmazonS3(logs)"), "{printed}");
    assert!(!printed.contains(SECRET), "{printed}");
}

/// The environment is a process's, so a process of its own has it.
#[test]
fn credentials_come_from_the_environment() {
    let server = S3Server::start(BUCKET);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env("S3_TEST_ADDRESS", server.address())
        .env("AWS_ACCESS_KEY_ID", "somebody-else")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[ignore = "run by credentials_come_from_the_environment"]
#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_the_environment_child() {
    let address = std::env::var("S3_TEST_ADDRESS").unwrap();
    let proxy = Proxy::start(address).await;
    let site = Site::new(&proxy.address);
    let opened = open(&site.objects, site.folder.path(), &site.cache()).unwrap();
    let object = Path::from("tenants/x");
    let payload = PutPayload::from_static(b"1");
    opened.store.put(&object, payload).await.unwrap();
    let seen = proxy.requests("PUT");
    assert!(seen[0].contains("Credential=somebody-else/"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_url_the_folder_is_the_store() {
    let mut site = Site::new("127.0.0.1:1");
    site.objects.url.clear();
    let root = site.folder.path().join("objects");
    let opened = open(&site.objects, &root, &site.cache());
    let message = opened.unwrap_err().to_string();
    assert!(message.contains("opening"), "{message}");
    std::fs::create_dir(&root).unwrap();
    let opened: Opened = open(&site.objects, &root, &site.cache()).unwrap();
    assert_eq!(opened.local_root.as_ref(), Some(&root));
    let store = site.open_on(opened).await.unwrap();
    store.append(request("a", &[1])).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(found(&store, "a").await, [1]);
    assert!(root.join("tenants/a").is_dir());
    assert!(!site.cache().exists());
}
