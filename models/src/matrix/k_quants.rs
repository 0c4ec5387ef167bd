//! K-quants: super-blocks of 256 values, cut into eight parts of 32, with scales that are quantised themselves.
//!
//! Below, `d` and `m` are the 16-bit floats of the super-block, `s` and `t` the whole numbers that scale and shift 16 or 32 of its
//! values, `q` the number of a value. Layouts as in ggml's `ggml-common.h`.

use super::{BLOCK_LEN, Format, half};

/// Values in a super-block.
pub(super) const SUPER_LEN: usize = 256;
/// Values that share a scale in the formats whose scales are for half a part.
const HALF: usize = BLOCK_LEN / 2;

/// Bytes of a super-block of each format.
pub(super) const Q2_K_BYTES: usize = 16 + 64 + 4;
pub(super) const Q3_K_BYTES: usize = 32 + 64 + 12 + 2;
pub(super) const Q4_K_BYTES: usize = 4 + 12 + 128;
pub(super) const Q5_K_BYTES: usize = 4 + 12 + 32 + 128;
pub(super) const Q6_K_BYTES: usize = 128 + 64 + 16 + 2;

/// Writes the 32 values of part `part`, 0 to 7, of a super-block to `out`.
pub(super) fn read_part(format: Format, block: &[u8], part: usize, out: &mut [f32]) {
    match format {
        Format::Q2K => q2_k(block, part, out),
        Format::Q3K => q3_k(block, part, out),
        Format::Q4K => {
            let FourBitPart { scale, minimum, quants } = q4_k_part(block, part);
            fill(out, |at| scale * f32::from(quants[at]) + minimum);
        }
        Format::Q5K => q5_k(block, part, out),
        Format::Q6K => q6_k(block, part, out),
        _ => debug_assert!(false, "{format:?} has no super-blocks"),
    }
}

fn fill(out: &mut [f32], value: impl Fn(usize) -> f32) {
    for (at, out) in out.iter_mut().enumerate() {
        *out = value(at);
    }
}

/// `d s q - m t`: 16 bytes of `s` (lower half) and `t` for 16 values each, 64 of 2-bit `q`, `d`, `m`.
fn q2_k(block: &[u8], part: usize, out: &mut [f32]) {
    let (scales, rest) = block.split_at(16);
    let (quants, ends) = rest.split_at(64);
    let (scale, minimum) = (half(ends, 0), half(ends, 2));
    fill(out, |at| {
        let step = scales[2 * part + at / HALF];
        let quant = two_bits(quants, part, at);
        scale * f32::from(step & 15) * f32::from(quant) - minimum * f32::from(step >> 4)
    });
}

/// Two bits of each value: 32 bytes hold the first four parts, the lowest bits the first, 32 more the rest.
fn two_bits(quants: &[u8], part: usize, at: usize) -> u8 {
    (quants[BLOCK_LEN * (part / 4) + at] >> (2 * (part % 4))) & 3
}

/// `d (s - 32) (q - 4)`: 32 bytes with the third bit of `q` (bit `i` for part `i`), 64 with the lower two, 12 with 6-bit `s` for 16
/// values each, `d`.
fn q3_k(block: &[u8], part: usize, out: &mut [f32]) {
    let (high, rest) = block.split_at(32);
    let (low, rest) = rest.split_at(64);
    let (scales, end) = rest.split_at(12);
    let total = half(end, 0);
    fill(out, |at| {
        let index = 2 * part + at / HALF;
        let nibble = (scales[index % 8] >> (4 * (index / 8))) & 15;
        let top = (scales[8 + index % 4] >> (2 * (index / 4))) & 3;
        let step = total * (f32::from(nibble | (top << 4)) - 32.0);
        let quant = two_bits(low, part, at) | (((high[at] >> part) & 1) << 2);
        step * (f32::from(quant) - 4.0)
    });
}

/// Part of a `Q4_K` super-block: `scale * q + minimum`.
pub(crate) struct FourBitPart {
    pub(crate) scale: f32,
    pub(crate) minimum: f32,
    /// 0 to 15.
    pub(crate) quants: [u8; BLOCK_LEN],
}

/// `d s q - m t`: `d`, `m`, 12 bytes of 6-bit `s` and `t` for 32 values each, 128 of 4-bit `q`: 32 hold two parts, the first in
/// the lower halves.
pub(crate) fn q4_k_part(block: &[u8], part: usize) -> FourBitPart {
    let (scale, minimum) = scale_and_minimum(block, part);
    FourBitPart { scale, minimum, quants: std::array::from_fn(|at| nibble(&block[16..], part, at)) }
}

/// As `Q4_K`, with 32 bytes of the fifth bit (bit `i` for part `i`) before the lower four.
fn q5_k(block: &[u8], part: usize, out: &mut [f32]) {
    let (scale, minimum) = scale_and_minimum(block, part);
    let (high, low) = block[16..].split_at(32);
    fill(out, |at| {
        let quant = nibble(low, part, at) | (((high[at] >> part) & 1) << 4);
        scale * f32::from(quant) + minimum
    });
}

fn nibble(quants: &[u8], part: usize, at: usize) -> u8 {
    (quants[BLOCK_LEN * (part / 2) + at] >> (4 * (part % 2))) & 15
}

/// Returns `d s` and `-m t` of a part.
fn scale_and_minimum(block: &[u8], part: usize) -> (f32, f32) {
    let packed = &block[4..16];
    let (scale, minimum) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        // The upper two bits lie above those of the first four parts.
        let low = packed[part + 4];
        ((low & 15) | ((packed[part - 4] >> 6) << 4), (low >> 4) | ((packed[part] >> 6) << 4))
    };
    (half(block, 0) * f32::from(scale), -(half(block, 2) * f32::from(minimum)))
}

/// `d s (q - 32)`: 128 bytes with the lower four bits of `q`, 64 with the upper two, 16 of signed `s` for 16 values each, `d`. Of
/// each half of the super-block, 64 bytes hold parts 0 and 1 in their lower halves and 2 and 3 in their upper.
fn q6_k(block: &[u8], part: usize, out: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, end) = rest.split_at(16);
    let total = half(end, 0);
    let (side, place) = (part / 4, part % 4);
    fill(out, |at| {
        let nibble = (low[64 * side + BLOCK_LEN * (place % 2) + at] >> (4 * (place / 2))) & 15;
        let quant = nibble | (((high[BLOCK_LEN * side + at] >> (2 * place)) & 3) << 4);
        let step = total * f32::from(scales[2 * part + at / HALF].cast_signed());
        step * (f32::from(quant) - 32.0)
    });
}
