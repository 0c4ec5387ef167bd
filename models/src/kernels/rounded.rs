//! Products of many rows at a time with weights in blocks, in 8-bit integers: the weights as they are stored, the inputs rounded
//! with a scale for 32 of them. A quarter of the multiplications of [`super::product`], which rounds nothing.

use super::{
    block::Quantized,
    integer::{GROUPS, ROWS, inverse},
    linear::BLOCK_INPUTS,
    rows::sum_of,
    simd::{Kernel, LANES, Lanes, Level, PanelBlock, RowBlock, Simd, Words},
    team::Team,
};

/// Words of four bytes in a block.
const WORDS: usize = BLOCK_INPUTS / 4;
/// What unsigned bytes of inputs stand above their values.
const OFFSET: i32 = 128;

/// A tile of rows that are not there.
const NOTHING: RowBlock<ROWS> =
    RowBlock { words: [[0x8080_8080; ROWS]; WORDS], scales: [0.0; ROWS], sums: [0.0; ROWS] };

/// Rows of inputs, rounded.
#[derive(Debug, Default)]
pub(super) struct RoundedRows {
    /// `[tiles, blocks of a row]`; rows of the last tile that are not there are anything, and so are their products.
    tiles: Vec<RowBlock<ROWS>>,
    blocks_per_row: usize,
}

impl RoundedRows {
    /// Sets all rows to `rows`, finite, `[rows, inputs]`; the largest magnitude of each block is kept.
    pub(super) fn set(&mut self, (simd, team): (Simd, &mut Team), rows: &[f32], inputs: usize) {
        let blocks_per_row = inputs / BLOCK_INPUTS;
        let count = (rows.len() / inputs).div_ceil(ROWS);
        self.blocks_per_row = blocks_per_row;
        self.tiles.resize(count * blocks_per_row, NOTHING);
        let tiles_per_share = count.div_ceil(team.threads()).max(1);
        let shares = self.tiles.chunks_mut(tiles_per_share * blocks_per_row);
        let mut shares: Vec<_> = shares.zip(rows.chunks(tiles_per_share * ROWS * inputs)).collect();
        team.run(&mut shares, |_, (tiles, rows)| {
            for (tile, rows) in tiles.chunks_exact_mut(blocks_per_row).zip(rows.chunks(ROWS * inputs)) {
                rows.chunks_exact(inputs).enumerate().for_each(|(at, row)| simd.run(Round { row, at, tile }));
            }
        });
    }
}

/// Rounds `row` to row `at` of a tile.
struct Round<'a> {
    row: &'a [f32],
    at: usize,
    tile: &'a mut [RowBlock<ROWS>],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for (block, values) in self.tile.iter_mut().zip(self.row.as_chunks::<BLOCK_INPUTS>().0) {
            let (low, high) = L::extremes(values);
            let sum = sum_of(values, |value, sum| sum + value);
            // What is not finite must not vanish: extremes may pass it over.
            let scale = if sum.is_finite() { low.abs().max(high) / 127.0 } else { f32::NAN };
            (block.scales[self.at], block.sums[self.at]) = (scale, sum);
            let halves = values.as_chunks::<LANES>().0.iter();
            let words = halves.flat_map(|half| L::to_bytes(half, 0.0, inverse(scale)));
            block.words.iter_mut().zip(words).for_each(|(place, word)| place[self.at] = word ^ 0x8080_8080);
        }
    }
}

/// Weights of a panel that are all zero.
const ZERO: PanelBlock<GROUPS> = PanelBlock {
    words: [[Words([0; LANES]); GROUPS]; WORDS],
    scales: [Lanes::ZERO; GROUPS],
    minima: [Lanes::ZERO; GROUPS],
    starts: [[0; LANES]; GROUPS],
};

/// Writes the weights of one group to `panel`.
#[inline(always)]
fn unpack<L: Level, B: Quantized>(blocks: &[B], panel: &mut [PanelBlock<GROUPS>], group: usize) {
    for (block, place) in blocks.iter().zip(panel) {
        place.words.iter_mut().zip(block.bytes()).for_each(|(place, words)| place[group] = words);
        let (scales, minima) = block.scales_and_minima::<L>();
        (place.scales[group], place.minima[group]) = (Lanes(scales), Lanes(minima));
    }
}

/// Computes what takes the offset of inputs out of sums of products.
#[inline(always)]
fn balance<L: Level>(block: &mut PanelBlock<GROUPS>) {
    /// Levels multiply some rows at once at least.
    const FEWEST: usize = 2;
    let ones = [[0x0101_0101; FEWEST]; WORDS];
    let [sums, _] = L::byte_tile::<FEWEST, GROUPS>(&ones, &block.words);
    for group in 0..GROUPS {
        for lane in 0..LANES {
            block.starts[group][lane] = -OFFSET * sums[group][lane];
        }
    }
}

/// The product of many rows of inputs with a range of outputs.
pub(super) struct RoundedProduct<'a, 'b, B> {
    /// `[groups, blocks of a row]`.
    pub(super) blocks: &'a [B],
    pub(super) rows: &'a RoundedRows,
    /// For each row, its outputs in this range.
    pub(super) outputs: &'a mut [&'b mut [f32]],
}

impl<B: Quantized> Kernel for RoundedProduct<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let blocks_per_row = self.rows.blocks_per_row;
        let mut panel = vec![ZERO; blocks_per_row];
        for (index, groups) in self.blocks.chunks(GROUPS * blocks_per_row).enumerate() {
            for (group, blocks) in groups.chunks_exact(blocks_per_row).enumerate() {
                unpack::<L, B>(blocks, &mut panel, group);
            }
            panel.iter_mut().for_each(balance::<L>);
            let first = index * GROUPS * LANES;
            for (tile, outputs) in self.rows.tiles.chunks_exact(blocks_per_row).zip(self.outputs.chunks_mut(ROWS)) {
                let mut sums = [[Lanes::ZERO; GROUPS]; ROWS];
                for (inputs, weights) in tile.iter().zip(&panel) {
                    add_block::<L, B>(inputs, weights, &mut sums);
                }
                for (sums, outputs) in sums.iter().zip(outputs) {
                    sums.iter().zip(outputs[first..].chunks_mut(LANES)).for_each(|(sums, places)| write(sums, places));
                }
            }
        }
    }
}

#[inline(always)]
fn add_block<L: Level, B: Quantized>(
    inputs: &RowBlock<ROWS>,
    weights: &PanelBlock<GROUPS>,
    sums: &mut [[Lanes; GROUPS]; ROWS],
) {
    if B::HAS_MINIMA {
        L::add_block::<ROWS, GROUPS, true>(inputs, weights, sums);
    } else {
        L::add_block::<ROWS, GROUPS, false>(inputs, weights, sums);
    }
}

/// Writes as many sums as there are places: element by element, this would take as long as the products.
#[inline(always)]
fn write(sums: &Lanes, places: &mut [f32]) {
    match places.first_chunk_mut::<LANES>() {
        Some(places) => *places = sums.0,
        None => places.copy_from_slice(&sums.0[..places.len()]),
    }
}

#[cfg(test)]
mod tests;
