use std::marker::PhantomData;

use crate::kernels::{
    rows::{gelu, round, sum_of},
    simd::{Kernel, LANES, Level, Simd, Words},
};

use super::{
    GROUPS, IntegerRows, ROWS, Range, WORD_INPUTS,
    rows::{inverse, write_bytes},
};

/// Outputs whose weights lie together and that are computed together.
pub(crate) const PANEL_OUTPUTS: usize = GROUPS * LANES;

/// A linear layer with bias: weights in 8 bits with a scale for each output.
#[derive(Debug)]
pub(crate) struct IntegerLinear {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs / 4]`, rounded up; inputs and outputs beyond the last are zero.
    weights: Vec<[Words; GROUPS]>,
    /// `[panels]`.
    columns: Vec<Columns>,
}

/// What belongs to each output of a panel.
#[derive(Debug, Clone)]
struct Columns {
    scales: [[f32; LANES]; GROUPS],
    /// Sums of weights: what the low ends of ranges are multiplied with.
    sums: [[f32; LANES]; GROUPS],
    biases: [[f32; LANES]; GROUPS],
}

/// What becomes of a product.
pub(crate) trait Finish: Sync {
    /// Returns what takes the place of `old` when `product` is the new output.
    fn finish<L: Level>(product: f32, old: f32) -> f32;
}

/// The output is the product.
pub(crate) struct Set;
/// The product is added to what is there.
pub(crate) struct Add;
/// The output is the Gaussian error linear unit of the product, in its approximation by `tanh`.
pub(crate) struct Gelu;

impl Finish for Set {
    #[inline(always)]
    fn finish<L: Level>(product: f32, _old: f32) -> f32 {
        product
    }
}

impl Finish for Add {
    #[inline(always)]
    fn finish<L: Level>(product: f32, old: f32) -> f32 {
        old + product
    }
}

impl Finish for Gelu {
    #[inline(always)]
    fn finish<L: Level>(product: f32, _old: f32) -> f32 {
        gelu::<L>(product)
    }
}

impl IntegerLinear {
    /// Returns a layer of zeros.
    pub(crate) fn zeros(inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(PANEL_OUTPUTS);
        let weights = vec![[Words([0; LANES]); GROUPS]; panels * inputs.div_ceil(WORD_INPUTS)];
        Self { inputs, outputs, weights, columns: vec![Columns::ZERO; panels] }
    }

    /// Rounds `weights`, finite, `[inputs]`, to the weights of `output`; the largest is kept.
    pub(crate) fn set(&mut self, simd: Simd, output: usize, weights: &[f32], bias: f32) {
        let (panel, group, lane) = (output / PANEL_OUTPUTS, output / LANES % GROUPS, output % LANES);
        let words = self.inputs.div_ceil(WORD_INPUTS);
        let words = self.weights[panel * words..][..words].iter_mut().map(|entry| &mut entry[group].0[lane]);
        let (scale, sum) = simd.run(Round { weights, words });
        let columns = &mut self.columns[panel];
        columns.scales[group][lane] = scale;
        columns.sums[group][lane] = scale * sum;
        columns.biases[group][lane] = bias;
    }

    /// Finishes the products of `rows` into `outputs`, `[rows, outputs]`, as `F` says.
    pub(crate) fn apply<F: Finish>(&self, simd: Simd, rows: &IntegerRows, outputs: &mut [f32]) {
        simd.run(Product { layer: self, rows, outputs, finish: PhantomData::<F> });
    }
}

/// Writes the nearest 8-bit weights to words and returns their scale and sum.
struct Round<'a, W> {
    weights: &'a [f32],
    words: W,
}

impl<'a, W: Iterator<Item = &'a mut u32>> Kernel for Round<'a, W> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<L: Level>(self) -> (f32, f32) {
        let (low, high) = L::extremes(self.weights);
        let scale = low.abs().max(high) / 127.0;
        let factor = inverse(scale);
        write_bytes::<L>(self.weights, (0.0, factor), self.words);
        (scale, sum_of(self.weights, |weight, sum| sum + round(weight * factor)))
    }
}

impl Columns {
    const ZERO: Self =
        Self { scales: [[0.0; LANES]; GROUPS], sums: [[0.0; LANES]; GROUPS], biases: [[0.0; LANES]; GROUPS] };

    /// Finishes the sums of one row into `outputs`, as many as there are.
    #[inline(always)]
    fn finish<L: Level, F: Finish>(
        &self,
        sums: &[[i32; LANES]; GROUPS],
        range: Range,
        outputs: &mut [[f32; LANES]; GROUPS],
    ) {
        for group in 0..GROUPS {
            for lane in 0..LANES {
                let rest = L::mul_add(range.low, self.sums[group][lane], self.biases[group][lane]);
                let scale = range.scale * self.scales[group][lane];
                let product = L::mul_add(sums[group][lane] as f32, scale, rest);
                let output = &mut outputs[group][lane];
                *output = F::finish::<L>(product, *output);
            }
        }
    }
}

struct Product<'a, F> {
    layer: &'a IntegerLinear,
    rows: &'a IntegerRows,
    outputs: &'a mut [f32],
    finish: PhantomData<F>,
}

impl<F: Finish> Kernel for Product<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let IntegerLinear { inputs, outputs: row_len, weights, columns } = self.layer;
        let panels = weights.chunks_exact(inputs.div_ceil(WORD_INPUTS)).zip(columns);
        for (panel_index, (panel, columns)) in panels.enumerate() {
            let first = panel_index * PANEL_OUTPUTS;
            let width = PANEL_OUTPUTS.min(row_len - first);
            let tiles = self.rows.tiles().zip(self.outputs.chunks_mut(ROWS * row_len));
            for ((tile, ranges), outputs) in tiles {
                let sums = L::byte_tile::<ROWS, GROUPS>(tile, panel);
                for ((sums, range), row) in sums.iter().zip(ranges).zip(outputs.chunks_exact_mut(*row_len)) {
                    write::<L, F>((columns, sums, *range), &mut row[first..first + width]);
                }
            }
        }
    }
}

#[inline(always)]
fn write<L: Level, F: Finish>((columns, sums, range): (&Columns, &[[i32; LANES]; GROUPS], Range), outputs: &mut [f32]) {
    if let Some(all) = outputs.as_chunks_mut::<LANES>().0.first_chunk_mut::<GROUPS>() {
        return columns.finish::<L, F>(sums, range, all);
    }
    let mut all = [[0.0; LANES]; GROUPS];
    all.as_flattened_mut()[..outputs.len()].copy_from_slice(outputs);
    columns.finish::<L, F>(sums, range, &mut all);
    outputs.copy_from_slice(&all.as_flattened()[..outputs.len()]);
}
