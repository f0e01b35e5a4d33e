//! Counts of a segment's records per minute, level and service: a histogram is drawn from them without reading rows.

use std::collections::BTreeMap;

use logmill_model::field;
use rustc_hash::FxHashMap;

use crate::embedded::{self, BlockLocation};
use crate::gather::{Columns, Dictionary};
use crate::{Error, Position, Result};

/// One minute, in nanoseconds.
const MINUTE_NS: i64 = 60_000_000_000;

/// Cells of a rollup at most: beyond it the services are counted together.
pub const ROLLUP_CELLS_MAX: usize = 1 << 18;

/// What is counted together. `None` is the absence of the field, and of `service` also "any", when
/// [`Rollup::by_service`] is false.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Minutes since the epoch.
    pub minute: i64,
    /// The records' level.
    pub level: Option<String>,
    /// The records' service.
    pub service: Option<String>,
}

/// Counts of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    names: Vec<String>,
    by_name: BTreeMap<String, u32>,
    /// By minute, service and level; names are positions in `names` plus one, 0 is absence.
    counts: BTreeMap<(i64, u32, u32), u64>,
    services_together: bool,
}

impl Rollup {
    /// Whether services are told apart; else there were too many of them.
    pub const fn by_service(&self) -> bool {
        !self.services_together
    }

    /// The number by which [`Rollup::add`] knows a level or a service.
    pub fn name(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else { return 0 };
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        self.names.push(name.to_owned());
        let number = self.names.len() as u32;
        self.by_name.insert(name.to_owned(), number);
        number
    }

    /// The minute of a time.
    pub const fn minute_of(timestamp_ns: i64) -> i64 {
        timestamp_ns.div_euclid(MINUTE_NS)
    }

    /// Adds records of one minute, service and level.
    pub fn add(&mut self, minute: i64, service: u32, level: u32, count: u64) {
        let service = if self.services_together { 0 } else { service };
        self.add_to_cell((minute, service, level), count);
        if self.counts.len() > ROLLUP_CELLS_MAX && !self.services_together {
            self.services_together = true;
            for ((minute, _, level), count) in std::mem::take(&mut self.counts) {
                self.add_to_cell((minute, 0, level), count);
            }
        }
    }

    /// What a damaged rollup says may be more than a number holds.
    fn add_to_cell(&mut self, cell: (i64, u32, u32), count: u64) {
        let known = self.counts.entry(cell).or_default();
        *known = known.saturating_add(count);
    }

    /// Adds rows.
    pub(crate) fn count(&mut self, columns: &Columns<'_>, rows: &[Position]) {
        let services = columns.dictionary(field::SERVICE);
        let levels = columns.dictionary(field::LEVEL);
        let key = |of: Option<&Dictionary>, at: &Position| of.and_then(|of| of.key(at));
        let mut counts: FxHashMap<_, u64> = FxHashMap::default();
        let (mut last, mut run) = (None, 0);
        for at in rows {
            let minute = Self::minute_of(columns.time(at));
            let cell = (minute, key(services, at), key(levels, at));
            if last != Some(cell) {
                if let Some(last) = last.replace(cell) {
                    *counts.entry(last).or_default() += run;
                }
                run = 0;
            }
            run += 1;
        }
        if let Some(last) = last {
            *counts.entry(last).or_default() += run;
        }
        let name = |of: Option<&'_ Dictionary>, key: Option<u32>| {
            of.zip(key)
                .and_then(|(of, key)| of.values().get(key as usize).cloned())
        };
        for ((minute, service, level), count) in counts {
            let service = self.name(name(services, service).as_deref());
            let level = self.name(name(levels, level).as_deref());
            self.add(minute, service, level, count);
        }
    }

    /// Adds another segment's counts.
    pub fn merge(&mut self, other: &Self) {
        if other.services_together && !self.services_together {
            self.services_together = true;
            for ((minute, _, level), count) in std::mem::take(&mut self.counts) {
                self.add_to_cell((minute, 0, level), count);
            }
        }
        let names: Vec<u32> = other
            .names
            .iter()
            .map(|name| self.name(Some(name)))
            .collect();
        let known = |number: u32| match number {
            0 => 0,
            number => names.get(number as usize - 1).copied().unwrap_or(0),
        };
        for ((minute, service, level), count) in &other.counts {
            self.add(*minute, known(*service), known(*level), *count);
        }
    }

    /// Every cell and its count.
    pub fn cells(&self) -> impl Iterator<Item = (Cell, u64)> + '_ {
        let name = |number: u32| match number {
            0 => None,
            number => self.names.get(number as usize - 1).cloned(),
        };
        self.counts
            .iter()
            .map(move |((minute, service, level), count)| {
                let cell = Cell {
                    minute: *minute,
                    level: name(*level),
                    service: name(*service),
                };
                (cell, *count)
            })
    }

    /// All records.
    pub fn rows(&self) -> u64 {
        self.counts.values().copied().fold(0, u64::saturating_add)
    }

    /// Writes it to `out`, which begins at `offset` of the file: numbers as LEB128, compressed with zstd.
    pub(crate) fn write(&self, offset: u64, out: &mut Vec<u8>) -> Result<BlockLocation> {
        let mut plain = vec![u8::from(self.services_together)];
        unsigned(&mut plain, self.names.len() as u64);
        for name in &self.names {
            unsigned(&mut plain, name.len() as u64);
            plain.extend_from_slice(name.as_bytes());
        }
        unsigned(&mut plain, self.counts.len() as u64);
        let mut before = 0;
        for ((minute, service, level), count) in &self.counts {
            let step = minute.wrapping_sub(before);
            unsigned(&mut plain, (step << 1 ^ step >> 63).cast_unsigned());
            before = *minute;
            unsigned(&mut plain, u64::from(*service));
            unsigned(&mut plain, u64::from(*level));
            unsigned(&mut plain, *count);
        }
        embedded::write(&plain, offset, out).map_err(Error::Rollup)
    }

    /// Reads what a segment has at this place.
    pub fn read(location: &BlockLocation, bytes: &[u8]) -> Result<Self> {
        Self::parse(&embedded::read(location, bytes).map_err(Error::Rollup)?)
    }

    fn parse(plain: &[u8]) -> Result<Self> {
        let short = || Error::Rollup("it ends too early".to_owned());
        let (flags, mut rest) = plain.split_first().ok_or_else(short)?;
        let mut rollup = Self {
            services_together: *flags & 1 == 1,
            ..Self::default()
        };
        for _ in 0..take(&mut rest)? {
            let length = usize::try_from(take(&mut rest)?).unwrap_or(usize::MAX);
            let (name, after) = rest.split_at_checked(length).ok_or_else(short)?;
            let name = std::str::from_utf8(name)
                .map_err(|_invalid| Error::Rollup("a name is not UTF-8".to_owned()))?;
            rollup.name(Some(name));
            rest = after;
        }
        let mut minute = 0_i64;
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        for _ in 0..take(&mut rest)? {
            let step = take(&mut rest)?;
            minute = minute.wrapping_add((step >> 1).cast_signed() ^ -(step & 1).cast_signed());
            let (service, level) = (number(take(&mut rest)?), number(take(&mut rest)?));
            let count = take(&mut rest)?;
            rollup.add_to_cell((minute, service, level), count);
        }
        Ok(rollup)
    }
}

fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = rest.split_first() else {
            return Err(Error::Rollup("it ends too early".to_owned()));
        };
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Rollup("a number is too long".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rollup(rows: &[(i64, Option<String>, Option<String>)]) -> Rollup {
        let mut rollup = Rollup::default();
        for (minute, level, service) in rows {
            let (level, service) = (
                rollup.name(level.as_deref()),
                rollup.name(service.as_deref()),
            );
            rollup.add(*minute, service, level, 1);
        }
        rollup
    }

    fn any_rows() -> impl Strategy<Value = Vec<(i64, Option<String>, Option<String>)>> {
        let name = || prop::option::of("[a-c]{0,2}");
        prop::collection::vec((prop_oneof![any::<i64>(), 0_i64..5], name(), name()), 0..40)
    }

    proptest! {
        #[test]
        fn counts_come_back(rows in any_rows()) {
            let rollup = rollup(&rows);
            let mut out = Vec::new();
            let location = rollup.write(0, &mut out).unwrap();
            let read = Rollup::read(&location, &out).unwrap();
            prop_assert_eq!(read.rows(), rows.len() as u64);
            prop_assert_eq!(&read, &rollup);
        }

        #[test]
        fn merged_counts_are_those_of_all_rows(one in any_rows(), other in any_rows()) {
            let mut merged = rollup(&one);
            merged.merge(&rollup(&other));
            let cells = |rollup: &Rollup| rollup.cells().collect::<BTreeMap<_, _>>();
            prop_assert_eq!(cells(&merged), cells(&rollup(&[one, other].concat())));
        }

        #[test]
        fn damage_is_an_error_and_not_a_panic(rows in any_rows(), at in any::<prop::sample::Index>(), with in 1_u8..=255) {
            let mut out = Vec::new();
            let location = rollup(&rows).write(0, &mut out).unwrap();
            let at = at.index(out.len());
            out[at] ^= with;
            prop_assert!(Rollup::read(&location, &out).is_err());
            let _ = embedded::plain(&out).map(|plain| Rollup::parse(&plain));
        }
    }

    #[test]
    fn counts_that_no_number_holds_are_read_and_merged() {
        let mut rollup = Rollup::default();
        rollup.add(0, 0, 0, u64::MAX);
        rollup.add(1, 0, 0, u64::MAX);
        let mut out = Vec::new();
        let location = rollup.write(0, &mut out).unwrap();
        let mut read = Rollup::read(&location, &out).unwrap();
        read.merge(&rollup);
        assert_eq!((read.rows(), read), (u64::MAX, rollup));
    }

    #[test]
    fn too_many_services_are_counted_together() {
        let mut rollup = Rollup::default();
        for number in 0..ROLLUP_CELLS_MAX as u32 + 10 {
            rollup.add(0, number + 1, 1, 1);
        }
        assert!(!rollup.by_service());
        assert_eq!((rollup.cells().count(), rollup.rows()), (1, 262_154));
    }
}
