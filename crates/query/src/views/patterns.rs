//! The patterns of messages: `logmill_model::pattern`, counted.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch};
use datafusion::common::{Column, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Expr;
use logmill_model::{field, pattern};
use logmill_query_api::{Pattern, Patterns, PatternsQuery, ValueCount};
use rustc_hash::FxHashMap;

use super::View;
use super::fold::{Fold, fold};

/// Most examples of a pattern.
pub(super) const EXAMPLES_MAX: u64 = 20;
/// Longest example, bytes.
const EXAMPLE_BYTES_MAX: usize = 4_096;
/// Levels, or services, of a pattern that are told one by one.
const LABELS_MAX: usize = 20;

impl View<'_> {
    pub(super) async fn patterns(&self, query: &PatternsQuery) -> Result<Patterns> {
        let column = |name: &str| Expr::Column(Column::new_unqualified(name));
        let columns = [
            field::MESSAGE,
            field::TIMESTAMP,
            field::LEVEL,
            field::SERVICE,
        ]
        .map(column);
        let mut conditions = self.conditions.clone();
        conditions.push(column(field::MESSAGE).is_not_null());
        let plan = self.session.records(conditions, &columns, None).await?;
        let size = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        let found = fold(&self.session, &plan, || Found {
            patterns: HashMap::new(),
            labels: Labels::default(),
            rows: 0,
            other: 0,
            most: size(self.limits.max_patterns).max(1),
            examples: size(query.examples),
            text: String::new(),
            memory: self.memory("patterns"),
        });
        let mut found = found.await?;
        found.merge_similar()?;
        let Found {
            patterns,
            labels,
            rows,
            mut other,
            ..
        } = found;
        let mut patterns: Vec<_> = patterns.into_iter().collect();
        patterns.sort_unstable_by(|(a_text, a), (b_text, b)| {
            (Reverse(a.count), a_text).cmp(&(Reverse(b.count), b_text))
        });
        let rest = patterns.split_off(size(query.limit).min(patterns.len()));
        other += rest.iter().map(|(_, seen)| seen.count).sum::<u64>();
        let patterns = patterns.into_iter().map(|(pattern, seen)| Pattern {
            pattern,
            count: seen.count,
            first_ns: seen.first_ns,
            last_ns: seen.last_ns,
            levels: labels.counts(&seen.levels),
            services: labels.counts(&seen.services),
            examples: seen.examples,
        });
        Ok(Patterns {
            patterns: patterns.collect(),
            other,
            total: rows,
            stats: self.stats(rows),
        })
    }
}

/// Levels and services that were seen, numbered.
#[derive(Default)]
struct Labels {
    numbers: HashMap<String, u32>,
    texts: Vec<String>,
}

impl Labels {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }

    fn text(&self, number: u32) -> &str {
        let text = usize::try_from(number)
            .ok()
            .and_then(|at| self.texts.get(at));
        text.map_or("", String::as_str)
    }

    fn counts(&self, counts: &LabelCounts) -> Vec<ValueCount> {
        let named = counts.0.iter().map(|(number, count)| ValueCount {
            value: self.text(*number).to_owned(),
            count: *count,
        });
        let mut named: Vec<_> = named.collect();
        named.sort_unstable_by(|a, b| {
            (Reverse(a.count), &a.value).cmp(&(Reverse(b.count), &b.value))
        });
        named
    }
}

/// How often each label was seen; those beyond the bound are not.
#[derive(Default)]
struct LabelCounts(Vec<(u32, u64)>);

impl LabelCounts {
    fn add(&mut self, label: u32, count: u64) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == label) {
            *known += count;
        } else if self.0.len() < LABELS_MAX {
            self.0.push((label, count));
        }
    }
}

/// The labels of a column, numbered by batch: equal ones have equal views, mostly.
struct LabelColumn<'a> {
    column: &'a arrow_array::StringViewArray,
    numbers: FxHashMap<u128, u32>,
}

impl<'a> LabelColumn<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        Some(Self {
            column: column.as_string_view_opt()?,
            numbers: FxHashMap::default(),
        })
    }

    fn number(&mut self, row: usize, labels: &mut Labels) -> Option<u32> {
        if self.column.is_null(row) {
            return None;
        }
        let number = self.numbers.entry(self.column.views()[row]);
        Some(*number.or_insert_with(|| labels.number(self.column.value(row))))
    }
}

/// What is known of a pattern.
#[derive(Default)]
struct Seen {
    count: u64,
    first_ns: i64,
    last_ns: i64,
    levels: LabelCounts,
    services: LabelCounts,
    examples: Vec<String>,
}

impl Seen {
    fn at(time_ns: i64) -> Self {
        Self {
            first_ns: time_ns,
            last_ns: time_ns,
            ..Self::default()
        }
    }

    fn add_example(&mut self, message: &str, most: usize) {
        if self.examples.len() >= most {
            return;
        }
        let end = message.floor_char_boundary(EXAMPLE_BYTES_MAX);
        let example = &message[..end];
        if !self.examples.iter().any(|known| known == example) {
            self.examples.push(example.to_owned());
        }
    }

    fn take_in(&mut self, other: Self, examples: usize) {
        self.count += other.count;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        for (mine, its) in [
            (&mut self.levels, other.levels),
            (&mut self.services, other.services),
        ] {
            for (label, count) in its.0 {
                mine.add(label, count);
            }
        }
        for example in other.examples {
            self.add_example(&example, examples);
        }
    }

    fn bytes(&self) -> usize {
        let examples = self.examples.iter().map(String::capacity).sum::<usize>();
        let labels = self.levels.0.len() + self.services.0.len();
        size_of::<Self>() + examples + labels * size_of::<(u32, u64)>()
    }
}

/// The patterns of the messages that were looked at.
struct Found {
    patterns: HashMap<String, Seen>,
    labels: Labels,
    rows: u64,
    /// Records whose pattern was too rare to be kept.
    other: u64,
    most: usize,
    examples: usize,
    text: String,
    memory: MemoryReservation,
}

impl Found {
    /// Makes room where there are too many patterns: similar ones become one, and of what is left the rarest go.
    fn make_room(&mut self) -> Result<()> {
        if self.patterns.len() > self.most {
            self.merge_similar()?;
        }
        if self.patterns.len() > self.most {
            let mut patterns: Vec<_> = mem::take(&mut self.patterns).into_iter().collect();
            patterns.sort_unstable_by_key(|(_, seen)| Reverse(seen.count));
            // Half of them, so that this happens seldom.
            let rest = patterns.split_off(self.most.div_ceil(2));
            self.other += rest.iter().map(|(_, seen)| seen.count).sum::<u64>();
            self.patterns = patterns.into_iter().collect();
        }
        let patterns = self.patterns.iter();
        let bytes = patterns
            .map(|(text, seen)| text.capacity() + seen.bytes())
            .sum();
        self.memory.try_resize(bytes)
    }

    fn merge_similar(&mut self) -> Result<()> {
        // Merging takes some copies of the patterns' texts.
        let bytes: usize = self.patterns.keys().map(String::len).sum();
        self.memory.try_grow(4 * bytes)?;
        let merged = pattern::merge(self.patterns.keys().map(String::as_str));
        for (from, to) in merged {
            if let Some(seen) = self.patterns.remove(&from) {
                self.take_in(to, seen);
            }
        }
        self.memory.shrink(4 * bytes);
        Ok(())
    }

    fn take_in(&mut self, pattern: String, seen: Seen) {
        match self.patterns.get_mut(&pattern) {
            Some(known) => known.take_in(seen, self.examples),
            None => {
                self.patterns.insert(pattern, seen);
            }
        }
    }
}

impl Fold for Found {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let [messages, times, levels, services] = batch.columns() else {
            return Err(super::internal("patterns of other columns"));
        };
        let messages = messages.as_string_view();
        let times = times.as_primitive::<TimestampNanosecondType>().values();
        let (mut levels, mut services) = (LabelColumn::of(levels), LabelColumn::of(services));
        self.rows += batch.num_rows() as u64;
        for (row, time_ns) in times.iter().enumerate() {
            let message = messages.value(row);
            self.text.clear();
            pattern::mask(message, &mut self.text);
            if !self.patterns.contains_key(&self.text) {
                self.patterns.insert(self.text.clone(), Seen::at(*time_ns));
            }
            let Some(seen) = self.patterns.get_mut(&self.text) else {
                continue;
            };
            seen.count += 1;
            seen.first_ns = seen.first_ns.min(*time_ns);
            seen.last_ns = seen.last_ns.max(*time_ns);
            seen.add_example(message, self.examples);
            for (column, counts) in [
                (&mut levels, &mut seen.levels),
                (&mut services, &mut seen.services),
            ] {
                let number = column
                    .as_mut()
                    .and_then(|column| column.number(row, &mut self.labels));
                if let Some(number) = number {
                    counts.add(number, 1);
                }
            }
        }
        self.make_room()
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.rows += other.rows;
        self.other += other.other;
        for (pattern, mut seen) in other.patterns {
            for counts in [&mut seen.levels, &mut seen.services] {
                for (label, _) in &mut counts.0 {
                    *label = self.labels.number(other.labels.text(*label));
                }
            }
            self.take_in(pattern, seen);
        }
        self.make_room()
    }
}
