use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

/// A 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5 % of the distribution lies below.
    pub low: f64,
    /// 2.5 % of the distribution lies above.
    pub high: f64,
}

/// Share of the distribution on each side of an [`Interval`].
const TAIL: f64 = 0.025;
/// An interval that is no wider has no width but for rounding.
const NO_WIDTH: f64 = 1e-9;

/// Returns the `q` quantile, 0..=1, of values in ascending order, linear between neighbours; `None` without values.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let position = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

/// Returns the exact binomial interval of `hits` out of `n` trials (Clopper and Pearson, 1934); `None` when `n` is 0. A mean
/// over repeats may be a fraction of a hit; the beta quantiles extend to it.
pub fn clopper_pearson(hits: f64, n: f64) -> Option<Interval> {
    if n <= 0.0 || !(0.0..=n).contains(&hits) {
        return None;
    }
    let beta = |a, b, p| Beta::new(a, b).ok().map(|beta| beta.inverse_cdf(p));
    let low = if hits == 0.0 { 0.0 } else { beta(hits, n - hits + 1.0, TAIL)? };
    let high = if hits >= n { 1.0 } else { beta(hits + 1.0, n - hits, 1.0 - TAIL)? };
    Some(Interval { low, high })
}

/// Percentile bootstrap: the statistic's spread when the images are drawn anew with replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Same seed, same interval.
    pub seed: u64,
    /// Draws; 1,000 give the ends of the interval to about a tenth of its width.
    pub replicates: usize,
}

impl Bootstrap {
    /// Returns the interval of `statistic`, which is given image positions with repeats. Each stratum (good images, defective
    /// images) keeps its size. Draws for which the statistic is undefined are left out; `None` when all are, and when the statistic is the
    /// same in (nearly) all: without a mistake to draw, the interval would say that there can be none.
    pub fn interval(
        self,
        strata: &[Vec<usize>],
        mut statistic: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Option<Interval> {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut draw = Vec::with_capacity(strata.iter().map(Vec::len).sum());
        let mut values = Vec::with_capacity(self.replicates);
        for _ in 0..self.replicates {
            draw.clear();
            for stratum in strata.iter().filter(|stratum| !stratum.is_empty()) {
                draw.extend((0..stratum.len()).map(|_| stratum[rng.usize(..stratum.len())]));
            }
            values.extend(statistic(&draw));
        }
        values.sort_by(f64::total_cmp);
        let interval = Interval { low: quantile(&values, TAIL)?, high: quantile(&values, 1.0 - TAIL)? };
        (interval.high - interval.low > NO_WIDTH).then_some(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_between_neighbours() {
        let cases: [(&[f64], f64, Option<f64>); 4] = [
            (&[], 0.5, None),
            (&[3.0], 0.9, Some(3.0)),
            (&[1.0, 2.0], 0.5, Some(1.5)),
            (&[1.0, 2.0, 4.0], 0.75, Some(3.0)),
        ];
        for (values, q, expected) in cases {
            assert_eq!(quantile(values, q), expected, "{values:?} {q}");
        }
    }

    #[test]
    fn bootstrap_of_a_mean_agrees_with_theory() {
        // 400 values of a uniform distribution on 0..1: the standard error of the mean is 1/sqrt(12 * 400) = 0.01443.
        let values: Vec<f64> = (0..400).map(|i| (f64::from(i) + 0.5) / 400.0).collect();
        let bootstrap = Bootstrap { seed: 7, replicates: 4000 };
        let mean = |draw: &[usize]| Some(draw.iter().map(|&i| values[i]).sum::<f64>() / draw.len() as f64);
        let Interval { low, high } = bootstrap.interval(&[(0..400).collect()], mean).unwrap();
        assert!((low - (0.5 - 1.96 * 0.01443)).abs() < 0.002, "{low}");
        assert!((high - (0.5 + 1.96 * 0.01443)).abs() < 0.002, "{high}");
        assert_eq!(bootstrap.interval(&[(0..400).collect()], mean), Some(Interval { low, high }));
    }

    #[test]
    fn strata_keep_their_size() {
        let strata = [vec![0, 1, 2], vec![], vec![3]];
        let drawn = Bootstrap { seed: 1, replicates: 50 }.interval(&strata, |draw| {
            assert_eq!(draw.iter().filter(|&&i| i == 3).count(), 1);
            assert_eq!(draw.len(), 4);
            Some(draw.iter().filter(|&&i| i == 0).count() as f64)
        });
        assert!(drawn.is_some());
    }

    #[test]
    fn what_is_the_same_in_every_draw_has_no_interval() {
        let bootstrap = Bootstrap { seed: 1, replicates: 50 };
        assert_eq!(bootstrap.interval(&[vec![0, 1, 2]], |_| Some(0.0)), None);
        // A sum of shares that is 1 but for rounding.
        let shares = |draw: &[usize]| Some((0..draw[0] + 3).map(|_| 1.0 / (draw[0] + 3) as f64).sum());
        assert_eq!(bootstrap.interval(&[(0..20).collect()], shares), None);
    }

    #[test]
    fn undefined_statistics_have_no_interval() {
        assert_eq!(Bootstrap { seed: 1, replicates: 10 }.interval(&[vec![0]], |_| None), None);
        assert_eq!(clopper_pearson(0.0, 0.0), None);
        assert_eq!(clopper_pearson(3.0, 2.0), None);
    }
}
