//! Bytes, used up as decisions are made of them.

/// Rolled bytes. Past their end, every roll is 0: what is made of them comes to its simplest end.
#[derive(Clone, Debug)]
pub struct Rolls<'a>(&'a [u8]);

impl<'a> Rolls<'a> {
    /// These bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below this one; 0 below 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut roll = usize::from(self.byte());
        if bound > 256 {
            roll = roll << 8 | usize::from(self.byte());
        }
        roll.checked_rem(bound).unwrap_or_default()
    }

    /// True once in so many times; never past the end, where `of` is more than 1.
    pub fn once_in(&mut self, of: usize) -> bool {
        self.below(of) + 1 == of
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }

    /// So many of the bytes, or as many as there are.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
