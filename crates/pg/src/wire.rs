//! A connection's bytes: messages in and out, through buffers of bounded length.

use std::io;

use bytes::{Buf, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::PgError;
use crate::frontend::{self, Message, Opening};

/// Longest opening, as PostgreSQL has it.
const OPENING_MAX_BYTES: usize = 10_000;
/// What is read ahead while a query runs, to notice that its client left.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// What is written at once.
pub(crate) const WRITE_BYTES: usize = 64 << 10;
const LENGTH_BYTES: usize = 4;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a conversation cannot go on as it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that the client hears of.
    Told(PgError),
    /// There is nobody to hear of it.
    Gone(io::Error),
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl From<PgError> for Failure {
    fn from(error: PgError) -> Self {
        Self::Told(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    /// Messages that are not written yet.
    pub(crate) output: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
        }
    }

    /// The stream, to be secured. Bytes that came with the wish for it were not secured, and are not taken for what is.
    pub(crate) fn into_stream(self) -> Outcome<Box<dyn Stream>> {
        if self.input.is_empty() {
            Ok(self.stream)
        } else {
            Err(PgError::protocol("data before the connection is secured")
                .into_fatal()
                .into())
        }
    }

    /// The next opening; none where the client left.
    pub(crate) async fn opening(&mut self) -> Outcome<Option<Opening>> {
        let Some(length) = self.length(0, OPENING_MAX_BYTES).await? else {
            return Ok(None);
        };
        let body = self.input.split_to(length);
        let opening = frontend::opening(body.get(LENGTH_BYTES..).unwrap_or_default());
        let opening = opening.map_err(|error| PgError::protocol(error.to_string()).into_fatal())?;
        Ok(Some(opening))
    }

    /// The next message, of at most so many bytes; none where the client left.
    pub(crate) async fn message(&mut self, max_bytes: usize) -> Outcome<Option<Message>> {
        let Some(length) = self.length(1, max_bytes).await? else {
            return Ok(None);
        };
        let frame = self.input.split_to(1 + length);
        let (kind, body) = (frame[0], frame.get(1 + LENGTH_BYTES..).unwrap_or_default());
        let message = frontend::message(kind, body);
        let message = message.map_err(|error| PgError::protocol(error.to_string()).into_fatal())?;
        Ok(Some(message))
    }

    /// Waits for the whole of a message whose length stands at `at`; none where there is no further message.
    async fn length(&mut self, at: usize, max_bytes: usize) -> Outcome<Option<usize>> {
        loop {
            if let Some(mut length) = self.input.get(at..at + LENGTH_BYTES) {
                let length = length.get_u32() as usize;
                if !(LENGTH_BYTES..=max_bytes).contains(&length) {
                    let message = format!("a message of {length} bytes; the limit is {max_bytes}");
                    return Err(PgError::new("54000", message).into_fatal().into());
                }
                if self.input.len() >= at + length {
                    return Ok(Some(length));
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return if self.input.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
                };
            }
        }
    }

    /// Ends when the client has left. What it sends before is kept; a client that sends much is not looked after.
    pub(crate) async fn gone(&mut self) -> io::Error {
        loop {
            if self.input.len() >= READ_AHEAD_BYTES {
                std::future::pending::<()>().await;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Whether more came than was read.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(crate) fn put(&mut self, message: &PgWireBackendMessage) -> Outcome<()> {
        message
            .encode(&mut self.output)
            .map_err(|error| PgError::protocol(error.to_string()).into())
    }

    /// Writes all that waits. Broken off, it can be called again.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.output.has_remaining() {
            self.stream.write_buf(&mut self.output).await?;
        }
        self.stream.flush().await
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        if let Err(error) = async {
            self.flush().await?;
            self.stream.shutdown().await
        }
        .await
        {
            tracing::debug!(%error, "closing a connection");
        }
    }
}
