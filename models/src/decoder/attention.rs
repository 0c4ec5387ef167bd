//! Attention with shared key and value heads over a cache, causal, within a window.

use std::ops::Range;

use crate::kernels::{Kernel, LANES, Lanes, Level, Simd, TILE_ROWS, Team, TileRow, pack_tile, soft_cap, softmax, tile};

use super::DecoderConfig;

/// Groups of 16 values of a head that are computed together where registers allow it.
const WIDE_GROUPS: usize = 4;

/// Keys and values of one head of one layer.
#[derive(Debug)]
pub(super) struct HeadCache {
    head_dim: usize,
    /// `[positions / 16, head_dim]`, 16 positions an entry: a panel of keys.
    keys: Vec<Lanes>,
    /// `[positions, head_dim / 16]`, rounded up and padded with zeros.
    values: Vec<Lanes>,
}

impl HeadCache {
    /// Returns an empty cache; memory is reserved for `capacity` positions, but used only as they come.
    pub(super) fn new(head_dim: usize, capacity: usize) -> Self {
        let keys = Vec::with_capacity(capacity.div_ceil(LANES) * head_dim);
        let values = Vec::with_capacity(capacity.next_multiple_of(LANES) * head_dim.div_ceil(LANES));
        Self { head_dim, keys, values }
    }

    /// Stores the key and the value `[head_dim]` of a position.
    pub(super) fn store(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let groups = self.head_dim.div_ceil(LANES);
        let (tile, lane) = (position / LANES, position % LANES);
        if self.keys.len() <= tile * self.head_dim {
            self.keys.resize((tile + 1) * self.head_dim, Lanes::ZERO);
            self.values.resize((tile + 1) * LANES * groups, Lanes::ZERO);
        }
        let keys = self.keys[tile * self.head_dim..].iter_mut();
        keys.zip(key).for_each(|(lanes, key)| lanes.0[lane] = *key);
        let values = self.values[position * groups..].iter_mut().zip(value.chunks(LANES));
        values.for_each(|(lanes, part)| lanes.0[..part.len()].copy_from_slice(part));
    }
}

/// Queries of new tokens, after rotation, and where they start.
pub(super) struct Queries<'a> {
    /// `[tokens, row_len]`; the first `heads * head_dim` of a row are the query heads.
    pub(super) rows: &'a [f32],
    /// Length of a row.
    pub(super) row_len: usize,
    /// Position of the first token.
    pub(super) start: usize,
    /// Positions that a token looks at, its own included.
    pub(super) window: usize,
    /// What scores approach smoothly, if anything.
    pub(super) soft_cap: Option<f32>,
}

/// Writes what attention makes of `queries` to `mixed`, `[tokens, heads * head_dim]`; `results` is memory to work in. The cache, a
/// head an entry, holds all positions up to the last query's.
pub(super) fn attend(
    (simd, team): (Simd, &mut Team),
    config: &DecoderConfig,
    cache: &[HeadCache],
    queries: &Queries<'_>,
    (results, mixed): (&mut Vec<f32>, &mut [f32]),
) {
    let DecoderConfig { heads, kv_heads, head_dim, .. } = *config;
    let (tokens, per_kv) = (queries.rows.len() / queries.row_len, heads / kv_heads);
    // The rows of a key head: every token's query heads that share it.
    let rows = tokens * per_kv;
    let tiles_per_head = rows.div_ceil(TILE_ROWS);
    results.resize(kv_heads * tiles_per_head * TILE_ROWS * head_dim, 0.0);
    // Dealt in turn: later tiles look at more positions.
    let mut shares: Vec<Vec<(usize, &mut [f32])>> = (0..team.threads()).map(|_| Vec::new()).collect();
    for (job, result) in results.chunks_exact_mut(TILE_ROWS * head_dim).enumerate() {
        shares[job % team.threads()].push((job, result));
    }
    team.run(&mut shares, |_, share| {
        let mut scratch = Scratch::default();
        for (job, result) in share {
            let (kv_head, first_row) = (*job / tiles_per_head, *job % tiles_per_head * TILE_ROWS);
            let count = TILE_ROWS.min(rows - first_row);
            let row = |row: usize| (row / per_kv, kv_head * per_kv + row % per_kv);
            scratch.queries.resize(head_dim, [0.0; TILE_ROWS]);
            let query =
                |(token, head): (usize, usize)| &queries.rows[token * queries.row_len + head * head_dim..][..head_dim];
            pack_tile((first_row..first_row + count).map(|index| query(row(index))), &mut scratch.queries);
            let lens = std::array::from_fn(|index| queries.start + row((first_row + index).min(rows - 1)).0 + 1);
            simd.run(Attend { cache: &cache[kv_head], lens, queries, scratch: &mut scratch, result });
        }
    });
    for (job, result) in results.chunks_exact(TILE_ROWS * head_dim).enumerate() {
        let (kv_head, first_row) = (job / tiles_per_head, job % tiles_per_head * TILE_ROWS);
        for (index, values) in (first_row..rows).zip(result.chunks_exact(head_dim)) {
            let (token, head) = (index / per_kv, kv_head * per_kv + index % per_kv);
            mixed[(token * heads + head) * head_dim..][..head_dim].copy_from_slice(values);
        }
    }
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    /// `[head_dim]`.
    queries: Vec<TileRow>,
    /// `[6, positions]`.
    scores: Vec<f32>,
    /// `[positions]`.
    weights: Vec<TileRow>,
}

/// Attention of a tile of queries to one key head.
struct Attend<'a> {
    cache: &'a HeadCache,
    /// For each query, how many positions there are up to its own.
    lens: [usize; TILE_ROWS],
    queries: &'a Queries<'a>,
    scratch: &'a mut Scratch,
    /// `[6, head_dim]`.
    result: &'a mut [f32],
}

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as every kernel")]
    fn run<L: Level>(mut self) {
        self.score::<L>();
        self.weigh::<L>();
        let groups = self.cache.head_dim.div_ceil(LANES);
        let wide = if L::WIDE { groups / WIDE_GROUPS * WIDE_GROUPS } else { 0 };
        for group in (0..wide).step_by(WIDE_GROUPS) {
            self.mix::<L, WIDE_GROUPS>(group);
        }
        for group in wide..groups {
            self.mix::<L, 1>(group);
        }
    }
}

impl Attend<'_> {
    /// Returns the positions that any query of the tile looks at; the first is a multiple of 16.
    fn positions(&self) -> Range<usize> {
        let end = self.lens.into_iter().max().unwrap_or(0);
        let start = self.lens.into_iter().min().unwrap_or(0).saturating_sub(self.queries.window);
        start / LANES * LANES..end
    }

    /// Computes the scores of all positions, in whole groups of 16.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    fn score<L: Level>(&mut self) {
        let (positions, head_dim) = (self.positions(), self.cache.head_dim);
        let padded = positions.len().next_multiple_of(LANES);
        let Scratch { queries, scores, .. } = &mut *self.scratch;
        scores.resize(TILE_ROWS * padded, 0.0);
        let keys = &self.cache.keys[positions.start / LANES * head_dim..];
        for (group, keys) in keys.chunks_exact(head_dim).take(padded / LANES).enumerate() {
            let sums = tile::<L, 1>(queries, keys.iter().map(std::array::from_ref));
            for (sums, scores) in sums.iter().zip(scores.chunks_exact_mut(padded)) {
                scores[group * LANES..][..LANES].copy_from_slice(sums.as_flattened());
            }
        }
    }

    /// Turns scores into weights, zero beyond what a query may look at.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    fn weigh<L: Level>(&mut self) {
        let positions = self.positions();
        let (start, len) = (positions.start, positions.len());
        let padded = len.next_multiple_of(LANES);
        let Scratch { scores, weights, .. } = &mut *self.scratch;
        for (scores, own_len) in scores.chunks_exact_mut(padded).zip(self.lens) {
            let seen = own_len.saturating_sub(self.queries.window).max(start) - start..own_len - start;
            if let Some(cap) = self.queries.soft_cap {
                soft_cap::<L>(&mut scores[seen.clone()], cap);
            }
            softmax::<L>(&mut scores[seen.clone()]);
            scores[..seen.start].fill(0.0);
            scores[seen.end..len].fill(0.0);
        }
        weights.resize(len, [0.0; TILE_ROWS]);
        pack_tile(scores.chunks_exact(padded).map(|scores| &scores[..len]), weights);
    }

    /// Adds up the values by their weights, for `GROUPS` groups of 16 from `group`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    fn mix<L: Level, const GROUPS: usize>(&mut self, group: usize) {
        let head_dim = self.cache.head_dim;
        let groups = head_dim.div_ceil(LANES);
        let rows = self.cache.values[self.positions().start * groups..].chunks_exact(groups);
        let panel = rows.filter_map(|row| row[group..].first_chunk::<GROUPS>());
        let sums: [[[f32; LANES]; GROUPS]; TILE_ROWS] = tile::<L, GROUPS>(&self.scratch.weights, panel);
        for (sums, result) in sums.iter().zip(self.result.chunks_exact_mut(head_dim)) {
            result[group * LANES..].iter_mut().zip(sums.as_flattened()).for_each(|(result, sum)| *result = *sum);
        }
    }
}
