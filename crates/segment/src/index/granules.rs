//! Sets of granules of one segment.

/// A set of granules, numbered through all row groups of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GranuleSet {
    words: Vec<u64>,
    granules: u32,
}

impl GranuleSet {
    /// No granule of a segment of so many.
    pub fn none(granules: u32) -> Self {
        Self {
            words: vec![0; (granules as usize).div_ceil(64)],
            granules,
        }
    }

    /// Every granule.
    pub fn all(granules: u32) -> Self {
        let mut set = Self::none(granules);
        for granule in 0..granules {
            set.insert(granule);
        }
        set
    }

    /// Granules of the segment.
    pub const fn granules(&self) -> u32 {
        self.granules
    }

    /// Adds one; past the segment's end it is left out.
    pub fn insert(&mut self, granule: u32) {
        if granule < self.granules
            && let Some(word) = self.words.get_mut(granule as usize / 64)
        {
            *word |= 1 << (granule % 64);
        }
    }

    /// Whether it is in the set.
    pub fn contains(&self, granule: u32) -> bool {
        self.words
            .get(granule as usize / 64)
            .is_some_and(|word| word >> (granule % 64) & 1 == 1)
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Keeps those that are in both.
    pub fn intersect(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Adds those of the other.
    pub fn unite(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.granules).filter(|granule| self.contains(*granule))
    }
}
