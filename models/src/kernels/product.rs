//! Products of a few rows at a time with weights that were unpacked into a panel: registers hold the sums of 6 rows.

use std::marker::PhantomData;

use super::{
    block::{Block, Inputs},
    linear::BLOCK_INPUTS,
    simd::{Kernel, LANES, Lanes, Level},
};

/// Rows of inputs that are multiplied together. With 4 groups of outputs this fills 24 of 32 registers of 16 floats, with one
/// group 12 of 16 registers of 8 floats: the most that leaves room for the operands.
pub(crate) const TILE_ROWS: usize = 6;
/// Inputs that are unpacked at a time: as many as keep a panel of 64 outputs within 200 KB, a fraction of the second-level cache.
const PANEL_INPUTS_MAX: usize = 768;

/// Blocks from where weights are read to where memory is asked for them.
const AHEAD: usize = 8;

/// One input of each row of a tile.
pub(crate) type TileRow = [f32; TILE_ROWS];

/// Weights of `GROUPS * 16` outputs, one entry an input.
pub(crate) type Panel<const GROUPS: usize> = [Lanes; GROUPS];

/// Writes up to [`TILE_ROWS`] rows to `tile`, one entry an input; rows that are not there stay as they are.
pub(crate) fn pack_tile<'a>(rows: impl Iterator<Item = &'a [f32]>, tile: &mut [TileRow]) {
    for (row, values) in rows.take(TILE_ROWS).enumerate() {
        for (inputs, value) in tile.iter_mut().zip(values) {
            inputs[row] = *value;
        }
    }
}

/// Returns the products of a tile with a panel: for each row and output the sum over inputs.
#[inline(always)]
pub(crate) fn tile<'a, L: Level, const GROUPS: usize>(
    rows: &[TileRow],
    panel: impl Iterator<Item = &'a Panel<GROUPS>>,
) -> [[[f32; LANES]; GROUPS]; TILE_ROWS] {
    let mut sums = [[[0.0; LANES]; GROUPS]; TILE_ROWS];
    for (inputs, weights) in rows.iter().zip(panel) {
        // Copies: read once into registers instead of once a use.
        let (inputs, weights) = (*inputs, *weights);
        for row in 0..TILE_ROWS {
            for group in 0..GROUPS {
                for lane in 0..LANES {
                    let sum = &mut sums[row][group][lane];
                    *sum = L::mul_add(inputs[row], weights[group].0[lane], *sum);
                }
            }
        }
    }
    sums
}

/// Prepares a row of inputs for [`RowProduct`].
pub(super) struct Arrange<'a, B> {
    row: &'a [f32],
    kind: PhantomData<B>,
}

impl<'a, B> Arrange<'a, B> {
    /// Returns the work of preparing `row` for blocks of kind `B`.
    pub(super) fn new(row: &'a [f32]) -> Self {
        Self { row, kind: PhantomData }
    }
}

impl<B: Block> Kernel for Arrange<'_, B> {
    type Output = Vec<Inputs>;

    #[inline(always)]
    fn run<L: Level>(self) -> Vec<Inputs> {
        let mut arranged = Vec::with_capacity(self.row.len() / BLOCK_INPUTS);
        for inputs in self.row.as_chunks::<BLOCK_INPUTS>().0 {
            arranged.push(B::arrange::<L>(inputs));
        }
        arranged
    }
}

/// The product of few rows of inputs with a range of outputs: weights are unpacked in registers and used once a row.
pub(super) struct RowProduct<'a, 'b, B> {
    /// `[groups, blocks of a row]`.
    pub(super) blocks: &'a [B],
    /// `[rows, blocks of a row]`.
    pub(super) inputs: &'a [Vec<Inputs>],
    /// For each row, its outputs in this range.
    pub(super) outputs: &'a mut [&'b mut [f32]],
}

impl<B: Block> Kernel for RowProduct<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let Some(blocks_per_row) = self.inputs.first().map(Vec::len) else { return };
        for (group, blocks) in self.blocks.chunks_exact(blocks_per_row).enumerate() {
            for (inputs, outputs) in self.inputs.iter().zip(self.outputs.iter_mut()) {
                let mut sums = [0.0; LANES];
                for (at, (block, inputs)) in blocks.iter().zip(inputs).enumerate() {
                    if let Some(ahead) = self.blocks.get(group * blocks_per_row + at + AHEAD) {
                        L::prefetch(ahead);
                    }
                    block.accumulate::<L>(inputs, &mut sums);
                }
                outputs.iter_mut().skip(group * LANES).zip(sums).for_each(|(output, sum)| *output = sum);
            }
        }
    }
}

/// The product of many rows of inputs with a range of outputs: weights are unpacked into a panel that all rows share.
pub(super) struct TileProduct<'a, 'b, B> {
    /// `[groups, blocks of a row]`.
    pub(super) blocks: &'a [B],
    /// `[tiles, inputs]`.
    pub(super) tiles: &'a [TileRow],
    /// Inputs of a row.
    pub(super) inputs: usize,
    /// For each row, its outputs in this range.
    pub(super) outputs: &'a mut [&'b mut [f32]],
}

impl<B: Block> Kernel for TileProduct<'_, '_, B> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        if L::WIDE { self.with_panels::<L, 4>() } else { self.with_panels::<L, 1>() }
    }
}

impl<B: Block> TileProduct<'_, '_, B> {
    #[inline(always)]
    fn with_panels<L: Level, const GROUPS: usize>(mut self) {
        let blocks_per_row = self.inputs / BLOCK_INPUTS;
        let parts = self.inputs.div_ceil(PANEL_INPUTS_MAX);
        let blocks_per_part = blocks_per_row.div_ceil(parts);
        let mut panel = vec![[Lanes::ZERO; GROUPS]; blocks_per_part * BLOCK_INPUTS];
        for (index, groups) in self.blocks.chunks(GROUPS * blocks_per_row).enumerate() {
            for first_block in (0..blocks_per_row).step_by(blocks_per_part) {
                let count = blocks_per_part.min(blocks_per_row - first_block);
                let panel = &mut panel[..count * BLOCK_INPUTS];
                for (group, blocks) in groups.chunks_exact(blocks_per_row).enumerate() {
                    unpack::<L, B, GROUPS>(&blocks[first_block..first_block + count], panel, group);
                }
                let place = Place { output: index * GROUPS * LANES, input: first_block * BLOCK_INPUTS };
                self.multiply::<L, GROUPS>(panel, place);
            }
        }
    }

    /// Multiplies all rows with `panel` and adds to the outputs; the first inputs set them.
    #[inline(always)]
    fn multiply<L: Level, const GROUPS: usize>(&mut self, panel: &[Panel<GROUPS>], place: Place) {
        for (rows, outputs) in self.tiles.chunks_exact(self.inputs).zip(self.outputs.chunks_mut(TILE_ROWS)) {
            let sums = tile::<L, GROUPS>(&rows[place.input..place.input + panel.len()], panel.iter());
            for (sums, outputs) in sums.iter().zip(outputs) {
                let sums = sums.as_flattened();
                let outputs = outputs[place.output..].iter_mut().zip(sums);
                if place.input == 0 {
                    outputs.for_each(|(output, sum)| *output = *sum);
                } else {
                    outputs.for_each(|(output, sum)| *output += sum);
                }
            }
        }
    }
}

/// Where a panel lies in its layer.
#[derive(Clone, Copy)]
struct Place {
    output: usize,
    input: usize,
}

/// Writes the weights of one group to `panel`.
#[inline(always)]
fn unpack<L: Level, B: Block, const GROUPS: usize>(blocks: &[B], panel: &mut [Panel<GROUPS>], group: usize) {
    for (block, entries) in blocks.iter().zip(panel.chunks_exact_mut(BLOCK_INPUTS)) {
        let scales = block.scales::<L>();
        for (at, entry) in entries.iter_mut().enumerate() {
            entry[group] = Lanes(block.column::<L>(&scales, at));
        }
    }
}
