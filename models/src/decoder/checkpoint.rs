//! The weights of a decoder in a checkpoint, by the names that transformers gives them.

use std::ops::Range;

use crate::{
    ModelError,
    matrix::Matrix,
    smolvlm::{Checkpoint, Tensors as _},
};

use super::{DecoderConfig, DecoderWeights, LayerExtras, LayerWeights, Norms};

/// Where a checkpoint keeps a decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// What the names of its tensors begin with.
    pub(crate) prefix: &'a str,
    /// The name of its head; `None` where the embedding table is the head.
    pub(crate) head: Option<&'a str>,
}

impl<'a> DecoderWeights<'a> {
    /// Returns the weights of the decoder at `place`.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape than `config` says, or of a type that is no float.
    pub(crate) fn from_checkpoint(
        checkpoint: &'a Checkpoint,
        place: Place<'_>,
        config: &DecoderConfig,
    ) -> Result<Self, ModelError> {
        let DecoderConfig { vocabulary, hidden, .. } = *config;
        let Place { prefix, head } = place;
        let reader = |name: String| Reader { checkpoint, config, prefix: name };
        let layers = (0..config.layers).map(|layer| reader(format!("{prefix}.layers.{layer}")).layer());
        Ok(Self {
            embedding: checkpoint.matrix(&format!("{prefix}.embed_tokens.weight"), [vocabulary, hidden])?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: reader(prefix.to_owned()).norm("norm")?,
            head: head.map(|head| checkpoint.matrix(head, [vocabulary, hidden])).transpose()?,
        })
    }
}

/// Reads tensors whose names begin alike.
struct Reader<'a, 'b> {
    checkpoint: &'a Checkpoint,
    config: &'b DecoderConfig,
    prefix: String,
}

impl<'a> Reader<'a, '_> {
    fn layer(&self) -> Result<LayerWeights<'a>, ModelError> {
        let DecoderConfig { hidden, feed_forward, .. } = *self.config;
        let (attention, kv) = (self.config.attention_len(), self.config.kv_len());
        let (keys, values) = (attention + kv, attention + 2 * kv);
        let (qkv, gate_up) = (("self_attn.qkv_proj", values), ("mlp.gate_up_proj", 2 * feed_forward));
        Ok(LayerWeights {
            attention_norm: self.norm("input_layernorm")?,
            query: self.part("self_attn.q_proj", 0..attention, qkv)?,
            key: self.part("self_attn.k_proj", attention..keys, qkv)?,
            value: self.part("self_attn.v_proj", keys..values, qkv)?,
            attention_output: self.matrix("self_attn.o_proj", [hidden, attention])?,
            feed_forward_norm: self.norm(match self.config.variant.norms {
                Norms::Before => "post_attention_layernorm",
                Norms::Around => "pre_feedforward_layernorm",
            })?,
            gate: self.part("mlp.gate_proj", 0..feed_forward, gate_up)?,
            up: self.part("mlp.up_proj", feed_forward..2 * feed_forward, gate_up)?,
            down: self.matrix("mlp.down_proj", [hidden, feed_forward])?,
            extras: self.extras()?,
        })
    }

    fn extras(&self) -> Result<LayerExtras, ModelError> {
        let DecoderConfig { hidden, feed_forward, ref variant, .. } = *self.config;
        let (attention, kv, biases) = (self.config.attention_len(), self.config.kv_len(), variant.biases);
        let qkv = [("self_attn.q_proj", attention), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)];
        let gate_up = ["mlp.gate_proj", "mlp.up_proj"].map(|part| (part, feed_forward));
        let norm = |part| (variant.norms == Norms::Around).then(|| self.norm(part)).transpose();
        Ok(LayerExtras {
            query_key_value_bias: biases.query_key_value.then(|| self.bias(&qkv)).transpose()?,
            attention_output_bias: biases
                .attention_output
                .then(|| self.bias(&[("self_attn.o_proj", hidden)]))
                .transpose()?,
            gate_up_bias: biases.feed_forward.then(|| self.bias(&gate_up)).transpose()?,
            down_bias: biases.feed_forward.then(|| self.bias(&[("mlp.down_proj", hidden)])).transpose()?,
            after_attention_norm: norm("post_attention_layernorm")?,
            after_feed_forward_norm: norm("post_feedforward_layernorm")?,
        })
    }

    /// Returns matrix `part`: that of this name, or the range `rows` of the rows of `fused`, which are `total`, where there is
    /// such a matrix.
    fn part(&self, part: &str, rows: Range<usize>, (fused, total): (&str, usize)) -> Result<Matrix<'a>, ModelError> {
        let hidden = self.config.hidden;
        if !self.checkpoint.has(&self.name(fused, "weight")) {
            return self.matrix(part, [rows.len(), hidden]);
        }
        let whole = self.matrix(fused, [total, hidden])?;
        let row_bytes = whole.data.len() / total;
        Ok(Matrix { rows: rows.len(), data: &whole.data[rows.start * row_bytes..rows.end * row_bytes], ..whole })
    }

    fn name(&self, part: &str, kind: &str) -> String {
        format!("{}.{part}.{kind}", self.prefix)
    }

    fn matrix(&self, part: &str, dims: [usize; 2]) -> Result<Matrix<'a>, ModelError> {
        self.checkpoint.matrix(&self.name(part, "weight"), dims)
    }

    /// Returns what the values are multiplied with after normalisation.
    fn norm(&self, part: &str) -> Result<Vec<f32>, ModelError> {
        let mut weights = self.checkpoint.read(&self.name(part, "weight"), &[self.config.hidden])?;
        for weight in &mut weights {
            *weight += self.config.variant.norm_offset;
        }
        Ok(weights)
    }

    /// Returns the biases of `parts`, each of so many values, one after the other.
    fn bias(&self, parts: &[(&str, usize)]) -> Result<Vec<f32>, ModelError> {
        let biases = parts.iter().map(|&(part, len)| self.checkpoint.read(&self.name(part, "bias"), &[len]));
        Ok(biases.collect::<Result<Vec<_>, _>>()?.concat())
    }
}
