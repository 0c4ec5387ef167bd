/// A small seeded generator (xorshift64*, Vigna 2016), so that the same golden images give the same bank everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns the generator for `seed`; two seeds give unrelated sequences.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number in `0..bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Returns a number in -1..1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    /// Returns `count` different numbers of `0..bound`, ascending; all where there are no more.
    pub(super) fn sample(&mut self, bound: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..bound).collect();
        let count = count.min(bound);
        for place in 0..count {
            let other = place + self.below(bound - place);
            all.swap(place, other);
        }
        all.truncate(count);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_without_repetition_and_repeatably() {
        let sample = Random::new(3).sample(1000, 100);
        assert_eq!(sample, Random::new(3).sample(1000, 100));
        assert_ne!(sample, Random::new(4).sample(1000, 100));
        assert!(sample.windows(2).all(|pair| pair[0] < pair[1]) && sample.len() == 100);
        assert_eq!(Random::new(3).sample(5, 9), [0, 1, 2, 3, 4]);
        let mean = sample.iter().sum::<usize>() as f64 / 100.0;
        assert!((mean - 500.0).abs() < 100.0, "{mean}");
    }
}
