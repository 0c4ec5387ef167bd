//! Matrices as model files store them: plain, half-precision or quantised in blocks.

pub(crate) mod fit;
mod k_quants;

use half::f16;

pub(crate) use k_quants::{FourBitPart, q4_k_part};

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
    /// As [`Self::Q4_0`] with 5-bit `q`, whose fifth bits are a 32-bit word after `d`; the value is `d * (q - 16)`.
    Q5_0,
    /// As [`Self::Q4_1`] with 5-bit `q`, whose fifth bits are a 32-bit word after `m`.
    Q5_1,
    /// Blocks of 32: a 16-bit float `d`, then 32 signed bytes `q`; the value is `d * q`.
    Q8_0,
    /// As [`Self::Q4_0`], but `q` is the place of a whole number in a fixed table; the value is `d` times that number.
    Iq4Nl,
    /// Super-blocks of 256: 2 bits a value, 4-bit scales and minima for 16 values each.
    Q2K,
    /// Super-blocks of 256: 3 bits a value, 6-bit scales for 16 values each.
    Q3K,
    /// Super-blocks of 256: 4 bits a value, 6-bit scales and minima for 32 values each.
    Q4K,
    /// Super-blocks of 256: 5 bits a value, 6-bit scales and minima for 32 values each.
    Q5K,
    /// Super-blocks of 256: 6 bits a value, 8-bit scales for 16 values each.
    Q6K,
}

/// Values that share a scale in most quantised formats; blocks of all of them are a multiple of it.
pub(crate) const BLOCK_LEN: usize = 32;
/// What [`Format::Iq4Nl`] numbers.
const NON_LINEAR: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Format {
    /// Returns the format that GGUF numbers `code`, `None` where Loupe does not know it.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Q4_0),
            3 => Some(Self::Q4_1),
            6 => Some(Self::Q5_0),
            7 => Some(Self::Q5_1),
            8 => Some(Self::Q8_0),
            10 => Some(Self::Q2K),
            11 => Some(Self::Q3K),
            12 => Some(Self::Q4K),
            13 => Some(Self::Q5K),
            14 => Some(Self::Q6K),
            20 => Some(Self::Iq4Nl),
            30 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Returns the values in a block and the bytes it takes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 | Self::Iq4Nl => (BLOCK_LEN, 18),
            Self::Q4_1 => (BLOCK_LEN, 20),
            Self::Q5_0 => (BLOCK_LEN, 22),
            Self::Q5_1 => (BLOCK_LEN, 24),
            Self::Q8_0 => (BLOCK_LEN, 34),
            Self::Q2K => (k_quants::SUPER_LEN, k_quants::Q2_K_BYTES),
            Self::Q3K => (k_quants::SUPER_LEN, k_quants::Q3_K_BYTES),
            Self::Q4K => (k_quants::SUPER_LEN, k_quants::Q4_K_BYTES),
            Self::Q5K => (k_quants::SUPER_LEN, k_quants::Q5_K_BYTES),
            Self::Q6K => (k_quants::SUPER_LEN, k_quants::Q6_K_BYTES),
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
    match format {
        Format::F32 => convert(bytes, out, f32::from_le_bytes),
        Format::F16 => convert(bytes, out, |value| f16::from_le_bytes(value).to_f32()),
        Format::Bf16 => convert(bytes, out, |[low, high]| f32::from_le_bytes([0, 0, low, high])),
        _ => {
            let (values, size) = format.block();
            for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(values)) {
                for (part, out) in out.chunks_mut(BLOCK_LEN).enumerate() {
                    read_part((format, block), part, out);
                }
            }
        }
    }
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = value(*bytes);
    }
}

/// Writes 32 values of a block to `out`: part `part` of a super-block, or all that another block holds.
pub(crate) fn read_part((format, block): (Format, &[u8]), part: usize, out: &mut [f32]) {
    match format {
        Format::F32 | Format::F16 | Format::Bf16 => dequantize(format, block, out),
        Format::Q4_0 => nibbles(&block[2..], out, |quant, _| half(block, 0) * (f32::from(quant) - 8.0)),
        Format::Q4_1 => nibbles(&block[4..], out, |quant, _| half(block, 0) * f32::from(quant) + half(block, 2)),
        Format::Q5_0 => {
            let fifth = |at| fifth_bit(&block[2..], at);
            nibbles(&block[6..], out, |quant, at| half(block, 0) * (f32::from(quant | fifth(at)) - 16.0));
        }
        Format::Q5_1 => {
            let fifth = |at| fifth_bit(&block[4..], at);
            nibbles(&block[8..], out, |quant, at| half(block, 0) * f32::from(quant | fifth(at)) + half(block, 2));
        }
        Format::Iq4Nl => {
            nibbles(&block[2..], out, |quant, _| half(block, 0) * f32::from(NON_LINEAR[usize::from(quant)]));
        }
        Format::Q8_0 => {
            let scale = half(block, 0);
            for (value, &byte) in out.iter_mut().zip(&block[2..]) {
                *value = scale * f32::from(byte.cast_signed());
            }
        }
        Format::Q2K | Format::Q3K | Format::Q4K | Format::Q5K | Format::Q6K => {
            k_quants::read_part(format, block, part, out);
        }
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Returns the fifth bit of value `at`, in its place.
fn fifth_bit(bits: &[u8], at: usize) -> u8 {
    ((bits[at / 8] >> (at % 8)) & 1) << 4
}

/// Writes what `value` makes of each 4-bit number and its place: low nibbles are the first half of a block, high nibbles its second.
fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(u8, usize) -> f32) {
    let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
    for (at, ((byte, low), high)) in bytes.iter().zip(low).zip(high).enumerate() {
        *low = value(byte & 15, at);
        *high = value(byte >> 4, at + BLOCK_LEN / 2);
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
    use std::{fs, path::Path};

    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn transposes_whole_and_partial_squares() {
        let (rows, columns) = (70, 130);
        let matrix: Vec<usize> = (0..rows * columns).collect();
        let out = transposed(&matrix, columns);
        assert!((0..matrix.len()).all(|index| out[index % columns * rows + index / columns] == index));
    }

    /// Blocks of arbitrary bits and what the `gguf` package makes of them.
    #[test]
    fn dequantizes_every_format_as_the_reference_does() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf_blocks.safetensors");
        let file = fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let bytes = |name: String| tensors.tensor(&name).unwrap().data().to_vec();
        for code in [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 30] {
            let format = Format::from_code(code).unwrap();
            let (blocks, expected) = (bytes(format!("{code}.blocks")), bytes(format!("{code}.values")));
            let mut found = vec![0.0_f32; expected.len() / 4];
            dequantize(format, &blocks, &mut found);
            for (at, (found, expected)) in found.iter().zip(expected.as_chunks::<4>().0).enumerate() {
                let expected = f32::from_le_bytes(*expected);
                assert_eq!(found.to_bits(), expected.to_bits(), "{format:?}[{at}]: {found} is not {expected}");
            }
        }
        assert_eq!(Format::from_code(16), None);
    }
}
