//! `join` and `union`: the records of another query.

use logmill_lang::Query;
use logmill_lang::ast::Join;

use crate::{Interpreter, Result, Row, Rows, set};

impl Interpreter<'_> {
    pub(super) fn join(&self, rows: &mut Rows, join: &Join) -> Result<()> {
        let others = self.rows(&join.query)?;
        let prefix = join.prefix.as_deref().unwrap_or_default();
        let key = |rows: &Rows, row: &Row| -> Vec<String> {
            join.by.iter().map(|name| rows.get(row, name)).collect()
        };
        let mut joined = Vec::new();
        for row in &rows.rows {
            let wanted = key(rows, row);
            let matching = others
                .rows
                .iter()
                .filter(|other| key(&others, other) == wanted);
            let before = joined.len();
            for other in matching {
                let mut other = other.clone();
                for name in &join.by {
                    others.remove(&mut other, name);
                }
                let mut extended = row.clone();
                // Only what is new is added.
                for (name, value) in other {
                    let name = format!("{prefix}{name}");
                    let own = rows.get(row, &name);
                    set(
                        &mut extended,
                        &name,
                        if own.is_empty() { value } else { own },
                    );
                }
                joined.push(extended);
            }
            if joined.len() == before && !join.inner {
                joined.push(row.clone());
            }
        }
        rows.rows = joined;
        Ok(())
    }

    pub(super) fn union(&self, rows: &mut Rows, query: &Query) -> Result<()> {
        rows.rows.extend(self.rows(query)?.rows);
        Ok(())
    }
}
