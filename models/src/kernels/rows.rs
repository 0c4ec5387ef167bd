//! What lies between linear layers: normalisation, gating, softmax, sums; each over one row of floats.

use std::marker::PhantomData;

use super::simd::{Kernel, LANES, Level, Simd};
use crate::rounding::ROUND;

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
    simd.run(Gated::<Silu> { gate: PhantomData, both, out });
}

/// Writes `gelu(gate) * up` to `out`, as [`gated_silu`] does; with the approximation of GELU by a hyperbolic tangent (Hendrycks
/// and Gimpel, arXiv 1606.08415).
pub(crate) fn gated_gelu(simd: Simd, both: &[f32], out: &mut [f32]) {
    simd.run(Gated::<GeluTanh> { gate: PhantomData, both, out });
}

/// Turns each `x` of `row` into `cap * tanh(x / cap)`.
pub(crate) fn soft_cap_row(simd: Simd, row: &mut [f32], cap: f32) {
    simd.run(SoftCap { row, cap });
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

/// What a gate goes through.
trait Gate {
    fn open<L: Level>(x: f32) -> f32;
}

struct Silu;

impl Gate for Silu {
    #[inline(always)]
    fn open<L: Level>(x: f32) -> f32 {
        x / (1.0 + exp::<L>(-x))
    }
}

struct GeluTanh;

impl Gate for GeluTanh {
    #[inline(always)]
    fn open<L: Level>(x: f32) -> f32 {
        gelu::<L>(x)
    }
}

struct Gated<'a, G> {
    gate: PhantomData<G>,
    both: &'a [f32],
    out: &'a mut [f32],
}

impl<G: Gate> Kernel for Gated<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let (gates, ups) = self.both.split_at(self.both.len() / 2);
        for ((out, gate), up) in self.out.iter_mut().zip(gates).zip(ups) {
            *out = G::open::<L>(*gate) * up;
        }
    }
}

struct SoftCap<'a> {
    row: &'a mut [f32],
    cap: f32,
}

impl Kernel for SoftCap<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        soft_cap::<L>(self.row, self.cap);
    }
}

/// Turns each `x` of `row` into `cap * tanh(x / cap)`. Part of kernels.
#[inline(always)]
pub(crate) fn soft_cap<L: Level>(row: &mut [f32], cap: f32) {
    let steepness = 2.0 / cap;
    for value in row {
        *value = cap - 2.0 * cap / (1.0 + exp::<L>(*value * steepness));
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

/// Returns the whole number nearest to `x`, which is small.
#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    x + ROUND - ROUND
}

/// Returns `2^x` for `x` up to 0 within 3 millionths: `2^n * 2^r` with whole `n`, and `2^r` by the polynomial of degree 4 with the
/// least relative error among those that are 1 at 0. Half the work of [`exp`], and as exact as weights of attention need.
#[inline(always)]
pub(crate) fn exp2<L: Level>(x: f32) -> f32 {
    let x = if x > -126.0 { x } else { -126.0 };
    let shifted = x + ROUND;
    let rest = x - (shifted - ROUND);
    let mut power = 9.581_047e-3;
    for coefficient in [5.590_597e-2, 0.240_241_45, 0.693_124_3, 1.0] {
        power = L::mul_add(power, rest, coefficient);
    }
    f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Returns `e^x` within 2 units in the last place where the result is a normal number: `2^n * e^r` with whole `n`, and `e^r` by
/// the polynomial of the Cephes library (`expf`). Unlike `f32::exp`, this becomes vector instructions.
#[inline(always)]
pub(crate) fn exp<L: Level>(x: f32) -> f32 {
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
mod tests;
