//! What lies between linear layers: normalisation, gating, softmax, sums; each over one row of floats.

use super::simd::{Kernel, LANES, Level, Simd};

/// Adds `other` to `row`.
pub(crate) fn add(row: &mut [f32], other: &[f32]) {
    row.iter_mut().zip(other).for_each(|(value, other)| *value += other);
}

/// Writes `row / sqrt(mean(row^2) + epsilon) * weight` to `out` (RMS normalisation; Zhang and Sennrich, arXiv 1910.07467).
pub(crate) fn rms_norm(simd: Simd, row: &[f32], norm: (&[f32], f32), out: &mut [f32]) {
    let (weight, epsilon) = norm;
    simd.run(RmsNorm { row, weight, epsilon, out });
}

/// Writes `(row - mean) / sqrt(variance + epsilon) * weight + bias` to `out` (layer normalisation; Ba and others, arXiv 1607.06450).
pub(crate) fn layer_norm(simd: Simd, row: &[f32], norm: (&[f32], &[f32], f32), out: &mut [f32]) {
    let (weight, bias, epsilon) = norm;
    simd.run(LayerNorm { row, weight, bias, epsilon, out });
}

/// Writes `silu(gate) * up` to `out`, where `both` holds the gates first, then as many ups.
pub(crate) fn gated_silu(simd: Simd, both: &[f32], out: &mut [f32]) {
    simd.run(GatedSilu { both, out });
}

struct RmsNorm<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let sum = sum_of(self.row, |value, sum| L::mul_add(value, value, sum));
        let factor = 1.0 / (sum / self.row.len() as f32 + self.epsilon).sqrt();
        for ((out, value), weight) in self.out.iter_mut().zip(self.row).zip(self.weight) {
            *out = value * factor * weight;
        }
    }
}

struct LayerNorm<'a> {
    row: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let len = self.row.len() as f32;
        let mean = sum_of(self.row, |value, sum| sum + value) / len;
        let variance = sum_of(self.row, |value, sum| L::mul_add(value - mean, value - mean, sum)) / len;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        let parameters = self.weight.iter().zip(self.bias);
        for ((out, value), (weight, bias)) in self.out.iter_mut().zip(self.row).zip(parameters) {
            *out = L::mul_add((value - mean) * factor, *weight, *bias);
        }
    }
}

/// Returns the sum that `add` makes of `row`, lane by lane.
#[inline(always)]
pub(super) fn sum_of(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] = add(chunk[lane], sums[lane]);
        }
    }
    rest.iter().fold(sums.iter().sum(), |sum, &value| add(value, sum))
}

struct GatedSilu<'a> {
    both: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for GatedSilu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let (gates, ups) = self.both.split_at(self.both.len() / 2);
        for ((out, gate), up) in self.out.iter_mut().zip(gates).zip(ups) {
            *out = gate / (1.0 + exp::<L>(-gate)) * up;
        }
    }
}

/// Turns `row` into probabilities in place. Part of kernels.
#[inline(always)]
pub(crate) fn softmax<L: Level>(row: &mut [f32]) {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            greatest[lane] = if chunk[lane] > greatest[lane] { chunk[lane] } else { greatest[lane] };
        }
    }
    let greatest = greatest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            chunk[lane] = exp::<L>(chunk[lane] - greatest);
            sums[lane] += chunk[lane];
        }
    }
    let mut sum = sums.iter().sum::<f32>();
    for value in rest {
        *value = exp::<L>(*value - greatest);
        sum += *value;
    }
    let factor = 1.0 / sum;
    for value in row {
        *value *= factor;
    }
}

/// Returns the Gaussian error linear unit in its approximation by `tanh`, `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`
/// (Hendrycks and Gimpel, arXiv 1606.08415). Part of kernels.
#[inline(always)]
pub(crate) fn gelu<L: Level>(x: f32) -> f32 {
    // (1 + tanh(u)) / 2 = 1 / (1 + e^(-2 u))
    const FACTOR: f32 = -2.0 * 0.797_884_6;
    let cubic = L::mul_add(x * x, 0.044_715, 1.0) * x;
    x / (1.0 + exp::<L>(FACTOR * cubic))
}

/// Returns the whole number nearest to `x`, which is small. Unlike a library call, this becomes vector instructions.
#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    /// Nothing after the point is left of a number this large.
    const ROUND: f32 = 12_582_912.0;
    x + ROUND - ROUND
}

/// Returns `e^x` within 2 units in the last place where the result is a normal number: `2^n * e^r` with whole `n`, and `e^r` by
/// the polynomial of the Cephes library (`expf`). Unlike `f32::exp`, this becomes vector instructions.
#[inline(always)]
pub(crate) fn exp<L: Level>(x: f32) -> f32 {
    /// Adding 1.5 * 2^23 leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let shifted = L::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = L::mul_add(whole, -LN_2_LOW, L::mul_add(whole, -LN_2_HIGH, x));
    let coefficients = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in coefficients {
        polynomial = L::mul_add(polynomial, rest, coefficient);
    }
    let power = L::mul_add(polynomial, rest * rest, rest) + 1.0;
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Softmax<'a>(&'a mut [f32]);

    impl Kernel for Softmax<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Level>(self) {
            softmax::<L>(self.0);
        }
    }

    struct Gelus<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Gelus<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Level>(self) {
            self.1.iter_mut().zip(self.0).for_each(|(out, value)| *out = gelu::<L>(*value));
        }
    }

    fn samples(len: usize) -> Vec<f32> {
        (0..len).map(|at| (at as f32 * 0.7).sin() * 9.0 - 1.0).collect()
    }

    fn assert_close(name: &str, actual: &[f32], expected: impl Iterator<Item = f64>) {
        for (at, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            let error = (f64::from(*actual) - expected).abs();
            assert!(error <= 1e-6 * expected.abs().max(1e-3), "{name}[{at}]: {actual} is not {expected}");
        }
    }

    #[test]
    fn rows_are_what_their_formulas_say() {
        for (level, len) in Simd::all().into_iter().flat_map(|level| [(level, 1), (level, 33), (level, 576)]) {
            let row = samples(len);
            let wide: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
            let mut out = vec![0.0; len];
            let weight = vec![1.5; len];
            rms_norm(level, &row, (&weight, 1e-5), &mut out);
            let mean = wide.iter().map(|value| value * value).sum::<f64>() / len as f64;
            let expected = wide.iter().map(|value| value / (mean + 1e-5).sqrt() * 1.5);
            assert_close(&format!("{level:?} norm"), &out, expected);
            let both: Vec<f32> = row.iter().chain(&weight).copied().collect();
            gated_silu(level, &both, &mut out);
            let expected = wide.iter().map(|value| value / (1.0 + (-value).exp()) * 1.5);
            assert_close(&format!("{level:?} silu"), &out, expected);
            let (spread, bias) = (|value: f64| value * value, vec![8.0; len]);
            layer_norm(level, &row, (&weight, &bias, 1e-5), &mut out);
            let centre = wide.iter().sum::<f64>() / len as f64;
            let variance = wide.iter().map(|value| spread(value - centre)).sum::<f64>() / len as f64;
            let expected = wide.iter().map(|value| (value - centre) / (variance + 1e-5).sqrt() * 1.5 + 8.0);
            assert_close(&format!("{level:?} layer norm"), &out, expected);
            level.run(Gelus(&row, &mut out));
            let tanh = |x: f64| ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh();
            assert_close(&format!("{level:?} gelu"), &out, wide.iter().map(|&x| x / 2.0 * (1.0 + tanh(x))));
            let mut probabilities = row.clone();
            level.run(Softmax(&mut probabilities));
            let sum: f64 = wide.iter().map(|value| value.exp()).sum();
            assert_close(&format!("{level:?} softmax"), &probabilities, wide.iter().map(|value| value.exp() / sum));
        }
    }

    #[test]
    fn gates_far_from_zero_stay_finite() {
        for level in Simd::all() {
            let mut out = [f32::NAN; 2];
            gated_silu(level, &[-1e30, 1e30, 1.0, 1.0], &mut out);
            assert!(out[0].abs() < 1e-6 && out[1] > 9e29, "{level:?}: {out:?}");
        }
    }
}
