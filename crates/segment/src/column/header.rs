//! What stands before a page: a structure of Thrift's compact protocol.

/// How deep unknown structures may lie in each other.
const DEPTH_MAX: u32 = 8;

/// A page, and where its bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of this header.
    pub(super) length: usize,
    /// Of the page, levels included.
    pub(super) bytes: usize,
    /// Of the page before compression, levels included.
    pub(super) plain_bytes: usize,
    pub(super) kind: Kind,
}

/// What a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary {
        values: usize,
    },
    Data(Data),
    /// A page of data of Parquet's first kind, levels and values compressed together: segments of format 1.
    OldData {
        rows: usize,
        encoding: usize,
    },
}

/// A page of data, of Parquet's second kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) rows: usize,
    pub(super) nulls: usize,
    /// Parquet's number of it.
    pub(super) encoding: usize,
    /// Bytes of the definition levels, which are never compressed.
    pub(super) levels: usize,
    pub(super) is_compressed: bool,
}

const OLD_DATA_PAGE: usize = 0;
const DATA_PAGE: usize = 3;
const DICTIONARY_PAGE: usize = 2;

impl Header {
    /// The header that a page's bytes begin with.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (mut kind, mut plain, mut packed) = (None, None, None);
        let (mut dictionary, mut data, mut old_data) = (None, None, None);
        reader.structure(0, |reader, field, wire| {
            match (field, wire) {
                (1, INTEGER) => kind = Some(reader.size()?),
                (2, INTEGER) => plain = Some(reader.size()?),
                (3, INTEGER) => packed = Some(reader.size()?),
                (5, STRUCTURE) => old_data = Some(reader.old_data()?),
                (7, STRUCTURE) => dictionary = Some(reader.dictionary()?),
                (8, STRUCTURE) => data = Some(reader.data()?),
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(Self {
            length: reader.at,
            bytes: packed?,
            plain_bytes: plain?,
            kind: match kind? {
                DICTIONARY_PAGE => Kind::Dictionary {
                    values: dictionary?,
                },
                DATA_PAGE => Kind::Data(data?),
                OLD_DATA_PAGE => old_data?,
                _ => return None,
            },
        })
    }
}

// Types on the wire.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const INTEGER: u8 = 5;
const STRUCTURE: u8 = 12;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let (value, length) = super::unpack::unsigned(self.bytes.get(self.at..)?)?;
        self.at += length;
        Some(value)
    }

    fn signed(&mut self) -> Option<i64> {
        self.unsigned().map(super::unpack::unzigzag)
    }

    /// A number that is not negative.
    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.signed()?).ok()
    }

    fn skip_bytes(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// Gives every field's number and type to `field`, which tells whether it read it.
    fn structure(
        &mut self,
        depth: u32,
        mut field: impl FnMut(&mut Self, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        let mut number = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            let wire = head & 0x0f;
            number = match head >> 4 {
                0 => self.signed()?,
                step => number.checked_add(i64::from(step))?,
            };
            if !field(self, number, wire)? {
                self.skip(wire, depth)?;
            }
        }
    }

    /// Leaves a value out.
    fn skip(&mut self, wire: u8, depth: u32) -> Option<()> {
        match wire {
            TRUE | FALSE => Some(()),
            3 => self.skip_bytes(1),
            4..=6 => self.unsigned().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.skip_bytes(length)
            }
            STRUCTURE if depth < DEPTH_MAX => self.structure(depth + 1, |_, _, _| Some(false)),
            // No page has lists or maps.
            _ => None,
        }
    }

    fn dictionary(&mut self) -> Option<usize> {
        let mut values = None;
        self.structure(1, |reader, field, wire| {
            let known = (field, wire) == (1, INTEGER);
            if known {
                values = Some(reader.size()?);
            }
            Some(known)
        })?;
        values
    }

    fn old_data(&mut self) -> Option<Kind> {
        let (mut rows, mut encoding) = (None, None);
        self.structure(1, |reader, field, wire| {
            match (field, wire) {
                (1, INTEGER) => rows = Some(reader.size()?),
                (2, INTEGER) => encoding = Some(reader.size()?),
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(Kind::OldData {
            rows: rows?,
            encoding: encoding?,
        })
    }

    fn data(&mut self) -> Option<Data> {
        let (mut values, mut nulls, mut rows, mut encoding) = (None, None, None, None);
        let (mut levels, mut repetitions, mut is_compressed) = (None, None, true);
        self.structure(1, |reader, field, wire| {
            match (field, wire) {
                (1, INTEGER) => values = Some(reader.size()?),
                (2, INTEGER) => nulls = Some(reader.size()?),
                (3, INTEGER) => rows = Some(reader.size()?),
                (4, INTEGER) => encoding = Some(reader.size()?),
                (5, INTEGER) => levels = Some(reader.size()?),
                (6, INTEGER) => repetitions = Some(reader.size()?),
                (7, TRUE | FALSE) => is_compressed = wire == TRUE,
                _ => return Some(false),
            }
            Some(true)
        })?;
        // No column of ours has lists.
        let flat = repetitions? == 0 && values? == rows? && nulls? <= rows?;
        flat.then_some(Data {
            rows: rows?,
            nulls: nulls?,
            encoding: encoding?,
            levels: levels?,
            is_compressed,
        })
    }
}
