//! The decoder with low-rank updates, in a form that can be differentiated: all tokens at once, without a cache.

use burn_tensor::{DType, Int, Tensor, TensorData};

use super::{BurnDecoder, Chunk, DecoderConfig};

/// A low-rank update of a linear layer, as rows are multiplied by it: `[inputs, rank]`, then `[rank, outputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) down: Tensor<2>,
    pub(crate) up: Tensor<2>,
}

impl Update {
    fn of(&self, rows: Tensor<2>) -> Tensor<2> {
        rows.matmul(self.down.clone()).matmul(self.up.clone())
    }
}

/// The updates of one block. Outputs of `query_key_value` have the order of [`super::weights::Block::qkv`].
#[derive(Debug, Clone)]
pub(crate) struct BlockUpdates {
    pub(crate) query_key_value: Update,
    pub(crate) attention_output: Update,
}

impl BurnDecoder {
    /// Returns the normalised last states, `[tokens, hidden]`, of embeddings of that shape: the texts of `positions` one after the other. Each
    /// token sees those of its text before it; positions ascend in each text and are below the capacity.
    pub(crate) fn states(&self, rows: Tensor<2>, positions: &[&[usize]], updates: &[BlockUpdates]) -> Tensor<2> {
        let texts: Vec<Chunk> = positions.iter().map(|positions| self.chunk_at(positions)).collect();
        let rows = self.blocks.iter().zip(updates).fold(rows, |rows, (block, updates)| {
            let normed = block.attention_norm.apply(rows.clone());
            let projected = block.qkv.apply(normed.clone()) + updates.query_key_value.of(normed);
            let mixed = self.mixed_apart(&projected, &texts);
            let attended = block.attention_output.apply(mixed.clone()) + updates.attention_output.of(mixed);
            block.feed_forward(rows + attended)
        });
        self.norm.apply(rows)
    }

    /// Returns what attention makes of what a block projects, `[tokens, heads * head_dim]`, for each text by itself.
    fn mixed_apart(&self, projected: &Tensor<2>, texts: &[Chunk]) -> Tensor<2> {
        let mut start = 0;
        let of_text = |text: &Chunk| {
            let rows = projected.clone().narrow(0, start, text.tokens);
            start += text.tokens;
            let [queries, keys, values] = self.parted(rows, &text.turns);
            self.mixed(queries, [keys, values].map(Tensor::unsqueeze), text.mask.clone())
        };
        Tensor::cat(texts.iter().map(of_text).collect(), 0)
    }

    /// Returns its sizes.
    pub(crate) const fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns logits, `[tokens, vocabulary]`, of normalised last states `[tokens, hidden]`.
    pub(crate) fn logits(&self, states: Tensor<2>) -> Tensor<2> {
        self.head.apply(states)
    }

    fn chunk_at(&self, positions: &[usize]) -> Chunk {
        let tokens = positions.len();
        let indices: Vec<i64> = positions.iter().map(|&position| i64::from(position as u32)).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [tokens]), (&self.device, DType::I64));
        let turns = self.turns.each_ref().map(|turns| turns.clone().select(1, indices.clone()));
        Chunk { start: 0, tokens, turns, mask: self.mask(0, tokens) }
    }
}
