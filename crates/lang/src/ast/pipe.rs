//! Pipes: what is done to the records, one after the other.

use super::{Duration, FieldPattern, Filter, MathEntry, Query, Stats};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Pipe {
    /// `block_stats`: how the blocks that were read are stored.
    BlockStats,
    /// `blocks_count`: how many blocks were read.
    BlocksCount,
    /// `collapse_nums`: numbers in a text become `<N>`.
    CollapseNums(CollapseNums),
    /// `copy a as b, …`, one after the other.
    Copy(Vec<Renaming>),
    /// `decolorize field`: drops ANSI color codes.
    Decolorize(String),
    /// `delete a, b*`.
    Delete(Vec<FieldPattern>),
    /// `drop_empty_fields`: fields without a value vanish, and records without fields.
    DropEmptyFields,
    /// `extract "…" from field`.
    Extract(Extract),
    /// `extract_regexp "…" from field`.
    ExtractRegexp(ExtractRegexp),
    /// `facets`: the most frequent values of every field.
    Facets(Facets),
    /// `field_names`: every name, and how many records have it.
    FieldNames,
    /// `field_values field`: every value, and how many records have it.
    FieldValues(FieldValues),
    /// `fields a, b*`: only these.
    Fields(Vec<FieldPattern>),
    /// `filter …`: only records that match.
    Filter(Filter),
    /// `first N by (…)`.
    First(First),
    /// `format "…" as field`.
    Format(Format),
    /// `hash(field) as result`.
    Hash(OneField),
    /// `join by (…) (query)`.
    Join(Join),
    /// `json_array_len(field) as result`.
    JsonArrayLen(OneField),
    /// `last N by (…)`: as `first`, in the opposite order.
    Last(First),
    /// `len(field) as result`: in bytes.
    Len(OneField),
    /// `limit N`: 10 where none was written.
    Limit(u64),
    /// `math …`: at least one.
    Math(Vec<MathEntry>),
    /// `offset N`.
    Offset(u64),
    /// `pack_json as field`.
    PackJson(Pack),
    /// `pack_logfmt as field`.
    PackLogfmt(Pack),
    /// `rename a as b, …`, one after the other.
    Rename(Vec<Renaming>),
    /// `replace ("old", "new") at field`.
    Replace(Replace),
    /// `replace_regexp ("regexp", "replacement") at field`.
    ReplaceRegexp(ReplaceRegexp),
    /// `sample N`: every N-th record, at random; at least 1.
    Sample(u64),
    /// `sort by (…)`.
    Sort(Sort),
    /// `stats by (…) …`.
    Stats(Stats),
    /// `stream_context before N after M`.
    StreamContext(StreamContext),
    /// `top N by (…)`.
    Top(Top),
    /// `union (query)`: the records of both.
    Union(Box<Query>),
    /// `uniq by (…)`.
    Uniq(Uniq),
    /// `unpack_json from field`.
    UnpackJson(Unpack),
    /// `unpack_logfmt from field`.
    UnpackLogfmt(Unpack),
    /// `unpack_syslog from field`.
    UnpackSyslog(UnpackSyslog),
    /// `unpack_words from field as result`.
    UnpackWords(UnpackWords),
    /// `unroll by (…)`: a record for every item of a JSON array.
    Unroll(Unroll),
}

/// What becomes of a value that is there before the pipe writes its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResultPolicy {
    /// It is replaced.
    #[default]
    Overwrite,
    /// `keep_original_fields`: it stays unless it is empty.
    KeepOriginalFields,
    /// `skip_empty_results`: it is replaced unless the new one is empty.
    SkipEmptyResults,
}

/// See [`Pipe::CollapseNums`].
#[derive(Clone, Debug, PartialEq)]
pub struct CollapseNums {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// `at field`; `_msg` by default.
    pub field: String,
    /// Whether patterns of `<N>` become `<UUID>`, `<IP4>`, `<TIME>`, `<DATE>`, `<DATETIME>`.
    pub prettify: bool,
}

/// `a as b`, `a* as b*`, `* as b*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renaming {
    /// From these names.
    pub from: FieldPattern,
    /// To these: a prefix takes the place of `from`'s prefix.
    pub to: FieldPattern,
}

impl Renaming {
    /// The new name of a field; `None` when it is not meant.
    pub fn apply(&self, name: &str) -> Option<String> {
        match (&self.from, &self.to) {
            (FieldPattern::Name(from), FieldPattern::Name(to)) => {
                (from == name).then(|| to.clone())
            }
            (FieldPattern::Prefix(from), FieldPattern::Prefix(to)) => {
                let rest = name.strip_prefix(from.as_str())?;
                Some(format!("{to}{rest}"))
            }
            // The parser makes no such thing.
            _ => None,
        }
    }
}

/// See [`Pipe::Extract`].
#[derive(Clone, Debug, PartialEq)]
pub struct Extract {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// `text1<field1>text2…`.
    pub pattern: String,
    /// `from field`; `_msg` by default.
    pub from: String,
    /// What becomes of the fields that it names.
    pub policy: ResultPolicy,
}

/// See [`Pipe::ExtractRegexp`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractRegexp {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// An expression with named groups.
    pub regexp: String,
    /// `from field`; `_msg` by default.
    pub from: String,
    /// What becomes of the fields that it names.
    pub policy: ResultPolicy,
}

/// See [`Pipe::Facets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facets {
    /// How many values of every field.
    pub limit: u64,
    /// Fields with more different values are left out.
    pub max_values_per_field: u64,
    /// Fields with longer values (bytes) are left out.
    pub max_value_len: u64,
    /// Whether fields with only one value are told too.
    pub keep_const_fields: bool,
}

impl Facets {
    /// What stands for a limit that was not written.
    pub const DEFAULT_LIMIT: u64 = 10;
    /// What stands for `max_values_per_field` that was not written.
    pub const DEFAULT_MAX_VALUES_PER_FIELD: u64 = 1000;
    /// What stands for `max_value_len` that was not written.
    pub const DEFAULT_MAX_VALUE_LEN: u64 = 128;
}

impl Default for Facets {
    fn default() -> Self {
        Self {
            limit: Self::DEFAULT_LIMIT,
            max_values_per_field: Self::DEFAULT_MAX_VALUES_PER_FIELD,
            max_value_len: Self::DEFAULT_MAX_VALUE_LEN,
            keep_const_fields: false,
        }
    }
}

/// See [`Pipe::FieldValues`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldValues {
    /// Of which field.
    pub field: String,
    /// How many at most.
    pub limit: Option<u64>,
}

/// See [`Pipe::First`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// How many, of every partition; 1 by default.
    pub limit: u64,
    /// In which order; empty for all fields.
    pub by: Vec<SortField>,
    /// Which fields tell partitions apart.
    pub partition_by: Vec<String>,
    /// Where the rank goes, if anywhere.
    pub rank_field: Option<String>,
}

/// See [`Pipe::Format`].
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// `text <field> <q:field> …`.
    pub pattern: String,
    /// `as field`; `_msg` by default.
    pub result_field: String,
    /// What becomes of its value.
    pub policy: ResultPolicy,
}

/// A pipe that makes one field of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneField {
    /// Of this.
    pub field: String,
    /// That; `_msg` by default.
    pub result_field: String,
}

/// See [`Pipe::Join`].
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// Fields that have to be equal; at least one.
    pub by: Vec<String>,
    /// What is joined.
    pub query: Box<Query>,
    /// Whether records without a match are dropped.
    pub inner: bool,
    /// What is put before the names of the joined fields.
    pub prefix: Option<String>,
}

/// See [`Pipe::PackJson`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// `fields (…)`; `*` by default.
    pub fields: Vec<FieldPattern>,
    /// `as field`; `_msg` by default.
    pub result_field: String,
}

/// See [`Pipe::Replace`].
#[derive(Clone, Debug, PartialEq)]
pub struct Replace {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// What is replaced.
    pub old: String,
    /// By what.
    pub new: String,
    /// `at field`; `_msg` by default.
    pub field: String,
    /// How often at most, in one value.
    pub limit: Option<u64>,
}

/// See [`Pipe::ReplaceRegexp`].
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceRegexp {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// What is replaced.
    pub regexp: String,
    /// By what; `$1`, `${1}`, `${name}` stand for its groups.
    pub replacement: String,
    /// `at field`; `_msg` by default.
    pub field: String,
    /// How often at most, in one value.
    pub limit: Option<u64>,
}

/// See [`Pipe::Sort`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// In which order; empty for all fields.
    pub by: Vec<SortField>,
    /// Whether the whole order is turned round, on top of that of single fields.
    pub descending: bool,
    /// How many are skipped, of every partition.
    pub offset: Option<u64>,
    /// How many are given, of every partition; there is one where there are partitions.
    pub limit: Option<u64>,
    /// Which fields tell partitions apart.
    pub partition_by: Vec<String>,
    /// Where the rank goes, if anywhere.
    pub rank_field: Option<String>,
}

/// A field that sorts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortField {
    /// Its name.
    pub field: String,
    /// `desc`.
    pub descending: bool,
}

/// See [`Pipe::StreamContext`]. At least one of `before` and `after` was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamContext {
    /// How many records of the same stream before every record.
    pub before: u64,
    /// How many after it.
    pub after: u64,
    /// How far away they may be; an hour by default.
    pub time_window: Duration,
}

/// See [`Pipe::Top`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// How many; 10 by default.
    pub limit: u64,
    /// Of which fields; at least one.
    pub by: Vec<String>,
    /// Where the count goes; `hits` by default, never one of `by`.
    pub hits_field: String,
    /// Where the rank goes, if anywhere; never one of `by`.
    pub rank_field: Option<String>,
}

/// See [`Pipe::Uniq`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uniq {
    /// Of which fields; at least one.
    pub by: Vec<String>,
    /// `with hits`: where the count goes; `hits`, with as many `s` after it as make it different from all `by`.
    pub hits_field: Option<String>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// See [`Pipe::UnpackJson`].
#[derive(Clone, Debug, PartialEq)]
pub struct Unpack {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// `from field`; `_msg` by default.
    pub from: String,
    /// `fields (…)`; `*` by default.
    pub fields: Vec<FieldPattern>,
    /// `result_prefix "…"`; empty by default.
    pub result_prefix: String,
    /// What becomes of the fields it writes.
    pub policy: ResultPolicy,
}

/// See [`Pipe::UnpackSyslog`].
#[derive(Clone, Debug, PartialEq)]
pub struct UnpackSyslog {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// `from field`; `_msg` by default.
    pub from: String,
    /// How much later than UTC the clock of times without a zone is.
    pub offset: Option<Duration>,
    /// `result_prefix "…"`; empty by default.
    pub result_prefix: String,
    /// Whether values that are there stay unless they are empty.
    pub keep_original_fields: bool,
}

/// See [`Pipe::UnpackWords`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackWords {
    /// `from field`; `_msg` by default.
    pub from: String,
    /// `as field`; `from` by default.
    pub result_field: String,
    /// Whether a word is told only once.
    pub drop_duplicates: bool,
}

/// See [`Pipe::Unroll`].
#[derive(Clone, Debug, PartialEq)]
pub struct Unroll {
    /// `if (…)`.
    pub condition: Option<Filter>,
    /// Fields with JSON arrays; at least one.
    pub by: Vec<String>,
}
