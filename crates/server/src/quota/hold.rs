//! A query's place is held until its answer is sent, not only until it is begun.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::Place;

/// The response, with the place in its body.
pub(crate) fn hold(place: Option<Place>, response: Response) -> Response {
    match place {
        Some(place) => response.map(|body| Body::new(Holding { body, place })),
        None => response,
    }
}

struct Holding {
    body: Body,
    #[allow(dead_code, reason = "it is dropped with the body")]
    place: Place,
}

impl HttpBody for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
