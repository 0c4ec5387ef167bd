//! Weights in 4 and 8 bits.

use half::f16;

use super::{BLOCK_LEN, Block, Inputs, LANES, Level, Quantized, Source, Words};
use crate::matrix::{Format, FourBitPart, fit, q4_k_part};

/// Weights `scale * q + minimum`, `q` of 4 bits.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct FourBit {
    /// Word `j` of an output holds `q` of inputs `4 j + i` (lower half of byte `i`) and `4 j + i + 16` (upper half).
    quants: [Words; 4],
    scales: [u16; LANES],
    minima: [u16; LANES],
}

impl FourBit {
    /// Returns the input whose weight is at bits `4 nibble ..` of word `word`.
    const fn input_at(word: usize, nibble: usize) -> usize {
        4 * word + nibble / 2 + 16 * (nibble % 2)
    }
}

impl Block for FourBit {
    /// Scales and minima.
    type Scales = ([f32; LANES], [f32; LANES]);

    const ZERO: Self = Self { quants: [Words([0; LANES]); 4], scales: [0; LANES], minima: [0; LANES] };

    fn set(&mut self, lane: usize, source: Source<'_>) -> bool {
        let half = |at: usize| f16::from_le_bytes([source.bytes[at], source.bytes[at + 1]]);
        let fitted;
        let (scale, minimum, quants) = match source.format {
            Format::Q4_1 => (half(0), half(2), &source.bytes[4..]),
            Format::Q4_0 => (half(0), f16::from_f32(-8.0 * half(0).to_f32()), &source.bytes[2..]),
            Format::Q4K => {
                let FourBitPart { scale, minimum, quants } = q4_k_part(source.bytes, source.part);
                fitted = (f16::from_f32(scale), f16::from_f32(minimum), fit::packed(&quants));
                (fitted.0, fitted.1, &fitted.2[..])
            }
            _ => {
                fitted = fit::four_bits(&source.values());
                (fitted.0, fitted.1, &fitted.2[..])
            }
        };
        for (words, bytes) in self.quants.iter_mut().zip(quants.as_chunks::<4>().0) {
            words.0[lane] = u32::from_le_bytes(*bytes);
        }
        (self.scales[lane], self.minima[lane]) = (scale.to_bits(), minimum.to_bits());
        scale.is_finite() && minimum.is_finite()
    }

    #[inline(always)]
    fn arrange<L: Level>(inputs: &[f32; BLOCK_LEN]) -> Inputs {
        if L::BYTES {
            return Inputs::fixed(inputs);
        }
        let mut values = [0.0; BLOCK_LEN];
        for (at, value) in values.iter_mut().enumerate() {
            let (word, nibble) = (at / 8, at % 8);
            // All but the top nibble are used where they lie, 4 bits higher each. Powers of two round nothing.
            let factor = if nibble < 7 { 1.0 / (1_u32 << (4 * nibble)) as f32 } else { 1.0 };
            *value = inputs[Self::input_at(word, nibble)] * factor;
        }
        Inputs::floats(values, inputs)
    }

    #[inline(always)]
    fn accumulate<L: Level>(&self, inputs: &Inputs, sums: &mut [f32; LANES]) {
        let (scales, minima) = self.scales::<L>();
        if L::BYTES {
            let totals = L::nibble_products(&self.quants, &inputs.fixed);
            for lane in 0..LANES {
                let total = totals[lane] * inputs.fixed.scale;
                sums[lane] = L::mul_add(scales[lane], total, sums[lane]);
                sums[lane] = L::mul_add(minima[lane], inputs.sum, sums[lane]);
            }
            return;
        }
        let mut parts = [[0.0; LANES]; 4];
        for word in 0..4 {
            for nibble in 0..8 {
                let input = inputs.values[8 * word + nibble];
                let part = &mut parts[nibble % 4];
                for lane in 0..LANES {
                    let bits = self.quants[word].0[lane];
                    let quant = if nibble < 7 { bits & (15 << (4 * nibble)) } else { bits >> 28 };
                    part[lane] = L::mul_add(quant.cast_signed() as f32, input, part[lane]);
                }
            }
        }
        for lane in 0..LANES {
            let total = (parts[0][lane] + parts[1][lane]) + (parts[2][lane] + parts[3][lane]);
            sums[lane] = L::mul_add(scales[lane], total, sums[lane]);
            sums[lane] = L::mul_add(minima[lane], inputs.sum, sums[lane]);
        }
    }

    #[inline(always)]
    fn scales<L: Level>(&self) -> Self::Scales {
        (L::floats(&self.scales), L::floats(&self.minima))
    }

    #[inline(always)]
    fn column<L: Level>(&self, (scales, minima): &Self::Scales, at: usize) -> [f32; LANES] {
        let (word, shift) = (at % 16 / 4, 8 * (at % 4) + 4 * (at / 16));
        let mut column = [0.0; LANES];
        for lane in 0..LANES {
            let quant = ((self.quants[word].0[lane] >> shift) & 15).cast_signed() as f32;
            column[lane] = L::mul_add(scales[lane], quant, minima[lane]);
        }
        column
    }
}

impl Quantized for FourBit {
    const HAS_MINIMA: bool = true;

    #[inline(always)]
    fn bytes(&self) -> [Words; 8] {
        let mut bytes = [Words([0; LANES]); 8];
        for at in 0..8 {
            for lane in 0..LANES {
                bytes[at].0[lane] = (self.quants[at % 4].0[lane] >> (4 * (at / 4))) & 0x0f0f_0f0f;
            }
        }
        bytes
    }

    #[inline(always)]
    fn scales_and_minima<L: Level>(&self) -> ([f32; LANES], [f32; LANES]) {
        self.scales::<L>()
    }
}

/// Weights `scale * q`, `q` from -128 to 127.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct EightBit {
    /// Byte `i` of word `j` of an output holds `q + 128` of input `4 j + i`.
    quants: [Words; 8],
    scales: [u16; LANES],
}

impl Block for EightBit {
    type Scales = [f32; LANES];

    const ZERO: Self = Self { quants: [Words([0; LANES]); 8], scales: [0; LANES] };

    fn set(&mut self, lane: usize, source: Source<'_>) -> bool {
        let (scale, quants) = match source.format {
            Format::Q8_0 | Format::Q5_0 | Format::Q4_0 | Format::Iq4Nl => source.whole_numbers(),
            _ => fit::eight_bits(&source.values()),
        };
        for (words, bytes) in self.quants.iter_mut().zip(quants.as_chunks::<4>().0) {
            // -128..=127 -> 0..=255
            words.0[lane] = u32::from_le_bytes(*bytes) ^ 0x8080_8080;
        }
        self.scales[lane] = scale.to_bits();
        scale.is_finite()
    }

    #[inline(always)]
    fn arrange<L: Level>(inputs: &[f32; BLOCK_LEN]) -> Inputs {
        if L::BYTES {
            return Inputs::fixed(inputs);
        }
        let mut values = *inputs;
        for word in values.as_chunks_mut::<4>().0 {
            // All but the top byte are used where they lie, 8 bits higher each.
            word[1] *= 1.0 / 256.0;
            word[2] *= 1.0 / 65536.0;
        }
        Inputs::floats(values, inputs)
    }

    #[inline(always)]
    fn accumulate<L: Level>(&self, inputs: &Inputs, sums: &mut [f32; LANES]) {
        let (scales, offset) = (self.scales::<L>(), 128.0 * inputs.sum);
        if L::BYTES {
            let totals = L::byte_products(&self.quants, &inputs.fixed);
            for lane in 0..LANES {
                let total = L::mul_add(totals[lane], inputs.fixed.scale, -offset);
                sums[lane] = L::mul_add(scales[lane], total, sums[lane]);
            }
            return;
        }
        let mut parts = [[0.0; LANES]; 4];
        for word in 0..8 {
            for byte in 0..4 {
                let input = inputs.values[4 * word + byte];
                for lane in 0..LANES {
                    let bits = self.quants[word].0[lane];
                    let quant = if byte < 3 { bits & (255 << (8 * byte)) } else { bits >> 24 };
                    parts[byte][lane] = L::mul_add(quant.cast_signed() as f32, input, parts[byte][lane]);
                }
            }
        }
        for lane in 0..LANES {
            let total = (parts[0][lane] + parts[1][lane]) + (parts[2][lane] + parts[3][lane]);
            sums[lane] = L::mul_add(scales[lane], total - offset, sums[lane]);
        }
    }

    #[inline(always)]
    fn scales<L: Level>(&self) -> Self::Scales {
        L::floats(&self.scales)
    }

    #[inline(always)]
    fn column<L: Level>(&self, scales: &Self::Scales, at: usize) -> [f32; LANES] {
        let (word, shift) = (at / 4, 8 * (at % 4));
        let mut column = [0.0; LANES];
        for lane in 0..LANES {
            let quant = ((self.quants[word].0[lane] >> shift) & 255).cast_signed() as f32;
            column[lane] = scales[lane] * (quant - 128.0);
        }
        column
    }
}

impl Quantized for EightBit {
    const HAS_MINIMA: bool = false;

    #[inline(always)]
    fn bytes(&self) -> [Words; 8] {
        let mut bytes = self.quants;
        for words in &mut bytes {
            for lane in 0..LANES {
                // 0..=255 -> -128..=127
                words.0[lane] ^= 0x8080_8080;
            }
        }
        bytes
    }

    #[inline(always)]
    fn scales_and_minima<L: Level>(&self) -> ([f32; LANES], [f32; LANES]) {
        (self.scales::<L>(), [0.0; LANES])
    }
}
