//! Keys and values of one head, rounded: what all queries share.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled without the kernel's instructions"
)]

use crate::kernels::{IntegerRows, Kernel, Level, Simd, inverse};

/// Patches whose scores and weights stay in the first-level cache until they are used: whole pairs, and whole tiles of keys.
pub(super) const BLOCK_PATCHES: usize = 132;
/// What the weight 1, the greatest, is rounded to.
pub(super) const WEIGHT_MAX: i32 = 1 << 14;
/// What the greatest value of a column is rounded to: sums of products of a block with weights fill 32 bits at most.
pub(super) const VALUE_MAX: i32 = i32::MAX / (BLOCK_PATCHES as i32 * WEIGHT_MAX);
/// Columns of values that are multiplied together: with 32 queries, their sums fill 16 of 32 registers.
pub(super) const TILE_VALUES: usize = 8;

/// Keys and values of one head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) blocks: Vec<Block>,
    /// `[head_dim]`.
    pub(super) columns: Vec<Column>,
}

/// What numbers of a column of values mean: `step * number + middle`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) step: f32,
    pub(super) middle: f32,
}

/// Keys and values of some patches.
#[derive(Debug)]
pub(super) struct Block {
    /// `[patches, head_dim]`, less the mean of all keys, in units that make scores exponents of 2.
    pub(super) keys: IntegerRows,
    /// `[head_dim / 8, patches / 2]`, rounded up: a word holds the numbers of two patches.
    pub(super) values: Vec<[u32; TILE_VALUES]>,
    pub(super) patches: usize,
}

impl Block {
    fn new(patches: usize, dim: usize) -> Self {
        let values = vec![[0; TILE_VALUES]; dim.div_ceil(TILE_VALUES) * patches.div_ceil(2)];
        Self { keys: IntegerRows::new(patches, dim), values, patches }
    }
}

impl Head {
    /// Returns room for a head of `dim` values.
    pub(super) fn new(patches: usize, dim: usize) -> Self {
        let block = |first| Block::new(BLOCK_PATCHES.min(patches - first), dim);
        let blocks = (0..patches).step_by(BLOCK_PATCHES).map(block).collect();
        Self { blocks, columns: vec![Column { step: 0.0, middle: 0.0 }; dim] }
    }

    /// Takes the keys and values of head `index` from `qkv`, `[patches, 3 * hidden]`.
    pub(super) fn arrange(&mut self, simd: Simd, qkv: &[f32], (index, hidden): (usize, usize)) {
        let dim = self.columns.len();
        let rows = |qkv, part: usize| Rows { all: qkv, width: 3 * hidden, first: part * hidden + index * dim, dim };
        let means = simd.run(Survey { keys: rows(qkv, 1), values: rows(qkv, 2), columns: &mut self.columns });
        let factor = std::f32::consts::LOG2_E / (dim as f32).sqrt();
        let mut centred = vec![0.0; dim];
        for (block, qkv) in self.blocks.iter_mut().zip(qkv.chunks(BLOCK_PATCHES * 3 * hidden)) {
            for (patch, key) in rows(qkv, 1).each().enumerate() {
                let parts = centred.iter_mut().zip(key).zip(&means);
                parts.for_each(|((out, key), mean)| *out = (key - mean) * factor);
                block.keys.set(simd, patch, &centred);
            }
            simd.run(Pack { values: rows(qkv, 2), columns: &self.columns, block });
        }
    }
}

/// One part of one head: columns of a matrix.
#[derive(Clone, Copy)]
struct Rows<'a> {
    all: &'a [f32],
    width: usize,
    first: usize,
    dim: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn each(self) -> impl Iterator<Item = &'a [f32]> {
        self.all.chunks_exact(self.width).map(move |row| &row[self.first..][..self.dim])
    }
}

/// Sets `columns` to the ranges of values and returns the means of keys.
struct Survey<'a> {
    keys: Rows<'a>,
    values: Rows<'a>,
    columns: &'a mut [Column],
}

impl Kernel for Survey<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<L: Level>(self) -> Vec<f32> {
        let dim = self.columns.len();
        let (mut sums, mut lows, mut highs) = (vec![0.0; dim], vec![f32::INFINITY; dim], vec![f32::NEG_INFINITY; dim]);
        let mut patches = 0.0;
        for (keys, values) in self.keys.each().zip(self.values.each()) {
            sums.iter_mut().zip(keys).for_each(|(sum, key)| *sum += key);
            for ((low, high), &value) in lows.iter_mut().zip(&mut highs).zip(values) {
                *low = if value < *low { value } else { *low };
                *high = if value > *high { value } else { *high };
            }
            patches += 1.0;
        }
        for (column, (low, high)) in self.columns.iter_mut().zip(lows.iter().zip(&highs)) {
            let middle = low / 2.0 + high / 2.0;
            // The middle of neighbouring floats is one of them: only distances from what it is rounded to bound the numbers.
            *column = Column { step: (high - middle).max(middle - low) / VALUE_MAX as f32, middle };
        }
        sums.iter_mut().for_each(|sum| *sum /= patches);
        sums
    }
}

/// Rounds the values of a block.
struct Pack<'a> {
    values: Rows<'a>,
    columns: &'a [Column],
    block: &'a mut Block,
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let pairs = self.block.patches.div_ceil(2);
        let factors: Vec<f32> = self.columns.iter().map(|column| inverse(column.step)).collect();
        let middles: Vec<f32> = self.columns.iter().map(|column| column.middle).collect();
        let mut words = vec![[0; TILE_VALUES]; self.columns.len().div_ceil(TILE_VALUES)];
        let mut rows = self.values.each();
        for pair in 0..pairs {
            let Some(lower) = rows.next() else { return };
            // What stands beside the last of an odd number of patches has no weight.
            let upper = rows.next().unwrap_or(lower);
            let columns = lower.iter().zip(upper).zip(middles.iter().zip(&factors));
            for (word, ((lower, upper), (middle, factor))) in words.as_flattened_mut().iter_mut().zip(columns) {
                *word = half((lower - middle) * factor) | half((upper - middle) * factor) << 16;
            }
            for (tile, words) in self.block.values.chunks_exact_mut(pairs).zip(&words) {
                tile[pair] = *words;
            }
        }
    }
}

/// Returns the lowest 16 bits of the whole number nearest to `x`, which is small.
#[inline(always)]
pub(super) fn half(x: f32) -> u32 {
    /// Adding 1.5 * 2^23 leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND).to_bits() & 0xffff
}
