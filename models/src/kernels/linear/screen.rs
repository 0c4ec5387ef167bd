//! Layers with many outputs of which only the greatest matter, as the head of a language model: all outputs come from a copy of the
//! weights in 4 bits, and the greatest of them again from the weights themselves. That reads half of the bytes.

use crate::{ModelError, matrix::Matrix};

use super::{
    Arrange, Block, Blocks, LANES, Layer, Linear, RowProduct, Simd, Storage,
    kind::{Kind, kind},
};

/// Groups of 16 outputs that are computed again: 512 outputs. Rounding to 4 bits moves the greatest by a few ranks.
const GROUPS: usize = 32;

impl Linear {
    /// Returns the layer of `matrix` in 4 bits, `None` where `storage` keeps it in those anyway.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub(crate) fn screen(name: &str, matrix: &Matrix<'_>, storage: Storage) -> Result<Option<Self>, ModelError> {
        if kind(&[*matrix], storage) == Kind::FourBit {
            return Ok(None);
        }
        Self::pack_as(name, &[*matrix], Kind::FourBit).map(Some)
    }

    /// Computes the greatest of `outputs`, which a screen of this layer made of `row`, again; with them the others of their groups.
    /// What is minus infinity stays so. `finish` does to a group what was done to `outputs` since.
    pub(crate) fn refine(&self, simd: Simd, row: &[f32], outputs: &mut [f32], finish: impl Fn(&mut [f32])) {
        let groups = greatest_groups(outputs);
        for_blocks!(&self.blocks, blocks => self.of(blocks).refine(simd, row, (&groups, outputs), finish));
    }
}

impl<B: Block> Layer<'_, B> {
    fn refine(&self, simd: Simd, row: &[f32], (groups, outputs): (&[usize], &mut [f32]), finish: impl Fn(&mut [f32])) {
        let inputs = [simd.run(Arrange::<B>::new(row))];
        let blocks_per_row = inputs[0].len();
        for &group in groups {
            let blocks = &self.blocks[group * blocks_per_row..][..blocks_per_row];
            let mut refined = [0.0; LANES];
            simd.run(RowProduct { blocks, inputs: &inputs, outputs: &mut [&mut refined] });
            finish(&mut refined);
            let screened = outputs[group * LANES..].iter_mut().zip(refined);
            screened.filter(|(output, _)| **output > f32::NEG_INFINITY).for_each(|(output, refined)| *output = refined);
        }
    }
}

/// Returns the groups with the greatest outputs, in any order.
fn greatest_groups(outputs: &[f32]) -> Vec<usize> {
    let groups = outputs.chunks(LANES).map(greatest).enumerate();
    let mut groups: Vec<(usize, f32)> = groups.filter(|&(_, greatest)| greatest > f32::NEG_INFINITY).collect();
    if groups.len() > GROUPS {
        groups.select_nth_unstable_by(GROUPS, |(_, first), (_, second)| second.total_cmp(first));
        groups.truncate(GROUPS);
    }
    groups.into_iter().map(|(group, _)| group).collect()
}

fn greatest(group: &[f32]) -> f32 {
    let greater = |first: f32, second: f32| if second > first { second } else { first };
    // Four at a time: a chain of comparisons would wait for each.
    let mut lanes = [f32::NEG_INFINITY; 4];
    for values in group.chunks(lanes.len()) {
        lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane = greater(*lane, *value));
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, greater)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::{Team, linear::Scratch},
        matrix::Format,
    };

    const INPUTS: usize = 64;

    /// Numbers without order between -1 and 1.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let hash =
            |index: usize| (index as u32 ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(40_503);
        (0..count).map(|index| (hash(index) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn matrix(rows: usize, data: &[u8], format: Format) -> Matrix<'_> {
        Matrix { rows, row_len: INPUTS, format, data }
    }

    #[test]
    fn the_greatest_outputs_are_those_of_the_layer_itself() {
        // More groups than are computed again, the last of them not whole.
        let outputs = LANES * (2 * GROUPS) + 5;
        let bytes: Vec<u8> = numbers(outputs * INPUTS, 1).iter().flat_map(|value| value.to_le_bytes()).collect();
        let matrix = matrix(outputs, &bytes, Format::F32);
        let layer = Linear::pack("head", &[matrix], Storage::EightBit).unwrap();
        let screen = Linear::screen("head", &matrix, Storage::EightBit).unwrap().unwrap();
        let row = numbers(INPUTS, 2);
        let (simd, mut team, mut scratch) = (Simd::detect(), Team::new(2), Scratch::default());
        let (mut exact, mut screened) = (vec![0.0; outputs], vec![0.0; outputs]);
        layer.apply((simd, &mut team, &mut scratch), &row, &mut exact);
        screen.apply((simd, &mut team, &mut scratch), &row, &mut screened);
        assert_ne!(exact, screened);
        layer.refine(simd, &row, &mut screened, |_| ());
        let mut ranked: Vec<usize> = (0..outputs).collect();
        ranked.sort_by(|&first, &second| exact[second].total_cmp(&exact[first]));
        for &output in &ranked[..GROUPS / 4] {
            assert_eq!(exact[output].to_bits(), screened[output].to_bits(), "output {output}");
        }
        // Of what others struck out, nothing comes back, and of what is left all is exact, here at half of its size.
        let (left, [first, second]) = (ranked[outputs / 2], [ranked[0], ranked[1]]);
        let mut few = vec![f32::NEG_INFINITY; outputs];
        few[left] = 1.0;
        layer.refine(simd, &row, &mut few, |group| group.iter_mut().for_each(|value| *value /= 2.0));
        assert_eq!(few[left].to_bits(), (exact[left] / 2.0).to_bits());
        assert_eq!(few.iter().filter(|value| value.is_finite()).count(), 1, "{} and {}", few[first], few[second]);
        let best = screened.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(best.to_bits(), exact[ranked[0]].to_bits());
    }

    #[test]
    fn what_is_small_already_needs_no_screen() {
        let bytes = vec![0; Format::Q4_1.bytes_for(INPUTS).unwrap()];
        assert!(Linear::screen("head", &matrix(1, &bytes, Format::Q4_1), Storage::EightBit).unwrap().is_none());
        let floats = f32::NAN.to_le_bytes().repeat(INPUTS);
        let broken = matrix(1, &floats, Format::F32);
        assert!(Linear::screen("head", &broken, Storage::FourBit).unwrap().is_none());
        let error = Linear::screen("head", &broken, Storage::EightBit).unwrap_err().to_string();
        assert_eq!(error, "weights of head: expected finite weights, found one that is not");
    }
}
