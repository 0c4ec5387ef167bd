use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_si512,
    _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_max_ps, _mm512_reduce_min_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_srli_epi32, _mm512_store_ps, _mm512_sub_ps,
};

mod pairs;
mod tile;

use super::{Fixed, Kernel, LANES, Lanes, Level, PanelBlock, RowBlock, Words};

/// Fused multiply-add in registers of 8 or, `WIDE`, 16 floats.
struct Fused<const WIDE: bool>;

impl<const WIDE: bool> Level for Fused<WIDE> {
    const WIDE: bool = WIDE;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        prefetch(value);
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn byte_tile<const ROWS: usize, const GROUPS: usize>(
        rows: &[[u32; ROWS]],
        panel: &[[Words; GROUPS]],
    ) -> [[[i32; LANES]; GROUPS]; ROWS] {
        // SAFETY: this level is private to this module, where only `run_avx2` and `run_avx512` name it, and both need AVX2.
        unsafe { tile::word_tile(rows, panel) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls functions that need instructions not every x86 has")]
    fn mix_pairs<const ROWS: usize, const GROUPS: usize>(
        pairs: (&[[u32; ROWS]], &[[Words; GROUPS]]),
        factors: &[Lanes; GROUPS],
        sums: &mut [[Lanes; GROUPS]; ROWS],
    ) {
        if WIDE {
            // SAFETY: as above; `run_avx512` alone names this level with `WIDE`.
            unsafe { pairs::mix_wide(pairs, factors, sums) }
        } else {
            // SAFETY: as above.
            unsafe { pairs::mix(pairs, factors, sums) }
        }
    }
}

/// As `Fused<true>`, with products of bytes.
struct Vnni;

impl Level for Vnni {
    const WIDE: bool = true;
    const BYTES: bool = true;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn floats(halves: &[u16; LANES]) -> [f32; LANES] {
        // SAFETY: this level is private to this module, where only `run_vnni` names it, and that needs the same instructions.
        unsafe { floats(halves) }
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        prefetch(value);
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn byte_products(weights: &[Words; 8], inputs: &Fixed) -> [f32; LANES] {
        // SAFETY: as above.
        unsafe { byte_products(weights, inputs) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn nibble_products(weights: &[Words; 4], inputs: &Fixed) -> [f32; LANES] {
        // SAFETY: as above.
        unsafe { nibble_products(weights, inputs) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn byte_tile<const ROWS: usize, const GROUPS: usize>(
        rows: &[[u32; ROWS]],
        panel: &[[Words; GROUPS]],
    ) -> [[[i32; LANES]; GROUPS]; ROWS] {
        // SAFETY: as above.
        unsafe { tile::byte_tile(rows, panel) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn mix_pairs<const ROWS: usize, const GROUPS: usize>(
        pairs: (&[[u32; ROWS]], &[[Words; GROUPS]]),
        factors: &[Lanes; GROUPS],
        sums: &mut [[Lanes; GROUPS]; ROWS],
    ) {
        // SAFETY: as above.
        unsafe { pairs::mix_vnni(pairs, factors, sums) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn add_block<const ROWS: usize, const GROUPS: usize, const MINIMA: bool>(
        rows: &RowBlock<ROWS>,
        panel: &PanelBlock<GROUPS>,
        sums: &mut [[Lanes; GROUPS]; ROWS],
    ) {
        // SAFETY: as above.
        unsafe { tile::add_block::<ROWS, GROUPS, MINIMA>(rows, panel, sums) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn extremes(values: &[f32]) -> (f32, f32) {
        // SAFETY: as above.
        unsafe { extremes(values) }
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "calls a function that needs instructions not every x86 has")]
    fn to_bytes(values: &[f32; LANES], low: f32, factor: f32) -> [u32; LANES / 4] {
        // SAFETY: as above.
        unsafe { to_bytes(values, low, factor) }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "moves vectors through pointers")]
fn floats(halves: &[u16; LANES]) -> [f32; LANES] {
    let mut floats = Lanes::ZERO;
    // SAFETY: `halves` is 32 bytes, and the load needs no alignment; `Lanes` is 64 bytes, aligned to 64.
    unsafe {
        let halves = _mm256_loadu_si256(halves.as_ptr().cast());
        _mm512_store_ps(floats.0.as_mut_ptr(), _mm512_cvtph_ps(halves));
    }
    floats.0
}

/// Asks for all lines of `value`.
#[inline(always)]
#[expect(unsafe_code, reason = "names addresses")]
fn prefetch<T>(value: &T) {
    const LINE: usize = 64;
    for line in 0..size_of::<T>() / LINE {
        // SAFETY: the address lies within `value`; every x86 processor of 64 bits has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().add(line * LINE)) };
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "loads vectors through pointers")]
fn extremes(values: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = (_mm512_set1_ps(f32::INFINITY), _mm512_set1_ps(f32::NEG_INFINITY));
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        // SAFETY: `chunk` is 64 bytes; the load needs no alignment.
        let chunk = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        (low, high) = (_mm512_min_ps(low, chunk), _mm512_max_ps(high, chunk));
    }
    let low = rest.iter().copied().fold(_mm512_reduce_min_ps(low), f32::min);
    (low, rest.iter().copied().fold(_mm512_reduce_max_ps(high), f32::max))
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "moves vectors through pointers")]
fn to_bytes(values: &[f32; LANES], low: f32, factor: f32) -> [u32; LANES / 4] {
    // SAFETY: `values` is 64 bytes; the load needs no alignment.
    let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
    let steps = _mm512_mul_ps(_mm512_sub_ps(values, _mm512_set1_ps(low)), _mm512_set1_ps(factor));
    let mut words = [0; LANES / 4];
    // SAFETY: `words` is 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(steps))) };
    words
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn byte_products(weights: &[Words; 8], inputs: &Fixed) -> [f32; LANES] {
    let mut sums = [_mm512_setzero_si512(); 3];
    for (word, weights) in weights.iter().enumerate() {
        add_products(&mut sums, load(weights), inputs.parts.map(|part| part[word]));
    }
    total(sums)
}

#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn nibble_products(weights: &[Words; 4], inputs: &Fixed) -> [f32; LANES] {
    let mut sums = [_mm512_setzero_si512(); 3];
    let lower_halves = _mm512_set1_epi32(0x0f0f_0f0f);
    for (word, weights) in weights.iter().enumerate() {
        let weights = load(weights);
        let lower = _mm512_and_si512(weights, lower_halves);
        let upper = _mm512_and_si512(_mm512_srli_epi32::<4>(weights), lower_halves);
        add_products(&mut sums, lower, inputs.parts.map(|part| part[word]));
        add_products(&mut sums, upper, inputs.parts.map(|part| part[word + 4]));
    }
    total(sums)
}

/// Adds the products of four bytes a lane with four inputs, for each part of the inputs.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn add_products(sums: &mut [__m512i; 3], weights: __m512i, inputs: [u32; 3]) {
    for (sum, inputs) in sums.iter_mut().zip(inputs) {
        *sum = _mm512_dpbusd_epi32(*sum, weights, _mm512_set1_epi32(inputs.cast_signed()));
    }
}

/// Puts the sums of the three parts together.
#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "stores a vector through a pointer")]
fn total(sums: [__m512i; 3]) -> [f32; LANES] {
    let [high, middle, low] = sums.map(|sum| _mm512_cvtepi32_ps(sum));
    let step = _mm512_set1_ps(256.0);
    let total = _mm512_fmadd_ps(_mm512_fmadd_ps(high, step, middle), step, low);
    let mut lanes = Lanes::ZERO;
    // SAFETY: `Lanes` is 64 bytes, aligned to 64.
    unsafe { _mm512_store_ps(lanes.0.as_mut_ptr(), total) };
    lanes.0
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "loads a vector through a pointer")]
fn load(words: &Words) -> __m512i {
    // SAFETY: `Words` is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(words.0.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn run_vnni<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Vnni>()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused<true>>()
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused<false>>()
}
