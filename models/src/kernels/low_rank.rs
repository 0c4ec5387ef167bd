//! Low-rank updates of linear layers.

use super::simd::{Kernel, LANES, Level, Simd};
use crate::ModelError;

/// A low-rank update of a linear layer: adds `up (down x)` to its outputs (Hu et al., arXiv 2106.09685). It stays apart from the
/// weights, so that those may stay in 4 bits and one set of them serves several updates.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    inputs: usize,
    outputs: usize,
    /// `[rank, inputs]`.
    down: Vec<f32>,
    /// `[rank, outputs]`: transposed, so that the kernel walks along rows of both.
    up: Vec<f32>,
}

impl LowRank {
    /// Returns the update of a layer with so many inputs and outputs: `down` is `[rank, inputs]` and `up` `[outputs, rank]`, row-major.
    ///
    /// # Errors
    /// When the sizes do not fit together or the rank is 0.
    pub fn new((inputs, outputs): (usize, usize), down: Vec<f32>, up: &[f32]) -> Result<Self, ModelError> {
        let rank = down.len() / inputs.max(1);
        if rank == 0 || down.len() != rank * inputs || up.len() != rank * outputs {
            let expected = format!("[rank, {inputs}] and [{outputs}, rank]");
            let found = format!("{} and {} values", down.len(), up.len());
            return Err(ModelError::mismatch("low-rank update", expected, found));
        }
        let up = (0..rank).flat_map(|r| up.iter().skip(r).step_by(rank).copied()).collect();
        Ok(Self { inputs, outputs, down, up })
    }

    /// Returns the numbers of inputs and outputs.
    pub const fn sizes(&self) -> (usize, usize) {
        (self.inputs, self.outputs)
    }

    /// Returns the first factor, `[rank, inputs]`.
    pub(crate) fn down(&self) -> &[f32] {
        &self.down
    }

    /// Returns the second factor, transposed: `[rank, outputs]`.
    pub(crate) fn up(&self) -> &[f32] {
        &self.up
    }

    /// Adds the update for rows `[rows, inputs]` to `[rows, outputs]`.
    pub(crate) fn add(&self, simd: Simd, inputs: &[f32], outputs: &mut [f32]) {
        simd.run(Update { layer: self, inputs, outputs });
    }
}

struct Update<'a> {
    layer: &'a LowRank,
    inputs: &'a [f32],
    outputs: &'a mut [f32],
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let LowRank { inputs, outputs, down, up } = self.layer;
        for (x, y) in self.inputs.chunks_exact(*inputs).zip(self.outputs.chunks_exact_mut(*outputs)) {
            for (down, up) in down.chunks_exact(*inputs).zip(up.chunks_exact(*outputs)) {
                let factor = dot::<L>(down, x);
                for (y, up) in y.iter_mut().zip(up) {
                    *y = L::mul_add(factor, *up, *y);
                }
            }
        }
    }
}

/// Returns the sum of the products, lane by lane.
#[inline(always)]
fn dot<L: Level>(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] = L::mul_add(left[lane], right[lane], sums[lane]);
        }
    }
    left_rest.iter().zip(right_rest).fold(sums.iter().sum(), |sum, (l, r)| L::mul_add(*l, *r, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns numbers between -1 and 1 that differ.
    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 37 + seed * 101) % 199) as f32 / 99.5 - 1.0).collect()
    }

    #[test]
    fn adds_the_product_of_both_factors_on_every_processor() {
        let (inputs, outputs, rank, rows) = (83, 37, 5, 3);
        let (down, up) = (numbers(rank * inputs, 1), numbers(outputs * rank, 2));
        let (x, before) = (numbers(rows * inputs, 3), numbers(rows * outputs, 4));
        let product = |row: usize, output: usize| -> f32 {
            let inner = |r: usize| (0..inputs).map(|i| down[r * inputs + i] * x[row * inputs + i]).sum::<f32>();
            (0..rank).map(|r| up[output * rank + r] * inner(r)).sum()
        };
        let layer = LowRank::new((inputs, outputs), down.clone(), &up).unwrap();
        for simd in Simd::all() {
            let mut after = before.clone();
            layer.add(simd, &x, &mut after);
            for (index, (after, before)) in after.iter().zip(&before).enumerate() {
                let expected = before + product(index / outputs, index % outputs);
                assert!((after - expected).abs() < 1e-4, "{simd:?}, {index}: {after}, not {expected}");
            }
        }
    }

    #[test]
    fn refuses_factors_that_do_not_fit() {
        for (down, up) in [(0, 0), (8, 5), (9, 6), (8, 7)] {
            assert!(LowRank::new((4, 3), vec![0.0; down], &vec![0.0; up]).is_err(), "{down} and {up}");
        }
        assert!(LowRank::new((4, 3), vec![0.0; 8], &[0.0; 6]).is_ok());
    }
}
