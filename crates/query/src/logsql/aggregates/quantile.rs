//! Percentiles: exact up to a bound on the values that are kept, and of a random sample of so many beyond it (Vitter's
//! algorithm R).

use std::cmp::Ordering;

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use logmill_lang::value::order::compare;

use super::extreme::is_ranked;
use super::fold::{Columns, Fold, State, text_value, write_number, write_text};

/// Values that are kept of each group.
const SAMPLE_MAX: usize = 1 << 16;

/// A uniform sample of values.
#[derive(Clone, Debug)]
struct Sample<T> {
    kept: Vec<T>,
    /// How many there were.
    seen: u64,
    /// Xorshift; the same values in the same order give the same sample.
    random: u64,
}

impl<T> Sample<T> {
    const fn new() -> Self {
        Self {
            kept: Vec::new(),
            seen: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// A place to put the next value to, if it is kept.
    fn place(&mut self) -> Option<usize> {
        self.seen += 1;
        if self.kept.len() < SAMPLE_MAX {
            return Some(self.kept.len());
        }
        let place = self.below(self.seen);
        usize::try_from(place)
            .ok()
            .filter(|place| *place < SAMPLE_MAX)
    }

    fn put(&mut self, place: usize, value: T) {
        match self.kept.get_mut(place) {
            Some(kept) => *kept = value,
            None => self.kept.push(value),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let wide = u128::from(self.random) * u128::from(bound.max(1));
        u64::try_from(wide >> 64).expect("the upper half of 128 bits")
    }

    /// Takes a sample of other values: of both, as many as their shares of all values are.
    fn merge(&mut self, other: Vec<T>, other_seen: u64) {
        let seen = self.seen + other_seen;
        if self.kept.len() + other.len() <= SAMPLE_MAX {
            self.kept.extend(other);
            self.seen = seen;
            return;
        }
        let (mut left, mut right) = (std::mem::take(&mut self.kept), other);
        let (mut left_rest, mut right_rest) = (self.seen, other_seen);
        while self.kept.len() < SAMPLE_MAX && !(left.is_empty() && right.is_empty()) {
            let from_left = self.below(left_rest + right_rest) < left_rest;
            let take_left = (from_left && !left.is_empty()) || right.is_empty();
            let (side, rest) = if take_left {
                (&mut left, &mut left_rest)
            } else {
                (&mut right, &mut right_rest)
            };
            let bound = side.len() as u64;
            let place = usize::try_from(self.below(bound)).unwrap_or(0);
            self.kept.push(side.swap_remove(place));
            *rest = rest.saturating_sub(1);
        }
        self.seen = seen;
    }

    /// The value at a place, `0..=1`.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a place in a list of bounded length"
    )]
    fn at(&mut self, phi: f64, order: impl FnMut(&T, &T) -> Ordering) -> Option<&T> {
        let last = self.kept.len().checked_sub(1)?;
        let place = (phi.clamp(0.0, 1.0) * self.kept.len() as f64) as usize;
        let (_, value, _) = self.kept.select_nth_unstable_by(place.min(last), order);
        Some(value)
    }
}

/// Of numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    phi: f64,
    sample: Sample<f64>,
}

impl Numbers {
    pub(super) const fn new(phi: f64) -> Self {
        Self {
            phi,
            sample: Sample::new(),
        }
    }
}

impl Fold for Numbers {
    fn value_type() -> DataType {
        DataType::Float64
    }

    fn update(&mut self, columns: &Columns) {
        columns.numbers(|number| {
            if let Some(place) = self.sample.place() {
                self.sample.put(place, number);
            }
        });
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::with_capacity(8 * (self.sample.kept.len() + 1));
        write_number(self.sample.seen, &mut state);
        let numbers = self.sample.kept.iter();
        numbers.for_each(|number| write_number(number.to_bits(), &mut state));
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        let seen = state.number();
        let mut numbers = Vec::new();
        while !state.is_empty() {
            numbers.push(f64::from_bits(state.number()));
        }
        self.sample.merge(numbers, seen);
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let value = self.sample.at(self.phi, f64::total_cmp);
        Ok(ScalarValue::Float64(value.copied()))
    }

    fn size(&self) -> usize {
        self.sample.kept.capacity() * size_of::<f64>()
    }
}

/// Of texts, in their natural order.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    phi: f64,
    /// Whether the last column is an object of further fields.
    open: bool,
    sample: Sample<String>,
    bytes: usize,
}

impl Texts {
    pub(super) const fn new(phi: f64, open: bool) -> Self {
        Self {
            phi,
            open,
            sample: Sample::new(),
            bytes: 0,
        }
    }
}

impl Fold for Texts {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        columns.present_texts(self.open, |text| {
            if !is_ranked(text) {
                return;
            }
            if let Some(place) = self.sample.place() {
                self.bytes += text.len();
                self.sample.put(place, text.to_owned());
            }
        });
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        write_number(self.sample.seen, &mut state);
        let texts = self.sample.kept.iter();
        texts.for_each(|text| write_text(text, &mut state));
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        let seen = state.number();
        let mut texts = Vec::new();
        while !state.is_empty() {
            let text = state.text();
            self.bytes += text.len();
            texts.push(text);
        }
        self.sample.merge(texts, seen);
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let value = self.sample.at(self.phi, |left, right| compare(left, right));
        Ok(text_value(value.cloned().unwrap_or_default()))
    }

    fn size(&self) -> usize {
        // Texts that are replaced make the sample no smaller than this.
        self.bytes + self.sample.kept.capacity() * size_of::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_exact_and_many_are_near() {
        let mut sample = Sample::new();
        for value in 0..100 {
            let place = sample.place().unwrap();
            sample.put(place, f64::from(value));
        }
        assert_eq!(sample.at(0.5, f64::total_cmp), Some(&50.0));
        assert_eq!(sample.at(1.0, f64::total_cmp), Some(&99.0));
        assert_eq!(sample.at(0.0, f64::total_cmp), Some(&0.0));
        let of = |from: u32, to: u32| {
            let mut sample = Sample::new();
            for value in from..to {
                if let Some(place) = sample.place() {
                    sample.put(place, f64::from(value));
                }
            }
            sample
        };
        let mut low = of(0, 100_000);
        let high = of(100_000, 400_000);
        low.merge(high.kept, high.seen);
        assert_eq!((low.kept.len(), low.seen), (SAMPLE_MAX, 400_000));
        let median = *low.at(0.5, f64::total_cmp).unwrap();
        assert!((median - 200_000.0).abs() < 5_000.0, "{median}");
    }
}
