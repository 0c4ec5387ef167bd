//! A linear layer: weights packed for the processor, and its product with rows of inputs.

mod kind;

use crate::{
    ModelError,
    matrix::{BLOCK_LEN, Matrix},
};

use super::{
    block::{Block, Brain, EightBit, FourBit, Full, Inputs, Quantized, Source},
    product::{Arrange, RowProduct, TILE_ROWS, TileProduct, TileRow, pack_tile},
    rounded::{RoundedProduct, RoundedRows},
    simd::{Kernel, LANES, Level, Simd},
    team::Team,
};

use kind::{Kind, kind};

/// Inputs that share a scale; the number of inputs of a layer is a multiple of it.
pub(super) const BLOCK_INPUTS: usize = BLOCK_LEN;
/// Rows up to which unpacking weights once a row costs less than unpacking them into a panel.
const FEW_ROWS: usize = 3;

/// How a layer keeps weights that its file stores as floats.
///
/// Weights that are quantised already are never quantised again to fewer bits. `Q4_0`, `Q4_1`, `Q5_0`, `IQ4_NL` and `Q8_0` stay
/// exactly as they are. `Q4_K` takes as much as [`Self::FourBit`], its scales and minima rounded to 11 bits, 0.7 % of a step at most,
/// unless it shares a layer with another format, as in most `Q4_K_M` files; all others take as much as [`Self::EightBit`], rounded to 1/254 of the largest weight of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As they are: `bfloat16` in 2 bytes a weight, others in 4.
    #[default]
    AsStored,
    /// 8 bits and a scale for 32 of them, 1.06 bytes a weight.
    EightBit,
    /// 4 bits, a scale and a minimum for 32 of them, 0.63 bytes a weight.
    FourBit,
}

/// What becomes of the numbers between the layers of a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// They stay 32-bit floats, as in the reference.
    #[default]
    Exact,
    /// They are rounded to 8 bits a block of 32, for products of integers, where weights are quantised and several positions are
    /// read at once: the rounding of weights is coarser. Of a head in more than 4 bits, those logits are exact that a copy in 4 bits
    /// finds among the greatest 512, all or those that a grammar allows; the others are the copy's.
    Rounded,
}

/// Inputs as the kernels read them. Whoever multiplies often keeps it: fresh pages of memory for each product would take as long as
/// the product.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    rounded: RoundedRows,
    /// `[tiles, inputs]`; rows of the last tile that are not there are anything, and so are their products.
    tiles: Vec<TileRow>,
}

/// A linear layer without bias.
#[derive(Debug)]
pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    blocks: Blocks,
    activations: Activations,
}

/// Weights, `[groups of 16 outputs, blocks of 32 inputs]`.
#[derive(Debug)]
enum Blocks {
    FourBit(Vec<FourBit>),
    EightBit(Vec<EightBit>),
    Brain(Vec<Brain>),
    Full(Vec<Full>),
}

/// Calls a generic function with the blocks of whichever kind.
macro_rules! for_blocks {
    ($blocks:expr, $name:ident => $body:expr) => {
        match $blocks {
            Blocks::FourBit($name) => $body,
            Blocks::EightBit($name) => $body,
            Blocks::Brain($name) => $body,
            Blocks::Full($name) => $body,
        }
    };
}

// Below the macro that it uses.
mod screen;

impl Linear {
    /// Returns the layer whose outputs are those of `matrices`, `[outputs, inputs]` each, one after the other.
    ///
    /// # Errors
    /// When a matrix does not fill its sizes, the inputs differ or are no multiple of 32, or a weight is not finite.
    pub(crate) fn pack(name: &str, matrices: &[Matrix<'_>], storage: Storage) -> Result<Self, ModelError> {
        Self::pack_as(name, matrices, kind(matrices, storage))
    }

    fn pack_as(name: &str, matrices: &[Matrix<'_>], kind: Kind) -> Result<Self, ModelError> {
        let inputs = matrices.first().map_or(0, |matrix| matrix.row_len);
        let whole = |matrix: &Matrix<'_>| {
            let row_bytes = matrix.format.bytes_for(inputs);
            let bytes = row_bytes.and_then(|bytes| bytes.checked_mul(matrix.rows));
            matrix.row_len == inputs && bytes == Some(matrix.data.len())
        };
        if inputs == 0 || !inputs.is_multiple_of(BLOCK_INPUTS) || !matrices.iter().all(whole) {
            let found =
                matrices.iter().map(|matrix| format!("[{}, {}]", matrix.rows, matrix.row_len)).collect::<Vec<_>>();
            return Err(ModelError::mismatch(
                format!("weights of {name}"),
                "full matrices of equal row lengths, multiples of 32",
                found.join(", "),
            ));
        }
        let blocks = match kind {
            Kind::FourBit => pack(matrices).map(Blocks::FourBit),
            Kind::EightBit => pack(matrices).map(Blocks::EightBit),
            Kind::Brain => pack(matrices).map(Blocks::Brain),
            Kind::Full => pack(matrices).map(Blocks::Full),
        };
        let blocks = blocks
            .ok_or_else(|| ModelError::mismatch(format!("weights of {name}"), "finite weights", "one that is not"))?;
        let outputs = matrices.iter().map(|matrix| matrix.rows).sum();
        Ok(Self { inputs, outputs, blocks, activations: Activations::Exact })
    }

    /// Returns the layer with other inputs to its products.
    pub(crate) fn with_activations(self, activations: Activations) -> Self {
        Self { activations, ..self }
    }

    /// Returns the number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the bytes that the weights take in memory.
    pub(crate) fn weight_bytes(&self) -> usize {
        for_blocks!(&self.blocks, blocks => size_of_val(blocks.as_slice()))
    }

    /// Writes the weights `[inputs]` of one output to `row`, and returns whether there is such an output. Of an embedding
    /// table, that is the embedding of a token.
    pub(crate) fn read_row(&self, output: usize, row: &mut [f32]) -> bool {
        let exists = output < self.outputs && row.len() == self.inputs;
        if exists {
            for_blocks!(&self.blocks, blocks => read_row(blocks, output, row));
        }
        exists
    }

    /// Writes the products of rows of inputs `[rows, inputs]` to `outputs`, `[rows, outputs]`.
    pub(crate) fn apply(
        &self,
        (simd, team, scratch): (Simd, &mut Team, &mut Scratch),
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        debug_assert_eq!(
            inputs.len() / self.inputs,
            outputs.len() / self.outputs,
            "a row of outputs for each of inputs"
        );
        let is_rounded = self.activations == Activations::Rounded && inputs.len() > FEW_ROWS * self.inputs;
        match &self.blocks {
            Blocks::FourBit(blocks) if is_rounded => {
                self.of(blocks).apply_rounded((simd, team, scratch), inputs, outputs);
            }
            Blocks::EightBit(blocks) if is_rounded => {
                self.of(blocks).apply_rounded((simd, team, scratch), inputs, outputs);
            }
            blocks => for_blocks!(blocks, blocks => self.of(blocks).apply((simd, team, scratch), inputs, outputs)),
        }
    }

    fn of<'a, B>(&self, blocks: &'a [B]) -> Layer<'a, B> {
        Layer { blocks, inputs: self.inputs, outputs: self.outputs }
    }
}

/// Returns the blocks of stacked matrices, `None` where a weight is not finite. Outputs beyond the last are zero.
fn pack<B: Block>(matrices: &[Matrix<'_>]) -> Option<Vec<B>> {
    let blocks_per_row = matrices.first()?.row_len / BLOCK_INPUTS;
    let outputs: usize = matrices.iter().map(|matrix| matrix.rows).sum();
    let mut rows = matrices.iter().flat_map(|matrix| (0..matrix.rows).map(move |row| (matrix, row)));
    let mut blocks = Vec::with_capacity(outputs.div_ceil(LANES) * blocks_per_row);
    for _ in 0..outputs.div_ceil(LANES) {
        let start = blocks.len();
        blocks.resize(start + blocks_per_row, B::ZERO);
        for (lane, (matrix, row)) in rows.by_ref().take(LANES).enumerate() {
            for (at, block) in blocks[start..].iter_mut().enumerate() {
                if !block.set(lane, Source::of(matrix, row, at)?) {
                    return None;
                }
            }
        }
    }
    Some(blocks)
}

fn read_row<B: Block>(blocks: &[B], output: usize, row: &mut [f32]) {
    let blocks_per_row = row.len() / BLOCK_INPUTS;
    let group = &blocks[output / LANES * blocks_per_row..][..blocks_per_row];
    for (block, values) in group.iter().zip(row.as_chunks_mut::<BLOCK_INPUTS>().0) {
        Simd::Portable.run(ReadBlock { block, lane: output % LANES, values });
    }
}

struct ReadBlock<'a, B> {
    block: &'a B,
    lane: usize,
    values: &'a mut [f32; BLOCK_INPUTS],
}

impl<B: Block> Kernel for ReadBlock<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let scales = self.block.scales::<L>();
        for (at, value) in self.values.iter_mut().enumerate() {
            *value = self.block.column::<L>(&scales, at)[self.lane];
        }
    }
}

struct Layer<'a, B> {
    blocks: &'a [B],
    inputs: usize,
    outputs: usize,
}

/// What one thread computes: a range of outputs of all rows.
struct Share<'a, 'b, B> {
    blocks: &'a [B],
    outputs: Vec<&'b mut [f32]>,
}

impl<B: Block> Layer<'_, B> {
    fn apply(&self, (simd, team, scratch): (Simd, &mut Team, &mut Scratch), inputs: &[f32], outputs: &mut [f32]) {
        let mut shares = self.shares(team.threads(), outputs);
        if inputs.len() <= FEW_ROWS * self.inputs {
            let rows = inputs.chunks_exact(self.inputs);
            let inputs: Vec<Vec<Inputs>> = rows.map(|row| simd.run(Arrange::<B>::new(row))).collect();
            return team.run(&mut shares, |_, Share { blocks, outputs }| {
                simd.run(RowProduct { blocks, inputs: &inputs, outputs });
            });
        }
        pack_tiles(team, inputs, self.inputs, &mut scratch.tiles);
        let tiles = &scratch.tiles;
        team.run(&mut shares, |_, Share { blocks, outputs }| {
            simd.run(TileProduct { blocks, tiles, inputs: self.inputs, outputs });
        });
    }

    /// Splits the outputs among threads, in whole groups.
    fn shares<'b>(&self, threads: usize, outputs: &'b mut [f32]) -> Vec<Share<'_, 'b, B>> {
        let blocks_per_row = self.inputs / BLOCK_INPUTS;
        let groups_per_share = self.outputs.div_ceil(LANES).div_ceil(threads).max(1);
        let blocks = self.blocks.chunks(groups_per_share * blocks_per_row);
        let mut shares: Vec<_> = blocks.map(|blocks| Share { blocks, outputs: Vec::new() }).collect();
        for row in outputs.chunks_exact_mut(self.outputs) {
            for (share, part) in shares.iter_mut().zip(row.chunks_mut(groups_per_share * LANES)) {
                share.outputs.push(part);
            }
        }
        shares
    }
}

impl<B: Quantized> Layer<'_, B> {
    fn apply_rounded(
        &self,
        (simd, team, scratch): (Simd, &mut Team, &mut Scratch),
        inputs: &[f32],
        outputs: &mut [f32],
    ) {
        scratch.rounded.set((simd, team), inputs, self.inputs);
        let rows = &scratch.rounded;
        team.run(&mut self.shares(team.threads(), outputs), |_, Share { blocks, outputs }| {
            simd.run(RoundedProduct { blocks, rows, outputs });
        });
    }
}

/// Sets `packed` to rows `[rows, inputs]` as tiles `[tiles, inputs]`; rows of the last tile that are not there are anything.
fn pack_tiles(team: &mut Team, rows: &[f32], inputs: usize, packed: &mut Vec<TileRow>) {
    let tiles = (rows.len() / inputs).div_ceil(TILE_ROWS);
    packed.resize(tiles * inputs, [0.0; TILE_ROWS]);
    let tiles_per_share = tiles.div_ceil(team.threads()).max(1);
    let shares = packed.chunks_mut(tiles_per_share * inputs).zip(rows.chunks(tiles_per_share * TILE_ROWS * inputs));
    team.run(&mut shares.collect::<Vec<_>>(), |_, (packed, rows)| {
        for (tile, rows) in packed.chunks_exact_mut(inputs).zip(rows.chunks(TILE_ROWS * inputs)) {
            pack_tile(rows.chunks_exact(inputs), tile);
        }
    });
}

#[cfg(test)]
mod tests;
