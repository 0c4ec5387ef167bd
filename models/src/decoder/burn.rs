//! The decoder on burn, in 32-bit floats.

mod adapted;
mod cache;
mod weights;

use burn_tensor::{Device, Tensor, module, ops::AttentionModuleOptions};

use crate::{
    ModelError,
    burn_engine::layers::{self, Linear, RmsNorm},
    kernels::{self, Storage},
};

use super::{
    DecoderConfig, DecoderOptions, DecoderWeights, Input, TextDecoder, check, check_covered, embed, finite,
    rotation::Rotation, rows,
};

pub(crate) use adapted::{BlockUpdates, Update};
use cache::Cache;
use weights::Block;

/// Tokens that are read at once at most; bounds the memory of attention scores.
const CHUNK_LEN: usize = 256;
/// What is added to the score of a position that a token does not look at. Finite, since not every driver computes with infinities.
const UNSEEN: f32 = -1e30;

/// A Llama-style decoder in the memory of a device. The embedding table alone stays in the processor's memory, as it is stored.
#[derive(Debug)]
pub(crate) struct BurnDecoder {
    config: DecoderConfig,
    device: Device,
    embedding: kernels::Linear,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    caches: Vec<Cache>,
    /// Cosines and sines of rotary embedding, `[1, capacity, head_dim / 2]`.
    turns: [Tensor<3>; 2],
    logits: Vec<f32>,
    position: usize,
    capacity: usize,
}

/// Tokens that are read together.
struct Chunk {
    /// Position of the first.
    start: usize,
    tokens: usize,
    /// Cosines and sines for them, `[1, tokens, head_dim / 2]`.
    turns: [Tensor<3>; 2],
    /// What is added to their scores, `[1, 1, rows of a key head, positions]`; `None` where they look at every position.
    mask: Option<Tensor<4>>,
}

impl BurnDecoder {
    /// Returns the decoder with `weights` in the memory of `device`. Only the capacity of `options` is of use to it.
    ///
    /// # Errors
    /// When sizes do not fit together, a shape differs from what `config` says, a weight is not finite, the capacity exceeds the
    /// context length, or `config` has a [`super::Variant`] that is not covered (all but the rotation of Llama 3).
    pub(crate) fn new(
        device: &Device,
        (weights, config): (&DecoderWeights<'_>, DecoderConfig),
        options: DecoderOptions,
    ) -> Result<Self, ModelError> {
        let capacity = options.capacity;
        check(&config, weights, capacity)?;
        check_covered(&config.variant, "burn")?;
        let blocks = weights.layers.iter().enumerate().map(|layer| Block::new(device, layer, &config));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let head = layers::stacked("head", &[weights.head.unwrap_or(weights.embedding)])?;
        let (angles, dims) = (Rotation::new(&config, capacity, 0).turns, [1, capacity, config.head_dim / 2]);
        let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.into_iter().unzip();
        Ok(Self {
            embedding: kernels::Linear::pack("embedding", &[weights.embedding], Storage::AsStored)?,
            blocks,
            norm: RmsNorm::new(weights.norm.clone(), config.norm_epsilon, device),
            head: Linear::new(head, [config.vocabulary, config.hidden], device),
            caches: (0..config.layers).map(|_| Cache::new(device, &config, capacity)).collect(),
            turns: [cosines, sines].map(|values| layers::tensor(values, dims, device)),
            logits: Vec::new(),
            position: 0,
            capacity,
            device: device.clone(),
            config,
        })
    }

    /// Reads the rows `[tokens, hidden]` from position `start` on and returns the logits that follow, `[1, vocabulary]`.
    fn forward(&mut self, rows: &[f32], start: usize) -> Tensor<2> {
        let hidden = self.config.hidden;
        let last = rows.chunks(CHUNK_LEN * hidden).enumerate().map(|(index, rows)| {
            let chunk = self.chunk(start + index * CHUNK_LEN, rows.len() / hidden);
            self.read(layers::tensor(rows.to_vec(), [chunk.tokens, hidden], &self.device), &chunk)
        });
        let last = last.last().expect("there is a row, or there would be nothing to read");
        self.head.apply(self.norm.apply(last))
    }

    fn chunk(&self, start: usize, tokens: usize) -> Chunk {
        let turns = self.turns.each_ref().map(|turns| turns.clone().narrow(1, start, tokens));
        Chunk { start, tokens, turns, mask: self.mask(start, tokens) }
    }

    /// Returns the mask of `tokens` tokens behind `start` others, each of which sees those before it and itself.
    fn mask(&self, start: usize, tokens: usize) -> Option<Tensor<4>> {
        let (total, per_kv) = (start + tokens, self.config.heads / self.config.kv_heads);
        (tokens > 1).then(|| {
            let row = |token: usize| (0..total).map(move |at| if at <= start + token { 0.0 } else { UNSEEN });
            let values = (0..per_kv).flat_map(|_| (0..tokens).flat_map(row)).collect();
            layers::tensor(values, [1, 1, per_kv * tokens, total], &self.device)
        })
    }

    /// Runs all blocks on `rows`, `[tokens, hidden]`, and returns the last one's row, `[1, hidden]`.
    fn read(&mut self, mut rows: Tensor<2>, chunk: &Chunk) -> Tensor<2> {
        for layer in 0..self.blocks.len() {
            let mut mixed = self.attention(layer, rows.clone(), chunk);
            if layer + 1 == self.blocks.len() {
                // Nothing after this point looks at other positions, and only the last one is asked for.
                (rows, mixed) = (rows.narrow(0, chunk.tokens - 1, 1), mixed.narrow(0, chunk.tokens - 1, 1));
            }
            let block = &self.blocks[layer];
            rows = rows + block.attention_output.apply(mixed);
            rows = block.feed_forward(rows);
        }
        rows
    }

    /// Stores keys and values of `rows` and returns what attention makes of them, `[tokens, heads * head_dim]`.
    fn attention(&mut self, layer: usize, rows: Tensor<2>, chunk: &Chunk) -> Tensor<2> {
        let Block { attention_norm, qkv, .. } = &self.blocks[layer];
        let [queries, keys, values] = self.parted(qkv.apply(attention_norm.apply(rows)), &chunk.turns);
        let cache = &mut self.caches[layer];
        cache.store(chunk.start, keys, values);
        let cached = cache.first(chunk.start + chunk.tokens);
        self.mixed(queries, cached, chunk.mask.clone())
    }

    /// Returns queries, keys and values, each `[heads, tokens, head_dim]` of its kind, of what a block projects for attention; queries
    /// and keys are turned to their positions.
    fn parted(&self, projected: Tensor<2>, turns: &[Tensor<3>; 2]) -> [Tensor<3>; 3] {
        let DecoderConfig { heads, kv_heads, head_dim, .. } = self.config;
        let tokens = projected.dims()[0];
        // [tokens, heads, values] -> [heads, tokens, values]
        let projected = projected.reshape([tokens, heads + 2 * kv_heads, head_dim]).swap_dims(0, 1);
        let turned = turn(projected.clone().narrow(0, 0, heads + kv_heads), turns);
        let keys = turned.clone().narrow(0, heads, kv_heads);
        [turned.narrow(0, 0, heads), keys, projected.narrow(0, heads + kv_heads, kv_heads)]
    }

    /// Returns what attention makes of queries, `[tokens, heads * head_dim]`, by keys and values `[1, kv_heads, positions, head_dim]`.
    fn mixed(&self, queries: Tensor<3>, [keys, values]: [Tensor<4>; 2], mask: Option<Tensor<4>>) -> Tensor<2> {
        let DecoderConfig { heads, kv_heads, head_dim, .. } = self.config;
        let tokens = queries.dims()[1];
        // The query heads that share a key head are rows of one attention.
        let queries = queries.reshape([1, kv_heads, heads / kv_heads * tokens, head_dim]);
        let mixed = module::attention(queries, keys, values, None, mask, AttentionModuleOptions::default());
        mixed.reshape([heads, tokens, head_dim]).swap_dims(0, 1).reshape([tokens, heads * head_dim])
    }
}

impl TextDecoder for BurnDecoder {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        embed(&self.embedding, &self.config, ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let rows = rows(self, input, self.config.hidden)?;
        let logits = self.forward(&rows, self.position);
        self.logits = finite(layers::read(logits, "running the decoder")?)?;
        self.position += rows.len() / self.config.hidden;
        Ok(&self.logits)
    }

    fn truncate(&mut self, len: usize) {
        // Attention reads only the positions below the length it is given: nothing needs to be erased.
        self.position = self.position.min(len);
    }

    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Turns heads, `[heads, tokens, head_dim]`, to their positions: value `i` together with value `i + head_dim / 2`.
fn turn(heads: Tensor<3>, [cosines, sines]: &[Tensor<3>; 2]) -> Tensor<3> {
    let half = heads.dims()[2] / 2;
    let (left, right) = (heads.clone().narrow(2, 0, half), heads.narrow(2, half, half));
    let turned = [
        left.clone() * cosines.clone() - right.clone() * sines.clone(),
        left * sines.clone() + right * cosines.clone(),
    ];
    Tensor::cat(turned.into(), 2)
}

#[cfg(test)]
mod tests;
