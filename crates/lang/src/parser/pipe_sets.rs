//! Pipes that change which fields there are, and those that bring other records in.

use super::{Parser, Result};
use crate::ast::{FieldPattern, Join, Pack, Pipe, Renaming, Unroll};

impl Parser<'_> {
    /// The pipe `name`, after its name.
    pub(super) fn set_pipe(&mut self, name: &str) -> Result<Pipe> {
        Ok(match name {
            "copy" | "cp" => Pipe::Copy(self.comma_separated(Self::renaming)?),
            "rename" | "mv" => Pipe::Rename(self.comma_separated(Self::renaming)?),
            "join" => Pipe::Join(self.join()?),
            "pack_json" => Pipe::PackJson(self.pack()?),
            "pack_logfmt" => Pipe::PackLogfmt(self.pack()?),
            "union" => Pipe::Union(Box::new(self.query_in_parentheses()?)),
            _ => Pipe::Unroll(self.unroll()?),
        })
    }

    /// `a as b`, `a* as b*`.
    fn renaming(&mut self) -> Result<Renaming> {
        let at = self.at;
        let from = self.field_pattern()?;
        self.accept("as");
        let to = self.field_pattern()?;
        let alike = matches!(
            (&from, &to),
            (FieldPattern::Name(_), FieldPattern::Name(_))
                | (FieldPattern::Prefix(_), FieldPattern::Prefix(_))
        );
        if !alike {
            return Err(self
                .error_at(at, "a name becomes a name, and a prefix becomes a prefix")
                .with_hint("for example `foo as bar` or `foo* as bar*`"));
        }
        Ok(Renaming { from, to })
    }

    fn join(&mut self) -> Result<Join> {
        if !self.accept("by") {
            self.accept("on");
        }
        let at = self.at;
        let by = self.in_parentheses(Self::field_name)?;
        if by.is_empty() {
            return Err(self.error_at(at, "the name of a field is missing in `join by (…)`"));
        }
        let query = Box::new(self.query_in_parentheses()?);
        let inner = self.accept("inner");
        let prefix = if self.accept("prefix") {
            Some(self.value("a prefix")?)
        } else {
            None
        };
        Ok(Join {
            by,
            query,
            inner,
            prefix: prefix.filter(|prefix| !prefix.is_empty()),
        })
    }

    fn pack(&mut self) -> Result<Pack> {
        let fields = if self.accept("fields") {
            self.field_patterns()?
        } else {
            vec![FieldPattern::all()]
        };
        let named = self.accept("as");
        let result_field = if named || !self.at_pipe_end() {
            self.field_name()?
        } else {
            "_msg".to_owned()
        };
        Ok(Pack {
            fields,
            result_field,
        })
    }

    fn unroll(&mut self) -> Result<Unroll> {
        let condition = self.condition()?;
        self.accept("by");
        Ok(Unroll {
            condition,
            by: self.field_names()?,
        })
    }
}
