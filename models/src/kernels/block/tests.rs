use half::f16;

use super::*;
use crate::{
    kernels::simd::{Kernel, Simd},
    matrix::Format,
};

/// Values between -1 and 1 without a pattern that blocks could hide.
fn samples(seed: usize) -> [f32; BLOCK_LEN] {
    std::array::from_fn(|at| ((at * 37 + seed * 101) as f32 * 0.7).sin())
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Quantised bytes with scale 0.25 and minimum -1.5, as far as the format has them.
fn stored(format: Format, seed: usize) -> Vec<u8> {
    let [scale, minimum] = [0.25, -1.5].map(|value| f16::from_f32(value).to_le_bytes());
    let quants = |len: usize| (0..len).map(move |at| (at * 53 + seed * 29) as u8);
    match format {
        Format::Q4_0 | Format::Iq4Nl => scale.into_iter().chain(quants(16)).collect(),
        Format::Q4_1 => scale.into_iter().chain(minimum).chain(quants(16)).collect(),
        Format::Q5_0 => scale.into_iter().chain(quants(20)).collect(),
        Format::Q5_1 => scale.into_iter().chain(minimum).chain(quants(20)).collect(),
        Format::Q8_0 => scale.into_iter().chain(quants(32)).collect(),
        // Eleven bits and six make more than half a float holds.
        Format::Q4K => [0x2e_u8, 0x2f].repeat(2).into_iter().chain(quants(140)).collect(),
        Format::Q5K => [0x2e_u8, 0x2f].repeat(2).into_iter().chain(quants(172)).collect(),
        Format::Q2K => quants(80).chain(scale).chain(minimum).collect(),
        Format::Q3K => quants(108).chain(scale).collect(),
        Format::Q6K => quants(208).chain(scale).collect(),
        Format::Bf16 => samples(seed).iter().flat_map(|value| value.to_le_bytes()[2..].to_vec()).collect(),
        Format::F16 => samples(seed).iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        Format::F32 => bytes_of(&samples(seed)),
    }
}

fn packed<B: Block>(format: Format) -> (B, Vec<[f32; BLOCK_LEN]>) {
    let mut block = B::ZERO;
    let rows = (0..LANES).map(|lane| {
        let bytes = stored(format, lane);
        let source = Source { format, bytes: &bytes, part: lane % (format.block().0.div_ceil(BLOCK_LEN)) };
        assert!(block.set(lane, source), "{format:?}: finite");
        source.values()
    });
    let rows = rows.collect();
    (block, rows)
}

struct Read<'a, B>(&'a B, &'a [f32; BLOCK_LEN]);

impl<B: Block> Kernel for Read<'_, B> {
    /// The weights, `[inputs][outputs]`, and the products.
    type Output = (Vec<[f32; LANES]>, [f32; LANES]);

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        let mut sums = [0.5; LANES];
        self.0.accumulate::<L>(&B::arrange::<L>(self.1), &mut sums);
        let scales = self.0.scales::<L>();
        ((0..BLOCK_LEN).map(|at| self.0.column::<L>(&scales, at)).collect(), sums)
    }
}

fn keeps_values_and_multiplies<B: Block>(format: Format, tolerance: f32) {
    let (block, rows) = packed::<B>(format);
    let inputs = samples(99);
    for level in Simd::all() {
        let (columns, sums) = level.run(Read(&block, &inputs));
        for (lane, row) in rows.iter().enumerate() {
            let mut expected = 0.5;
            for at in 0..BLOCK_LEN {
                let error = (columns[at][lane] - row[at]).abs();
                assert!(error <= tolerance, "{level:?} {format:?}: weight {at} of {lane} is off by {error}");
                expected += f64::from(columns[at][lane]) * f64::from(inputs[at]);
            }
            let error = (f64::from(sums[lane]) - expected).abs();
            assert!(error < 2e-4, "{level:?} {format:?}: sum {lane} is off by {error}");
        }
    }
}

#[test]
fn keeps_stored_weights_exactly() {
    keeps_values_and_multiplies::<FourBit>(Format::Q4_0, 0.0);
    keeps_values_and_multiplies::<FourBit>(Format::Q4_1, 0.0);
    for format in [Format::Q4_0, Format::Q5_0, Format::Iq4Nl, Format::Q8_0] {
        keeps_values_and_multiplies::<EightBit>(format, 0.0);
    }
    keeps_values_and_multiplies::<Brain>(Format::Bf16, 0.0);
    keeps_values_and_multiplies::<Full>(Format::F16, 0.0);
    keeps_values_and_multiplies::<Full>(Format::F32, 0.0);
    keeps_values_and_multiplies::<Full>(Format::Q4_1, 0.0);
}

/// Half a step of a range of 2: 1/15 with 4 bits, 1/254 with 8, and a little for scales of 11 bits.
#[test]
fn fits_floats_within_half_a_step() {
    keeps_values_and_multiplies::<FourBit>(Format::F32, 0.0675);
    keeps_values_and_multiplies::<EightBit>(Format::Bf16, 0.0041);
}

/// Half a step of 8 bits: a 254th of the largest weight, and a little for the scale of 11 bits.
#[test]
fn fits_super_blocks_within_half_a_step() {
    for format in [Format::Q2K, Format::Q3K, Format::Q5K, Format::Q6K, Format::Q5_1, Format::Q4K] {
        let (block, rows) = packed::<EightBit>(format);
        for (lane, row) in rows.iter().enumerate() {
            let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            assert_off_by(largest * 1.1 / 254.0, (&block, lane), row);
        }
    }
}

struct Scales<'a>(&'a FourBit);

impl Kernel for Scales<'_> {
    type Output = ([f32; LANES], [f32; LANES]);

    #[inline(always)]
    fn run<L: Level>(self) -> Self::Output {
        self.0.scales::<L>()
    }
}

/// Fifteen steps whose size is off by 2^-11, and a minimum that is.
#[test]
fn keeps_four_bit_super_blocks_within_the_rounding_of_their_scales() {
    let (block, rows) = packed::<FourBit>(Format::Q4K);
    let (scales, minima) = Simd::Portable.run(Scales(&block));
    for (lane, row) in rows.iter().enumerate() {
        let (scale, minimum) = (scales[lane], minima[lane]);
        assert_off_by((15.0 * scale - minimum) / 2048.0, (&block, lane), row);
    }
}

fn assert_off_by<B: Block>(most: f32, (block, lane): (&B, usize), row: &[f32; BLOCK_LEN]) {
    let (columns, _) = Simd::Portable.run(Read(block, row));
    let worst = row.iter().zip(columns).map(|(weight, column)| (weight - column[lane]).abs()).fold(0.0, f32::max);
    assert!((0.0..=most).contains(&worst), "weights of {lane} are off by {worst}, at most {most}");
}

fn takes<B: Block>(source: Source<'_>) -> bool {
    let mut block = B::ZERO;
    block.set(0, source)
}

#[test]
fn reports_weights_that_are_not_finite() {
    let nan = [f16::NAN.to_le_bytes(), [0; 2]].concat();
    let floats = bytes_of(&[f32::NAN; BLOCK_LEN]);
    let cases = [
        takes::<FourBit>(Source { format: Format::Q4_1, bytes: &[&nan[..], &[0; 16]].concat(), part: 0 }),
        takes::<FourBit>(Source { format: Format::F32, bytes: &floats, part: 0 }),
        takes::<EightBit>(Source { format: Format::Q8_0, bytes: &[&nan[..2], &[0; 32]].concat(), part: 0 }),
        takes::<EightBit>(Source { format: Format::F32, bytes: &floats, part: 0 }),
        takes::<Brain>(Source { format: Format::Bf16, bytes: &[0xff; 64], part: 0 }),
        takes::<Full>(Source { format: Format::F32, bytes: &floats, part: 0 }),
    ];
    assert_eq!(cases, [false; 6]);
}
