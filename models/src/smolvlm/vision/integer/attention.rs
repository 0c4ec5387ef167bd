//! Attention of every patch to every other, in whole numbers: scores are products of 8-bit queries and keys, and 14-bit weights mix
//! 11-bit values.
//!
//! Subtracting the mean of all keys from each key changes all scores of a query by the same amount, which softmax does not
//! see, and takes away most of the range that they would have to be rounded over (Zhang and others, arXiv 2410.02367). Likewise
//! the middle of a column of values is subtracted before and added after mixing, as weights add up to 1.
//!
//! Patches are taken a block at a time, so that scores never leave the first-level cache: the greatest score so far makes the
//! weight 1, and sums shrink when a greater one comes (Milakov and Gimelshein, arXiv 1805.02867).

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into a kernel is compiled without the kernel's instructions"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "kernels walk several arrays in step; this form becomes vector instructions"
)]

use crate::{
    kernels::{IntegerLinear, Kernel, LANES, Lanes, Level, PANEL_OUTPUTS, Set, Simd, Words, exp2},
    rounding::ROUND,
};

use super::head::{BLOCK_PATCHES, Block, Head, TILE_VALUES, WEIGHT_MAX};

/// Groups of 16 queries that are computed together.
const GROUPS: usize = PANEL_OUTPUTS / LANES;

/// A number of each query.
type Queries = [Lanes; GROUPS];
/// Less than any score.
const LEAST: Queries = [Lanes([f32::NEG_INFINITY; LANES]); GROUPS];

/// Buffers of attention, of one thread.
#[derive(Debug)]
pub(super) struct Attention {
    /// 32 queries each as the outputs of a layer, `[heads, panels of rows]`.
    queries: Vec<IntegerLinear>,
    /// `[patches of a block, 32]`.
    scores: Vec<f32>,
    mixture: Mixture,
}

/// What queries have made of the blocks so far.
#[derive(Debug)]
struct Mixture {
    /// `[patches of a block / 2]`: a word holds the weights of two patches.
    weights: Vec<[Words; GROUPS]>,
    greatest: Queries,
    /// Sums of weights.
    totals: Queries,
    /// Sums of weighted values, `[head_dim]`, rounded up to whole tiles.
    sums: Vec<Queries>,
}

impl Attention {
    /// Returns buffers for `rows` rows of `heads` heads of `dim` values.
    pub(super) fn new(rows: usize, (heads, dim): (usize, usize)) -> Self {
        let panels = heads * rows.div_ceil(PANEL_OUTPUTS);
        Self {
            queries: (0..panels).map(|_| IntegerLinear::zeros(dim, PANEL_OUTPUTS)).collect(),
            scores: vec![0.0; BLOCK_PATCHES * PANEL_OUTPUTS],
            mixture: Mixture::new(dim),
        }
    }

    /// Writes what `heads` make of the queries in `qkv`, `[rows, 3 * hidden]`, to `mixed`, `[rows, hidden]`.
    pub(super) fn attend(&mut self, simd: Simd, heads: &[Head], qkv: &[f32], mixed: &mut [f32]) {
        let hidden = heads.iter().map(|head| head.columns.len()).sum::<usize>();
        let panels = self.queries.len() / heads.len();
        for (row, values) in qkv.chunks_exact(3 * hidden).enumerate() {
            let queries = values[..hidden].chunks_exact(hidden / heads.len()).enumerate();
            for (head, query) in queries {
                self.queries[head * panels + row / PANEL_OUTPUTS].set(simd, row % PANEL_OUTPUTS, query, 0.0);
            }
        }
        for (index, (head, queries)) in heads.iter().zip(self.queries.chunks(panels)).enumerate() {
            for (queries, mixed) in queries.iter().zip(mixed.chunks_mut(PANEL_OUTPUTS * hidden)) {
                self.mixture.clear();
                for block in &head.blocks {
                    let scores = &mut self.scores[..block.patches * PANEL_OUTPUTS];
                    queries.apply::<Set>(simd, &block.keys, scores);
                    simd.run(Mix { scores, block, mixture: &mut self.mixture });
                }
                for (query, row) in mixed.chunks_exact_mut(hidden).enumerate() {
                    self.mixture.write(head, query, &mut row[index * head.columns.len()..][..head.columns.len()]);
                }
            }
        }
    }
}

impl Mixture {
    fn new(dim: usize) -> Self {
        Self {
            weights: vec![[Words([0; LANES]); GROUPS]; BLOCK_PATCHES / 2],
            greatest: LEAST,
            totals: [Lanes::ZERO; GROUPS],
            sums: vec![[Lanes::ZERO; GROUPS]; dim.next_multiple_of(TILE_VALUES)],
        }
    }

    fn clear(&mut self) {
        self.greatest = LEAST;
        self.totals = [Lanes::ZERO; GROUPS];
        self.sums.fill([Lanes::ZERO; GROUPS]);
    }

    /// Writes the mixed values of one query to `out`, `[head_dim]`.
    fn write(&self, head: &Head, query: usize, out: &mut [f32]) {
        let factor = 1.0 / of(&self.totals, query);
        for ((out, sums), column) in out.iter_mut().zip(&self.sums).zip(&head.columns) {
            *out = of(sums, query) * factor * column.step + column.middle;
        }
    }
}

fn of(numbers: &Queries, query: usize) -> f32 {
    numbers[query / LANES].0[query % LANES]
}

/// Turns the scores of a block into weights and adds up its values by them.
struct Mix<'a> {
    /// `[patches, 32]`.
    scores: &'a [f32],
    block: &'a Block,
    mixture: &'a mut Mixture,
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Mixture { weights, greatest, totals, sums } = self.mixture;
        let scores = self.scores.as_chunks::<LANES>().0.as_chunks::<GROUPS>().0;
        let weights = &mut weights[..scores.len().div_ceil(2)];
        let shrink = raise::<L>(greatest, scores);
        add::<L>(totals, &shrink, &weigh::<L>(scores, greatest, weights));
        let tiles = self.block.values.chunks_exact(weights.len()).zip(sums.as_chunks_mut::<TILE_VALUES>().0);
        tiles.for_each(|(values, sums)| L::mix_pairs((values, weights), &shrink, sums));
    }
}

/// Raises `greatest` to the greatest of `scores` and returns what that makes of the weights before.
#[inline(always)]
fn raise<L: Level>(greatest: &mut Queries, scores: &[[[f32; LANES]; GROUPS]]) -> Queries {
    let before = *greatest;
    let mut raised = before;
    for scores in scores {
        for group in 0..GROUPS {
            for lane in 0..LANES {
                let (score, raised) = (scores[group][lane], &mut raised[group].0[lane]);
                *raised = if score > *raised { score } else { *raised };
            }
        }
    }
    *greatest = raised;
    let shrink = |group: usize, lane: usize| exp2::<L>(before[group].0[lane] - raised[group].0[lane]);
    std::array::from_fn(|group| Lanes(std::array::from_fn(|lane| shrink(group, lane))))
}

/// Sets `totals` to `totals * shrink + new`.
#[inline(always)]
fn add<L: Level>(totals: &mut Queries, shrink: &Queries, new: &[[u32; LANES]; GROUPS]) {
    for group in 0..GROUPS {
        for lane in 0..LANES {
            let total = &mut totals[group].0[lane];
            *total = L::mul_add(*total, shrink[group].0[lane], new[group][lane] as f32);
        }
    }
}

/// Writes the weights of `scores` and returns their sums after rounding, so that what is mixed by them has no other size.
#[inline(always)]
fn weigh<L: Level>(
    scores: &[[[f32; LANES]; GROUPS]],
    greatest: &Queries,
    weights: &mut [[Words; GROUPS]],
) -> [[u32; LANES]; GROUPS] {
    let mut totals = [[0_u32; LANES]; GROUPS];
    let (pairs, last) = scores.as_chunks::<2>();
    for (weights, [lower, upper]) in weights.iter_mut().zip(pairs) {
        for group in 0..GROUPS {
            for lane in 0..LANES {
                let lower = weight::<L>(lower[group][lane] - greatest[group].0[lane]);
                let upper = weight::<L>(upper[group][lane] - greatest[group].0[lane]);
                weights[group].0[lane] = lower | upper << 16;
                totals[group][lane] = totals[group][lane].wrapping_add(lower + upper);
            }
        }
    }
    if let (Some(weights), [last]) = (weights.last_mut(), last) {
        for group in 0..GROUPS {
            for lane in 0..LANES {
                let last = weight::<L>(last[group][lane] - greatest[group].0[lane]);
                weights[group].0[lane] = last;
                totals[group][lane] = totals[group][lane].wrapping_add(last);
            }
        }
    }
    totals
}

/// Returns the rounded weight of an exponent up to 0.
#[inline(always)]
fn weight<L: Level>(exponent: f32) -> u32 {
    L::mul_add(exp2::<L>(exponent), WEIGHT_MAX as f32, ROUND).to_bits() & 0xffff
}

#[cfg(test)]
mod tests;
