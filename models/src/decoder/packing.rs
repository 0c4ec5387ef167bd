//! Turns the blocks of a GGUF matrix into the 8-bit blocks of the operator `MatMulNBits`: `w = scale * (q - zero)`.
//!
//! GGUF's `Q4_1` stores `w = d * q + m` with a float minimum `m`. Float zero points make ONNX Runtime dequantise the
//! matrix on every call (measured: 20 to 70 times slower), and rounding `m / d` to a 4-bit integer moves a whole block by
//! up to half a step. With 8 bits there is room for a better way: for any whole `k`, `w = (d / k) * (k * q - t)` holds
//! exactly when `t = -m * k / d` is whole. Of the `k` for which `k * q` fits a byte, the one whose `t` is nearest to a
//! whole number moves the block by 0.004 of a step on average and by a 34th at most.

use crate::gguf::{Format, Matrix, half_to_f32};

/// Weights that share a scale and a zero point.
pub(super) const BLOCK_LEN: usize = 32;
/// Multipliers of a 4-bit number; 15 * 17 is the largest product that fits a byte.
const MULTIPLIERS: std::ops::RangeInclusive<u8> = 6..=17;

/// Weights of one linear layer, `[outputs, inputs]`, in blocks along the inputs.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Packed {
    /// `[outputs, inputs]`.
    pub(super) quants: Vec<u8>,
    /// `[outputs, inputs / 32]`.
    pub(super) scales: Vec<f32>,
    /// `[outputs, inputs / 32]`.
    pub(super) zeros: Vec<u8>,
}

/// One block: 32 weights `scale * (q - zero)`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    quants: [u8; BLOCK_LEN],
    scale: f32,
    zero: u8,
}

impl Packed {
    /// Appends the rows of `matrix`, whose rows are whole blocks, and returns whether all its values are finite.
    pub(super) fn append(&mut self, matrix: &Matrix<'_>) -> bool {
        let mut values = vec![0.0; matrix.row_len];
        (0..matrix.rows).all(|row| {
            let Some(bytes) = matrix.row(row) else { return false };
            match matrix.format {
                Format::Q4_1 => bytes.chunks_exact(20).all(|block| self.push(from_q4_1(block))),
                Format::Q8_0 => bytes.chunks_exact(34).all(|block| self.push(from_q8_0(block))),
                Format::F32 | Format::F16 | Format::Q4_0 => {
                    matrix.read_row(row, &mut values);
                    values.chunks_exact(BLOCK_LEN).all(|block| self.push(from_values(block)))
                }
            }
        })
    }

    fn push(&mut self, block: Block) -> bool {
        self.quants.extend(block.quants);
        self.scales.push(block.scale);
        self.zeros.push(block.zero);
        block.scale.is_finite()
    }
}

fn from_q8_0(bytes: &[u8]) -> Block {
    let mut quants = [0; BLOCK_LEN];
    for (quant, byte) in quants.iter_mut().zip(&bytes[2..]) {
        // -128..=127 -> 0..=255
        *quant = byte ^ 0x80;
    }
    Block { quants, scale: half_to_f32([bytes[0], bytes[1]]), zero: 128 }
}

fn from_q4_1(bytes: &[u8]) -> Block {
    let step = half_to_f32([bytes[0], bytes[1]]);
    let minimum = half_to_f32([bytes[2], bytes[3]]);
    let mut quants = [0; BLOCK_LEN];
    for (at, byte) in bytes[4..].iter().enumerate() {
        quants[at] = byte & 15;
        quants[at + BLOCK_LEN / 2] = byte >> 4;
    }
    let Some((multiplier, zero)) = whole_zero(step, minimum) else {
        let values = quants.map(|quant| step * f32::from(quant) + minimum);
        return from_values(&values);
    };
    Block { quants: quants.map(|quant| quant * multiplier), scale: step / f32::from(multiplier), zero }
}

/// Returns the multiplier `k` and the whole number nearest to `-minimum * k / step` for which the two differ least in
/// units of `step`; `None` where no such number fits a byte.
fn whole_zero(step: f32, minimum: f32) -> Option<(u8, u8)> {
    let mut best: Option<(f32, u8, u8)> = None;
    for multiplier in MULTIPLIERS {
        let exact = -minimum * f32::from(multiplier) / step;
        if !(-0.49..=255.49).contains(&exact) {
            continue;
        }
        let zero = exact.round();
        let error = (exact - zero).abs() / f32::from(multiplier);
        if best.is_none_or(|(least, ..)| error < least) {
            best = Some((error, multiplier, zero as u8));
        }
    }
    best.map(|(_, multiplier, zero)| (multiplier, zero))
}

/// Fits 8 bits to any values: the range from the least to the greatest, with 0 inside, in 255 steps.
fn from_values(values: &[f32]) -> Block {
    let least = values.iter().copied().fold(0.0, f32::min);
    let greatest = values.iter().copied().fold(0.0, f32::max);
    let finite = values.iter().all(|value| value.is_finite());
    let scale = if finite { (greatest - least) / 255.0 } else { f32::NAN };
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let zero = (-least * inverse).round();
    let mut quants = [0; BLOCK_LEN];
    for (quant, value) in quants.iter_mut().zip(values) {
        *quant = (value * inverse + zero).round().clamp(0.0, 255.0) as u8;
    }
    Block { quants, scale, zero: zero as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(block: &Block, at: usize) -> f32 {
        block.scale * (f32::from(block.quants[at]) - f32::from(block.zero))
    }

    fn q4_1(step: u16, minimum: u16) -> Vec<u8> {
        let quants = (0..16_u8).map(|low| low | ((15 - low) << 4));
        step.to_le_bytes().into_iter().chain(minimum.to_le_bytes()).chain(quants).collect()
    }

    #[test]
    fn moves_4_bit_blocks_by_a_34th_of_a_step_at_most() {
        // Steps around 0.01, minima down to -15 steps, as half-precision bits.
        let (mut worst, mut sum, mut count) = (0.0_f32, 0.0_f64, 0.0_f64);
        for step_bits in (0x2000_u16..0x2200).step_by(7) {
            for minimum_bits in (0x2c00_u16..0x3000).step_by(11) {
                let bytes = q4_1(step_bits, minimum_bits | 0x8000);
                let (step, minimum) = (half_to_f32([bytes[0], bytes[1]]), half_to_f32([bytes[2], bytes[3]]));
                if -minimum > 15.0 * step {
                    continue;
                }
                let block = from_q4_1(&bytes);
                let error = (value(&block, 3) - (3.0 * step + minimum)).abs() / step;
                worst = worst.max(error);
                sum += f64::from(error);
                count += 1.0;
            }
        }
        assert!(count > 1000.0, "{count} blocks");
        assert!(worst < 0.0295, "worst shift {worst} steps");
        assert!(sum / count < 0.005, "mean shift {} steps", sum / count);
    }

    #[test]
    fn keeps_blocks_whose_range_excludes_zero() {
        // Minimum +1, and minimum -1 with a step so small that every value is negative.
        for (step, minimum) in [(0x2e66_u16, 0x3c00_u16), (0x211f, 0xbc00), (0, 0xbc00), (0, 0)] {
            let bytes = q4_1(step, minimum);
            let (step, minimum) = (half_to_f32([bytes[0], bytes[1]]), half_to_f32([bytes[2], bytes[3]]));
            let block = from_q4_1(&bytes);
            for at in 0..16 {
                let expected = step * at as f32 + minimum;
                assert!((value(&block, at) - expected).abs() <= 0.006, "{step} {minimum}: {at}");
            }
        }
    }

    #[test]
    fn keeps_8_bit_blocks_exactly() {
        let bytes: Vec<u8> = 0x3c00_u16.to_le_bytes().into_iter().chain((0..32).map(|at| at * 8)).collect();
        let block = from_q8_0(&bytes);
        assert_eq!((value(&block, 1) as i32, value(&block, 16) as i32, value(&block, 31) as i32), (8, -128, -8));
    }

    #[test]
    fn reports_values_that_are_not_finite() {
        let mut packed = Packed::default();
        let data: Vec<u8> = [f32::NAN; 32].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(!packed.append(&Matrix { rows: 1, row_len: 32, format: Format::F32, data: &data }));
    }
}
