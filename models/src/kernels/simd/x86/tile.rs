//! Products of tiles of rows with panels of weights.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_madd_epi16, _mm256_setzero_si256, _mm256_storeu_si256, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_load_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_store_ps, _mm512_storeu_si512,
};

use super::{LANES, Lanes, PanelBlock, RowBlock, Words, load};

/// As `byte_tile`, by products of 16-bit words, which AVX2 has: those of bytes would not be exact there.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn word_tile<const ROWS: usize, const GROUPS: usize>(
    rows: &[[u32; ROWS]],
    panel: &[[Words; GROUPS]],
) -> [[[i32; LANES]; GROUPS]; ROWS] {
    /// Rows whose sums fit the registers.
    const PART: usize = 2;
    const { assert!(ROWS.is_multiple_of(PART), "whole parts") };
    let mut sums = [[[0; LANES]; GROUPS]; ROWS];
    for first in (0..ROWS).step_by(PART) {
        for group in 0..GROUPS {
            let mut pairs = [[_mm256_setzero_si256(); LANES / 4]; PART];
            for (inputs, weights) in rows.iter().zip(panel) {
                let columns = signed_words(&weights[group]);
                for row in 0..PART {
                    let bytes = _mm_set1_epi32(inputs[first + row].cast_signed());
                    let inputs = _mm256_cvtepu8_epi16(bytes);
                    for four in 0..LANES / 4 {
                        let products = _mm256_madd_epi16(inputs, columns[four]);
                        pairs[row][four] = _mm256_add_epi32(pairs[row][four], products);
                    }
                }
            }
            for row in 0..PART {
                sums[first + row][group] = sums_of_pairs(pairs[row]);
            }
        }
    }
    sums
}

/// Returns the bytes of four lanes at a time as 16-bit words.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "loads vectors through pointers")]
fn signed_words(words: &Words) -> [__m256i; LANES / 4] {
    let mut columns = [_mm256_setzero_si256(); LANES / 4];
    for (four, column) in words.0.as_chunks::<4>().0.iter().zip(&mut columns) {
        // SAFETY: `four` is 16 bytes; the load needs no alignment.
        *column = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(four.as_ptr().cast()) });
    }
    columns
}

/// Adds up the two neighbours that belong to each lane.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "stores vectors through pointers")]
fn sums_of_pairs(pairs: [__m256i; LANES / 4]) -> [i32; LANES] {
    let mut halves = [[0; 8]; LANES / 4];
    for (halves, pairs) in halves.iter_mut().zip(pairs) {
        // SAFETY: `halves` is 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), pairs) };
    }
    let pairs = halves.as_flattened();
    std::array::from_fn(|lane| pairs[2 * lane] + pairs[2 * lane + 1])
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "stores vectors through pointers")]
pub(super) fn byte_tile<const ROWS: usize, const GROUPS: usize>(
    rows: &[[u32; ROWS]],
    panel: &[[Words; GROUPS]],
) -> [[[i32; LANES]; GROUPS]; ROWS] {
    let mut sums = [[_mm512_setzero_si512(); GROUPS]; ROWS];
    for (inputs, weights) in rows.iter().zip(panel) {
        let mut columns = [_mm512_setzero_si512(); GROUPS];
        for group in 0..GROUPS {
            columns[group] = load(&weights[group]);
        }
        for row in 0..ROWS {
            let inputs = _mm512_set1_epi32(inputs[row].cast_signed());
            for group in 0..GROUPS {
                sums[row][group] = _mm512_dpbusd_epi32(sums[row][group], inputs, columns[group]);
            }
        }
    }
    let mut totals = [[[0; LANES]; GROUPS]; ROWS];
    for (totals, sums) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        // SAFETY: `totals` is 64 bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(totals.as_mut_ptr().cast(), *sums) };
    }
    totals
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "moves vectors through pointers")]
pub(super) fn add_block<const ROWS: usize, const GROUPS: usize, const MINIMA: bool>(
    rows: &RowBlock<ROWS>,
    panel: &PanelBlock<GROUPS>,
    sums: &mut [[Lanes; GROUPS]; ROWS],
) {
    // SAFETY: `starts` are 64 bytes each; the load needs no alignment.
    let starts = panel.starts.each_ref().map(|starts| unsafe { _mm512_loadu_si512(starts.as_ptr().cast()) });
    let mut products = [starts; ROWS];
    for (inputs, weights) in rows.words.iter().zip(&panel.words) {
        let columns = weights.each_ref().map(|words| load(words));
        for row in 0..ROWS {
            let inputs = _mm512_set1_epi32(inputs[row].cast_signed());
            for group in 0..GROUPS {
                products[row][group] = _mm512_dpbusd_epi32(products[row][group], inputs, columns[group]);
            }
        }
    }
    // SAFETY: `Lanes` is 64 bytes, aligned to 64.
    let floats = |lanes: &Lanes| unsafe { _mm512_load_ps(lanes.0.as_ptr()) };
    for row in 0..ROWS {
        let (scale, input_sum) = (_mm512_set1_ps(rows.scales[row]), _mm512_set1_ps(rows.sums[row]));
        for group in 0..GROUPS {
            let place = &mut sums[row][group];
            let scale = _mm512_mul_ps(floats(&panel.scales[group]), scale);
            let mut sum = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(products[row][group]), floats(place));
            if MINIMA {
                sum = _mm512_fmadd_ps(floats(&panel.minima[group]), input_sum, sum);
            }
            // SAFETY: as above.
            unsafe { _mm512_store_ps(place.0.as_mut_ptr(), sum) };
        }
    }
}
