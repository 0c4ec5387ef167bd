/// A small generator whose numbers never change with a library version: `SplitMix64` (Steele, Lea, Flood 2014, figure 17).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Rng {
    /// Returns a generator for `purpose` of part `index`, unrelated to every other pair.
    pub(super) fn new(seed: u64, index: u64, purpose: u64) -> Self {
        let mut root = Self(seed);
        let mut part = Self(root.bits() ^ index);
        Self(part.bits() ^ purpose.wrapping_mul(GOLDEN_GAMMA))
    }

    /// Returns 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number in `low..high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit() as f32
    }

    /// Returns a number in `0..count`; 0 for a count of 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// Returns one of `low` and `high` signs, each half of the time.
    pub(super) fn sign(&mut self) -> f32 {
        if self.bits() & 1 == 0 { -1.0 } else { 1.0 }
    }

    /// Returns a number around 0 with standard deviation 1, near enough to a normal one for sensor noise: the sum of four
    /// 16 bit numbers, without logarithms that differ between machines.
    pub(super) fn noise(&mut self) -> f32 {
        const SUM_DEVIATION: f32 = 37_837.0; // 65536 * sqrt(4 / 12)
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xFFFF).sum();
        (sum as f32 - 2.0 * 65_535.0) / SUM_DEVIATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_numbers() {
        // First outputs of the reference implementation for seed 1234567.
        let mut rng = Rng(1_234_567);
        assert_eq!([rng.bits(), rng.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn noise_has_mean_0_and_deviation_1() {
        let mut rng = Rng::new(1, 2, 3);
        let values: Vec<f64> = (0..40_000).map(|_| f64::from(rng.noise())).collect();
        let mean = values.iter().sum::<f64>() / 40_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 40_000.0;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
