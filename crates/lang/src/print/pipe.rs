//! Pipes.

use std::fmt::{Display, Formatter, Result};

use super::{Quoted, Separated, Text, Texts};
use crate::ast::{
    CollapseNums, Extract, ExtractRegexp, Facets, FieldPattern, Filter, First, Format, Join,
    OneField, Pack, Pipe, Renaming, Replace, ReplaceRegexp, ResultPolicy, Sort, SortField,
    StreamContext, Top, Uniq, Unpack, UnpackSyslog, UnpackWords, Unroll,
};

impl Display for Pipe {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::BlockStats => formatter.write_str("block_stats"),
            Self::BlocksCount => formatter.write_str("blocks_count"),
            Self::CollapseNums(pipe) => write!(formatter, "collapse_nums{pipe}"),
            Self::Copy(renamings) => write!(formatter, "copy {}", Separated(renamings)),
            Self::Decolorize(field) => write!(formatter, "decolorize {}", Text(field)),
            Self::Delete(fields) => write!(formatter, "delete {}", Separated(fields)),
            Self::DropEmptyFields => formatter.write_str("drop_empty_fields"),
            Self::Extract(pipe) => write!(formatter, "extract{pipe}"),
            Self::ExtractRegexp(pipe) => write!(formatter, "extract_regexp{pipe}"),
            Self::Facets(pipe) => write!(formatter, "facets{pipe}"),
            Self::FieldNames => formatter.write_str("field_names"),
            Self::FieldValues(pipe) => {
                write!(
                    formatter,
                    "field_values {}{}",
                    Text(&pipe.field),
                    Limit(pipe.limit)
                )
            }
            Self::Fields(fields) => write!(formatter, "fields {}", Separated(fields)),
            Self::Filter(filter) => write!(formatter, "filter {filter}"),
            Self::First(pipe) => write!(formatter, "first {pipe}"),
            Self::Format(pipe) => write!(formatter, "format{pipe}"),
            Self::Hash(pipe) => write!(formatter, "hash{pipe}"),
            Self::Join(pipe) => write!(formatter, "join {pipe}"),
            Self::JsonArrayLen(pipe) => write!(formatter, "json_array_len{pipe}"),
            Self::Last(pipe) => write!(formatter, "last {pipe}"),
            Self::Len(pipe) => write!(formatter, "len{pipe}"),
            Self::Limit(count) => write!(formatter, "limit {count}"),
            Self::Math(entries) => write!(formatter, "math {}", Separated(entries)),
            Self::Offset(count) => write!(formatter, "offset {count}"),
            Self::PackJson(pipe) => write!(formatter, "pack_json{pipe}"),
            Self::PackLogfmt(pipe) => write!(formatter, "pack_logfmt{pipe}"),
            Self::Rename(renamings) => write!(formatter, "rename {}", Separated(renamings)),
            Self::Replace(pipe) => write!(formatter, "replace{pipe}"),
            Self::ReplaceRegexp(pipe) => write!(formatter, "replace_regexp{pipe}"),
            Self::Sample(count) => write!(formatter, "sample {count}"),
            Self::Sort(pipe) => write!(formatter, "sort{pipe}"),
            Self::Stats(pipe) => write!(formatter, "{pipe}"),
            Self::StreamContext(pipe) => write!(formatter, "stream_context {pipe}"),
            Self::Top(pipe) => write!(formatter, "top {pipe}"),
            Self::Union(query) => write!(formatter, "union ({query})"),
            Self::Uniq(pipe) => write!(formatter, "uniq {pipe}"),
            Self::UnpackJson(pipe) => write!(formatter, "unpack_json{pipe}"),
            Self::UnpackLogfmt(pipe) => write!(formatter, "unpack_logfmt{pipe}"),
            Self::UnpackSyslog(pipe) => write!(formatter, "unpack_syslog{pipe}"),
            Self::UnpackWords(pipe) => write!(formatter, "unpack_words {pipe}"),
            Self::Unroll(pipe) => write!(formatter, "unroll{pipe}"),
        }
    }
}

// --- parts; each begins with the space in front of it ---

/// ` if (…)`.
struct If<'a>(&'a Option<Filter>);

impl Display for If<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(condition) => write!(formatter, " if ({condition})"),
            None => Ok(()),
        }
    }
}

/// ` limit N`.
struct Limit(Option<u64>);

impl Display for Limit {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(limit) => write!(formatter, " limit {limit}"),
            None => Ok(()),
        }
    }
}

/// ` rank as field`.
struct Rank<'a>(&'a Option<String>);

impl Display for Rank<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(field) => write!(formatter, " rank as {}", Text(field)),
            None => Ok(()),
        }
    }
}

/// ` partition by (…)`.
struct Partition<'a>(&'a [String]);

impl Display for Partition<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            [] => Ok(()),
            fields => write!(formatter, " partition by ({})", Texts(fields)),
        }
    }
}

/// ` fields (…)`; nothing for all.
struct Fields<'a>(&'a [FieldPattern]);

impl Display for Fields<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            [only] if only.is_all() => Ok(()),
            fields => write!(formatter, " fields ({})", Separated(fields)),
        }
    }
}

/// ` result_prefix "…"`.
struct Prefix<'a>(&'a str);

impl Display for Prefix<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self.0 {
            "" => Ok(()),
            prefix => write!(formatter, " result_prefix {}", Quoted(prefix)),
        }
    }
}

impl Display for ResultPolicy {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Overwrite => "",
            Self::KeepOriginalFields => " keep_original_fields",
            Self::SkipEmptyResults => " skip_empty_results",
        })
    }
}

// --- pipes ---

impl Display for CollapseNums {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let prettify = if self.prettify { " prettify" } else { "" };
        write!(
            formatter,
            "{} at {}{prettify}",
            If(&self.condition),
            Text(&self.field)
        )
    }
}

impl Display for Renaming {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{} as {}", self.from, self.to)
    }
}

impl Display for Extract {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, pattern, from) =
            (If(&self.condition), Quoted(&self.pattern), Text(&self.from));
        write!(
            formatter,
            "{condition} {pattern} from {from}{}",
            self.policy
        )
    }
}

impl Display for ExtractRegexp {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, regexp, from) =
            (If(&self.condition), Quoted(&self.regexp), Text(&self.from));
        write!(formatter, "{condition} {regexp} from {from}{}", self.policy)
    }
}

impl Display for Facets {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        if self.limit != Self::DEFAULT_LIMIT {
            write!(formatter, " {}", self.limit)?;
        }
        if self.max_values_per_field != Self::DEFAULT_MAX_VALUES_PER_FIELD {
            write!(
                formatter,
                " max_values_per_field {}",
                self.max_values_per_field
            )?;
        }
        if self.max_value_len != Self::DEFAULT_MAX_VALUE_LEN {
            write!(formatter, " max_value_len {}", self.max_value_len)?;
        }
        if self.keep_const_fields {
            formatter.write_str(" keep_const_fields")?;
        }
        Ok(())
    }
}

impl Display for First {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}", self.limit)?;
        if !self.by.is_empty() {
            write!(formatter, " by ({})", Separated(&self.by))?;
        }
        write!(
            formatter,
            "{}{}",
            Partition(&self.partition_by),
            Rank(&self.rank_field)
        )
    }
}

impl Display for Format {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, pattern, result) = (
            If(&self.condition),
            Quoted(&self.pattern),
            Text(&self.result_field),
        );
        write!(
            formatter,
            "{condition} {pattern} as {result}{}",
            self.policy
        )
    }
}

impl Display for OneField {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "({}) as {}",
            Text(&self.field),
            Text(&self.result_field)
        )
    }
}

impl Display for Join {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "by ({}) ({})", Texts(&self.by), self.query)?;
        if self.inner {
            formatter.write_str(" inner")?;
        }
        match &self.prefix {
            Some(prefix) => write!(formatter, " prefix {}", Quoted(prefix)),
            None => Ok(()),
        }
    }
}

impl Display for Pack {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "{} as {}",
            Fields(&self.fields),
            Text(&self.result_field)
        )
    }
}

impl Display for Replace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, old, new) = (If(&self.condition), Quoted(&self.old), Quoted(&self.new));
        let (field, limit) = (Text(&self.field), Limit(self.limit));
        write!(formatter, "{condition} ({old}, {new}) at {field}{limit}")
    }
}

impl Display for ReplaceRegexp {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, old, new) = (
            If(&self.condition),
            Quoted(&self.regexp),
            Quoted(&self.replacement),
        );
        let (field, limit) = (Text(&self.field), Limit(self.limit));
        write!(formatter, "{condition} ({old}, {new}) at {field}{limit}")
    }
}

impl Display for Sort {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        if !self.by.is_empty() {
            write!(formatter, " by ({})", Separated(&self.by))?;
        }
        if self.descending {
            formatter.write_str(" desc")?;
        }
        write!(formatter, "{}", Partition(&self.partition_by))?;
        if let Some(offset) = self.offset {
            write!(formatter, " offset {offset}")?;
        }
        write!(formatter, "{}{}", Limit(self.limit), Rank(&self.rank_field))
    }
}

impl Display for SortField {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let descending = if self.descending { " desc" } else { "" };
        write!(formatter, "{}{descending}", Text(&self.field))
    }
}

impl Display for StreamContext {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (before, after, window) = (self.before, self.after, &self.time_window);
        write!(
            formatter,
            "before {before} after {after} time_window {window}"
        )
    }
}

impl Display for Top {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (by, hits) = (Texts(&self.by), Text(&self.hits_field));
        write!(
            formatter,
            "{} by ({by}) hits as {hits}{}",
            self.limit,
            Rank(&self.rank_field)
        )
    }
}

impl Display for Uniq {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let hits = if self.hits_field.is_some() {
            " with hits"
        } else {
            ""
        };
        write!(
            formatter,
            "by ({}){hits}{}",
            Texts(&self.by),
            Limit(self.limit)
        )
    }
}

impl Display for Unpack {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (condition, from, fields) =
            (If(&self.condition), Text(&self.from), Fields(&self.fields));
        let (prefix, policy) = (Prefix(&self.result_prefix), self.policy);
        write!(formatter, "{condition} from {from}{fields}{prefix}{policy}")
    }
}

impl Display for UnpackSyslog {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "{} from {}",
            If(&self.condition),
            Text(&self.from)
        )?;
        if let Some(offset) = &self.offset {
            write!(formatter, " offset {offset}")?;
        }
        write!(formatter, "{}", Prefix(&self.result_prefix))?;
        if self.keep_original_fields {
            formatter.write_str(" keep_original_fields")?;
        }
        Ok(())
    }
}

impl Display for UnpackWords {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "from {} as {}",
            Text(&self.from),
            Text(&self.result_field)
        )?;
        if self.drop_duplicates {
            formatter.write_str(" drop_duplicates")?;
        }
        Ok(())
    }
}

impl Display for Unroll {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(
            formatter,
            "{} by ({})",
            If(&self.condition),
            Texts(&self.by)
        )
    }
}
