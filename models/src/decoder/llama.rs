//! The Llama family on the processor: RMS norm, attention with rotary embedding, a gated feed-forward layer, head on the last
//! position.

use std::{mem, path::Path, sync::Arc};

use crate::{
    ModelError,
    gguf::Gguf,
    kernels::{Linear, Simd, Team, add, gated_gelu, gated_silu},
};

use super::{
    Activation, Adapter, DecoderConfig, DecoderOptions, DecoderWeights, Input, TextDecoder, TextFolder,
    attention::{HeadCache, Queries, attend},
    buffers::{Buffers, add_bias, norm_rows},
    check, embed,
    layers::{Layer, Packed},
    rotation::Rotation,
    rows, scale,
    tables::Tables,
};

/// Tokens that are read at once at most: intermediate rows stay within the second-level cache and 2 MB.
const CHUNK_LEN: usize = 128;

/// A decoder of the Llama family. Unless its options allow rounding, it computes in `f32` with the weights that its file stores, so
/// that it says what the reference implementation says; results do not depend on the number of threads.
#[derive(Debug)]
pub struct LlamaDecoder {
    pub(super) config: DecoderConfig,
    tables: Tables,
    norm: Vec<f32>,
    layers: Vec<Layer>,
    pub(super) adapter: Option<Arc<Adapter>>,
    /// For each layer, a cache for each key head.
    caches: Vec<Vec<HeadCache>>,
    rotation: Rotation,
    team: Team,
    simd: Simd,
    buffers: Buffers,
    logits: Vec<f32>,
    /// The rows `[position, hidden]` that have been read, where they may have to be read again.
    history: Option<Vec<f32>>,
    position: usize,
    capacity: usize,
}

impl LlamaDecoder {
    /// Returns the decoder with `weights`, packed for this processor: the file they come from is not needed any longer.
    ///
    /// # Errors
    /// When sizes do not fit together, a shape differs from what `config` says, a weight is not finite, or the capacity
    /// exceeds the context length.
    pub fn new(
        config: DecoderConfig,
        weights: &DecoderWeights<'_>,
        options: DecoderOptions,
    ) -> Result<Self, ModelError> {
        let DecoderOptions { capacity, threads, .. } = options;
        check(&config, weights, capacity)?;
        let mut team = Team::new(threads);
        let Packed { tables, layers } = Packed::new(&mut team, weights, options)?;
        let caches = || (0..config.kv_heads).map(|_| HeadCache::new(config.head_dim, capacity)).collect();
        Ok(Self {
            tables,
            norm: weights.norm.clone(),
            layers,
            adapter: None,
            caches: (0..config.layers).map(|_| caches()).collect(),
            rotation: Rotation::new(&config, capacity, 0),
            team,
            simd: Simd::detect(),
            buffers: Buffers::default(),
            logits: vec![0.0; config.vocabulary],
            history: config.variant.rope_scaling.is_long(capacity).then(Vec::new),
            position: 0,
            capacity,
            config,
        })
    }

    /// Returns the decoder in a GGUF file of the Llama family.
    ///
    /// # Errors
    /// When the file lacks a key or tensor, or as [`Self::new`].
    pub fn from_gguf(file: &Gguf, options: DecoderOptions) -> Result<Self, ModelError> {
        let config = DecoderConfig::from_gguf(file)?;
        Self::new(config.clone(), &DecoderWeights::from_gguf(file, &config)?, options)
    }

    /// Returns the decoder in a folder in which a language model is published: `config.json`, and weights in safetensors, in one
    /// file or several. [`DecoderConfig::read`] says which model types are known.
    ///
    /// ```no_run
    /// use models::decoder::{DecoderOptions, Input, LlamaDecoder, TextDecoder as _};
    ///
    /// # fn main() -> Result<(), models::ModelError> {
    /// let mut decoder = LlamaDecoder::from_folder("Llama-3.2-1B".as_ref(), DecoderOptions::default())?;
    /// let logits = decoder.extend(Input::Tokens(&[128_000, 791, 6864, 315, 9822, 374]))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a file is absent or malformed, or holds what the decoder does not cover, or as [`Self::new`].
    pub fn from_folder(folder: &Path, options: DecoderOptions) -> Result<Self, ModelError> {
        let folder = TextFolder::open(folder)?;
        Self::new(folder.config.clone(), &folder.weights()?, options)
    }

    /// Returns the sizes of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the bytes that the weights of linear layers and embeddings take in memory.
    pub fn weight_bytes(&self) -> usize {
        let layers =
            self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down]);
        layers.map(Linear::weight_bytes).sum::<usize>() + self.tables.weight_bytes()
    }

    /// Reads the rows `[tokens, hidden]` after what is in the cache; `logits` are asked for at the end of the last chunk.
    fn read(&mut self, mut rows: Vec<f32>) {
        let hidden = self.config.hidden;
        let chunks = rows.len().div_ceil(CHUNK_LEN * hidden);
        scale(&mut rows, self.config.variant.multipliers.input);
        for (index, chunk) in rows.chunks_mut(CHUNK_LEN * hidden).enumerate() {
            let is_last = index + 1 == chunks;
            let last = self.blocks(chunk);
            self.position += chunk.len() / hidden;
            if is_last {
                self.answer(&last);
            }
        }
    }

    /// Runs all blocks on `rows` and returns the last position's row `[hidden]`.
    fn blocks(&mut self, rows: &mut [f32]) -> Vec<f32> {
        let (hidden, attention_len) = (self.config.hidden, self.config.attention_len());
        let last_layer = self.layers.len() - 1;
        let mut buffers = mem::take(&mut self.buffers);
        for layer in 0..last_layer {
            self.attention(layer, rows, &mut buffers);
            self.rest_of_layer(layer, rows, &mut buffers);
        }
        self.attention(last_layer, rows, &mut buffers);
        // Nothing after this point looks at other positions, and only the last one is asked for.
        let mut last = rows[rows.len() - hidden..].to_vec();
        buffers.mixed.drain(..buffers.mixed.len() - attention_len);
        self.rest_of_layer(last_layer, &mut last, &mut buffers);
        self.buffers = buffers;
        last
    }

    /// Stores keys and values of `rows` and leaves in `mixed` what attention makes of them, `[tokens, heads * head_dim]`.
    fn attention(&mut self, layer: usize, rows: &[f32], buffers: &mut Buffers) {
        let DecoderConfig { hidden, norm_epsilon, ref variant, .. } = self.config;
        let Buffers { normed, projected, tiles, mixed, scratch, .. } = buffers;
        let Layer { attention_norm, qkv, extras, .. } = &self.layers[layer];
        let tokens = rows.len() / hidden;
        norm_rows(self.simd, rows, (attention_norm, norm_epsilon), normed);
        projected.resize(tokens * qkv.outputs(), 0.0);
        qkv.apply((self.simd, &mut self.team, scratch), normed, projected);
        add_bias(projected, extras.query_key_value_bias.as_deref());
        if let Some(adapter) = &self.adapter {
            adapter.layers[layer].query_key_value.add(self.simd, normed, projected);
        }
        let (row_len, soft_cap) = (qkv.outputs(), variant.soft_caps.scores);
        let window = variant.window(layer);
        self.turn_and_store(layer, projected, row_len);
        let queries = Queries { rows: projected, row_len, start: self.position, window, soft_cap };
        mixed.resize(tokens * self.config.attention_len(), 0.0);
        attend((self.simd, &mut self.team), &self.config, &self.caches[layer], &queries, (tiles, mixed));
    }

    /// Turns queries and keys of `projected` to their positions and stores keys and values.
    fn turn_and_store(&mut self, layer: usize, projected: &mut [f32], row_len: usize) {
        let DecoderConfig { head_dim, ref variant, .. } = self.config;
        let factor = variant.multipliers.scores.unwrap_or(1.0 / (head_dim as f32).sqrt());
        for (position, row) in (self.position..).zip(projected.chunks_exact_mut(row_len)) {
            let (queries, rest) = row.split_at_mut(self.config.attention_len());
            let (keys, values) = rest.split_at_mut(self.config.kv_len());
            self.rotation.turn(position, queries, factor);
            self.rotation.turn(position, keys, 1.0);
            let heads = keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim));
            for (cache, (key, value)) in self.caches[layer].iter_mut().zip(heads) {
                cache.store(position, key, value);
            }
        }
    }

    /// Adds the output of attention, from `mixed`, and of the feed-forward layer to `rows`.
    fn rest_of_layer(&mut self, layer: usize, rows: &mut [f32], buffers: &mut Buffers) {
        let DecoderConfig { hidden, feed_forward, norm_epsilon, .. } = self.config;
        let Buffers { normed, mixed, branch, both, gated, scratch, .. } = buffers;
        let Layer { attention_output, feed_forward_norm, gate_up, down, extras, .. } = &self.layers[layer];
        let tokens = rows.len() / hidden;
        branch.resize(rows.len(), 0.0);
        attention_output.apply((self.simd, &mut self.team, scratch), mixed, branch);
        add_bias(branch, extras.attention_output_bias.as_deref());
        if let Some(adapter) = &self.adapter {
            adapter.layers[layer].attention_output.add(self.simd, mixed, branch);
        }
        self.join(rows, (branch, normed), extras.after_attention_norm.as_deref());
        norm_rows(self.simd, rows, (feed_forward_norm, norm_epsilon), normed);
        both.resize(tokens * 2 * feed_forward, 0.0);
        gate_up.apply((self.simd, &mut self.team, scratch), normed, both);
        add_bias(both, extras.gate_up_bias.as_deref());
        self.gate(both, gated);
        down.apply((self.simd, &mut self.team, scratch), gated, branch);
        add_bias(branch, extras.down_bias.as_deref());
        self.join(rows, (branch, normed), extras.after_feed_forward_norm.as_deref());
    }

    /// Sets `gated` to the product of gates, after their activation, and ups: of rows `[tokens, 2 * feed_forward]` that hold both.
    fn gate(&self, both: &[f32], gated: &mut Vec<f32>) {
        let feed_forward = self.config.feed_forward;
        let gate = match self.config.variant.activation {
            Activation::Silu => gated_silu,
            Activation::GeluTanh => gated_gelu,
        };
        gated.resize(both.len() / 2, 0.0);
        for (both, gated) in both.chunks_exact(2 * feed_forward).zip(gated.chunks_exact_mut(feed_forward)) {
            gate(self.simd, both, gated);
        }
    }

    /// Adds `branch` to `rows`, both `[tokens, hidden]`, normalised by weights `norm` where there are any; `normed` is memory for that.
    fn join(&self, rows: &mut [f32], (branch, normed): (&mut Vec<f32>, &mut Vec<f32>), norm: Option<&[f32]>) {
        if let Some(weights) = norm {
            norm_rows(self.simd, branch, (weights, self.config.norm_epsilon), normed);
            mem::swap(branch, normed);
        }
        scale(branch, self.config.variant.multipliers.branches);
        add(rows, branch);
    }

    /// Computes the logits that follow the row `[hidden]`.
    fn answer(&mut self, row: &[f32]) {
        let DecoderConfig { norm_epsilon, ref variant, .. } = self.config;
        let Buffers { normed, scratch, .. } = &mut self.buffers;
        norm_rows(self.simd, row, (&self.norm, norm_epsilon), normed);
        self.tables.answer((self.simd, &mut self.team, scratch), variant, normed, &mut self.logits);
    }

    /// Returns what is to be read for `rows` to follow what is in the cache: `rows`, or all that came before as well where
    /// sequences of the new length have another rotation, by which the cache is of no use.
    fn with_history(&mut self, rows: Vec<f32>) -> Vec<f32> {
        let hidden = self.config.hidden;
        let Some(history) = &mut self.history else { return rows };
        history.truncate(self.position * hidden);
        history.extend(&rows);
        let len = history.len() / hidden;
        if self.rotation.fits(&self.config, len) {
            return rows;
        }
        self.rotation = Rotation::new(&self.config, self.capacity, len);
        self.position = 0;
        history.clone()
    }
}

impl TextDecoder for LlamaDecoder {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        embed(&self.tables.embedding, &self.config, ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let rows = rows(self, input, self.config.hidden)?;
        let rows = self.with_history(rows);
        self.read(rows);
        Ok(&self.logits)
    }

    fn sharpen(&self, logits: &mut [f32]) {
        debug_assert_eq!(logits.len(), self.config.vocabulary, "the logits of `extend`");
        // The row that the last logits were made of; none before the first.
        let row = &self.buffers.normed;
        if row.len() == self.config.hidden && logits.len() == self.config.vocabulary {
            self.tables.sharpen(self.simd, &self.config.variant, row, logits);
        }
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
