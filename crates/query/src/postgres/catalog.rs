//! `pg_catalog`: the one table, its columns and their types, as PostgreSQL's clients look them up. What there never is here
//! (indexes, constraints, triggers, …) is a table without rows.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, ListArray, StringArray};
use arrow_schema::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use logmill_query_api::SETTINGS;

use crate::schema_tables::{TYPES, in_memory, integers, texts, type_of};
use crate::session::{CATALOG, TABLE};

/// The number of the table `logs`.
pub(crate) const LOGS_OID: i64 = 16_384;
const DATABASE_OID: i64 = 16_383;
const OWNER_OID: i64 = 10;
const CATALOG_SCHEMA_OID: i64 = 11;
const PUBLIC_SCHEMA_OID: i64 = 2_200;
const HEAP_OID: i64 = 2;

/// What there never is, and the columns by which it is asked for: texts, and numbers after the bar.
const NEVER: [(&str, &str); 25] = [
    ("pg_auth_members", "membername | roleid member grantor"),
    ("pg_db_role_setting", "setconfig | setdatabase setrole"),
    ("pg_attrdef", "adbin | oid adrelid adnum"),
    ("pg_collation", "collname | oid collnamespace"),
    (
        "pg_constraint",
        "conname contype | oid connamespace conrelid confrelid conindid contypid conkey confkey",
    ),
    ("pg_description", "description | objoid classoid objsubid"),
    ("pg_enum", "enumlabel | oid enumtypid enumsortorder"),
    ("pg_event_trigger", "evtname | oid"),
    (
        "pg_extension",
        "extname extversion | oid extowner extnamespace",
    ),
    ("pg_foreign_table", "ftoptions | ftrelid ftserver"),
    ("pg_foreign_server", "srvname | oid"),
    (
        "pg_index",
        "indpred | indexrelid indrelid indnatts indisunique indisprimary indkey",
    ),
    (
        "pg_inherits",
        "inhdetachpending | inhrelid inhparent inhseqno",
    ),
    (
        "pg_matviews",
        "schemaname matviewname matviewowner definition |",
    ),
    ("pg_partitioned_table", "partstrat | partrelid partnatts"),
    (
        "pg_policy",
        "polname polcmd | oid polrelid polpermissive polroles",
    ),
    (
        "pg_proc",
        "proname prokind | oid pronamespace proowner prorettype",
    ),
    ("pg_publication", "pubname | oid puballtables"),
    ("pg_publication_namespace", "pnname | oid pnpubid pnnspid"),
    ("pg_publication_rel", "prname | oid prpubid prrelid"),
    ("pg_range", "rngname | rngtypid rngsubtype"),
    ("pg_rewrite", "rulename | oid ev_class"),
    (
        "pg_statistic_ext",
        "stxname | oid stxrelid stxnamespace stxowner",
    ),
    (
        "pg_trigger",
        "tgname | oid tgrelid tgisinternal tgconstraint",
    ),
    ("pg_views", "schemaname viewname viewowner definition |"),
];

const NAMES: [&str; 11] = [
    "pg_am",
    "pg_attribute",
    "pg_class",
    "pg_database",
    "pg_namespace",
    "pg_roles",
    "pg_settings",
    "pg_tables",
    "pg_tablespace",
    "pg_type",
    "pg_user",
];

/// Whether a table of the catalog never has rows.
pub(super) fn is_never(table: &str) -> bool {
    NEVER.iter().any(|(name, _)| *name == table)
}

/// The catalog of a tenant's table, made as it is asked for.
pub(crate) struct PgCatalog {
    pub(crate) logs: SchemaRef,
}

impl fmt::Debug for PgCatalog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PgCatalog")
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let never = NEVER.iter().map(|(name, _)| *name);
        NAMES.into_iter().chain(never).map(str::to_owned).collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name) || is_never(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let columns = match name {
            "pg_am" => one([
                ("oid", number(HEAP_OID)),
                ("amname", text("heap")),
                ("amtype", text("t")),
            ]),
            "pg_attribute" => self.attributes(),
            "pg_class" => self.classes(),
            "pg_database" => databases(),
            "pg_namespace" => namespaces(),
            "pg_roles" | "pg_user" => roles(),
            "pg_settings" => settings(),
            "pg_tables" => one([
                ("schemaname", text(CATALOG.1)),
                ("tablename", text(TABLE)),
                ("tableowner", text(CATALOG.0)),
                ("hasindexes", no()),
            ]),
            "pg_tablespace" => one([("oid", number(1_663)), ("spcname", text("pg_default"))]),
            "pg_type" => pg_types(),
            never => match NEVER.iter().find(|(name, _)| *name == never) {
                Some((_, columns)) => empty(columns),
                None => return Ok(None),
            },
        };
        in_memory(columns).map(Some)
    }
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn one<const N: usize>(columns: [(&'static str, ArrayRef); N]) -> Columns {
    columns.into()
}

fn text(value: &'static str) -> ArrayRef {
    texts([value])
}

fn number(value: i64) -> ArrayRef {
    integers([value])
}

fn no() -> ArrayRef {
    Arc::new(BooleanArray::from(vec![false]))
}

fn yes() -> ArrayRef {
    Arc::new(BooleanArray::from(vec![true]))
}

fn no_text(rows: usize) -> ArrayRef {
    Arc::new(StringArray::new_null(rows))
}

/// Lists of rights and the like, which nothing has.
fn no_list(rows: usize) -> ArrayRef {
    let item = Field::new_list_field(DataType::Utf8, true);
    Arc::new(ListArray::new_null(Arc::new(item), rows))
}

fn empty(columns: &'static str) -> Columns {
    let (texts, numbers) = columns.split_once('|').unwrap_or((columns, ""));
    let texts = texts.split_whitespace().map(|name| (name, no_text(0)));
    let number = |name| (name, Arc::new(Int64Array::new_null(0)) as ArrayRef);
    texts
        .chain(numbers.split_whitespace().map(number))
        .collect()
}

fn databases() -> Columns {
    one([
        ("oid", number(DATABASE_OID)),
        ("datname", text(CATALOG.0)),
        ("datdba", number(OWNER_OID)),
        ("encoding", number(6)),
        ("datlocprovider", text("c")),
        ("datcollate", text("C")),
        ("datctype", text("C")),
        ("daticulocale", no_text(1)),
        ("datistemplate", no()),
        ("datallowconn", yes()),
        ("datconnlimit", number(-1)),
        ("dattablespace", number(1_663)),
        ("datacl", no_list(1)),
    ])
}

fn namespaces() -> Columns {
    one([
        (
            "oid",
            integers([CATALOG_SCHEMA_OID, PUBLIC_SCHEMA_OID, 13_000]),
        ),
        (
            "nspname",
            texts(["pg_catalog", CATALOG.1, "information_schema"]),
        ),
        ("nspowner", integers([OWNER_OID; 3])),
        ("nspacl", no_list(3)),
    ])
}

fn roles() -> Columns {
    one([
        ("oid", number(OWNER_OID)),
        ("usesysid", number(OWNER_OID)),
        ("rolname", text(CATALOG.0)),
        ("usename", text(CATALOG.0)),
        ("rolsuper", no()),
        ("rolinherit", no()),
        ("rolcreaterole", no()),
        ("rolcreatedb", no()),
        ("rolcanlogin", yes()),
        ("rolreplication", no()),
        ("rolbypassrls", no()),
        ("rolconnlimit", number(-1)),
        ("rolvaliduntil", no_text(1)),
        ("usesuper", no()),
        ("usecreatedb", no()),
    ])
}

fn settings() -> Columns {
    let count = SETTINGS.len();
    one([
        ("name", texts(SETTINGS.map(|(name, _)| name))),
        ("setting", texts(SETTINGS.map(|(_, value)| value))),
        ("unit", no_text(count)),
        ("category", no_text(count)),
        ("short_desc", no_text(count)),
        ("context", texts(std::iter::repeat_n("internal", count))),
        ("vartype", texts(std::iter::repeat_n("string", count))),
        ("source", texts(std::iter::repeat_n("default", count))),
        ("boot_val", texts(SETTINGS.map(|(_, value)| value))),
        ("reset_val", texts(SETTINGS.map(|(_, value)| value))),
    ])
}

fn pg_types() -> Columns {
    let count = TYPES.len();
    let all = |value: i64| integers(std::iter::repeat_n(value, count));
    let same = |value: &'static str| texts(std::iter::repeat_n(value, count));
    let category = |oid: i64| match oid {
        16 => "B",
        25 => "S",
        17 => "U",
        1_082 | 1_114 | 1_184 => "D",
        _ => "N",
    };
    one([
        ("oid", integers(TYPES.map(|kind| kind.oid))),
        ("typname", texts(TYPES.map(|kind| kind.short))),
        ("typnamespace", all(CATALOG_SCHEMA_OID)),
        ("typowner", all(OWNER_OID)),
        ("typlen", integers(TYPES.map(|kind| kind.length))),
        (
            "typbyval",
            Arc::new(BooleanArray::from_iter(
                TYPES.map(|kind| Some(kind.length > 0)),
            )),
        ),
        ("typtype", same("b")),
        ("typcategory", texts(TYPES.map(|kind| category(kind.oid)))),
        (
            "typisdefined",
            Arc::new(BooleanArray::from(vec![true; count])),
        ),
        ("typdelim", same(",")),
        ("typrelid", all(0)),
        ("typelem", all(0)),
        ("typarray", all(0)),
        ("typinput", texts(TYPES.map(|kind| kind.short))),
        (
            "typnotnull",
            Arc::new(BooleanArray::from(vec![false; count])),
        ),
        ("typbasetype", all(0)),
        ("typtypmod", all(-1)),
        ("typndims", all(0)),
        ("typcollation", all(0)),
        ("typdefault", no_text(count)),
    ])
}

impl PgCatalog {
    fn classes(&self) -> Columns {
        one([
            ("oid", number(LOGS_OID)),
            ("relname", text(TABLE)),
            ("relnamespace", number(PUBLIC_SCHEMA_OID)),
            ("reltype", number(0)),
            ("reloftype", number(0)),
            ("relowner", number(OWNER_OID)),
            ("relam", number(HEAP_OID)),
            ("reltablespace", number(0)),
            ("relpages", number(0)),
            ("reltuples", number(-1)),
            ("reltoastrelid", number(0)),
            ("relhasindex", no()),
            ("relisshared", no()),
            ("relpersistence", text("p")),
            ("relkind", text("r")),
            ("relnatts", number(self.logs.fields().len() as i64)),
            ("relchecks", number(0)),
            ("relhasrules", no()),
            ("relhastriggers", no()),
            ("relhassubclass", no()),
            ("relrowsecurity", no()),
            ("relforcerowsecurity", no()),
            ("relispopulated", yes()),
            ("relreplident", text("d")),
            ("relispartition", no()),
            ("relacl", no_list(1)),
            ("reloptions", no_list(1)),
            ("relpartbound", no_text(1)),
        ])
    }

    fn attributes(&self) -> Columns {
        let fields = || self.logs.fields().iter();
        let count = self.logs.fields().len();
        let types = || fields().map(|field| type_of(field.data_type()));
        let all = |value: i64| integers(std::iter::repeat_n(value, count));
        let same = |value: &'static str| texts(std::iter::repeat_n(value, count));
        let never = || -> ArrayRef { Arc::new(BooleanArray::from(vec![false; count])) };
        let not_null = fields().map(|field| Some(!field.is_nullable()));
        one([
            ("attrelid", all(LOGS_OID)),
            (
                "attname",
                texts(fields().map(|field| field.name().as_str())),
            ),
            ("atttypid", integers(types().map(|kind| kind.oid))),
            ("attstattarget", all(-1)),
            ("attlen", integers(types().map(|kind| kind.length))),
            ("attnum", integers(1..=count as i64)),
            ("attndims", all(0)),
            ("atttypmod", all(-1)),
            ("attstorage", same("x")),
            ("attcompression", same("")),
            ("attnotnull", Arc::new(BooleanArray::from_iter(not_null))),
            ("atthasdef", never()),
            ("attidentity", same("")),
            ("attgenerated", same("")),
            ("attisdropped", never()),
            (
                "attislocal",
                Arc::new(BooleanArray::from(vec![true; count])),
            ),
            ("attinhcount", all(0)),
            ("attcollation", all(0)),
            ("attacl", no_list(count)),
            ("attoptions", no_list(count)),
            ("attfdwoptions", no_list(count)),
        ])
    }
}
