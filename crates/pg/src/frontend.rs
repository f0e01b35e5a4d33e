//! What clients send, decoded. These are bytes from outside: no length in them is believed.
//!
//! The format is that of chapter "Frontend/Backend Protocol" of PostgreSQL's documentation, version 3.0.

use bytes::{Buf, Bytes};

/// The first thing a client says; it has no type byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It wants TLS.
    Tls,
    /// It wants encryption by GSSAPI.
    Gss,
    /// It wants the query of another connection stopped.
    Cancel {
        /// Which connection.
        process_id: i32,
        /// What only that connection's client knows.
        secret: i32,
    },
    /// It wants to talk.
    Startup {
        /// Minor version of protocol 3.
        minor: u16,
        /// `user`, `database`, settings.
        parameters: Vec<(String, String)>,
    },
}

/// What a client says after that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A password.
    Password(String),
    /// Statements, to be answered at once.
    Query(String),
    /// A statement, to be prepared.
    Parse {
        /// Its name; empty for the one without.
        name: String,
        /// Its text.
        sql: String,
        /// Types of its parameters as far as the client says; 0 where it does not.
        types: Vec<u32>,
    },
    /// Values for a prepared statement.
    Bind {
        /// The name of what comes of it.
        portal: String,
        /// The statement's name.
        statement: String,
        /// Formats of the values: none (text), one for all, or one each.
        formats: Vec<i16>,
        /// The values; none for null.
        values: Vec<Option<Bytes>>,
        /// Formats of the answer's columns, likewise.
        result_formats: Vec<i16>,
    },
    /// What does it take, and answer?
    Describe(Target),
    /// Rows, please.
    Execute {
        /// The portal's name.
        portal: String,
        /// Most rows; 0 for all.
        max_rows: u32,
    },
    /// It is not needed any more.
    Close(Target),
    /// Send what there is.
    Flush,
    /// The end of a group of messages.
    Sync,
    /// The client leaves.
    Terminate,
    /// Data for COPY, which nobody asked for.
    Copy,
}

/// A prepared statement or a portal, by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

/// Bytes that are no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid message: {0}")]
pub(crate) struct Malformed(&'static str);

const TLS_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
const PROTOCOL_MAJOR: i32 = 3;

/// Decodes the body of an opening, without its length.
pub(crate) fn opening(body: &[u8]) -> Result<Opening, Malformed> {
    let mut body = Body(body);
    let opening = match body.i32()? {
        TLS_REQUEST => Opening::Tls,
        GSS_REQUEST => Opening::Gss,
        CANCEL_REQUEST => Opening::Cancel {
            process_id: body.i32()?,
            secret: body.i32()?,
        },
        version if version >> 16 == PROTOCOL_MAJOR => Opening::Startup {
            minor: (version & 0xffff) as u16,
            parameters: body.pairs()?,
        },
        _ => {
            return Err(Malformed(
                "not a version of the protocol that is spoken here",
            ));
        }
    };
    body.end()?;
    Ok(opening)
}

/// Decodes the body of a message, without type and length.
pub(crate) fn message(kind: u8, body: &[u8]) -> Result<Message, Malformed> {
    let mut body = Body(body);
    let message = match kind {
        b'p' => Message::Password(body.text()?),
        b'Q' => Message::Query(body.text()?),
        b'P' => Message::Parse {
            name: body.text()?,
            sql: body.text()?,
            types: body.list(4, Body::u32)?,
        },
        b'B' => Message::Bind {
            portal: body.text()?,
            statement: body.text()?,
            formats: body.list(2, Body::i16)?,
            values: body.list(4, Body::value)?,
            result_formats: body.list(2, Body::i16)?,
        },
        b'D' => Message::Describe(body.target()?),
        b'E' => Message::Execute {
            portal: body.text()?,
            max_rows: u32::try_from(body.i32()?).unwrap_or(0),
        },
        b'C' => Message::Close(body.target()?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'd' | b'c' | b'f' => return Ok(Message::Copy),
        _ => return Err(Malformed("a type of message that is not known")),
    };
    body.end()?;
    Ok(message)
}

/// The rest of a message's body.
struct Body<'a>(&'a [u8]);

const SHORT: Malformed = Malformed("it ends too early");

impl Body<'_> {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_short| SHORT)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.0.try_get_i16().map_err(|_short| SHORT)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.0.try_get_i32().map_err(|_short| SHORT)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_short| SHORT)
    }

    /// Text up to a zero byte.
    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_bytes| Malformed("text is UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A count, and so many items of at least `item_bytes` each.
    fn list<T>(
        &mut self,
        item_bytes: usize,
        item: fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.0.try_get_u16().map_err(|_short| SHORT)?);
        if count * item_bytes > self.0.len() {
            return Err(SHORT);
        }
        (0..count).map(|_item| item(self)).collect()
    }

    /// A length and so many bytes; none where the length is -1.
    fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Ok(length) = usize::try_from(self.i32()?) else {
            return Ok(None);
        };
        let (value, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(Some(Bytes::copy_from_slice(value)))
    }

    /// Names and values up to an empty name.
    fn pairs(&mut self) -> Result<Vec<(String, String)>, Malformed> {
        let mut pairs = Vec::new();
        loop {
            let name = self.text()?;
            if name.is_empty() {
                return Ok(pairs);
            }
            pairs.push((name, self.text()?));
        }
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match self.u8()? {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            _ => Err(Malformed("neither a statement nor a portal")),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed("it is longer than what it says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever comes is a message or is refused, and takes no more memory than it has bytes.
        #[test]
        fn noise_is_a_message_or_refused(
            kind in prop::sample::select(b"pQPBDECHSXdcf?".to_vec()),
            body in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..64),
        ) {
            let _ = opening(&body);
            if let Ok(Message::Bind { values, .. }) = message(kind, &body) {
                let length: usize = values.iter().flatten().map(Bytes::len).sum();
                prop_assert!(length <= body.len());
            }
        }
    }

    #[test]
    fn messages_are_what_they_say() {
        let bind = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\0";
        let expected = Message::Bind {
            portal: String::new(),
            statement: "s".to_owned(),
            formats: vec![1],
            values: vec![Some(Bytes::from_static(b"hi")), None],
            result_formats: Vec::new(),
        };
        assert_eq!(message(b'B', bind), Ok(expected));
        let startup = b"\0\x03\0\x02user\0me\0\0";
        let expected = Opening::Startup {
            minor: 2,
            parameters: vec![("user".to_owned(), "me".to_owned())],
        };
        assert_eq!(opening(startup), Ok(expected));
    }

    #[test]
    fn every_cut_of_a_message_is_refused() {
        let parse = b"name\0SELECT $1\0\0\x01\0\0\0\x17";
        assert!(message(b'P', parse).is_ok());
        for length in 0..parse.len() {
            assert!(message(b'P', &parse[..length]).is_err(), "{length}");
        }
        let bind = b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0";
        assert_eq!(message(b'B', bind), Err(SHORT));
        assert_eq!(message(b'B', b"\0\0\xff\xff"), Err(SHORT));
        assert!(message(b'Q', b"SELECT 1").is_err());
        assert!(message(b'Q', b"SELECT 1\0more").is_err());
        assert!(message(b'Q', b"\xff\0").is_err());
        assert!(message(b'?', b"").is_err());
        assert!(opening(b"\0\x02\0\0").is_err());
    }
}
