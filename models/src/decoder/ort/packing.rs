//! Quantised blocks of a model file as ONNX Runtime's operator `MatMulNBits` wants them, without rounding anything again.
//!
//! The operator computes `scale * (q - zero)` with a whole zero. `Q4_1` has a float minimum instead: `d * q + m` is
//! `d * (q - 8)` plus the offset `m + 8 d`, which multiplies the sum of a block's inputs, whatever the output. The graph
//! computes those sums once for each input and multiplies them with the offsets, a thirty-second of the work.

use half::f16;

use crate::matrix::{BLOCK_LEN, Format, Matrix};

/// The zero that the operator takes for 4-bit weights.
const ZERO: f32 = 8.0;

/// 4-bit weights of a linear layer: `scale * (q - 8) + offset`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FourBit {
    /// `[outputs, blocks, 16]`; a byte holds two neighbours, the first in its lower half.
    pub(super) quants: Vec<u8>,
    /// `[outputs, blocks]`.
    pub(super) scales: Vec<f32>,
    /// `[outputs, blocks]`.
    pub(super) offsets: Vec<f32>,
}

/// 8-bit weights of a linear layer: `scale * (q - 128)`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EightBit {
    /// `[outputs, blocks, 32]`.
    pub(super) quants: Vec<u8>,
    /// `[outputs, blocks]`.
    pub(super) scales: Vec<f32>,
}

impl FourBit {
    /// Returns the stacked weights of `matrices`, `None` where one is not stored in 4 bits.
    pub(super) fn stacked(matrices: &[Matrix<'_>]) -> Option<Self> {
        let mut packed = Self::default();
        for matrix in matrices {
            let (_, size) = matrix.format.block();
            match matrix.format {
                Format::Q4_0 => matrix.data.chunks_exact(size).for_each(|block| {
                    let scale = half(block);
                    packed.push(scale, -ZERO * scale, &block[2..]);
                }),
                Format::Q4_1 => matrix.data.chunks_exact(size).for_each(|block| {
                    packed.push(half(block), half(&block[2..]), &block[4..]);
                }),
                _ => return None,
            }
        }
        Some(packed)
    }

    fn push(&mut self, scale: f32, minimum: f32, nibbles: &[u8]) {
        let (low, high) = (nibbles.iter().map(|byte| byte & 15), nibbles.iter().map(|byte| byte >> 4));
        let quants: Vec<u8> = low.chain(high).collect();
        self.quants.extend(quants.as_chunks::<2>().0.iter().map(|[first, second]| first | (second << 4)));
        self.scales.push(scale);
        self.offsets.push(minimum + ZERO * scale);
    }

    /// Returns whether every weight is as stored without the offsets.
    pub(super) fn is_centred(&self) -> bool {
        self.offsets.iter().all(|&offset| offset == 0.0)
    }
}

impl EightBit {
    /// Returns the stacked weights of `matrices`, `None` where one is not stored in 8 bits.
    pub(super) fn stacked(matrices: &[Matrix<'_>]) -> Option<Self> {
        let mut packed = Self::default();
        for matrix in matrices {
            if matrix.format != Format::Q8_0 {
                return None;
            }
            for block in matrix.data.chunks_exact(2 + BLOCK_LEN) {
                // -128..=127 -> 0..=255
                packed.quants.extend(block[2..].iter().map(|byte| byte ^ 0x80));
                packed.scales.push(half(block));
            }
        }
        Some(packed)
    }
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(halves: &[f32], rest: impl Iterator<Item = u8>) -> Vec<u8> {
        halves.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).chain(rest).collect()
    }

    fn matrix(format: Format, data: &[u8]) -> Matrix<'_> {
        Matrix { rows: 1, row_len: BLOCK_LEN, format, data }
    }

    /// Value `i` is `15 - i` for the first half and `i` for the second, both modulo 16.
    fn nibbles() -> impl Iterator<Item = u8> {
        (0..16_u8).map(|low| (15 - low) | (low << 4))
    }

    fn four_bit_value(packed: &FourBit, at: usize) -> f32 {
        let quant = (packed.quants[at / 2] >> (4 * (at % 2))) & 15;
        packed.scales[0] * (f32::from(quant) - ZERO) + packed.offsets[0]
    }

    #[test]
    fn keeps_blocks_exactly() {
        let q4_0 = bytes(&[0.5], nibbles());
        let q4_1 = bytes(&[0.25, -1.5], nibbles());
        for (format, data) in [(Format::Q4_0, &q4_0), (Format::Q4_1, &q4_1)] {
            let matrix = matrix(format, data);
            let packed = FourBit::stacked(&[matrix, matrix]).unwrap();
            assert_eq!((packed.quants.len(), packed.scales.len(), packed.offsets.len()), (32, 2, 2));
            assert_eq!(packed.is_centred(), format == Format::Q4_0);
            for (at, expected) in matrix.to_f32().into_iter().enumerate() {
                assert!((four_bit_value(&packed, at) - expected).abs() < 1e-6, "{format:?} {at}");
            }
        }
        let q8_0 = bytes(&[0.5], (0..32).map(|at| at * 8));
        let packed = EightBit::stacked(&[matrix(Format::Q8_0, &q8_0)]).unwrap();
        for (at, expected) in matrix(Format::Q8_0, &q8_0).to_f32().into_iter().enumerate() {
            let found = packed.scales[0] * (f32::from(packed.quants[at]) - 128.0);
            assert!((found - expected).abs() < 1e-6, "{at}: {found} is not {expected}");
        }
    }

    #[test]
    fn leaves_other_formats_alone() {
        let floats = [0; 4 * BLOCK_LEN];
        assert!(FourBit::stacked(&[matrix(Format::F32, &floats)]).is_none());
        assert!(EightBit::stacked(&[matrix(Format::F32, &floats)]).is_none());
    }
}
