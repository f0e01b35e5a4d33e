//! A cursor over a line.

use logmill_model::time;

/// What is left of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner<'a>(pub(crate) &'a str);

impl<'a> Scanner<'a> {
    /// Takes this text.
    pub(crate) fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes blanks; at least one.
    pub(crate) fn blanks(&mut self) -> Option<()> {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let some = rest.len() < self.0.len();
        self.0 = rest;
        some.then_some(())
    }

    /// Takes what stands before the separator, and the separator.
    pub(crate) fn until(&mut self, separator: &str) -> Option<&'a str> {
        let (before, after) = self.0.split_once(separator)?;
        self.0 = after;
        Some(before)
    }

    /// Takes a word and the blanks after it.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let end = self.0.find([' ', '\t']).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest.trim_start_matches([' ', '\t']);
        (!word.is_empty()).then_some(word)
    }

    /// Takes `least` to `most` digits as a number.
    pub(crate) fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let length = self
            .0
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        digits.parse().ok()
    }

    fn small(&mut self, least: usize, most: usize) -> Option<u8> {
        u8::try_from(self.digits(least, most)?).ok()
    }

    /// Takes `20` as a part of a date or time.
    pub(crate) fn two(&mut self) -> Option<u8> {
        self.small(2, 2)
    }

    /// Takes `7` or `07`.
    pub(crate) fn one_or_two(&mut self) -> Option<u8> {
        self.small(1, 2)
    }

    /// Takes `Nov` or another month.
    pub(crate) fn month(&mut self) -> Option<u8> {
        let month = time::month_number(self.0.as_bytes())?;
        self.0 = self.0.get(3..)?;
        Some(month)
    }

    /// Takes `12:00:00` with an optional fraction.
    pub(crate) fn clock(&mut self) -> Option<Clock> {
        let hour = self.two()?;
        self.eat(":")?;
        let minute = self.two()?;
        self.eat(":")?;
        let second = self.two()?;
        Some(Clock {
            hour,
            minute,
            second,
            nanosecond: self.fraction(),
        })
    }

    /// Takes `.123` or `,123` as nanoseconds; 0 when there is none.
    pub(crate) fn fraction(&mut self) -> u32 {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else {
            return 0;
        };
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return 0;
        }
        let digits = &rest[..length];
        self.0 = &rest[length..];
        let nine = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
        nine.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) nanosecond: u32,
}

impl Clock {
    /// The instant on a date, UTC, if a record may have it.
    pub(crate) fn on(self, year: i32, month: u8, day: u8) -> Option<i64> {
        let Self {
            hour,
            minute,
            second,
            nanosecond,
        } = self;
        time::civil_to_ns(year, month, day, hour, minute, second, nanosecond)
            .filter(|t_ns| time::in_range(*t_ns))
    }

    /// The instant on a date whose year is not written: the latest that is not in the future.
    pub(crate) fn on_recent(self, month: u8, day: u8, received_at_ns: i64) -> Option<i64> {
        let Self {
            hour,
            minute,
            second,
            ..
        } = self;
        self.on(
            time::year_for(month, day, hour, minute, second, received_at_ns),
            month,
            day,
        )
    }
}
