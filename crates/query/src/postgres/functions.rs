//! Functions by which PostgreSQL's clients ask about the server: most have one answer here.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use logmill_query_api::SETTINGS;

use super::catalog::LOGS_OID;
use crate::schema_tables::TYPES;
use crate::session::{CATALOG, TABLE};

/// All of them.
pub(super) fn all() -> &'static [Arc<ScalarUDF>] {
    static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
        let answers = ANSWERS
            .iter()
            .map(|(name, answer)| Kind::Answer(name, *answer));
        let computed = [
            Kind::Texts("quote_ident", quote_ident),
            Kind::Texts("current_setting", current_setting),
            Kind::Texts("logmill_oid_of", oid_of),
            Kind::Texts("logmill_name_of", name_of),
            Kind::Texts("format_type", name_of),
            Kind::Parts("parse_ident"),
        ];
        let all = answers.chain(computed);
        all.map(|kind| Arc::new(PostgresFunction::new(kind).into()))
            .collect()
    });
    &FUNCTIONS
}

/// What a function answers, whatever it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Text(&'static str),
    Number(i64),
    Yes,
    No,
    /// No text.
    Nothing,
}

const ANSWERS: [(&str, Answer); 42] = [
    ("version", Answer::Text(VERSION)),
    ("current_schema", Answer::Text(CATALOG.1)),
    ("current_schemas", Answer::Text("{pg_catalog,public}")),
    ("current_database", Answer::Text(CATALOG.0)),
    ("current_catalog", Answer::Text(CATALOG.0)),
    ("current_user", Answer::Text(CATALOG.0)),
    ("session_user", Answer::Text(CATALOG.0)),
    ("user", Answer::Text(CATALOG.0)),
    ("pg_get_userbyid", Answer::Text(CATALOG.0)),
    ("pg_encoding_to_char", Answer::Text("UTF8")),
    ("getdatabaseencoding", Answer::Text("UTF8")),
    ("pg_client_encoding", Answer::Text("UTF8")),
    ("set_config", Answer::Text("")),
    ("pg_backend_pid", Answer::Number(0)),
    ("pg_my_temp_schema", Answer::Number(0)),
    ("pg_table_is_visible", Answer::Yes),
    ("pg_type_is_visible", Answer::Yes),
    ("pg_function_is_visible", Answer::Yes),
    ("has_table_privilege", Answer::Yes),
    ("has_any_column_privilege", Answer::Yes),
    ("has_column_privilege", Answer::Yes),
    ("has_schema_privilege", Answer::Yes),
    ("has_database_privilege", Answer::Yes),
    ("has_function_privilege", Answer::Yes),
    ("pg_is_in_recovery", Answer::No),
    ("pg_is_other_temp_schema", Answer::No),
    ("pg_relation_is_publishable", Answer::No),
    ("pg_get_expr", Answer::Nothing),
    ("pg_get_constraintdef", Answer::Nothing),
    ("pg_get_indexdef", Answer::Nothing),
    ("pg_get_viewdef", Answer::Nothing),
    ("pg_get_partkeydef", Answer::Nothing),
    ("pg_get_serial_sequence", Answer::Nothing),
    ("obj_description", Answer::Nothing),
    ("col_description", Answer::Nothing),
    ("shobj_description", Answer::Nothing),
    ("pg_tablespace_location", Answer::Nothing),
    ("pg_advisory_unlock_all", Answer::Nothing),
    ("inet_server_addr", Answer::Nothing),
    ("pg_size_pretty", Answer::Nothing),
    ("pg_table_size", Answer::Number(0)),
    ("pg_total_relation_size", Answer::Number(0)),
];

/// Drivers read the number after the name.
const VERSION: &str = concat!("PostgreSQL 15.0 (Logmill ", env!("CARGO_PKG_VERSION"), ")");

#[derive(Clone, Copy, Debug)]
enum Kind {
    Answer(&'static str, Answer),
    /// Of the text of its first argument.
    Texts(&'static str, fn(&str) -> Result<Option<String>>),
    /// `parse_ident`: the parts of a qualified name.
    Parts(&'static str),
}

#[derive(Debug)]
struct PostgresFunction {
    kind: Kind,
    signature: Signature,
}

impl PostgresFunction {
    fn new(kind: Kind) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        Self {
            kind,
            signature: Signature::one_of(any, Volatility::Stable),
        }
    }
}

impl PartialEq for PostgresFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for PostgresFunction {}

impl std::hash::Hash for PostgresFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for PostgresFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Answer(name, _) | Kind::Texts(name, _) | Kind::Parts(name) => name,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Answer(_, Answer::Number(_)) | Kind::Texts("logmill_oid_of", _) => {
                DataType::Int64
            }
            Kind::Answer(_, Answer::Yes | Answer::No) => DataType::Boolean,
            Kind::Answer(..) | Kind::Texts(..) => DataType::Utf8,
            Kind::Parts(_) => DataType::new_list(DataType::Utf8, true),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Kind::Answer(_, answer) = self.kind {
            return Ok(ColumnarValue::Scalar(scalar(answer)));
        }
        let Some(first) = arguments.args.first() else {
            return exec_err!("{} takes an argument", self.name());
        };
        let texts = cast(&first.to_array(arguments.number_rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>().iter();
        let Kind::Texts(_, compute) = self.kind else {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for text in texts {
                lists.append_option(text.map(|text| parts(text).map(Some)));
            }
            return Ok(ColumnarValue::Array(Arc::new(lists.finish())));
        };
        let values = texts.map(|text| match text {
            Some(text) => compute(text),
            None => Ok(None),
        });
        let values: StringArray = values.collect::<Result<_>>()?;
        let values: ArrayRef = match arguments.return_field.data_type() {
            DataType::Int64 => cast(&values, &DataType::Int64)?,
            _ => Arc::new(values),
        };
        Ok(ColumnarValue::Array(values))
    }
}

fn scalar(answer: Answer) -> ScalarValue {
    match answer {
        Answer::Text(text) => ScalarValue::Utf8(Some(text.to_owned())),
        Answer::Number(number) => ScalarValue::Int64(Some(number)),
        Answer::Yes => ScalarValue::Boolean(Some(true)),
        Answer::No => ScalarValue::Boolean(Some(false)),
        Answer::Nothing => ScalarValue::Utf8(None),
    }
}

/// A name as SQL needs it.
fn quote_ident(name: &str) -> Result<Option<String>> {
    let mut characters = name.chars();
    let begins = |c: char| c.is_ascii_lowercase() || c == '_';
    let goes_on = |c: char| begins(c) || c.is_ascii_digit();
    let plain = characters.next().is_some_and(begins) && characters.all(goes_on);
    Ok(Some(if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }))
}

fn current_setting(name: &str) -> Result<Option<String>> {
    let lower = name.to_ascii_lowercase();
    match SETTINGS.iter().find(|(known, _)| *known == lower) {
        Some((_, value)) => Ok(Some((*value).to_owned())),
        None => exec_err!("unrecognized configuration parameter {name:?}"),
    }
}

/// The parts of a name between points that are not in quotes, as they are without quotes.
fn parts(name: &str) -> impl Iterator<Item = String> {
    let mut quoted = false;
    let parts = name.split(move |c| {
        quoted ^= c == '"';
        c == '.' && !quoted
    });
    parts.map(|part| {
        match part
            .strip_prefix('"')
            .and_then(|part| part.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.trim().to_lowercase(),
        }
    })
}

/// The number of a table or type, as text; a number is itself.
fn oid_of(name: &str) -> Result<Option<String>> {
    let plain = name.replace('"', "");
    let plain = plain.rsplit('.').next().unwrap_or_default();
    let kind = || {
        TYPES
            .iter()
            .find(|kind| kind.short == plain || kind.name == plain)
    };
    let oid = if plain == TABLE {
        Some(LOGS_OID)
    } else {
        plain.parse().ok().or_else(|| kind().map(|kind| kind.oid))
    };
    match oid {
        Some(oid) => Ok(Some(oid.to_string())),
        None => exec_err!("relation {name:?} does not exist"),
    }
}

/// The name of a table, type or schema by its number; a name is itself.
fn name_of(oid: &str) -> Result<Option<String>> {
    let Ok(number) = oid.parse::<i64>() else {
        return Ok(Some(oid.to_owned()));
    };
    if number == LOGS_OID {
        return Ok(Some(TABLE.to_owned()));
    }
    let kind = TYPES.iter().find(|kind| kind.oid == number);
    Ok(Some(kind.map_or_else(
        || oid.to_owned(),
        |kind| kind.name.to_owned(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        let quoted = |name: &str| quote_ident(name).unwrap().unwrap();
        assert_eq!(quoted("logs"), "logs");
        assert_eq!(quoted("http.status"), "\"http.status\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("1a"), "\"1a\"");
        let parts = parts("public.\"a.b\"\"c\"").collect::<Vec<_>>();
        assert_eq!(parts, ["public", "a.b\"c"]);
    }

    #[test]
    fn tables_and_types_have_numbers() {
        assert_eq!(
            oid_of("\"public\".\"logs\"").unwrap().as_deref(),
            Some("16384")
        );
        assert_eq!(name_of("16384").unwrap().as_deref(), Some("logs"));
        assert_eq!(
            name_of("1184").unwrap().as_deref(),
            Some("timestamp with time zone")
        );
        assert!(oid_of("other").is_err());
        assert!(current_setting("server_version").is_ok());
        assert!(current_setting("nonsense").is_err());
    }
}
