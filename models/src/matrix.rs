//! Matrices as model files store them: plain, half-precision or quantised in blocks of 32.

use half::f16;

/// How the values of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper halves of 32-bit floats (`bfloat16`).
    Bf16,
    /// Blocks of 32: a 16-bit float `d`, then 16 bytes of 4-bit `q`; the value is `d * (q - 8)`. Byte `i` holds value `i` in
    /// its lower half and value `i + 16` in its upper.
    Q4_0,
    /// Blocks of 32: 16-bit floats `d` and `m`, then 16 bytes of 4-bit `q`; the value is `d * q + m`.
    Q4_1,
    /// Blocks of 32: a 16-bit float `d`, then 32 signed bytes `q`; the value is `d * q`.
    Q8_0,
}

/// Values in a block of every quantised format.
pub(crate) const BLOCK_LEN: usize = 32;

impl Format {
    /// Returns the format that GGUF numbers `code`, `None` where Loupe does not know it.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Q4_0),
            3 => Some(Self::Q4_1),
            8 => Some(Self::Q8_0),
            30 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Returns the values in a block and the bytes it takes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (BLOCK_LEN, 18),
            Self::Q4_1 => (BLOCK_LEN, 20),
            Self::Q8_0 => (BLOCK_LEN, 34),
        }
    }

    /// Returns the bytes that `len` values take, `None` where they are no whole blocks or too many to count.
    pub fn bytes_for(self, len: usize) -> Option<usize> {
        let (values, bytes) = self.block();
        if len.is_multiple_of(values) { (len / values).checked_mul(bytes) } else { None }
    }
}

/// A matrix in a model file: `[rows, row_len]`, row-major; a vector has one row. Rows of quantised formats are whole blocks.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Number of rows; of a linear layer, its outputs.
    pub rows: usize,
    /// Values in a row; of a linear layer, its inputs.
    pub row_len: usize,
    /// How the values are stored.
    pub format: Format,
    /// `rows * format.bytes_for(row_len)` bytes.
    pub data: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Returns the bytes of one row, `None` past the last.
    pub fn row(&self, row: usize) -> Option<&'a [u8]> {
        let size = self.format.bytes_for(self.row_len)?;
        self.data.get(row.checked_mul(size)?..)?.get(..size)
    }

    /// Writes the values of one row to `out`, which holds `row_len` of them, and returns whether there is such a row.
    pub fn read_row(&self, row: usize, out: &mut [f32]) -> bool {
        let Some(bytes) = self.row(row).filter(|_| out.len() == self.row_len) else { return false };
        dequantize(self.format, bytes, out);
        true
    }

    /// Returns all values, `[rows, row_len]`, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows * self.row_len];
        dequantize(self.format, self.data, &mut values);
        values
    }
}

/// Writes the values of `bytes` to `out`; stops at the shorter of the two.
fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) {
    let (values, size) = format.block();
    for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(values)) {
        match format {
            Format::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
            Format::F16 => out[0] = half(block, 0),
            Format::Bf16 => out[0] = f32::from_le_bytes([0, 0, block[0], block[1]]),
            Format::Q4_0 => nibbles(&block[2..], half(block, 0), -8.0, out),
            Format::Q4_1 => {
                nibbles(&block[4..], half(block, 0), 0.0, out);
                let minimum = half(block, 2);
                for value in out.iter_mut() {
                    *value += minimum;
                }
            }
            Format::Q8_0 => {
                let scale = half(block, 0);
                for (value, &byte) in out.iter_mut().zip(&block[2..]) {
                    *value = scale * f32::from(byte.cast_signed());
                }
            }
        }
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Writes `scale * (q + offset)` of a block: low nibbles are its first half, high nibbles its second.
fn nibbles(bytes: &[u8], scale: f32, offset: f32, out: &mut [f32]) {
    let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = scale * (f32::from(byte & 15) + offset);
        *high = scale * (f32::from(byte >> 4) + offset);
    }
}

/// Returns `matrix`, rows of `row_len`, transposed. Works in squares that fit the cache, since the writes of a plain loop
/// would each touch another line.
pub(crate) fn transposed<T: Copy + Default>(matrix: &[T], row_len: usize) -> Vec<T> {
    const SQUARE: usize = 64;
    let rows = matrix.len() / row_len;
    let mut out = vec![T::default(); matrix.len()];
    for (top, left) in
        (0..rows).step_by(SQUARE).flat_map(|top| (0..row_len).step_by(SQUARE).map(move |left| (top, left)))
    {
        for row in top..rows.min(top + SQUARE) {
            for column in left..row_len.min(left + SQUARE) {
                out[column * rows + row] = matrix[row * row_len + column];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_whole_and_partial_squares() {
        let (rows, columns) = (70, 130);
        let matrix: Vec<usize> = (0..rows * columns).collect();
        let out = transposed(&matrix, columns);
        assert!((0..matrix.len()).all(|index| out[index % columns * rows + index / columns] == index));
    }

    #[test]
    fn dequantizes_each_format() {
        // d = 0.5, m = -1: one block each, whose first byte holds q = 1 (low) and q = 15 (high).
        let (half, minus_one) = (0x3800_u16.to_le_bytes(), 0xbc00_u16.to_le_bytes());
        let nibbles = [&[0xf1][..], &[0; 15]].concat();
        let bytes8 = [&[0x80, 0x7f][..], &[0; 30]].concat();
        let cases = [
            (Format::Q4_0, [&half[..], &nibbles].concat(), 0, -3.5),
            (Format::Q4_0, [&half[..], &nibbles].concat(), 16, 3.5),
            (Format::Q4_1, [&half[..], &minus_one, &nibbles].concat(), 0, -0.5),
            (Format::Q4_1, [&half[..], &minus_one, &nibbles].concat(), 16, 6.5),
            (Format::Q8_0, [&half[..], &bytes8].concat(), 0, -64.0),
            (Format::Q8_0, [&half[..], &bytes8].concat(), 1, 63.5),
            (Format::F16, [half, minus_one].concat(), 1, -1.0),
            (Format::Bf16, vec![0, 0, 0xa0, 0x3f], 1, 1.25),
            (Format::F32, [1.25_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat(), 1, 2.5),
        ];
        for (format, bytes, index, expected) in cases {
            let mut out = vec![0.0; bytes.len() / format.block().1 * format.block().0];
            dequantize(format, &bytes, &mut out);
            assert!((out[index] - expected).abs() < 1e-6, "{format:?}[{index}]: {} is not {expected}", out[index]);
        }
    }
}
