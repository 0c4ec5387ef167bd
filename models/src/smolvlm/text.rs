//! The language model's weights in a checkpoint.

use crate::{
    ModelError,
    decoder::{DecoderConfig, DecoderWeights, LayerWeights},
};

use super::{Checkpoint, Tensors as _};

/// Where the language model's tensors lie; in some checkpoints they are one level deeper.
const PREFIXES: [&str; 2] = ["model.text_model", "model.text_model.model"];
/// The head. The family has one of its own even where its text-only ancestor shares the embedding table.
const HEADS: [&str; 2] = ["lm_head.weight", "model.text_model.lm_head.weight"];

/// Returns the weights of the language model of sizes `config`.
///
/// # Errors
/// When a tensor is absent, of another shape, or of a type that is no float.
pub(super) fn weights<'a>(
    checkpoint: &'a Checkpoint,
    config: &DecoderConfig,
) -> Result<DecoderWeights<'a>, ModelError> {
    let has_table = |prefix: &&str| checkpoint.has(&format!("{prefix}.embed_tokens.weight"));
    let prefix = PREFIXES.into_iter().find(has_table).unwrap_or(PREFIXES[0]);
    let head = HEADS.into_iter().find(|head| checkpoint.has(head)).unwrap_or(HEADS[0]);
    let DecoderConfig { vocabulary, hidden, .. } = *config;
    let layers = (0..config.layers).map(|layer| layer_weights(checkpoint, config, &format!("{prefix}.layers.{layer}")));
    Ok(DecoderWeights {
        embedding: checkpoint.matrix(&format!("{prefix}.embed_tokens.weight"), [vocabulary, hidden])?,
        layers: layers.collect::<Result<_, _>>()?,
        norm: checkpoint.read(&format!("{prefix}.norm.weight"), &[hidden])?,
        head: Some(checkpoint.matrix(head, [vocabulary, hidden])?),
    })
}

fn layer_weights<'a>(
    checkpoint: &'a Checkpoint,
    config: &DecoderConfig,
    layer: &str,
) -> Result<LayerWeights<'a>, ModelError> {
    let DecoderConfig { hidden, feed_forward, .. } = *config;
    let kv = config.kv_heads * config.head_dim;
    let matrix = |part: &str, dims| checkpoint.matrix(&format!("{layer}.{part}.weight"), dims);
    let norm = |part: &str| checkpoint.read(&format!("{layer}.{part}.weight"), &[hidden]);
    Ok(LayerWeights {
        attention_norm: norm("input_layernorm")?,
        query: matrix("self_attn.q_proj", [hidden, hidden])?,
        key: matrix("self_attn.k_proj", [kv, hidden])?,
        value: matrix("self_attn.v_proj", [kv, hidden])?,
        attention_output: matrix("self_attn.o_proj", [hidden, hidden])?,
        feed_forward_norm: norm("post_attention_layernorm")?,
        gate: matrix("mlp.gate_proj", [feed_forward, hidden])?,
        up: matrix("mlp.up_proj", [feed_forward, hidden])?,
        down: matrix("mlp.down_proj", [hidden, feed_forward])?,
    })
}
