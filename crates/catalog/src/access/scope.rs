//! What a credential is good for, and for whom.

use std::fmt;
use std::str::FromStr;

use logmill_model::{TenantId, TenantIdError};

/// One thing that a credential may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Records in.
    Ingest,
    /// Records out.
    Query,
    /// Everything below `/admin`.
    Admin,
}

/// A set of scopes. None contains another: an admin key without `query` reads no records.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}: use ingest, query, admin")]
pub struct ScopeError(String);

impl Scope {
    const ALL: [Self; 3] = [Self::Ingest, Self::Query, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(name: &str) -> Result<Self, ScopeError> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| ScopeError(name.to_owned()))
    }
}

impl Scopes {
    /// All there are.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it has this one.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Those it has.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// With commas, as they are read back.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        formatter.write_str(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Scopes({self})")
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(names: &str) -> Result<Self, ScopeError> {
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(str::parse).collect()
    }
}

/// For which tenants a key is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// For all there are and will be; written `*`.
    All,
    /// For one.
    Tenant(TenantId),
}

/// Neither `*` nor a tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}, or * for all tenants")]
pub struct ReachError(#[from] TenantIdError);

impl fmt::Display for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("*"),
            Self::Tenant(tenant) => tenant.fmt(formatter),
        }
    }
}

impl FromStr for Reach {
    type Err = ReachError;

    fn from_str(text: &str) -> Result<Self, ReachError> {
        Ok(match text {
            "*" => Self::All,
            name => Self::Tenant(name.parse()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_and_read() {
        for text in ["", "ingest", "query,admin", "ingest,query,admin"] {
            let scopes: Scopes = text.parse().unwrap();
            assert_eq!(scopes.to_string(), text);
            assert_eq!(scopes.is_empty(), text.is_empty());
            assert_eq!(scopes.contains(Scope::Query), text.contains("query"));
        }
        assert!("ingest,everything".parse::<Scopes>().is_err());
        assert!("Admin".parse::<Scopes>().is_err());
    }

    #[test]
    fn a_reach_is_all_or_a_tenant() {
        assert_eq!("*".parse(), Ok(Reach::All));
        assert_eq!("acme".parse::<Reach>().unwrap().to_string(), "acme");
        assert!("a*".parse::<Reach>().is_err());
    }
}
