use statrs::distribution::{Binomial, DiscreteCDF as _};

/// Returns the p-value of the exact test of `McNemar` (two-sided), 0..=1: how likely it is that of two judges of equal accuracy one alone is right
/// as unequally often as `only_a` and `only_b` images, or more so. 1 when they are never right alone.
pub fn mcnemar_exact(only_a: u64, only_b: u64) -> f64 {
    let fewer = only_a.min(only_b);
    // One half is a probability.
    let tail = Binomial::new(0.5, only_a + only_b).map_or(1.0, |binomial| binomial.cdf(fewer));
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        // 2 (1 + 10) / 2^10; 2 / 2^5; halves on both sides; 2 (1 + 12 + 66 + 220) / 2^12.
        let cases = [(1, 9, 22.0 / 1024.0), (5, 0, 0.0625), (3, 3, 1.0), (0, 0, 1.0), (9, 3, 598.0 / 4096.0)];
        for (only_a, only_b, expected) in cases {
            let found = mcnemar_exact(only_a, only_b);
            assert!((found - expected).abs() < 1e-9, "{only_a} {only_b}: {found}, expected {expected}");
        }
    }
}
