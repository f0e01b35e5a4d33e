//! Counts what is asked of a remote object store, and says in plain words what it refused.

use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What servers call the things that an operator has to put right, and what to say of them.
const REFUSALS: [(&str, &str); 9] = [
    ("<Code>NoSuchBucket</Code>", "the bucket does not exist"),
    (
        "<Code>InvalidAccessKeyId</Code>",
        "the server does not know the access key; check AWS_ACCESS_KEY_ID",
    ),
    (
        "<Code>SignatureDoesNotMatch</Code>",
        "the secret key is not the access key's; check AWS_SECRET_ACCESS_KEY",
    ),
    (
        "<Code>InvalidToken</Code>",
        "the session token is wrong; check AWS_SESSION_TOKEN",
    ),
    (
        "<Code>ExpiredToken</Code>",
        "the session token has expired; renew AWS_SESSION_TOKEN",
    ),
    (
        "<Code>AccessDenied</Code>",
        "the credentials do not permit this",
    ),
    (
        "<Code>PermanentRedirect</Code>",
        "the bucket is in another region; set `region`",
    ),
    (
        "<Code>AuthorizationHeaderMalformed</Code>",
        "the bucket is in another region; set `region`",
    ),
    (
        // Where the client looks for a machine's role when the environment has no credentials.
        "169.254.169.254",
        "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
];

/// An object store whose requests are counted.
pub(super) struct Metered<T> {
    inner: T,
}

impl<T> Metered<T> {
    pub(super) const fn new(inner: T) -> Self {
        Self { inner }
    }
}

/// Not derived: a client's settings hold credentials.
impl<T: Display> Debug for Metered<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Metered({})", self.inner)
    }
}

impl<T: Display> Display for Metered<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.inner)
    }
}

fn count(operation: &'static str, outcome: &'static str) {
    metrics::counter!(
        "logmill_object_requests_total",
        "operation" => operation,
        "outcome" => outcome
    )
    .increment(1);
}

fn counted<V>(operation: &'static str, result: Result<V>) -> Result<V> {
    count(operation, result.as_ref().err().map_or("ok", outcome));
    result.map_err(explain)
}

const fn outcome(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not_found",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => "denied",
        _ => "error",
    }
}

/// The error in plain words where there are some. A missing bucket is then no longer a missing object, which
/// callers that delete take for success.
fn explain(error: Error) -> Error {
    let text = error.to_string();
    let known = REFUSALS.iter().find(|(sign, _)| text.contains(sign));
    match known {
        Some((_, words)) => Error::Generic {
            store: "S3",
            source: (*words).into(),
        },
        None => error,
    }
}

/// `get_ranges` and `list_with_offset` are left to the trait: they end up in requests that are counted here.
#[async_trait]
impl<T: ObjectStore> ObjectStore for Metered<T> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        counted("put", self.inner.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        counted(
            "put",
            self.inner.put_multipart_opts(location, options).await,
        )
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { "head" } else { "get" };
        counted(operation, self.inner.get_opts(location, options).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let deleted = self.inner.delete_stream(locations);
        deleted.map(|result| counted("delete", result)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let failed = Arc::new(AtomicBool::new(false));
        let at_end = failed.clone();
        let listed = self.inner.list(prefix).map(move |result| match result {
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                counted("list", Err(error))
            }
            found => found,
        });
        let end = stream::poll_fn(move |_context| {
            if !at_end.load(Ordering::Relaxed) {
                count("list", "ok");
            }
            Poll::Ready(None)
        });
        listed.chain(end).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        counted("list", self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        counted("copy", self.inner.copy_opts(from, to, options).await)
    }
}
