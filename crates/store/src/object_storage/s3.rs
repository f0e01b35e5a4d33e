//! From settings to a client of S3.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::{Host, Url};

use super::metered::Metered;
use super::{ObjectStorageOptions, wrong};
use crate::Result;

/// A connection that takes longer than this to open is not going to.
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// Pauses between tries, before they are scattered: from the first to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A client, and a text that tells its objects from those of other servers, buckets and prefixes.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) identity: String,
}

/// A client of the bucket and prefix that the options name.
pub(super) fn connect(
    credentials: AmazonS3Builder,
    options: &ObjectStorageOptions,
) -> Result<Connected> {
    let (bucket, prefix) = place(&options.url)?;
    let (timeout, connect_timeout) = (
        options.request_timeout_ms,
        options.request_timeout_ms.min(CONNECT_TIMEOUT_MS),
    );
    // By single keys and not by one `ClientOptions`: that would drop what the environment says of proxies.
    let client = AmazonS3ConfigKey::Client;
    let mut builder = credentials
        .with_bucket_name(&bucket)
        .with_virtual_hosted_style_request(!options.path_style)
        .with_config(client(ClientConfigKey::Timeout), format!("{timeout} ms"))
        .with_config(
            client(ClientConfigKey::ConnectTimeout),
            format!("{connect_timeout} ms"),
        )
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: BACKOFF.0,
                max_backoff: BACKOFF.1,
                base: 2.0,
            },
            max_retries: usize::try_from(options.retry_max).unwrap_or(usize::MAX),
            retry_timeout: Duration::from_millis(options.retry_timeout_ms),
        });
    if options.allow_http {
        builder = builder.with_config(client(ClientConfigKey::AllowHttp), "true");
    }
    if !options.region.is_empty() {
        builder = builder.with_region(&options.region);
    }
    let named = if options.endpoint.is_empty() {
        let of_s3 = builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint);
        of_s3.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint))
    } else {
        Some(options.endpoint.clone())
    };
    let mut identity = options.url.trim_end_matches('/').to_owned();
    if let Some(named) = named {
        identity = format!("{named} {identity}");
        let allow_http = builder.get_config_value(&client(ClientConfigKey::AllowHttp));
        let allow_http = allow_http.is_some_and(|value| value == "true");
        let endpoint = endpoint(&named, &bucket, options.path_style, allow_http)?;
        // The environment may have set either, and the more special one wins.
        builder = builder
            .with_endpoint(&endpoint)
            .with_config(AmazonS3ConfigKey::S3Endpoint, &endpoint);
    }
    let store = builder
        .build()
        .map_err(|source| wrong("url", source.to_string()))?;
    let store = Metered::new(store);
    let store: Arc<dyn ObjectStore> = match prefix {
        Some(prefix) => Arc::new(PrefixStore::new(store, prefix)),
        None => Arc::new(store),
    };
    Ok(Connected { store, identity })
}

/// The bucket and the prefix of `s3://bucket/prefix`. No error repeats the text: it may hold a password.
fn place(text: &str) -> Result<(String, Option<ObjectPath>)> {
    const FORM: &str = "`s3://bucket/prefix`, or nothing for the local folder";
    let wrong = |reason: String| wrong("url", reason);
    let url = Url::parse(text).map_err(|source| wrong(format!("{source}; expected {FORM}")))?;
    if url.scheme() != "s3" {
        let scheme = url.scheme();
        return Err(wrong(format!(
            "the scheme `{scheme}` is not known; expected {FORM}"
        )));
    }
    no_credentials(&url, "url")?;
    if url.query().is_some() || url.fragment().is_some() || url.port().is_some() {
        return Err(wrong(format!(
            "has a port, `?` or `#`, which name nothing in S3; expected {FORM}"
        )));
    }
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| wrong(format!("names no bucket; expected {FORM}")))?;
    let prefix = ObjectPath::from_url_path(url.path())
        .map_err(|source| wrong(format!("the prefix is no path: {source}")))?;
    let prefix = (!prefix.as_ref().is_empty()).then_some(prefix);
    Ok((bucket.to_owned(), prefix))
}

/// The endpoint as the client wants it: with the bucket in the host name unless it is in the path.
fn endpoint(text: &str, bucket: &str, path_style: bool, allow_http: bool) -> Result<String> {
    let wrong = |reason: String| wrong("endpoint", reason);
    let mut url = Url::parse(text).map_err(|source| wrong(format!("{source}")))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            let reason = "`http` sends records in the clear; set `allow_http` if that is meant";
            return Err(wrong(reason.to_owned()));
        }
        other => {
            return Err(wrong(format!(
                "the scheme `{other}` is not known; expected `https` or `http`"
            )));
        }
    }
    no_credentials(&url, "endpoint")?;
    if !path_style {
        let host = match url.host() {
            Some(Host::Domain(domain)) => format!("{bucket}.{domain}"),
            _ => {
                let reason = "an address has no names below it for buckets; set `path_style`";
                return Err(wrong(reason.to_owned()));
            }
        };
        url.set_host(Some(&host)).map_err(|source| {
            wrong(format!(
                "with the bucket in the host name: {source}; set `path_style`"
            ))
        })?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn no_credentials(url: &Url, setting: &'static str) -> Result<()> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let reason = "holds credentials; they come from the environment (AWS_ACCESS_KEY_ID, \
                  AWS_SECRET_ACCESS_KEY)";
    Err(wrong(setting, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_perhaps_a_prefix() {
        let of = |text: &str| {
            let (bucket, prefix) = place(text).unwrap();
            (bucket, prefix.map(|prefix| prefix.to_string()))
        };
        assert_eq!(of("s3://logs"), ("logs".to_owned(), None));
        assert_eq!(of("s3://logs/"), ("logs".to_owned(), None));
        let deep = Some("a/b c".to_owned());
        assert_eq!(of("s3://logs/a/b%20c/"), ("logs".to_owned(), deep));
    }

    #[test]
    fn what_is_wrong_with_a_place_is_said_without_secrets() {
        for (text, part) in [
            ("logs", "expected `s3://bucket/prefix`"),
            ("gs://logs", "the scheme `gs` is not known"),
            ("s3:///prefix", "names no bucket"),
            ("s3://", "names no bucket"),
            ("s3://key:hunter2@logs", "holds credentials"),
            ("s3://logs?secret=hunter2", "has a port, `?` or `#`"),
        ] {
            let message = place(text).unwrap_err().to_string();
            assert!(message.starts_with("object_storage.url: "), "{message}");
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn an_endpoint_has_the_bucket_in_its_name_unless_in_the_path() {
        let of = |text, path_style, allow_http| {
            endpoint(text, "logs", path_style, allow_http).map_err(|error| error.to_string())
        };
        let expected = Ok("https://logs.s3.example.com:9000".to_owned());
        assert_eq!(of("https://s3.example.com:9000/", false, false), expected);
        let expected = Ok("http://127.0.0.1:9000".to_owned());
        assert_eq!(of("http://127.0.0.1:9000", true, true), expected);
        for (text, path_style, allow_http, part) in [
            ("http://s3.example.com", true, false, "set `allow_http`"),
            ("http://127.0.0.1:9000", false, true, "set `path_style`"),
            ("ftp://s3.example.com", true, true, "`ftp` is not known"),
            ("s3.example.com", true, true, "relative URL"),
            (
                "https://k:hunter2@s3.example.com",
                true,
                true,
                "holds credentials",
            ),
        ] {
            let message = of(text, path_style, allow_http).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
