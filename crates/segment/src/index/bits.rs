//! Streams of bits, least significant first.

use crate::{Error, Result};

/// Appends bits to a vector.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            pending: 0,
            count: 0,
        }
    }

    /// The low `width` bits of `value`; at most 32.
    #[inline]
    pub(crate) fn bits(&mut self, value: u32, width: u32) {
        debug_assert!(width == 32 || value >> width == 0, "{value} in {width}");
        self.pending |= u64::from(value) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// `value` ones and a zero.
    fn unary(&mut self, value: u32) {
        let mut left = value;
        while left >= 16 {
            self.bits(0xffff, 16);
            left -= 16;
        }
        self.bits((1 << left) - 1, left + 1);
    }

    /// Golomb–Rice code: what is above `parameter` bits in unary, the rest as it is.
    #[inline]
    pub(crate) fn rice(&mut self, value: u32, parameter: u32) {
        self.unary(value >> parameter);
        self.bits(value & ((1 << parameter) - 1), parameter);
    }

    /// Elias gamma code of a number from 1.
    pub(crate) fn gamma(&mut self, value: u32) {
        let width = value.ilog2();
        self.unary(width);
        self.bits(value - (1 << width), width);
    }

    /// Ends the stream on a byte.
    pub(crate) fn finish(mut self) {
        if self.count > 0 {
            self.bits(0, 8 - self.count);
        }
    }
}

/// Reads what [`BitWriter`] wrote; whatever the bytes are, it ends with an error and not with a panic.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next 57 or more bits, zeros past the end.
    #[inline]
    fn window(&self) -> u64 {
        let at = self.position / 8;
        let eight = match self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let mut padded = [0; 8];
                let rest = self.bytes.get(at..).unwrap_or_default();
                padded[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(padded)
            }
        };
        eight >> (self.position % 8)
    }

    #[inline]
    fn skip(&mut self, width: u32) -> Result<()> {
        self.position += width as usize;
        if self.position > self.bytes.len() * 8 {
            return Err(Error::Index("a block ends too early".to_owned()));
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn bits(&mut self, width: u32) -> Result<u32> {
        let value = self.window() & ((1_u64 << width) - 1);
        self.skip(width)?;
        Ok(value as u32)
    }

    #[inline]
    fn unary(&mut self) -> Result<u32> {
        let mut value = 0;
        loop {
            let ones = self.window().trailing_ones();
            if ones < 56 {
                self.skip(ones + 1)?;
                return Ok(value + ones);
            }
            self.skip(56)?;
            value += 56;
        }
    }

    #[inline]
    pub(crate) fn rice(&mut self, parameter: u32) -> Result<u32> {
        let high = self.unary()?;
        let low = self.bits(parameter)?;
        high.checked_shl(parameter)
            .filter(|shifted| shifted >> parameter == high)
            .map(|shifted| shifted | low)
            .ok_or_else(|| Error::Index("a number is too large".to_owned()))
    }

    pub(crate) fn gamma(&mut self) -> Result<u32> {
        let width = self.unary()?;
        if width > 31 {
            return Err(Error::Index("a number is too large".to_owned()));
        }
        Ok(self.bits(width)? | 1 << width)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec((any::<u32>(), 0_u32..4, 0_u32..32), 0..50)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            for (value, kind, width) in &values {
                let small = value & ((1_u32 << width) - 1);
                match kind {
                    0 => writer.bits(small, *width),
                    1 => writer.rice(value >> 16, (*width).max(4)),
                    2 => writer.gamma(small.max(1)),
                    _ => writer.bits(*value, 32),
                }
            }
            writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (value, kind, width) in &values {
                let small = value & ((1_u32 << width) - 1);
                match kind {
                    0 => prop_assert_eq!(reader.bits(*width).unwrap(), small),
                    1 => prop_assert_eq!(reader.rice((*width).max(4)).unwrap(), value >> 16),
                    2 => prop_assert_eq!(reader.gamma().unwrap(), small.max(1)),
                    _ => prop_assert_eq!(reader.bits(32).unwrap(), *value),
                }
            }
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..40), width in 0_u32..32) {
            let mut reader = BitReader::new(&bytes);
            let mut steps = 0;
            while reader.rice(width).and_then(|_| reader.gamma()).is_ok() {
                steps += 1;
            }
            prop_assert!(steps <= bytes.len() * 8);
        }
    }
}
