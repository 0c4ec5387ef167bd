//! What every processor can do, in plain Rust.

use super::{Fixed, LANES, Lanes, Level, PanelBlock, Words};

/// What every processor of this architecture has.
pub(super) struct Portable;

impl Level for Portable {
    const WIDE: bool = false;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        // Without the instruction, `mul_add` is a slow library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
    }
}

/// Adds the products of one row of bytes, of that scale and sum, to `sums`.
#[inline(always)]
pub(super) fn finish_row<L: Level, const GROUPS: usize>(
    products: &[[i32; LANES]; GROUPS],
    (scale, sum): (f32, f32),
    panel: &PanelBlock<GROUPS>,
    sums: &mut [Lanes; GROUPS],
) {
    for group in 0..GROUPS {
        for lane in 0..LANES {
            let product = (products[group][lane] + panel.starts[group][lane]) as f32;
            let place = &mut sums[group].0[lane];
            *place = L::mul_add(panel.scales[group].0[lane] * scale, product, *place);
            *place = L::mul_add(panel.minima[group].0[lane], sum, *place);
        }
    }
}

/// Returns for each row and output the sum over entries of what `product` returns for their words.
#[inline(always)]
pub(super) fn word_tile<const ROWS: usize, const GROUPS: usize>(
    rows: &[[u32; ROWS]],
    panel: &[[Words; GROUPS]],
    product: impl Fn(u32, u32) -> i32,
) -> [[[i32; LANES]; GROUPS]; ROWS] {
    let mut sums = [[[0_i32; LANES]; GROUPS]; ROWS];
    for (inputs, weights) in rows.iter().zip(panel) {
        for row in 0..ROWS {
            for group in 0..GROUPS {
                for lane in 0..LANES {
                    let sum = &mut sums[row][group][lane];
                    // A check in each lane would keep this loop from becoming vector instructions.
                    *sum = sum.wrapping_add(product(inputs[row], weights[group].0[lane]));
                }
            }
        }
    }
    sums
}

/// Returns the sum of products of two signed 16-bit halves.
#[inline(always)]
pub(super) fn pair_products(a: u32, b: u32) -> i32 {
    let half = |word: u32| i32::from(word as i16);
    (half(a) * half(b)).wrapping_add(half(a >> 16) * half(b >> 16))
}

/// Returns the sum of products of four unsigned bytes with four signed ones.
#[inline(always)]
pub(super) fn byte_products(unsigned: u32, signed: u32) -> i32 {
    let pairs = unsigned.to_le_bytes().into_iter().zip(signed.to_le_bytes());
    pairs.map(|(unsigned, signed)| i32::from(unsigned) * i32::from(signed.cast_signed())).sum()
}

pub(super) fn fixed_products(weights: [u32; 8], inputs: &Fixed) -> f32 {
    let [high, middle, low] = inputs.parts.map(|part| {
        let words = weights.into_iter().zip(part).map(|(weights, inputs)| {
            let bytes = weights.to_le_bytes().into_iter().zip(inputs.to_le_bytes());
            bytes.map(|(weight, input)| i32::from(weight) * i32::from(input.cast_signed())).sum::<i32>()
        });
        words.sum::<i32>() as f32
    });
    (high * 256.0 + middle) * 256.0 + low
}
