//! Half-precision floats, without an instruction for them.

use super::LANES;

/// Returns the values of finite half-precision floats.
#[inline(always)]
pub(super) fn to_floats(halves: &[u16; LANES]) -> [f32; LANES] {
    let mut floats = [0.0; LANES];
    for lane in 0..LANES {
        floats[lane] = to_float(halves[lane]);
    }
    floats
}

/// Returns the value of a finite half-precision float: its exponent is rebased by a multiplication, which also makes
/// subnormal numbers right. Unlike a library call, this becomes vector instructions.
#[inline(always)]
fn to_float(bits: u16) -> f32 {
    // 2^(127 - 15)
    const REBASE: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(bits);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * REBASE;
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) << 16))
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::{
        super::{Kernel, Level, Simd},
        *,
    };

    struct Floats<'a>(&'a [u16; LANES]);

    impl Kernel for Floats<'_> {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<L: Level>(self) -> [f32; LANES] {
            L::floats(self.0)
        }
    }

    #[test]
    fn every_level_reads_every_finite_half() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00).collect();
        for level in Simd::all() {
            for halves in all.as_chunks().0 {
                for (bits, float) in halves.iter().zip(level.run(Floats(halves))) {
                    assert!(f16::from_bits(*bits).to_f32().total_cmp(&float).is_eq(), "{level:?}: {bits:04x}");
                }
            }
        }
    }
}
