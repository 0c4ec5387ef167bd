//! Products of signed 16-bit numbers, two to a word, of tiles of rows with panels.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_load_si256,
    _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_store_ps, _mm512_add_epi32, _mm512_cvtepi32_ps,
    _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_load_ps, _mm512_madd_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_store_ps,
};

use super::{LANES, Lanes, Words, load};

/// Lanes of a register of AVX2.
const HALF: usize = LANES / 2;

/// Defines a product in registers of 16 lanes for machines with `$features`, which `$add` needs: a sum and, lane by lane, the
/// products of two pairs. A macro, as no function that takes `$add` would be compiled with its features.
macro_rules! mix_in_16_lanes {
    ($name:ident, $features:literal, |$sum:ident, $inputs:ident, $weights:ident| $add:expr) => {
        #[target_feature(enable = $features)]
        #[inline]
        pub(super) fn $name<const ROWS: usize, const GROUPS: usize>(
            (rows, panel): (&[[u32; ROWS]], &[[Words; GROUPS]]),
            factors: &[Lanes; GROUPS],
            sums: &mut [[Lanes; GROUPS]; ROWS],
        ) {
            let mut products = [[_mm512_setzero_si512(); GROUPS]; ROWS];
            for (inputs, weights) in rows.iter().zip(panel) {
                let columns = weights.each_ref().map(|words| load(words));
                for row in 0..ROWS {
                    let $inputs = _mm512_set1_epi32(inputs[row].cast_signed());
                    for group in 0..GROUPS {
                        let ($sum, $weights) = (products[row][group], columns[group]);
                        products[row][group] = $add;
                    }
                }
            }
            finish(&products, factors, sums);
        }
    };
}

mix_in_16_lanes!(mix_vnni, "avx512f,avx512vnni", |sum, inputs, weights| _mm512_dpwssd_epi32(sum, inputs, weights));
mix_in_16_lanes!(mix_wide, "avx512f,avx512bw", |sum, inputs, weights| _mm512_add_epi32(
    sum,
    _mm512_madd_epi16(inputs, weights)
));

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "moves vectors through pointers")]
fn finish<const ROWS: usize, const GROUPS: usize>(
    products: &[[__m512i; GROUPS]; ROWS],
    factors: &[Lanes; GROUPS],
    sums: &mut [[Lanes; GROUPS]; ROWS],
) {
    // SAFETY: `Lanes` is 64 bytes, aligned to 64.
    let floats = |lanes: &Lanes| unsafe { _mm512_load_ps(lanes.0.as_ptr()) };
    for row in 0..ROWS {
        for group in 0..GROUPS {
            let place = &mut sums[row][group];
            let products = _mm512_cvtepi32_ps(products[row][group]);
            let sum = _mm512_fmadd_ps(floats(place), floats(&factors[group]), products);
            // SAFETY: as above.
            unsafe { _mm512_store_ps(place.0.as_mut_ptr(), sum) };
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn mix<const ROWS: usize, const GROUPS: usize>(
    (rows, panel): (&[[u32; ROWS]], &[[Words; GROUPS]]),
    factors: &[Lanes; GROUPS],
    sums: &mut [[Lanes; GROUPS]; ROWS],
) {
    /// Rows whose sums, of two groups, fill half of the registers.
    const PART: usize = 2;
    const { assert!(ROWS.is_multiple_of(PART), "whole parts") };
    for first in (0..ROWS).step_by(PART) {
        let mut products = [[[_mm256_setzero_si256(); 2]; GROUPS]; PART];
        for (inputs, weights) in rows.iter().zip(panel) {
            let columns = weights.each_ref().map(|words| halves(words));
            for row in 0..PART {
                let inputs = _mm256_set1_epi32(inputs[first + row].cast_signed());
                for group in 0..GROUPS {
                    for half in 0..2 {
                        let pairs = _mm256_madd_epi16(inputs, columns[group][half]);
                        products[row][group][half] = _mm256_add_epi32(products[row][group][half], pairs);
                    }
                }
            }
        }
        for row in 0..PART {
            for group in 0..GROUPS {
                finish_halves(products[row][group], &factors[group], &mut sums[first + row][group]);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "loads vectors through pointers")]
fn halves(words: &Words) -> [__m256i; 2] {
    // SAFETY: each half is 32 bytes, aligned to 32 as the whole is to 64.
    [0, HALF].map(|first| unsafe { _mm256_load_si256(words.0[first..].as_ptr().cast()) })
}

#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(unsafe_code, reason = "moves vectors through pointers")]
fn finish_halves(products: [__m256i; 2], factors: &Lanes, sums: &mut Lanes) {
    // SAFETY: as above.
    let floats = |lanes: &Lanes, first: usize| unsafe { _mm256_load_ps(lanes.0[first..].as_ptr()) };
    for (products, first) in products.into_iter().zip([0, HALF]) {
        let sum = _mm256_fmadd_ps(floats(sums, first), floats(factors, first), _mm256_cvtepi32_ps(products));
        // SAFETY: as above.
        unsafe { _mm256_store_ps(sums.0[first..].as_mut_ptr(), sum) };
    }
}
