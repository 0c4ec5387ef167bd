//! Weights that are kept as they are.

use super::{BLOCK_LEN, Block, Inputs, LANES, Level, Source, Words};
use crate::kernels::simd::Lanes;

/// Weights as `bfloat16`, the precision in which most models are published.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct Brain {
    /// Word `j` of an output holds inputs `2 j` (lower half) and `2 j + 1`.
    pairs: [Words; 16],
}

impl Block for Brain {
    type Scales = ();

    const ZERO: Self = Self { pairs: [Words([0; LANES]); 16] };

    fn set(&mut self, lane: usize, source: Source<'_>) -> bool {
        for (words, bytes) in self.pairs.iter_mut().zip(source.bytes.as_chunks::<4>().0) {
            words.0[lane] = u32::from_le_bytes(*bytes);
        }
        source.values().iter().all(|value| value.is_finite())
    }

    #[inline(always)]
    fn arrange<L: Level>(inputs: &[f32; BLOCK_LEN]) -> Inputs {
        Inputs::floats(*inputs, inputs)
    }

    #[inline(always)]
    fn accumulate<L: Level>(&self, inputs: &Inputs, sums: &mut [f32; LANES]) {
        accumulate_columns::<L, Self>(self, inputs, sums);
    }

    #[inline(always)]
    fn scales<L: Level>(&self) -> Self::Scales {}

    #[inline(always)]
    fn column<L: Level>(&self, (): &Self::Scales, at: usize) -> [f32; LANES] {
        let words = &self.pairs[at / 2].0;
        let mut column = [0.0; LANES];
        for lane in 0..LANES {
            let bits = if at.is_multiple_of(2) { words[lane] << 16 } else { words[lane] & 0xffff_0000 };
            column[lane] = f32::from_bits(bits);
        }
        column
    }
}

/// Weights as they are.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct Full {
    columns: [Lanes; BLOCK_LEN],
}

impl Block for Full {
    type Scales = ();

    const ZERO: Self = Self { columns: [Lanes::ZERO; BLOCK_LEN] };

    fn set(&mut self, lane: usize, source: Source<'_>) -> bool {
        let values = source.values();
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.0[lane] = value;
        }
        values.iter().all(|value| value.is_finite())
    }

    #[inline(always)]
    fn arrange<L: Level>(inputs: &[f32; BLOCK_LEN]) -> Inputs {
        Inputs::floats(*inputs, inputs)
    }

    #[inline(always)]
    fn accumulate<L: Level>(&self, inputs: &Inputs, sums: &mut [f32; LANES]) {
        accumulate_columns::<L, Self>(self, inputs, sums);
    }

    #[inline(always)]
    fn scales<L: Level>(&self) -> Self::Scales {}

    #[inline(always)]
    fn column<L: Level>(&self, (): &Self::Scales, at: usize) -> [f32; LANES] {
        self.columns[at].0
    }
}

#[inline(always)]
fn accumulate_columns<L: Level, B: Block>(block: &B, inputs: &Inputs, sums: &mut [f32; LANES]) {
    // Four chains of additions hide the latency of one.
    let mut parts = [[0.0; LANES]; 4];
    for at in 0..BLOCK_LEN {
        let column = block.column::<L>(&block.scales::<L>(), at);
        for lane in 0..LANES {
            parts[at % 4][lane] = L::mul_add(column[lane], inputs.values[at], parts[at % 4][lane]);
        }
    }
    for lane in 0..LANES {
        sums[lane] += (parts[0][lane] + parts[1][lane]) + (parts[2][lane] + parts[3][lane]);
    }
}
