use burn_tensor::{Device, Tensor};

use crate::{
    ModelError,
    burn_engine::layers::{self, Linear, RmsNorm, gated_silu},
    decoder::{DecoderConfig, LayerWeights, Rotary},
    matrix::Matrix,
};

/// One transformer block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) attention_norm: RmsNorm,
    /// Queries, keys and values, stacked. Rotary embedding turns the halves of a head together.
    pub(super) qkv: Linear,
    pub(super) attention_output: Linear,
    pub(super) feed_forward_norm: RmsNorm,
    /// Gates and ups, stacked.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

impl Block {
    /// Returns the block of weights `layer`, with its index, in the memory of `device`.
    ///
    /// # Errors
    /// When a weight is not finite.
    pub(super) fn new(
        device: &Device,
        (index, layer): (usize, &LayerWeights<'_>),
        config: &DecoderConfig,
    ) -> Result<Self, ModelError> {
        let DecoderConfig { hidden, feed_forward, norm_epsilon, .. } = *config;
        let (attention, kv) = (config.attention_len(), config.kv_len());
        let stacked =
            |name: &str, matrices: &[Matrix<'_>]| layers::stacked(&format!("{name} of block {index}"), matrices);
        let linear = |values, dims| Linear::new(values, dims, device);
        let norm = |weight: &[f32]| RmsNorm::new(weight.to_vec(), norm_epsilon, device);
        let mut qkv = stacked("query, key and value", &[layer.query, layer.key, layer.value])?;
        if config.rotary == Rotary::Neighbours {
            let turned = qkv[..(attention + kv) * hidden].chunks_exact_mut(config.head_dim * hidden);
            turned.for_each(|head| part_neighbours(head, hidden));
        }
        Ok(Self {
            attention_norm: norm(&layer.attention_norm),
            qkv: linear(qkv, [attention + 2 * kv, hidden]),
            attention_output: linear(stacked("attention output", &[layer.attention_output])?, [hidden, attention]),
            feed_forward_norm: norm(&layer.feed_forward_norm),
            gate_up: linear(stacked("gate and up", &[layer.gate, layer.up])?, [2 * feed_forward, hidden]),
            down: linear(stacked("down", &[layer.down])?, [hidden, feed_forward]),
        })
    }

    /// Returns `rows` with what the feed-forward layer adds to them.
    pub(super) fn feed_forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let normed = self.feed_forward_norm.apply(rows.clone());
        rows + self.down.apply(gated_silu(self.gate_up.apply(normed)))
    }
}

/// Moves rows of `head`, `[head_dim, row_len]`: even ones to its first half, odd ones to its second. What rotary embedding turns
/// together is then a half apart; scores do not depend on the order of values, as long as queries and keys have the same.
fn part_neighbours(head: &mut [f32], row_len: usize) {
    let rows = |first: usize| head.chunks_exact(row_len).skip(first).step_by(2);
    let parted: Vec<f32> = rows(0).chain(rows(1)).flatten().copied().collect();
    head.copy_from_slice(&parted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_even_rows_from_odd_ones() {
        let mut head: Vec<f32> = (0_u8..8).map(f32::from).collect();
        part_neighbours(&mut head, 2);
        let expected: Vec<f32> = [0_u8, 1, 4, 5, 2, 3, 6, 7].map(f32::from).to_vec();
        assert!(head == expected, "{head:?}");
    }
}
