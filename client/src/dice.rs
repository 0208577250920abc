//! Random numbers that a seed repeats.

/// mulberry32: 32 bits of state are plenty for delays, and every language has what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dice(u32);

impl Dice {
    pub(crate) const fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 if there is none.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the product is at least 0 and below a u32"
    )]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let fraction = f64::from(self.roll()) / 4_294_967_296.0;
        (fraction * f64::from(bound)) as u32
    }

    fn roll(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x6d2b_79f5);
        let mut t = (self.0 ^ (self.0 >> 15)).wrapping_mul(self.0 | 1);
        t ^= t.wrapping_add((t ^ (t >> 7)).wrapping_mul(t | 61));
        t ^ (t >> 14)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_below_their_bound_and_reach_all_of_it() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[dice.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
    }
}
