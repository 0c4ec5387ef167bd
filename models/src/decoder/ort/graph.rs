//! The decoder as an ONNX graph: RMS norm, fused attention with rotary embedding and cache, `SwiGLU`, head on the last row.
//!
//! Input `embeddings` is `[1, tokens, hidden]`, so that image features can stand where token embeddings do. Each layer
//! takes and returns its keys and values `[1, kv_heads, capacity, head_dim]`; bound to one buffer, they stay in place.

use crate::{
    ModelError,
    matrix::BLOCK_LEN,
    onnx::{Dim, Element, GraphBuilder, MICROSOFT, Node},
};

use super::super::{Activations, DecoderConfig, DecoderWeights, LayerWeights, Rotary, rotation::Rotation};

/// Raised whenever the graph changes, so that cached graphs of older builds are not taken.
pub(super) const GRAPH_VERSION: u32 = 2;

/// Adds a decoder to `graph`. How many tokens the cache holds is for the caller to choose at run time, up to the context
/// length of `config`.
///
/// # Errors
/// When a weight is not finite, or the graph's data cannot be written.
pub(super) fn add_decoder(
    graph: &mut GraphBuilder,
    (weights, config): (&DecoderWeights<'_>, &DecoderConfig),
    activations: Activations,
) -> Result<(), ModelError> {
    let mut builder = Builder { graph, weights, config, activations };
    builder.declare();
    builder.rotary_tables()?;
    builder.graph.constant_i64("last", &[1], &[-1])?;
    // 0 keeps a dimension, -1 takes what is left.
    builder.graph.constant_i64("in_blocks", &[4], &[0, 0, -1, BLOCK_LEN.cast_signed() as i64])?;
    let mut state = State { residual: "embeddings".to_owned(), branch: None };
    for layer in 0..config.layers {
        state = builder.layer(layer, &state)?;
    }
    builder.head(&state)
}

/// The residual stream between blocks: what has been added up, and what the last block wants to add.
struct State {
    residual: String,
    branch: Option<String>,
}

pub(super) struct Builder<'a> {
    pub(super) graph: &'a mut GraphBuilder,
    pub(super) weights: &'a DecoderWeights<'a>,
    pub(super) config: &'a DecoderConfig,
    pub(super) activations: Activations,
}

impl Builder<'_> {
    fn declare(&mut self) {
        let DecoderConfig { hidden, kv_heads, head_dim, vocabulary, layers, .. } = *self.config;
        self.graph.input("embeddings", Element::F32, &[Dim::Fixed(1), Dim::Named("tokens"), Dim::Fixed(hidden)]);
        self.graph.input("last_index", Element::I32, &[Dim::Fixed(1)]);
        self.graph.input("total_len", Element::I32, &[Dim::Fixed(1)]);
        self.graph.output("logits", Element::F32, &[Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(vocabulary)]);
        let cache = [Dim::Fixed(1), Dim::Fixed(kv_heads), Dim::Named("capacity"), Dim::Fixed(head_dim)];
        for name in (0..layers).flat_map(cache_names) {
            self.graph.input(&name.past, Element::F32, &cache);
            self.graph.output(&name.present, Element::F32, &cache);
        }
    }

    /// Cosines and sines `[context, head_dim / 2]`.
    fn rotary_tables(&mut self) -> Result<(), ModelError> {
        let dims = [self.config.context, self.config.head_dim / 2];
        let (cosines, sines): (Vec<f32>, Vec<f32>) =
            Rotation::new(self.config, dims[0], dims[0]).turns.into_iter().unzip();
        self.graph.constant_f32("rotary_cos", &dims, &cosines)?;
        self.graph.constant_f32("rotary_sin", &dims, &sines)
    }

    fn layer(&mut self, layer: usize, state: &State) -> Result<State, ModelError> {
        let weights = &self.weights.layers[layer];
        let (normed, residual) =
            self.add_and_norm(&format!("blk.{layer}.attn_norm"), &weights.attention_norm, state)?;
        let mixed = self.attention(layer, weights, &normed)?;
        let (mixed, residual) = if layer + 1 == self.config.layers {
            // Nothing after this point looks at other positions, and only the last one is asked for.
            (self.last_position(&mixed), self.last_position(&residual))
        } else {
            (mixed, residual)
        };
        let branch = self.linear(&format!("blk.{layer}.attn_output"), &[weights.attention_output], &mixed)?;
        let state = State { residual, branch: Some(branch) };
        let (normed, residual) =
            self.add_and_norm(&format!("blk.{layer}.ffn_norm"), &weights.feed_forward_norm, &state)?;
        let branch = self.feed_forward(layer, weights, &normed)?;
        Ok(State { residual, branch: Some(branch) })
    }

    /// Adds the pending branch to the residual stream and normalises; returns the names of both results.
    fn add_and_norm(&mut self, name: &str, values: &[f32], state: &State) -> Result<(String, String), ModelError> {
        let weight = format!("{name}.weight");
        self.graph.constant_f32(&weight, &[self.config.hidden], values)?;
        let epsilon = self.config.norm_epsilon;
        let Some(branch) = &state.branch else {
            let node = Node::new("SimplifiedLayerNormalization", &[&state.residual, &weight], &[name]);
            self.graph.node(node.int("axis", -1).float("epsilon", epsilon).int("stash_type", 1));
            return Ok((name.to_owned(), state.residual.clone()));
        };
        let sum = format!("{name}.sum");
        let inputs = [&state.residual, branch, &weight];
        // The second and third outputs (mean, inverse deviation) exist for training only.
        let node = Node::new("SkipSimplifiedLayerNormalization", &inputs, &[name, "", "", &sum]);
        self.graph.node(node.domain(MICROSOFT).float("epsilon", epsilon));
        Ok((name.to_owned(), sum))
    }

    fn attention(&mut self, layer: usize, weights: &LayerWeights<'_>, input: &str) -> Result<String, ModelError> {
        let matrices = [weights.query, weights.key, weights.value];
        let qkv = self.linear(&format!("blk.{layer}.attn_qkv"), &matrices, input)?;
        let [key, value] = cache_names(layer);
        let output = format!("blk.{layer}.attention");
        let inputs = [&qkv, "", "", &key.past, &value.past, "last_index", "total_len", "rotary_cos", "rotary_sin"];
        let node = Node::new("GroupQueryAttention", &inputs, &[&output, &key.present, &value.present])
            .domain(MICROSOFT)
            .size("num_heads", self.config.heads)
            .size("kv_num_heads", self.config.kv_heads)
            .int("do_rotary", 1)
            .int("rotary_interleaved", i64::from(self.config.rotary == Rotary::Neighbours));
        self.graph.node(node);
        Ok(output)
    }

    fn feed_forward(&mut self, layer: usize, weights: &LayerWeights<'_>, input: &str) -> Result<String, ModelError> {
        let name = |part: &str| format!("blk.{layer}.ffn.{part}");
        let both = self.linear(&name("both"), &[weights.gate, weights.up], input)?;
        let (gate, up, activated, product) = (name("gate"), name("up"), name("activated"), name("product"));
        self.graph.node(Node::new("Split", &[&both], &[&gate, &up]).int("axis", -1).int("num_outputs", 2));
        // x * sigmoid(1 * x), the SiLU of SwiGLU.
        self.graph.node(Node::new("QuickGelu", &[&gate], &[&activated]).domain(MICROSOFT).float("alpha", 1.0));
        self.graph.node(Node::new("Mul", &[&activated, &up], &[&product]));
        self.linear(&name("down"), &[weights.down], &product)
    }

    fn last_position(&mut self, input: &str) -> String {
        let output = format!("{input}.last");
        self.graph.node(Node::new("Gather", &[input, "last"], &[&output]).int("axis", 1));
        output
    }

    fn head(&mut self, state: &State) -> Result<(), ModelError> {
        let (normed, _) = self.add_and_norm("output_norm", &self.weights.norm, state)?;
        // A model without a head of its own shares the embedding table.
        let head = self.weights.head.unwrap_or(self.weights.embedding);
        self.linear("logits", &[head], &normed).map(drop)
    }
}

/// The names of one cache tensor: as it comes in and as it goes out.
pub(super) struct CacheName {
    pub(super) past: String,
    pub(super) present: String,
}

/// Returns the names of a layer's keys and values.
pub(super) fn cache_names(layer: usize) -> [CacheName; 2] {
    ["key", "value"]
        .map(|part| CacheName { past: format!("past.{layer}.{part}"), present: format!("present.{layer}.{part}") })
}
