//! Weights of 16 outputs by 32 inputs, laid out so that one vector holds the 16 outputs: a product needs no sums across lanes.

mod plain;
mod quantized;
mod source;

use crate::{matrix::BLOCK_LEN, rounding::ROUND};

use super::simd::{Fixed, LANES, Level, Words};

pub(super) use plain::{Brain, Full};
pub(super) use quantized::{EightBit, FourBit};
pub(super) use source::Source;

/// Thirty-two inputs of a product, as a kind of block reads them on the level that they were made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs {
    /// In the order in which the block reads them; zero where it reads `fixed`.
    values: [f32; BLOCK_LEN],
    fixed: Fixed,
    sum: f32,
}

impl Inputs {
    #[inline(always)]
    fn floats(values: [f32; BLOCK_LEN], inputs: &[f32; BLOCK_LEN]) -> Self {
        Self { values, fixed: Fixed { parts: [[0; 8]; 3], scale: 0.0 }, sum: reduce(*inputs, |a, b| a + b) }
    }

    /// Returns `inputs` in fixed point, to 2^-23 of the largest magnitude.
    #[inline(always)]
    fn fixed(inputs: &[f32; BLOCK_LEN]) -> Self {
        const RANGE: f32 = (1 << 22) as f32;
        let mut magnitudes = *inputs;
        for magnitude in &mut magnitudes {
            *magnitude = magnitude.abs();
        }
        let largest = reduce(magnitudes, |a, b| if a > b { a } else { b });
        let (scale, inverse) = if largest > 0.0 { (largest / RANGE, RANGE / largest) } else { (0.0, 0.0) };
        let mut parts = [[0; BLOCK_LEN]; 3];
        for at in 0..BLOCK_LEN {
            let whole = (inputs[at] * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
            // The lower parts are signed too, so that what remains is rounded, not cut.
            let low = whole as i8;
            let rest = whole.wrapping_sub(i32::from(low)) >> 8;
            let middle = rest as i8;
            (parts[2][at], parts[1][at]) = (low.cast_unsigned(), middle.cast_unsigned());
            parts[0][at] = (rest.wrapping_sub(i32::from(middle)) >> 8) as u8;
        }
        let sum = reduce(*inputs, |a, b| a + b);
        let mut fixed = Fixed { parts: [[0; 8]; 3], scale };
        for part in 0..3 {
            for word in 0..8 {
                let at = 4 * word;
                let bytes = [parts[part][at], parts[part][at + 1], parts[part][at + 2], parts[part][at + 3]];
                fixed.parts[part][word] = u32::from_le_bytes(bytes);
            }
        }
        Self { values: [0.0; BLOCK_LEN], fixed, sum }
    }
}

/// Combines values pairwise until one is left: an order that needs few steps with vectors.
#[inline(always)]
fn reduce(mut values: [f32; BLOCK_LEN], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = BLOCK_LEN / 2;
    while width > 0 {
        for at in 0..width {
            values[at] = combine(values[at], values[at + width]);
        }
        width /= 2;
    }
    values[0]
}

/// A kind of block.
pub(super) trait Block: Clone + Send + Sync + std::fmt::Debug {
    /// What [`Self::column`] needs for every column.
    type Scales: Copy;

    /// A block of zeros.
    const ZERO: Self;

    /// Takes the weights of output `lane` from 32 values of `matrix`; returns whether all are finite.
    fn set(&mut self, lane: usize, source: Source<'_>) -> bool;

    /// Returns `inputs` as [`Self::accumulate`] reads them on the same level.
    fn arrange<L: Level>(inputs: &[f32; BLOCK_LEN]) -> Inputs;

    /// Adds the products with `inputs` to `sums`.
    fn accumulate<L: Level>(&self, inputs: &Inputs, sums: &mut [f32; LANES]);

    /// Returns the scales of the outputs.
    fn scales<L: Level>(&self) -> Self::Scales;

    /// Returns the weights of input `at`.
    fn column<L: Level>(&self, scales: &Self::Scales, at: usize) -> [f32; LANES];
}

/// A kind of block whose weights are whole numbers with a scale, and perhaps a minimum.
pub(super) trait Quantized: Block {
    /// Whether minima can be other than 0.
    const HAS_MINIMA: bool;

    /// Returns the whole numbers as signed bytes; byte `i` of word `j` of an output belongs to input `4 j + i`.
    fn bytes(&self) -> [Words; 8];

    /// Returns the scales and the minima of the outputs.
    fn scales_and_minima<L: Level>(&self) -> ([f32; LANES], [f32; LANES]);
}

#[cfg(test)]
mod tests;
