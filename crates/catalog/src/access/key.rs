//! API keys: `lmk_<id>_<secret>`, both parts of `[0-9A-Za-z]`.

use std::fmt;

use rand::Rng;
use rand::distr::Alphanumeric;
use subtle::ConstantTimeEq;

use super::KeyRow;

const PREFIX: &str = "lmk_";
const ID_LENGTH: usize = 12;
/// 43 characters of 62 are 256.03 bits.
const SECRET_LENGTH: usize = 43;
const LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH;

/// The part of a key that names it: 12 characters, no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A key with its secret. It is never printed but by [`ApiKey::reveal`].
#[derive(Clone)]
pub struct ApiKey(String);

/// Whether a key is good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Valid,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl ApiKey {
    /// A new one, of the operating system's randomness.
    pub fn generate() -> Self {
        let mut random = rand::rng();
        let mut text = |length: usize| -> String {
            (0..length)
                .map(|_| char::from(random.sample(Alphanumeric)))
                .collect()
        };
        Self(format!(
            "{PREFIX}{}_{}",
            text(ID_LENGTH),
            text(SECRET_LENGTH)
        ))
    }

    /// A key as somebody sent it; none where it has not the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.strip_prefix(PREFIX)?.as_bytes();
        let shaped = text.len() == LENGTH
            && parts.iter().enumerate().all(|(position, byte)| {
                if position == ID_LENGTH {
                    *byte == b'_'
                } else {
                    byte.is_ascii_alphanumeric()
                }
            });
        shaped.then(|| Self(text.to_owned()))
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        KeyId(self.0[PREFIX.len()..PREFIX.len() + ID_LENGTH].to_owned())
    }

    /// BLAKE3 of the whole key. A fast hash is enough, as nobody guesses 256 random bits.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.0.as_bytes()).as_bytes()
    }

    /// The key itself, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({PREFIX}{}_…)", self.id())
    }
}

impl KeyRow {
    /// Whether this is the key's row; in a time that says nothing of where they differ.
    pub fn is_of(&self, key: &ApiKey) -> bool {
        self.hash.ct_eq(&key.hash()).into()
    }

    /// Whether the key is good at that time.
    pub fn state(&self, now_ns: i64) -> KeyState {
        if self.revoked_at_ns.is_some() {
            KeyState::Revoked
        } else if self.expires_at_ns.is_some_and(|expires| expires <= now_ns) {
            KeyState::Expired
        } else {
            KeyState::Valid
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        let key = ApiKey::generate();
        let text = key.reveal().to_owned();
        assert_eq!(text.len(), LENGTH);
        let read = ApiKey::parse(&text).unwrap();
        assert_eq!((read.id(), read.hash()), (key.id(), key.hash()));
        assert_ne!(ApiKey::generate().hash(), key.hash());
        let (_, secret) = text.rsplit_once('_').unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let good = ApiKey::generate().reveal().to_owned();
        let replaced = |position: usize, by: &str| {
            let mut text = good.clone();
            text.replace_range(position..=position, by);
            text
        };
        for bad in [
            String::new(),
            "lmk_".to_owned(),
            good.to_uppercase(),
            format!("{good}x"),
            good[..good.len() - 1].to_owned(),
            replaced(16, "x"),
            replaced(10, "_"),
            replaced(20, "-"),
            replaced(20, "é"),
            replaced(0, "x"),
        ] {
            assert!(ApiKey::parse(&bad).is_none(), "{bad}");
        }
    }
}
