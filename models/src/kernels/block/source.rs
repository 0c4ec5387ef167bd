use half::f16;

use crate::matrix::{BLOCK_LEN, Format, Matrix, read_part};

/// Thirty-two weights of one output, as a file stores them.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Source<'a> {
    pub(super) format: Format,
    /// Whole blocks.
    pub(super) bytes: &'a [u8],
    /// Which 32 of a longer block.
    pub(super) part: usize,
}

impl<'a> Source<'a> {
    /// Returns weights `32 block ..` of row `row` of `matrix`, `None` past its end.
    pub(in super::super) fn of(matrix: &Matrix<'a>, row: usize, block: usize) -> Option<Self> {
        let values = matrix.format.block().0.max(BLOCK_LEN);
        let (size, parts) = (matrix.format.bytes_for(values)?, values / BLOCK_LEN);
        let bytes = matrix.row(row)?.get(block / parts * size..)?.get(..size)?;
        Some(Self { format: matrix.format, bytes, part: block % parts })
    }

    /// Returns the weights.
    pub(super) fn values(self) -> [f32; BLOCK_LEN] {
        let mut values = [0.0; BLOCK_LEN];
        read_part((self.format, self.bytes), self.part, &mut values);
        values
    }

    /// Returns the scale of a block that begins with it, and the whole numbers that it multiplies.
    pub(super) fn whole_numbers(self) -> (f16, [u8; BLOCK_LEN]) {
        let scale = f16::from_le_bytes([self.bytes[0], self.bytes[1]]);
        if let (Format::Q8_0, Ok(quants)) = (self.format, self.bytes[2..].try_into()) {
            return (scale, quants);
        }
        let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
        (scale, self.values().map(|value| ((value * inverse).round() as i8).cast_unsigned()))
    }
}
