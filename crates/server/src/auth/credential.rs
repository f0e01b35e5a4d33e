//! What a request shows of itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use logmill_catalog::ApiKey;

/// A key, or a token that somebody signed.
#[derive(Debug)]
pub(crate) enum Credential {
    Key(ApiKey),
    Token(String),
}

/// The header of a bare key.
const KEY_HEADER: &str = "x-api-key";

/// A request shows something that is no credential.
#[derive(Debug)]
pub(crate) struct Malformed;

impl Credential {
    /// Reads `Authorization: Bearer <key or token>`, `Authorization: Basic` with the key as the password, and
    /// `X-API-Key`; none where there is none. More than one of them is refused: it would not be clear who asks.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let authorization = headers.get_all(header::AUTHORIZATION).iter();
        let bare = headers.get_all(KEY_HEADER).iter();
        let mut all = authorization
            .map(|value| (true, value))
            .chain(bare.map(|value| (false, value)));
        let Some((is_authorization, value)) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(Malformed);
        }
        let text = value.to_str().map_err(|_not_ascii| Malformed)?.trim();
        if !is_authorization {
            return key(text).map(Some);
        }
        let (scheme, rest) = text.split_once(' ').ok_or(Malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return bearer(rest).map(Some);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let bytes = STANDARD.decode(rest).map_err(|_not_base64| Malformed)?;
            let text = String::from_utf8(bytes).map_err(|_not_text| Malformed)?;
            let (_user, password) = text.split_once(':').ok_or(Malformed)?;
            return key(password).map(Some);
        }
        Err(Malformed)
    }

    /// Reads a password of another protocol: a key or a token; none where it is empty.
    pub(crate) fn of_password(password: &str) -> Result<Option<Self>, Malformed> {
        match password.trim() {
            "" => Ok(None),
            password => bearer(password).map(Some),
        }
    }
}

/// A token has two dots, a key none.
fn bearer(text: &str) -> Result<Credential, Malformed> {
    if text.contains('.') {
        Ok(Credential::Token(text.to_owned()))
    } else {
        key(text)
    }
}

fn key(text: &str) -> Result<Credential, Malformed> {
    ApiKey::parse(text).map(Credential::Key).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<Option<Credential>, Malformed> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Credential::of(&map)
    }

    #[test]
    fn a_key_comes_in_three_ways() {
        let key = ApiKey::generate();
        let text = key.reveal();
        let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{text}")));
        for header in [
            ("authorization", format!("Bearer {text}")),
            ("authorization", format!("bearer  {text} ")),
            ("authorization", basic),
            ("x-api-key", text.to_owned()),
        ] {
            let found = read(&[(header.0, &header.1)]).unwrap();
            let Some(Credential::Key(found)) = found else {
                panic!("{header:?}: {found:?}");
            };
            assert_eq!(found.hash(), key.hash());
        }
        assert!(read(&[("accept", "*/*")]).unwrap().is_none());
        let token = read(&[("authorization", "Bearer a.b.c")]).unwrap();
        assert!(matches!(token, Some(Credential::Token(token)) if token == "a.b.c"));
    }

    #[test]
    fn what_is_no_credential_is_malformed() {
        let key = ApiKey::generate();
        let bearer = format!("Bearer {}", key.reveal());
        for headers in [
            &[("authorization", "")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer lmk_short")],
            &[("authorization", key.reveal())],
            &[("authorization", "Digest username=\"x\"")],
            &[("authorization", "Basic ???")],
            &[("authorization", "Basic /////w==")],
            &[("authorization", "Basic bm9jb2xvbg==")],
            &[("authorization", "Bearer \u{e9}")],
            &[("x-api-key", "a.b.c")],
            &[("authorization", &bearer), ("x-api-key", key.reveal())],
            &[("authorization", &bearer), ("authorization", &bearer)],
        ] {
            assert!(read(headers).is_err(), "{headers:?}");
        }
    }
}
