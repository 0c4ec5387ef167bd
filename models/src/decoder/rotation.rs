use std::f64::consts::TAU;

use super::{DecoderConfig, Llama3Scaling, LongRope, RopeScaling, Rotary, scale};

/// Cosines and sines of rotary embedding (Su et al., arXiv 2104.09864) for every position.
#[derive(Debug)]
pub(super) struct Rotation {
    pairing: Rotary,
    /// `[positions, rotary_dim / 2]`: cosine and sine of position times frequency.
    pub(super) turns: Vec<(f32, f32)>,
    head_dim: usize,
    half: usize,
    is_long: bool,
}

impl Rotation {
    /// Returns the rotation of `positions` positions in sequences of `len` tokens.
    pub(super) fn new(config: &DecoderConfig, positions: usize, len: usize) -> Self {
        let scaling = &config.variant.rope_scaling;
        let frequencies = frequencies(config, len);
        let amplitude = match scaling {
            RopeScaling::LongRope(LongRope { amplitude, .. }) => f64::from(*amplitude),
            RopeScaling::None | RopeScaling::Llama3(_) => 1.0,
        };
        let turns = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |frequency| (position as f64 * frequency).sin_cos()))
            .map(|(sin, cos)| ((amplitude * cos) as f32, (amplitude * sin) as f32))
            .collect();
        let (half, is_long) = (frequencies.len(), scaling.is_long(len));
        Self { pairing: config.rotary, turns, head_dim: config.head_dim, half, is_long }
    }

    /// Returns whether sequences of `len` tokens have this rotation.
    pub(super) fn fits(&self, config: &DecoderConfig, len: usize) -> bool {
        config.variant.rope_scaling.is_long(len) == self.is_long
    }

    /// Turns the heads in `heads`, `[heads, head_dim]`, to `position` and multiplies them by `factor`.
    pub(super) fn turn(&self, position: usize, heads: &mut [f32], factor: f32) {
        let turns = &self.turns[position * self.half..][..self.half];
        for head in heads.chunks_exact_mut(self.head_dim) {
            let (turned, kept) = head.split_at_mut(2 * self.half);
            match self.pairing {
                Rotary::Halves => {
                    let (left, right) = turned.split_at_mut(self.half);
                    for ((x, y), turn) in left.iter_mut().zip(right).zip(turns) {
                        (*x, *y) = turn_pair(*x, *y, *turn, factor);
                    }
                }
                Rotary::Neighbours => {
                    for ([x, y], turn) in turned.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                        (*x, *y) = turn_pair(*x, *y, *turn, factor);
                    }
                }
            }
            scale(kept, factor);
        }
    }
}

fn turn_pair(x: f32, y: f32, (cos, sin): (f32, f32), factor: f32) -> (f32, f32) {
    ((x * cos - y * sin) * factor, (x * sin + y * cos) * factor)
}

/// Returns the frequencies of sequences of `len` tokens in radians a position, `[rotary_dim / 2]`.
fn frequencies(config: &DecoderConfig, len: usize) -> Vec<f64> {
    let dim = config.variant.rotary_dim.unwrap_or(config.head_dim);
    let base = f64::from(config.rope_base);
    let plain = (0..dim / 2).map(|pair| base.powf(-2.0 * pair as f64 / dim as f64));
    match &config.variant.rope_scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Llama3(scaling) => plain.map(|frequency| scaling.stretched(frequency)).collect(),
        RopeScaling::LongRope(LongRope { short_factors, long_factors, .. }) => {
            let factors = if config.variant.rope_scaling.is_long(len) { long_factors } else { short_factors };
            plain.zip(factors).map(|(frequency, factor)| frequency / f64::from(*factor)).collect()
        }
    }
}

impl Llama3Scaling {
    /// Returns what becomes of a frequency in radians a position.
    fn stretched(&self, frequency: f64) -> f64 {
        let [factor, low, high] = [self.factor, self.low, self.high].map(f64::from);
        let turns = self.original_context as f64 * frequency / TAU;
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        frequency * ((1.0 - kept) / factor + kept)
    }
}
