//! Scaling of 8 bit pictures with a Lanczos kernel of three lobes, equal to the last bit to what Pillow computes.
//!
//! One axis at a time and 8 bit in between. The kernel is widened where a picture shrinks. Weights are
//! rounded to 22 bits after the point, so that sums are exact and in any order the same.

use std::{array, f64::consts::PI};

/// Channels of a pixel.
const CHANNELS: usize = 3;
/// Bits of a weight after the point.
const WEIGHT_BITS: u32 = 22;
/// Half of the last bit that is kept: what makes the shift round to nearest.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);
/// Zeros of the kernel lie at the whole numbers up to this one, where it ends.
const LOBES: f64 = 3.0;
/// Values that are summed side by side, two cache lines of sums.
const LANES: usize = 32;
/// Rows that are scaled at once along their length; the kernel then runs over them as over columns.
const BAND_ROWS: usize = 32;

/// Where an output value gets its inputs from.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Returns `pixels`, rows of `width` pixels, with each row scaled to `to_width` pixels.
pub(super) fn scale_width(pixels: &[u8], width: usize, to_width: usize) -> Vec<u8> {
    let taps = taps(width, to_width);
    let (row, to_row) = (width * CHANNELS, to_width * CHANNELS);
    let mut scaled = vec![0; pixels.len() / row * to_row];
    let mut columns = vec![0; row * BAND_ROWS];
    let mut scaled_columns = vec![0; to_row * BAND_ROWS];
    for (rows, scaled_rows) in pixels.chunks(row * BAND_ROWS).zip(scaled.chunks_mut(to_row * BAND_ROWS)) {
        let (columns, _) = columns.as_chunks_mut::<BAND_ROWS>();
        for (index, row) in rows.chunks_exact(row).enumerate() {
            columns.iter_mut().zip(row).for_each(|(column, &value)| column[index] = value);
        }
        scale_rows(columns.as_flattened(), &taps, &mut scaled_columns);
        let (scaled_columns, _) = scaled_columns.as_chunks::<BAND_ROWS>();
        for (index, row) in scaled_rows.chunks_exact_mut(to_row).enumerate() {
            row.iter_mut().zip(scaled_columns).for_each(|(value, column)| *value = column[index]);
        }
    }
    scaled
}

/// Returns `pixels`, `height` rows, scaled to `to_height` rows.
pub(super) fn scale_height(pixels: &[u8], height: usize, to_height: usize) -> Vec<u8> {
    let mut scaled = vec![0; pixels.len() / height * to_height];
    scale_rows(pixels, &taps(height, to_height), &mut scaled);
    scaled
}

/// Returns the taps of every output along an axis that goes from `from` values to `to`.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let step = from as f64 / to as f64;
    let stretch = step.max(1.0);
    let reach = LOBES * stretch;
    let tap = |index: usize| {
        let centre = (index as f64 + 0.5) * step;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let weights: Vec<f64> = (first..end).map(|at| lanczos((at as f64 - centre + 0.5) / stretch)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / sum * f64::from(1 << WEIGHT_BITS)).round() as i32;
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    (0..to).map(tap).collect()
}

fn lanczos(at: f64) -> f64 {
    if (-LOBES..LOBES).contains(&at) { sinc(at) * sinc(at / LOBES) } else { 0.0 }
}

fn sinc(at: f64) -> f64 {
    if at == 0.0 { 1.0 } else { (at * PI).sin() / (at * PI) }
}

/// Writes one row for each of `taps`, a weighted sum of those rows of `source` that it names. Rows are as long in both.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the same loops for AVX2 take half the time"))]
fn scale_rows(source: &[u8], taps: &[Taps], scaled: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only thing that this function asks for beyond its safe twin.
        return unsafe { scale_rows_avx2(source, taps, scaled) };
    }
    scale_rows_portable(source, taps, scaled);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scale_rows_avx2(source: &[u8], taps: &[Taps], scaled: &mut [u8]) {
    scale_rows_portable(source, taps, scaled);
}

#[expect(clippy::inline_always, reason = "within its twin for AVX2 it must be compiled for AVX2")]
#[inline(always)]
fn scale_rows_portable(source: &[u8], taps: &[Taps], scaled: &mut [u8]) {
    let row = scaled.len() / taps.len();
    for (taps, scaled) in taps.iter().zip(scaled.chunks_exact_mut(row)) {
        let rows = &source[taps.first * row..];
        let (blocks, rest) = scaled.as_chunks_mut::<LANES>();
        let rest_at = blocks.len() * LANES;
        for (index, block) in blocks.iter_mut().enumerate() {
            weigh(&rows[index * LANES..], row, &taps.weights, block);
        }
        for (index, value) in rest.iter_mut().enumerate() {
            weigh(&rows[rest_at + index..], row, &taps.weights, array::from_mut(value));
        }
    }
}

/// Writes the weighted sums of the first `N` values of every row of `rows`, which are `row` values apart.
///
/// Sums wrap instead of being checked, which would keep them from being computed side by side. They stay below 2^31: weights
/// sum to 2^22, their magnitudes to less than 1.5 times that, and values end at 255.
#[expect(clippy::inline_always, reason = "as its caller")]
#[inline(always)]
fn weigh<const N: usize>(rows: &[u8], row: usize, weights: &[i32], scaled: &mut [u8; N]) {
    let mut sums = [HALF; N];
    for (index, &weight) in weights.iter().enumerate() {
        let values = rows[index * row..].first_chunk::<N>().expect("a row has as many values as its output");
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(value)));
        }
    }
    for (value, sum) in scaled.iter_mut().zip(sums) {
        *value = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
}
