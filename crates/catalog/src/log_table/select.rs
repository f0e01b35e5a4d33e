//! Selections as SQL. COPY takes no parameters, so texts become literals here, and nowhere else.

use std::fmt::Write;

use logmill_model::time::MIN_NS;

use super::{ANY_WORD, RowColumn, RowCondition, RowOrder, RowSelection};

/// The SELECT of a selection; `keys` puts the row's place before its columns.
pub(super) fn select(selection: &RowSelection, keys: bool) -> String {
    let keys = if keys { &["tableoid", "ctid"][..] } else { &[] };
    let columns = selection.columns.iter().map(|column| column.name());
    let columns: Vec<&str> = keys.iter().copied().chain(columns).collect();
    let mut sql = format!(
        "SELECT {} FROM log_entries WHERE tenant = {} AND timestamp_ns >= {} AND timestamp_ns < {} AND sequence < {}",
        columns.join(", "),
        text(selection.tenant.as_str()),
        // The smallest number is no literal, and no record is of a time before the first.
        selection.range.start_ns.max(MIN_NS),
        selection.range.end_ns.max(MIN_NS),
        i64::try_from(selection.before).unwrap_or(i64::MAX),
    );
    if let Some(condition) = condition(&selection.condition) {
        let _ = write!(sql, " AND {condition}");
    }
    match selection.order {
        Some(RowOrder::Ascending) => sql.push_str(" ORDER BY timestamp_ns"),
        Some(RowOrder::Descending) => sql.push_str(" ORDER BY timestamp_ns DESC"),
        None => {}
    }
    if let Some(limit) = selection.limit {
        let _ = write!(sql, " LIMIT {limit}");
    }
    sql
}

/// A condition; `None` holds of every row.
fn condition(of: &RowCondition) -> Option<String> {
    Some(match of {
        RowCondition::All(parts) => {
            let parts: Vec<String> = parts.iter().filter_map(condition).collect();
            if parts.is_empty() {
                return None;
            }
            format!("({})", parts.join(" AND "))
        }
        RowCondition::Any(parts) => {
            let parts: Vec<String> = parts.iter().map(condition).collect::<Option<_>>()?;
            if parts.is_empty() {
                return Some("false".to_owned());
            }
            format!("({})", parts.join(" OR "))
        }
        RowCondition::In(column, values) => {
            let values: Vec<String> = values.iter().map(|value| text(value)).collect();
            match values.as_slice() {
                [] => "false".to_owned(),
                [value] => format!("{} = {value}", column.name()),
                values => format!("{} IN ({})", column.name(), values.join(", ")),
            }
        }
        RowCondition::Present(column) => format!("{} IS NOT NULL", column.name()),
        RowCondition::HasAttribute(name) => {
            format!("{} ? {}", RowColumn::Attributes.name(), text(name))
        }
        RowCondition::HasWord(word) => {
            let query = format!("{} | {}", lexeme(word), lexeme(ANY_WORD));
            format!("{} @@ {}::tsquery", RowColumn::Words.name(), text(&query))
        }
    })
}

/// A word in the syntax of tsquery.
fn lexeme(word: &str) -> String {
    format!("'{}'", word.replace('\\', "\\\\").replace('\'', "''"))
}

/// A text as a literal, whatever the server's setting of `standard_conforming_strings` is. U+0000, which no text of Postgres
/// has, is not in it.
fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 3);
    literal.push_str("E'");
    for character in value.chars() {
        match character {
            '\0' => {}
            '\'' => literal.push_str("''"),
            '\\' => literal.push_str("\\\\"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use logmill_model::{TenantId, TimeRange};

    use super::*;

    #[test]
    fn texts_cannot_leave_their_literals() {
        assert_eq!(text(r"a'b\'c"), r"E'a''b\\''c'");
        assert_eq!(lexeme(r"o'\n"), r"'o''\\n'");
    }

    #[test]
    fn a_selection_says_all_it_was_asked_for() {
        let selection = RowSelection {
            tenant: TenantId::default_tenant(),
            columns: vec![RowColumn::Timestamp, RowColumn::Message],
            range: TimeRange {
                start_ns: 5,
                end_ns: 9,
            },
            before: 7,
            condition: RowCondition::All(vec![
                RowCondition::In(RowColumn::Level, vec!["error".to_owned()]),
                RowCondition::Any(vec![
                    RowCondition::HasWord("disk".to_owned()),
                    RowCondition::HasAttribute("a'b".to_owned()),
                ]),
                RowCondition::All(Vec::new()),
            ]),
            order: Some(RowOrder::Descending),
            limit: Some(3),
        };
        assert_eq!(
            select(&selection, true),
            "SELECT tableoid, ctid, timestamp_ns, message FROM log_entries WHERE tenant = E'default' AND \
             timestamp_ns >= 5 AND timestamp_ns < 9 AND sequence < 7 AND (level = E'error' AND \
             (words @@ E'''disk'' | ''*'''::tsquery OR attributes ? E'a''b')) ORDER BY timestamp_ns DESC LIMIT 3"
        );
    }

    #[test]
    fn one_unknown_part_makes_any_of_them_unknown() {
        let any = RowCondition::Any(vec![
            RowCondition::All(Vec::new()),
            RowCondition::Present(RowColumn::Host),
        ]);
        assert_eq!(condition(&any), None);
        assert_eq!(
            condition(&RowCondition::Any(Vec::new())).as_deref(),
            Some("false")
        );
    }
}
