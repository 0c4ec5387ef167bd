//! Quantises weights that are stored as floats.

use half::f16;

use super::BLOCK_LEN;
#[cfg(doc)]
use super::Format;
use crate::rounding::ROUND;

/// Fits 4 bits to any values: the range from the least to the greatest in 15 steps. Returns scale, minimum and `q` packed as in
/// [`Format::Q4_1`].
pub(crate) fn four_bits(values: &[f32; BLOCK_LEN]) -> (f16, f16, [u8; BLOCK_LEN / 2]) {
    let [least, greatest] = range(values);
    let minimum = f16::from_f32(least);
    let scale = f16::from_f32((greatest - minimum.to_f32()) / 15.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    let first = minimum.to_f32();
    let quants = values.map(|value| {
        let steps = (value - first) * inverse;
        let steps = if steps > 0.0 { steps } else { 0.0 };
        let steps = if steps < 15.0 { steps } else { 15.0 };
        ((steps + ROUND).to_bits() & 15) as u8
    });
    let finite = values.iter().all(|value| value.is_finite());
    (if finite { scale } else { f16::NAN }, minimum, packed(&quants))
}

/// Returns the least and the greatest value, four at a time: a chain of comparisons would wait for each.
fn range(values: &[f32; BLOCK_LEN]) -> [f32; 2] {
    let (mut least, mut greatest) = ([f32::INFINITY; 4], [f32::NEG_INFINITY; 4]);
    for values in values.as_chunks::<4>().0 {
        for ((least, greatest), &value) in least.iter_mut().zip(&mut greatest).zip(values) {
            *least = if value < *least { value } else { *least };
            *greatest = if value > *greatest { value } else { *greatest };
        }
    }
    [least.into_iter().fold(f32::INFINITY, f32::min), greatest.into_iter().fold(f32::NEG_INFINITY, f32::max)]
}

/// Returns 4-bit numbers packed as in [`Format::Q4_1`].
pub(crate) fn packed(quants: &[u8; BLOCK_LEN]) -> [u8; BLOCK_LEN / 2] {
    std::array::from_fn(|at| quants[at] | (quants[at + BLOCK_LEN / 2] << 4))
}

/// Fits 8 bits to any values: the largest magnitude in 127 steps. Returns scale and `q` as in [`Format::Q8_0`].
pub(crate) fn eight_bits(values: &[f32; BLOCK_LEN]) -> (f16, [u8; BLOCK_LEN]) {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = f16::from_f32(largest / 127.0);
    let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
    let quants = values.map(|value| ((value * inverse).round().clamp(-128.0, 127.0) as i8).cast_unsigned());
    let finite = values.iter().all(|value| value.is_finite());
    (if finite { scale } else { f16::NAN }, quants)
}

/// Returns `values`, whole blocks, in the format that [`four_bits`] fits.
pub(crate) fn to_q4_1(values: &[f32]) -> Vec<u8> {
    let blocks = values.as_chunks::<BLOCK_LEN>().0.iter().map(four_bits);
    blocks
        .flat_map(|(scale, minimum, quants)| scale.to_le_bytes().into_iter().chain(minimum.to_le_bytes()).chain(quants))
        .collect()
}

/// Returns `values`, whole blocks, in the format that [`eight_bits`] fits.
pub(crate) fn to_q8_0(values: &[f32]) -> Vec<u8> {
    let blocks = values.as_chunks::<BLOCK_LEN>().0.iter().map(eight_bits);
    blocks.flat_map(|(scale, quants)| scale.to_le_bytes().into_iter().chain(quants)).collect()
}
