//! Keys and values of one head, rounded: what all queries share.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled without the kernel's instructions"
)]

use crate::{
    kernels::{IntegerRows, Kernel, Level, Simd, inverse},
    rounding::ROUND,
};

/// Patches whose scores and weights stay in the first-level cache until they are used: whole pairs, and whole tiles of keys.
pub(super) const BLOCK_PATCHES: usize = 96;
/// What the weight 1, the greatest, is rounded to.
pub(super) const WEIGHT_MAX: u32 = 1 << 14;
/// What the greatest value of a column is rounded to: sums of products of a block with weights fill 32 bits at most.
pub(super) const VALUE_MAX: u32 = i32::MAX.cast_unsigned() / (BLOCK_PATCHES as u32 * WEIGHT_MAX);
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

    /// Sets the numbers of two patches, `[head_dim]`.
    #[inline(always)]
    fn set_pair(&mut self, pair: usize, words: &[u32]) {
        let tiles = self.values.chunks_exact_mut(self.patches.div_ceil(2));
        let (whole, rest) = words.as_chunks::<TILE_VALUES>();
        let last = std::array::from_fn(|column| rest.get(column).copied().unwrap_or(0));
        for (tile, words) in tiles.zip(whole.iter().chain([&last])) {
            tile[pair] = *words;
        }
    }
}

impl Head {
    /// Returns room for a head of `dim` values.
    pub(super) fn new(patches: usize, dim: usize) -> Self {
        let block = |first| Block::new(BLOCK_PATCHES.min(patches - first), dim);
        let blocks = (0..patches).step_by(BLOCK_PATCHES).map(block).collect();
        Self { blocks, columns: vec![Column { step: 0.0, middle: 0.0 }; dim] }
    }
}

/// Takes the keys and values of `heads`, of which the first is head `first`, from `qkv`, `[patches, 3 * hidden]`. All at once: the
/// rows of a head lie in as many pages of memory as those of all heads.
pub(super) fn arrange(simd: Simd, heads: &mut [Head], first: usize, (qkv, hidden): (&[f32], usize)) {
    let Some(dim) = heads.first().map(|head| head.columns.len()) else { return };
    let columns = heads.len() * dim;
    let part = |qkv, part: usize| Rows { all: qkv, width: 3 * hidden, first: part * hidden + first * dim, columns };
    let summary = simd.run(Survey { keys: part(qkv, 1), values: part(qkv, 2) });
    for (head, columns) in heads.iter_mut().zip(summary.columns.chunks(dim)) {
        head.columns.copy_from_slice(columns);
    }
    for (index, qkv) in qkv.chunks(BLOCK_PATCHES * 3 * hidden).enumerate() {
        let mut blocks: Vec<&mut Block> = heads.iter_mut().map(|head| &mut head.blocks[index]).collect();
        simd.run(RoundKeys { simd, keys: part(qkv, 1), means: &summary.means, blocks: &mut blocks });
        simd.run(RoundValues { values: part(qkv, 2), columns: &summary.columns, blocks: &mut blocks });
    }
}

/// Some columns of a matrix.
#[derive(Clone, Copy)]
struct Rows<'a> {
    all: &'a [f32],
    width: usize,
    first: usize,
    columns: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn each(self) -> impl Iterator<Item = &'a [f32]> {
        self.all.chunks_exact(self.width).map(move |row| &row[self.first..][..self.columns])
    }
}

/// Finds what keys and values are rounded by.
struct Survey<'a> {
    keys: Rows<'a>,
    values: Rows<'a>,
}

struct Summary {
    /// Of columns of keys.
    means: Vec<f32>,
    /// Of values.
    columns: Vec<Column>,
}

impl Kernel for Survey<'_> {
    type Output = Summary;

    #[inline(always)]
    fn run<L: Level>(self) -> Summary {
        let columns = self.keys.columns;
        let (mut means, mut lows, mut highs) =
            (vec![0.0; columns], vec![f32::INFINITY; columns], vec![f32::NEG_INFINITY; columns]);
        let mut patches = 0.0;
        for (keys, values) in self.keys.each().zip(self.values.each()) {
            means.iter_mut().zip(keys).for_each(|(sum, key)| *sum += key);
            for ((low, high), &value) in lows.iter_mut().zip(&mut highs).zip(values) {
                *low = if value < *low { value } else { *low };
                *high = if value > *high { value } else { *high };
            }
            patches += 1.0;
        }
        for sum in &mut means {
            *sum /= patches;
        }
        Summary { means, columns: lows.iter().zip(&highs).map(|(low, high)| Column::between(*low, *high)).collect() }
    }
}

impl Column {
    fn between(low: f32, high: f32) -> Self {
        let middle = low / 2.0 + high / 2.0;
        // The middle of neighbouring floats is one of them: only distances from what it is rounded to bound the numbers.
        Self { step: (high - middle).max(middle - low) / VALUE_MAX as f32, middle }
    }
}

/// Rounds the keys of a block of each head.
struct RoundKeys<'a, 'b> {
    simd: Simd,
    keys: Rows<'a>,
    means: &'a [f32],
    blocks: &'a mut [&'b mut Block],
}

impl Kernel for RoundKeys<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let dim = self.means.len() / self.blocks.len();
        let factor = std::f32::consts::LOG2_E / (dim as f32).sqrt();
        let mut centred = vec![0.0; self.means.len()];
        for (patch, keys) in self.keys.each().enumerate() {
            let parts = centred.iter_mut().zip(keys).zip(self.means);
            parts.for_each(|((out, key), mean)| *out = (key - mean) * factor);
            for (block, centred) in self.blocks.iter_mut().zip(centred.chunks_exact(dim)) {
                block.keys.set(self.simd, patch, centred);
            }
        }
    }
}

/// Rounds the values of a block of each head.
struct RoundValues<'a, 'b> {
    values: Rows<'a>,
    columns: &'a [Column],
    blocks: &'a mut [&'b mut Block],
}

impl Kernel for RoundValues<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let dim = self.columns.len() / self.blocks.len();
        let factors: Vec<f32> = self.columns.iter().map(|column| inverse(column.step)).collect();
        let middles: Vec<f32> = self.columns.iter().map(|column| column.middle).collect();
        let mut words = vec![0; self.columns.len()];
        let mut rows = self.values.each();
        let mut pair = 0;
        while let Some(lower) = rows.next() {
            // What stands beside the last of an odd number of patches has no weight.
            let upper = rows.next().unwrap_or(lower);
            let columns = lower.iter().zip(upper).zip(middles.iter().zip(&factors));
            for (word, ((lower, upper), (middle, factor))) in words.iter_mut().zip(columns) {
                *word = half((lower - middle) * factor) | half((upper - middle) * factor) << 16;
            }
            for (block, words) in self.blocks.iter_mut().zip(words.chunks_exact(dim)) {
                block.set_pair(pair, words);
            }
            pair += 1;
        }
    }
}

/// Returns the lowest 16 bits of the whole number nearest to `x`, which is small.
#[inline(always)]
fn half(x: f32) -> u32 {
    (x + ROUND).to_bits() & 0xffff
}
