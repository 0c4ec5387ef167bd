use super::{DecoderConfig, config::Rotary};

/// Cosines and sines of rotary embedding (Su et al., arXiv 2104.09864) for every position.
#[derive(Debug)]
pub(super) struct Rotation {
    pairing: Rotary,
    /// `[positions, head_dim / 2]`: cosine and sine of position times frequency `base^(-2 i / head_dim)`.
    pub(super) turns: Vec<(f32, f32)>,
    half: usize,
}

impl Rotation {
    /// Returns the rotation of `positions` positions.
    pub(super) fn new(config: &DecoderConfig, positions: usize) -> Self {
        let half = config.head_dim / 2;
        let (base, dim) = (f64::from(config.rope_base), config.head_dim as f64);
        let frequencies: Vec<f64> = (0..half).map(|pair| base.powf(-2.0 * pair as f64 / dim)).collect();
        let turns = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |frequency| (position as f64 * frequency).sin_cos()))
            .map(|(sin, cos)| (cos as f32, sin as f32))
            .collect();
        Self { pairing: config.rotary, turns, half }
    }

    /// Turns the heads in `heads`, `[heads, head_dim]`, to `position` and multiplies them by `factor`.
    pub(super) fn turn(&self, position: usize, heads: &mut [f32], factor: f32) {
        let turns = &self.turns[position * self.half..][..self.half];
        for head in heads.chunks_exact_mut(2 * self.half) {
            match self.pairing {
                Rotary::Halves => {
                    let (left, right) = head.split_at_mut(self.half);
                    for ((x, y), turn) in left.iter_mut().zip(right).zip(turns) {
                        (*x, *y) = turned(*x, *y, *turn, factor);
                    }
                }
                Rotary::Neighbours => {
                    for ([x, y], turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                        (*x, *y) = turned(*x, *y, *turn, factor);
                    }
                }
            }
        }
    }
}

fn turned(x: f32, y: f32, (cos, sin): (f32, f32), factor: f32) -> (f32, f32) {
    ((x * cos - y * sin) * factor, (x * sin + y * cos) * factor)
}
