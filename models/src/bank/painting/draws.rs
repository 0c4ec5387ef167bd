use std::{f32::consts::TAU, ops::RangeInclusive};

use fastrand::Rng;

/// Random choices of the painter: the same seed makes the same ones everywhere.
#[derive(Debug, Clone)]
pub(in crate::bank) struct Draws(Rng);

impl Draws {
    pub(in crate::bank) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Returns a number in `0..bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound.max(1))
    }

    /// Returns whether something happens that does so in this share of cases.
    pub(super) fn chance(&mut self, share: f32) -> bool {
        self.0.f32() < share
    }

    pub(super) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

    pub(super) fn uniform(&mut self, range: RangeInclusive<f32>) -> f32 {
        range.start() + (range.end() - range.start()) * self.0.f32()
    }

    /// Returns a number whose logarithm is uniform: as many small ones as large ones.
    pub(super) fn log_uniform(&mut self, range: RangeInclusive<f32>) -> f32 {
        self.uniform(range.start().ln()..=range.end().ln()).exp()
    }

    /// Returns a number of mean 0 and variance 1 (Box and Muller 1958).
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.0.f32()).ln()).sqrt();
        radius * (TAU * self.0.f32()).cos()
    }
}
