use std::f64::consts::PI;

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

/// For functions of which small results are differences of larger numbers.
fn assert_within(name: &str, actual: &[f32], expected: impl Iterator<Item = f64>) {
    for (at, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(*actual) - expected).abs() <= 2e-6, "{name}[{at}]: {actual} is not {expected}");
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
        let tanh = |x: f64| ((2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh();
        assert_close(&format!("{level:?} gelu"), &out, wide.iter().map(|&x| x / 2.0 * (1.0 + tanh(x))));
        gated_gelu(level, &both, &mut out);
        assert_close(&format!("{level:?} gated gelu"), &out, wide.iter().map(|&x| x / 2.0 * (1.0 + tanh(x)) * 1.5));
        let mut capped = row.clone();
        soft_cap_row(level, &mut capped, 4.0);
        let expected = wide.iter().map(|value| 4.0 * (value / 4.0).tanh());
        assert_within(&format!("{level:?} soft cap"), &capped, expected);
        let mut probabilities = row.clone();
        level.run(Softmax(&mut probabilities));
        let sum: f64 = wide.iter().map(|value| value.exp()).sum();
        assert_close(&format!("{level:?} softmax"), &probabilities, wide.iter().map(|value| value.exp() / sum));
    }
}

#[test]
fn gates_far_from_zero_stay_finite() {
    for level in Simd::all() {
        for gated in [gated_silu, gated_gelu] {
            let mut out = [f32::NAN; 2];
            gated(level, &[-1e30, 1e30, 1.0, 1.0], &mut out);
            assert!(out[0].abs() < 1e-6 && out[1] > 9e29, "{level:?}: {out:?}");
        }
        let mut row = [-1e30, 1e30];
        soft_cap_row(level, &mut row, 30.0);
        assert_within(&format!("{level:?} soft cap"), &row, [-30.0, 30.0].into_iter());
    }
}

struct Powers<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Powers<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        self.1.iter_mut().zip(self.0).for_each(|(out, value)| *out = exp2::<L>(*value));
    }
}

#[test]
fn powers_of_two_are_right_down_to_the_smallest() {
    let exponents: Vec<f32> = (0..1300).map(|step| -0.1 * step as f32).chain([1e-6, -1e30]).collect();
    for level in Simd::all() {
        let mut out = vec![0.0; exponents.len()];
        level.run(Powers(&exponents, &mut out));
        for (exponent, found) in exponents.iter().zip(&out) {
            let expected = f64::from(exponent.max(-126.0)).exp2();
            let error = (f64::from(*found) / expected - 1.0).abs();
            assert!(error < 3e-6, "{level:?} 2^{exponent}: {found} is not {expected}");
        }
    }
}
