//! Who a record belongs to.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a tenant: 1 to 64 characters of `[A-Za-z0-9_-]`, starting with a letter or digit.
///
/// The alphabet is that of a path segment, because a tenant's name is a folder of the object store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A name that cannot be a tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is 1 to {max} characters of A-Z a-z 0-9 _ - and starts with a letter or digit", max = TenantId::MAX_LENGTH)]
pub struct TenantIdError;

impl TenantId {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// The tenant of requests that name none.
    pub fn default_tenant() -> Self {
        Self(Arc::from("default"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(name: &str) -> Result<Self, TenantIdError> {
        let bytes = name.as_bytes();
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if starts_well && bytes.len() <= Self::MAX_LENGTH && bytes.iter().all(allowed) {
            Ok(Self(Arc::from(name)))
        } else {
            Err(TenantIdError)
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TenantId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_path_segments() {
        for good in ["default", "a", "0", "team-7_x", &"x".repeat(64)] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "-a",
            "_a",
            "é",
            "a\0",
            &"x".repeat(65),
        ] {
            assert_eq!(bad.parse::<TenantId>(), Err(TenantIdError), "{bad:?}");
        }
    }
}
