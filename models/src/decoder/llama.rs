//! The Llama family on the processor: RMS norm, attention with rotary embedding, `SwiGLU`, head on the last position.

use crate::{
    ModelError,
    gguf::Gguf,
    kernels::{Linear, Simd, Team, add, gated_silu, rms_norm},
};

use super::{
    DecoderConfig, DecoderOptions, DecoderWeights, Input, TextDecoder,
    attention::{HeadCache, Queries, attend},
    check, embed,
    layers::{Layer, Packed},
    rotation::Rotation,
    rows,
};

/// Tokens that are read at once at most; bounds the memory of intermediate rows.
const CHUNK_LEN: usize = 256;

/// A Llama-style decoder. It computes in `f32` with the weights that its file stores, so that it says what the reference
/// implementation says; results do not depend on the number of threads.
#[derive(Debug)]
pub struct LlamaDecoder {
    config: DecoderConfig,
    embedding: Linear,
    /// `None` where the embedding table is the head.
    head: Option<Linear>,
    norm: Vec<f32>,
    layers: Vec<Layer>,
    /// For each layer, a cache for each key head.
    caches: Vec<Vec<HeadCache>>,
    rotation: Rotation,
    team: Team,
    simd: Simd,
    logits: Vec<f32>,
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
        let DecoderOptions { capacity, threads, storage } = options;
        check(&config, weights, capacity)?;
        let mut team = Team::new(threads);
        let Packed { embedding, head, layers } = Packed::new(&mut team, weights, storage)?;
        let caches = || (0..config.kv_heads).map(|_| HeadCache::new(config.head_dim, capacity)).collect();
        Ok(Self {
            embedding,
            head,
            norm: weights.norm.clone(),
            layers,
            caches: (0..config.layers).map(|_| caches()).collect(),
            rotation: Rotation::new(&config, capacity),
            team,
            simd: Simd::detect(),
            logits: vec![0.0; config.vocabulary],
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
        Self::new(config, &DecoderWeights::from_gguf(file, &config)?, options)
    }

    /// Returns the sizes of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the bytes that the weights of linear layers and embeddings take in memory.
    pub fn weight_bytes(&self) -> usize {
        let layers =
            self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down]);
        layers.chain([&self.embedding]).chain(&self.head).map(Linear::weight_bytes).sum()
    }

    /// Reads the rows `[tokens, hidden]` after what is in the cache; `logits` are asked for at the end of the last chunk.
    fn read(&mut self, mut rows: Vec<f32>) {
        let hidden = self.config.hidden;
        let chunks = rows.len().div_ceil(CHUNK_LEN * hidden);
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
        let (hidden, last_layer) = (self.config.hidden, self.layers.len() - 1);
        for layer in 0..last_layer {
            let mixed = self.attention(layer, rows);
            self.rest_of_layer(layer, rows, &mixed);
        }
        let mixed = self.attention(last_layer, rows);
        // Nothing after this point looks at other positions, and only the last one is asked for.
        let mut last = rows[rows.len() - hidden..].to_vec();
        self.rest_of_layer(last_layer, &mut last, &mixed[mixed.len() - hidden..]);
        last
    }

    /// Stores keys and values of `rows` and returns what attention makes of them, `[tokens, heads * head_dim]`.
    fn attention(&mut self, layer: usize, rows: &[f32]) -> Vec<f32> {
        let DecoderConfig { hidden, heads, kv_heads, head_dim, norm_epsilon, .. } = self.config;
        let Layer { attention_norm, qkv, .. } = &self.layers[layer];
        let normed = norm_rows(self.simd, rows, (attention_norm, norm_epsilon));
        let mut projected = vec![0.0; rows.len() / hidden * qkv.outputs()];
        qkv.apply((self.simd, &mut self.team), &normed, &mut projected);
        let factor = 1.0 / (head_dim as f32).sqrt();
        for (index, row) in projected.chunks_exact_mut(qkv.outputs()).enumerate() {
            let position = self.position + index;
            let (queries, rest) = row.split_at_mut(heads * head_dim);
            let (keys, values) = rest.split_at_mut(kv_heads * head_dim);
            self.rotation.turn(position, queries, factor);
            self.rotation.turn(position, keys, 1.0);
            let heads = keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim));
            for (cache, (key, value)) in self.caches[layer].iter_mut().zip(heads) {
                cache.store(position, key, value);
            }
        }
        let queries = Queries { rows: &projected, row_len: qkv.outputs(), start: self.position };
        let mut mixed = vec![0.0; rows.len()];
        attend((self.simd, &mut self.team), &self.config, &self.caches[layer], &queries, &mut mixed);
        mixed
    }

    /// Adds the output of attention and of the feed-forward layer to `rows`.
    fn rest_of_layer(&mut self, layer: usize, rows: &mut [f32], mixed: &[f32]) {
        let DecoderConfig { hidden, feed_forward, norm_epsilon, .. } = self.config;
        let Layer { attention_output, feed_forward_norm, gate_up, down, .. } = &self.layers[layer];
        let tokens = rows.len() / hidden;
        let mut branch = vec![0.0; rows.len()];
        attention_output.apply((self.simd, &mut self.team), mixed, &mut branch);
        add(rows, &branch);
        let normed = norm_rows(self.simd, rows, (feed_forward_norm, norm_epsilon));
        let mut both = vec![0.0; tokens * 2 * feed_forward];
        gate_up.apply((self.simd, &mut self.team), &normed, &mut both);
        let mut gated = vec![0.0; tokens * feed_forward];
        for (both, gated) in both.chunks_exact(2 * feed_forward).zip(gated.chunks_exact_mut(feed_forward)) {
            gated_silu(self.simd, both, gated);
        }
        down.apply((self.simd, &mut self.team), &gated, &mut branch);
        add(rows, &branch);
    }

    /// Computes the logits that follow the row `[hidden]`.
    fn answer(&mut self, row: &[f32]) {
        let normed = norm_rows(self.simd, row, (&self.norm, self.config.norm_epsilon));
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        head.apply((self.simd, &mut self.team), &normed, &mut self.logits);
    }
}

impl TextDecoder for LlamaDecoder {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        embed(&self.embedding, &self.config, ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let rows = rows(self, input, self.config.hidden)?;
        self.read(rows);
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

fn norm_rows(simd: Simd, rows: &[f32], norm: (&[f32], f32)) -> Vec<f32> {
    let mut normed = vec![0.0; rows.len()];
    for (row, out) in rows.chunks_exact(norm.0.len()).zip(normed.chunks_exact_mut(norm.0.len())) {
        rms_norm(simd, row, norm, out);
    }
    normed
}
