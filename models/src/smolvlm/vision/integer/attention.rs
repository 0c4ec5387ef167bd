//! Attention of every patch to every other. Scores are products of 8-bit queries and keys, all else is `f32`.
//!
//! Subtracting the mean of all keys from each key changes all scores of a query by the same amount, which softmax does not
//! see, and takes away most of the range that they would have to be rounded over (Zhang and others, arXiv 2410.02367).

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled without the kernel's instructions"
)]

use crate::kernels::{
    IntegerLinear, IntegerRows, Kernel, LANES, Lanes, Level, PANEL_OUTPUTS, Set, Simd, TILE_ROWS, TileRow, add, exp2,
    tile,
};

/// Groups of 16 queries that are computed together.
const GROUPS: usize = PANEL_OUTPUTS / LANES;
/// Keys whose weights, 16 KB, stay in the first-level cache until they are used.
const BLOCK_KEYS: usize = 128;

/// Keys and values of one head.
#[derive(Debug)]
pub(super) struct Head {
    /// `[patches, head_dim]`.
    keys: IntegerRows,
    /// `[head_dim / 6, patches]`, rounded up.
    values: Vec<TileRow>,
    dim: usize,
}

impl Head {
    /// Returns room for a head of `dim` values.
    pub(super) fn new(patches: usize, dim: usize) -> Self {
        let tiles = dim.div_ceil(TILE_ROWS);
        Self { keys: IntegerRows::new(patches, dim), values: vec![[0.0; TILE_ROWS]; patches * tiles], dim }
    }

    /// Takes the keys and values of head `index` from `qkv`, `[patches, 3 * hidden]`.
    pub(super) fn arrange(&mut self, simd: Simd, qkv: &[f32], (index, hidden): (usize, usize)) {
        let dim = self.dim;
        let part =
            |part: usize| qkv.chunks_exact(3 * hidden).map(move |row| &row[part * hidden + index * dim..][..dim]);
        let patches = qkv.len() / (3 * hidden);
        let mut mean = vec![0.0; self.dim];
        part(1).for_each(|key| add(&mut mean, key));
        for sum in &mut mean {
            *sum /= patches as f32;
        }
        let mut centred = vec![0.0; self.dim];
        for (patch, (key, value)) in part(1).zip(part(2)).enumerate() {
            centred.iter_mut().zip(key).zip(&mean).for_each(|((out, key), mean)| *out = key - mean);
            self.keys.set(simd, patch, &centred);
            for (tile, value) in value.chunks(TILE_ROWS).enumerate() {
                self.values[tile * patches + patch][..value.len()].copy_from_slice(value);
            }
        }
    }
}

/// Buffers of attention, of one thread.
#[derive(Debug)]
pub(super) struct Attention {
    /// 32 queries as the outputs of a layer.
    queries: IntegerLinear,
    /// `[patches, 32]`.
    scores: Vec<f32>,
    /// `[128]`.
    weights: Vec<[Lanes; GROUPS]>,
    /// `[head_dim, 32]`, rounded up to whole tiles.
    sums: Vec<[[f32; LANES]; GROUPS]>,
}

impl Attention {
    /// Returns buffers for heads of `dim` values.
    pub(super) fn new(patches: usize, dim: usize) -> Self {
        Self {
            queries: IntegerLinear::zeros(dim, PANEL_OUTPUTS),
            scores: vec![0.0; patches * PANEL_OUTPUTS],
            weights: vec![[Lanes::ZERO; GROUPS]; BLOCK_KEYS],
            sums: vec![[[0.0; LANES]; GROUPS]; dim.next_multiple_of(TILE_ROWS)],
        }
    }

    /// Writes what head `index` makes of the queries in `qkv`, `[rows, 3 * hidden]`, to its columns of `mixed`, `[rows, hidden]`.
    pub(super) fn attend(
        &mut self,
        simd: Simd,
        head: &Head,
        (qkv, index): (&[f32], usize),
        (mixed, hidden): (&mut [f32], usize),
    ) {
        let panels = qkv.chunks(PANEL_OUTPUTS * 3 * hidden).zip(mixed.chunks_mut(PANEL_OUTPUTS * hidden));
        for (queries, mixed) in panels {
            for (output, row) in queries.chunks_exact(3 * hidden).enumerate() {
                self.queries.set(simd, output, &row[index * head.dim..][..head.dim], 0.0);
            }
            self.queries.apply::<Set>(simd, &head.keys, &mut self.scores);
            simd.run(Mix { buffers: self, head });
            for (query, row) in mixed.chunks_exact_mut(hidden).enumerate() {
                let sums = self.sums.iter().map(|sums| sums.as_flattened()[query]);
                row[index * head.dim..][..head.dim].iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
            }
        }
    }
}

/// Turns scores into weights and adds up the values by them.
struct Mix<'a> {
    buffers: &'a mut Attention,
    head: &'a Head,
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Attention { scores, weights, sums, .. } = self.buffers;
        let patches = scores.len() / PANEL_OUTPUTS;
        let scores = scores.as_chunks::<LANES>().0.as_chunks::<GROUPS>().0;
        let factor = std::f32::consts::LOG2_E / (self.head.dim as f32).sqrt();
        // The greatest weight is 1, so that nothing overflows.
        let shifts = greatest(scores).map(|scores| scores.map(|score| -score * factor));
        let mut totals = [[0.0; LANES]; GROUPS];
        sums.fill([[0.0; LANES]; GROUPS]);
        for (block, scores) in scores.chunks(BLOCK_KEYS).enumerate() {
            let weights = &mut weights[..scores.len()];
            for (weights, scores) in weights.iter_mut().zip(scores) {
                for group in 0..GROUPS {
                    for lane in 0..LANES {
                        let weight = exp2::<L>(L::mul_add(scores[group][lane], factor, shifts[group][lane]));
                        weights[group].0[lane] = weight;
                        totals[group][lane] += weight;
                    }
                }
            }
            let values = self.head.values.chunks_exact(patches).map(|values| &values[block * BLOCK_KEYS..]);
            for (values, sums) in values.zip(sums.chunks_exact_mut(TILE_ROWS)) {
                let products = tile::<L, GROUPS>(&values[..weights.len()], weights.iter());
                add_products(sums, &products);
            }
        }
        for sums in sums {
            for group in 0..GROUPS {
                for lane in 0..LANES {
                    sums[group][lane] /= totals[group][lane];
                }
            }
        }
    }
}

/// Returns the greatest score of each query.
#[inline(always)]
fn greatest(scores: &[[[f32; LANES]; GROUPS]]) -> [[f32; LANES]; GROUPS] {
    let mut greatest = [[f32::NEG_INFINITY; LANES]; GROUPS];
    for scores in scores {
        for group in 0..GROUPS {
            for lane in 0..LANES {
                let greatest = &mut greatest[group][lane];
                *greatest = if scores[group][lane] > *greatest { scores[group][lane] } else { *greatest };
            }
        }
    }
    greatest
}

#[inline(always)]
fn add_products(sums: &mut [[[f32; LANES]; GROUPS]], products: &[[[f32; LANES]; GROUPS]; TILE_ROWS]) {
    for (sums, products) in sums.as_flattened_mut().iter_mut().zip(products.as_flattened()) {
        for lane in 0..LANES {
            sums[lane] += products[lane];
        }
    }
}
