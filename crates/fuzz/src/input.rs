//! Reading numbers off the front of an input.

/// The rest of an input; numbers past its end are 0.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of it.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether checksums are to be made right: the first byte is odd.
    pub fn sealed(&mut self) -> bool {
        self.number::<1>() % 2 == 1
    }

    /// A little-endian number of `N` bytes, 8 at most.
    pub fn number<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.take(N)) {
            *to = *from;
        }
        u64::from_le_bytes(bytes)
    }

    /// The next bytes, fewer at the end.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// What is left.
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }
}
