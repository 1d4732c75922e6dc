//! Input bytes read as decisions.
//!
//! Any bytes are a valid list of decisions; when they run out every decision is
//! zero, so that a body ends and small inputs stay small under minimisation.

/// Decisions that are left.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Reads all of `data` as decisions.
    pub fn new(data: &'a [u8]) -> Choices<'a> {
        Choices { rest: data }
    }

    /// Returns whether no decisions are left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes one byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&first, rest)) => {
                self.rest = rest;
                first
            }
            None => 0,
        }
    }

    /// Chooses a number below `bound`, which is at most 65,536.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = match bound {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(u16::from_le_bytes([self.byte(), self.byte()])),
        };
        number % bound.max(1)
    }

    /// Chooses one of `items`.
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Returns true in about `n` of 256 cases.
    pub fn chance(&mut self, n: u8) -> bool {
        self.byte() < n
    }

    /// Takes up to `most` bytes as they are.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Takes all bytes that are left.
    pub fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
