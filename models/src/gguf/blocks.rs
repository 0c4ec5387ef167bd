/// How the values of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Blocks of 32: a 16-bit float `d`, then 16 bytes of 4-bit `q`; the value is `d * (q - 8)`.
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
            _ => None,
        }
    }

    /// Returns the values in a block and the bytes it takes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
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

/// Writes the values of `bytes` to `out`; stops at the shorter of the two.
pub(super) fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) {
    let (values, size) = format.block();
    for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(values)) {
        match format {
            Format::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
            Format::F16 => out[0] = half_to_f32([block[0], block[1]]),
            Format::Q4_0 => nibbles(&block[2..], half_to_f32([block[0], block[1]]), -8.0, out),
            Format::Q4_1 => {
                nibbles(&block[4..], half_to_f32([block[0], block[1]]), 0.0, out);
                let minimum = half_to_f32([block[2], block[3]]);
                for value in out.iter_mut() {
                    *value += minimum;
                }
            }
            Format::Q8_0 => {
                let scale = half_to_f32([block[0], block[1]]);
                for (value, &byte) in out.iter_mut().zip(&block[2..]) {
                    *value = scale * f32::from(byte.cast_signed());
                }
            }
        }
    }
}

/// Writes `scale * (q + offset)` of a block: low nibbles are its first half, high nibbles its second.
fn nibbles(bytes: &[u8], scale: f32, offset: f32, out: &mut [f32]) {
    let (low, high) = out.split_at_mut(BLOCK_LEN / 2);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = scale * (f32::from(byte & 15) + offset);
        *high = scale * (f32::from(byte >> 4) + offset);
    }
}

/// Returns the value of an IEEE 754 half-precision float in little-endian bytes.
pub(crate) fn half_to_f32(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from((bits >> 10) & 31), f32::from(bits & 1023));
    match exponent {
        // Subnormal: no implicit one, exponent of the smallest normal number.
        0 => sign * fraction * 2.0_f32.powi(-24),
        31 if fraction > 0.0 => f32::NAN,
        31 => sign * f32::INFINITY,
        _ => sign * (1024.0 + fraction) * 2.0_f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_halves() {
        let cases = [
            (0x0000_u16, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7bff, 65504.0),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, expected) in cases {
            assert!(half_to_f32(bits.to_le_bytes()).total_cmp(&expected).is_eq(), "{bits:04x}");
        }
        assert!(half_to_f32(0x7e00_u16.to_le_bytes()).is_nan());
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
            (Format::F32, [1.25_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat(), 1, 2.5),
        ];
        for (format, bytes, index, expected) in cases {
            let mut out = vec![0.0; bytes.len() / format.block().1 * format.block().0];
            dequantize(format, &bytes, &mut out);
            assert!((out[index] - expected).abs() < 1e-6, "{format:?}[{index}]: {} is not {expected}", out[index]);
        }
    }
}
