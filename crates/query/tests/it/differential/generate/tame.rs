//! Takes out of queries what is left to chance: which of equal records come first, which record stands for others.

use logmill_lang::Query;
use logmill_lang::ast::{FieldPattern, Pipe, SortField, StatsFunction};

/// The field that no two stored records have the same value in.
const ID: &str = "id";
const STREAM_ID: &str = "_stream_id";

pub(super) fn tame(query: &mut Query) {
    let mut unique = true;
    let mut ordered = false;
    let mut pipes = Vec::new();
    for mut pipe in std::mem::take(&mut query.pipes) {
        if !can_be_told(&mut pipe, unique, ordered) {
            continue;
        }
        ordered = match &pipe {
            Pipe::Sort(_) | Pipe::First(_) | Pipe::Last(_) => unique && !has_partitions(&pipe),
            Pipe::Limit(_) | Pipe::Offset(_) => ordered,
            _ => false,
        };
        unique = unique && keeps_id(&pipe);
        let ends = makes_lists(&pipe);
        pipes.push(pipe);
        if ends {
            break;
        }
    }
    query.pipes = pipes;
}

/// Makes the pipe one whose answer is certain; says whether it could.
fn can_be_told(pipe: &mut Pipe, unique: bool, ordered: bool) -> bool {
    let by_id = || SortField {
        field: ID.to_owned(),
        descending: false,
    };
    match pipe {
        Pipe::Sort(sort) => {
            let cuts = sort.limit.is_some() || sort.offset.is_some() || sort.rank_field.is_some();
            sort.by.push(by_id());
            unique || !cuts
        }
        Pipe::First(first) | Pipe::Last(first) => {
            first.by.push(by_id());
            unique
        }
        Pipe::Limit(_) | Pipe::Offset(_) => ordered,
        Pipe::Stats(stats) => {
            for entry in &mut stats.functions {
                if let StatsFunction::RowMin { by, fields } | StatsFunction::RowMax { by, fields } =
                    &mut entry.function
                {
                    if unique {
                        ID.clone_into(by);
                    } else {
                        *fields = vec![FieldPattern::Name(by.clone())];
                    }
                }
            }
            true
        }
        Pipe::Join(join) => {
            tame(&mut join.query);
            // Where nothing is joined, a stream's id and other names of fields are there without being shown.
            let query = join.query.to_string();
            !query.contains(STREAM_ID) && !query.contains("message")
        }
        Pipe::Union(query) => {
            tame(query);
            true
        }
        // Where it is not written, a stream's id is there without being shown.
        Pipe::CollapseNums(collapse) => collapse.field != STREAM_ID,
        Pipe::Replace(replace) => replace.field != STREAM_ID,
        Pipe::ReplaceRegexp(replace) => replace.field != STREAM_ID,
        _ => true,
    }
}

fn has_partitions(pipe: &Pipe) -> bool {
    match pipe {
        Pipe::Sort(sort) => !sort.partition_by.is_empty(),
        Pipe::First(first) | Pipe::Last(first) => !first.partition_by.is_empty(),
        _ => false,
    }
}

/// Whether all records still have their own id afterwards.
fn keeps_id(pipe: &Pipe) -> bool {
    let has = |patterns: &[FieldPattern]| patterns.iter().any(|pattern| pattern.matches(ID));
    match pipe {
        Pipe::Fields(patterns) => has(patterns),
        Pipe::Delete(patterns) => !has(patterns),
        Pipe::Rename(renamings) => !renamings.iter().any(|renaming| renaming.from.matches(ID)),
        Pipe::CollapseNums(collapse) => collapse.field != ID,
        Pipe::Decolorize(_) => true,
        Pipe::Replace(replace) => replace.field != ID,
        Pipe::ReplaceRegexp(replace) => replace.field != ID,
        Pipe::Unroll(_)
        | Pipe::Join(_)
        | Pipe::Union(_)
        | Pipe::Stats(_)
        | Pipe::Uniq(_)
        | Pipe::Top(_)
        | Pipe::Facets(_)
        | Pipe::FieldNames
        | Pipe::FieldValues(_) => false,
        _ => true,
    }
}

/// Whether the answer has lists, whose order is that of the records, or packed records, whose fields are in any order.
fn makes_lists(pipe: &Pipe) -> bool {
    match pipe {
        Pipe::PackJson(_) | Pipe::PackLogfmt(_) => true,
        Pipe::Stats(stats) => stats.functions.iter().any(|entry| {
            matches!(
                entry.function,
                StatsFunction::Values { .. }
                    | StatsFunction::JsonValues { .. }
                    | StatsFunction::RowMin { .. }
                    | StatsFunction::RowMax { .. }
            )
        }),
        _ => false,
    }
}
