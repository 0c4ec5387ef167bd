//! Compiles kernels for the widest vector instructions that the processor has.
//!
//! A kernel is plain Rust over [`Lanes`]. Each level below is a function compiled with its instructions, into which the kernel
//! is inlined; the compiler turns loops over lanes into vector instructions there.

mod halves;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::rounding::ROUND;

use portable::{Portable, byte_products, finish_row, fixed_products, pair_products, word_tile};

/// Floats that are computed together, on every processor: one, two or four vector registers.
pub(crate) const LANES: usize = 16;

/// Sixteen floats, aligned so that no vector load crosses a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);
}

/// Sixteen 32-bit words, aligned as [`Lanes`].
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Words(pub(crate) [u32; LANES]);

/// Thirty-two inputs in fixed point: `scale * (part 0 * 2^16 + part 1 * 2^8 + part 2)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    /// Signed bytes; byte `i` of word `j` belongs to input `4 j + i`.
    pub(crate) parts: [[u32; 8]; 3],
    pub(crate) scale: f32,
}

/// Thirty-two inputs of each of several rows, rounded: the value of byte `b` is `scale * (b - 128)`.
#[derive(Debug, Clone)]
pub(crate) struct RowBlock<const ROWS: usize> {
    /// Byte `i` of word `j` belongs to input `4 j + i`.
    pub(crate) words: [[u32; ROWS]; 8],
    pub(crate) scales: [f32; ROWS],
    /// Sums of the inputs before rounding.
    pub(crate) sums: [f32; ROWS],
}

/// Thirty-two weights of each of several outputs: the value of signed byte `q` is `scale * q + minimum`.
#[derive(Debug, Clone)]
pub(crate) struct PanelBlock<const GROUPS: usize> {
    /// Byte `i` of word `j` of an output belongs to input `4 j + i`.
    pub(crate) words: [[Words; GROUPS]; 8],
    pub(crate) scales: [Lanes; GROUPS],
    pub(crate) minima: [Lanes; GROUPS],
    /// For each output, -128 times the sum of its bytes: takes the 128 out of sums of products.
    pub(crate) starts: [[i32; LANES]; GROUPS],
}

/// Work that is compiled once for every level. Implementations mark `run` as `#[inline(always)]`: what is not inlined is
/// compiled without the level's instructions.
pub(crate) trait Kernel {
    /// What the work returns.
    type Output;

    /// Does the work.
    fn run<L: Level>(self) -> Self::Output;
}

/// What kernels need to know about the instructions that they are compiled for.
pub(crate) trait Level: Sized {
    /// Whether registers hold 16 floats and there are 32 of them.
    const WIDE: bool;

    /// Whether [`Self::byte_products`] and [`Self::nibble_products`] are faster than floats.
    const BYTES: bool = false;

    /// Returns `a * b + c`, rounded once where the processor can.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;

    /// Returns the values of finite half-precision floats, given as bits.
    #[inline(always)]
    fn floats(halves: &[u16; LANES]) -> [f32; LANES] {
        halves::to_floats(halves)
    }

    /// Asks for the memory of `value`, which is read soon.
    #[inline(always)]
    fn prefetch<T>(value: &T) {
        _ = value;
    }

    /// Returns for each lane the sum of the products of 32 unsigned bytes with `inputs`, in units of their scale. Byte `i` of
    /// word `j` of a lane goes with input `4 j + i`.
    #[inline(always)]
    fn byte_products(weights: &[Words; 8], inputs: &Fixed) -> [f32; LANES] {
        std::array::from_fn(|lane| fixed_products(weights.map(|words| words.0[lane]), inputs))
    }

    /// As [`Self::byte_products`] with numbers of 4 bits: the lower half of byte `i` of word `j` goes with input `4 j + i`, the
    /// upper half with input `4 j + i + 16`.
    #[inline(always)]
    fn nibble_products(weights: &[Words; 4], inputs: &Fixed) -> [f32; LANES] {
        std::array::from_fn(|lane| {
            let halves = |at: usize| (weights[at % 4].0[lane] >> (4 * (at / 4))) & 0x0f0f_0f0f;
            fixed_products(std::array::from_fn(halves), inputs)
        })
    }

    /// Returns for each row and output the sum of products of unsigned bytes of `rows` with signed bytes of `panel`. An entry of
    /// either holds four inputs. `[rows, groups of 16 outputs]`.
    #[inline(always)]
    fn byte_tile<const ROWS: usize, const GROUPS: usize>(
        rows: &[[u32; ROWS]],
        panel: &[[Words; GROUPS]],
    ) -> [[[i32; LANES]; GROUPS]; ROWS] {
        word_tile(rows, panel, byte_products)
    }

    /// Sets `sums` to `sums * factors + products`: for each row and output, products of signed 16-bit halves of `rows` and `panel`.
    /// An entry of either holds two inputs. Products of a row and an output do not add up to more than 32 bits hold.
    #[inline(always)]
    fn mix_pairs<const ROWS: usize, const GROUPS: usize>(
        (rows, panel): (&[[u32; ROWS]], &[[Words; GROUPS]]),
        factors: &[Lanes; GROUPS],
        sums: &mut [[Lanes; GROUPS]; ROWS],
    ) {
        let products = word_tile(rows, panel, pair_products);
        for row in 0..ROWS {
            for group in 0..GROUPS {
                for lane in 0..LANES {
                    let sum = &mut sums[row][group].0[lane];
                    *sum = Self::mul_add(*sum, factors[group].0[lane], products[row][group][lane] as f32);
                }
            }
        }
    }

    /// Adds the products of `rows` with `panel` to `sums`; `MINIMA` says whether there are minima.
    #[inline(always)]
    fn add_block<const ROWS: usize, const GROUPS: usize, const MINIMA: bool>(
        rows: &RowBlock<ROWS>,
        panel: &PanelBlock<GROUPS>,
        sums: &mut [[Lanes; GROUPS]; ROWS],
    ) {
        let products = Self::byte_tile(&rows.words, &panel.words);
        for row in 0..ROWS {
            let (scale, sum) = (rows.scales[row], if MINIMA { rows.sums[row] } else { 0.0 });
            finish_row::<Self, GROUPS>(&products[row], (scale, sum), panel, &mut sums[row]);
        }
    }

    /// Returns the least and the greatest of `values`.
    #[inline(always)]
    fn extremes(values: &[f32]) -> (f32, f32) {
        let (low, high) = (f32::INFINITY, f32::NEG_INFINITY);
        values.iter().fold((low, high), |(low, high), value| (low.min(*value), high.max(*value)))
    }

    /// Returns the lowest bytes of the whole numbers nearest to `(value - low) * factor`, four to a word. The numbers are small.
    #[inline(always)]
    fn to_bytes(values: &[f32; LANES], low: f32, factor: f32) -> [u32; LANES / 4] {
        let byte = |at: usize| ((values[at] - low) * factor + ROUND).to_bits() as u8;
        std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|at| byte(4 * word + at))))
    }
}

/// A set of instructions that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Simd {
    /// 512-bit registers and products of bytes.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit registers and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of this architecture has.
    Portable,
}

impl Simd {
    /// Returns the best level of this processor.
    pub(crate) fn detect() -> Self {
        Self::all().into_iter().next().unwrap_or(Self::Portable)
    }

    /// Returns the levels of this processor, best first.
    pub(crate) fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86 has several levels"))]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if fused {
                levels.insert(0, Self::Avx2);
            }
            if fused && wide {
                levels.insert(0, Self::Avx512);
            }
            if fused && wide && is_x86_feature_detected!("avx512vnni") {
                levels.insert(0, Self::Vnni);
            }
        }
        levels
    }

    /// Runs `kernel` with the instructions of this level.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "calls functions that need instructions not every x86 has")
    )]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            // SAFETY: as below.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => unsafe { x86::run_vnni(kernel) },
            // SAFETY: values of this variant come from `all` alone, which makes one only after it has found these features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            Self::Portable => kernel.run::<Portable>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [f32]);

    impl Kernel for Sum<'_> {
        type Output = f32;

        #[inline(always)]
        fn run<L: Level>(self) -> f32 {
            self.0.iter().fold(1.0, |sum, &value| L::mul_add(value, 2.0, sum))
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let values: Vec<f32> = (0..100_u8).map(f32::from).collect();
        for level in Simd::all() {
            let sum = level.run(Sum(&values));
            assert!((sum - 9901.0).abs() < f32::EPSILON, "{level:?}: {sum}");
        }
        assert_eq!(Simd::detect(), Simd::all()[0]);
    }
}
