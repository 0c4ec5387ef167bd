use crate::kernels::{Scratch, Simd, add, rms_norm};

/// What lies between layers, `[tokens, ...]`, kept from one layer to the next: fresh pages of memory for each would take as long as
/// the products.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) normed: Vec<f32>,
    /// Queries, keys and values.
    pub(super) projected: Vec<f32>,
    /// What attention works in.
    pub(super) tiles: Vec<f32>,
    /// What attention makes of values.
    pub(super) mixed: Vec<f32>,
    /// What is added to the rows.
    pub(super) branch: Vec<f32>,
    /// Gates and ups.
    pub(super) both: Vec<f32>,
    pub(super) gated: Vec<f32>,
    pub(super) scratch: Scratch,
}

/// Sets `normed` to `rows`, normalised.
pub(super) fn norm_rows(simd: Simd, rows: &[f32], norm: (&[f32], f32), normed: &mut Vec<f32>) {
    normed.resize(rows.len(), 0.0);
    for (row, out) in rows.chunks_exact(norm.0.len()).zip(normed.chunks_exact_mut(norm.0.len())) {
        rms_norm(simd, row, norm, out);
    }
}

/// Adds `bias`, if there is one, to every row.
pub(super) fn add_bias(rows: &mut [f32], bias: Option<&[f32]>) {
    let Some(bias) = bias else { return };
    rows.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias));
}
